//! The block that the pool would make of a template, before there is a miner or a job.
//!
//! For whoever wants to know beforehand what a node thinks of it. It is the pool's own way from
//! template to block: the auction, the wishes, the coinbase, the referee. What sidechain daemons
//! would say is not known here and stands in it as they fall back.

use std::sync::Arc;

use super::Pool;
pub use super::referee::NoJob;
use crate::clock::{Instant, Now, UnixMillis};
use crate::config::Config;
use crate::journal::Recovered;
use crate::mining::block::{self, FoundBlock};
use crate::mining::form::Payee;
use crate::mining::template::Template;

/// The block of the job that a pool with `config` would make of `template`, in the longest form
/// that any session is given; the work on it is not done.
pub fn rehearse(config: Config, template: Template) -> Result<FoundBlock, NoJob> {
    let now = Now { mono: Instant::ZERO, wall: UnixMillis::from(template.time) };
    let mut pool = Pool::new(config, &Recovered::default(), now);
    let settled = pool.settle_bids(Arc::new(template))?;
    let draft = pool.draft(&settled)?;
    let (job, _) = pool.jobs.publish(now.mono, settled.template, draft.coinbase, None);
    Ok(block::rehearse(&job, pool.longest_payee().as_ref()))
}

impl Pool {
    /// Who takes the most room in a coinbase of ours; nobody where all are paid the same way.
    pub(super) fn longest_payee(&self) -> Option<Payee> {
        self.config.miners.solo.map(|solo| Payee::longest(solo.fee_basis_points))
    }
}
