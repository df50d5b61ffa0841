//! The wire form of Stratum v1: lenient in what is read, exact in what is written.
//!
//! What miners ask and how it is answered stands here; how a line is read, in `request`. Request
//! ids are opaque: whatever JSON value a miner sends comes back byte for byte, for some send null,
//! some strings, and some the same number for every request (MINERS).

use std::borrow::Cow;

use bytes::Bytes;

use super::reject::Reject;
use crate::mining::difficulty::Difficulty;
use crate::mining::hex;
use crate::mining::job::{Job, JobId};
use crate::mining::script_sig::{EXTRANONCE2_BYTES, Extranonce1};
use crate::mining::share::Candidate;

mod request;

pub use request::parse;

/// The id of our `client.get_version`: a number, for cgminer answers with nothing else.
const VERSION_QUESTION: &str = "9001";

/// A request's id as it was written: any JSON value.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RequestId<'a>(&'a str);

impl<'a> RequestId<'a> {
    /// What answers a request that had none, or that could not be read.
    pub const NULL: Self = Self("null");

    /// The id, for an answer that has to wait.
    pub(super) fn keep(self) -> Box<str> {
        self.0.into()
    }

    /// What was kept, as an id.
    pub(super) fn kept(text: &'a str) -> Self {
        Self(text)
    }
}

/// One line from a miner.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Request<'a> {
    /// Echoed in the reply.
    pub id: RequestId<'a>,
    /// What is asked; a reason when it cannot be understood.
    pub call: Result<Call<'a>, Reject>,
}

/// What miners ask.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Call<'a> {
    /// `mining.subscribe`.
    Subscribe {
        /// The program's name, such as `cgminer/4.12.0`, when it gave one.
        agent: Option<String>,
        /// The session that it wants to go on with, when it named one of a form that we give.
        resume: Option<Extranonce1>,
    },
    /// `mining.authorize`.
    Authorize {
        /// The worker's name.
        worker: String,
        /// The password; empty when there is none.
        password: String,
    },
    /// `mining.configure` (BIP-0310).
    Configure(Configure),
    /// `mining.suggest_difficulty` or `mining.suggest_target`; none for a suggestion of zero,
    /// which asks for nothing.
    Suggest(Option<Difficulty>),
    /// `mining.submit`, with a reason when its fields cannot be a candidate.
    Submit {
        /// The worker's name.
        worker: Cow<'a, str>,
        /// The fields, parsed.
        candidate: Result<Candidate, Reject>,
    },
    /// Harmless, and answered `true`: `mining.extranonce.subscribe` (a lease lasts as long as its
    /// connection, so no `mining.set_extranonce` ever follows), `mining.capabilities`, `pong`.
    Courtesy,
    /// `mining.multi_version`: version rolling before BIP-0310, with no mask to agree on.
    MultiVersion,
    /// `mining.ping`.
    Ping,
    /// `mining.get_transactions`: of this job, when it is a name that we could have given.
    GetTransactions(Option<JobId>),
    /// A reply to our `client.get_version`: the program's name.
    Version(String),
    /// A reply to anything else, or a notification: needs no answer.
    Reply,
}

/// The extensions of a `mining.configure`, in the order they were asked for.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Configure {
    /// Names, as asked.
    pub extensions: Vec<String>,
    /// `version-rolling.mask`; all bits when absent.
    pub mask: Option<u32>,
    /// `version-rolling.min-bit-count`; none when absent.
    pub bits_min: Option<u32>,
    /// `minimum-difficulty.value`; none when absent or no difficulty.
    pub difficulty_min: Option<Difficulty>,
}

/// Appends a reply whose result is `result`, JSON text.
pub fn reply(line: &mut String, id: RequestId<'_>, result: &str) {
    let parts = ["{\"id\":", id.0, ",\"result\":", result, ",\"error\":null}\n"];
    // At once, and for a lone reply no more than it is.
    line.reserve(parts.iter().map(|part| part.len()).sum());
    for part in parts {
        line.push_str(part);
    }
}

/// A reply that refuses.
pub fn refusal(id: RequestId<'_>, why: &Reject) -> String {
    let message = serde_json::Value::from(why.to_string());
    let code = why.code();
    format!("{{\"id\":{},\"result\":null,\"error\":[{code},{message},null]}}\n", id.0)
}

/// The result of `mining.subscribe`: the subscriptions, extranonce1 and the bytes of extranonce2.
/// Nested the way NerdMiner reads it.
pub fn subscribe_result(one: Extranonce1) -> String {
    let one = hex::encode(&one);
    format!(
        "[[[\"mining.set_difficulty\",\"{one}\"],[\"mining.notify\",\"{one}\"]],\
         \"{one}\",{EXTRANONCE2_BYTES}]"
    )
}

/// `mining.set_difficulty`: for the jobs that follow it.
pub fn set_difficulty(difficulty: Difficulty) -> String {
    format!("{{\"id\":null,\"method\":\"mining.set_difficulty\",\"params\":[{difficulty}]}}\n")
}

/// `mining.set_version_mask` (BIP-0310).
pub fn set_version_mask(mask: u32) -> String {
    format!("{{\"id\":null,\"method\":\"mining.set_version_mask\",\"params\":[\"{mask:08x}\"]}}\n")
}

/// `client.get_version`, answered with [`Call::Version`].
pub fn get_version() -> String {
    format!("{{\"id\":{VERSION_QUESTION},\"method\":\"client.get_version\",\"params\":[]}}\n")
}

/// `client.show_message`: `text` for the person at the miner's screen.
pub fn show_message(text: &str) -> String {
    let text = serde_json::Value::from(text);
    format!("{{\"id\":null,\"method\":\"client.show_message\",\"params\":[{text}]}}\n")
}

/// `client.reconnect` to where the miner is connected already. Without parameters: firmware that
/// is told a host checks it against the one it knows, and some takes an empty one for a name.
pub fn reconnect() -> String {
    "{\"id\":null,\"method\":\"client.reconnect\",\"params\":[]}\n".to_owned()
}

/// The result of `mining.get_transactions`: the job's transactions but the coinbase, in hex.
/// `None` when the line would be longer than `bytes_max`.
pub fn transactions_result(job: &Job, bytes_max: usize) -> Option<String> {
    let transactions = &job.template.transactions;
    let length: usize = transactions.iter().map(|each| 2 * each.bytes.len() + 3).sum();
    if length > bytes_max {
        return None;
    }
    let each = transactions.iter().map(|each| format!("\"{}\"", hex::encode(&each.bytes)));
    Some(format!("[{}]", each.collect::<Vec<_>>().join(",")))
}

/// `mining.notify`: `[job id, previous hash, coinb1, coinb2, branch, version, bits, time, clean]`.
pub fn notify(job: &Job, clean: bool) -> Bytes {
    let branch: Vec<String> =
        job.branch.iter().map(|hash| format!("\"{}\"", hex::encode(hash))).collect();
    let line = format!(
        "{{\"id\":null,\"method\":\"mining.notify\",\"params\":[\"{}\",\"{}\",\"{}\",\"{}\",[{}],\
         \"{:08x}\",\"{:08x}\",\"{:08x}\",{clean}]}}\n",
        job.id,
        swapped_words(&job.template.parent),
        hex::encode(job.coinbase.prefix()),
        hex::encode(job.coinbase.suffix()),
        branch.join(","),
        job.version,
        job.template.bits.to_consensus(),
        job.template.time.0,
    );
    Bytes::from(line)
}

/// The previous hash as Stratum writes it: each four-byte word of the header's bytes reversed.
fn swapped_words(hash: &[u8; 32]) -> String {
    let mut swapped = *hash;
    for word in swapped.chunks_exact_mut(4) {
        word.reverse();
    }
    hex::encode(&swapped)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::UnixTime;

    fn call(line: &str) -> Result<Call<'_>, Reject> {
        parse(line.as_bytes()).call
    }

    #[test]
    fn ids_come_back_byte_for_byte() {
        for id in ["null", "7", "\"auth\"", "1.50", "-0", "\"\\u0041\"", "[1, 2]", "1e2"] {
            let line = format!("{{\"id\": {id} , \"method\":\"x\",\"params\":[]}}");
            let expected = format!("{{\"id\":{id},\"result\":true,\"error\":null}}\n");
            let mut said = String::new();
            reply(&mut said, parse(line.as_bytes()).id, "true");
            assert_eq!(said, expected);
        }
        let none = parse(br#"{"method":"mining.ping"}"#);
        assert_eq!((none.id, none.call), (RequestId::NULL, Ok(Call::Ping)));
    }

    #[test]
    fn a_submission_of_five_and_of_six() {
        let job = JobId { generation: 1, sequence: 0xf, revision: 0 };
        let expected = Candidate {
            job,
            extranonce2: [0, 0, 0, 0, 0, 0, 0, 0xab],
            time: UnixTime(0x6a1b_2c3d),
            nonce: 0x9c8f1,
            version_bits: None,
        };
        let check = |params: &str, candidate| {
            let worker = Cow::Borrowed("w");
            let line = format!("{{\"id\":1,\"method\":\"mining.submit\",\"params\":[{params}]}}");
            assert_eq!(call(&line), Ok(Call::Submit { worker, candidate }), "{params}");
        };
        let five = r#""w","000000010000000f","00000000000000AB","6a1b2c3d","9c8f1""#;
        check(five, Ok(expected));
        let with_bits = Candidate { version_bits: Some(0x2000), ..expected };
        check(&format!("{five},\"00002000\""), Ok(with_bits));
        check(&format!("{five},null"), Ok(expected));
        let again = five.replace("0000000f", "0000000f2a");
        check(&again, Ok(Candidate { job: JobId { revision: 0x2a, ..job }, ..expected }));
        check(&five.replace("0000000f", "0000000f2"), Err(Reject::JobNotFound));
        check(r#""w","dead","00000000000000AB","6a1b2c3d","9c8f1""#, Err(Reject::JobNotFound));
        let bad = |why| Err(Reject::BadParameter(why));
        check(r#""w""#, bad("the job id must be a string"));
        check(
            r#""w","000000010000000f","00AB","6a1b2c3d","9c8f1""#,
            bad("extranonce2 must be 16 hex digits"),
        );
        check(
            r#""w","000000010000000f","00000000000000zz","6a1b2c3d","9c8f1""#,
            bad("extranonce2 must be 16 hex digits"),
        );
        check(
            r#""w","000000010000000f","00000000000000ab",5,"9c8f1""#,
            bad("ntime must be up to 8 hex digits"),
        );
    }

    /// What is read in one go and what is not is the same: each line in a spelling that the short
    /// way takes, and in one that it leaves to the long one.
    #[test]
    fn the_short_way_and_the_long_one_agree() {
        let params = r#""w.1","000000010000000f","00000000000000ab","6a1b2c3d","9c8f1","2000""#;
        let short = format!("{{\"id\":7,\"method\":\"mining.submit\",\"params\":[{params}]}}");
        let expected = parse(short.as_bytes());
        assert!(matches!(&expected.call, Ok(Call::Submit { candidate: Ok(_), .. })));
        for (plain, other) in [
            ("mining", "m\\u0069ning"),
            ("w.1", "\\u0077.1"),
            ("9c8f1", "9c\\u0038f1"),
            ("\"2000\"", "\"2000\",null"),
            ("\"2000\"", "\"2000\",\"x\""),
            ("{", "{\"x\":[],"),
            ("}", ",\"result\":5}"),
        ] {
            let long = short.replacen(plain, other, 1);
            assert_ne!(long, short);
            assert_eq!(parse(long.as_bytes()), expected, "{long}");
        }
        for (plain, other) in [("\"params\"", "\"id\":7,\"params\""), ("]}", "]} x"), ("w", "\t")] {
            let bad = short.replacen(plain, other, 1);
            assert_eq!(call(&bad), Err(Reject::Malformed), "{bad}");
        }
    }

    #[test]
    fn what_no_miner_would_send() {
        for line in ["", "x", "[]", "5", "null", "{", "{}x", "\"a\"", "{\"id\":1,\"id\":2}"] {
            assert_eq!(call(line), Err(Reject::Malformed), "{line}");
        }
        assert_eq!(parse(&[0xff, 0xfe, 0]).call, Err(Reject::Malformed));
        let deep = format!("{{\"id\":{}", "[".repeat(10_000));
        assert_eq!(call(&deep), Err(Reject::Malformed));
        assert_eq!(call(r#"{"id":1,"method":5}"#), Err(Reject::Malformed));
        assert_eq!(call(r#"{"id":1,"method":"mining.fly"}"#), Err(Reject::UnknownMethod));
        let object = Reject::BadParameter("params must be an array");
        assert_eq!(call(r#"{"id":1,"method":"mining.submit","params":{}}"#), Err(object));
        assert_eq!(call(r#"{"id":1,"result":true,"error":null}"#), Ok(Call::Reply));
    }

    #[test]
    fn configure_is_read_as_real_firmware_writes_it() {
        let check = |params: &str, mask, bits_min, extensions: &[&str]| {
            let line = format!("{{\"id\":1,\"method\":\"mining.configure\",\"params\":{params}}}");
            let extensions = extensions.iter().map(|&name| name.to_owned()).collect();
            let configure = Configure { extensions, mask, bits_min, difficulty_min: None };
            assert_eq!(call(&line), Ok(Call::Configure(configure)));
        };
        let rolling = ["version-rolling"];
        let full = concat!(
            r#"[["version-rolling"],{"version-rolling.mask":"1fffe000","#,
            r#""version-rolling.min-bit-count":16}]"#
        );
        check(full, Some(0x1fff_e000), Some(16), &rolling);
        check(r#"[["version-rolling"]]"#, None, None, &rolling);
        check(
            r#"[["version-rolling"],{"version-rolling.min-bit-count":"x"}]"#,
            None,
            None,
            &rolling,
        );
        assert!(call(r#"{"id":1,"method":"mining.configure","params":[]}"#).is_err());
    }

    #[test]
    fn suggestions_in_every_spelling() {
        let check = |method: &str, param: &str, expected: Option<&str>| {
            let line = format!("{{\"id\":1,\"method\":\"mining.{method}\",\"params\":[{param}]}}");
            let expected = expected.map(|text| text.parse().expect("a difficulty"));
            assert_eq!(call(&line), Ok(Call::Suggest(expected)), "{param}");
        };
        check("suggest_difficulty", "42", Some("42"));
        check("suggest_difficulty", "0.00015", Some("0.00015"));
        check("suggest_difficulty", "1e-05", Some("0.00001"));
        check("suggest_difficulty", "1000.0", Some("1000"));
        check("suggest_difficulty", "\"0.001000\"", Some("0.001"));
        check("suggest_difficulty", "0", None);
        let target = format!("\"00000000ffff{}\"", "0".repeat(52));
        check("suggest_target", &target, Some("1"));
        check("suggest_target", &format!("\"{}\"", "0".repeat(64)), None);
        for params in ["", "\"x\"", "null", "[]", "1e99"] {
            for method in ["suggest_difficulty", "suggest_target"] {
                let line =
                    format!("{{\"id\":1,\"method\":\"mining.{method}\",\"params\":[{params}]}}");
                assert!(matches!(call(&line), Err(Reject::BadParameter(_))), "{line}");
            }
        }
    }

    #[test]
    fn a_session_to_go_on_with_is_known_by_its_form() {
        let check = |params: &str, expected| {
            let line =
                format!("{{\"id\":1,\"method\":\"mining.subscribe\",\"params\":[{params}]}}");
            let Ok(Call::Subscribe { resume, .. }) = call(&line) else { panic!("{line}") };
            assert_eq!(resume, expected, "{params}");
        };
        check("", None);
        check(r#""a/1""#, None);
        check(r#""a/1","0000002A""#, Some([0, 0, 0, 0x2a]));
        check(r#""a/1",null,"host:3333",null"#, None);
        check(r#""a/1","deadbeefdeadbeef""#, None);
        check(r#""a/1",7"#, None);
    }

    #[test]
    fn who_answers_our_question_is_heard() {
        let version = |text: &str| Ok(Call::Version(text.to_owned()));
        assert_eq!(call(r#"{"id":9001,"result":"v2.12.2","error":null}"#), version("v2.12.2"));
        assert_eq!(call(r#"{"id":9001,"result":null,"error":[20,"",null]}"#), Ok(Call::Reply));
        assert_eq!(call(r#"{"id":7,"result":"v2.12.2","error":null}"#), Ok(Call::Reply));
    }

    #[test]
    fn previous_hashes_are_word_swapped() {
        let mut hash = [0; 32];
        hash[..8].copy_from_slice(&[1, 2, 3, 4, 5, 6, 7, 8]);
        assert!(swapped_words(&hash).starts_with("0403020108070605"));
    }

    #[test]
    fn refusals_are_slush_arrays() {
        let id = parse(br#"{"id":"a","method":"m"}"#).id;
        let line = refusal(id, &Reject::LowDifficulty);
        let expected = "{\"id\":\"a\",\"result\":null,\
                        \"error\":[23,\"Above target (low difficulty share)\",null]}\n";
        assert_eq!(line, expected);
    }
}
