//! What a node publishes unasked (bitcoind's ZMQ topics `hashblock` and `sequence`).
//!
//! A notice is a hint to ask the node now: it may be lost, doubled or late, so nothing is believed
//! on its word and whatever it would have told is found by asking in turn as well.

use crate::mining::hash::Hash;

/// The topics that [`Notice::parse`] knows, as a subscriber names them.
pub const TOPICS: [&str; 2] = ["hashblock", "sequence"];

/// What happened at the node.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Notice {
    /// The block with this hash became its tip.
    Tip(Hash),
    /// A block left its chain: a reorganisation, and more follows.
    TipLeft,
    /// A transaction came to its mempool, or left it for another reason than a block.
    Mempool,
}

impl Notice {
    /// Reads a message: its topic and its body. `hashblock` carries a hash, `sequence` a hash, a
    /// letter and for some letters eight bytes more; the hash is in the order in which it is shown.
    pub fn parse(topic: &[u8], body: &[u8]) -> Option<Self> {
        let (hash, rest) = body.split_first_chunk::<32>()?;
        let internal = || {
            let mut hash = *hash;
            hash.reverse();
            hash
        };
        match (topic, rest.split_first()) {
            (b"hashblock", None) | (b"sequence", Some((b'C', []))) => Some(Self::Tip(internal())),
            (b"sequence", Some((b'D', []))) => Some(Self::TipLeft),
            (b"sequence", Some((b'A' | b'R', number))) if number.len() == 8 => Some(Self::Mempool),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_or_passed_over() {
        let body = |rest: &[u8]| {
            let mut hash = [0; 32];
            hash[31] = 7;
            [&hash, rest].concat()
        };
        let mut tip = [0; 32];
        tip[0] = 7;
        let number = |letter: u8| [&[letter][..], &[1; 8]].concat();
        let cases: [(&[u8], Vec<u8>, Option<Notice>); 10] = [
            (b"hashblock", body(b""), Some(Notice::Tip(tip))),
            (b"sequence", body(b"C"), Some(Notice::Tip(tip))),
            (b"sequence", body(b"D"), Some(Notice::TipLeft)),
            (b"sequence", body(&number(b'A')), Some(Notice::Mempool)),
            (b"sequence", body(&number(b'R')), Some(Notice::Mempool)),
            (b"sequence", body(b"A"), None),
            (b"sequence", body(b""), None),
            (b"hashblock", body(b"C"), None),
            (b"hashblock", vec![1; 31], None),
            (b"rawtx", body(b""), None),
        ];
        for (topic, body, expected) in cases {
            assert_eq!(Notice::parse(topic, &body), expected, "{body:?}");
        }
    }
}
