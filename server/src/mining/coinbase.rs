//! The coinbase transaction of a job, split where the extranonces go.
//!
//! `prefix | extranonce1 | extranonce2 | suffix` is the serialization without witness: what
//! miners hash. The script of its input is
//! `<height> [OP_0] <12 bytes: extranonce1 extranonce2> <tag and generation>`.

use bitcoin::script::PushBytesBuf;
use bitcoin::{Amount, ScriptBuf, TxOut};
use bytes::Bytes;

use super::hash::{Hash, sha256d};
use super::template::{WITNESS_RESERVED, push_varint};

/// Bytes of extranonce1: one session's share of the search space.
pub const EXTRANONCE1_BYTES: usize = 4;
/// Bytes of extranonce2: what the miner rolls. Eight, so that proxies can split it.
pub const EXTRANONCE2_BYTES: usize = 8;
/// Consensus bounds of a coinbase's input script.
pub const SCRIPT_SIG_BYTES_MAX: usize = 100;
/// Our name in the chain; kept short because small firmware buffers the coinbase.
const TAG: &[u8] = b"drivechain";
const EXTRANONCE_BYTES: usize = EXTRANONCE1_BYTES + EXTRANONCE2_BYTES;

/// Extranonce1 of a session.
pub type Extranonce1 = [u8; EXTRANONCE1_BYTES];
/// Extranonce2 of a candidate.
pub type Extranonce2 = [u8; EXTRANONCE2_BYTES];

/// A coinbase with a hole for the extranonces.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Coinbase {
    prefix: Bytes,
    suffix: Bytes,
    has_witness: bool,
}

/// What goes into a coinbase.
#[derive(Clone, Debug)]
pub struct CoinbasePlan {
    /// Height of the block (BIP-0034).
    pub height: u32,
    /// This run's generation, so that no two runs mine the same coinbase.
    pub generation: u32,
    /// Outputs in order.
    pub outputs: Vec<TxOut>,
    /// Whether the block holds a witness commitment, so that the coinbase needs its reserved value.
    pub has_witness: bool,
}

impl CoinbasePlan {
    /// Payout first, then the commitments (the first one is thus the second output, as the first
    /// user's sketch has it), then the witness commitment.
    pub fn outputs(
        value: u64,
        payout: &ScriptBuf,
        commitments: impl IntoIterator<Item = ScriptBuf>,
        witness_commitment: Option<&ScriptBuf>,
    ) -> Vec<TxOut> {
        let output = |value, script_pubkey| TxOut { value: Amount::from_sat(value), script_pubkey };
        let mut outputs = vec![output(value, payout.clone())];
        outputs.extend(commitments.into_iter().map(|script| output(0, script)));
        outputs.extend(witness_commitment.map(|script| output(0, script.clone())));
        outputs
    }
}

impl Coinbase {
    /// Serializes `plan` around the hole.
    pub fn build(plan: &CoinbasePlan) -> Self {
        let head = height_push(plan.height);
        let tail = tag_push(plan.generation);
        let script_bytes = head.len() + 1 + EXTRANONCE_BYTES + tail.len();
        assert!(
            (2..=SCRIPT_SIG_BYTES_MAX).contains(&script_bytes),
            "a coinbase script of {script_bytes} bytes is no coinbase"
        );
        let mut prefix = Vec::with_capacity(64);
        prefix.extend_from_slice(&2_u32.to_le_bytes());
        prefix.push(1);
        prefix.extend_from_slice(&[0; 32]);
        prefix.extend_from_slice(&[0xff; 4]);
        push_varint(&mut prefix, script_bytes);
        prefix.extend_from_slice(&head);
        prefix.push(u8::try_from(EXTRANONCE_BYTES).unwrap_or(0));

        let mut suffix = tail;
        suffix.extend_from_slice(&[0xff; 4]);
        suffix.extend_from_slice(&bitcoin::consensus::serialize(&plan.outputs));
        suffix.extend_from_slice(&[0; 4]);
        Self { prefix: prefix.into(), suffix: suffix.into(), has_witness: plan.has_witness }
    }

    /// What precedes the extranonces: `coinb1` of `mining.notify`.
    pub fn prefix(&self) -> &[u8] {
        &self.prefix
    }

    /// What follows the extranonces: `coinb2` of `mining.notify`.
    pub fn suffix(&self) -> &[u8] {
        &self.suffix
    }

    /// The serialization that miners hash.
    pub fn without_witness(&self, one: Extranonce1, two: Extranonce2) -> Vec<u8> {
        [&self.prefix[..], &one, &two, &self.suffix].concat()
    }

    /// The serialization that stands in the block.
    pub fn for_block(&self, one: Extranonce1, two: Extranonce2) -> Vec<u8> {
        let plain = self.without_witness(one, two);
        if !self.has_witness {
            return plain;
        }
        let (version, rest) = plain.split_at(4);
        let (body, lock_time) = rest.split_at(rest.len() - 4);
        // Marker and flag; then one witness item of 32 bytes (BIP-0144, BIP-0141).
        [version, &[0, 1], body, &[1, 32], &WITNESS_RESERVED, lock_time].concat()
    }

    /// Its txid, internal order.
    pub fn txid(&self, one: Extranonce1, two: Extranonce2) -> Hash {
        sha256d(&self.without_witness(one, two))
    }

    /// Its weight in the block: what has no witness counts four times (BIP-0141).
    pub fn weight(&self) -> u64 {
        let stripped = self.prefix.len() + EXTRANONCE_BYTES + self.suffix.len();
        let witness = if self.has_witness { 2 + 2 + WITNESS_RESERVED.len() } else { 0 };
        (stripped * 4 + witness) as u64
    }
}

/// The height as consensus wants it first in the script (BIP-0034): `OP_N` up to 16, padded to
/// the two bytes that a coinbase script must have; a minimal push above.
fn height_push(height: u32) -> Vec<u8> {
    let builder = bitcoin::script::Builder::new().push_int(i64::from(height));
    let mut bytes = builder.into_script().into_bytes();
    if bytes.len() < 2 {
        bytes.push(0);
    }
    bytes
}

fn tag_push(generation: u32) -> Vec<u8> {
    let mut tag = PushBytesBuf::new();
    for part in [TAG, &generation.to_be_bytes()] {
        assert!(tag.extend_from_slice(part).is_ok(), "14 bytes are a legal push");
    }
    bitcoin::script::Builder::new().push_slice(tag).into_script().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bitcoin::hashes::Hash as _;
    use proptest::prelude::*;

    fn coinbase(height: u32, outputs: usize, has_witness: bool) -> Coinbase {
        let payout = ScriptBuf::from_bytes(vec![0x51]);
        let extra = (1..outputs).map(|index| ScriptBuf::from_bytes(vec![0x6a; index % 60 + 1]));
        let outputs = CoinbasePlan::outputs(50, &payout, extra, None);
        Coinbase::build(&CoinbasePlan { height, generation: 7, outputs, has_witness })
    }

    #[test]
    fn heights_are_pushed_as_consensus_wants_them() {
        let check = |height, hex: &str| {
            assert_eq!(crate::mining::hex::encode(&height_push(height)), hex, "{height}");
        };
        check(1, "5100");
        check(16, "6000");
        check(17, "0111");
        check(127, "017f");
        check(128, "028000");
        check(32_767, "02ff7f");
        check(32_768, "03008000");
        check(8_388_607, "03ffff7f");
        check(8_388_608, "0400008000");
    }

    #[test]
    fn payout_first_commitment_second_witness_commitment_last() {
        let script = |byte| ScriptBuf::from_bytes(vec![byte]);
        let outputs =
            CoinbasePlan::outputs(9, &script(1), [script(2), script(3)], Some(&script(4)));
        let scripts: Vec<_> = outputs.iter().map(|output| output.script_pubkey.clone()).collect();
        assert_eq!(scripts, [script(1), script(2), script(3), script(4)]);
        let values: Vec<_> = outputs.iter().map(|output| output.value.to_sat()).collect();
        assert_eq!(values, [9, 0, 0, 0]);
    }

    proptest! {
        #[test]
        fn parses_as_a_coinbase(
            height in 1_u32..0x7fff_ffff,
            outputs in 1_usize..300,
            has_witness: bool,
            one: Extranonce1,
            two: Extranonce2,
        ) {
            let coinbase = coinbase(height, outputs, has_witness);
            let bytes = coinbase.for_block(one, two);
            let parsed: bitcoin::Transaction = bitcoin::consensus::deserialize(&bytes).unwrap();
            prop_assert!(parsed.is_coinbase());
            prop_assert_eq!(parsed.output.len(), outputs);
            let script = parsed.input[0].script_sig.as_bytes();
            prop_assert!((2..=SCRIPT_SIG_BYTES_MAX).contains(&script.len()));
            prop_assert!(script.starts_with(&height_push(height)));
            prop_assert_eq!(parsed.compute_txid().to_byte_array(), coinbase.txid(one, two));
            prop_assert_eq!(parsed.weight().to_wu(), coinbase.weight());
            prop_assert_eq!(parsed.input[0].witness.len(), usize::from(has_witness));
        }
    }
}
