//! A coinbase that the node gives whole (`coinbasetxn`, BIP-0022), as the enforcer does.
//!
//! Its `OP_RETURN` outputs are consensus to Drivechain: votes, acknowledgements, commitments. They
//! stay byte for byte and in order. Only the one spendable output is ours to redirect, and the
//! input's script ours to extend.

use bitcoin::{Amount, ScriptBuf, Transaction, TxOut};

use super::script_sig::{SCRIPT_BYTES_ADDED, SCRIPT_SIG_BYTES_MAX, height_push};
use super::witness::{WITNESS_COMMITMENT_START, WITNESS_RESERVED};

/// A coinbase as the node gave it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct GivenCoinbase {
    /// Transaction version.
    pub version: u32,
    /// The input's script, to be extended.
    pub script_start: Vec<u8>,
    /// The input's sequence number.
    pub sequence: u32,
    /// Lock time.
    pub lock_time: u32,
    outputs: Vec<TxOut>,
    /// Place of the spendable output; none when the reward is nothing.
    reward: Option<usize>,
}

/// Why a given coinbase cannot be mined on.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum GivenError {
    /// Bytes that are no coinbase.
    #[error("its bytes are no coinbase transaction")]
    NotACoinbase,
    /// The script does not start with the height (BIP-0034).
    #[error("its script does not start with the block's height")]
    Height,
    /// No room for the extranonces.
    #[error("its script of {0} bytes leaves no room for extranonces within 100")]
    ScriptTooLong(usize),
    /// Whom to redirect is not clear.
    #[error("it has {0} spendable outputs, and which of them is the reward is not known")]
    SeveralRewards(usize),
    /// A reserved value that is not the usual one.
    #[error("its witness is not the 32 zero bytes that every coinbase has")]
    Witness,
    /// Two commitments: consensus takes the last, the enforcer gives one.
    #[error("it has {0} witness commitments")]
    SeveralWitnessCommitments(usize),
}

impl GivenCoinbase {
    /// Reads `coinbasetxn.data` for the block at `height`.
    pub fn read(bytes: &[u8], height: u32) -> Result<Self, GivenError> {
        let transaction: Transaction =
            bitcoin::consensus::deserialize(bytes).map_err(|_| GivenError::NotACoinbase)?;
        if !transaction.is_coinbase() {
            return Err(GivenError::NotACoinbase);
        }
        let input = &transaction.input[0];
        let script_start = input.script_sig.to_bytes();
        // The pad of heights 1 to 16 may be missing where more of the script follows.
        let push = height_push(height);
        let push = if height <= 16 { &push[..1] } else { &push[..] };
        if !script_start.starts_with(push) {
            return Err(GivenError::Height);
        }
        if script_start.len() + SCRIPT_BYTES_ADDED > SCRIPT_SIG_BYTES_MAX {
            return Err(GivenError::ScriptTooLong(script_start.len()));
        }
        let usual = [WITNESS_RESERVED.to_vec()];
        if !input.witness.is_empty() && input.witness.to_vec() != usual {
            return Err(GivenError::Witness);
        }
        let spendable = |(_, output): &(usize, &TxOut)| !output.script_pubkey.is_op_return();
        let rewards: Vec<usize> =
            transaction.output.iter().enumerate().filter(spendable).map(|(at, _)| at).collect();
        let reward = match rewards[..] {
            [] => None,
            [one] => Some(one),
            _ => return Err(GivenError::SeveralRewards(rewards.len())),
        };
        let commitments =
            transaction.output.iter().filter(|output| is_witness_commitment(output)).count();
        if commitments > 1 {
            return Err(GivenError::SeveralWitnessCommitments(commitments));
        }
        Ok(Self {
            version: transaction.version.0.cast_unsigned(),
            script_start,
            sequence: input.sequence.to_consensus_u32(),
            lock_time: transaction.lock_time.to_consensus_u32(),
            reward,
            outputs: transaction.output,
        })
    }

    /// The outputs, as the node gave them.
    pub fn outputs(&self) -> &[TxOut] {
        &self.outputs
    }

    /// The outputs with the reward going to `payout`.
    pub fn redirected(&self, payout: &ScriptBuf) -> Vec<TxOut> {
        let mut outputs = self.outputs.clone();
        if let Some(place) = self.reward {
            outputs[place].script_pubkey = payout.clone();
        }
        outputs
    }

    /// Place of the reward among the outputs; none when the reward is nothing.
    pub fn reward_place(&self) -> Option<usize> {
        self.reward
    }

    /// What the reward output pays, in satoshis.
    pub fn reward(&self) -> u64 {
        self.reward.map_or(0, |place| self.outputs[place].value.to_sat())
    }

    /// What all outputs pay, in satoshis.
    pub fn total(&self) -> u64 {
        self.outputs.iter().map(|output| output.value).fold(Amount::ZERO, add).to_sat()
    }

    /// The script of the witness commitment, when there is one.
    pub fn witness_commitment(&self) -> Option<&ScriptBuf> {
        let found = self.outputs.iter().find(|output| is_witness_commitment(output));
        found.map(|output| &output.script_pubkey)
    }
}

/// Saturates: more than there can be is refused by the template's own check.
fn add(sum: Amount, next: Amount) -> Amount {
    sum.checked_add(next).unwrap_or(Amount::MAX)
}

fn is_witness_commitment(output: &TxOut) -> bool {
    let script = output.script_pubkey.as_bytes();
    script.len() >= 38 && script.starts_with(&WITNESS_COMMITMENT_START)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mining::hex;
    use bitcoin::Witness;

    /// The enforcer's own coinbase of the three bids, for height 144.
    fn given() -> Transaction {
        let template: serde_json::Value =
            serde_json::from_str(fixtures::GBT_ENFORCER_THREE_BIDS).expect("JSON");
        let data = template["coinbasetxn"]["data"].as_str().expect("a string");
        bitcoin::consensus::deserialize(&hex::decode(data).expect("hex")).expect("a transaction")
    }

    fn read(change: impl FnOnce(&mut Transaction)) -> Result<GivenCoinbase, GivenError> {
        let mut transaction = given();
        change(&mut transaction);
        GivenCoinbase::read(&bitcoin::consensus::serialize(&transaction), 144)
    }

    #[test]
    fn everything_but_the_reward_stays() {
        let coinbase = read(|_| {}).expect("a real one");
        let payout = ScriptBuf::from_bytes(vec![0x51]);
        let outputs = coinbase.redirected(&payout);
        for (before, after) in given().output.iter().zip(&outputs) {
            assert_eq!(before.value, after.value);
            let kept = before.script_pubkey == after.script_pubkey;
            assert_eq!(kept, before.script_pubkey.is_op_return());
        }
        assert_eq!(outputs.len(), 6);
        assert_eq!((coinbase.reward(), coinbase.total()), (5_000_023_000, 5_000_023_000));
    }

    #[test]
    fn no_reward_is_no_output_to_redirect() {
        let coinbase = read(|transaction| {
            transaction.output.retain(|output| output.script_pubkey.is_op_return());
        });
        let coinbase = coinbase.expect("a block may pay nothing");
        assert_eq!(coinbase.reward(), 0);
        assert_eq!(coinbase.redirected(&ScriptBuf::new()), coinbase.outputs());
    }

    #[test]
    fn what_is_refused_has_a_name() {
        let refused = |change: fn(&mut Transaction)| read(change).expect_err("refused");
        let reward = |transaction: &mut Transaction| {
            let reward = transaction.output[4].clone();
            transaction.output.push(reward);
        };
        assert_eq!(refused(reward), GivenError::SeveralRewards(2));
        let commitment = |transaction: &mut Transaction| {
            let commitment = transaction.output[5].clone();
            transaction.output.push(commitment);
        };
        assert_eq!(refused(commitment), GivenError::SeveralWitnessCommitments(2));
        let witness = |transaction: &mut Transaction| {
            transaction.input[0].witness = Witness::from_slice(&[[1; 32]]);
        };
        assert_eq!(refused(witness), GivenError::Witness);
        let long = |length: usize| {
            read(|transaction| {
                let mut script = transaction.input[0].script_sig.to_bytes();
                script.resize(length, 0);
                transaction.input[0].script_sig = ScriptBuf::from_bytes(script);
            })
        };
        assert!(long(100 - SCRIPT_BYTES_ADDED).is_ok());
        let over = 101 - SCRIPT_BYTES_ADDED;
        assert_eq!(long(over), Err(GivenError::ScriptTooLong(over)));
        let bytes = bitcoin::consensus::serialize(&given());
        assert_eq!(GivenCoinbase::read(&bytes, 145), Err(GivenError::Height));
        assert_eq!(GivenCoinbase::read(&bytes[1..], 144), Err(GivenError::NotACoinbase));
    }
}
