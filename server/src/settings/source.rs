//! Where values come from: the layers and their order.
//!
//! Flags, environment, `.env` and TOML each become a [`Layer`]: names and texts. Here a key is
//! recognised or warned about; what its value means is not looked at.
//!
//! **Invariant:** a value is text exactly as its author wrote it, a secret never gets into a
//! message, and the process environment is not read: it is an argument.

use core::fmt;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use clap::ArgMatches;
use toml::de::{DeTable, DeValue};

use super::Files;
use super::entries::{self, Entry};
use super::sections::SECTIONS;
use super::table::{SETTINGS, Setting};

/// Edits between an unknown key and the setting that was probably meant.
const SUGGESTION_EDITS_MAX: usize = 3;

/// Where a value came from, the strongest first.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Source {
    /// The command line.
    Flag,
    /// The environment of the process.
    Environment,
    /// An environment file, by its path.
    EnvFile(PathBuf),
    /// A TOML file, by its path.
    ConfigFile(PathBuf),
    /// Nowhere: it is the default.
    Default,
}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => formatter.write_str("flag"),
            Self::Environment => formatter.write_str("environment"),
            Self::EnvFile(path) | Self::ConfigFile(path) => write!(formatter, "{}", path.display()),
            Self::Default => formatter.write_str("default"),
        }
    }
}

/// The values of one source, by the name of the setting, empty ones left out.
pub(super) struct Layer {
    pub(super) source: Source,
    values: BTreeMap<String, String>,
}

impl Layer {
    fn new(source: Source) -> Self {
        Self { source, values: BTreeMap::new() }
    }

    pub(super) fn get(&self, setting: &Setting) -> Option<&str> {
        self.values.get(&setting.name()).map(String::as_str)
    }

    fn set(&mut self, setting: &Setting, value: String) {
        // An empty value is not set: the next layer decides.
        if !value.trim().is_empty() {
            self.values.insert(setting.name(), value);
        }
    }
}

/// What was found wrong on the way: lines that stop the start, and lines that do not.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) problems: Vec<String>,
    pub(super) warnings: Vec<String>,
}

/// The values given as flags.
pub(super) fn flags(matches: &ArgMatches) -> Layer {
    let mut layer = Layer::new(Source::Flag);
    for setting in SETTINGS {
        if let Some(value) = matches.get_one::<String>(setting.flag) {
            layer.set(setting, value.clone());
        }
    }
    layer
}

/// The values in `environment`. Names that are no setting belong to others there.
pub(super) fn environment(
    environment: &BTreeMap<String, OsString>,
    findings: &mut Findings,
) -> Layer {
    let mut layer = Layer::new(Source::Environment);
    for setting in SETTINGS {
        match environment.get(&setting.name()).map(|value| value.to_str()) {
            None => {}
            Some(Some(value)) => layer.set(setting, value.to_owned()),
            Some(None) => findings.problems.push(format!(
                "{} (environment): is not valid UTF-8, so it cannot be read as text; set it anew",
                setting.name()
            )),
        }
    }
    layer
}

/// The values of the environment file `path`, which must exist only if `named`.
pub(super) fn env_file(
    path: &Path,
    named: bool,
    files: &Files<'_>,
    findings: &mut Findings,
) -> Layer {
    let source = Source::EnvFile(path.to_owned());
    let mut layer = Layer::new(source.clone());
    let text = read(path, named, files, findings);
    let text = shield_dollars(&text);
    let Ok(entries) = parse_env(&text) else {
        findings.problems.push(env_syntax_problem(&text, &source));
        return layer;
    };
    let mut seen = Vec::new();
    for (name, value) in entries {
        let Some(setting) = SETTINGS.iter().find(|setting| setting.name() == name) else {
            let meant = suggest(&name).map(Setting::name);
            findings.warnings.push(unknown_key(&name, &source, meant));
            continue;
        };
        if seen.contains(&name) {
            findings.warnings.push(format!("{name} stands twice in {source}; the last one counts"));
            layer.values.remove(&name);
        }
        seen.push(name);
        layer.set(setting, value.replace(DOLLAR, "$"));
    }
    layer
}

/// The values and the sections of the TOML file `path`, which must exist only if `named`.
pub(super) fn config_file(
    path: &Path,
    named: bool,
    files: &Files<'_>,
    findings: &mut Findings,
) -> (Layer, Vec<Entry>) {
    let source = Source::ConfigFile(path.to_owned());
    let mut layer = Layer::new(source.clone());
    let mut entries = Vec::new();
    let text = read(path, named, files, findings);
    let table = match DeTable::parse(&text) {
        Ok(table) => table.into_inner(),
        Err(error) => {
            let line = error.span().map_or(1, |span| line_number(&text, span.start));
            // Not the error's own display, which shows the line and so perhaps a password.
            let what = error.message().replace('\n', ", ");
            findings.problems.push(format!(
                "{source} line {line}: {what}; nothing in the file can be trusted, correct it as \
                 TOML: names in lower case, texts in quotes"
            ));
            return (layer, entries);
        }
    };
    for (key, value) in &table {
        let key = key.get_ref();
        if let Some(section) = SECTIONS.iter().find(|section| section.name == *key) {
            entries.extend(entries::collect(section, value.get_ref(), &source, findings));
            continue;
        }
        let Some(setting) = SETTINGS.iter().find(|setting| setting.key() == *key) else {
            let sections = SECTIONS.iter().map(|section| section.name.to_owned());
            let names: Vec<String> = SETTINGS.iter().map(Setting::key).chain(sections).collect();
            let meant = suggest_among(key, &names).cloned();
            findings.warnings.push(unknown_key(key, &source, meant));
            continue;
        };
        match scalar(value.get_ref()) {
            Some(text) => layer.set(setting, text),
            None => findings.problems.push(format!(
                "{key} ({source}): is a TOML {}, which cannot be its value; write one text in \
                 quotes, one number or true or false",
                value.get_ref().type_str()
            )),
        }
    }
    (layer, entries)
}

/// The text of a value as it was written; numbers of another base in decimal.
pub(super) fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str().to_owned()),
        DeValue::Integer(number) => Some(
            u64::from_str_radix(number.as_str(), number.radix())
                .map_or_else(|_| number.to_string(), |value| value.to_string()),
        ),
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        DeValue::Boolean(value) => Some(value.to_string()),
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

/// The text of `path` without a byte order mark; empty where nobody asked for it and it is not
/// there.
fn read(path: &Path, named: bool, files: &Files<'_>, findings: &mut Findings) -> String {
    let absent = |error: &io::Error| {
        // `.env` is also what many call a folder with a Python in it.
        matches!(error.kind(), ErrorKind::NotFound | ErrorKind::IsADirectory)
    };
    match files(path) {
        Ok(text) => text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text),
        Err(error) if !named && absent(&error) => String::new(),
        Err(error) => {
            findings.problems.push(format!(
                "{}: cannot be read ({error}), so its settings are unknown; name a readable file, \
                 or none",
                path.display()
            ));
            String::new()
        }
    }
}

/// Stands for a `$` while `dotenvy` parses: a private-use character nobody types.
const DOLLAR: &str = "\u{f8ff}";

/// Hides each `$` from `dotenvy`, which would put variables of the process in its place, so that
/// a password may have one. An escaped `\$` is left: `dotenvy` makes it a `$` where that is due.
fn shield_dollars(text: &str) -> String {
    let mut shielded = String::with_capacity(text.len() + 1);
    let mut escaped = false;
    for character in text.chars() {
        match character {
            '$' if !escaped => shielded.push_str(DOLLAR),
            other => shielded.push(other),
        }
        escaped = character == '\\' && !escaped;
    }
    // `dotenvy` 0.15 takes a blank at the very end of the file for an open value.
    shielded.push('\n');
    shielded
}

fn parse_env(text: &str) -> Result<Vec<(String, String)>, dotenvy::Error> {
    dotenvy::from_read_iter(text.as_bytes()).collect()
}

/// Names the line at which `text` stops being an environment file, without its value.
fn env_syntax_problem(text: &str, source: &Source) -> String {
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    // The longest beginning that parses ends before the bad line. Shorter ones may fail: they
    // may end within quotes.
    let good = (0..lines.len())
        .rev()
        .find(|count| parse_env(&lines[..*count].concat()).is_ok())
        .unwrap_or(0);
    let name = lines.get(good).and_then(|line| line.split_once('=')).map_or("", |(name, _)| name);
    let known = SETTINGS.iter().find(|setting| name.trim().ends_with(&setting.name()));
    let which = known.map_or_else(String::new, |setting| format!(" ({})", setting.name()));
    format!(
        "{source} line {}{which}: is not NAME=value; nothing in the file can be trusted, put a \
         value with blanks, quotes or backslashes between single quotes",
        good + 1
    )
}

fn line_number(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

fn unknown_key(key: &str, source: &Source, meant: Option<String>) -> String {
    let key = key.escape_debug();
    let meant = meant.map_or_else(
        || "--help lists the settings".to_owned(),
        |meant| format!("did you mean {meant}?"),
    );
    format!("{key} in {source} is not a setting and has no effect; {meant}")
}

/// The setting that somebody who wrote `key` probably meant.
fn suggest(key: &str) -> Option<&'static Setting> {
    let names: Vec<String> = SETTINGS.iter().map(Setting::key).collect();
    let meant = suggest_among(key, &names)?;
    SETTINGS.iter().find(|setting| setting.key() == *meant)
}

/// The one of `names` that somebody who wrote `key` probably meant.
pub(super) fn suggest_among<'n>(key: &str, names: &'n [String]) -> Option<&'n String> {
    let key = key.to_lowercase().replace('-', "_");
    names
        .iter()
        .map(|name| (edit_distance(&key, name), name))
        .filter(|(edits, name)| *edits <= SUGGESTION_EDITS_MAX.min(name.len() / 3))
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, name)| name)
}

/// Insertions, deletions and replacements that turn `from` into `to` (Levenshtein).
fn edit_distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (index, left) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = index + 1;
        for (column, right) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(left != *right);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_counted() {
        let check = |from, to, edits| assert_eq!(edit_distance(from, to), edits, "{from} {to}");
        check("", "", 0);
        check("", "abc", 3);
        check("rpc_host", "rpc_host", 0);
        check("rpc_hots", "rpc_host", 2);
        check("rpchost", "rpc_host", 1);
        check("kitten", "sitting", 3);
    }

    #[test]
    fn only_near_names_are_suggested() {
        let suggested = |key| suggest(key).map_or("none", |setting| setting.flag);
        assert_eq!(suggested("RPC_HOTS"), "rpc-host");
        assert_eq!(suggested("rpc-passwort"), "rpc-password");
        assert_eq!(suggested("POOL_DIFF"), "none");
        assert_eq!(suggested("DATABASE_URL"), "none");
        assert_eq!(suggested("PATH"), "none");
    }
}
