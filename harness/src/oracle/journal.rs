//! SHARE-3, SHARE-4, DISK-1, DISK-2: what is written down of shares is what miners were told, soon,
//! once, for the right worker and difficulty; and it is still there after every crash.
//!
//! The log is read with code of its own ([`log`]); what each share is worth comes from the bytes
//! that the miner was sent.

#![expect(clippy::wildcard_enum_match_arm, reason = "most of what is seen says nothing of the log")]

pub mod log;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bitcoin::BlockHash;
use bitcoin::hashes::Hash as _;
use server::journal::WriteError;
use simminer::target::Difficulty;

use super::casebook::{Asks, Casebook, Fact, Logged, Reply, Submission};
use super::{Broken, Oracle, Scene, hold};
use crate::sim::observe::{Ending, Observation};
use crate::sim::queue::Micros;
use log::Entry;

type Hash = [u8; 32];

/// What a submission that deserves it is credited with.
#[derive(Debug)]
struct Due {
    at: Micros,
    worker: String,
    difficulty: Difficulty,
    height: u32,
    job: String,
    /// The server's wall clock when it came.
    unix: u32,
}

/// The log of one run.
#[derive(Debug, Default)]
struct Log {
    /// All that was to be written, and may still be there.
    asked: Vec<u8>,
    /// So many bytes of it are on disk, as was reported or found.
    kept: usize,
    records: u64,
}

/// A write to the log.
#[derive(Debug)]
enum Write {
    UnderWay {
        write: u64,
        records: u64,
    },
    /// There was no room; it is asked for again then.
    Again {
        when: Micros,
        records: u64,
    },
}

/// Judges the share log.
#[derive(Debug, Default)]
pub(super) struct Journal {
    /// One header may be submitted twice, and one of the two be refused.
    due: BTreeMap<Hash, Vec<Due>>,
    /// Acknowledged in this run and not yet to be written, with when.
    unasked: VecDeque<(Micros, Hash)>,
    /// In the log, of all runs.
    credited: BTreeSet<Hash>,
    write: Option<Write>,
    logs: BTreeMap<u32, Log>,
    /// The run of this process, as its first record says.
    generation_put: Option<u64>,
    /// A sync failed in this run.
    failed: bool,
}

impl Oracle for Journal {
    fn see(&mut self, scene: &Scene<'_>, book: &Casebook, fact: &Fact) -> Result<(), Broken> {
        match fact {
            Fact::Asked(_, request) => {
                if let Asks::Submit(submission) = &request.asks {
                    self.submitted(scene, submission);
                }
                Ok(())
            }
            Fact::Answered(reply) => match &reply.request.asks {
                Asks::Submit(submission) => self.answered(scene, reply, submission),
                _ => Ok(()),
            },
            Fact::Logged(logged) => self.logged(scene, logged),
            Fact::Seen(what) => self.saw(scene, book, what),
            Fact::Job(..) | Fact::Notified(..) => Ok(()),
        }
    }

    fn finish(&mut self, scene: &Scene<'_>, _book: &Casebook) -> Result<(), Broken> {
        hold("RES-2", self.unasked.is_empty() && self.write.is_none(), || {
            let waiting = self.unasked.len();
            format!("the miners have left, and {waiting} shares wait; {:?}", self.write)
        })?;
        self.look(scene)
    }
}

impl Journal {
    fn submitted(&mut self, scene: &Scene<'_>, submission: &Submission) {
        let (Some(hash), Some(job)) = (submission.hash, &submission.job) else { return };
        let Some(difficulty) = submission.difficulty else { return };
        if !submission.verdict.codes.is_empty() {
            return;
        }
        let parent = BlockHash::from_byte_array(job.previous_block);
        let height = scene.world.height_after(parent).unwrap_or(0);
        let (worker, job) = (submission.worker.clone(), job.id.clone());
        let due = Due { at: scene.now, worker, difficulty, height, job, unix: scene.wall };
        self.due.entry(hash).or_default().push(due);
    }

    fn answered(
        &mut self,
        scene: &Scene<'_>,
        reply: &Reply,
        submission: &Submission,
    ) -> Result<(), Broken> {
        let Some(hash) = submission.hash else { return Ok(()) };
        match reply.result {
            Ok(_) => {
                hold("DISK-2", !self.failed, || {
                    let (conn, id) = (reply.conn, &reply.request.id);
                    format!("conn {conn}: request {id} is taken after a sync failed")
                })?;
                // A reply that waited for a block may come after the record.
                if !self.credited.contains(&hash) {
                    self.unasked.push_back((scene.now, hash));
                }
            }
            Err(_) if submission.verdict.codes.is_empty() => {
                let at = reply.request.at;
                let dues = self.due.entry(hash).or_default();
                let refused = |due: &Due| due.at == at && due.worker == submission.worker;
                // Of two in one breath the later one is the repetition.
                if let Some(place) = dues.iter().rposition(refused) {
                    dues.remove(place);
                }
            }
            Err(_) => {}
        }
        let asked = match self.write {
            None => 0,
            Some(Write::UnderWay { records, .. } | Write::Again { records, .. }) => records,
        };
        let waiting = asked + self.unasked.len() as u64;
        let most = scene.settings.limits.journal_waiting as u64;
        hold("RES-1", waiting <= most, || {
            format!("{waiting} shares are acknowledged and not on disk, at most {most}")
        })
    }

    fn logged(&mut self, scene: &Scene<'_>, logged: &Logged) -> Result<(), Broken> {
        let entries = logged.entries.as_ref().map_err(|line| Broken {
            law: "SHARE-3",
            what: format!("a record cannot be read: {line}"),
        })?;
        let records = entries.len() as u64;
        let log = self.logs.entry(logged.run).or_default();
        let under_way = matches!(self.write, Some(Write::UnderWay { .. }));
        hold("DISK-1", !under_way, || {
            "a batch is written while another is not known to be safe".to_owned()
        })?;
        let write = Some(Write::UnderWay { write: logged.write, records });
        if let Some(Write::Again { .. }) = core::mem::replace(&mut self.write, write) {
            return hold("SHARE-3", log.asked[log.kept..] == logged.bytes, || {
                "what found no room is not what is asked for again".to_owned()
            });
        }
        hold("SHARE-3", log.asked.len() == log.kept, || {
            format!("{} bytes of the log were given up", log.asked.len() - log.kept)
        })?;
        let safe = log.records;
        for (entry, number) in entries.iter().zip(safe + 1..) {
            let place = (entry.run, entry.number, entry.safe);
            hold("SHARE-3", place == (logged.run, number, safe), || {
                format!("record {number} after {safe} safe ones is {entry:?}")
            })?;
            judge(&self.due, entry)?;
            hold("SHARE-3", self.credited.insert(entry.hash), || {
                format!("a share is credited twice: {entry:?}")
            })?;
        }
        hold("SHARE-3", logged.first == safe + 1, || {
            format!("record {} is said to be the first after {safe}", logged.first)
        })?;
        log.records += records;
        log.asked.extend_from_slice(&logged.bytes);
        let credited = &self.credited;
        self.unasked.retain(|(_, hash)| !credited.contains(hash));
        self.is_in_time(scene)
    }

    fn saw(
        &mut self,
        scene: &Scene<'_>,
        book: &Casebook,
        what: &Observation,
    ) -> Result<(), Broken> {
        match what {
            Observation::Started { .. } => {
                self.unasked.clear();
                self.write = None;
                self.failed = false;
                self.generation_put = None;
                self.look(scene)
            }
            Observation::Writes { write, op: server::journal::DiskOp::PutGeneration(_) } => {
                self.generation_put = Some(*write);
                Ok(())
            }
            Observation::Persisted { write } => {
                if matches!(self.write, Some(Write::UnderWay { write: ours, .. }) if ours == *write)
                {
                    self.write = None;
                    if let Some(log) = self.logs.values_mut().next_back() {
                        log.kept = log.asked.len();
                    }
                }
                Ok(())
            }
            Observation::NotPersisted { write, error } => {
                self.not_persisted(scene, *write, error);
                Ok(())
            }
            Observation::Done => {
                let serves = book.sessions.values().any(|session| !session.closing);
                hold("DISK-2", !(self.failed && serves), || {
                    "miners are still served after a sync failed".to_owned()
                })?;
                if self.failed { Ok(()) } else { self.is_in_time(scene) }
            }
            Observation::Ended(Ending::Stopped) if self.write.is_none() && !self.failed => {
                hold("SHARE-3", self.unasked.is_empty(), || {
                    format!("it stops with {} shares that were not written", self.unasked.len())
                })
            }
            _ => Ok(()),
        }
    }

    fn not_persisted(&mut self, scene: &Scene<'_>, write: u64, error: &WriteError) {
        let ours = match self.write {
            Some(Write::UnderWay { write: ours, records }) if ours == write => Some(records),
            _ => None,
        };
        match (error, ours) {
            (WriteError::NotKept(_), Some(records)) => {
                let pause = scene.settings.limits.retry_pause_ms;
                let when = scene.now.after(pause * 1_000);
                self.write = Some(Write::Again { when, records });
            }
            (WriteError::Unknown(_), Some(_)) => self.failed = true,
            (WriteError::Unknown(_) | WriteError::NotKept(_), None) => {
                self.failed |= self.generation_put == Some(write);
            }
        }
    }

    /// What was acknowledged is asked to be written within the flush window, or as soon as the disk
    /// is done with what was before it.
    fn is_in_time(&self, scene: &Scene<'_>) -> Result<(), Broken> {
        match &self.write {
            Some(Write::UnderWay { .. }) => Ok(()),
            Some(Write::Again { when, .. }) => hold("SHARE-3", scene.now <= *when, || {
                "what found no room is not asked for again".to_owned()
            }),
            None => {
                let window = scene.settings.limits.journal_flush_ms * 1_000;
                let oldest = self.unasked.front();
                let waits = oldest.map_or(0, |(when, _)| scene.now.since(*when));
                hold("SHARE-3", waits <= window, || {
                    format!("a share has waited {waits} us to be written, at most {window}")
                })
            }
        }
    }

    /// Compares the disk with what was written, while nothing writes.
    fn look(&mut self, scene: &Scene<'_>) -> Result<(), Broken> {
        let refused = scene.disk.refused();
        hold("DISK-1", refused.is_none(), || {
            format!("a start refuses what a crash left: {refused:?}")
        })?;
        let mut found: BTreeMap<u32, Vec<u8>> = BTreeMap::new();
        for (run, first, bytes) in scene.disk.share_files() {
            let before = found.entry(run).or_default();
            let records = before.split(|byte| *byte == b'\n').count() as u64;
            hold("DISK-1", first == records, || {
                format!("the file {run}-{first} begins with record {records}")
            })?;
            before.extend_from_slice(bytes);
        }
        for run in found.keys() {
            self.logs.entry(*run).or_default();
        }
        for (run, log) in &mut self.logs {
            let found = found.remove(run).unwrap_or_default();
            hold("SHARE-3", log.asked.starts_with(&found), || {
                format!("the log of run {run} holds what was never written, or not so")
            })?;
            hold("DISK-1", found.len() >= log.kept, || {
                format!("{} of {} bytes are left of run {run}'s log", found.len(), log.kept)
            })?;
            hold("DISK-1", found.is_empty() || found.ends_with(b"\n"), || {
                format!("the log of run {run} ends in a record that is not whole")
            })?;
            log.kept = found.len();
            log.asked = found;
        }
        Ok(())
    }
}

/// SHARE-4: each record credits who submitted the share with what he was told it is worth.
fn judge(due: &BTreeMap<Hash, Vec<Due>>, entry: &Entry) -> Result<(), Broken> {
    let dues = due.get(&entry.hash).map_or(&[][..], Vec::as_slice);
    hold("SHARE-3", !dues.is_empty(), || {
        format!("nobody submitted what is credited, or he was refused: {entry:?}")
    })?;
    let right = |due: &Due| {
        entry.worker == due.worker
            && entry.difficulty == due.difficulty
            && (entry.height, &entry.job) == (due.height, &due.job)
            && entry.unix == u64::from(due.unix)
    };
    hold("SHARE-4", dues.iter().any(right), || format!("{dues:?} is credited as {entry:?}"))
}
