//! Lines that an honest client never sends: submissions spelt otherwise, broken, made up, repeated.
//!
//! Why apart from `client`: its invariant is that nothing wrong is ever sent, and a server must be
//! tried with just that. Whatever is sent from here carries an id of its own, a string, so that its
//! answer is never taken for that of an honest request. What is not here: when to send what.

use crate::client::Share;
use crate::hex;

/// A submission as text fields, to be written in any way.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Submission {
    /// The worker's name.
    pub worker: String,
    /// The job's id.
    pub job: String,
    /// The miner's part of the extranonce, in hex.
    pub extranonce2: String,
    /// Header time, in hex.
    pub time: String,
    /// Header nonce, in hex.
    pub nonce: String,
    /// Version bits in hex, when they are sent.
    pub bits: Option<String>,
}

impl Submission {
    /// The fields of a share, as an honest client writes them.
    pub fn of(worker: &str, share: &Share) -> Self {
        Self {
            worker: worker.to_owned(),
            job: share.job_id.clone(),
            extranonce2: hex::encode(&share.extranonce2),
            time: format!("{:08x}", share.time),
            nonce: format!("{:08x}", share.nonce),
            bits: share.rolled_bits.map(|bits| format!("{bits:08x}")),
        }
    }

    /// The same work in another spelling: capitals, and numbers without leading zeros.
    #[must_use]
    pub fn respelt(&self) -> Self {
        let short = |number: &str| {
            let digits = number.trim_start_matches('0').to_ascii_uppercase();
            if digits.is_empty() { "0".to_owned() } else { digits }
        };
        Self {
            extranonce2: self.extranonce2.to_ascii_uppercase(),
            time: short(&self.time),
            nonce: short(&self.nonce),
            bits: self.bits.as_deref().map(short),
            ..self.clone()
        }
    }

    /// Broken in the way of this number; there are [`BREAKS`] ways.
    #[must_use]
    pub fn broken(&self, way: u64) -> Self {
        let mut broken = self.clone();
        match way % BREAKS {
            0 => broken.extranonce2.push_str("00"),
            1 => broken.extranonce2.truncate(2),
            2 => broken.extranonce2 = "zz".repeat(self.extranonce2.len() / 2),
            3 => broken.nonce.insert_str(0, "0x"),
            4 => broken.nonce.push_str("00"),
            5 => broken.time.clear(),
            6 => broken.job.push_str(" no such job"),
            7 => broken.job.clear(),
            8 => broken.bits = Some("-1".to_owned()),
            9 => broken.worker.clear(),
            10 => broken.extranonce2.clear(),
            _ => broken.worker.push_str("\u{0}\u{1f41f}\"\\"),
        }
        broken
    }

    /// The line, under this id.
    pub fn line(&self, id: &str) -> Vec<u8> {
        let mut params = vec![&self.worker, &self.job, &self.extranonce2, &self.time, &self.nonce];
        params.extend(&self.bits);
        line(id, "mining.submit", &serde_json::json!(params))
    }
}

/// Ways to break a submission.
pub const BREAKS: u64 = 12;

/// Any request as a line.
pub fn line(id: &str, method: &str, params: &serde_json::Value) -> Vec<u8> {
    let request = serde_json::json!({ "id": id, "method": method, "params": params });
    [request.to_string().as_bytes(), b"\n"].concat()
}

/// Lines that are JSON and no request that anybody understands; there is no end of them.
pub fn odd_line(id: &str, way: u64) -> Vec<u8> {
    let text = match way % 8 {
        0 => format!(r#"{{"id":"{id}","method":"mining.fly","params":[]}}"#),
        1 => format!(r#"{{"id":"{id}","method":"mining.submit","params":{{}}}}"#),
        2 => format!(r#"{{"id":"{id}","method":"mining.submit"}}"#),
        3 => format!(r#"{{"id":"{id}","method":"mining.authorize","params":[7]}}"#),
        4 => format!(r#"{{"id":"{id}","method":"mining.configure","params":[1,2]}}"#),
        5 => format!(r#"{{"params":["x"],"method":"mining.suggest_difficulty","id":"{id}"}}"#),
        6 => format!(r#"{{"id":"{id}","result":true,"error":null}}"#),
        _ => format!(r#"{{"id":"{id}","method":"mining.ping","params":null}}"#),
    };
    [text.as_bytes(), b"\n"].concat()
}

/// JSON that nests `depth` times, without an end of line.
pub fn deep(depth: usize) -> Vec<u8> {
    [br#"{"id":1,"method":"mining.submit","params":"#.to_vec(), vec![b'['; depth]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn submission() -> Submission {
        Submission {
            worker: "w".to_owned(),
            job: "j".to_owned(),
            extranonce2: "00ab".to_owned(),
            time: "00000001".to_owned(),
            nonce: "00000000".to_owned(),
            bits: None,
        }
    }

    #[test]
    fn a_line_is_what_a_client_would_have_sent() {
        let line = String::from_utf8(submission().line("x1")).expect("text");
        let expected = concat!(
            r#"{"id":"x1","method":"mining.submit","params":"#,
            r#"["w","j","00ab","00000001","00000000"]}"#,
            "\n"
        );
        let parse = |text: &str| serde_json::from_str::<serde_json::Value>(text).expect("JSON");
        assert_eq!(parse(&line), parse(expected));
    }

    #[test]
    fn another_spelling_is_the_same_work_and_a_break_is_not() {
        let respelt = submission().respelt();
        assert_eq!(
            (respelt.extranonce2.as_str(), respelt.time.as_str(), respelt.nonce.as_str()),
            ("00AB", "1", "0")
        );
        for way in 0..BREAKS {
            assert_ne!(submission().broken(way), submission(), "{way}");
        }
    }
}
