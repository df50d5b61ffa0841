//! The same work with fewer bids, for firmware that cannot hold the coinbase with all of them.
//!
//! Each bid needs its M7 in the coinbase, and a block with a bid but without its M7 is invalid
//! (BIP-0301), so whoever cannot hold the M7 must mine without the bid. One lean variant a job is
//! enough: it keeps as many of the best-paid bids as the smallest known firmware holds, and is made
//! only where that is not all of them. An enforcer's template has a coinbase of its own, of which
//! nothing can be left out.

use core::cmp::Reverse;
use std::collections::BTreeSet;
use std::sync::Arc;

use super::Pool;
use super::work::Settled;
use crate::bmm::{Bid, Commitment};
use crate::mining::coinbase::Coinbase;
use crate::mining::template::Template;
use crate::stratum::agent;

/// Bytes of a coinbase output with an M7 in canonical form: value, length, script.
const M7_OUTPUT_BYTES: usize = 8 + 1 + 39;

impl Pool {
    /// `settled` with so few bids that its coinbase, which is `coinbase` as it stands, fits into
    /// every known firmware; `None` when it does already, or cannot be made to.
    pub(super) fn with_fewer_bids(
        &self,
        settled: &Settled,
        coinbase: &Coinbase,
    ) -> Option<Settled> {
        if settled.template.given.is_some() || settled.bids.is_empty() {
            return None;
        }
        let payee = self.longest_payee();
        let excess = agent::excess_bytes(&coinbase.barest(payee.as_ref()));
        if excess == 0 {
            return None;
        }
        let kept = without_worst_bids(&settled.template, excess.div_ceil(M7_OUTPUT_BYTES));
        let template = Arc::new(settled.template.keep_only(&kept));
        let bids = bids(&template).map(|(_, commitment, fee)| (commitment, fee)).collect();
        Some(settled.with_bids(template, bids))
    }
}

/// The bids in a template: place, what it pays for, and satoshis.
fn bids(template: &Template) -> impl Iterator<Item = (usize, Commitment, u64)> {
    template.transactions.iter().enumerate().filter_map(|(place, transaction)| {
        let bid = Bid::parse(transaction.note.as_ref()?)?;
        Some((place, bid.commitment, transaction.fee))
    })
}

/// Places of what stays when at least `count` bids leave, those that pay least first, each with
/// everything that spends from it.
fn without_worst_bids(template: &Template, count: usize) -> Vec<usize> {
    let mut order: Vec<(u64, Reverse<usize>)> =
        bids(template).map(|(place, _, fee)| (fee, Reverse(place))).collect();
    order.sort_unstable();
    let are_bids: BTreeSet<usize> = order.iter().map(|(_, Reverse(place))| *place).collect();
    let mut gone: BTreeSet<usize> = BTreeSet::new();
    for (_, Reverse(place)) in order {
        if gone.intersection(&are_bids).count() >= count {
            break;
        }
        gone.insert(place);
        // Whatever spends from a transaction stands behind it.
        for (place, transaction) in template.transactions.iter().enumerate().skip(place + 1) {
            if transaction.depends.iter().any(|parent| gone.contains(parent)) {
                gone.insert(place);
            }
        }
    }
    (0..template.transactions.len()).filter(|place| !gone.contains(place)).collect()
}
