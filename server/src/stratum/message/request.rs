//! One line from a miner, read: every spelling that real firmware has (MINERS 1).

use core::fmt;
use std::borrow::Cow;

use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
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

/// A submission as almost all firmware writes it, read in one go: strings without escapes, five of
/// them or six. Whatever is different goes the long way, which also says what is wrong with it.
#[derive(Deserialize)]
struct Submission<'a> {
    #[serde(borrow)]
    id: &'a RawValue,
    method: &'a str,
    params: Fields<'a>,
}

/// The strings of a submission, and how many they are.
#[derive(Default)]
struct Fields<'a> {
    texts: [&'a str; 6],
    count: usize,
}

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Each;

        impl<'de> Visitor<'de> for Each {
            type Value = Fields<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("up to six strings")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut each: A) -> Result<Fields<'de>, A::Error> {
                let mut fields = Fields::default();
                while let Some(text) = each.next_element()? {
                    let count = fields.count;
                    let place = fields.texts.get_mut(count);
                    *place.ok_or_else(|| A::Error::invalid_length(count, &self))? = text;
                    fields.count += 1;
                }
                Ok(fields)
            }
        }

        deserializer.deserialize_seq(Each)
    }
}

/// Reads one line. Never fails: what cannot be understood is a request with a reason to refuse it.
pub fn parse(line: &[u8]) -> Request<'_> {
    let line = core::str::from_utf8(line).ok().filter(|line| line.starts_with('{'));
    if let Some(request) = line.and_then(parse_submission) {
        return request;
    }
    let Some(wire) = line.and_then(|line| serde_json::from_str::<Wire<'_>>(line).ok()) else {
        return Request { id: RequestId::NULL, call: Err(Reject::Malformed) };
    };
    let id = wire.id.map_or(RequestId::NULL, |id| RequestId(id.get()));
    Request { id, call: parse_call(&wire) }
}

fn parse_submission(line: &str) -> Option<Request<'_>> {
    let Submission { id, method, params } = serde_json::from_str(line).ok()?;
    let worker = Cow::Borrowed(*params.texts.first()?);
    let texts = params.texts.map(Some);
    let fields = texts.get(1..params.count).filter(|_| method == "mining.submit")?;
    let call = Call::Submit { worker, candidate: parse_candidate(fields) };
    Some(Request { id: RequestId(id.get()), call: Ok(call) })
}

fn parse_call<'a>(wire: &Wire<'a>) -> Result<Call<'a>, Reject> {
    let Some(method) = wire.method else { return Ok(parse_reply(wire)) };
    let method = text(method).ok_or(Reject::Malformed)?;
    let params: Vec<&'a RawValue> = match wire.params {
        None => Vec::new(),
        Some(params) => serde_json::from_str(params.get())
            .map_err(|_| Reject::BadParameter("params must be an array"))?,
    };
    match method.as_ref() {
        "mining.subscribe" => {
            // The second parameter is a session's id, null, or something else's version.
            let resume = params.get(1).and_then(|raw| text(raw));
            let resume = resume.and_then(|id| hex::decode_array(id.as_bytes()));
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
            let worker = params.first().and_then(|raw| text(raw)).unwrap_or_default();
            // A sixth that is null is none.
            let bits = params.get(5).filter(|raw| raw.get() != "null");
            let fields = params.iter().take(5).chain(bits).skip(1);
            let texts: Vec<Option<Cow<'_, str>>> = fields.map(|raw| text(raw)).collect();
            let fields: Vec<Option<&str>> = texts.iter().map(Option::as_deref).collect();
            Ok(Call::Submit { worker, candidate: parse_candidate(&fields) })
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
fn parse_reply<'a>(wire: &Wire<'a>) -> Call<'a> {
    let ours = wire.id.is_some_and(|id| id.get() == VERSION_QUESTION);
    let version = wire.result.filter(|_| ours).and_then(text);
    version.map_or(Call::Reply, |version| Call::Version(version.into_owned()))
}

/// A number, or one in quotes, as cpuminer-opt has it.
fn parse_suggestion(params: &[&RawValue]) -> Result<Call<'static>, Reject> {
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
fn parse_suggested_target(params: &[&RawValue]) -> Result<Call<'static>, Reject> {
    let digits = params.first().and_then(|raw| text(raw));
    let bytes: [u8; 32] = digits
        .and_then(|digits| hex::decode_array(digits.as_bytes()))
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

/// Of what follows the worker's name: strings, where they are some.
fn parse_candidate(fields: &[Option<&str>]) -> Result<Candidate, Reject> {
    let field = |place: usize, why| fields.get(place).copied().flatten().ok_or(why);
    let number = |place, why: &'static str| {
        let why = Reject::BadParameter(why);
        hex::decode_u32(field(place, why.clone())?).ok_or(why)
    };
    let job = field(0, Reject::BadParameter("the job id must be a string"))?;
    let job = job.parse().map_err(|()| Reject::JobNotFound)?;
    let why = Reject::BadParameter("extranonce2 must be 16 hex digits");
    let extranonce2 = hex::decode_array(field(1, why.clone())?).ok_or(why)?;
    let time = UnixTime(number(2, "ntime must be up to 8 hex digits")?);
    let nonce = number(3, "the nonce must be up to 8 hex digits")?;
    let version_bits = match fields.get(4) {
        None => None,
        Some(_) => Some(number(4, "the version bits must be up to 8 hex digits")?),
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
