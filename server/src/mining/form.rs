//! What one session is given of a job: whom its coinbase pays, and how many bytes it may have.
//!
//! A job is the same for everybody but for this. Small firmware keeps coinbases in fixed buffers
//! and hashes rubbish when one does not fit (MINERS contract 8, FAILURES 24); whoever mines for
//! himself is paid by his own output. Who gets which form is the session's business, not here.

use bitcoin::ScriptBuf;

use super::coinbase::Coinbase;

/// Bytes of the longest script that anybody is paid by (P2WSH, P2TR).
const PAYEE_BYTES_MAX: usize = 34;
/// What a form may add to a job's coinbase, as weight: a longer payout script, an output for the
/// fee (43 bytes), the revision and a longer length each.
pub const FORM_WEIGHT_MAX: u64 = 4 * (PAYEE_BYTES_MAX as u64 + 43 + 1 + 2);
/// A whole in basis points.
const BASIS_POINTS: u128 = 10_000;

/// Whom a session's blocks pay, in place of the operator.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Payee {
    /// Where to.
    pub script: ScriptBuf,
    /// The operator's part of the reward, in hundredths of a percent.
    pub fee_basis_points: u16,
}

impl Payee {
    /// Whoever takes the most room in a coinbase: nobody, but no payee needs more.
    pub fn longest(fee_basis_points: u16) -> Self {
        Self { script: ScriptBuf::from_bytes(vec![0x6a; PAYEE_BYTES_MAX]), fee_basis_points }
    }

    /// The operator's part of `reward`, both in satoshis; the fraction of one is the miner's.
    pub fn fee(&self, reward: u64) -> u64 {
        let fee = u128::from(reward) * u128::from(self.fee_basis_points) / BASIS_POINTS;
        u64::try_from(fee).unwrap_or(reward).min(reward)
    }
}

/// How many bytes of a coinbase a miner's firmware can hold, without witness.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Budget {
    /// The whole coinbase.
    pub whole_bytes: usize,
    /// Each of the halves around the extranonces: `coinb1`, `coinb2`.
    pub half_bytes: usize,
}

impl Budget {
    /// As much as any firmware was seen to hold.
    pub const LARGEST: Self = Self::whole(16_000);

    /// A bound on the whole coinbase.
    pub const fn whole(bytes: usize) -> Self {
        Self { whole_bytes: bytes, half_bytes: bytes }
    }

    /// A bound on each half.
    pub const fn half(bytes: usize) -> Self {
        Self { whole_bytes: 2 * bytes, half_bytes: bytes }
    }

    /// Whether `coinbase` fits.
    pub fn holds(self, coinbase: &Coinbase) -> bool {
        self.excess_bytes(coinbase) == 0
    }

    /// By how many bytes `coinbase` is too long.
    pub fn excess_bytes(self, coinbase: &Coinbase) -> usize {
        let longest = coinbase.prefix().len().max(coinbase.suffix().len());
        let half = longest.saturating_sub(self.half_bytes);
        half.max(coinbase.stripped_bytes().saturating_sub(self.whole_bytes))
    }
}

/// What one session is given of a job.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Form {
    /// Whom its blocks pay; the operator when none.
    pub payee: Option<Payee>,
    /// What its firmware can hold.
    pub budget: Budget,
}

impl Default for Form {
    fn default() -> Self {
        Self { payee: None, budget: Budget::LARGEST }
    }
}

impl Form {
    /// Whether `coinbase` is the same in this form.
    pub fn fits_as_it_is(&self, coinbase: &Coinbase) -> bool {
        self.payee.is_none() && self.budget.holds(coinbase)
    }
}
