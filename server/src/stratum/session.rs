//! One miner's connection: who it is, what it negotiated, what it was told, what it is owed.
//!
//! **Invariant:** replies leave in the order of their requests; a reply that waits for a block to
//! be safe holds back the replies behind it, never a job.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use bitcoin::Network;
use bytes::Bytes;

use super::framing::Framing;
use super::message::{self, Call, Request, RequestId};
use super::reject::Reject;
use super::vardiff::Vardiff;
use crate::clock::Instant;
use crate::config::{Limits, PortRules};
use crate::mining::difficulty::Difficulty;
use crate::mining::form::Form;
use crate::mining::hash::Hash;
use crate::mining::job::{Job, JobId, VERSION_ROLLING_MASK};
use crate::mining::script_sig::{Extranonce1, Extranonce2};
use crate::mining::share::{self, Candidate};

mod negotiation;
mod owed;
mod terms;

use owed::Outbox;
pub use terms::Terms;
use terms::Told;

/// What a request asks of the pool.
#[derive(Debug)]
pub enum Demand<'a> {
    /// It is dealt with.
    Nothing,
    /// It wants to go on with the session that had this extranonce1, if it can be had; then
    /// [`Session::subscribe`] answers.
    Resume {
        /// Answered under this id.
        id: RequestId<'a>,
        /// What the earlier session searched under.
        extranonce1: Extranonce1,
    },
    /// A worker of this name was let in.
    Authorized(String),
    /// A worker was not let in, for this reason.
    NotAuthorized(Reject),
    /// The transactions of this job are asked for.
    Transactions {
        /// Answered under this id.
        id: RequestId<'a>,
        /// Of which job.
        job: JobId,
    },
    /// A candidate to judge, and the id to answer under.
    Judge {
        /// Answered under this id.
        id: RequestId<'a>,
        /// Who says that he found it.
        worker: Cow<'a, str>,
        /// What was submitted.
        candidate: Candidate,
        /// Why it is refused whatever the judgement, unless it is a block.
        refuse: Option<Reject>,
    },
    /// Too much garbage: close.
    Garbage,
}

/// Whose blocks a session's are.
#[derive(Clone, Copy, Debug)]
pub enum Payment {
    /// The operator's.
    Operator,
    /// The miner's own, less the operator's fee.
    Solo {
        /// Whose addresses are good.
        network: Network,
        /// The operator's part, in hundredths of a percent.
        fee_basis_points: u16,
    },
}

/// How a miner came in.
#[derive(Clone, Copy, Debug)]
pub struct Entrance {
    /// The difficulties of its port.
    pub rules: PortRules,
    /// Whose its blocks are.
    pub payment: Payment,
    /// Where from.
    pub address: IpAddr,
    /// When.
    pub now: Instant,
}

/// What outlives a connection, for the miner who comes back for it.
#[derive(Debug)]
pub struct Remains {
    /// Where the miner was: nobody else may go on with its session.
    pub address: IpAddr,
    told: Told,
}

/// The newest job as it was given: most shares are for it.
#[derive(Debug)]
struct Newest {
    job: Arc<Job>,
    /// Of the last share's extranonce2: a miner tries all nonces with it before it takes another,
    /// so most of its shares cost no more than hashing their headers.
    root: Option<(Extranonce2, Hash)>,
}

/// One miner's connection.
#[derive(Debug)]
pub struct Session {
    /// Bytes not yet read as lines.
    pub framing: Framing,
    /// Its part of the search space.
    pub extranonce1: Extranonce1,
    /// Its difficulty.
    pub vardiff: Vardiff,
    /// Where it connected from.
    pub address: IpAddr,
    /// When it connected.
    pub since: Instant,
    /// When it was last heard.
    pub heard: Instant,
    /// When it was last given work.
    pub given: Option<Instant>,
    /// Shares refused since one was accepted.
    pub rejects: u32,
    payment: Payment,
    subscribed: bool,
    /// Few: a connection may have so many and no more.
    workers: Vec<String>,
    workers_max: usize,
    worker_bytes_max: usize,
    mask: u32,
    mask_told: Option<u32>,
    form: Arc<Form>,
    told: Told,
    newest: Option<Newest>,
    outbox: Outbox,
    garbage_left: u32,
    agent: String,
}

impl Session {
    /// A fresh connection that holds the lease of `extranonce1`.
    pub fn new(extranonce1: Extranonce1, entrance: &Entrance, limits: &Limits) -> Self {
        let Entrance { rules, payment, address, now } = *entrance;
        Self {
            framing: Framing::new(limits.line_bytes),
            extranonce1,
            vardiff: Vardiff::new(&rules),
            address,
            since: now,
            heard: now,
            given: None,
            rejects: 0,
            payment,
            subscribed: false,
            workers: Vec::new(),
            workers_max: limits.workers,
            worker_bytes_max: limits.worker_bytes,
            mask: 0,
            mask_told: None,
            form: Arc::default(),
            told: Told::default(),
            newest: None,
            outbox: Outbox::default(),
            garbage_left: limits.garbage_lines,
            agent: String::new(),
        }
    }

    /// Whether jobs may be sent: it subscribed, and a worker authorized.
    pub fn is_ready(&self) -> bool {
        self.subscribed && !self.workers.is_empty()
    }

    /// Whether it was sent a job.
    pub fn has_work(&self) -> bool {
        self.given.is_some()
    }

    /// The program's name, as it gave it.
    pub fn agent(&self) -> &str {
        &self.agent
    }

    /// The version bits it negotiated; zero when none.
    pub fn mask(&self) -> u32 {
        self.mask
    }

    /// What its jobs must be like.
    pub fn form(&self) -> &Arc<Form> {
        &self.form
    }

    /// Answers `request` as far as that needs nobody else.
    pub fn admit<'a>(&mut self, request: Request<'a>) -> Demand<'a> {
        let Request { id, call } = request;
        let call = match call {
            Ok(call) => call,
            Err(why) => {
                let garbage = why == Reject::Malformed;
                self.refuse(id, &why);
                self.garbage_left = self.garbage_left.saturating_sub(u32::from(garbage));
                let over = garbage && self.garbage_left == 0;
                return if over { Demand::Garbage } else { Demand::Nothing };
            }
        };
        match call {
            Call::Subscribe { agent, resume } => {
                self.learn_agent(agent.unwrap_or_default());
                match resume.filter(|_| !self.subscribed) {
                    Some(extranonce1) => return Demand::Resume { id, extranonce1 },
                    None => self.subscribe(id),
                }
            }
            Call::Authorize { worker, password } => return self.authorize(id, worker, &password),
            Call::Configure(wishes) => {
                let result = self.configure(&wishes);
                self.answer(id, &result);
            }
            Call::Suggest(difficulty) => {
                if let Some(difficulty) = difficulty {
                    self.vardiff.suggest(difficulty);
                }
                self.answer(id, "true");
            }
            Call::Submit { worker, candidate } => return self.submit(id, worker, candidate),
            Call::Courtesy => self.answer(id, "true"),
            Call::MultiVersion => {
                // What was negotiated since goes first.
                if self.mask_told.is_none() {
                    self.mask = VERSION_ROLLING_MASK;
                }
                self.answer(id, "true");
            }
            Call::Ping => self.answer(id, "\"pong\""),
            Call::GetTransactions(Some(job)) => return Demand::Transactions { id, job },
            Call::GetTransactions(None) => self.refuse(id, &Reject::JobNotFound),
            Call::Version(agent) => self.learn_agent(agent),
            Call::Reply => {}
        }
        Demand::Nothing
    }

    /// Answers a subscription, the same each time.
    pub fn subscribe(&mut self, id: RequestId<'_>) {
        self.subscribed = true;
        let result = message::subscribe_result(self.extranonce1);
        self.answer(id, &result);
    }

    /// Goes on where an earlier session was; its extranonce1 is this one's now.
    pub fn resume(&mut self, extranonce1: Extranonce1, remains: Remains) {
        assert!(!self.subscribed, "nobody was told another extranonce1");
        self.extranonce1 = extranonce1;
        // Roots were those of the other extranonce1.
        self.newest = None;
        self.told = remains.told;
    }

    /// What a miner who comes back can go on with; none when it was never given work.
    pub fn into_remains(self) -> Option<Remains> {
        self.given.map(|_| Remains { address: self.address, told: self.told })
    }

    fn submit<'a>(
        &mut self,
        id: RequestId<'a>,
        worker: Cow<'a, str>,
        candidate: Result<Candidate, Reject>,
    ) -> Demand<'a> {
        let refuse = if !self.subscribed {
            Some(Reject::NotSubscribed)
        } else if !self.has_worker(&worker) {
            Some(Reject::Unauthorized)
        } else {
            None
        };
        match candidate {
            // A block is a block, even from somebody who may not mine here.
            Ok(candidate) => Demand::Judge { id, worker, candidate, refuse },
            Err(why) => {
                self.refuse(id, &refuse.unwrap_or(why));
                Demand::Nothing
            }
        }
    }

    fn has_worker(&self, name: &str) -> bool {
        self.workers.iter().any(|worker| worker == name)
    }

    /// Which time `job` would be given to this session now.
    pub fn next_revision(&self, job: &Job) -> Option<u8> {
        self.told.next_revision(job.id)
    }

    /// Whether it mines and was not given `job`.
    pub fn is_behind(&self, job: &Job) -> bool {
        self.has_work() && self.next_revision(job) == Some(0)
    }

    /// The job that it was given last.
    pub fn newest_job(&self) -> Option<JobId> {
        self.newest.as_ref().map(|newest| newest.job.id)
    }

    /// Queues what must be known before `job`, which is in this session's form: a difficulty if it
    /// changed, a mask if it did. `difficulty` is one that the network's target allows.
    pub fn announce(&mut self, now: Instant, job: &Arc<Job>, difficulty: Difficulty) {
        if !self.has_work() && self.agent.is_empty() {
            self.outbox.say(&message::get_version());
        }
        // Whoever comes back was told on another connection.
        let changed = !self.has_work() || self.vardiff.in_force() != Some(difficulty);
        if changed {
            self.outbox.say(&message::set_difficulty(difficulty));
        }
        self.given = Some(now);
        self.told.tell(job.id, difficulty, &self.form);
        self.newest = Some(Newest { job: Arc::clone(job), root: None });
        self.vardiff.announced(now, difficulty);
        let mask = self.mask & job.version_mask;
        if self.mask_told.is_some_and(|told| told != mask) {
            self.mask_told = Some(mask);
            self.outbox.say(&message::set_version_mask(mask));
        }
    }

    /// What this session was told of the job; `None` when it was not given it.
    pub fn terms_of(&self, job: JobId) -> Option<&Terms> {
        self.told.terms_of(job)
    }

    /// The job as this session was given it, if it is the newest: others are formed anew.
    pub fn newest(&self, job: JobId) -> Option<&Arc<Job>> {
        self.newest.as_ref().map(|newest| &newest.job).filter(|newest| newest.id == job)
    }

    /// The merkle root of `job`, as this session was given it, with this extranonce2.
    pub fn root(&mut self, job: &Arc<Job>, two: Extranonce2) -> Hash {
        let one = self.extranonce1;
        let Some(newest) = self.newest.as_mut().filter(|newest| Arc::ptr_eq(&newest.job, job))
        else {
            return share::root(job, one, two);
        };
        match newest.root {
            Some((known, root)) if known == two => root,
            Some(_) | None => {
                let root = share::root(job, one, two);
                newest.root = Some((two, root));
                root
            }
        }
    }

    /// Forgets what only jobs below `oldest_job` needed.
    pub fn forget_before(&mut self, oldest_job: u32) {
        self.told.forget_before(oldest_job);
    }

    /// Queues a line that answers nothing.
    pub fn say(&mut self, line: &str) {
        self.outbox.say(line);
    }

    /// Answers with `result`, JSON text.
    pub fn answer(&mut self, id: RequestId<'_>, result: &str) {
        self.outbox.answer(id, result);
    }

    /// Answers with a refusal.
    pub fn refuse(&mut self, id: RequestId<'_>, why: &Reject) {
        self.outbox.owe(message::refusal(id, why));
    }

    /// Answers `true` once [`Self::block_is_safe`] is called with `hash`.
    pub fn park(&mut self, id: RequestId<'_>, hash: Hash) {
        self.outbox.park(id, hash);
    }

    /// The block with `hash` is on disk or with the node: whoever waits for it may hear.
    pub fn block_is_safe(&mut self, hash: Hash) {
        self.outbox.block_is_safe(hash);
    }

    /// How many replies wait, parked or behind a parked one.
    pub fn owed(&self) -> usize {
        self.outbox.owed()
    }

    /// Takes what waits to be sent, and counts it as on its way.
    pub fn take_outbox(&mut self) -> Option<Bytes> {
        self.outbox.take()
    }

    /// The same with `line` behind it: there is something in any case.
    pub fn take_outbox_with(&mut self, line: &Bytes) -> Bytes {
        self.outbox.take_with(line)
    }

    /// `length` bytes left the machine.
    pub fn flushed(&mut self, length: usize) {
        self.outbox.flushed(length);
    }

    /// Bytes on their way.
    pub fn unflushed_bytes(&self) -> usize {
        self.outbox.unflushed_bytes()
    }
}

#[cfg(test)]
mod tests;
