//! The sections of the settings file: several sidechains, what they become, what is said of them.
//!
//! Not here: the settings that flags and variables can say too (`settings.rs`).

#![cfg(feature = "runtime")]

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::Path;

use insta::assert_snapshot;
use server::config::{Fallback, SidechainKind};
use server::settings::{self, Credentials, Loaded, SECTIONS, Settings, SettingsError, Sidechain};

/// Loads `toml` as the settings file of somebody who forgot nothing else.
fn load_with(toml: &str, variables: &[(&str, &str)]) -> Result<Loaded, SettingsError> {
    let usual = [("RPC_USER", "u"), ("MINER_PKH_HEX", "89abcdefabbaabbaabbaabbaabbaabbaabbaabba")];
    let variables = usual.iter().chain(variables);
    let environment: BTreeMap<String, OsString> =
        variables.map(|(name, value)| ((*name).to_owned(), value.into())).collect();
    let args = [OsString::from("drivechain-stratum")].into_iter();
    settings::load(args, &environment, &|path: &Path| match path.to_str() {
        Some("drivechain-stratum.toml") => Ok(toml.to_owned()),
        _ => Err(io::ErrorKind::NotFound.into()),
    })
}

#[expect(clippy::panic, reason = "fails the test that calls it")]
fn loaded(toml: &str) -> Loaded {
    load_with(toml, &[]).unwrap_or_else(|error| panic!("refused: {error}"))
}

fn settings(toml: &str) -> Settings {
    let Loaded { settings, warnings, .. } = loaded(toml);
    assert_eq!(warnings, [""; 0]);
    settings
}

/// What is wrong with `toml`, a line each, long lines broken.
fn said_of(toml: &str) -> String {
    let lines = match load_with(toml, &[]) {
        Ok(loaded) => loaded.warnings,
        Err(error) => error.to_string().lines().map(str::to_owned).collect(),
    };
    lines.iter().map(|line| wrapped(line)).collect::<Vec<_>>().join("\n")
}

fn wrapped(line: &str) -> String {
    let mut broken = String::new();
    let mut width = 0;
    for word in line.split(' ') {
        if width + word.len() > 86 {
            broken.push_str("\n  ");
            width = 2;
        } else if !broken.is_empty() {
            broken.push(' ');
        }
        width += word.len() + 1;
        broken.push_str(word);
    }
    broken
}

fn place(sidechain: &Sidechain) -> (u8, u16, u32) {
    (sidechain.slot.0, sidechain.daemon.port, sidechain.priority)
}

#[test]
fn several_sidechains_stand_beside_the_first() {
    let toml = "[[sidechain]]\nslot = 9\n[[sidechain]]\nslot = 9\nport = 6100\npriority = 7\n\
                host = 'side.example'\nuser = 'u'\npassword = ' p '\nfallback = 'skip'\n";
    let only_the_file = settings(toml);
    let places: Vec<_> = only_the_file.sidechains.iter().map(place).collect();
    assert_eq!(places, [(9, 6009, 0), (9, 6100, 7)]);
    let [first, second] = &only_the_file.sidechains[..] else { panic!("two of them") };
    assert_eq!((first.fallback, second.fallback), (Fallback::Zero, Fallback::Skip));
    assert!(first.header.is_m7() && first.daemon.host == "127.0.0.1");
    assert_eq!(first.daemon.credentials, Credentials::None);
    let Credentials::Basic { user, password } = &second.daemon.credentials else {
        panic!("not basic")
    };
    assert_eq!((user.as_str(), password.expose()), ("u", " p "));
    let both = load_with(toml, &[("ENABLE_SIDECHAIN", "true"), ("SIDECHAIN_NUMBER", "2")]);
    let both = both.map(|loaded| loaded.settings.sidechains.iter().map(place).collect::<Vec<_>>());
    assert_eq!(both.unwrap_or_default(), [(2, 6002, 0), (9, 6009, 0), (9, 6100, 7)]);
    assert_eq!(settings("stratum_port = 1").sidechains, []);
}

#[test]
fn each_problem_names_file_entry_and_key() {
    assert_snapshot!(said_of(
        "[[sidechain]]\nhost = 'a b'\n[[sidechain]]\nslot = 256\nkind = 'elements'\nport = 0\n\
         priority = -1\nuser = 'ann:hunter2'\n[[sidechain]]\nslot = 1\nfallback = 'none'\nheader_hex = 'xx'\n"
    ), @r"
    slot= ([[sidechain]] 1 in drivechain-stratum.toml): is not a sidechain slot, so blocks
      would commit to no sidechain; write the slot's number from 0 to 255
    host=a b ([[sidechain]] 1 in drivechain-stratum.toml): is neither a host name nor an
      IP address, so nothing can be reached by it; write one such as localhost, 192.0.2.7
      or ::1
    slot=256 ([[sidechain]] 2 in drivechain-stratum.toml): is not a sidechain slot, so
      blocks would commit to no sidechain; write the slot's number from 0 to 255
    kind=elements ([[sidechain]] 2 in drivechain-stratum.toml): is no kind of sidechain
      daemon, so it is open what it is to be asked; write bestblock or thunder
    port=0 ([[sidechain]] 2 in drivechain-stratum.toml): is not a port, so there is
      nothing to connect to; write a whole number from 1 to 65535
    user ([[sidechain]] 2 in drivechain-stratum.toml): has a colon, which ends a user name
      in HTTP, so another user would be asked for; write what follows it into password
    priority=-1 ([[sidechain]] 2 in drivechain-stratum.toml): is not a priority, so it is
      open which sidechain has a slot that two want; write a whole number, the larger wins
    fallback=none ([[sidechain]] 3 in drivechain-stratum.toml): is no fallback, so it is
      open what a block commits to while the sidechain daemon is away; write zero or skip
    header_hex=xx ([[sidechain]] 3 in drivechain-stratum.toml): is not the mark of a BMM
      commitment ('x' is not a hex digit), so no sidechain would find it; write d1617368
    ");
    assert_snapshot!(said_of("[[sidechain]]\nslot = [1]"), @r"
    slot ([[sidechain]] 1 in drivechain-stratum.toml): is a TOML array, which cannot be
      its value; write one text in quotes or one number
    ");
    assert_snapshot!(said_of("sidechain = 9"), @r"
    sidechain (drivechain-stratum.toml): is a TOML integer and no section; write a line
      [[sidechain]] and its settings below it
    ");
    assert_snapshot!(said_of("[sidechain]\nslot = 9"), @r"
    sidechain (drivechain-stratum.toml): is a TOML table and no section; write a line
      [[sidechain]] and its settings below it
    ");
    assert_snapshot!(said_of("[[sidechain]]\nslot = 9\nport = { a = 1 }"), @r"
    port ([[sidechain]] 1 in drivechain-stratum.toml): is a TOML table, which cannot be
      its value; write one text in quotes or one number
    ");
    let many = "[[sidechain]]\nslot = 1\n".repeat(1_025);
    assert_snapshot!(said_of(&many), @r"
    [[sidechain]] (drivechain-stratum.toml): stands 1025 times, and more than 1024 are not
      read; leave some out
    ");
}

#[test]
fn unknown_keys_are_named_and_do_not_stop_the_start() {
    assert_snapshot!(said_of(
        "[[sidechains]]\nslot = 9\n[[sidechain]]\nslot = 9\npasword = 'hunter2'\nprt = 1\n\
         colour = 'red'\nheader_hex = '00000001'\n"
    ), @r"
    colour of [[sidechain]] 1 in drivechain-stratum.toml is not a setting and has no
      effect; it takes slot, kind, host, port, user, password, priority, fallback,
      header_hex
    pasword of [[sidechain]] 1 in drivechain-stratum.toml is not a setting and has no
      effect; did you mean password?
    prt of [[sidechain]] 1 in drivechain-stratum.toml is not a setting and has no effect;
      did you mean port?
    sidechains in drivechain-stratum.toml is not a setting and has no effect; did you mean
      sidechain?
    header_hex ([[sidechain]] 1 in drivechain-stratum.toml) is not d1617368 (BIP301 M7):
      enforcers will not see the commitments and the sidechain will not advance; leave it
      out unless your sidechain differs
    ");
}

#[test]
fn the_listing_shows_entries_with_their_passwords_masked() {
    let toml = "[[sidechain]]\nslot = 9\npassword = 'hunter2'\nuser = 'ann lee'\n\
                [[sidechain]]\nslot = 13\npriority = 5\nkind = 'Thunder'\n";
    let loaded = loaded(toml);
    let everything = format!("{loaded:?}{}", loaded.listing());
    assert!(!everything.contains("hunter"), "{everything}");
    let entries: Vec<String> =
        loaded.listing().lines().filter(|line| line.starts_with('#')).map(wrapped).collect();
    assert_snapshot!(entries.join("\n"), @r#"
    # [[sidechain]] 1 in drivechain-stratum.toml: slot=9 kind=bestblock host=127.0.0.1
      port=6009 user="ann lee" password=******** priority=0 fallback=zero
      header_hex=d1617368
    # [[sidechain]] 2 in drivechain-stratum.toml: slot=13 kind=Thunder host=127.0.0.1
      port=6013 user= password= priority=5 fallback=zero header_hex=d1617368
    "#);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "reads a file of this repository")]
fn the_readme_has_the_table_and_an_example_that_works() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let text = std::fs::read_to_string(&readme).unwrap_or_default();
    let table = settings::sections_table();
    assert!(text.contains(&table), "{} has to contain:\n{table}", readme.display());
    let example = text.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next());
    let example = example.unwrap_or_default();
    for section in SECTIONS {
        assert!(example.contains(&section.heading()), "{} is not shown", section.heading());
    }
    // Its payout is not to be beside that of every other test.
    let only_cookie = [("RPC_USER", ""), ("MINER_PKH_HEX", "")];
    let Loaded { settings, warnings, .. } = load_with(example, &only_cookie).expect("it is right");
    assert_eq!(warnings, [""; 0]);
    let sidechains = settings.sidechains.iter().map(|each| (each.slot.0, each.kind));
    let expected = [(9, SidechainKind::Thunder), (98, SidechainKind::BestBlock)];
    assert_eq!(sidechains.collect::<Vec<_>>(), expected);
}
