//! Each job's block is shown to the node before anybody finds it (BIP-0023): a job whose block the
//! node would refuse is found out after a moment, not after a block was lost.
//!
//! One question at a time, for the newest job alone, and a moment after the job went out: nothing
//! that miners wait for stands behind it. Not here: what is done about a refusal, and how a whole
//! block is put together.

use core::time::Duration;
use std::sync::Arc;

use super::rpc::proposal::{Opinion, opinion};
use super::rpc::{CallError, HttpReply, RpcError};
use crate::clock::Instant;
use crate::mining::job::Job;

/// How long after its job a question goes out. Putting it together takes longer than sending the
/// job does, and a job that was made without its sidechains is often followed by one with them.
const AFTER: Duration = Duration::from_millis(100);

/// A job to be asked about.
#[derive(Clone, Debug)]
pub struct Proposal {
    /// The node whose template it is made of.
    pub node: usize,
    /// The job.
    pub job: Arc<Job>,
    /// Whether its coinbase says anything of ours that it need not say.
    pub extras: bool,
}

/// What a node thinks of a job.
#[derive(Debug)]
pub enum Judged {
    /// Its block would be taken.
    Taken,
    /// It would not, and why.
    Refused(Proposal, String),
    /// There is no telling, and why not.
    Unknown(Option<RpcError>),
}

/// The questions about jobs.
#[derive(Debug, Default)]
pub struct Proposals {
    /// The newest job that was not asked about, and when it is.
    waiting: Option<(Instant, Proposal)>,
    asked: Option<Proposal>,
}

impl Proposals {
    /// A job went out. An older one that waits is asked about no more.
    pub fn offer(&mut self, now: Instant, proposal: Proposal) {
        self.waiting = Some((now + AFTER, proposal));
    }

    /// The next question that is due.
    pub fn poll_question(&mut self, now: Instant) -> Option<Proposal> {
        if self.next_question()? > now {
            return None;
        }
        self.asked = self.waiting.take().map(|(_, proposal)| proposal);
        self.asked.clone()
    }

    /// When [`Self::poll_question`] next has something.
    pub fn next_question(&self) -> Option<Instant> {
        let (due, _) = self.waiting.as_ref().filter(|_| self.asked.is_none())?;
        Some(*due)
    }

    /// The node answered, or did not.
    pub fn on_reply(&mut self, reply: &Result<HttpReply, CallError>) -> Judged {
        let Some(asked) = self.asked.take() else { return Judged::Unknown(None) };
        match opinion(reply) {
            Ok(Opinion::Taken) => Judged::Taken,
            Ok(Opinion::Refused(why)) => Judged::Refused(asked, why),
            // The tip moved while it was asked: that job is over anyway.
            Ok(Opinion::NoNews(_) | Opinion::Ignored) => Judged::Unknown(None),
            Err(error) => Judged::Unknown(Some(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mining::job::JobBook;
    use crate::mining::template::tests::{coinbase_of, template_at};

    fn proposal(book: &mut JobBook, parent: u8) -> Proposal {
        let template = Arc::new(template_at(parent));
        let coinbase = coinbase_of(&template);
        let (job, _) = book.publish(Instant::ZERO, template, coinbase, None);
        Proposal { node: 0, job, extras: false }
    }

    #[expect(clippy::unnecessary_wraps, reason = "the form in which replies come")]
    fn answer(result: &str) -> Result<HttpReply, CallError> {
        Ok(HttpReply { status: 200, body: format!("{{\"result\":{result},\"id\":1}}").into() })
    }

    #[test]
    fn the_newest_job_is_asked_about_one_at_a_time() {
        let mut book = JobBook::new(1, Duration::ZERO, Duration::ZERO, 10);
        let mut proposals = Proposals::default();
        assert_eq!(proposals.next_question(), None);
        let [first, second, third, fourth] = [1, 2, 3, 4].map(|tip| proposal(&mut book, tip));
        proposals.offer(Instant::ZERO, first);
        assert!(proposals.poll_question(Instant::ZERO).is_none(), "the job goes first");
        let due = Instant::ZERO + AFTER;
        proposals.offer(Instant::ZERO, second.clone());
        let asked = proposals.poll_question(due).expect("due");
        assert_eq!(asked.job.id, second.job.id, "the first is history");
        proposals.offer(due, third);
        proposals.offer(due, fourth.clone());
        assert_eq!(proposals.next_question(), None, "one at a time");
        assert!(matches!(proposals.on_reply(&answer("null")), Judged::Taken));
        let asked = proposals.poll_question(due + AFTER).expect("due");
        assert_eq!(asked.job.id, fourth.job.id);
        let judged = proposals.on_reply(&answer("\"bad-cb-amount\""));
        let Judged::Refused(refused, why) = judged else { panic!("{judged:?}") };
        assert_eq!((refused.job.id, why.as_str()), (fourth.job.id, "bad-cb-amount"));
        assert_eq!(proposals.next_question(), None, "nobody is asked twice");
    }

    #[test]
    fn what_is_no_verdict_is_none() {
        let mut book = JobBook::new(1, Duration::ZERO, Duration::ZERO, 10);
        let mut proposals = Proposals::default();
        let replies = [
            answer("\"inconclusive-not-best-prevblk\""),
            answer("\"duplicate\""),
            answer("{\"height\":1}"),
            Err(CallError::Timeout),
        ];
        for reply in replies {
            proposals.offer(Instant::ZERO, proposal(&mut book, 1));
            assert!(proposals.poll_question(Instant::ZERO + AFTER).is_some());
            assert!(matches!(proposals.on_reply(&reply), Judged::Unknown(_)));
        }
    }
}
