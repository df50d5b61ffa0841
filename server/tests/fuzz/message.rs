//! One line from a miner, read and answered: a reply is one line that carries the request's id byte
//! for byte, and is itself read as a reply.

use serde_json::Value;
use server::stratum::message::{self, Call, RequestId};
use server::stratum::reject::Reject;

/// The input is one line, as framing gives them.
pub(crate) fn run(input: &[u8]) {
    let line = input.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let request = message::parse(line.trim_ascii());
    let mut reply = String::new();
    message::reply(&mut reply, request.id, "true");
    echo(request.id, &reply, "\"result\":true,\"error\":null}\n");
    match request.call {
        Err(why) => refuse(request.id, &why),
        Ok(Call::Submit { worker, candidate }) => {
            show(&worker);
            if let Err(why) = candidate {
                refuse(request.id, &why);
            }
        }
        Ok(Call::Authorize { worker, .. }) => show(&worker),
        Ok(Call::Version(agent)) => show(&agent),
        Ok(Call::Subscribe { agent, resume }) => {
            show(&agent.unwrap_or_default());
            if let Some(one) = resume {
                let result = message::subscribe_result(one);
                serde_json::from_str::<Value>(&result).expect("a result is JSON");
            }
        }
        Ok(Call::Suggest(difficulty)) => {
            if let Some(difficulty) = difficulty {
                let line = message::set_difficulty(difficulty);
                let line: Value = serde_json::from_str(&line).expect("a notification is JSON");
                let said = line["params"][0].as_f64().expect("a difficulty is a number");
                assert!(said > 0.0, "{line}");
                let text = difficulty.to_string();
                assert_eq!(text.parse(), Ok(difficulty), "the text is exact");
            }
        }
        Ok(
            Call::Configure(_)
            | Call::Courtesy
            | Call::MultiVersion
            | Call::Ping
            | Call::GetTransactions(_)
            | Call::Reply,
        ) => {}
    }
}

fn refuse(id: RequestId<'_>, why: &Reject) {
    let line = message::refusal(id, why);
    echo(id, &line, "null]}\n");
    let start = line.find("\"error\":[").expect("it has an error");
    let error = &line[start + "\"error\":".len()..line.len() - "}\n".len()];
    let error: Value = serde_json::from_str(error).expect("an error is JSON");
    assert!((20..=25).contains(&error[0].as_i64().unwrap_or(0)), "a code of Stratum's: {error}");
}

fn echo(id: RequestId<'_>, line: &str, end: &str) {
    assert!(line.ends_with(end) && line.matches('\n').count() == 1, "{line}");
    let read = message::parse(line.trim_ascii_end().as_bytes());
    assert_eq!((read.id, read.call), (id, Ok(Call::Reply)), "{line}");
}

/// Whatever a stranger calls himself, a screen is shown that and no more.
fn show(text: &str) {
    let line = message::show_message(text);
    let line: Value = serde_json::from_str(&line).expect("a notification is JSON");
    assert_eq!(line["params"][0], text);
}
