//! What bystanders saw of a server that was killed over and over, and what it proves.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use bitcoin::BlockHash;
use bitcoin::hashes::Hash as _;
use tokio::time::Instant;

use super::super::chain::Standing;
use super::super::proxy::Handed;
use super::super::shelves::Shelf;
use super::super::witness::{Reply, Submission, Testimony};

/// What a crash may forget of ordinary shares: the tenth of a second that a batch waits, and the
/// time of one write, which is long where the disk has other work.
const FORGOTTEN_MAX: Duration = Duration::from_secs(5);
/// Rounds after which some block must have been recovered by a restart, or that was not tried.
const ROUNDS_TO_RECOVER: usize = 8;

/// How a process of the server ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum End {
    Killed,
    Stopped,
}

/// One process of the server.
#[derive(Clone, Copy, Debug)]
pub(super) struct Life {
    pub(super) started: Instant,
    /// When it was told to end.
    pub(super) ended: Instant,
    pub(super) end: End,
}

/// All that was seen.
#[derive(Clone, Debug)]
pub(super) struct Evidence {
    /// On the miners' sockets.
    pub(super) testimony: Testimony,
    /// At the node, of each share that solved a block.
    pub(super) standings: BTreeMap<BlockHash, Standing>,
    /// On the way to the node.
    pub(super) handed: Vec<Handed>,
    /// In the data directory.
    pub(super) files: Vec<(BlockHash, Shelf)>,
    /// The share log's records, by the hash of their header.
    pub(super) logged: Vec<[u8; 32]>,
    /// How many shares the server's own reader of the log adds up.
    pub(super) summed: u64,
    /// The processes, one after the other.
    pub(super) lives: Vec<Life>,
}

/// What became of the blocks and shares of a trial.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Kill9Report {
    /// Processes that were killed.
    pub kills: usize,
    /// Processes that were asked to stop; the last one is, after all rounds.
    pub stops: usize,
    /// Shares that were sent and solve a block.
    pub found: usize,
    /// Those of them that were answered `true`.
    pub acknowledged: usize,
    /// Those of them that were refused, for their job was gone by then.
    pub refused: usize,
    /// Acknowledged blocks in the node's chain.
    pub in_chain: usize,
    /// Acknowledged blocks on a sound branch beside it.
    pub stale: usize,
    /// Acknowledged blocks that are neither.
    pub lost: Vec<BlockHash>,
    /// Blocks that the node has although nobody was told `true`: the server died over the answer.
    pub kept_unanswered: usize,
    /// Blocks that the node was first handed by a later process than the one that was told of them.
    pub recovered: usize,
    /// Shares answered `true`.
    pub shares: usize,
    /// Those of them that the share log has.
    pub shares_kept: usize,
    /// The oldest of the others when its process was killed.
    pub oldest_forgotten: Duration,
    /// What must not be.
    pub offences: Vec<String>,
}

impl Kill9Report {
    /// Whether all is as it must be.
    pub const fn passed(&self) -> bool {
        self.offences.is_empty()
    }
}

impl Evidence {
    /// What it proves.
    pub(super) fn judge(&self) -> Kill9Report {
        let ended = |end| self.lives.iter().filter(|life| life.end == end).count();
        let mut report = Kill9Report {
            kills: ended(End::Killed),
            stops: ended(End::Stopped),
            offences: self.testimony.not_understood.clone(),
            ..Kill9Report::default()
        };
        for submission in self.testimony.submissions.iter().filter(|one| one.solves) {
            self.judge_block(submission, &mut report);
        }
        if report.recovered == 0 && self.lives.len() > ROUNDS_TO_RECOVER {
            report.offences.push("no restart recovered a block: that was not tried".to_owned());
        }
        self.judge_files(&mut report.offences);
        self.judge_log(&mut report.offences);
        self.judge_shares(&mut report);
        report
    }

    fn judge_block(&self, block: &Submission, report: &mut Kill9Report) {
        let standing = self.standings.get(&block.hash).copied().unwrap_or(Standing::Missing);
        report.found += 1;
        let handed = self.handed.iter().find(|handed| handed.hash == block.hash);
        let later = handed.is_some_and(|handed| self.life(handed.at) > self.life(block.sent));
        report.recovered += usize::from(later && standing.is_kept());
        match &block.reply {
            Some(Reply::Taken(_)) => {
                report.acknowledged += 1;
                match standing {
                    Standing::InChain => report.in_chain += 1,
                    Standing::Stale => report.stale += 1,
                    Standing::Invalid | Standing::Missing => {
                        report.lost.push(block.hash);
                        let said = handed.map_or("never handed to it", |handed| &handed.answer);
                        report.offences.push(format!(
                            "block {} was acknowledged in process {} and is lost: {standing:?} at \
                             the node ({said})",
                            block.hash,
                            self.life(block.sent)
                        ));
                    }
                }
            }
            Some(Reply::Refused(_)) => report.refused += 1,
            None => report.kept_unanswered += usize::from(standing.is_kept()),
        }
    }

    /// Each block has one file, where it belongs.
    fn judge_files(&self, offences: &mut Vec<String>) {
        let mut seen = BTreeSet::new();
        for (hash, shelf) in &self.files {
            if !seen.insert(hash) {
                offences.push(format!("block {hash} has two files: it is counted twice"));
            }
            let standing = self.standings.get(hash).copied().unwrap_or(Standing::Missing);
            let right = match shelf {
                Shelf::Pending | Shelf::Rejected => false,
                Shelf::Accepted | Shelf::Inconclusive => standing.is_kept(),
            };
            if !right {
                offences.push(format!("block {hash} is kept as {shelf:?}, and is {standing:?}"));
            }
        }
    }

    /// Each record is of a share that was sent, and there once.
    fn judge_log(&self, offences: &mut Vec<String>) {
        let sent: BTreeMap<[u8; 32], &Submission> =
            self.testimony.submissions.iter().map(|one| (one.hash.to_byte_array(), one)).collect();
        let mut seen = BTreeSet::new();
        for hash in &self.logged {
            let shown = BlockHash::from_byte_array(*hash);
            if !seen.insert(hash) {
                offences.push(format!("share {shown} is in the log twice"));
            }
            match sent.get(hash).map(|submission| &submission.reply) {
                None => offences.push(format!("share {shown} is in the log, and nobody sent it")),
                Some(Some(Reply::Refused(why))) => {
                    offences.push(format!("share {shown} is in the log, and was refused: {why}"));
                }
                Some(Some(Reply::Taken(_)) | None) => {}
            }
        }
        if self.summed != self.logged.len() as u64 {
            let (summed, logged) = (self.summed, self.logged.len());
            offences.push(format!("`shares` adds up {summed} shares of {logged} in the log"));
        }
    }

    /// Of what was answered `true` only the newest may be missing from the log, after a kill.
    fn judge_shares(&self, report: &mut Kill9Report) {
        let logged: BTreeSet<&[u8; 32]> = self.logged.iter().collect();
        for share in &self.testimony.submissions {
            let Some(taken) = share.taken() else { continue };
            report.shares += 1;
            if logged.contains(&share.hash.to_byte_array()) {
                report.shares_kept += 1;
                continue;
            }
            let number = self.life(share.sent);
            let Some(life) = number.checked_sub(1).and_then(|place| self.lives.get(place)) else {
                report.offences.push(format!("share {} was taken by nobody", share.hash));
                continue;
            };
            let age = life.ended.saturating_duration_since(taken);
            report.oldest_forgotten = report.oldest_forgotten.max(age);
            if life.end == End::Stopped || age > FORGOTTEN_MAX {
                report.offences.push(format!(
                    "share {} was taken {} ms before process {number} was {:?}, and is not in the \
                     log",
                    share.hash,
                    age.as_millis(),
                    life.end
                ));
            }
        }
    }

    /// The number of the process that ran then, from 1; 0 before the first.
    fn life(&self, when: Instant) -> usize {
        self.lives.partition_point(|life| life.started <= when)
    }
}

impl fmt::Display for Kill9Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unanswered = self.found - self.acknowledged - self.refused;
        writeln!(formatter, "server       {} kills, {} stops", self.kills, self.stops)?;
        writeln!(
            formatter,
            "blocks       {} found: {} acknowledged, {} refused as stale, {unanswered} without an \
             answer ({} of those at the node)",
            self.found, self.acknowledged, self.refused, self.kept_unanswered
        )?;
        writeln!(
            formatter,
            "acknowledged {} in the chain, {} on a sound branch beside it, {} lost",
            self.in_chain,
            self.stale,
            self.lost.len()
        )?;
        writeln!(formatter, "recovered    {} from the journal by a restart", self.recovered)?;
        write!(
            formatter,
            "shares       {} acknowledged, {} in the log, {} forgotten by kills (the oldest {} ms \
             before)",
            self.shares,
            self.shares_kept,
            self.shares - self.shares_kept,
            self.oldest_forgotten.as_millis()
        )?;
        for offence in &self.offences {
            write!(formatter, "\nFAILED       {offence}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
