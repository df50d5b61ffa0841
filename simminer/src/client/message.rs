//! One line of the server, read: what it answers, or what it asks for.
//!
//! Why strict: this reader is a witness. What it cannot make sense of becomes a complaint with the
//! field's name, and never a guess; only the forms that real pools differ in (an error as array,
//! object or text; a difficulty or port as text) are all taken.
//! What is not here: what a line does to the session (`client`).

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::hex;
use crate::target::Difficulty;
use crate::work::{Job, NotifyStrings};

/// Bytes that one part of the extranonce may have at most.
pub(super) const EXTRANONCE_BYTES_MAX: usize = 32;

/// Characters of a strange line that a complaint quotes.
const QUOTE_CHARS_MAX: usize = 160;

/// A server's "no", in its own words.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Refusal {
    /// Stratum's code (21 job not found, 22 duplicate, 23 low difficulty, ...), if one came.
    pub code: Option<i64>,
    /// The reason given, or that none was given.
    pub message: String,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.code {
            Some(code) => write!(formatter, "{} (code {code})", self.message),
            None => formatter.write_str(&self.message),
        }
    }
}

/// Both parts of the extranonce, as `mining.subscribe` and `mining.set_extranonce` give them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Extranonce {
    /// The server's part.
    pub(super) one: Vec<u8>,
    /// Bytes of the miner's part.
    pub(super) two_size: usize,
}

/// A line, sorted into the two kinds there are.
#[derive(Debug)]
pub(super) enum Line<'a> {
    /// An answer to a request of ours.
    Reply {
        /// The id of the request.
        id: &'a RawValue,
        /// What it answers.
        result: Result<&'a RawValue, Refusal>,
    },
    /// A request or, without id, a notification.
    Call {
        /// What an answer must carry; `None` wants no answer.
        id: Option<&'a RawValue>,
        /// What is asked, or why that cannot be read.
        call: Result<Call, String>,
    },
}

/// What a server may ask of a miner.
#[derive(Debug)]
pub(super) enum Call {
    /// `mining.set_difficulty`.
    SetDifficulty(Difficulty),
    /// `mining.notify`.
    Notify(Job),
    /// `mining.set_extranonce`.
    SetExtranonce(Extranonce),
    /// `mining.set_version_mask` (BIP-0310).
    SetVersionMask(u32),
    /// `client.reconnect`.
    Reconnect {
        /// Where to; `None` or empty is where we are.
        host: Option<String>,
        /// Which port; `None` is the one we use.
        port: Option<u16>,
        /// Seconds to wait first.
        wait_seconds: u64,
    },
    /// `client.show_message`.
    ShowMessage(String),
    /// `client.get_version`.
    GetVersion,
    /// `mining.ping`.
    Ping,
}

/// A line's members, each still text.
#[derive(Deserialize)]
struct Members<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    method: Option<&'a RawValue>,
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
    #[serde(borrow, default)]
    result: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "reject-reason")]
    reject_reason: Option<&'a RawValue>,
}

/// Reads one line, without its line feed; the error says what is strange about it.
pub(super) fn read_line(line: &[u8]) -> Result<Line<'_>, String> {
    let text = std::str::from_utf8(line).map_err(|error| format!("not UTF-8: {error}"))?;
    // serde would also fill a struct from an array.
    if !text.starts_with('{') {
        return Err(format!("not a JSON object: {}", quote(text)));
    }
    let members: Members<'_> = serde_json::from_str(text)
        .map_err(|error| format!("not JSON: {error}: {}", quote(text)))?;
    if let Some(method) = members.method {
        let call = serde_json::from_str::<String>(method.get())
            .map_err(|_| format!("method is not text: {}", quote(method.get())))
            .and_then(|method| read_call(&method, members.params));
        return Ok(Line::Call { id: members.id, call });
    }
    // A null is an id to some, and their requests are answered with it.
    let is_answer = members.result.or(members.error).is_some();
    let Some(id) = members.id.or_else(|| is_answer.then_some(RawValue::NULL)) else {
        return Err(format!("neither a method nor an id: {}", quote(text)));
    };
    let result = match (members.error.or(members.reject_reason), members.result) {
        (Some(error), _) => Err(read_refusal(error)),
        (None, Some(result)) => Ok(result),
        (None, None) => Err(Refusal { code: None, message: "answered with null".to_owned() }),
    };
    Ok(Line::Reply { id, result })
}

/// The answer to `mining.subscribe`: `[subscriptions, extranonce1, extranonce2_size]`.
pub(super) fn read_subscription(result: &RawValue) -> Result<Extranonce, String> {
    let Params(fields) = Params::read("mining.subscribe's answer", Some(result))?;
    match fields.get(1..3) {
        Some([one, two_size]) => read_extranonce(one, two_size),
        _ => Err(format!("mining.subscribe's answer has {} fields, not 3", fields.len())),
    }
}

/// The answer to `mining.configure`: the mask that was granted, zero when none was.
pub(super) fn read_version_mask(result: &RawValue) -> Result<u32, String> {
    #[derive(Deserialize)]
    struct Configured {
        #[serde(rename = "version-rolling", default)]
        granted: Value,
        #[serde(rename = "version-rolling.mask", default)]
        mask: Option<String>,
    }
    let configured: Configured = serde_json::from_str(result.get())
        .map_err(|error| format!("mining.configure's answer: {error}"))?;
    if configured.granted != Value::Bool(true) {
        return Ok(0);
    }
    let mask = configured.mask.ok_or("mining.configure granted version rolling without a mask")?;
    hex::decode_u32(&mask).map_err(|error| format!("version-rolling.mask: {error}"))
}

/// Whether an answer is a plain `true`.
pub(super) fn is_true(result: &RawValue) -> bool {
    result.get() == "true"
}

/// The parameters of a call, each still text.
struct Params<'a>(Vec<&'a RawValue>);

impl<'a> Params<'a> {
    /// Takes an array apart; no parameters at all are an empty array.
    fn read(what: &str, params: Option<&'a RawValue>) -> Result<Self, String> {
        let Some(params) = params else { return Ok(Self(vec![])) };
        serde_json::from_str(params.get())
            .map(Self)
            .map_err(|_| format!("{what}: not an array: {}", quote(params.get())))
    }

    /// The parameter at `index`, still text.
    fn raw(&self, index: usize, name: &str) -> Result<&'a RawValue, String> {
        self.0.get(index).copied().ok_or_else(|| format!("{name}: parameter {index} is missing"))
    }

    /// The parameter at `index`, as a `T`.
    fn get<T: DeserializeOwned>(&self, index: usize, name: &str) -> Result<T, String> {
        let raw = self.raw(index, name)?;
        serde_json::from_str(raw.get())
            .map_err(|_| format!("{name}: parameter {index} is {}", quote(raw.get())))
    }
}

/// Reads a call by its method.
fn read_call(method: &str, params: Option<&RawValue>) -> Result<Call, String> {
    let params = Params::read(method, params)?;
    match method {
        "mining.set_difficulty" => {
            let raw = params.raw(0, method)?.get();
            raw.parse()
                .map(Call::SetDifficulty)
                .map_err(|error| format!("{method}: {}: {error}", quote(raw)))
        }
        "mining.notify" => read_notify(&params).map(Call::Notify),
        "mining.set_extranonce" => {
            read_extranonce(params.raw(0, method)?, params.raw(1, method)?).map(Call::SetExtranonce)
        }
        "mining.set_version_mask" => hex::decode_u32(&params.get::<String>(0, method)?)
            .map(Call::SetVersionMask)
            .map_err(|error| format!("{method}: {error}")),
        "client.reconnect" => read_reconnect(&params),
        "client.show_message" => params.get(0, method).map(Call::ShowMessage),
        "client.get_version" => Ok(Call::GetVersion),
        "mining.ping" => Ok(Call::Ping),
        _ => Err(format!("unknown method {}", quote(method))),
    }
}

/// Reads the nine parameters of `mining.notify`.
fn read_notify(params: &Params<'_>) -> Result<Job, String> {
    let text = |index| params.get::<String>(index, "mining.notify");
    let branch: Vec<String> = params.get(4, "mining.notify")?;
    Job::from_strings(&NotifyStrings {
        job_id: &text(0)?,
        previous_block: &text(1)?,
        coinbase1: &text(2)?,
        coinbase2: &text(3)?,
        branch: &branch,
        version: &text(5)?,
        bits: &text(6)?,
        time: &text(7)?,
        clean: params.get(8, "mining.notify")?,
    })
    .map_err(|error| format!("mining.notify: {error}"))
}

/// Reads an extranonce1 and the size of extranonce2.
fn read_extranonce(one: &RawValue, two_size: &RawValue) -> Result<Extranonce, String> {
    let text: String = serde_json::from_str(one.get())
        .map_err(|_| format!("extranonce1 is {}", quote(one.get())))?;
    let one = hex::decode(&text).map_err(|error| format!("extranonce1: {error}"))?;
    if one.len() > EXTRANONCE_BYTES_MAX {
        return Err(format!("extranonce1 has {} bytes", one.len()));
    }
    let size = serde_json::from_str::<usize>(two_size.get()).ok();
    let size = size.filter(|size| (1..=EXTRANONCE_BYTES_MAX).contains(size));
    let two_size = size.ok_or_else(|| format!("extranonce2 size is {}", quote(two_size.get())))?;
    Ok(Extranonce { one, two_size })
}

/// Reads `client.reconnect`'s `[host, port, seconds]`, each of which may be left out.
fn read_reconnect(params: &Params<'_>) -> Result<Call, String> {
    let name = "client.reconnect";
    let present = |index| params.0.get(index).is_some();
    let host = if present(0) { params.get(0, name)? } else { None };
    let number = |index| -> Result<Option<u64>, String> {
        if !present(index) {
            return Ok(None);
        }
        let value: Value = params.get(index, name)?;
        let text = value.as_str().unwrap_or_default();
        if value.is_null() || value == "" {
            return Ok(None);
        }
        match value.as_u64().or_else(|| text.parse().ok()) {
            Some(number) => Ok(Some(number)),
            None => Err(format!("{name}: parameter {index} is no number")),
        }
    };
    let port = match number(1)? {
        None | Some(0) => None,
        Some(port) => {
            Some(u16::try_from(port).map_err(|_| format!("{name}: there is no port {port}"))?)
        }
    };
    Ok(Call::Reconnect { host, port, wait_seconds: number(2)?.unwrap_or(0) })
}

/// Reads an error: `[code, message, ...]`, `{"code", "message"}`, a text, or whatever it is.
fn read_refusal(error: &RawValue) -> Refusal {
    let (code, message) = match serde_json::from_str(error.get()) {
        Ok(Value::Array(fields)) => (
            fields.first().and_then(Value::as_i64),
            fields.get(1).and_then(Value::as_str).map(str::to_owned),
        ),
        Ok(Value::Object(fields)) => (
            fields.get("code").and_then(Value::as_i64),
            fields.get("message").and_then(Value::as_str).map(str::to_owned),
        ),
        Ok(Value::String(text)) => (None, Some(text)),
        Ok(Value::Null | Value::Bool(_) | Value::Number(_)) | Err(_) => (None, None),
    };
    Refusal { code, message: message.unwrap_or_else(|| quote(error.get())) }
}

/// A text short enough for a message, with what a terminal might obey made visible.
pub(super) fn quote(text: &str) -> String {
    let mut quoted: String =
        text.chars().take(QUOTE_CHARS_MAX).flat_map(char::escape_debug).collect();
    if text.chars().nth(QUOTE_CHARS_MAX).is_some() {
        quoted.push_str("...");
    }
    quoted
}
