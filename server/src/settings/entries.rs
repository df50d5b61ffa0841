//! The sections of the settings file: tables such as `[[sidechain]]`, key by key.
//!
//! A flag or an environment variable can say one thing once. What there may be several of stands
//! in the TOML file alone, as a table each. Here such tables become [`Entry`]s, and their values
//! are read one at a time. What the keys are is described in `sections.rs`.
//!
//! **Invariant:** an entry is read by describing it: each key that is read is also listed, a
//! secret masked, and each problem names file, entry and key.

use std::collections::BTreeMap;

use toml::de::{DeTable, DeValue};

use super::sections::Section;
use super::source::{Findings, Source, scalar, suggest_among};
use super::table::Setting;
use super::{MASK, quoted, reader};

/// Tables of one section. There are 256 slots, and nobody needs several entries for each.
const ENTRIES_MAX: usize = 1_024;

/// One table, its values as they were written.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) section: &'static Section,
    /// Where it stands: `[[sidechain]] 2 in drivechain-stratum.toml`.
    place: String,
    values: BTreeMap<String, Written>,
    /// The keys that were read, as `--print-config` shows them.
    shown: Vec<String>,
}

#[derive(Debug)]
enum Written {
    Text(String),
    List(Vec<String>),
    Tables(Vec<Entry>),
}

/// The entries of `section`, from what stands under its name.
pub(super) fn collect(
    section: &'static Section,
    value: &DeValue<'_>,
    source: &Source,
    findings: &mut Findings,
) -> Vec<Entry> {
    let Some(tables) = tables(section, value) else {
        findings.problems.push(format!(
            "{} ({source}): is a TOML {} and no section; write a line {} and its settings below it",
            section.key(),
            value.type_str(),
            section.heading()
        ));
        return Vec::new();
    };
    if tables.len() > ENTRIES_MAX {
        findings.problems.push(format!(
            "{} ({source}): stands {} times, and more than {ENTRIES_MAX} are not read; leave some \
             out",
            section.heading(),
            tables.len()
        ));
        return Vec::new();
    }
    let numbered = tables.into_iter().zip(1..);
    numbered.map(|(table, number)| entry(section, number, table, source, findings)).collect()
}

fn tables<'t, 's>(section: &Section, value: &'t DeValue<'s>) -> Option<Vec<&'t DeTable<'s>>> {
    match value {
        DeValue::Table(table) if !section.many => Some(vec![table]),
        DeValue::Array(items) if section.many => {
            items.iter().map(|item| item.get_ref().as_table()).collect()
        }
        DeValue::Table(_)
        | DeValue::Array(_)
        | DeValue::String(_)
        | DeValue::Integer(_)
        | DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_) => None,
    }
}

fn entry(
    section: &'static Section,
    number: usize,
    table: &DeTable<'_>,
    source: &Source,
    findings: &mut Findings,
) -> Entry {
    let heading = section.heading();
    let place = if section.many {
        format!("{heading} {number} in {source}")
    } else {
        format!("{heading} in {source}")
    };
    let mut values = BTreeMap::new();
    for (key, value) in table {
        let (key, value) = (key.get_ref().to_string(), value.get_ref());
        if let Some(nested) = section.nested.filter(|nested| nested.key() == key) {
            values.insert(key, Written::Tables(collect(nested, value, source, findings)));
        } else if !section.fields.iter().any(|field| field.key() == key) {
            findings.warnings.push(unknown_key(section, &key, &place));
        } else if let Some(text) = scalar(value) {
            values.insert(key, Written::Text(text));
        } else if let Some(list) = list(value) {
            values.insert(key, Written::List(list));
        } else {
            findings.problems.push(format!(
                "{key} ({place}): is a TOML {}, which cannot be its value; write one text in \
                 quotes or one number, or a list of them where the key takes one",
                value.type_str()
            ));
        }
    }
    Entry { section, place, values, shown: Vec::new() }
}

fn list(value: &DeValue<'_>) -> Option<Vec<String>> {
    value.as_array()?.iter().map(|item| scalar(item.get_ref())).collect()
}

fn unknown_key(section: &Section, key: &str, place: &str) -> String {
    let names = section.fields.iter().map(Setting::key);
    let names: Vec<String> = names.chain(section.nested.map(|s| s.key().to_owned())).collect();
    let meant = suggest_among(key, &names).map_or_else(
        || format!("it takes {}", names.join(", ")),
        |meant| format!("did you mean {meant}?"),
    );
    let key = key.escape_debug();
    format!("{key} of {place} is not a setting and has no effect; {meant}")
}

impl Entry {
    /// The value of `field`, or `None` and a problem.
    pub(super) fn read<T>(
        &mut self,
        findings: &mut Findings,
        field: &Setting,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        self.read_or(findings, field, field.default, parse)
    }

    /// As [`Self::read`], with a default that depends on other values.
    pub(super) fn read_or<T>(
        &mut self,
        findings: &mut Findings,
        field: &Setting,
        default: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let key = field.key();
        let value = match self.values.get(&key) {
            Some(Written::Text(text)) if !text.trim().is_empty() => text.as_str(),
            Some(Written::Text(_)) | None => default,
            Some(Written::List(_) | Written::Tables(_)) => {
                let place = &self.place;
                findings.problems.push(format!("{key} ({place}): is a list; write one value"));
                return None;
            }
        };
        let value = if field.secret { value } else { value.trim() };
        let shown = if field.secret && !value.is_empty() { MASK } else { value };
        let line = format!("{key}={}", quoted(shown));
        let parsed = parse(value).map_err(|problem| {
            format!("{key}={} ({}): {problem}", reader::short(shown), self.place)
        });
        self.shown.push(line);
        parsed.map_err(|problem| findings.problems.push(problem)).ok()
    }

    /// Whether `field` is given at all.
    pub(super) fn has(&self, field: &Setting) -> bool {
        self.values.contains_key(&field.key())
    }

    /// Each value of the list `field`; none where it is not given.
    pub(super) fn read_list<T>(
        &mut self,
        findings: &mut Findings,
        field: &Setting,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Vec<T>> {
        let (key, place) = (field.key(), &self.place);
        let texts = match self.values.get(&key) {
            None => &[][..],
            Some(Written::List(texts)) => texts,
            Some(Written::Text(_) | Written::Tables(_)) => {
                let problem = format!("{key} ({place}): is no list of values; write [1, 2]");
                findings.problems.push(problem);
                return None;
            }
        };
        let parsed: Vec<Option<T>> = texts
            .iter()
            .map(|text| {
                let parsed = parse(text.trim()).map_err(|problem| {
                    format!("{} in {key} ({place}): {problem}", reader::short(text))
                });
                parsed.map_err(|problem| findings.problems.push(problem)).ok()
            })
            .collect();
        self.shown.push(format!("{key}={}", quoted(&format!("[{}]", texts.join(",")))));
        parsed.into_iter().collect()
    }

    /// A user name of HTTP basic authentication; one with a password in it is not repeated.
    pub(super) fn read_user(&mut self, findings: &mut Findings, field: &Setting) -> Option<String> {
        let key = field.key();
        if let Some(Written::Text(text)) = self.values.get(&key)
            && text.contains(':')
        {
            findings.problems.push(format!(
                "{key} ({}): has a colon, which ends a user name in HTTP, so another user would \
                 be asked for; write what follows it into {}",
                self.place,
                key.replace("user", "password")
            ));
            return None;
        }
        self.read(findings, field, |text| Ok(text.to_owned()))
    }

    /// The entries of the section in this one.
    pub(super) fn nested(&mut self) -> Vec<Self> {
        let name = self.section.nested.map_or("", |nested| nested.key());
        match self.values.remove(name) {
            Some(Written::Tables(entries)) => entries,
            Some(Written::Text(_) | Written::List(_)) | None => Vec::new(),
        }
    }

    /// Lists what was read of an entry in this one.
    pub(super) fn show_nested(&mut self, nested: &Self) {
        let heading = nested.section.heading();
        self.shown.push(format!("{heading} {}", nested.shown.join(" ")));
    }

    /// Where it stands, for messages.
    pub(super) fn place(&self) -> &str {
        &self.place
    }

    /// What was read, on one line.
    pub(super) fn listing(&self) -> String {
        format!("{}: {}", self.place, self.shown.join(" "))
    }
}
