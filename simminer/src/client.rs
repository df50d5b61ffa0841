//! The miner's side of a Stratum v1 session: bytes in; bytes, events and work out.
//!
//! Why sans-IO: the same client runs behind a socket (`runtime`) and inside a simulator, so it has
//! no clock, no socket and no randomness. All its state is explicit and equal inputs give equal
//! outputs, whichever way the bytes were cut into reads.
//! **Invariants:** any bytes whatever give events, never a panic. A share of a job that
//! `clean_jobs` has voided, or of an earlier connection, is never sent. No two works of a client
//! lead to the same header.
//!
//! Drive it so: [`Client::connected`]; then, as things happen, [`Client::receive`] and
//! [`Client::submit`]; after each of these take [`Client::poll_event`] until `None`, and
//! [`Client::take_outgoing`]. [`Client::next_work`] may be asked at any time.

mod event;
mod message;
mod request;

use std::collections::VecDeque;
use std::sync::Arc;

use serde_json::value::RawValue;

use crate::hex;
use crate::persona::{Opening, Persona, VersionParameter};
use crate::target::Difficulty;
use crate::work::{Job, Work};
use message::{Call, Extranonce, Line};
use request::{Request, Requests};

pub use event::{Event, NotSent, Share};
pub use message::Refusal;

/// Version bits the miner asks to roll: BIP-0320's, as every ASIC does.
pub const VERSION_MASK: u32 = 0x1fff_e000;

/// Bytes of a line after which the connection is given up: a job of 10,000 outputs fits.
pub const LINE_BYTES_MAX: usize = 1 << 20;

/// What a client needs to know before it connects.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// Worker name for `mining.authorize` and `mining.submit`.
    pub user: String,
    /// Password for `mining.authorize`.
    pub password: String,
    /// Whether to ask for version rolling.
    pub version_rolling: bool,
    /// What to ask for with `mining.suggest_difficulty`, if anything.
    pub suggest_difficulty: Option<Difficulty>,
    /// Habits.
    pub persona: Persona,
}

/// The state machine; see the module's head.
#[derive(Debug)]
pub struct Client {
    config: ClientConfig,
    /// Connections so far.
    session: u64,
    /// Whether bytes still mean anything.
    open: bool,
    /// A line whose end has not come.
    partial: Vec<u8>,
    /// What was said on this connection, and what waits for an answer.
    requests: Requests,
    /// What of the opening was not said yet, by those who wait for each answer.
    unsaid: VecDeque<Opening>,
    authorized: bool,
    /// For the jobs to come.
    extranonce: Option<Extranonce>,
    /// For the jobs to come.
    difficulty: Difficulty,
    /// Bits that may be rolled.
    version_mask: u32,
    /// The newest job, with what was in force when it came.
    offer: Option<Offer>,
    /// Jobs so far, over all connections.
    jobs_seen: u64,
    /// The first job that may still be submitted to.
    live_from: u64,
    /// Works so far, over all connections.
    works_made: u128,
    events: VecDeque<Event>,
}

/// A job, and what its work is made with.
#[derive(Debug)]
struct Offer {
    job: Arc<Job>,
    serial: u64,
    extranonce: Extranonce,
    difficulty: Difficulty,
    /// Works made of it.
    works: u128,
}

impl Client {
    /// A client that is not connected yet.
    pub fn new(config: ClientConfig) -> Self {
        let requests = Requests::new(config.persona.ids);
        Self {
            config,
            session: 0,
            open: false,
            partial: vec![],
            requests,
            unsaid: VecDeque::new(),
            authorized: false,
            extranonce: None,
            difficulty: Difficulty::ONE,
            version_mask: 0,
            offer: None,
            jobs_seen: 0,
            live_from: 1,
            works_made: 0,
            events: VecDeque::new(),
        }
    }

    /// A connection was made: forgets the one before and says the opening.
    pub fn connected(&mut self) {
        self.disconnected();
        self.session += 1;
        self.open = true;
        self.unsaid = self.config.persona.opening.iter().copied().collect();
        self.go_on_opening();
    }

    /// Says what is left of the opening: all of it, or the next of it when nothing waits.
    fn go_on_opening(&mut self) {
        while !self.config.persona.line_strict || self.requests.is_idle() {
            let Some(opening) = self.unsaid.pop_front() else { return };
            self.requests.open_with(opening, &self.config);
        }
    }

    /// The connection is gone; returns how many submissions will never be answered.
    pub fn disconnected(&mut self) -> usize {
        let lost = self.unanswered();
        self.open = false;
        self.partial = vec![];
        self.requests = Requests::new(self.config.persona.ids);
        self.unsaid.clear();
        self.authorized = false;
        self.extranonce = None;
        self.difficulty = Difficulty::ONE;
        self.version_mask = 0;
        self.offer = None;
        self.live_from = self.jobs_seen + 1;
        lost
    }

    /// Takes bytes from the server, in pieces of any size.
    pub fn receive(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while self.open && !rest.is_empty() {
            let (piece, after) = match rest.iter().position(|byte| *byte == b'\n') {
                Some(end) => (&rest[..end], Some(&rest[end + 1..])),
                None => (rest, None),
            };
            if self.partial.len() + piece.len() > LINE_BYTES_MAX {
                self.close(format!("the server sent a line of more than {LINE_BYTES_MAX} bytes"));
                return;
            }
            self.partial.extend_from_slice(piece);
            let Some(after) = after else { return };
            let line = std::mem::take(&mut self.partial);
            self.on_line(line.trim_ascii());
            rest = after;
        }
    }

    /// The next thing that happened, in order.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// The bytes to send, which may be none.
    #[must_use]
    pub fn take_outgoing(&mut self) -> Vec<u8> {
        self.requests.take_outgoing()
    }

    /// A header to search, of the newest job and unlike every one before it.
    ///
    /// `None` before there is a job for an authorized worker, and when a job's extranonces and
    /// version bits are all used up. Both vary from one work to the next.
    pub fn next_work(&mut self) -> Option<Work> {
        let offer = self.offer.as_mut().filter(|_| self.authorized)?;
        let counted_bytes = offer.extranonce.two_size.min(size_of::<u64>());
        let extranonces = 1_u128 << (8 * counted_bytes);
        let versions = 1_u128 << self.version_mask.count_ones();
        if offer.works >= extranonces * versions {
            return None;
        }
        offer.works += 1;
        let number = self.works_made;
        self.works_made += 1;
        // A bijection over any `extranonces * versions` numbers in a row: for one extranonce2 the
        // quotient runs through all versions.
        let low = number % extranonces;
        let mut extranonce2 = vec![0; offer.extranonce.two_size];
        extranonce2[..counted_bytes].copy_from_slice(&low.to_le_bytes()[..counted_bytes]);
        Some(Work {
            job: Arc::clone(&offer.job),
            session: self.session,
            serial: offer.serial,
            extranonce1: offer.extranonce.one.clone(),
            extranonce2,
            version_mask: self.version_mask,
            rolled_bits: deposit((low + number / extranonces) % versions, self.version_mask),
            difficulty: offer.difficulty,
        })
    }

    /// Whether a share of this work would still be sent.
    pub fn is_live(&self, work: &Work) -> bool {
        self.open
            && work.session == self.session
            && work.serial >= self.live_from
            && work.version_mask == self.version_mask
    }

    /// Submits a nonce, whatever its hash: the server is the judge of that.
    pub fn submit(&mut self, work: &Work, nonce: u32) -> Result<Share, NotSent> {
        if !self.is_live(work) {
            return Err(NotSent::Stale);
        }
        if self.unanswered() >= self.config.persona.unanswered_max {
            return Err(NotSent::TooManyUnanswered);
        }
        let persona = &self.config.persona;
        let hash = work.hash(nonce);
        let share = Share {
            job_id: work.job.id.clone(),
            extranonce1: work.extranonce1.clone(),
            extranonce2: work.extranonce2.clone(),
            time: work.job.time,
            nonce,
            version: work.version(),
            rolled_bits: (work.version_mask != 0).then(|| work.version() & work.version_mask),
            hash,
            meets_block: work.job.block_target.is_met_by(&hash.0),
        };
        let mut params = vec![
            self.config.user.clone(),
            share.job_id.clone(),
            hex::encode(&share.extranonce2),
            format!("{:08x}", share.time),
            if persona.short_nonce {
                format!("{:x}", share.nonce)
            } else {
                format!("{:08x}", share.nonce)
            },
        ];
        params.extend(share.rolled_bits.map(|bits| match persona.version {
            VersionParameter::Bits => format!("{bits:08x}"),
            VersionParameter::Difference => format!("{:08x}", share.version ^ work.job.version),
            VersionParameter::Whole => format!("{:08x}", share.version),
        }));
        self.requests.request(Request::Submit(share.clone()), &params);
        Ok(share)
    }

    /// Submissions without an answer.
    pub fn unanswered(&self) -> usize {
        self.requests.shares().count()
    }

    /// Submissions without an answer whose hash meets the network target.
    pub fn unanswered_blocks(&self) -> usize {
        self.requests.shares().filter(|share| share.meets_block).count()
    }

    /// Whether an answer is due without which mining cannot go on.
    pub fn awaits_answer(&self) -> bool {
        self.requests.awaits_answer()
    }

    fn on_line(&mut self, line: &[u8]) {
        if line.is_empty() {
            return;
        }
        match message::read_line(line) {
            Err(complaint) => self.complain(complaint),
            Ok(line) if self.is_out_of_turn(&line) => {
                self.close("the line after a request was not its answer".to_owned());
            }
            Ok(Line::Reply { id, result }) => {
                self.on_reply(id, result);
                self.go_on_opening();
            }
            Ok(Line::Call { id, call: Err(complaint) }) => {
                if let Some(id) = id {
                    self.requests.answer(id, Err("not understood"));
                }
                self.complain(complaint);
            }
            Ok(Line::Call { id, call: Ok(call) }) => self.on_call(id, call),
        }
    }

    /// Whether somebody who takes the next line for the answer would be mistaken. Until it is
    /// authorized: from then on work may come at any time, and every firmware expects that.
    fn is_out_of_turn(&self, line: &Line<'_>) -> bool {
        let waits = self.config.persona.line_strict && !self.authorized;
        waits
            && match line {
                Line::Reply { id, .. } => !self.requests.is_next(id),
                Line::Call { .. } => true,
            }
    }

    fn on_reply(&mut self, id: &RawValue, result: Result<&RawValue, Refusal>) {
        let Some(request) = self.requests.answered(id) else {
            self.complain(format!("answer to id {}, which nothing waits for", quoted(id)));
            return;
        };
        match (request, result) {
            (Request::Subscribe, Ok(result)) => self.on_subscribed(result),
            (Request::Subscribe, Err(refusal)) => {
                self.events.push_back(Event::SubscribeRefused(refusal));
            }
            (Request::Configure, Ok(result)) => match message::read_version_mask(result) {
                Ok(mask) => self.set_version_mask(mask),
                Err(complaint) => self.complain(complaint),
            },
            (Request::Authorize, result) => {
                self.events.push_back(match confirmed(result) {
                    Ok(()) => Event::Authorized,
                    Err(refusal) => Event::AuthorizeRefused(refusal),
                });
                self.authorized = self.events.back() == Some(&Event::Authorized);
            }
            (Request::Submit(share), result) => {
                self.events.push_back(match confirmed(result) {
                    Ok(()) => Event::Accepted(share),
                    Err(refusal) => Event::Rejected(share, refusal),
                });
            }
            (Request::MultiVersion, Ok(_)) => self.set_version_mask(VERSION_MASK),
            (
                request @ (Request::SubscribeExtranonce
                | Request::Capabilities
                | Request::SuggestTarget
                | Request::SuggestDifficulty),
                result,
            ) => {
                if let Err(refusal) = confirmed(result) {
                    let method = request.method();
                    self.events.push_back(Event::OptionRefused { method, refusal });
                }
            }
            (request @ (Request::Configure | Request::MultiVersion), Err(refusal)) => {
                let method = request.method();
                self.events.push_back(Event::OptionRefused { method, refusal });
            }
        }
    }

    fn on_subscribed(&mut self, result: &RawValue) {
        match message::read_subscription(result) {
            Ok(extranonce) => {
                self.events.push_back(Event::Subscribed {
                    extranonce1: extranonce.one.clone(),
                    extranonce2_size: extranonce.two_size,
                });
                self.extranonce = Some(extranonce);
            }
            Err(complaint) => {
                self.close(format!("without an extranonce there is no work: {complaint}"));
            }
        }
    }

    fn on_call(&mut self, id: Option<&RawValue>, call: Call) {
        match call {
            Call::SetDifficulty(difficulty) => {
                self.difficulty = difficulty;
                self.events.push_back(Event::Difficulty(difficulty));
            }
            Call::Notify(job) => self.on_job(job),
            Call::SetExtranonce(extranonce) => {
                self.events.push_back(Event::Extranonce {
                    extranonce1: extranonce.one.clone(),
                    extranonce2_size: extranonce.two_size,
                });
                self.extranonce = Some(extranonce);
            }
            Call::SetVersionMask(mask) => self.set_version_mask(mask),
            Call::Reconnect { host, port, wait_seconds } => {
                self.events.push_back(Event::Reconnect { host, port, wait_seconds });
            }
            Call::ShowMessage(text) => self.events.push_back(Event::Message(text)),
            Call::GetVersion => {
                let user_agent = self.config.persona.user_agent.clone();
                if let Some(id) = id {
                    self.requests.answer(id, Ok(&user_agent));
                }
            }
            Call::Ping => {
                if let Some(id) = id {
                    self.requests.answer(id, Ok("pong"));
                }
            }
        }
    }

    fn on_job(&mut self, job: Job) {
        let Some(extranonce) = self.extranonce.clone() else {
            self.complain("mining.notify before the answer to mining.subscribe".to_owned());
            return;
        };
        let longest = job.coinbase1.len().max(job.coinbase2.len());
        if longest > self.config.persona.coinbase_half_max {
            self.complain(format!("half a coinbase of {longest} bytes does not fit"));
            self.offer = None;
            return;
        }
        self.jobs_seen += 1;
        if job.clean {
            self.live_from = self.jobs_seen;
        }
        let job = Arc::new(job);
        let difficulty = self.difficulty;
        self.events.push_back(Event::Job { job: Arc::clone(&job), difficulty });
        self.offer = Some(Offer { job, serial: self.jobs_seen, extranonce, difficulty, works: 0 });
    }

    fn set_version_mask(&mut self, mask: u32) {
        if !self.config.version_rolling || mask & !VERSION_MASK != 0 {
            let asked = if self.config.version_rolling { VERSION_MASK } else { 0 };
            self.complain(format!("version mask {mask:08x} where {asked:08x} was asked for"));
        }
        let granted = if self.config.version_rolling { mask & VERSION_MASK } else { 0 };
        self.version_mask = granted;
        self.events.push_back(Event::VersionMask(granted));
    }

    fn complain(&mut self, complaint: String) {
        self.events.push_back(Event::Complaint(complaint));
    }

    fn close(&mut self, why: String) {
        self.open = false;
        self.events.push_back(Event::Close(why));
    }
}

/// An answer that must be `true` to mean yes.
fn confirmed(result: Result<&RawValue, Refusal>) -> Result<(), Refusal> {
    let result = result?;
    if message::is_true(result) {
        return Ok(());
    }
    Err(Refusal { code: None, message: format!("answered {} without a reason", quoted(result)) })
}

fn quoted(raw: &RawValue) -> String {
    message::quote(raw.get())
}

/// Spreads the low bits of `index` over the bits of `mask`, lowest first.
fn deposit(index: u128, mask: u32) -> u32 {
    (0..32)
        .filter(|bit| mask >> bit & 1 == 1)
        .enumerate()
        .filter(|(place, _)| index >> place & 1 == 1)
        .fold(0, |bits, (_, bit)| bits | 1 << bit)
}

#[cfg(test)]
mod tests;
