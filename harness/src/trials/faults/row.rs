//! What a case is judged by, and its row in the table.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use bitcoin::BlockHash;
use server::pool::Counters;

use super::super::chain::Standing;
use super::super::shelves::Shelf;
use super::super::witness::Testimony;

/// What was seen of a case.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    /// On the miners' sockets.
    pub(super) testimony: Testimony,
    /// At the nodes: the best that one of them says.
    pub(super) standings: BTreeMap<BlockHash, Standing>,
    /// In the data directory.
    pub(super) files: Vec<(BlockHash, Shelf)>,
    /// What the server says of itself.
    pub(super) counters: Counters,
    /// Whether there is a second node, which has another chain and is told nothing of the first's:
    /// where a block's parent is unknown to it, it cannot say what the block is.
    pub(super) apart: bool,
}

/// What came of a case.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Row {
    /// What went wrong.
    pub case: String,
    /// How long it took.
    pub time: Duration,
    /// Blocks that were found.
    pub found: usize,
    /// Those of them that were acknowledged to the miner.
    pub acknowledged: usize,
    /// Found blocks in the chain of a node.
    pub in_chain: usize,
    /// Found blocks on a sound branch beside it.
    pub stale: usize,
    /// Found blocks that no node has.
    pub lost: Vec<BlockHash>,
    /// Times that the server left a node for another.
    pub failovers: u64,
    /// What the server says that is not so.
    pub misreported: Vec<String>,
}

impl Row {
    /// Whether nothing was lost or misreported.
    pub const fn passed(&self) -> bool {
        self.lost.is_empty() && self.misreported.is_empty()
    }

    pub(super) fn judge(case: String, time: Duration, seen: &Seen) -> Self {
        let failovers = seen.counters.failovers;
        let mut row = Self { case, time, failovers, ..Self::default() };
        // A witness that missed something proves nothing.
        row.misreported.extend_from_slice(&seen.testimony.not_understood);
        for block in seen.testimony.submissions.iter().filter(|one| one.solves) {
            row.found += 1;
            row.acknowledged += usize::from(block.taken().is_some());
            match seen.standing(block.hash) {
                Standing::InChain => row.in_chain += 1,
                Standing::Stale => row.stale += 1,
                Standing::Invalid | Standing::Missing => row.lost.push(block.hash),
            }
        }
        for (hash, shelf) in &seen.files {
            let standing = seen.standing(*hash);
            let right = match shelf {
                // The bad news of one node waits ten minutes for another's better.
                Shelf::Pending => seen.apart && standing == Standing::Stale,
                Shelf::Accepted | Shelf::Inconclusive => standing.is_kept(),
                Shelf::Rejected => !standing.is_kept(),
            };
            if !right {
                let what = format!("block {hash} is kept as {shelf:?}, and is {standing:?}");
                row.misreported.push(what);
            }
        }
        let Counters { blocks_found, blocks_accepted, .. } = seen.counters;
        for (what, says, is) in [
            ("found", blocks_found, row.found),
            ("accepted", blocks_accepted, row.in_chain),
            ("written", seen.files.len() as u64, row.found),
        ] {
            if says != is as u64 {
                row.misreported
                    .push(format!("{says} blocks {what}, the nodes and miners say {is}"));
            }
        }
        row
    }
}

impl Seen {
    fn standing(&self, block: BlockHash) -> Standing {
        self.standings.get(&block).copied().unwrap_or(Standing::Missing)
    }
}

impl fmt::Display for Row {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { case, found, acknowledged, in_chain, stale, failovers, .. } = self;
        let (lost, misreported) = (self.lost.len(), self.misreported.len());
        let seconds = self.time.as_secs_f64();
        write!(
            formatter,
            "| {case} | {found} | {acknowledged} | {in_chain} | {stale} | {lost} | {misreported} \
             | {failovers} | {seconds:.1} |"
        )
    }
}

/// All rows under their heads, in Markdown, and below them what is wrong.
pub fn table(rows: &[Row]) -> String {
    let heads = [
        "| what goes wrong | found | acknowledged | in chain | stale | lost | misreported \
         | failovers | s |",
        "|---|---|---|---|---|---|---|---|---|",
    ];
    let mut lines: Vec<String> = heads.map(str::to_owned).into();
    lines.extend(rows.iter().map(ToString::to_string));
    for row in rows {
        let lost = row.lost.iter().map(|hash| format!("no node has block {hash}"));
        let all = lost.chain(row.misreported.iter().cloned());
        lines.extend(all.map(|what| format!("FAILED {}: {what}", row.case)));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use bitcoin::hashes::Hash as _;
    use tokio::time::Instant;

    use super::super::super::witness::{Reply, Submission};
    use super::*;

    fn hash(byte: u8) -> BlockHash {
        BlockHash::from_byte_array([byte; 32])
    }

    /// Block 1 is in the chain, block 2 beside it.
    fn truth() -> Seen {
        let now = Instant::now();
        let block = |byte| Submission {
            hash: hash(byte),
            worker: "w".to_owned(),
            solves: true,
            sent: now,
            reply: Some(Reply::Taken(now)),
        };
        let submissions = vec![block(1), block(2)];
        Seen {
            testimony: Testimony { submissions, not_understood: Vec::new() },
            standings: [(hash(1), Standing::InChain), (hash(2), Standing::Stale)].into(),
            files: vec![(hash(1), Shelf::Accepted), (hash(2), Shelf::Inconclusive)],
            counters: Counters { blocks_found: 2, blocks_accepted: 1, ..Counters::default() },
            apart: false,
        }
    }

    fn judged(change: impl FnOnce(&mut Seen)) -> Row {
        let mut seen = truth();
        change(&mut seen);
        Row::judge("c".to_owned(), Duration::from_millis(1_500), &seen)
    }

    #[test]
    fn the_truth_passes() {
        let row = judged(|_| {});
        assert!(row.passed(), "{row:?}");
        assert_eq!(row.to_string(), "| c | 2 | 2 | 1 | 1 | 0 | 0 | 0 | 1.5 |");
    }

    #[test]
    fn a_block_that_no_node_has_is_lost_and_a_yes_to_it_a_lie() {
        let row = judged(|seen| {
            seen.standings.remove(&hash(1));
        });
        assert_eq!(row.lost, [hash(1)]);
        assert_eq!(row.misreported.len(), 2, "its file and the sum: {row:?}");
        let text = table(&[row]);
        assert!(text.contains("FAILED c: no node has block 0101"), "{text}");
    }

    #[test]
    fn a_block_beside_the_chain_may_wait_for_a_node_on_another_one() {
        let waits = |file: usize| {
            judged(|seen| {
                seen.apart = true;
                seen.files[file].1 = Shelf::Pending;
            })
        };
        assert!(waits(1).passed(), "it is stale, and the other node may yet have it");
        assert!(!waits(0).passed(), "a node that has it in its chain has spoken");
    }

    #[test]
    fn each_lie_is_one() {
        let lies: [fn(&mut Seen); 6] = [
            |seen| seen.counters.blocks_accepted = 2,
            |seen| seen.counters.blocks_accepted = 0,
            |seen| seen.counters.blocks_found = 3,
            |seen| seen.files[0].1 = Shelf::Rejected,
            |seen| seen.files[1].1 = Shelf::Pending,
            |seen| seen.testimony.not_understood.push("what?".to_owned()),
        ];
        for (number, lie) in lies.into_iter().enumerate() {
            let row = judged(lie);
            assert_eq!((row.lost.len(), row.misreported.len()), (0, 1), "{number}: {row:?}");
        }
    }
}
