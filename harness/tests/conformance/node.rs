//! A node that is told the time and asked questions, and the transcript of its answers.
//!
//! Not in here: the questions (`story.rs`).

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bitcoin::Block;
use bitcoin::consensus::encode::serialize_hex;
use harness::http::Clock;
use harness::rpc::{RpcClient, RpcFailure};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

/// How long a call that must be answered may take.
const PATIENCE: Duration = Duration::from_mins(1);
/// After this long without an answer a call is taken to be parked.
const PARKED: Duration = Duration::from_millis(300);

/// Fields that say what the node is made of and not what it thinks.
const MASKED: [&str; 2] = ["size_on_disk", "verificationprogress"];
/// Fields that one distribution of bitcoind has and the others have not.
const FOREIGN: [&str; 2] = ["header_version", "txcount"];
/// A field that ends in a count of changes that nobody else can count.
const COUNTED: &str = "longpollid";
/// The error whose text is the method's help, another one in every version.
const USAGE_ERROR: i64 = -1;

/// A clock for a simulated node, and what sets it.
pub(crate) fn simulated_clock() -> (Clock, Arc<AtomicU32>) {
    let hand = Arc::new(AtomicU32::new(0));
    let shown = Arc::clone(&hand);
    (Arc::new(move || shown.load(Ordering::Relaxed)), hand)
}

/// A node under examination, and all it said.
pub(crate) struct Node {
    client: RpcClient,
    /// Of a simulated node; a real one has `setmocktime`.
    hand: Option<Arc<AtomicU32>>,
    transcript: String,
}

impl Node {
    pub(crate) fn simulated(client: RpcClient, hand: Arc<AtomicU32>) -> Self {
        Self { client: client.with_patience(PATIENCE), hand: Some(hand), transcript: String::new() }
    }

    pub(crate) fn real(client: RpcClient) -> Self {
        Self { client: client.with_patience(PATIENCE), hand: None, transcript: String::new() }
    }

    pub(crate) fn into_transcript(self) -> String {
        self.transcript
    }

    /// Sets its clock, in Unix seconds.
    pub(crate) async fn set_time(&self, unix: u32) {
        match &self.hand {
            Some(hand) => hand.store(unix, Ordering::Relaxed),
            None => drop(self.client.call("setmocktime", json!([unix])).await.unwrap()),
        }
    }

    /// Begins a part of the story.
    pub(crate) fn chapter(&mut self, title: &str) {
        writeln!(self.transcript, "\n== {title}").unwrap();
    }

    /// Writes an answer down.
    pub(crate) fn note(&mut self, what: &str, answer: &str) {
        writeln!(self.transcript, "{what}: {answer}").unwrap();
    }

    /// Asks without writing the answer down; it must be a result.
    pub(crate) async fn result(&self, method: &str, params: Value) -> Value {
        self.client.call(method, params).await.unwrap()
    }

    /// Asks, and writes down whatever it answers.
    pub(crate) async fn ask(&mut self, method: &str, params: Value) {
        let answer = self.client.call(method, params.clone()).await;
        let what = format!("{method} {params}");
        self.note(&shortened(&what), &shown(answer));
    }

    /// Asks, and writes down some fields of the result.
    pub(crate) async fn ask_fields(&mut self, method: &str, params: Value, fields: &[&str]) {
        let result = self.result(method, params.clone()).await;
        self.note(&shortened(&format!("{method} {params}")), &shown(Ok(chosen(&result, fields))));
    }

    /// Asks for a list, and writes down each item in the order of a field: the node's own order
    /// says nothing.
    pub(crate) async fn ask_each(&mut self, method: &str, field: &str) {
        let mut result = self.result(method, json!([])).await;
        let list = result.as_array_mut().unwrap();
        list.sort_by_key(|item| item[field].to_string());
        for item in list.drain(..) {
            self.note(method, &shown(Ok(item)));
        }
    }

    /// Asks what must fail, and writes down the code alone: the words are a policy's.
    pub(crate) async fn ask_code(&mut self, method: &str, params: Value) {
        let failure = self.client.call(method, params.clone()).await.unwrap_err();
        self.note(
            &shortened(&format!("{method} {params}")),
            &format!("error {:?}", failure.code()),
        );
    }

    /// Submits a block; null is "accepted".
    pub(crate) async fn submit(&self, block: &Block) -> String {
        word(self.client.call("submitblock", json!([serialize_hex(block)])).await)
    }

    /// Proposes a block (BIP-0023).
    pub(crate) async fn propose(&self, block: &Block) -> String {
        let hex = serialize_hex(block);
        let request = json!([{ "mode": "proposal", "data": hex, "rules": ["segwit"] }]);
        word(self.client.call("getblocktemplate", request).await)
    }

    /// Asks for the template after the one of `longpollid`, and sees that it is not given yet.
    pub(crate) async fn park(&mut self, longpollid: Value) -> LongPoll {
        let client = self.client.clone();
        let request = json!([{ "rules": ["segwit"], "longpollid": longpollid }]);
        let mut call = tokio::spawn(async move { client.call("getblocktemplate", request).await });
        let early = tokio::time::timeout(PARKED, &mut call).await;
        self.note("long poll", if early.is_ok() { "is answered at once" } else { "waits" });
        early.map_or(LongPoll::Waits(call), |answer| LongPoll::Answered(answer.unwrap()))
    }

    /// Writes down what a long-poll was answered in the end.
    pub(crate) async fn wake(&mut self, poll: LongPoll, fields: &[&str]) {
        let answer = match poll {
            LongPoll::Answered(answer) => answer,
            LongPoll::Waits(call) => call.await.unwrap(),
        };
        let template = answer.unwrap();
        self.note("the long poll's answer", &shown(Ok(chosen(&template, fields))));
    }
}

/// A long-poll that was asked.
pub(crate) enum LongPoll {
    Answered(Result<Value, RpcFailure>),
    Waits(JoinHandle<Result<Value, RpcFailure>>),
}

/// Some fields of an object; one that is not there stays out.
fn chosen(object: &Value, fields: &[&str]) -> Value {
    let there = |name: &&str| Some(((*name).to_owned(), object.get(name)?.clone()));
    fields.iter().filter_map(there).collect()
}

fn word(answer: Result<Value, RpcFailure>) -> String {
    match answer {
        Ok(Value::Null) => "accepted".to_owned(),
        Ok(Value::String(word)) => word,
        other => shown(other),
    }
}

/// An answer as it is compared.
fn shown(answer: Result<Value, RpcFailure>) -> String {
    match answer {
        Ok(mut value) => {
            mask(&mut value);
            if value.is_object() {
                serde_json::to_string_pretty(&value).unwrap()
            } else {
                shortened(&value.to_string())
            }
        }
        Err(RpcFailure::Refused { code: USAGE_ERROR, .. }) => "error -1: (help)".to_owned(),
        // After a comma bitcoind goes on with amounts, for people.
        Err(RpcFailure::Refused { code, message, .. }) => {
            format!("error {code}: {}", message.split(',').next().unwrap_or_default())
        }
        Err(other) => panic!("{other}"),
    }
}

fn mask(value: &mut Value) {
    let Value::Object(fields) = value else { return };
    fields.retain(|name, _| !FOREIGN.contains(&name.as_str()));
    for (name, field) in fields.iter_mut() {
        if MASKED.contains(&name.as_str()) {
            *field = "(masked)".into();
        } else if let Some(text) = field.as_str().filter(|_| name == COUNTED) {
            let tip = text.split_at_checked(64).map_or(text, |(tip, _)| tip);
            *field = format!("{tip}(count)").into();
        } else if name == "difficulty" {
            // As many digits as bitcoind prints.
            *field = field.as_f64().map_or(Value::Null, |exact| format!("{exact:.10e}").into());
        }
    }
}

/// Long hex says nothing to a reader; its ends tell it from others.
fn shortened(text: &str) -> String {
    const SHOWN: usize = 120;
    if text.len() <= 2 * SHOWN {
        return text.to_owned();
    }
    let middle = text.len() - 2 * SHOWN;
    format!("{}({middle} more){}", &text[..SHOWN], &text[text.len() - SHOWN..])
}
