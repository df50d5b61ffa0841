//! The last look at a job before miners spend energy on it, and every reason to make none.
//!
//! Not here: the rules of BIP-0300 and BIP-0301 themselves ([`crate::bmm::check`]).

use bitcoin::BlockHash;
use bitcoin::hashes::Hash as _;

use crate::bmm::auction::AuctionError;
use crate::bmm::check::{self, Breaches};
use crate::mining::block;
use crate::mining::coinbase::Coinbase;
use crate::mining::template::{Template, WEIGHT_MAX};

/// Why no job is made of a template.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NoJob {
    /// No auction can be held.
    #[error(transparent)]
    Auction(#[from] AuctionError),
    /// The block would be over the limit, in weight units.
    #[error(
        "the template leaves no room for our coinbase (the block would weigh {0}): set \
         blockreservedweight=8000 in the node's configuration"
    )]
    TooHeavy(u64),
    /// The block breaks a rule of BIP-0300 or BIP-0301.
    #[error("an enforcer would refuse this job's block: {0}")]
    Breaches(#[from] Breaches),
}

/// Whether a block of `template` with `coinbase` can be found without being lost.
pub(super) fn is_sound(template: &Template, coinbase: &Coinbase) -> Result<(), NoJob> {
    let paid: u64 = coinbase.outputs().iter().map(|output| output.value.to_sat()).sum();
    assert_eq!(paid, template.coinbase_total(), "every satoshi goes somewhere");
    let weight = block::weight(template, coinbase);
    if weight > WEIGHT_MAX {
        return Err(NoJob::TooHeavy(weight));
    }
    let parent = BlockHash::from_byte_array(template.parent);
    let outputs = coinbase.outputs().iter().map(|output| output.script_pubkey.as_script());
    let empty = bitcoin::Script::new();
    let notes = template
        .transactions
        .iter()
        .map(|transaction| transaction.note.as_deref().unwrap_or(empty));
    check::scripts(parent, outputs, notes, None)?;
    Ok(())
}
