//! The engine: owns the client, takes one input at a time, decides what the threads do.
//!
//! Why it looks as it does: every input ends in the same `settle`, so the order in which things
//! take effect (events, stale finds, submissions, new work, bytes) is written down once.
//! **Invariant:** nothing here waits but the loop itself.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use crate::client::{Client, Event, NotSent, Refusal};
use crate::runtime::connection::Connection;
use crate::runtime::crew::{Crew, Found};
use crate::runtime::event::rate;
use crate::runtime::{Connect, Endpoint, MinerError, MinerEvent, Options, Summary};

/// Inputs that may wait for the engine.
const INBOX_INPUTS_MAX: usize = 256;

/// Wait before the first new attempt; doubles with each failure in a row.
const BACKOFF_MIN: Duration = Duration::from_millis(100);

/// Longest wait between attempts.
const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// Longest wait that `client.reconnect` may impose.
const RECONNECT_WAIT_SECONDS_MAX: u64 = 300;

/// How long an answer that mining depends on may take.
const ANSWER_TIME_MAX: Duration = Duration::from_mins(1);

/// How long a server may say nothing at all; ASICs give up between 90 and 180 seconds.
const SILENCE_TIME_MAX: Duration = Duration::from_mins(3);

/// Pause between two reports of the hash rate.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// What tasks and threads tell the engine.
#[derive(Debug)]
pub(super) enum Input {
    /// A connection stands.
    Opened { connection: u64, outbox: mpsc::Sender<Bytes> },
    /// Bytes came.
    Received { connection: u64, bytes: Bytes },
    /// A connection ended or never stood.
    Closed { connection: u64, why: String },
    /// A thread found a share and waits.
    Found { found: Found, hashes: u64 },
    /// A thread is still searching.
    Tried { hashes: u64 },
    /// A thread has searched all nonces of an order and waits.
    Spent { thread: usize, number: u64, hashes: u64 },
}

/// Runs a miner; see [`super::run`].
pub(super) async fn run<C: Connect>(
    connect: C,
    options: Options,
    events: mpsc::Sender<MinerEvent>,
    stop: impl Future<Output = ()>,
) -> Result<Summary, MinerError> {
    let (inbox_sender, mut inbox) = mpsc::channel(INBOX_INPUTS_MAX);
    let crew = Crew::start(options.threads, options.kernel, &inbox_sender)?;
    let mut engine = Engine::new(connect, options, events, inbox_sender, Instant::now());
    let mut stop = pin!(stop);
    let ending = loop {
        engine.settle(&crew, Instant::now());
        if let Some(ending) = engine.ending.take() {
            break ending;
        }
        let next = poll_fn(|context| {
            if stop.as_mut().poll(context).is_ready() {
                return Poll::Ready(None);
            }
            inbox.poll_recv(context)
        });
        match timeout_at(engine.deadline(Instant::now()), next).await {
            Err(_) => {}
            Ok(None) => break Ending::Done,
            Ok(Some(input)) => engine.on_input(input, &crew, Instant::now()),
        }
        engine.on_time(Instant::now());
    };
    // A thread that waits to be heard must learn that nobody will.
    drop(inbox);
    let hashes = crew.stop();
    engine.finish(ending, hashes, Instant::now())
}

/// Why the loop ends.
#[derive(Debug)]
enum Ending {
    /// As asked.
    Done,
    /// No session came about.
    CannotConnect { attempts: u64, why: String },
    /// No subscription.
    SubscribeRefused(Refusal),
    /// No authorization.
    AuthorizeRefused(Refusal),
}

/// The state of a running miner.
struct Engine<C> {
    connect: C,
    options: Options,
    events: mpsc::Sender<MinerEvent>,
    inbox: mpsc::Sender<Input>,
    client: Client,
    /// Where to connect next: the options' server, or the port it moved us to.
    endpoint: Endpoint,
    connection: Option<Connection>,
    /// Connections that were begun.
    dialled: u64,
    /// Whether any connection has stood yet.
    has_connected: bool,
    /// Connections in a row that gave no session.
    failures: u64,
    /// Whether the session on the present connection is authorized.
    authorized: bool,
    /// When to connect, while there is no connection.
    dial_at: Instant,
    /// When the server last said anything.
    heard_at: Instant,
    /// Since when an answer is due, or since the last answer if more are.
    waiting_since: Option<Instant>,
    /// Finds that may not be sent yet; at most two for each thread, which wait for them.
    held: VecDeque<Found>,
    /// When the pace allows the next submission.
    submit_at: Instant,
    /// Whether the threads should have work of the client's newest state.
    reassign: bool,
    summary: Summary,
    started_at: Instant,
    reported_at: Instant,
    reported_hashes: u64,
    ending: Option<Ending>,
}

impl<C: Connect> Engine<C> {
    fn new(
        connect: C,
        options: Options,
        events: mpsc::Sender<MinerEvent>,
        inbox: mpsc::Sender<Input>,
        now: Instant,
    ) -> Self {
        Self {
            connect,
            events,
            inbox,
            client: Client::new(options.client.clone()),
            endpoint: options.endpoint.clone(),
            options,
            connection: None,
            dialled: 0,
            has_connected: false,
            failures: 0,
            authorized: false,
            dial_at: now,
            heard_at: now,
            waiting_since: None,
            held: VecDeque::new(),
            submit_at: now,
            reassign: false,
            summary: Summary::default(),
            started_at: now,
            reported_at: now,
            reported_hashes: 0,
            ending: None,
        }
    }

    /// The next moment after `now` at which something is due without any input.
    fn deadline(&self, now: Instant) -> Instant {
        let report = self.reported_at + REPORT_INTERVAL;
        let link = match self.connection {
            None => self.dial_at,
            Some(_) => self.heard_at + SILENCE_TIME_MAX,
        };
        let answer = self.waiting_since.map(|since| since + ANSWER_TIME_MAX);
        let paced = (!self.held.is_empty() || self.reassign) && self.submit_at > now;
        let pace = paced.then_some(self.submit_at);
        [Some(link), answer, pace].into_iter().flatten().fold(report, Instant::min)
    }

    /// Does what has become due.
    fn on_time(&mut self, now: Instant) {
        if self.connection.is_none() {
            if self.dial_at <= now {
                self.dial(now);
            }
        } else if self.waiting_since.is_some_and(|since| now >= since + ANSWER_TIME_MAX) {
            let why = format!("the server left a request unanswered for {ANSWER_TIME_MAX:?}");
            self.disconnect(why, now);
        } else if now >= self.heard_at + SILENCE_TIME_MAX {
            self.disconnect(format!("the server was silent for {SILENCE_TIME_MAX:?}"), now);
        }
        let since_report = now - self.reported_at;
        if since_report >= REPORT_INTERVAL {
            let hashes = self.summary.hashes - self.reported_hashes;
            self.tell(MinerEvent::Rate {
                hashrate: rate(hashes, since_report.as_secs_f64()),
                accepted: self.summary.accepted,
                rejected: self.summary.rejected,
                blocks: self.summary.blocks,
            });
            self.reported_at = now;
            self.reported_hashes = self.summary.hashes;
        }
    }

    fn on_input(&mut self, input: Input, crew: &Crew, now: Instant) {
        let current = self.connection.as_ref().map(|connection| connection.number);
        match input {
            Input::Opened { connection, outbox } if current == Some(connection) => {
                self.on_opened(outbox, now);
            }
            Input::Received { connection, bytes } if current == Some(connection) => {
                self.heard_at = now;
                self.client.receive(&bytes);
            }
            Input::Closed { connection, why } if current == Some(connection) => {
                self.disconnect(why, now);
            }
            // About a connection that was given up.
            Input::Opened { .. } | Input::Received { .. } | Input::Closed { .. } => {}
            Input::Found { found, hashes } => {
                self.summary.hashes += hashes;
                self.held.push_back(found);
            }
            Input::Tried { hashes } => self.summary.hashes += hashes,
            Input::Spent { thread, number, hashes } => {
                self.summary.hashes += hashes;
                if crew.is_current(thread, number) {
                    crew.assign(thread, self.client.next_work());
                }
            }
        }
    }

    fn on_opened(&mut self, outbox: mpsc::Sender<Bytes>, now: Instant) {
        let Some(connection) = &mut self.connection else { return };
        connection.opened(outbox);
        self.summary.reconnects += u64::from(self.has_connected);
        self.has_connected = true;
        self.heard_at = now;
        self.client.connected();
        self.tell(MinerEvent::Connected);
    }

    /// Brings everything into line with the client's state, in this order: what happened, finds,
    /// new work, bytes to send.
    fn settle(&mut self, crew: &Crew, now: Instant) {
        while let Some(event) = self.client.poll_event() {
            self.on_event(event, now);
        }
        self.submit_held(crew, now);
        if self.reassign {
            // While submissions are held back the threads rest: what they would find is held too.
            let paused = !self.may_submit(false, now);
            for thread in 0..crew.len() {
                crew.assign(thread, if paused { None } else { self.client.next_work() });
            }
            self.reassign = paused;
        }
        let outgoing = self.client.take_outgoing();
        let sent = match &self.connection {
            Some(connection) if !outgoing.is_empty() => connection.send(outgoing),
            _ => true,
        };
        if !sent {
            self.disconnect("the server does not read what it is sent".to_owned(), now);
        }
        self.watch_answers(now);
        if reached(self.options.shares, self.summary.accepted)
            || reached(self.options.blocks, self.summary.blocks)
        {
            self.ending = Some(Ending::Done);
        }
    }

    /// Sends the finds that may be sent, in the order they were found, and drops the stale ones.
    fn submit_held(&mut self, crew: &Crew, now: Instant) {
        while let Some(found) = self.held.front() {
            let work = &found.work;
            if self.client.is_live(work) {
                let meets_block = work.job.block_target.is_met_by(&found.solution.hash.0);
                if !self.may_submit(meets_block, now) {
                    return;
                }
            }
            let Some(Found { thread, count, work, solution }) = self.held.pop_front() else {
                return;
            };
            match self.client.submit(&work, solution.nonce) {
                Ok(share) => {
                    assert_eq!(share.hash, solution.hash, "two roads to one hash");
                    if let Some(rate_max) = self.options.rate_max {
                        self.submit_at = now + Duration::from_secs_f64(1.0 / rate_max);
                    }
                    self.tell(MinerEvent::Submitted(share));
                }
                Err(NotSent::Stale | NotSent::TooManyUnanswered) => self.summary.stale += 1,
            }
            crew.release(thread, count);
        }
    }

    /// Whether one more share may be sent: by the persona, by the pace, and without going past
    /// the goal if all that wait are accepted.
    fn may_submit(&self, meets_block: bool, now: Instant) -> bool {
        let unanswered = self.client.unanswered();
        let room = |goal: Option<u64>, accepted: u64, waiting: usize| {
            let waiting = u64::try_from(waiting).unwrap_or(u64::MAX);
            goal.is_none_or(|goal| accepted.saturating_add(waiting) < goal)
        };
        unanswered < self.options.client.persona.unanswered_max
            && self.submit_at <= now
            && room(self.options.shares, self.summary.accepted, unanswered)
            && (!meets_block
                || room(self.options.blocks, self.summary.blocks, self.client.unanswered_blocks()))
    }

    fn on_event(&mut self, event: Event, now: Instant) {
        match event {
            Event::Subscribed { extranonce1, extranonce2_size } => {
                self.waiting_since = None;
                self.tell(MinerEvent::Subscribed { extranonce1, extranonce2_size });
            }
            Event::SubscribeRefused(refusal) => {
                self.ending = Some(Ending::SubscribeRefused(refusal));
            }
            Event::Authorized => {
                self.waiting_since = None;
                self.authorized = true;
                self.failures = 0;
                self.reassign = true;
                self.tell(MinerEvent::Authorized);
            }
            Event::AuthorizeRefused(refusal) => {
                self.ending = Some(Ending::AuthorizeRefused(refusal));
            }
            Event::OptionRefused { method, refusal } => {
                self.tell(MinerEvent::OptionRefused { method, refusal });
            }
            Event::VersionMask(mask) => {
                self.reassign = true;
                self.tell(MinerEvent::VersionMask(mask));
            }
            Event::Difficulty(difficulty) => self.tell(MinerEvent::Difficulty(difficulty)),
            Event::Extranonce { extranonce1, extranonce2_size } => {
                self.tell(MinerEvent::Extranonce { extranonce1, extranonce2_size });
            }
            Event::Job { job, difficulty } => {
                self.reassign = true;
                self.tell(MinerEvent::Job { job, difficulty });
            }
            Event::Accepted(share) => {
                self.waiting_since = None;
                self.summary.accepted += 1;
                self.summary.blocks += u64::from(share.meets_block);
                self.tell(MinerEvent::Accepted(share));
            }
            Event::Rejected(share, refusal) => {
                self.waiting_since = None;
                self.summary.rejected += 1;
                self.summary.last_error = Some(format!("share rejected: {refusal}"));
                let Refusal { code, message } = refusal;
                self.tell(MinerEvent::Rejected { share, code, message });
            }
            Event::Reconnect { host, port, wait_seconds } => {
                self.on_reconnect(host, port, wait_seconds, now);
            }
            Event::Message(text) => self.tell(MinerEvent::Message(text)),
            Event::Complaint(complaint) => self.complain(complaint),
            Event::Close(why) => self.disconnect(why, now),
        }
    }

    /// Follows `client.reconnect`, but to no other host: a line on an unprotected connection must
    /// not be able to carry the miner off.
    fn on_reconnect(
        &mut self,
        host: Option<String>,
        port: Option<u16>,
        wait_seconds: u64,
        now: Instant,
    ) {
        let own = &self.options.endpoint.host;
        let host = host.filter(|host| !host.is_empty());
        if let Some(host) = host.filter(|host| !host.eq_ignore_ascii_case(own)) {
            let host = host.escape_debug();
            self.complain(format!("client.reconnect to another host, {host}, was not followed"));
            return;
        }
        self.endpoint.port = port.unwrap_or(self.endpoint.port);
        let moved_to = self.endpoint.clone();
        self.disconnect(format!("the server asked to reconnect to {moved_to}"), now);
        let wait = Duration::from_secs(wait_seconds.min(RECONNECT_WAIT_SECONDS_MAX));
        self.endpoint = moved_to;
        self.dial_at = self.dial_at.max(now + wait);
    }

    fn dial(&mut self, now: Instant) {
        self.dialled += 1;
        self.heard_at = now;
        self.authorized = false;
        self.connection = Some(Connection::dial(
            self.connect.clone(),
            self.endpoint.clone(),
            self.dialled,
            self.inbox.clone(),
        ));
    }

    /// Gives the connection up and decides when to make the next.
    fn disconnect(&mut self, why: String, now: Instant) {
        if self.connection.take().is_none() {
            return;
        }
        let unanswered = u64::try_from(self.client.disconnected()).unwrap_or(u64::MAX);
        self.summary.unanswered += unanswered;
        self.reassign = true;
        self.waiting_since = None;
        if !self.authorized {
            self.failures += 1;
            // If the server had moved us to a port that is dead, go back.
            self.endpoint = self.options.endpoint.clone();
        }
        let doublings = u32::try_from(self.failures.saturating_sub(1)).unwrap_or(u32::MAX);
        let factor = 2_u32.checked_pow(doublings).unwrap_or(u32::MAX);
        self.dial_at = now + BACKOFF_MIN.saturating_mul(factor).min(BACKOFF_MAX);
        self.summary.last_error = Some(why.clone());
        if self.options.retries.is_some_and(|retries| self.failures > retries) {
            let attempts = self.failures;
            self.ending = Some(Ending::CannotConnect { attempts, why: why.clone() });
        }
        self.tell(MinerEvent::Disconnected { why });
    }

    /// Notes since when an answer is due.
    fn watch_answers(&mut self, now: Instant) {
        if self.client.awaits_answer() {
            self.waiting_since.get_or_insert(now);
        } else {
            self.waiting_since = None;
        }
    }

    fn complain(&mut self, complaint: String) {
        self.summary.last_error = Some(complaint.clone());
        self.tell(MinerEvent::Complaint(complaint));
    }

    /// Tells whoever listens, without waiting.
    fn tell(&mut self, event: MinerEvent) {
        if let Err(mpsc::error::TrySendError::Full(_)) = self.events.try_send(event) {
            self.summary.events_dropped += 1;
        }
    }

    /// Closes the books.
    fn finish(mut self, ending: Ending, hashes: u64, now: Instant) -> Result<Summary, MinerError> {
        self.summary.hashes += hashes;
        self.summary.unanswered += u64::try_from(self.client.disconnected()).unwrap_or(u64::MAX);
        self.summary.set_time((now - self.started_at).as_secs_f64());
        let endpoint = self.options.endpoint;
        let mut summary = Box::new(self.summary);
        let error = match ending {
            Ending::Done => return Ok(*summary),
            Ending::CannotConnect { attempts, why } => {
                MinerError::CannotConnect { endpoint, attempts, why, summary }
            }
            Ending::SubscribeRefused(refusal) => {
                summary.last_error = Some(format!("mining.subscribe refused: {refusal}"));
                MinerError::SubscribeRefused { endpoint, refusal, summary }
            }
            Ending::AuthorizeRefused(refusal) => {
                summary.last_error = Some(format!("mining.authorize refused: {refusal}"));
                let user = self.options.client.user;
                MinerError::AuthorizeRefused { endpoint, user, refusal, summary }
            }
        };
        Err(error)
    }
}

/// Whether a goal, if there is one, is reached.
fn reached(goal: Option<u64>, count: u64) -> bool {
    goal.is_some_and(|goal| count >= goal)
}
