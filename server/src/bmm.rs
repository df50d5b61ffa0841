//! Blind merged mining: what a block must carry so that Drivechain accepts it (BIP-0300, BIP-0301).
//!
//! A sidechain asks miners to commit to the hash of its next block, *h\**. The commitment is an
//! output of the coinbase (M7); the offer to pay for it is an ordinary transaction (M8, a *bid*).
//! Bitcoin Core and Knots know nothing of either. The enforcer beside the node does, and it
//! invalidates a block that breaks a rule *after* the node accepted it, so a mistake here costs
//! the whole block and `submitblock` does not tell.
//!
//! * [`message`]: the bytes of M1-M4, M7 and M8, both ways.
//! * [`check`]: the referee: is this set of outputs and transactions a block the enforcer keeps?
//! * [`auction`]: which bids of a plain template go into the block, and what leaves with the rest.
//! * [`policy`]: which commitments go into the coinbase when several ask for one slot.
//! * [`wishes`]: which proposals, acknowledgements and votes go in beside them.
//!
//! Not here: where templates and h\* come from ([`crate::node`]), how the coinbase is laid out
//! ([`crate::mining`]), the treasury rules M5 and M6, which concern no coinbase.
//!
//! **Invariant:** pure. No clock, no I/O, no randomness, no serde; every number is an integer and
//! every order is fixed, so equal inputs give equal bytes. At most one M7 a slot leaves this
//! module, and no M8 is kept without the M7 that it pays for.

use std::fmt;

use bitcoin::BlockHash;
use bitcoin::hex::DisplayHex as _;

pub mod auction;
pub mod check;
pub mod message;
pub mod policy;
pub mod wishes;

/// The number of a sidechain, 0 to 255 (BIP-0300).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub u8);

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<u8> for Slot {
    fn from(number: u8) -> Self {
        Self(number)
    }
}

/// A sidechain block that a mainchain block commits to: the content of an M7 (BIP-0301).
///
/// Ordered by slot, then by hash.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Commitment {
    /// The sidechain.
    pub slot: Slot,
    /// h\*, 32 bytes in the order in which the sidechain gives them. No layer reverses them: the
    /// hex that a sidechain daemon shows is the hex that stands on the chain.
    pub hash: [u8; 32],
}

impl Commitment {
    /// Whether h\* is all zero: the placeholder for a sidechain daemon that did not answer.
    pub fn is_zero(&self) -> bool {
        self.hash == [0; 32]
    }
}

impl fmt::Display for Commitment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "slot {} h* {}", self.slot, self.hash.as_hex())
    }
}

impl fmt::Debug for Commitment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Commitment({self})")
    }
}

/// An offer to pay for a commitment in the child of one certain block: the content of an M8
/// (BIP-0301). The price is the fee of the transaction that carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bid {
    /// What the block must commit to.
    pub commitment: Commitment,
    /// The block whose child must do so. In any other block the bid makes that block invalid.
    pub parent: BlockHash,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_and_commitments_display_as_operators_write_them() {
        let mut hash = [0x11; 32];
        hash[0] = 0xab;
        let commitment = Commitment { slot: Slot(9), hash };
        assert_eq!(Slot(255).to_string(), "255");
        assert_eq!(
            commitment.to_string(),
            format!("slot 9 h* ab{}", "11".repeat(31)),
            "no byte is reversed on the way to the reader"
        );
        assert_eq!(format!("{commitment:?}"), format!("Commitment({commitment})"));
    }

    #[test]
    fn commitments_order_by_slot_first() {
        let low = Commitment { slot: Slot(2), hash: [0xff; 32] };
        let high = Commitment { slot: Slot(10), hash: [0; 32] };
        assert!(low < high);
        assert!(high.is_zero() && !low.is_zero());
    }
}
