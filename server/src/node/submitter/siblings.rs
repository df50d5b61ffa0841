//! Two blocks of ours on one parent: all nodes should be of one mind which of them is the tip.
//!
//! A node keeps the block that it saw first, so two nodes may keep different ones, and half of our
//! own network works against the other. The first that any node took is preferred everywhere
//! (`preciousblock`). **Invariant:** with one node nothing is ever asked of it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::Verdict;
use crate::mining::block::FoundBlock;
use crate::mining::hash::Hash;

/// Parents that are remembered.
const FAMILIES_MAX: usize = 16;

/// Our blocks, by parent.
#[derive(Debug, Default)]
pub(super) struct Siblings {
    families: VecDeque<Family>,
}

#[derive(Debug)]
struct Family {
    parent: Hash,
    /// The first that a node took into its chain.
    first: Option<Hash>,
    /// What each node took into its chain first.
    taken: BTreeMap<usize, Hash>,
    /// Which node has which.
    held: BTreeSet<(usize, Hash)>,
    told: BTreeSet<usize>,
}

impl Siblings {
    /// The node at this place said this of `block`; comes back with the block that this node should
    /// prefer to the one it took.
    pub(super) fn on_verdict(
        &mut self,
        node: usize,
        block: &FoundBlock,
        verdict: &Verdict,
    ) -> Option<Hash> {
        if matches!(verdict, Verdict::Rejected(_) | Verdict::Unknown(_)) {
            return None;
        }
        let family = self.family(parent(block)?);
        family.held.insert((node, block.hash));
        if *verdict == Verdict::Accepted {
            family.taken.entry(node).or_insert(block.hash);
            family.first.get_or_insert(block.hash);
        }
        let first = family.first?;
        let splits = family.taken.get(&node).is_some_and(|taken| *taken != first);
        let can = splits && family.held.contains(&(node, first));
        (can && family.told.insert(node)).then_some(first)
    }

    fn family(&mut self, parent: Hash) -> &mut Family {
        let known = self.families.iter().position(|family| family.parent == parent);
        let place = known.unwrap_or_else(|| {
            if self.families.len() >= FAMILIES_MAX {
                self.families.pop_front();
            }
            let (first, taken) = (None, BTreeMap::new());
            let (held, told) = (BTreeSet::new(), BTreeSet::new());
            self.families.push_back(Family { parent, first, taken, held, told });
            self.families.len() - 1
        });
        &mut self.families[place]
    }
}

/// The block that it builds on, as its header says.
fn parent(block: &FoundBlock) -> Option<Hash> {
    block.bytes.get(4..36)?.try_into().ok()
}
