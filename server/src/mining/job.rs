//! Jobs: what miners are given to hash, and for how long their work on it counts.
//!
//! A job never changes after it was published. It is *live* while its parent is the tip, *in
//! grace* for a moment after, then *stale*: shares no longer count, but a block is still a block,
//! for the tip may yet turn back to it.

use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::coinbase::Coinbase;
use super::form::Form;
use super::hash::Hash;
use super::merkle;
use super::template::Template;
use crate::clock::Instant;

/// Version bits that miners may roll (BIP-0320).
pub const VERSION_ROLLING_MASK: u32 = 0x1fff_e000;

/// Names a job, across restarts: sixteen hex digits on the wire, and two more when the same
/// session is given it again.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct JobId {
    /// The run that published it.
    pub generation: u32,
    /// Its place in that run.
    pub sequence: u32,
    /// Which time one session is given it, from 0: each time with a coinbase of its own, for a
    /// miner may begin its search anew.
    pub revision: u8,
}

impl core::fmt::Display for JobId {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(formatter, "{:08x}{:08x}", self.generation, self.sequence)?;
        if self.revision > 0 {
            write!(formatter, "{:02x}", self.revision)?;
        }
        Ok(())
    }
}

impl core::str::FromStr for JobId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (job, revision) = text.split_at_checked(16).ok_or(())?;
        let (generation, sequence) = job.split_at_checked(8).ok_or(())?;
        let half = |digits| super::hex::decode_array(digits).map(u32::from_be_bytes).ok_or(());
        let revision = match revision {
            "" => 0,
            digits => u8::from_be_bytes(super::hex::decode_array(digits).ok_or(())?),
        };
        Ok(Self { generation: half(generation)?, sequence: half(sequence)?, revision })
    }
}

/// One job.
#[derive(Debug)]
pub struct Job {
    /// Its name.
    pub id: JobId,
    /// What it was made from.
    pub template: Arc<Template>,
    /// Its coinbase.
    pub coinbase: Coinbase,
    /// The other half of the way to the merkle root.
    pub branch: Vec<Hash>,
    /// The header's version, with the bits that miners may roll cleared. Some firmware sends the
    /// rolled bits, some their difference from this version: with clear bits both are the same.
    pub version: u32,
    /// The bits that miners may roll: never one that the node demands.
    pub version_mask: u32,
    /// The same work with fewer bids, for firmware that cannot hold the coinbase with all of them.
    lean: Option<Arc<Self>>,
}

impl Job {
    fn new(id: JobId, template: Arc<Template>, coinbase: Coinbase) -> Self {
        let txids: Vec<Hash> = template.transactions.iter().map(|known| known.txid).collect();
        let version_mask = VERSION_ROLLING_MASK & !template.version_required;
        let version = template.version & !version_mask;
        let branch = merkle::branch(&txids);
        Self { id, template, coinbase, branch, version, version_mask, lean: None }
    }

    /// This job as one session is given it: in `form`, for the `revision`th time; with fewer bids
    /// where it takes that to fit. `None` when it cannot be made to fit.
    pub fn formed(self: &Arc<Self>, form: &Form, revision: u8) -> Option<Arc<Self>> {
        let lean = || self.lean.as_ref()?.with_all_bids(form, revision);
        self.with_all_bids(form, revision).or_else(lean)
    }

    fn with_all_bids(self: &Arc<Self>, form: &Form, revision: u8) -> Option<Arc<Self>> {
        if revision == 0 && form.fits_as_it_is(&self.coinbase) {
            return Some(Arc::clone(self));
        }
        let coinbase = self.coinbase.formed(form, revision)?;
        Some(Arc::new(Self {
            id: JobId { revision, ..self.id },
            template: Arc::clone(&self.template),
            coinbase,
            branch: self.branch.clone(),
            version: self.version,
            version_mask: self.version_mask,
            lean: None,
        }))
    }
}

/// What work on a job is worth now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Standing {
    /// Its parent is the tip.
    Live,
    /// Its parent ceased to be the tip a moment ago: shares still count.
    Grace,
    /// Shares no longer count.
    Stale,
}

#[derive(Debug)]
struct Entry {
    job: Arc<Job>,
    tip_left: Option<Instant>,
}

/// All jobs that anybody may still submit to.
#[derive(Debug)]
pub struct JobBook {
    generation: u32,
    next: u32,
    jobs: BTreeMap<u32, Entry>,
    grace: Duration,
    keep_stale: Duration,
    live_max: usize,
}

impl JobBook {
    /// An empty book. `grace` is how long shares for a left tip count, `keep_stale` how long its
    /// jobs are kept for late blocks, `live_max` how many jobs one tip may have.
    pub fn new(generation: u32, grace: Duration, keep_stale: Duration, live_max: usize) -> Self {
        assert!(live_max > 0 && keep_stale >= grace, "a job is kept at least through its grace");
        Self { generation, next: 0, jobs: BTreeMap::new(), grace, keep_stale, live_max }
    }

    /// The newest job, if its tip still stands.
    pub fn current(&self) -> Option<&Arc<Job>> {
        let (_, entry) = self.jobs.last_key_value()?;
        entry.tip_left.is_none().then_some(&entry.job)
    }

    /// Whether one more job for the same tip fits. All of a tip's jobs are honoured until it is
    /// left, so that a flood of them must end by not publishing, never by forgetting.
    pub fn has_room(&self) -> bool {
        self.jobs.values().filter(|entry| entry.tip_left.is_none()).count() < self.live_max
    }

    /// Makes a job of `template` and `coinbase` the current one; `lean` is the same with fewer
    /// bids. The answer says whether older work is void (`clean_jobs`): the parent is another one
    /// than before.
    pub fn publish(
        &mut self,
        now: Instant,
        template: Arc<Template>,
        coinbase: Coinbase,
        lean: Option<(Arc<Template>, Coinbase)>,
    ) -> (Arc<Job>, bool) {
        let clean = self.current().is_none_or(|job| job.template.parent != template.parent);
        assert!(clean || self.has_room(), "has_room is asked first");
        if clean {
            self.leave_tip(now);
        }
        let sequence = self.next;
        self.next = self.next.checked_add(1).unwrap_or_else(wrapped);
        let id = JobId { generation: self.generation, sequence, revision: 0 };
        let lean = lean.map(|(template, coinbase)| Arc::new(Job::new(id, template, coinbase)));
        let job = Arc::new(Job { lean, ..Job::new(id, template, coinbase) });
        self.jobs.insert(sequence, Entry { job: Arc::clone(&job), tip_left: None });
        (job, clean)
    }

    /// The tip is gone: from now on its jobs are in grace.
    pub fn leave_tip(&mut self, now: Instant) {
        for entry in self.jobs.values_mut() {
            entry.tip_left = entry.tip_left.or(Some(now));
        }
    }

    /// Whether the job called `id` is for the present tip.
    pub fn is_live(&self, id: JobId) -> bool {
        self.jobs.get(&id.sequence).is_some_and(|entry| entry.tip_left.is_none())
    }

    /// The job called `id` and what work on it is worth.
    pub fn find(&self, now: Instant, id: JobId) -> Option<(&Arc<Job>, Standing)> {
        let entry = self.jobs.get(&id.sequence).filter(|_| id.generation == self.generation)?;
        let standing = match entry.tip_left {
            None => Standing::Live,
            Some(left) if now.since(left) <= self.grace => Standing::Grace,
            Some(_) => Standing::Stale,
        };
        Some((&entry.job, standing))
    }

    /// Drops jobs that were stale for long enough; the answer lists them.
    pub fn retire(&mut self, now: Instant) -> Vec<JobId> {
        let over =
            |entry: &Entry| entry.tip_left.is_some_and(|left| now.since(left) > self.keep_stale);
        let gone: Vec<JobId> =
            self.jobs.values().filter(|entry| over(entry)).map(|entry| entry.job.id).collect();
        for id in &gone {
            self.jobs.remove(&id.sequence);
        }
        gone
    }

    /// Whether anything can be submitted that builds on `parent`.
    pub fn has_parent(&self, parent: &Hash) -> bool {
        self.jobs.values().any(|entry| entry.job.template.parent == *parent)
    }

    /// When [`Self::retire`] next has something to do.
    pub fn next_retirement(&self) -> Option<Instant> {
        let (_, oldest) = self.jobs.first_key_value()?;
        oldest.tip_left.map(|left| left + self.keep_stale + Duration::from_nanos(1))
    }

    /// The sequence number of the oldest job that is still kept; the next one to come when none.
    pub fn oldest(&self) -> u32 {
        self.jobs.first_key_value().map_or(self.next, |(sequence, _)| *sequence)
    }

    /// The sequence number that the next job will have.
    pub fn next_sequence(&self) -> u32 {
        self.next
    }
}

#[expect(clippy::panic, reason = "4 billion jobs: a job a millisecond for seven weeks")]
fn wrapped() -> u32 {
    panic!("this run has used up its job ids; restart it: a new generation has new ones")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mining::template::tests::template_at;

    const SECOND: Duration = Duration::from_secs(1);

    fn book() -> JobBook {
        JobBook::new(5, 5 * SECOND, 60 * SECOND, 3)
    }

    fn publish(book: &mut JobBook, now: Instant, parent: u8) -> (JobId, bool) {
        let template = Arc::new(template_at(parent));
        let coinbase = crate::mining::template::tests::coinbase_of(&template);
        let (job, clean) = book.publish(now, template, coinbase, None);
        (job.id, clean)
    }

    #[test]
    fn only_another_parent_makes_older_work_void() {
        let mut book = book();
        let now = Instant::ZERO;
        let (first, clean) = publish(&mut book, now, 1);
        assert!(clean);
        let (second, clean) = publish(&mut book, now, 1);
        assert!(!clean);
        assert_ne!(first, second);
        assert!(publish(&mut book, now, 2).1, "the same height, another block");
        assert!(publish(&mut book, now, 1).1, "and back again");
    }

    #[test]
    fn live_then_grace_then_stale_then_gone() {
        let mut book = book();
        let (old, _) = publish(&mut book, Instant::ZERO, 1);
        let left = Instant::ZERO + 10 * SECOND;
        assert_eq!(book.find(left, old).map(|found| found.1), Some(Standing::Live));
        publish(&mut book, left, 2);
        let at = |after| left + after;
        assert_eq!(book.find(at(5 * SECOND), old).map(|found| found.1), Some(Standing::Grace));
        assert_eq!(book.find(at(6 * SECOND), old).map(|found| found.1), Some(Standing::Stale));
        assert_eq!(book.retire(at(60 * SECOND)), []);
        let due = book.next_retirement().expect("one job waits");
        assert_eq!(book.retire(due), [old]);
        assert!(book.find(due, old).is_none());
        assert_eq!(book.next_retirement(), None);
    }

    #[test]
    fn a_tip_may_have_only_so_many_jobs() {
        let mut book = book();
        for _ in 0..3 {
            assert!(book.has_room());
            publish(&mut book, Instant::ZERO, 1);
        }
        assert!(!book.has_room());
    }

    #[test]
    fn ids_of_other_runs_are_unknown() {
        let mut book = book();
        let (id, _) = publish(&mut book, Instant::ZERO, 1);
        assert_eq!(id.to_string(), "0000000500000000");
        assert_eq!(id.to_string().parse(), Ok(id));
        let other = JobId { generation: 4, ..id };
        assert!(book.find(Instant::ZERO, other).is_none());
        for text in ["", "0", "000000050000000", "00000005000000000", "000000050000000g"] {
            assert!(text.parse::<JobId>().is_err(), "{text:?}");
        }
    }
}
