//! What all oracles need to know: who was told what and when, worked out from bytes alone.

mod submission;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use bitcoin::BlockHash;
use bytes::Bytes;
use server::journal::DiskOp;
use simminer::target::{Difficulty, Target};
use simminer::work::Job;

use super::journal::log::{self, Entry};
use super::reading::{self, Line, Lines};
use super::{Broken, Scene, hold};
use crate::plan::Plan;
use crate::sim::observe::{Conn, Observation};
use crate::sim::queue::Micros;

pub use submission::{Submission, Verdict};

/// What a request asks for.
#[derive(Clone, Debug)]
pub enum Asks {
    /// `mining.subscribe`.
    Subscribe,
    /// `mining.authorize`, and whom.
    Authorize(Option<String>),
    /// `mining.configure`.
    Configure,
    /// `mining.multi_version`: version rolling without a mask to agree on.
    MultiVersion,
    /// `mining.submit`.
    Submit(Rc<Submission>),
    /// Anything else that has an answer.
    Other,
    /// Nothing that can be understood.
    Nonsense,
}

/// A request of a miner.
#[derive(Clone, Debug)]
pub struct Request {
    /// Its id, as it was written; `null` when there was none.
    pub id: String,
    /// What it asks for.
    pub asks: Asks,
    /// When it was there.
    pub at: Micros,
}

/// A reply.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The connection.
    pub conn: Conn,
    /// What it answers.
    pub request: Rc<Request>,
    /// The result as JSON, or the error's code.
    pub result: Result<String, i64>,
}

/// A job, as one session was given it.
#[derive(Clone, Debug)]
pub struct Given {
    /// The job.
    pub job: Rc<Job>,
    /// What a share counts for.
    pub difficulty: Difficulty,
    /// What a share must meet.
    pub target: Target,
    /// When it was given.
    pub at: Micros,
    /// When its tip was left, as the session was told.
    pub left: Option<Micros>,
}

/// One thing that follows from what was seen.
#[derive(Clone, Debug)]
pub enum Fact {
    /// The observation itself.
    Seen(Observation),
    /// A miner's request was read whole.
    Asked(Conn, Rc<Request>),
    /// A reply was sent.
    Answered(Reply),
    /// A job was sent. True when nobody was sent it before, or not with this body.
    Job(Conn, Given, bool),
    /// Another notification was sent.
    Notified(Conn, String),
    /// Records are to be appended to the share log.
    Logged(Logged),
}

/// What is to be appended to the share log.
#[derive(Clone, Debug)]
pub struct Logged {
    /// Names the write within its run.
    pub write: u64,
    /// The run that it is said to be of.
    pub run: u32,
    /// What is said to be the number of the first record.
    pub first: u64,
    /// The lines.
    pub bytes: Bytes,
    /// The records, or a line that is none.
    pub entries: Result<Rc<[Entry]>, String>,
}

/// What is known of one connection.
#[derive(Debug)]
pub struct Session {
    /// Whose it is.
    pub miner: u64,
    /// When it was opened.
    pub opened: Micros,
    /// Its extranonce1.
    pub one: Option<Vec<u8>>,
    /// Who was let in.
    pub workers: BTreeSet<String>,
    /// Whether it was told so.
    pub authorized: bool,
    /// The version bits that it may roll.
    pub mask: u32,
    /// The difficulty of jobs to come, and its target.
    target: Option<(Difficulty, Target)>,
    /// Jobs, by id.
    pub jobs: BTreeMap<String, Given>,
    /// The newest one's id.
    pub newest: Option<String>,
    /// Requests without a reply, oldest first.
    pub asked: VecDeque<Rc<Request>>,
    /// The server closes it.
    pub closing: bool,
    /// Bytes sent that did not leave the machine.
    pub unflushed: usize,
    incoming: Lines,
    outgoing: Lines,
}

/// All that is known.
#[derive(Debug)]
pub struct Casebook {
    /// Connections that the server holds.
    pub sessions: BTreeMap<Conn, Session>,
    /// Every job of this run, by id: its bodies, for small firmware may be given a leaner one.
    pub jobs: BTreeMap<String, Vec<Rc<Job>>>,
    /// Blocks that were taken out of the chain on purpose.
    pub invalidated: BTreeSet<BlockHash>,
    /// Whether miners are let in.
    pub listening: bool,
    /// When this process began.
    pub started: Micros,
    /// Submissions that may have been counted and are not known to be on disk.
    pub unkept: BTreeSet<[u8; 32]>,
    /// The write to the share log that is under way, and whose shares it keeps.
    logging: Option<(u64, Rc<[Entry]>)>,
    line_bytes: usize,
    workers: usize,
    /// The last notification that was read, for most are sent to many.
    last_job: Option<(Vec<u8>, Rc<Job>)>,
}

impl Casebook {
    /// Nothing is known.
    pub const fn new(plan: &Plan) -> Self {
        Self {
            sessions: BTreeMap::new(),
            jobs: BTreeMap::new(),
            invalidated: BTreeSet::new(),
            listening: false,
            started: Micros(0),
            unkept: BTreeSet::new(),
            logging: None,
            line_bytes: plan.server.limits.line_bytes,
            workers: plan.server.limits.workers,
            last_job: None,
        }
    }

    /// What follows from an observation.
    pub(super) fn read(
        &mut self,
        scene: &Scene<'_>,
        what: &Observation,
    ) -> Result<Vec<Fact>, Broken> {
        let mut facts = vec![Fact::Seen(what.clone())];
        match what {
            Observation::Started { .. } => {
                self.jobs.clear();
                self.unkept.clear();
                self.started = scene.now;
            }
            Observation::Ended(_) => {
                self.sessions.clear();
                self.listening = false;
            }
            Observation::Listening => self.listening = true,
            Observation::Opened { conn, miner } => {
                self.sessions.insert(*conn, Session::new(*miner, scene.now));
            }
            Observation::Received { conn, bytes } => {
                let Some(session) = self.sessions.get_mut(conn) else { return Ok(facts) };
                if !session.closing {
                    for line in session.incoming.push(bytes, self.line_bytes) {
                        let request = Rc::new(self.request(scene, *conn, &line));
                        facts.extend(self.admit(*conn, request));
                    }
                }
            }
            Observation::Sent { conn, bytes } => self.sent(scene, *conn, bytes, &mut facts)?,
            Observation::Flushed { conn, length } => {
                if let Some(session) = self.sessions.get_mut(conn) {
                    session.unflushed = session.unflushed.saturating_sub(*length);
                }
            }
            Observation::Closing { conn, .. } => {
                if let Some(session) = self.sessions.get_mut(conn) {
                    session.closing = true;
                }
            }
            Observation::Closed { conn } => {
                self.sessions.remove(conn);
            }
            Observation::Writes { write, op: DiskOp::AppendShares { run, first, records } } => {
                let entries = log::entries(records).map(Rc::from);
                self.logging = entries.clone().ok().map(|entries| (*write, entries));
                let (write, run, first, bytes) = (*write, *run, *first, records.clone());
                facts.push(Fact::Logged(Logged { write, run, first, bytes, entries }));
            }
            Observation::Persisted { write } => self.persisted(*write),
            Observation::Writes { .. }
            | Observation::Called { .. }
            | Observation::Replied { .. }
            | Observation::Noticed { .. }
            | Observation::Cancelled { .. }
            | Observation::NotPersisted { .. }
            | Observation::Done
            | Observation::Reconfigured
            | Observation::Woken { .. }
            | Observation::Chain(_)
            | Observation::Second(_)
            | Observation::Complaint { .. }
            | Observation::Item { .. }
            | Observation::Phase(_) => {}
        }
        Ok(facts)
    }

    fn persisted(&mut self, write: u64) {
        if let Some((_, entries)) = self.logging.take_if(|(known, _)| *known == write) {
            for entry in entries.iter() {
                self.unkept.remove(&entry.hash);
            }
        }
    }

    /// Notes a request that has a reply coming.
    fn admit(&mut self, conn: Conn, request: Rc<Request>) -> Option<Fact> {
        let room = self.workers;
        let session = self.sessions.get_mut(&conn)?;
        if let Asks::Authorize(Some(worker)) = &request.asks
            && session.workers.len() < room
        {
            session.workers.insert(worker.clone());
        }
        if let Asks::Submit(submission) = &request.asks
            && submission.verdict.codes.is_empty()
        {
            self.unkept.extend(submission.hash);
        }
        session.asked.push_back(Rc::clone(&request));
        Some(Fact::Asked(conn, request))
    }

    fn request(&self, scene: &Scene<'_>, conn: Conn, line: &[u8]) -> Request {
        let at = scene.now;
        let Some(line) = Line::read(line) else {
            return Request { id: "null".to_owned(), asks: Asks::Nonsense, at };
        };
        let id = line.id.map_or_else(|| "null".to_owned(), |id| id.get().to_owned());
        let params = line.params();
        let asks = match line.method().as_deref() {
            Some("mining.subscribe") => Asks::Subscribe,
            Some("mining.authorize") => Asks::Authorize(reading::text(&params, 0)),
            Some("mining.configure") => Asks::Configure,
            Some("mining.multi_version") => Asks::MultiVersion,
            Some("mining.submit") => {
                Asks::Submit(Rc::new(Submission::read(self, scene, conn, &params)))
            }
            Some(_) | None => Asks::Other,
        };
        Request { id, asks, at }
    }

    fn sent(
        &mut self,
        scene: &Scene<'_>,
        conn: Conn,
        bytes: &[u8],
        facts: &mut Vec<Fact>,
    ) -> Result<(), Broken> {
        let open = self.sessions.get_mut(&conn).filter(|session| !session.closing);
        let Some(session) = open else {
            return hold("REPLY-2", false, || {
                format!("bytes are sent to conn {conn}, which is closed")
            });
        };
        session.unflushed += bytes.len();
        for line in session.outgoing.push(bytes, usize::MAX) {
            let Some(parsed) = Line::read(&line) else {
                return hold("REPLY-2", false, || {
                    format!(
                        "conn {conn} is sent what is no JSON: {}",
                        String::from_utf8_lossy(&line)
                    )
                });
            };
            let fact = match parsed.method() {
                None => self.reply(conn, &parsed)?,
                Some(method) => self.notice(scene, conn, &method, &parsed, &line)?,
            };
            facts.push(fact);
        }
        Ok(())
    }

    /// A reply answers the oldest request that waits.
    fn reply(&mut self, conn: Conn, line: &Line<'_>) -> Result<Fact, Broken> {
        let id = line.id.map_or("null", serde_json::value::RawValue::get).to_owned();
        let Some(session) = self.sessions.get_mut(&conn) else { unreachable!("it was sent to") };
        // A line that is itself a reply may be answered or not.
        while session
            .asked
            .front()
            .is_some_and(|request| request.id != id && matches!(request.asks, Asks::Other))
        {
            session.asked.pop_front();
        }
        let Some(request) = session.asked.pop_front().filter(|request| request.id == id) else {
            return Err(Broken {
                law: "REPLY-1",
                what: format!("conn {conn} is sent a reply to id {id}, whose turn it is not"),
            });
        };
        let error = line.error.filter(|error| error.get() != "null");
        let result = match error {
            Some(error) => Err(error_code(error.get())),
            None => Ok(line.result.map_or("null", serde_json::value::RawValue::get).to_owned()),
        };
        match (&request.asks, &result) {
            (asks, Ok(result)) => session.learn(asks, result),
            // Refused although nothing speaks against it: for want of room.
            (Asks::Submit(submission), Err(20)) if submission.verdict.is_clean() => {
                if let Some(hash) = &submission.hash {
                    self.unkept.remove(hash);
                }
            }
            (_, Err(_)) => {}
        }
        Ok(Fact::Answered(Reply { conn, request, result }))
    }

    fn notice(
        &mut self,
        scene: &Scene<'_>,
        conn: Conn,
        method: &str,
        line: &Line<'_>,
        bytes: &[u8],
    ) -> Result<Fact, Broken> {
        let Some(session) = self.sessions.get_mut(&conn) else { unreachable!("it was sent to") };
        let params = line.params();
        let nonsense =
            |what: &str| Broken { law: "REPLY-2", what: format!("conn {conn} is sent {what}") };
        match method {
            "mining.set_difficulty" => {
                let difficulty =
                    params.first().and_then(|raw| raw.get().parse::<Difficulty>().ok());
                let difficulty = difficulty.ok_or_else(|| nonsense("a difficulty that is none"))?;
                session.target = Some((difficulty, difficulty.target()));
            }
            "mining.set_version_mask" => {
                let mask = reading::number(reading::text(&params, 0));
                session.mask = mask.ok_or_else(|| nonsense("a version mask that is none"))?;
            }
            "mining.notify" => return self.given(scene, conn, &params, bytes),
            _ => {}
        }
        Ok(Fact::Notified(conn, method.to_owned()))
    }

    fn given(
        &mut self,
        scene: &Scene<'_>,
        conn: Conn,
        params: &[&serde_json::value::RawValue],
        bytes: &[u8],
    ) -> Result<Fact, Broken> {
        let broken = |law, what: &str| Broken { law, what: format!("conn {conn} {what}") };
        let known = self.last_job.take().filter(|(last, _)| last == bytes).map(|(_, job)| job);
        let job = known.or_else(|| reading::job(params).map(Rc::new));
        let job = job.ok_or_else(|| broken("REPLY-2", "is sent a job that is none"))?;
        self.last_job = Some((bytes.to_vec(), Rc::clone(&job)));
        let bodies = self.jobs.entry(job.id.clone()).or_default();
        let first = !bodies.iter().any(|known| is_same_body(known, &job));
        if first {
            bodies.push(Rc::clone(&job));
        }
        let Some(session) = self.sessions.get_mut(&conn) else { unreachable!("it was sent to") };
        let ready = session.one.is_some() && session.authorized;
        hold("REPLY-2", ready, || format!("conn {conn} is sent a job before it asked for any"))?;
        let (difficulty, target) = session
            .target
            .ok_or_else(|| broken("REPLY-2", "is sent a job without a difficulty before it"))?;
        if job.clean {
            for given in session.jobs.values_mut() {
                if given.job.previous_block != job.previous_block {
                    given.left = given.left.or(Some(scene.now));
                }
            }
        }
        let given = Given { job: Rc::clone(&job), difficulty, target, at: scene.now, left: None };
        session.jobs.insert(job.id.clone(), given.clone());
        session.newest = Some(job.id.clone());
        Ok(Fact::Job(conn, given, first))
    }
}

impl Session {
    fn new(miner: u64, opened: Micros) -> Self {
        Self {
            miner,
            opened,
            one: None,
            workers: BTreeSet::new(),
            authorized: false,
            mask: 0,
            target: None,
            jobs: BTreeMap::new(),
            newest: None,
            asked: VecDeque::new(),
            closing: false,
            unflushed: 0,
            incoming: Lines::default(),
            outgoing: Lines::default(),
        }
    }

    fn learn(&mut self, asks: &Asks, result: &str) {
        match asks {
            Asks::Subscribe => {
                let parts: Option<(serde_json::Value, String, usize)> =
                    serde_json::from_str(result).ok();
                self.one = parts.and_then(|(_, one, _)| reading::bytes(&one));
            }
            Asks::Authorize(_) => self.authorized |= result == "true",
            Asks::Configure => {
                let result: serde_json::Value = serde_json::from_str(result).unwrap_or_default();
                let mask = result["version-rolling.mask"].as_str().map(str::to_owned);
                self.mask = reading::number(mask).unwrap_or(0);
            }
            Asks::MultiVersion => self.mask = submission::ROLLABLE,
            Asks::Submit(_) | Asks::Other | Asks::Nonsense => {}
        }
    }

    /// Whether it was promised work: it subscribed, and somebody was let in.
    pub const fn is_ready(&self) -> bool {
        self.one.is_some() && self.authorized
    }

    /// The newest job.
    pub fn job(&self) -> Option<&Given> {
        self.jobs.get(self.newest.as_ref()?)
    }
}

/// Whether two jobs give the same headers.
fn is_same_body(one: &Job, other: &Job) -> bool {
    let body = |job: &Job| (job.previous_block, job.version, job.bits, job.time);
    body(one) == body(other)
        && one.coinbase1 == other.coinbase1
        && one.coinbase2 == other.coinbase2
        && one.branch == other.branch
}

fn error_code(error: &str) -> i64 {
    let parts: Vec<serde_json::Value> = serde_json::from_str(error).unwrap_or_default();
    parts.first().and_then(serde_json::Value::as_i64).unwrap_or(0)
}
