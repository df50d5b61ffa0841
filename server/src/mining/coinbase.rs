//! The coinbase transaction of a job, split where the extranonces go.
//!
//! `prefix | extranonce1 | extranonce2 | suffix` is the serialization without witness: what
//! miners hash. The script of its input is
//! `<height> [OP_0] <12 bytes: extranonce1 extranonce2> <tag and generation>`, or what the node
//! gave in place of the height.

use bitcoin::{Amount, ScriptBuf, TxOut};
use bytes::Bytes;

use super::form::{Form, Payee};
use super::hash::{Block, Hash, blocks, sha256d_blocks};
use super::script_sig::{
    EXTRANONCE_BYTES, EXTRANONCE1_BYTES, EXTRANONCE2_BYTES, Extranonce1, Extranonce2,
    SCRIPT_SIG_BYTES_MAX, height_push, tag_push,
};
use super::template::{Template, push_varint};
use super::witness::WITNESS_RESERVED;

/// A coinbase with a hole for the extranonces.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Coinbase {
    prefix: Bytes,
    suffix: Bytes,
    /// The serialization that miners hash, laid out for that, with zeros in the hole. A session's
    /// midstate would save nothing: the hole is in the first block.
    blocks: Vec<Block>,
    /// What it was built from.
    plan: CoinbasePlan,
}

/// What goes into a coinbase.
#[derive(Clone, Debug, Eq, PartialEq)]
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
    /// Which time one session is given the job, from 0.
    pub revision: u8,
    /// Outputs in order.
    pub outputs: Vec<TxOut>,
    /// Place of the output that pays the reward; none when the reward is nothing.
    pub reward: Option<usize>,
    /// Places of the outputs that may stay out where they do not fit, ascending.
    pub optional: Vec<usize>,
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
                revision: 0,
                reward: given.reward_place(),
                optional: Vec::new(),
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
            revision: 0,
            reward: Some(0),
            optional: Vec::new(),
            outputs: payout.chain(commitments).chain(witness).collect(),
            has_witness,
        }
    }
}

impl CoinbasePlan {
    /// Lets the outputs with these scripts stay out where a miner's firmware has no room for them.
    pub fn let_stay_out(&mut self, scripts: &[ScriptBuf]) {
        let places = self.outputs.iter().enumerate();
        let optional = places.filter(|(_, output)| scripts.contains(&output.script_pubkey));
        self.optional = optional.map(|(place, _)| place).collect();
    }

    /// Redirects the reward to `payee`. The operator's fee becomes the last output: the places of
    /// all others are what the sidechains' rules and the first user know.
    fn pay(&mut self, payee: &Payee) {
        let Some(output) = self.reward.and_then(|place| self.outputs.get_mut(place)) else {
            return;
        };
        if output.script_pubkey == payee.script {
            return;
        }
        let reward = output.value.to_sat();
        let fee = payee.fee(reward);
        output.value = Amount::from_sat(reward - fee);
        let script_pubkey = core::mem::replace(&mut output.script_pubkey, payee.script.clone());
        if fee > 0 {
            self.outputs.push(TxOut { value: Amount::from_sat(fee), script_pubkey });
        }
    }
}

impl Coinbase {
    /// Serializes `plan` around the hole.
    pub fn build(plan: &CoinbasePlan) -> Self {
        let tail = tag_push(plan.generation, plan.revision);
        let script_bytes = plan.script_start.len() + 1 + EXTRANONCE_BYTES + tail.len();
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
        let blocks = blocks(&[&prefix[..], &[0; EXTRANONCE_BYTES], &suffix].concat());
        Self { prefix: prefix.into(), suffix: suffix.into(), blocks, plan: plan.clone() }
    }

    /// This coinbase in another form, for the `revision`th time it is given out. What does not fit
    /// and may stay out does, the last first; `None` when the rest does not fit either.
    pub fn formed(&self, form: &Form, revision: u8) -> Option<Self> {
        let mut plan = CoinbasePlan { revision, ..self.plan.clone() };
        if let Some(payee) = &form.payee {
            plan.pay(payee);
        }
        loop {
            let coinbase = Self::build(&plan);
            if form.budget.holds(&coinbase) {
                return Some(coinbase);
            }
            let place = plan.optional.pop()?;
            plan.outputs.remove(place);
            assert!(plan.reward.is_none_or(|reward| reward < place), "the reward comes first");
        }
    }

    /// This coinbase with only what must be in it, at the longest that any session is given it when
    /// it pays `payee`.
    #[must_use]
    pub fn barest(&self, payee: Option<&Payee>) -> Self {
        let mut plan = CoinbasePlan { revision: u8::MAX, ..self.plan.clone() };
        for place in plan.optional.drain(..).rev() {
            plan.outputs.remove(place);
        }
        if let Some(payee) = payee {
            plan.pay(payee);
        }
        Self::build(&plan)
    }

    /// The outputs, in order.
    pub fn outputs(&self) -> &[TxOut] {
        &self.plan.outputs
    }

    /// Bytes without witness: what a miner holds in memory.
    pub fn stripped_bytes(&self) -> usize {
        self.prefix.len() + EXTRANONCE_BYTES + self.suffix.len()
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
        if !self.plan.has_witness {
            return plain;
        }
        let (version, rest) = plain.split_at(4);
        let (body, lock_time) = rest.split_at(rest.len() - 4);
        // Marker and flag; then one witness item of 32 bytes (BIP-0144, BIP-0141).
        [version, &[0, 1], body, &[1, 32], &WITNESS_RESERVED, lock_time].concat()
    }

    /// Its txid, internal order.
    pub fn txid(&self, one: Extranonce1, two: Extranonce2) -> Hash {
        let hole = self.prefix.len();
        let first = hole / 64;
        let after = (hole + EXTRANONCE_BYTES).div_ceil(64);
        // The hole is shorter than a block, so it touches two at most.
        let mut touched = [[0; 64]; 2];
        let touched = &mut touched[..after - first];
        for (place, block) in touched.iter_mut().zip(&self.blocks[first..after]) {
            *place = *block;
        }
        let place = hole % 64;
        let extranonces = touched.as_flattened_mut();
        extranonces[place..][..EXTRANONCE1_BYTES].copy_from_slice(&one);
        extranonces[place + EXTRANONCE1_BYTES..][..EXTRANONCE2_BYTES].copy_from_slice(&two);
        sha256d_blocks(&[&self.blocks[..first], touched, &self.blocks[after..]])
    }

    /// Its weight in the block: what has no witness counts four times (BIP-0141).
    pub fn weight(&self) -> u64 {
        let witness = if self.plan.has_witness { 2 + 2 + WITNESS_RESERVED.len() } else { 0 };
        (self.stripped_bytes() * 4 + witness) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mining::form::Budget;
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

    fn formed(form: &Form) -> Option<Vec<(u64, Vec<u8>)>> {
        let template = crate::mining::template::tests::template_at(1);
        let own = [ScriptBuf::from_bytes(vec![0x6a; 38]), ScriptBuf::from_bytes(vec![0x6b; 38])];
        let payout = ScriptBuf::from_bytes(vec![0x51]);
        let mut plan = CoinbasePlan::new(&template, 7, &payout, own.clone());
        plan.let_stay_out(&own);
        let coinbase = Coinbase::build(&plan).formed(form, 0)?;
        let output = |output: &TxOut| (output.value.to_sat(), output.script_pubkey.to_bytes());
        Some(coinbase.outputs().iter().map(output).collect())
    }

    #[test]
    fn who_mines_alone_is_paid_first_and_the_fee_comes_last() {
        let check = |fee_basis_points, expected: &[u64]| {
            let payee = Payee { script: ScriptBuf::from_bytes(vec![0x52; 34]), fee_basis_points };
            let form = Form { payee: Some(payee), budget: Budget::LARGEST };
            let outputs = formed(&form).expect("it fits");
            let values: Vec<u64> = outputs.iter().map(|(value, _)| *value).collect();
            assert_eq!(values, expected);
            assert_eq!(outputs[0].1, [0x52; 34]);
            if let Some((_, script)) = outputs.get(4) {
                assert_eq!(script, &[0x51]);
            }
        };
        check(0, &[5_000_000_000, 0, 0, 0]);
        check(150, &[4_925_000_000, 0, 0, 0, 75_000_000]);
        check(10_000, &[0, 0, 0, 0, 5_000_000_000]);
        let operator = Payee { script: ScriptBuf::from_bytes(vec![0x51]), fee_basis_points: 150 };
        let form = Form { payee: Some(operator), budget: Budget::LARGEST };
        assert_eq!(formed(&form).expect("it fits").len(), 4, "nobody owes himself a fee");
    }

    /// FAILURES 24: the smallest firmware gets what fits, or nothing at all.
    #[test]
    fn what_may_stay_out_makes_room() {
        let outputs = |half| {
            let form = Form { payee: None, budget: Budget::half(half) };
            formed(&form).map(|outputs| outputs.len())
        };
        assert_eq!(outputs(255), Some(4));
        assert_eq!(outputs(175), Some(4));
        assert_eq!(outputs(174), Some(3));
        assert_eq!(outputs(128), Some(3));
        assert_eq!(outputs(127), Some(2));
        assert_eq!(outputs(81), Some(2));
        assert_eq!(outputs(80), None);
    }

    #[test]
    fn given_out_again_it_is_another_coinbase() {
        let coinbase = coinbase(500_000, 3, true);
        let mut seen = std::collections::BTreeSet::new();
        for revision in 0..=u8::MAX {
            let again = coinbase.formed(&Form::default(), revision).expect("it fits");
            assert!(seen.insert(again.txid([0; 4], [0; 8])), "{revision}");
        }
        assert!(seen.contains(&coinbase.txid([0; 4], [0; 8])));
    }

    /// Wherever the hole is: within a block, across two, at the edge of one.
    #[test]
    fn the_txid_is_the_hash_of_what_miners_hash() {
        let template = crate::mining::template::tests::template_at(1);
        let payout = ScriptBuf::from_bytes(vec![0x51]);
        let plan = CoinbasePlan::new(&template, 7, &payout, []);
        for length in 1..=SCRIPT_SIG_BYTES_MAX - super::super::script_sig::SCRIPT_BYTES_ADDED {
            let plan = CoinbasePlan { script_start: vec![0x51; length], ..plan.clone() };
            let coinbase = Coinbase::build(&plan);
            let (one, two) = ([1, 2, 3, 4], [5, 6, 7, 8, 9, 10, 11, 12]);
            let hashed = super::super::hash::sha256d(&coinbase.without_witness(one, two));
            assert_eq!(coinbase.txid(one, two), hashed, "{length}");
        }
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
