//! Asks about each job's block, and makes a barer job where one would be refused.

use tracing::{debug, error};

use super::action::Endpoint;
use super::{Pool, Purpose};
use crate::clock::{Instant, Now};
use crate::mining::block;
use crate::node::proposal::{Judged, Proposal};
use crate::node::rpc::proposal::proposal_request;
use crate::node::rpc::{CallError, HttpReply};

impl Pool {
    /// Proposes the newest job's block. Judging one keeps a node busy, so a found block goes first.
    pub(super) fn propose(&mut self, now: Now) {
        if self.submitter.pending() > 0 {
            return;
        }
        let Some(Proposal { node, job, .. }) = self.proposals.poll_question(now.mono) else {
            return;
        };
        let block = block::rehearse(&job, self.longest_payee().as_ref());
        let patience = self.config.limits.call_patience;
        let body = proposal_request(&block.bytes);
        self.call(Purpose::Propose, Endpoint::Node(node), body, patience);
    }

    /// When [`Self::propose`] next has something to ask.
    pub(super) fn next_proposal(&self) -> Option<Instant> {
        self.proposals.next_question().filter(|_| self.submitter.pending() == 0)
    }

    pub(super) fn on_opinion(&mut self, now: Now, reply: &Result<HttpReply, CallError>) {
        match self.proposals.on_reply(reply) {
            Judged::Taken => self.counters.proposals_taken += 1,
            Judged::Unknown(None) => {}
            Judged::Unknown(Some(error)) => {
                debug!("whether the node would take the newest job's block is not known: {error}");
            }
            Judged::Refused(proposal, why) => self.on_refusal(now, &proposal, &why),
        }
    }

    /// The node would refuse the block of this job. Where that can be for something that the job
    /// need not have, miners get one without it at once.
    fn on_refusal(&mut self, now: Now, refused: &Proposal, why: &str) {
        self.counters.proposals_refused += 1;
        let (node, job, height) = (refused.node + 1, refused.job.id, refused.job.template.height);
        let parent = refused.job.template.parent;
        if !refused.extras {
            error!(
                node,
                %job,
                height,
                "the node would refuse the block of this job: {why}; nothing in it can be left \
                 out, so mining goes on; look at the node's log, and mine on another node if it \
                 is right"
            );
            return;
        }
        error!(
            node,
            %job,
            height,
            "the node would refuse the block of this job: {why}; for this tip there is work \
             without your own sidechains' commitments, [[propose]], [[acknowledge]] and [votes]; \
             take out of the settings what the node does not like"
        );
        self.work_without_extras(now, parent);
    }
}
