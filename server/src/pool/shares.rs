//! What becomes of a candidate: a block, a share, or a reason why not.
//!
//! The block test comes first, before every reason to refuse: a stale, repeated, weak or
//! unauthorized candidate can still be a block (FAILURES 2, 8).

use std::borrow::Cow;
use std::sync::Arc;

use tracing::debug;

use super::Pool;
use super::event::ConnId;
use crate::clock::Now;
use crate::journal::record::Share;
use crate::mining::difficulty::Difficulty;
use crate::mining::hash::{Hash, display_hash};
use crate::mining::job::{Job, JobId, Standing};
use crate::mining::ledger::Entry;
use crate::mining::share::{Candidate, Evaluation, evaluate, rolled_version};
use crate::stratum::message::RequestId;
use crate::stratum::reject::Reject;
use crate::stratum::session::Session;

impl Pool {
    /// Judges `candidate` and answers it. `barred` is why its sender may not mine here at all.
    pub(super) fn on_candidate(
        &mut self,
        now: Now,
        conn: ConnId,
        id: RequestId<'_>,
        worker: &str,
        candidate: &Candidate,
        barred: Option<Reject>,
    ) {
        let Some(session) = self.sessions.get_mut(&conn) else { return };
        let Some((job, standing)) = self.jobs.find(now.mono, candidate.job) else {
            return self.refuse(now, conn, id, &barred.unwrap_or(Reject::JobNotFound));
        };
        let one = session.extranonce1;
        let terms = session.terms_of(candidate.job).cloned();
        let job = as_given(session, job, candidate.job);
        let target = terms.as_ref().map(|terms| terms.target);
        let root = session.root(&job, candidate.extranonce2);
        let (evaluation, foreign_bits) = hash_out(&job, &root, session.mask(), candidate);

        let is_block = job.template.target.is_met_by(&evaluation.hash);
        if is_block {
            self.on_found(now, conn, &job, one, candidate, &evaluation);
        }
        let refusal = barred
            .or(match (standing, target) {
                (Standing::Live | Standing::Grace, Some(_)) => None,
                (Standing::Stale, _) | (_, None) => Some(Reject::JobNotFound),
            })
            .or(foreign_bits)
            .or_else(|| self.check_time(now, &job, candidate))
            .or_else(|| {
                let met = target.is_some_and(|target| target.is_met_by(&evaluation.hash));
                (!met).then_some(Reject::LowDifficulty)
            })
            .or_else(|| self.enter(&job, &evaluation));
        if let Some(why) = refusal {
            return self.refuse(now, conn, id, &why);
        }
        if let (Some(session), Some(terms)) = (self.sessions.get_mut(&conn), &terms) {
            session.rejects = 0;
            session.vardiff.on_share(now.mono, terms.difficulty);
            self.count(now, worker, terms.difficulty, &job, evaluation.hash);
        }
        debug!(%conn, job = %job.id, hash = display_hash(&evaluation.hash), "share");
        if is_block {
            self.answer_when_safe(conn, id, evaluation.hash);
        } else if let Some(session) = self.sessions.get_mut(&conn) {
            session.answer(id, "true");
        }
    }

    /// Consensus wants the time after the median of the last blocks, and not two hours ahead.
    fn check_time(&self, now: Now, job: &Job, candidate: &Candidate) -> Option<Reject> {
        let latest = now.wall.seconds().0.saturating_add(self.config.limits.ntime_ahead_seconds);
        let allowed = job.template.time_min.0..=latest.max(job.template.time.0);
        (!allowed.contains(&candidate.time.0)).then_some(Reject::TimeOutOfRange)
    }

    fn enter(&mut self, job: &Job, evaluation: &Evaluation) -> Option<Reject> {
        let (parent, hash) = (&job.template.parent, &evaluation.hash);
        // What is not counted may be handed in again, so it must not be known.
        if !self.journal.has_room() && !self.ledger.knows(parent, hash) {
            return Some(Reject::NotRecorded);
        }
        match self.ledger.enter(*parent, hash) {
            Entry::New => None,
            Entry::Duplicate => Some(Reject::Duplicate),
            Entry::Full => Some(Reject::TooManyShares),
        }
    }

    /// A share counts for the difficulty that its job was sent with, whatever its hash is worth.
    fn count(&mut self, now: Now, worker: &str, difficulty: Difficulty, job: &Job, hash: Hash) {
        self.counters.shares_accepted += 1;
        let (height, job) = (job.template.height, job.id);
        let worker = Cow::Borrowed(worker);
        let share = Share { time: now.wall, worker, difficulty, height, job, hash };
        self.journal.append(now.mono, share);
    }

    fn refuse(&mut self, now: Now, conn: ConnId, id: RequestId<'_>, why: &Reject) {
        self.counters.shares_rejected += 1;
        debug!(%conn, "share refused: {why}");
        if let Some(session) = self.sessions.get_mut(&conn) {
            session.refuse(id, why);
        }
        self.on_reject(now.mono, conn);
    }
}

/// `job` as `session` was given it under the name `id`: in its form, perhaps with fewer bids.
pub(super) fn as_given(session: &Session, job: &Arc<Job>, id: JobId) -> Arc<Job> {
    if let Some(newest) = session.newest(id) {
        return Arc::clone(newest);
    }
    let form = session.terms_of(id).map_or_else(|| session.form(), |terms| &terms.form);
    // A revision that nobody was given is the job as it is.
    job.formed(form, id.revision).unwrap_or_else(|| Arc::clone(job))
}

/// The candidate's header and hash; a reason to refuse when its version bits are not allowed.
fn hash_out(
    job: &Job,
    root: &Hash,
    mask: u32,
    candidate: &Candidate,
) -> (Evaluation, Option<Reject>) {
    if let Some(version) = rolled_version(job, mask, candidate.version_bits) {
        return (evaluate(job, root, candidate, version), None);
    }
    // Nobody may roll these bits, but consensus does not mind them: whichever of the two headers
    // that the miner can have meant is a block is a block.
    let bits = candidate.version_bits.unwrap_or(job.version);
    let whole = evaluate(job, root, candidate, bits);
    let added = evaluate(job, root, candidate, job.version | bits);
    let best = if job.template.target.is_met_by(&added.hash) { added } else { whole };
    (best, Some(Reject::VersionBits { mask: mask & job.version_mask }))
}
