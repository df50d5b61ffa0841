//! One line from a miner, read: every spelling that real firmware has (MINERS 1).

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Call, Configure, Request, RequestId, VERSION_QUESTION};
use crate::clock::UnixTime;
use crate::mining::difficulty::{Difficulty, DifficultyError, Target};
use crate::mining::hex;
use crate::mining::share::Candidate;
use crate::stratum::reject::Reject;

#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    method: Option<&'a RawValue>,
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
    #[serde(borrow, default)]
    result: Option<&'a RawValue>,
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
    let Some(method) = wire.method else { return Ok(parse_reply(wire)) };
    let method = text(method).ok_or(Reject::Malformed)?;
    let params: Vec<&RawValue> = match wire.params {
        None => Vec::new(),
        Some(params) => serde_json::from_str(params.get())
            .map_err(|_| Reject::BadParameter("params must be an array"))?,
    };
    match method.as_ref() {
        "mining.subscribe" => {
            // The second parameter is a session's id, null, or something else's version.
            let resume = params.get(1).and_then(|raw| text(raw));
            let resume = resume.and_then(|id| hex::decode_array(&id));
            Ok(Call::Subscribe { agent: string(&params, 0), resume })
        }
        "mining.authorize" => match string(&params, 0) {
            Some(worker) => {
                Ok(Call::Authorize { worker, password: string(&params, 1).unwrap_or_default() })
            }
            None => Err(Reject::BadParameter("the worker's name must be a string")),
        },
        "mining.configure" => Ok(Call::Configure(parse_configure(&params)?)),
        "mining.submit" => {
            let worker = string(&params, 0).unwrap_or_default();
            Ok(Call::Submit { worker, candidate: parse_candidate(&params) })
        }
        "mining.suggest_difficulty" => parse_suggestion(&params),
        "mining.suggest_target" => parse_suggested_target(&params),
        "mining.extranonce.subscribe" | "mining.capabilities" | "pong" | "mining.pong" => {
            Ok(Call::Courtesy)
        }
        "mining.multi_version" => Ok(Call::MultiVersion),
        "mining.ping" => Ok(Call::Ping),
        "mining.get_transactions" => {
            let job = params.first().and_then(|raw| text(raw));
            Ok(Call::GetTransactions(job.and_then(|text| text.parse().ok())))
        }
        _ => Err(Reject::UnknownMethod),
    }
}

/// Of all replies only the one to `client.get_version` tells something.
fn parse_reply(wire: &Wire<'_>) -> Call {
    let ours = wire.id.is_some_and(|id| id.get() == VERSION_QUESTION);
    let version = wire.result.filter(|_| ours).and_then(text);
    version.map_or(Call::Reply, |version| Call::Version(version.into_owned()))
}

/// A number, or one in quotes, as cpuminer-opt has it.
fn parse_suggestion(params: &[&RawValue]) -> Result<Call, Reject> {
    let why = Reject::BadParameter("the difficulty must be a number such as 1000 or 0.001");
    let raw = params.first().ok_or_else(|| why.clone())?;
    match difficulty(raw) {
        Ok(difficulty) => Ok(Call::Suggest(Some(difficulty))),
        Err(DifficultyError::NotPositive) => Ok(Call::Suggest(None)),
        Err(DifficultyError::NotANumber | DifficultyError::OutOfRange) => Err(why),
    }
}

fn difficulty(raw: &RawValue) -> Result<Difficulty, DifficultyError> {
    text(raw).unwrap_or_else(|| Cow::Borrowed(raw.get())).parse()
}

/// 64 hex digits, the most significant first.
fn parse_suggested_target(params: &[&RawValue]) -> Result<Call, Reject> {
    let digits = params.first().and_then(|raw| text(raw));
    let bytes: [u8; 32] = digits
        .and_then(|digits| hex::decode_array(&digits))
        .ok_or(Reject::BadParameter("the target must be 64 hex digits"))?;
    let target = (bytes != [0; 32]).then(|| Target::from_be_bytes(bytes));
    Ok(Call::Suggest(target.map(Target::to_difficulty)))
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
    let difficulty_min = options.get("minimum-difficulty.value").and_then(|value| {
        let number = || value.is_number().then(|| value.to_string());
        value.as_str().map(str::to_owned).or_else(number)?.parse().ok()
    });
    Ok(Configure { extensions, mask, bits_min, difficulty_min })
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
