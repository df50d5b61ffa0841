//! The template of a block with nothing but a coinbase, on a tip of which only the header is known.
//!
//! A node with a full mempool takes tens of milliseconds for a template, and until then miners work
//! on a block that is old. A header is there at once, and all that such a block needs beside it was
//! in the last template. Without bids it needs no commitment (BIP-0301), and no vote is an
//! abstention (BIP-0300), so every enforcer takes it.
//!
//! **Invariant:** a template comes of it only where subsidy and target can be told for certain.

use bitcoin::Network;
use bitcoin::constants::SUBSIDY_HALVING_INTERVAL;
use bitcoin::params::Params;

use super::hash::Hash;
use super::template::{DeclaredCoinbase, Template, TemplateParts, witness_commitment};
use crate::clock::UnixTime;

/// Satoshis of the first blocks.
const SUBSIDY_FIRST: u64 = 50 * 100_000_000;
/// Blocks with the same subsidy on regtest.
const HALVING_INTERVAL_REGTEST: u32 = 150;

/// A tip, as its header tells of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Tip {
    /// Its hash, internal order.
    pub hash: Hash,
    /// The block that it builds on, internal order.
    pub parent: Hash,
    /// Its height.
    pub height: u32,
    /// Its compact target.
    pub bits: u32,
    /// The median of the last eleven blocks' times, its own the last.
    pub median_time: UnixTime,
}

/// The template of a block with a coinbase alone on `tip`; `last` is the one that `tip` was mined
/// by, or could have been.
///
/// `None` where it cannot be told for certain: `tip` builds on something else, the target may
/// change, or the chain of `last` pays otherwise than Bitcoin's. And where the node gives whole
/// coinbases, for then more than the node judges its blocks.
pub fn template(network: Network, tip: &Tip, last: &Template) -> Option<Template> {
    let follows =
        (last.parent, last.height, last.bits.to_consensus()) == (tip.parent, tip.height, tip.bits);
    let pays = subsidy(network, last.height).checked_add(last.fees()) == Some(last.value);
    let height = tip.height.checked_add(1)?;
    if !follows || !pays || last.given.is_some() || !keeps_its_target(network, height) {
        return None;
    }
    let parts = TemplateParts {
        height,
        parent: tip.hash,
        version: last.version,
        version_required: last.version_required,
        bits: tip.bits,
        target: Some(last.target),
        time: last.time,
        time_min: UnixTime(tip.median_time.0.checked_add(1)?),
        coinbase: DeclaredCoinbase::Value(subsidy(network, height)),
        rules: Vec::new(),
        transactions: Vec::new(),
        witness_commitment: Some(witness_commitment(&[])),
        long_poll_id: None,
        takes_proposals: false,
    };
    Template::check(parts).ok()
}

/// What a block's coinbase pays beside fees, in satoshis.
fn subsidy(network: Network, height: u32) -> u64 {
    let is_regtest = network == Network::Regtest;
    let interval = if is_regtest { HALVING_INTERVAL_REGTEST } else { SUBSIDY_HALVING_INTERVAL };
    SUBSIDY_FIRST.checked_shr(height / interval).unwrap_or(0)
}

/// Whether the block at `height` has the target of the one before, whenever it is mined.
fn keeps_its_target(network: Network, height: u32) -> bool {
    let params = Params::new(network);
    let retargets = u64::from(height).is_multiple_of(params.difficulty_adjustment_interval());
    // Where slow blocks may be easy, the target hangs on the time in the header.
    params.no_pow_retargeting || !params.allow_min_difficulty_blocks && !retargets
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mining::template::tests::parts;

    /// The template for a block at `height` of `network`, and that block as the tip.
    fn story(
        network: Network,
        height: u32,
        change: impl FnOnce(&mut TemplateParts),
    ) -> (Template, Tip) {
        let mut parts = TemplateParts { height, ..parts(1) };
        parts.coinbase = DeclaredCoinbase::Value(subsidy(network, height));
        change(&mut parts);
        let last = Template::check(parts).expect("a good template");
        let bits = last.bits.to_consensus();
        let median_time = UnixTime(1_699_999_500);
        (last, Tip { hash: [2; 32], parent: [1; 32], height, bits, median_time })
    }

    #[test]
    fn the_next_block_on_a_known_header() {
        let (last, tip) = story(Network::Regtest, 149, |_| {});
        let next = template(Network::Regtest, &tip, &last).expect("all is known");
        assert_eq!((next.height, next.parent, next.bits), (150, tip.hash, last.bits));
        assert_eq!(next.value, 2_500_000_000, "a halving, and no fees");
        assert!(next.transactions.is_empty() && !next.takes_proposals);
        assert_eq!((next.time, next.time_min.0), (last.time, 1_699_999_501));
    }

    /// On a chain whose blocks come faster than its clock goes.
    #[test]
    fn its_time_is_one_that_consensus_takes() {
        let (last, mut tip) = story(Network::Regtest, 101, |_| {});
        tip.median_time = UnixTime(last.time.0 + 7);
        let next = template(Network::Regtest, &tip, &last).expect("all is known");
        assert_eq!(next.time.0, last.time.0 + 8);
    }

    #[test]
    fn no_guess_is_made() {
        let none = |network, height, change: fn(&mut TemplateParts), other: fn(&mut Tip)| {
            let (last, mut tip) = story(network, height, change);
            other(&mut tip);
            template(network, &tip, &last).is_none()
        };
        let same = |_: &mut TemplateParts| {};
        assert!(none(Network::Regtest, 101, same, |tip| tip.parent = [7; 32]), "a reorganisation");
        assert!(none(Network::Regtest, 101, same, |tip| tip.height = 102));
        assert!(none(Network::Regtest, 101, same, |tip| tip.bits = 0x1d00_ffff));
        let richer = |parts: &mut TemplateParts| parts.coinbase = DeclaredCoinbase::Value(7);
        assert!(none(Network::Regtest, 101, richer, |_| {}), "another chain's subsidy");
        assert!(none(Network::Bitcoin, 2_015, same, |_| {}), "the next block has another target");
        assert!(!none(Network::Bitcoin, 2_014, same, |_| {}));
        assert!(!none(Network::Regtest, 2_015, same, |_| {}), "never another one there");
        assert!(none(Network::Testnet4, 101, same, |_| {}), "a slow block there is an easy one");
    }

    #[test]
    fn the_subsidy_halves_until_nothing_is_left() {
        let main = |height| subsidy(Network::Bitcoin, height);
        assert_eq!(
            [main(0), main(209_999), main(210_000)],
            [SUBSIDY_FIRST, SUBSIDY_FIRST, 2_500_000_000]
        );
        assert_eq!(main(840_000), 312_500_000);
        assert_eq!([main(33 * 210_000), main(64 * 210_000), main(u32::MAX)], [0, 0, 0]);
    }
}
