//! A `getblocktemplate` answer that passed its checks, and the checks.
//!
//! What fails here is never mined on. The wire form is `node::rpc`'s; here everything is bytes
//! and numbers.

mod transaction;

use bitcoin::consensus::Encodable;
use bitcoin::{CompactTarget, ScriptBuf};

use super::difficulty::Target;
use super::given::{GivenCoinbase, GivenError};
use super::hash::{Hash, sha256d_pair};
use super::merkle;
use super::witness::{WITNESS_COMMITMENT_START, WITNESS_RESERVED};
use crate::clock::UnixTime;

use transaction::check_all;
pub use transaction::{DeclaredTransaction, TemplateTransaction};

/// More satoshis than can ever exist (21 million coins).
pub const MONEY_MAX: u64 = 21_000_000 * 100_000_000;
/// Weight units a block may have.
pub const WEIGHT_MAX: u64 = 4_000_000;
/// Rules that we know how to mine under; a node may demand any of them with a `!` (BIP-0009).
const RULES_UNDERSTOOD: [&str; 5] = ["csv", "segwit", "taproot", "testdummy", "bip300301"];

/// What a template says, before it is checked.
#[derive(Clone, Debug)]
pub struct TemplateParts {
    /// Height of the block to mine.
    pub height: u32,
    /// Hash of the block to build on, internal order.
    pub parent: Hash,
    /// Version to start from.
    pub version: u32,
    /// Version bits that must be kept as they are (`vbrequired`).
    pub version_required: u32,
    /// Compact target.
    pub bits: u32,
    /// The target in full, when the node gave one.
    pub target: Option<Target>,
    /// The node's clock.
    pub time: UnixTime,
    /// The least time that consensus allows: median time past, plus one.
    pub time_min: UnixTime,
    /// What the node says of the coinbase.
    pub coinbase: DeclaredCoinbase,
    /// Rules the node says are in force, a `!` before those a miner must know.
    pub rules: Vec<String>,
    /// The transactions, in block order: bytes, declared txid and wtxid, fee.
    pub transactions: Vec<DeclaredTransaction>,
    /// The whole script of the witness commitment output.
    pub witness_commitment: Option<ScriptBuf>,
    /// What to send back to be told of the next change.
    pub long_poll_id: Option<String>,
    /// Whether the node judges blocks that are proposed to it (BIP-0023).
    pub takes_proposals: bool,
}

/// What a node says of the coinbase (BIP-0022, BIP-0023).
#[derive(Clone, Debug)]
pub enum DeclaredCoinbase {
    /// `coinbasevalue`: subsidy and fees in satoshis; the rest is ours to lay out.
    Value(u64),
    /// `coinbasetxn`: a whole coinbase, as the enforcer gives it.
    Transaction(Vec<u8>),
}

/// A template that may be mined on.
#[derive(Clone, Debug)]
pub struct Template {
    /// Height of the block to mine.
    pub height: u32,
    /// Hash of the block to build on, internal order.
    pub parent: Hash,
    /// Version to start from.
    pub version: u32,
    /// Version bits that must be kept as they are.
    pub version_required: u32,
    /// Compact target, for the header.
    pub bits: CompactTarget,
    /// The network's target.
    pub target: Target,
    /// Time for the header: the node's clock, never under `time_min`.
    pub time: UnixTime,
    /// The least time that consensus allows.
    pub time_min: UnixTime,
    /// What the coinbase pays out, in satoshis: subsidy and fees, or the reward that is given.
    pub value: u64,
    /// The coinbase that the block must keep, when the node gave a whole one.
    pub given: Option<GivenCoinbase>,
    /// The transactions after the coinbase.
    pub transactions: Vec<TemplateTransaction>,
    /// The whole script of the witness commitment output.
    pub witness_commitment: Option<ScriptBuf>,
    /// What to send back to be told of the next change.
    pub long_poll_id: Option<String>,
    /// Whether the node judges blocks that are proposed to it (BIP-0023).
    pub takes_proposals: bool,
}

/// Why a template is refused. Mining on it would waste every hash.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TemplateError {
    /// A rule we do not know and must.
    #[error("it demands the rule {0:?}, which this server does not know")]
    UnknownRule(String),
    /// Signet blocks need the challenge's signature.
    #[error("it is for signet, whose blocks need the signer's key; mine it with the signet miner")]
    Signet,
    /// Height 0, or beyond what BIP-0034 can push as a positive number here.
    #[error("its height {0} is out of range")]
    Height(u32),
    /// Bits that are no target.
    #[error("its bits {0:08x} are no target")]
    Bits(u32),
    /// The two forms of the target differ.
    #[error("its bits {0:08x} and its target disagree")]
    TargetMismatch(u32),
    /// A coinbase that cannot be mined on.
    #[error("its coinbase is refused: {0}")]
    Coinbase(#[from] GivenError),
    /// More coins than there are, or less than the fees.
    #[error("its coinbase value of {value} sat cannot be, with {fees} sat of fees")]
    Value {
        /// Declared value.
        value: u64,
        /// Sum of the declared fees.
        fees: u64,
    },
    /// Bytes that are no transaction.
    #[error("transaction {0} does not decode")]
    Transaction(usize),
    /// A declared hash that is not the hash.
    #[error("transaction {index} hashes to {found}, not to the declared {declared}")]
    TransactionHash {
        /// Place in the template.
        index: usize,
        /// What the node said.
        declared: String,
        /// What it is.
        found: String,
    },
    /// The commitment does not cover the transactions.
    #[error("its witness commitment does not match its transactions")]
    WitnessCommitment,
    /// No commitment although transactions have witnesses.
    #[error("it holds segwit transactions but no witness commitment")]
    WitnessCommitmentMissing,
    /// Over the weight limit.
    #[error("its transactions weigh {0}, more than a block may")]
    Weight(u64),
}

impl Template {
    /// Checks everything that can be checked without the chain.
    pub fn check(parts: TemplateParts) -> Result<Self, TemplateError> {
        Self::check_after(parts, None)
    }

    /// The same. Transactions that `last` holds too are taken from there: they passed their checks
    /// then, and a tip with hundreds of templates holds each transaction's bytes once.
    pub fn check_after(parts: TemplateParts, last: Option<&Self>) -> Result<Self, TemplateError> {
        check_rules(&parts.rules)?;
        if parts.height == 0 || parts.height > i32::MAX.unsigned_abs() {
            return Err(TemplateError::Height(parts.height));
        }
        let bits = CompactTarget::from_consensus(parts.bits);
        let target = Target::from_compact(bits).ok_or(TemplateError::Bits(parts.bits))?;
        if parts.target.is_some_and(|declared| declared != target) {
            return Err(TemplateError::TargetMismatch(parts.bits));
        }
        let fees = parts
            .transactions
            .iter()
            .try_fold(0_u64, |sum, transaction| sum.checked_add(transaction.fee))
            .unwrap_or(u64::MAX);
        let (value, given) = match &parts.coinbase {
            DeclaredCoinbase::Value(value) => (*value, None),
            DeclaredCoinbase::Transaction(bytes) => {
                let given = GivenCoinbase::read(bytes, parts.height)?;
                (given.reward(), Some(given))
            }
        };
        if value > MONEY_MAX || given.is_none() && value < fees {
            return Err(TemplateError::Value { value, fees });
        }
        let witness_commitment = match &given {
            Some(given) => given.witness_commitment().cloned(),
            None => parts.witness_commitment,
        };
        let last = last.map_or(&[][..], |last| &last.transactions);
        let transactions = check_all(parts.transactions, last)?;
        let weight = transactions.iter().map(|transaction| transaction.weight).sum();
        if weight > WEIGHT_MAX {
            return Err(TemplateError::Weight(weight));
        }
        check_commitment(witness_commitment.as_ref(), &transactions)?;
        Ok(Self {
            height: parts.height,
            parent: parts.parent,
            version: parts.version,
            version_required: parts.version_required,
            bits,
            target,
            // A node whose clock lags the chain offers a time that consensus refuses.
            time: parts.time.max(parts.time_min),
            time_min: parts.time_min,
            value,
            given,
            transactions,
            witness_commitment,
            long_poll_id: parts.long_poll_id,
            takes_proposals: parts.takes_proposals,
        })
    }

    /// The same template with only the transactions at `kept`, ascending places from 0: fees and
    /// witness commitment follow.
    #[must_use]
    pub fn keep_only(&self, kept: &[usize]) -> Self {
        assert!(self.given.is_none(), "a coinbase that is given goes with its transactions");
        let place = |old: &usize| kept.binary_search(old).ok();
        let transactions: Vec<_> = kept
            .iter()
            .map(|index| {
                let mut transaction = self.transactions[*index].clone();
                let depends = transaction.depends.iter().map(place).collect::<Option<_>>();
                assert!(depends.is_some(), "nothing is kept without what it spends from");
                transaction.depends = depends.unwrap_or_default();
                transaction
            })
            .collect();
        let kept_fees: u64 = transactions.iter().map(|transaction| transaction.fee).sum();
        let value = self.value - (self.fees() - kept_fees);
        let commitment = self.witness_commitment.as_ref();
        let commitment = commitment.map(|_| witness_commitment(&transactions));
        Self { transactions, value, witness_commitment: commitment, ..self.clone() }
    }

    /// Whether `other` has the same block to find: the same parent, coinbase and transactions.
    pub fn is_same_work(&self, other: &Self) -> bool {
        let wtxids = |of: &Self| -> Vec<Hash> {
            of.transactions.iter().map(|transaction| transaction.wtxid).collect()
        };
        self.parent == other.parent
            && self.bits == other.bits
            && self.value == other.value
            && self.given == other.given
            && wtxids(self) == wtxids(other)
    }

    /// What the outputs of the block's coinbase must sum up to, in satoshis.
    pub fn coinbase_total(&self) -> u64 {
        self.given.as_ref().map_or(self.value, GivenCoinbase::total)
    }

    /// Sum of the transactions' fees, in satoshis.
    pub fn fees(&self) -> u64 {
        self.transactions.iter().map(|transaction| transaction.fee).sum()
    }
}

fn check_rules(rules: &[String]) -> Result<(), TemplateError> {
    for rule in rules.iter().filter_map(|rule| rule.strip_prefix('!')) {
        if rule == "signet" {
            return Err(TemplateError::Signet);
        }
        if !RULES_UNDERSTOOD.contains(&rule) {
            return Err(TemplateError::UnknownRule(rule.to_owned()));
        }
    }
    Ok(())
}

fn check_commitment(
    commitment: Option<&ScriptBuf>,
    transactions: &[TemplateTransaction],
) -> Result<(), TemplateError> {
    match commitment {
        Some(script) if *script == witness_commitment(transactions) => Ok(()),
        Some(_) => Err(TemplateError::WitnessCommitment),
        None if transactions.iter().any(|transaction| transaction.txid != transaction.wtxid) => {
            Err(TemplateError::WitnessCommitmentMissing)
        }
        None => Ok(()),
    }
}

/// The script of the witness commitment output over `transactions` (BIP-0141):
/// `6a 24 aa21a9ed` and the hash of the witness root with [`WITNESS_RESERVED`].
pub fn witness_commitment(transactions: &[TemplateTransaction]) -> ScriptBuf {
    let wtxids: Vec<Hash> = transactions.iter().map(|transaction| transaction.wtxid).collect();
    // The coinbase's own wtxid counts as zero, which is why changing the coinbase later is free.
    let witness_root = merkle::root([0; 32], &merkle::branch(&wtxids));
    let mut script = WITNESS_COMMITMENT_START.to_vec();
    script.extend_from_slice(&sha256d_pair(&witness_root, &WITNESS_RESERVED));
    ScriptBuf::from_bytes(script)
}

/// Appends a Bitcoin variable-length integer.
pub(super) fn push_varint(bytes: &mut Vec<u8>, value: usize) {
    let written = bitcoin::VarInt::from(value).consensus_encode(bytes);
    assert!(written.is_ok(), "a vector takes every byte");
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::mining::coinbase::{Coinbase, CoinbasePlan};

    /// An empty regtest template on a parent of one repeated byte.
    pub(crate) fn template_at(parent: u8) -> Template {
        Template::check(parts(parent)).expect("a good template")
    }

    /// A plain coinbase for `template`.
    pub(crate) fn coinbase_of(template: &Template) -> Coinbase {
        let payout = ScriptBuf::from_bytes(vec![0x51]);
        Coinbase::build(&CoinbasePlan::new(template, 1, &payout, []))
    }

    pub(crate) fn parts(parent: u8) -> TemplateParts {
        TemplateParts {
            height: 101,
            parent: [parent; 32],
            version: 0x3000_0000,
            version_required: 0,
            bits: 0x207f_ffff,
            target: None,
            time: UnixTime(1_700_000_000),
            time_min: UnixTime(1_699_999_000),
            coinbase: DeclaredCoinbase::Value(5_000_000_000),
            rules: vec!["csv".to_owned(), "!segwit".to_owned()],
            transactions: Vec::new(),
            witness_commitment: Some(witness_commitment(&[])),
            long_poll_id: None,
            takes_proposals: false,
        }
    }

    /// A two-output transaction, with a witness when asked for.
    pub(crate) fn declared(seed: u8, segwit: bool) -> DeclaredTransaction {
        use bitcoin::{
            OutPoint, Sequence, Transaction, TxIn, Txid, Witness, absolute, hashes::Hash,
            transaction,
        };
        let transaction = Transaction {
            version: transaction::Version::TWO,
            lock_time: absolute::LockTime::ZERO,
            input: vec![TxIn {
                previous_output: OutPoint { txid: Txid::from_byte_array([seed; 32]), vout: 0 },
                script_sig: ScriptBuf::new(),
                sequence: Sequence::MAX,
                witness: if segwit { Witness::from_slice(&[[seed; 9]]) } else { Witness::new() },
            }],
            output: vec![bitcoin::TxOut {
                value: bitcoin::Amount::from_sat(u64::from(seed)),
                script_pubkey: ScriptBuf::from_bytes(vec![0x51]),
            }],
        };
        DeclaredTransaction {
            bytes: bitcoin::consensus::serialize(&transaction),
            txid: transaction.compute_txid().to_byte_array(),
            wtxid: transaction.compute_wtxid().to_byte_array(),
            fee: 1_000,
            depends: Vec::new(),
        }
    }

    fn refused(spoil: impl FnOnce(&mut TemplateParts)) -> String {
        let mut parts = parts(1);
        spoil(&mut parts);
        Template::check(parts).expect_err("must be refused").to_string()
    }

    #[test]
    fn what_is_refused_and_how_it_is_named() {
        let names = [
            refused(|parts| parts.rules.push("!segfault".to_owned())),
            refused(|parts| parts.rules.push("!signet".to_owned())),
            refused(|parts| parts.height = 0),
            refused(|parts| parts.bits = 0),
            refused(|parts| parts.target = Some(Target::from_be_bytes([1; 32]))),
            refused(|parts| parts.coinbase = DeclaredCoinbase::Value(MONEY_MAX + 1)),
            refused(|parts| {
                parts.coinbase = DeclaredCoinbase::Value(999);
                parts.transactions = vec![declared(3, false)];
            }),
            refused(|parts| parts.witness_commitment = Some(ScriptBuf::new())),
            refused(|parts| parts.transactions = vec![declared(3, true)]),
            refused(|parts| {
                parts.transactions = vec![declared(3, true)];
                parts.witness_commitment = None;
            }),
            refused(|parts| {
                parts.transactions = vec![declared(3, false), declared(4, false)];
                parts.transactions[1].bytes.pop();
            }),
            refused(|parts| {
                parts.transactions = vec![declared(3, false)];
                parts.transactions[0].wtxid = [9; 32];
            }),
        ];
        let names = names.join("\n").replace(&"09".repeat(28), "");
        let names =
            names.replace("bec6feff0349cc9ef4389e5fc81167b88e07d58cdc4b5ef2596270d90f", "be");
        insta::assert_snapshot!(names, @r#"
        it demands the rule "segfault", which this server does not know
        it is for signet, whose blocks need the signer's key; mine it with the signet miner
        its height 0 is out of range
        its bits 00000000 are no target
        its bits 207fffff and its target disagree
        its coinbase value of 2100000000000001 sat cannot be, with 0 sat of fees
        its coinbase value of 999 sat cannot be, with 1000 sat of fees
        its witness commitment does not match its transactions
        its witness commitment does not match its transactions
        it holds segwit transactions but no witness commitment
        transaction 1 does not decode
        transaction 0 hashes to 014cc5be, not to the declared 09090909
        "#);
    }

    #[test]
    fn a_lagging_clock_is_lifted_to_the_least_time() {
        let mut parts = parts(1);
        parts.time = UnixTime(5);
        let template = Template::check(parts).expect("a lagging clock is no reason to refuse");
        assert_eq!(template.time, template.time_min);
    }

    #[test]
    fn what_the_last_template_held_is_held_once() {
        let with = |seeds: &[u8]| {
            let mut parts = parts(1);
            parts.transactions = seeds.iter().map(|seed| declared(*seed, false)).collect();
            let checked = check_all(parts.transactions.clone(), &[]).expect("good");
            parts.witness_commitment = Some(witness_commitment(&checked));
            parts
        };
        let last = Template::check(with(&[3, 4])).expect("good");
        let mut next = with(&[4, 5]);
        next.transactions[0].fee = 7;
        let next = Template::check_after(next, Some(&last)).expect("good");
        assert_eq!(next.transactions[0].bytes.as_ptr(), last.transactions[1].bytes.as_ptr());
        assert_eq!(next.fees(), 1_007);
        for seeds in [&[3, 4, 9], &[9, 3, 4], &[4, 3, 9], &[4, 9, 8], &[5, 6, 7]] {
            let next = Template::check_after(with(seeds), Some(&last)).expect("good");
            for transaction in &next.transactions {
                let known = last.transactions.iter().find(|known| known.txid == transaction.txid);
                let place = |transaction: &TemplateTransaction| transaction.bytes.as_ptr();
                let shared = known.is_some_and(|known| place(known) == place(transaction));
                assert_eq!(shared, known.is_some(), "{seeds:?}");
            }
        }
        // A transaction that lies about its hashes is not saved by looking like one that is known.
        let mut liar = with(&[4]);
        liar.transactions[0].bytes = declared(5, false).bytes;
        assert!(Template::check_after(liar, Some(&last)).is_err());
    }

    #[test]
    fn the_commitment_covers_what_the_node_says_it_covers() {
        let mut parts = parts(1);
        parts.transactions = vec![declared(3, true), declared(4, false), declared(5, true)];
        let checked = check_all(parts.transactions.clone(), &[]).expect("good");
        parts.witness_commitment = Some(witness_commitment(&checked));
        let template = Template::check(parts).expect("matching commitment");
        assert_eq!(template.fees(), 3_000);
    }
}
