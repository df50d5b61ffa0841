//! What a session was told of its jobs: each share is judged by what was told with its own job,
//! whatever was told since (FAILURES 6).

use std::collections::VecDeque;
use std::sync::Arc;

use crate::mining::difficulty::{Difficulty, Target};
use crate::mining::form::Form;
use crate::mining::job::JobId;

/// What holds for a job and those after it, until something else is told.
#[derive(Clone, Debug)]
pub struct Terms {
    /// The first job, and which time it was given.
    from: (u32, u8),
    /// What its shares are worth.
    pub difficulty: Difficulty,
    /// What their hashes must meet.
    pub target: Target,
    /// What its coinbase is like.
    pub form: Arc<Form>,
}

/// All terms that a share may still come in under, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Told {
    terms: VecDeque<Terms>,
    /// The newest job that was sent, and which time it was.
    last: Option<(u32, u8)>,
}

impl Told {
    /// Which time `job` would be given now; `None` when it was given as often as can be told apart.
    pub(super) fn next_revision(&self, job: JobId) -> Option<u8> {
        match self.last {
            Some((sequence, revision)) if sequence == job.sequence => revision.checked_add(1),
            Some(_) | None => Some(0),
        }
    }

    /// `job` is sent on these terms.
    pub(super) fn tell(&mut self, job: JobId, difficulty: Difficulty, form: &Arc<Form>) {
        let from = (job.sequence, job.revision);
        assert!(self.last.is_none_or(|last| last < from), "no job is sent twice");
        self.last = Some(from);
        let last = self.terms.back();
        let same = last.is_some_and(|told| told.difficulty == difficulty && told.form == *form);
        // A job that is given again has terms of its own, which say that it was given.
        if !same || job.revision > 0 {
            let (target, form) = (difficulty.to_target(), Arc::clone(form));
            // Most sessions have one for hours.
            self.terms.reserve_exact(1);
            self.terms.push_back(Terms { from, difficulty, target, form });
        }
    }

    /// The terms of `job`; `None` when it is older than the first that was sent, or was never given
    /// that often.
    pub(super) fn terms_of(&self, job: JobId) -> Option<&Terms> {
        let asked = (job.sequence, job.revision);
        let terms = self.terms.iter().rev().find(|told| told.from <= asked)?;
        (job.revision == 0 || terms.from == asked).then_some(terms)
    }

    /// Forgets what only jobs below `oldest_job` needed.
    pub(super) fn forget_before(&mut self, oldest_job: u32) {
        while self.terms.get(1).is_some_and(|next| next.from <= (oldest_job, 0)) {
            self.terms.pop_front();
        }
    }
}
