//! The sections of the settings file: several sidechains, what they become, what is said of them.
//!
//! Not here: the settings that flags and variables can say too (`settings.rs`).

#![cfg(feature = "runtime")]

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::Path;

use insta::assert_snapshot;
use server::bmm::Slot;
use server::bmm::message::Declaration;
use server::bmm::wishes::{VoteWish, Wishes};
use server::config::{Fallback, NodeRole, SidechainKind};
use server::settings::{
    self, Credentials, Loaded, OtherNode, SECTIONS, Settings, SettingsError, Sidechain,
};

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
         priority = -1\nuser = 'ann:hunter2'\n[[sidechain]]\nslot = 1\nfallback = 'none'\n\
         header_hex = 'xx'\n"
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
    let list = "slot ([[sidechain]] 1 in drivechain-stratum.toml): is a list; write one value";
    assert_eq!(said_of("[[sidechain]]\nslot = [1]"), list);
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
      its value; write one text in quotes or one number, or a list of them where the key
      takes one
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

const PROPOSAL: &str = "[[propose]]\nslot = 9\ntitle = 'T'\ndescription = 'D'\nhash_id_1 = \
    '0102030405060708091011121314151617181920212223242526272829303132'\nhash_id_2 = \
    '0102030405060708091011121314151617181920'\n";

/// The hashes of a proposal are written as they stand in the block, that of an acknowledgement is
/// shown in reverse, as the enforcer does.
#[test]
fn wishes_become_messages_byte_for_byte() {
    let hash = format!("ff{}", "00".repeat(31));
    let toml = format!(
        "{PROPOSAL}[[acknowledge]]\nslot = 2\nhash = '{hash}'\n[votes]\nmode = 'abstain'\n\
         active_slots = [9, 2, '13', 2]\n"
    );
    let Wishes { proposals, acknowledgements, votes } = settings(&toml).wishes;
    let declaration = Declaration::parse(&proposals[0].description).expect("version 0");
    assert_eq!((declaration.title.as_str(), declaration.description.as_str()), ("T", "D"));
    assert_eq!(
        (declaration.hash_id_1[..2].to_vec(), declaration.hash_id_1[31]),
        (vec![1, 2], 0x32)
    );
    assert_eq!((declaration.hash_id_2[0], declaration.hash_id_2[19]), (1, 0x20));
    let bytes: &[u8; 32] = acknowledgements[0].description_hash.as_ref();
    assert_eq!((bytes[0], bytes[31]), (0, 0xff));
    assert_eq!(acknowledgements[0].description_hash.to_string(), hash);
    let active = [2, 9, 13].map(Slot).into();
    assert_eq!(votes, Some(VoteWish::Each { active, upvotes: [].into() }));
    let repeat = loaded("[votes]\nmode = 'repeat'").settings.wishes.votes;
    assert_eq!(repeat, Some(VoteWish::RepeatPrevious));
    let leading = settings("[votes]\nmode = 'Leading-by-50'").wishes.votes;
    assert_eq!(leading, Some(VoteWish::LeadingBy50));
    assert_eq!(settings("").wishes, Wishes::default());
}

#[test]
fn wishes_that_are_wrong_by_themselves_stop_the_start() {
    assert_snapshot!(said_of("[[propose]]\nslot = 1\nhash_id_1 = 'ab'\nhash_id_2 = 'xy'\n"), @r"
    title= ([[propose]] 1 in drivechain-stratum.toml): is no title of a sidechain, so none
      could be proposed; write 1 to 255 bytes
    hash_id_1=ab ([[propose]] 1 in drivechain-stratum.toml): is no hash (2 hex digits
      instead of 64), so the proposal would say nothing; write 64 hex digits
    hash_id_2=xy ([[propose]] 1 in drivechain-stratum.toml): is no hash ('x' is not a hex
      digit), so the proposal would say nothing; write 40 hex digits
    ");
    assert_snapshot!(said_of("[[acknowledge]]\nslot = 1\nhash = '00'\n"), @r"
    hash=00 ([[acknowledge]] 1 in drivechain-stratum.toml): is no hash of a proposal (2
      hex digits instead of 64), so no enforcer would count it; copy the
      description_sha256d_hash that the enforcer shows
    ");
    let long = format!("description = '{}'\n", "x".repeat(1_001));
    let long = PROPOSAL.replace("description = 'D'\n", &long);
    assert!(said_of(&long).contains("1000 bytes at"), "{}", said_of(&long));
    assert_snapshot!(said_of("[votes]\nmode = 'all'\nactive_slots = [1, 256]\n"), @r"
    mode=all ([votes] in drivechain-stratum.toml): is no way to vote, so no vote could be
      cast; write repeat, abstain, upvotes or leading-by-50
    256 in active_slots ([votes] in drivechain-stratum.toml): is not a sidechain slot, so
      blocks would commit to no sidechain; write the slot's number from 0 to 255
    ");
    assert_snapshot!(said_of("[votes]\nmode = 'abstain'\n"), @r"
    active_slots ([votes] in drivechain-stratum.toml): is missing, and a vote has to name
      every active slot; list them, [] for none, or leave [votes] out: a block without
      votes abstains
    ");
    let no_list =
        "active_slots ([votes] in drivechain-stratum.toml): is no list of values; write [1, 2]";
    assert_eq!(said_of("[votes]\nmode = 'abstain'\nactive_slots = 9\n"), no_list);
    assert_snapshot!(said_of(
        "[votes]\nmode = 'upvotes'\nactive_slots = [2]\nupvotes = [{slot = 9, index = 0}]\n"
    ), @r"
    upvotes ([votes] in drivechain-stratum.toml): votes for slot 9, which active_slots
      does not have; add it there if it is active, or take the vote out
    ");
    assert_snapshot!(said_of(
        "[votes]\nmode = 'upvotes'\nactive_slots = [9]\nupvotes = [{slot = 9, index = 65534}]\n"
    ), @r"
    index=65534 ([[votes.upvotes]] 1 in drivechain-stratum.toml): is not the place of a
      bundle, so the vote would be for none; write a whole number from 0, the oldest, to
      65533
    ");
}

#[test]
fn votes_that_nobody_can_check_are_warned_of() {
    assert_snapshot!(said_of("[votes]\nmode = 'repeat'\nupvotes = [{slot = 9, index = 0}]\n"), @r"
    upvotes ([votes] in drivechain-stratum.toml) has no effect: mode is not upvotes
    mode=repeat ([votes] in drivechain-stratum.toml): when a bundle that the block before
      voted for is gone, the repeated vote loses the block, and nothing here can see it;
      leading-by-50 never does
    ");
    let toml = "[votes]\nmode = 'upvotes'\nactive_slots = [9]\n[[votes.upvotes]]\nslot = 9\n\
                index = 3\n";
    assert_snapshot!(said_of(toml), @r"
    mode=upvotes ([votes] in drivechain-stratum.toml): a vote for a bundle that is not
      pending loses the block, and nothing here can see which are; take it out before its
      bundle is paid or too old
    ");
    let listing = loaded(toml).entries.join("\n");
    assert_snapshot!(wrapped(&listing), @r"
    [votes] in drivechain-stratum.toml: mode=upvotes active_slots=[9] [[votes.upvotes]]
      slot=9 index=3
    ");
}

#[test]
#[expect(clippy::disallowed_methods, reason = "reads a file of this repository")]
fn the_readme_has_the_table_and_an_example_that_works() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let text = std::fs::read_to_string(&readme).unwrap_or_default();
    let table = settings::sections_table();
    assert!(text.contains(&table), "{} has to contain:\n{table}", readme.display());
    let example = text.rsplit("```toml\n").next().and_then(|rest| rest.split("```").next());
    let example = example.unwrap_or_default();
    for section in SECTIONS {
        assert!(example.contains(&section.heading()), "{} is not shown", section.heading());
    }
    // Its payout is not to be beside that of every other test.
    let only_cookie = [("RPC_USER", ""), ("MINER_PKH_HEX", "")];
    let Loaded { settings, warnings, .. } = load_with(example, &only_cookie).expect("it is right");
    assert_eq!(warnings.len(), 1, "of votes that nobody can check: {warnings:?}");
    let Wishes { proposals, acknowledgements, votes } = &settings.wishes;
    assert_eq!((proposals.len(), acknowledgements.len(), votes.is_some()), (1, 1, true));
    let sidechains = settings.sidechains.iter().map(|each| (each.slot.0, each.kind));
    let expected = [(9, SidechainKind::Thunder), (98, SidechainKind::BestBlock)];
    assert_eq!(sidechains.collect::<Vec<_>>(), expected);
}

#[test]
fn nodes_beside_the_first_stand_in_the_file() {
    let settings = settings(
        "network = 'signet'\n[[node]]\nhost = 'two.example'\nuser = 'u'\npassword = 'p'\n\
         zmq = 'tcp://two.example:28332'\n[[node]]\nport = 1\ncookie_file = '/c'\n\
         submit_only = true\n[[node]]\n",
    );
    let [two, three, four] = &settings.other_nodes[..] else { panic!("three of them") };
    let place = |node: &OtherNode| (node.rpc.host.clone(), node.rpc.port, node.role);
    assert_eq!(place(two), ("two.example".to_owned(), 38_332, NodeRole::Follow));
    assert_eq!(two.zmq, ["tcp://two.example:28332"]);
    assert!(matches!(&two.rpc.credentials, Credentials::Basic { user, .. } if user == "u"));
    assert_eq!(place(three), ("127.0.0.1".to_owned(), 1, NodeRole::SubmitOnly));
    assert_eq!(three.rpc.credentials, Credentials::CookieFile("/c".into()));
    assert_eq!((four.rpc.port, &four.rpc.credentials), (38_332, &Credentials::None));
    assert_snapshot!(said_of(
        "[[node]]\nuser = 'a:b'\nport = 0\nsubmit_only = 'maybe'\nzmq = 'here'\n"
    ), @r"
    port=0 ([[node]] 1 in drivechain-stratum.toml): is not a port, so there is nothing to
      connect to; write a whole number from 1 to 65535
    user ([[node]] 1 in drivechain-stratum.toml): has a colon, which ends a user name in
      HTTP, so another user would be asked for; write what follows it into password
    zmq=here ([[node]] 1 in drivechain-stratum.toml): here is no address that a node
      publishes at, so nothing would be heard; write one such as tcp://127.0.0.1:28332
    submit_only=maybe ([[node]] 1 in drivechain-stratum.toml): is neither yes nor no;
      write true or false
    ");
    let both = "[[node]]\nuser = 'a'\ncookie_file = 'b'\n";
    assert_snapshot!(said_of(both), @r"
    cookie_file ([[node]] 1 in drivechain-stratum.toml) has no effect: user is set and
      goes first
    ");
}
