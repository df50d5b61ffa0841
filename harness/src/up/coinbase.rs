//! What a job's coinbase says, read from the bytes that miners get.
//!
//! Its own few lines, because it is a witness: a server that builds a coinbase wrongly must not be
//! read by the code that built it. Not in here: coinbases in blocks, which the node has parsed.

use crate::sim::sidechain::{HStar, m7_script};

/// The bytes are no coinbase transaction.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the coinbase of a job is no transaction: its {0} cannot be read")]
pub(super) struct CoinbaseError(&'static str);

/// What there is to know of a coinbase.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Reading {
    /// The height of the block (BIP-0034).
    pub(super) height: u32,
    /// Slot and h* of every output that is an M7 (BIP-0301), in output order.
    pub(super) m7s: Vec<(u8, HStar)>,
}

/// Reads a coinbase, serialized without witness.
pub(super) fn read(bytes: &[u8]) -> Result<Reading, CoinbaseError> {
    let mut rest = Rest(bytes);
    rest.take(4, "version")?;
    if rest.count("number of inputs")? != 1 {
        return Err(CoinbaseError("number of inputs"));
    }
    rest.take(36, "input")?;
    let script_sig = rest.counted("input script")?;
    let height = height(script_sig).ok_or(CoinbaseError("height"))?;
    rest.take(4, "sequence")?;
    let outputs = rest.count("number of outputs")?;
    let mut m7s = Vec::new();
    for _ in 0..outputs {
        rest.take(8, "output value")?;
        m7s.extend(m7(rest.counted("output script")?));
    }
    rest.take(4, "lock time")?;
    if rest.0.is_empty() { Ok(Reading { height, m7s }) } else { Err(CoinbaseError("end")) }
}

fn m7(script: &[u8]) -> Option<(u8, HStar)> {
    let (head, h_star) = script.split_at_checked(7)?;
    let (slot, h_star) = (*head.last()?, HStar(h_star.try_into().ok()?));
    (m7_script(slot, h_star).as_bytes() == script).then_some((slot, h_star))
}

/// BIP-0034: the script begins with a push of the height, which is `OP_N` up to 16.
fn height(script: &[u8]) -> Option<u32> {
    let (first, rest) = script.split_first()?;
    match first {
        0x51..=0x60 => Some(u32::from(first - 0x50)),
        1..=4 => {
            let bytes = rest.get(..usize::from(*first))?;
            Some(bytes.iter().rev().fold(0, |height, byte| height << 8 | u32::from(*byte)))
        }
        _ => None,
    }
}

/// The bytes that were not read yet.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, length: u64, what: &'static str) -> Result<&'a [u8], CoinbaseError> {
        let length = usize::try_from(length).map_err(|_| CoinbaseError(what))?;
        let (taken, rest) = self.0.split_at_checked(length).ok_or(CoinbaseError(what))?;
        self.0 = rest;
        Ok(taken)
    }

    /// Bitcoin's variable length integer.
    fn count(&mut self, what: &'static str) -> Result<u64, CoinbaseError> {
        let wide = match self.take(1, what)? {
            [0xfd] => 2,
            [0xfe] => 4,
            [0xff] => 8,
            narrow => return Ok(u64::from(narrow[0])),
        };
        let bytes = self.take(wide, what)?;
        Ok(bytes.iter().rev().fold(0, |count, byte| count << 8 | u64::from(*byte)))
    }

    fn counted(&mut self, what: &'static str) -> Result<&'a [u8], CoinbaseError> {
        let length = self.count(what)?;
        self.take(length, what)
    }
}

#[cfg(test)]
mod tests {
    use bitcoin::{Amount, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Witness};
    use proptest::prelude::*;

    use super::*;

    fn coinbase(height: u32, scripts: Vec<ScriptBuf>) -> Vec<u8> {
        let script_sig = bitcoin::script::Builder::new().push_int(i64::from(height)).into_script();
        let input = TxIn {
            previous_output: OutPoint::null(),
            script_sig,
            sequence: Sequence::MAX,
            witness: Witness::new(),
        };
        let output = |script_pubkey| TxOut { value: Amount::ONE_BTC, script_pubkey };
        bitcoin::consensus::serialize(&Transaction {
            version: bitcoin::transaction::Version::TWO,
            lock_time: bitcoin::absolute::LockTime::ZERO,
            input: vec![input],
            output: scripts.into_iter().map(output).collect(),
        })
    }

    #[test]
    fn every_m7_is_found_in_output_order_and_nothing_else() {
        let (one, two) = (HStar([1; 32]), HStar([2; 32]));
        let other_tag = ScriptBuf::from_bytes([&[0x6a, 0x25, 1, 2, 3, 4][..], &[9; 33]].concat());
        let too_long = ScriptBuf::from_bytes([m7_script(9, one).as_bytes(), &[0]].concat());
        let scripts = vec![
            ScriptBuf::new(),
            m7_script(9, one),
            other_tag,
            too_long,
            ScriptBuf::from_bytes(vec![0x51; 300]),
            m7_script(200, two),
        ];
        let reading = read(&coinbase(1_000, scripts)).unwrap();
        assert_eq!(reading, Reading { height: 1_000, m7s: vec![(9, one), (200, two)] });
    }

    #[test]
    fn what_is_cut_or_has_more_is_no_coinbase() {
        let whole = coinbase(16, vec![m7_script(9, HStar([1; 32]))]);
        assert_eq!(read(&whole).unwrap().height, 16);
        for length in 0..whole.len() {
            read(&whole[..length]).unwrap_err();
        }
        read(&[&whole[..], &[0]].concat()).unwrap_err();
    }

    proptest! {
        #[test]
        fn heights_are_read_back(height in 1_u32..=i32::MAX.unsigned_abs()) {
            prop_assert_eq!(read(&coinbase(height, vec![])).unwrap().height, height);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            drop(read(&bytes));
        }
    }
}
