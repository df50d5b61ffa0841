//! The wire form of Stratum v1: lenient in what is read, exact in what is written.
//!
//! Request ids are opaque: whatever JSON value a miner sends comes back byte for byte, for some
//! send null, some strings, and some the same number for every request (MINERS).

use std::borrow::Cow;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::reject::Reject;
use crate::clock::UnixTime;
use crate::mining::difficulty::Difficulty;
use crate::mining::hex;
use crate::mining::job::Job;
use crate::mining::script_sig::{EXTRANONCE2_BYTES, Extranonce1};
use crate::mining::share::Candidate;

/// A request's id as it was written: any JSON value.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RequestId(Box<str>);

impl RequestId {
    /// What answers a request that had none, or that could not be read.
    pub fn null() -> Self {
        Self("null".into())
    }
}

/// One line from a miner.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Request {
    /// Echoed in the reply.
    pub id: RequestId,
    /// What is asked; a reason when it cannot be understood.
    pub call: Result<Call, Reject>,
}

/// What miners ask.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Call {
    /// `mining.subscribe`: the program's name, when it gave one.
    Subscribe {
        /// Such as `cgminer/4.12.0`.
        agent: Option<String>,
    },
    /// `mining.authorize`.
    Authorize {
        /// The worker's name.
        worker: String,
    },
    /// `mining.configure` (BIP-0310).
    Configure(Configure),
    /// `mining.submit`, with a reason when its fields cannot be a candidate.
    Submit {
        /// The worker's name.
        worker: String,
        /// The fields, parsed.
        candidate: Result<Candidate, Reject>,
    },
    /// Harmless, and answered `true`: `mining.suggest_difficulty`, `mining.extranonce.subscribe`
    /// and the like.
    Courtesy,
    /// `mining.ping`.
    Ping,
    /// `mining.get_transactions`.
    GetTransactions,
    /// A reply to something we asked, or a notification: needs no answer.
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
}

#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    method: Option<&'a RawValue>,
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
}

/// Reads one line. Never fails: what cannot be understood is a request with a reason to refuse it.
pub fn parse(line: &[u8]) -> Request {
    let wire = core::str::from_utf8(line).ok().and_then(|line| {
        let object = line.starts_with('{');
        object.then(|| serde_json::from_str::<Wire<'_>>(line).ok()).flatten()
    });
    let Some(wire) = wire else {
        return Request { id: RequestId::null(), call: Err(Reject::Malformed) };
    };
    let id = wire.id.map_or_else(RequestId::null, |id| RequestId(id.get().into()));
    Request { id, call: parse_call(&wire) }
}

fn parse_call(wire: &Wire<'_>) -> Result<Call, Reject> {
    let Some(method) = wire.method else { return Ok(Call::Reply) };
    let method = text(method).ok_or(Reject::Malformed)?;
    let params: Vec<&RawValue> = match wire.params {
        None => Vec::new(),
        Some(params) => serde_json::from_str(params.get())
            .map_err(|_| Reject::BadParameter("params must be an array"))?,
    };
    match method.as_ref() {
        "mining.subscribe" => Ok(Call::Subscribe { agent: string(&params, 0) }),
        "mining.authorize" => match string(&params, 0) {
            Some(worker) => Ok(Call::Authorize { worker }),
            None => Err(Reject::BadParameter("the worker's name must be a string")),
        },
        "mining.configure" => Ok(Call::Configure(parse_configure(&params)?)),
        "mining.submit" => {
            let worker = string(&params, 0).unwrap_or_default();
            Ok(Call::Submit { worker, candidate: parse_candidate(&params) })
        }
        "mining.suggest_difficulty"
        | "mining.suggest_target"
        | "mining.extranonce.subscribe"
        | "mining.multi_version"
        | "mining.capabilities"
        | "pong"
        | "mining.pong" => Ok(Call::Courtesy),
        "mining.ping" => Ok(Call::Ping),
        "mining.get_transactions" => Ok(Call::GetTransactions),
        _ => Err(Reject::UnknownMethod),
    }
}

fn parse_configure(params: &[&RawValue]) -> Result<Configure, Reject> {
    let extensions = params.first().and_then(|list| serde_json::from_str(list.get()).ok());
    let extensions = extensions.ok_or(Reject::BadParameter("extensions must be an array"))?;
    let options: serde_json::Map<String, serde_json::Value> =
        params.get(1).and_then(|map| serde_json::from_str(map.get()).ok()).unwrap_or_default();
    let mask = match options.get("version-rolling.mask") {
        None => None,
        Some(mask) => Some(
            mask.as_str()
                .and_then(hex::decode_u32)
                .ok_or(Reject::BadParameter("version-rolling.mask must be up to 8 hex digits"))?,
        ),
    };
    // Anything that is no number asks for nothing.
    let bits_min = options
        .get("version-rolling.min-bit-count")
        .and_then(serde_json::Value::as_u64)
        .map(|bits| u32::try_from(bits).unwrap_or(u32::MAX));
    Ok(Configure { extensions, mask, bits_min })
}

fn parse_candidate(params: &[&RawValue]) -> Result<Candidate, Reject> {
    let field = |place: usize, why| params.get(place).and_then(|raw| text(raw)).ok_or(why);
    let number = |place, why: &'static str| {
        let why = Reject::BadParameter(why);
        hex::decode_u32(&field(place, why.clone())?).ok_or(why)
    };
    let job = field(1, Reject::BadParameter("the job id must be a string"))?;
    let job = job.parse().map_err(|()| Reject::JobNotFound)?;
    let why = Reject::BadParameter("extranonce2 must be 16 hex digits");
    let extranonce2 = hex::decode_array(&field(2, why.clone())?).ok_or(why)?;
    let time = UnixTime(number(3, "ntime must be up to 8 hex digits")?);
    let nonce = number(4, "the nonce must be up to 8 hex digits")?;
    let version_bits = match params.get(5) {
        None => None,
        Some(raw) if raw.get() == "null" => None,
        Some(_) => Some(number(5, "the version bits must be up to 8 hex digits")?),
    };
    Ok(Candidate { job, extranonce2, time, nonce, version_bits })
}

/// The string that `raw` holds, borrowed when it has no escapes.
fn text(raw: &RawValue) -> Option<Cow<'_, str>> {
    let inside = raw.get().strip_prefix('"')?.strip_suffix('"')?;
    if inside.contains('\\') {
        return serde_json::from_str(raw.get()).ok().map(Cow::Owned);
    }
    Some(Cow::Borrowed(inside))
}

fn string(params: &[&RawValue], place: usize) -> Option<String> {
    params.get(place).and_then(|raw| text(raw)).map(Cow::into_owned)
}

/// A reply whose result is `result`, JSON text.
pub fn reply(id: &RequestId, result: &str) -> String {
    format!("{{\"id\":{},\"result\":{result},\"error\":null}}\n", id.0)
}

/// A reply that refuses.
pub fn refusal(id: &RequestId, why: &Reject) -> String {
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
    use crate::mining::job::JobId;

    fn call(line: &str) -> Result<Call, Reject> {
        parse(line.as_bytes()).call
    }

    #[test]
    fn ids_come_back_byte_for_byte() {
        for id in ["null", "7", "\"auth\"", "1.50", "-0", "\"\\u0041\"", "[1, 2]", "1e2"] {
            let line = format!("{{\"id\": {id} , \"method\":\"x\",\"params\":[]}}");
            let expected = format!("{{\"id\":{id},\"result\":true,\"error\":null}}\n");
            assert_eq!(reply(&parse(line.as_bytes()).id, "true"), expected);
        }
        let none = parse(br#"{"method":"mining.ping"}"#);
        assert_eq!((none.id, none.call), (RequestId::null(), Ok(Call::Ping)));
    }

    #[test]
    fn a_submission_of_five_and_of_six() {
        let job = JobId { generation: 1, sequence: 0xf };
        let expected = Candidate {
            job,
            extranonce2: [0, 0, 0, 0, 0, 0, 0, 0xab],
            time: UnixTime(0x6a1b_2c3d),
            nonce: 0x9c8f1,
            version_bits: None,
        };
        let check = |params: &str, candidate| {
            let worker = "w".to_owned();
            let line = format!("{{\"id\":1,\"method\":\"mining.submit\",\"params\":[{params}]}}");
            assert_eq!(call(&line), Ok(Call::Submit { worker, candidate }), "{params}");
        };
        let five = r#""w","000000010000000f","00000000000000AB","6a1b2c3d","9c8f1""#;
        check(five, Ok(expected));
        let with_bits = Candidate { version_bits: Some(0x2000), ..expected };
        check(&format!("{five},\"00002000\""), Ok(with_bits));
        check(&format!("{five},null"), Ok(expected));
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
            assert_eq!(call(&line), Ok(Call::Configure(Configure { extensions, mask, bits_min })));
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
    fn previous_hashes_are_word_swapped() {
        let mut hash = [0; 32];
        hash[..8].copy_from_slice(&[1, 2, 3, 4, 5, 6, 7, 8]);
        assert!(swapped_words(&hash).starts_with("0403020108070605"));
    }

    #[test]
    fn refusals_are_slush_arrays() {
        let id = parse(br#"{"id":"a","method":"m"}"#).id;
        let line = refusal(&id, &Reject::LowDifficulty);
        let expected = "{\"id\":\"a\",\"result\":null,\
                        \"error\":[23,\"Above target (low difficulty share)\",null]}\n";
        assert_eq!(line, expected);
    }
}
