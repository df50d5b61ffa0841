//! The coinbase transaction of a job, split where the extranonces go.
//!
//! `prefix | extranonce1 | extranonce2 | suffix` is the serialization without witness: what
//! miners hash. The script of its input is
//! `<height> [OP_0] <12 bytes: extranonce1 extranonce2> <tag and generation>`, or what the node
//! gave in place of the height.

use bitcoin::{Amount, ScriptBuf, TxOut};
use bytes::Bytes;

use super::hash::{Hash, sha256d};
use super::script_sig::{
    EXTRANONCE_BYTES, Extranonce1, Extranonce2, SCRIPT_BYTES_ADDED, SCRIPT_SIG_BYTES_MAX,
    height_push, tag_push,
};
use super::template::{Template, push_varint};
use super::witness::WITNESS_RESERVED;

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
    /// Transaction version.
    pub version: u32,
    /// How the input's script starts: the height's push (BIP-0034), and what a node put after it.
    pub script_start: Vec<u8>,
    /// The input's sequence number.
    pub sequence: u32,
    /// Lock time.
    pub lock_time: u32,
    /// This run's generation, so that no two runs mine the same coinbase.
    pub generation: u32,
    /// Outputs in order.
    pub outputs: Vec<TxOut>,
    /// Whether the block holds a witness commitment, so that the coinbase needs its reserved value.
    pub has_witness: bool,
}

impl CoinbasePlan {
    /// The coinbase for `template`: as the node gave it with the reward redirected, or laid out
    /// here. `payout` gets the reward; `commitments` are further scripts of no value.
    ///
    /// Laid out here: payout first, then the commitments (the first one is thus the second output,
    /// as the first user's sketch has it), then the witness commitment.
    pub fn new(
        template: &Template,
        generation: u32,
        payout: &ScriptBuf,
        commitments: impl IntoIterator<Item = ScriptBuf>,
    ) -> Self {
        let output = |value, script_pubkey| TxOut { value: Amount::from_sat(value), script_pubkey };
        let commitments = commitments.into_iter().map(|script| output(0, script));
        let has_witness = template.witness_commitment.is_some();
        if let Some(given) = &template.given {
            return Self {
                version: given.version,
                script_start: given.script_start.clone(),
                sequence: given.sequence,
                lock_time: given.lock_time,
                generation,
                outputs: given.redirected(payout).into_iter().chain(commitments).collect(),
                has_witness,
            };
        }
        let witness = template.witness_commitment.iter().map(|script| output(0, script.clone()));
        let payout = core::iter::once(output(template.value, payout.clone()));
        Self {
            version: 2,
            script_start: height_push(template.height),
            sequence: u32::MAX,
            lock_time: 0,
            generation,
            outputs: payout.chain(commitments).chain(witness).collect(),
            has_witness,
        }
    }
}

impl Coinbase {
    /// Serializes `plan` around the hole.
    pub fn build(plan: &CoinbasePlan) -> Self {
        let tail = tag_push(plan.generation);
        let script_bytes = plan.script_start.len() + SCRIPT_BYTES_ADDED;
        assert!(
            (2..=SCRIPT_SIG_BYTES_MAX).contains(&script_bytes),
            "a coinbase script of {script_bytes} bytes is no coinbase"
        );
        let mut prefix = Vec::with_capacity(64);
        prefix.extend_from_slice(&plan.version.to_le_bytes());
        prefix.push(1);
        prefix.extend_from_slice(&[0; 32]);
        prefix.extend_from_slice(&[0xff; 4]);
        push_varint(&mut prefix, script_bytes);
        prefix.extend_from_slice(&plan.script_start);
        prefix.push(u8::try_from(EXTRANONCE_BYTES).unwrap_or(0));

        let mut suffix = tail;
        suffix.extend_from_slice(&plan.sequence.to_le_bytes());
        suffix.extend_from_slice(&bitcoin::consensus::serialize(&plan.outputs));
        suffix.extend_from_slice(&plan.lock_time.to_le_bytes());
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

#[cfg(test)]
mod tests {
    use super::*;
    use bitcoin::hashes::Hash as _;
    use proptest::prelude::*;

    fn coinbase(height: u32, outputs: usize, has_witness: bool) -> Coinbase {
        let mut parts = crate::mining::template::tests::parts(1);
        parts.height = height;
        parts.witness_commitment = parts.witness_commitment.filter(|_| has_witness);
        let template = Template::check(parts).expect("a good template");
        let payout = ScriptBuf::from_bytes(vec![0x51]);
        let more = (1 + usize::from(has_witness)..outputs).map(|index| vec![0x6a; index % 60 + 1]);
        let more = more.map(ScriptBuf::from_bytes);
        Coinbase::build(&CoinbasePlan::new(&template, 7, &payout, more))
    }

    #[test]
    fn payout_first_commitment_second_witness_commitment_last() {
        let script = |byte| ScriptBuf::from_bytes(vec![byte]);
        let template = crate::mining::template::tests::template_at(1);
        let outputs = CoinbasePlan::new(&template, 1, &script(1), [script(2), script(3)]).outputs;
        let scripts: Vec<_> = outputs.iter().map(|output| output.script_pubkey.clone()).collect();
        let witness = template.witness_commitment.expect("segwit");
        assert_eq!(scripts, [script(1), script(2), script(3), witness]);
        let values: Vec<_> = outputs.iter().map(|output| output.value.to_sat()).collect();
        assert_eq!(values, [5_000_000_000, 0, 0, 0]);
    }

    proptest! {
        #[test]
        fn parses_as_a_coinbase(
            height in 1_u32..0x7fff_ffff,
            outputs in 2_usize..300,
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
