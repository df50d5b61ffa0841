//! Every reason for which the simulated node refuses a block, with bitcoind's word for it.
//!
//! The words are the interface: miners and pools read them from `submitblock`. Each was taken from
//! a running bitcoind 29. Not in here: the checks themselves (`check.rs`).

use std::fmt;

/// Why a block was refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refusal {
    /// The hash does not meet the target that the header claims.
    HighHash,
    /// The header claims another difficulty than regtest's.
    BadDiffBits,
    /// The parent is not known.
    PrevBlockNotFound,
    /// The parent is known to be invalid.
    BadPrevBlock,
    /// The time is not later than the median of the last eleven blocks.
    TimeTooOld,
    /// The time is more than two hours ahead.
    TimeTooNew,
    /// A version below 4, obsolete since BIP-0065.
    BadVersion(i32),
    /// The merkle root is not that of the transactions.
    BadMerkleRoot,
    /// A transaction is in the block twice (CVE-2012-2459).
    DuplicateTransaction,
    /// No transactions, or more bytes without witnesses than a block may have.
    BadLength,
    /// The first transaction is no coinbase.
    CoinbaseMissing,
    /// A later transaction is a coinbase.
    CoinbaseMultiple,
    /// The coinbase's scriptSig is not 2 to 100 bytes long.
    CoinbaseLength,
    /// The coinbase's scriptSig does not begin with the height (BIP-0034).
    CoinbaseHeight,
    /// The coinbase pays more than subsidy and fees.
    CoinbaseAmount,
    /// A transaction without inputs.
    InputsEmpty,
    /// A transaction without outputs.
    OutputsEmpty,
    /// An output of less than nothing.
    OutputNegative,
    /// An output of more than 21 million coins.
    OutputTooLarge,
    /// Outputs that together are more than 21 million coins.
    OutputTotalTooLarge,
    /// A transaction that spends the same output twice.
    InputsDuplicate,
    /// An ordinary transaction with a coinbase's empty reference among its inputs.
    PreviousOutputNull,
    /// A transaction whose lock time is not reached.
    NonFinal,
    /// A transaction whose outputs exist already, unspent (BIP-0030).
    Bip30,
    /// An input that does not exist or is spent.
    InputsMissingOrSpent,
    /// A coinbase output spent before it is 100 blocks deep.
    PrematureCoinbaseSpend,
    /// A transaction that pays out more than it takes in.
    InBelowOut,
    /// More signature operations than a block may have.
    SigOps,
    /// The coinbase's witness is not one item of 32 bytes (BIP-0141).
    WitnessNonceSize,
    /// The witness commitment is not that of the transactions (BIP-0141).
    WitnessMerkleMatch,
    /// Witnesses without a commitment in the coinbase (BIP-0141).
    UnexpectedWitness,
    /// More weight than a block may have (BIP-0141).
    BadWeight,
}

impl Refusal {
    /// Whether the fault may lie in the copy and not in the block that the header names.
    ///
    /// Such a refusal is not remembered: the same header with the right body is still welcome.
    pub const fn is_mutation(self) -> bool {
        matches!(
            self,
            Self::BadMerkleRoot
                | Self::DuplicateTransaction
                | Self::WitnessNonceSize
                | Self::WitnessMerkleMatch
                | Self::UnexpectedWitness
        )
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::BadVersion(version) => return write!(formatter, "bad-version(0x{version:08x})"),
            Self::HighHash => "high-hash",
            Self::BadDiffBits => "bad-diffbits",
            Self::PrevBlockNotFound => "prev-blk-not-found",
            Self::BadPrevBlock => "bad-prevblk",
            Self::TimeTooOld => "time-too-old",
            Self::TimeTooNew => "time-too-new",
            Self::BadMerkleRoot => "bad-txnmrklroot",
            Self::DuplicateTransaction => "bad-txns-duplicate",
            Self::BadLength => "bad-blk-length",
            Self::CoinbaseMissing => "bad-cb-missing",
            Self::CoinbaseMultiple => "bad-cb-multiple",
            Self::CoinbaseLength => "bad-cb-length",
            Self::CoinbaseHeight => "bad-cb-height",
            Self::CoinbaseAmount => "bad-cb-amount",
            Self::InputsEmpty => "bad-txns-vin-empty",
            Self::OutputsEmpty => "bad-txns-vout-empty",
            Self::OutputNegative => "bad-txns-vout-negative",
            Self::OutputTooLarge => "bad-txns-vout-toolarge",
            Self::OutputTotalTooLarge => "bad-txns-txouttotal-toolarge",
            Self::InputsDuplicate => "bad-txns-inputs-duplicate",
            Self::PreviousOutputNull => "bad-txns-prevout-null",
            Self::NonFinal => "bad-txns-nonfinal",
            Self::Bip30 => "bad-txns-BIP30",
            Self::InputsMissingOrSpent => "bad-txns-inputs-missingorspent",
            Self::PrematureCoinbaseSpend => "bad-txns-premature-spend-of-coinbase",
            Self::InBelowOut => "bad-txns-in-belowout",
            Self::SigOps => "bad-blk-sigops",
            Self::WitnessNonceSize => "bad-witness-nonce-size",
            Self::WitnessMerkleMatch => "bad-witness-merkle-match",
            Self::UnexpectedWitness => "unexpected-witness",
            Self::BadWeight => "bad-blk-weight",
        })
    }
}
