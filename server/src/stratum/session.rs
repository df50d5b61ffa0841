//! One miner's connection: who it is, what it negotiated, what it was told, what it is owed.
//!
//! **Invariant:** replies leave in the order of their requests; a reply that waits for a block to
//! be safe holds back the replies behind it, never a job.

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;

use super::framing::Framing;
use super::message::{self, Call, Configure, Request, RequestId};
use super::reject::Reject;
use crate::config::Limits;
use crate::mining::difficulty::{Difficulty, Target};
use crate::mining::hash::Hash;
use crate::mining::job::{Job, VERSION_ROLLING_MASK};
use crate::mining::script_sig::Extranonce1;
use crate::mining::share::Candidate;

/// What a request asks of the pool.
#[derive(Debug)]
pub enum Demand {
    /// It is dealt with.
    Nothing,
    /// A worker of this name was let in.
    Authorized(String),
    /// A candidate to judge, and the id to answer under.
    Judge {
        /// Answered under this id.
        id: RequestId,
        /// What was submitted.
        candidate: Candidate,
        /// Why it is refused whatever the judgement, unless it is a block.
        refuse: Option<Reject>,
    },
    /// Too much garbage: close.
    Garbage,
}

/// A reply on its way.
#[derive(Debug)]
enum Owed {
    /// It may leave.
    Ready(String),
    /// It waits for the block with this hash; then it is `true`.
    Parked(RequestId, Hash),
}

/// The difficulty that was announced for the jobs from `first_job` on.
#[derive(Clone, Copy, Debug)]
struct Announced {
    first_job: u32,
    difficulty: Difficulty,
    target: Target,
}

/// One miner's connection.
#[derive(Debug)]
pub struct Session {
    /// Bytes not yet read as lines.
    pub framing: Framing,
    /// Its part of the search space.
    pub extranonce1: Extranonce1,
    subscribed: bool,
    workers: BTreeSet<String>,
    workers_max: usize,
    mask: u32,
    mask_told: Option<u32>,
    announced: VecDeque<Announced>,
    owed: VecDeque<Owed>,
    garbage_left: u32,
    outbox: String,
    unflushed_bytes: usize,
    agent: String,
}

impl Session {
    /// A fresh connection that holds the lease of `extranonce1`.
    pub fn new(extranonce1: Extranonce1, limits: &Limits) -> Self {
        Self {
            framing: Framing::new(limits.line_bytes),
            extranonce1,
            subscribed: false,
            workers: BTreeSet::new(),
            workers_max: limits.workers,
            mask: 0,
            mask_told: None,
            announced: VecDeque::new(),
            owed: VecDeque::new(),
            garbage_left: limits.garbage_lines,
            outbox: String::new(),
            unflushed_bytes: 0,
            agent: String::new(),
        }
    }

    /// Whether jobs may be sent: it subscribed, and a worker authorized.
    pub fn is_ready(&self) -> bool {
        self.subscribed && !self.workers.is_empty()
    }

    /// Whether it was sent a job.
    pub fn has_work(&self) -> bool {
        !self.announced.is_empty()
    }

    /// The program's name, as it gave it.
    pub fn agent(&self) -> &str {
        &self.agent
    }

    /// The version bits it negotiated; zero when none.
    pub fn mask(&self) -> u32 {
        self.mask
    }

    /// Answers `request` as far as that needs nobody else.
    pub fn admit(&mut self, request: Request) -> Demand {
        let Request { id, call } = request;
        let call = match call {
            Ok(call) => call,
            Err(why) => {
                let garbage = why == Reject::Malformed;
                self.refuse(&id, &why);
                self.garbage_left = self.garbage_left.saturating_sub(u32::from(garbage));
                let over = garbage && self.garbage_left == 0;
                return if over { Demand::Garbage } else { Demand::Nothing };
            }
        };
        match call {
            Call::Subscribe { agent } => {
                self.subscribed = true;
                self.agent = agent.unwrap_or_default();
                let result = message::subscribe_result(self.extranonce1);
                self.answer(&id, &result);
            }
            Call::Authorize { worker } => return self.authorize(&id, worker),
            Call::Configure(wishes) => {
                let result = self.configure(&wishes);
                self.answer(&id, &result);
            }
            Call::Submit { worker, candidate } => return self.submit(id, &worker, candidate),
            Call::Courtesy => self.answer(&id, "true"),
            Call::Ping => self.answer(&id, "\"pong\""),
            Call::GetTransactions => self.answer(&id, "[]"),
            Call::Reply => {}
        }
        Demand::Nothing
    }

    fn authorize(&mut self, id: &RequestId, worker: String) -> Demand {
        let known = self.workers.contains(&worker);
        if !known && self.workers.len() >= self.workers_max {
            self.refuse(id, &Reject::TooManyWorkers);
            return Demand::Nothing;
        }
        self.answer(id, "true");
        if known {
            return Demand::Nothing;
        }
        self.workers.insert(worker.clone());
        Demand::Authorized(worker)
    }

    fn submit(
        &mut self,
        id: RequestId,
        worker: &str,
        candidate: Result<Candidate, Reject>,
    ) -> Demand {
        let refuse = if !self.subscribed {
            Some(Reject::NotSubscribed)
        } else if !self.workers.contains(worker) {
            Some(Reject::Unauthorized)
        } else {
            None
        };
        match candidate {
            // A block is a block, even from somebody who may not mine here.
            Ok(candidate) => Demand::Judge { id, candidate, refuse },
            Err(why) => {
                self.refuse(&id, &refuse.unwrap_or(why));
                Demand::Nothing
            }
        }
    }

    /// Answers only what was asked: Whatsminers loop over keys they did not ask for (SRI 1173).
    fn configure(&mut self, wishes: &Configure) -> String {
        let mut result = serde_json::Map::new();
        for name in &wishes.extensions {
            if name != "version-rolling" {
                result.insert(name.clone(), false.into());
                continue;
            }
            let mask = VERSION_ROLLING_MASK & wishes.mask.unwrap_or(u32::MAX);
            let enough = mask != 0 && mask.count_ones() >= wishes.bits_min.unwrap_or(0);
            result.insert(name.clone(), enough.into());
            self.mask = if enough { mask } else { 0 };
            self.mask_told = enough.then_some(mask);
            if enough {
                result.insert("version-rolling.mask".to_owned(), format!("{mask:08x}").into());
            }
        }
        serde_json::Value::from(result).to_string()
    }

    /// Queues what must be known before `job`: a difficulty if it changed, a mask if it did.
    /// `difficulty` is one that the network's target allows.
    pub fn announce(&mut self, job: &Job, difficulty: Difficulty) {
        let told = self.announced.back();
        if told.is_none_or(|told| told.difficulty != difficulty) {
            let (first_job, target) = (job.id.sequence, difficulty.to_target());
            self.announced.push_back(Announced { first_job, difficulty, target });
            self.outbox.push_str(&message::set_difficulty(difficulty));
        }
        let mask = self.mask & job.version_mask;
        if self.mask_told.is_some_and(|told| told != mask) {
            self.mask_told = Some(mask);
            self.outbox.push_str(&message::set_version_mask(mask));
        }
    }

    /// The target that was announced for the job with this sequence number; `None` when the job
    /// is older than the first that this session was sent.
    pub fn target_for(&self, job: u32) -> Option<Target> {
        let announced = self.announced.iter().rev().find(|told| told.first_job <= job)?;
        Some(announced.target)
    }

    /// Forgets announcements that only jobs below `oldest_job` needed.
    pub fn forget_before(&mut self, oldest_job: u32) {
        while self.announced.get(1).is_some_and(|next| next.first_job <= oldest_job) {
            self.announced.pop_front();
        }
    }

    /// Answers with `result`, JSON text.
    pub fn answer(&mut self, id: &RequestId, result: &str) {
        self.owe(Owed::Ready(message::reply(id, result)));
    }

    /// Answers with a refusal.
    pub fn refuse(&mut self, id: &RequestId, why: &Reject) {
        self.owe(Owed::Ready(message::refusal(id, why)));
    }

    /// Answers `true` once [`Self::block_is_safe`] is called with `hash`.
    pub fn park(&mut self, id: RequestId, hash: Hash) {
        self.owe(Owed::Parked(id, hash));
    }

    /// The block with `hash` is on disk or with the node: whoever waits for it may hear.
    pub fn block_is_safe(&mut self, hash: Hash) {
        for owed in &mut self.owed {
            if let Owed::Parked(id, waits_for) = owed
                && *waits_for == hash
            {
                *owed = Owed::Ready(message::reply(id, "true"));
            }
        }
        self.release();
    }

    /// How many replies wait, parked or behind a parked one.
    pub fn owed(&self) -> usize {
        self.owed.len()
    }

    fn owe(&mut self, owed: Owed) {
        self.owed.push_back(owed);
        self.release();
    }

    fn release(&mut self) {
        while let Some(Owed::Ready(line)) = self.owed.front() {
            self.outbox.push_str(line);
            self.owed.pop_front();
        }
    }

    /// Takes what waits to be sent, and counts it as on its way.
    pub fn take_outbox(&mut self) -> Option<Bytes> {
        let bytes = Bytes::from(core::mem::take(&mut self.outbox));
        self.sending(bytes.len());
        (!bytes.is_empty()).then_some(bytes)
    }

    /// `length` bytes are on their way.
    pub fn sending(&mut self, length: usize) {
        self.unflushed_bytes += length;
    }

    /// `length` bytes left the machine.
    pub fn flushed(&mut self, length: usize) {
        assert!(length <= self.unflushed_bytes, "no more can leave than was sent");
        self.unflushed_bytes -= length;
    }

    /// Bytes on their way.
    pub fn unflushed_bytes(&self) -> usize {
        self.unflushed_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session() -> Session {
        Session::new([0, 0, 0, 9], &Limits { workers: 2, ..Limits::default() })
    }

    fn say(session: &mut Session, line: &str) -> (Demand, String) {
        let demand = session.admit(message::parse(line.as_bytes()));
        let said = session.take_outbox().unwrap_or_default();
        (demand, String::from_utf8(said.to_vec()).expect("JSON is UTF-8"))
    }

    #[test]
    fn handshake_in_any_order_gives_the_same_extranonce() {
        let subscribe = r#"{"id":1,"method":"mining.subscribe","params":["a/1"]}"#;
        let authorize = r#"{"id":2,"method":"mining.authorize","params":["w","x"]}"#;
        for order in [[subscribe, authorize], [authorize, subscribe]] {
            let mut session = session();
            say(&mut session, order[0]);
            assert!(!session.is_ready());
            say(&mut session, order[1]);
            assert!(session.is_ready());
            let expected = concat!(
                r#"{"id":1,"result":[[["mining.set_difficulty","00000009"],"#,
                r#"["mining.notify","00000009"]],"00000009",8],"error":null}"#,
                "\n"
            );
            assert_eq!(say(&mut session, subscribe).1, expected, "subscribed twice");
        }
    }

    #[test]
    fn subscribe_with_any_parameters() {
        for params in ["[]", "[null]", r#"["a",null,"host:3333",null]"#, "[1,2,3]", r#"["a","s"]"#]
        {
            let line = format!("{{\"id\":1,\"method\":\"mining.subscribe\",\"params\":{params}}}");
            assert!(say(&mut session(), &line).1.contains("\"error\":null"), "{params}");
        }
        assert!(
            say(&mut session(), r#"{"id":1,"method":"mining.subscribe"}"#).1.contains("00000009")
        );
    }

    #[test]
    fn configure_answers_what_was_asked() {
        let check = |params: &str, expected: &str, mask| {
            let line = format!("{{\"id\":1,\"method\":\"mining.configure\",\"params\":{params}}}");
            let mut session = session();
            let reply = format!("{{\"id\":1,\"result\":{expected},\"error\":null}}\n");
            assert_eq!(say(&mut session, &line).1, reply);
            assert_eq!(session.mask(), mask);
        };
        let on = r#"{"version-rolling":true,"version-rolling.mask":"1fffe000"}"#;
        check(r#"[["version-rolling"],{"version-rolling.mask":"ffffffff"}]"#, on, 0x1fff_e000);
        check(r#"[["version-rolling"],{}]"#, on, 0x1fff_e000);
        let off = r#"{"version-rolling":false}"#;
        check(r#"[["version-rolling"],{"version-rolling.mask":"00000001"}]"#, off, 0);
        let many = r#"[["version-rolling"],{"version-rolling.min-bit-count":17}]"#;
        check(many, off, 0);
        let two =
            r#"[["minimum-difficulty","subscribe-extranonce"],{"minimum-difficulty.value":9}]"#;
        check(two, r#"{"minimum-difficulty":false,"subscribe-extranonce":false}"#, 0);
    }

    #[test]
    fn a_parked_reply_holds_back_replies_and_nothing_else() {
        let mut session = session();
        session.park(message::parse(br#"{"id":1,"method":"m"}"#).id, [1; 32]);
        session.park(message::parse(br#"{"id":2,"method":"m"}"#).id, [2; 32]);
        assert_eq!(say(&mut session, r#"{"id":3,"method":"mining.ping"}"#).1, "");
        session.block_is_safe([2; 32]);
        assert_eq!(session.take_outbox(), None);
        session.block_is_safe([1; 32]);
        let said = session.take_outbox().expect("all three");
        let ids: Vec<u8> =
            said.split(|byte| *byte == b'\n').filter_map(|line| line.get(6)).copied().collect();
        assert_eq!(ids, b"123");
    }

    #[test]
    fn who_may_not_mine_is_still_judged() {
        let mut session = session();
        let submit = concat!(
            r#"{"id":4,"method":"mining.submit","params":["w","0000000100000000","#,
            r#""0000000000000000","00000000","00000000"]}"#
        );
        let refused = |demand| match demand {
            Demand::Judge { refuse, .. } => refuse,
            Demand::Nothing | Demand::Authorized(_) | Demand::Garbage => None,
        };
        assert_eq!(refused(say(&mut session, submit).0), Some(Reject::NotSubscribed));
        say(&mut session, r#"{"id":1,"method":"mining.subscribe","params":[]}"#);
        assert_eq!(refused(say(&mut session, submit).0), Some(Reject::Unauthorized));
        say(&mut session, r#"{"id":2,"method":"mining.authorize","params":["w"]}"#);
        assert!(matches!(say(&mut session, submit).0, Demand::Judge { refuse: None, .. }));
    }

    #[test]
    fn garbage_ends_it_and_unknown_methods_do_not() {
        let mut session = session();
        for _ in 0..20 {
            let (demand, said) = say(&mut session, r#"{"id":1,"method":"mining.fly","params":[]}"#);
            assert!(matches!(demand, Demand::Nothing) && said.contains("[20,\"Unknown method\""));
        }
        for _ in 0..4 {
            assert!(matches!(say(&mut session, "GET / HTTP/1.1").0, Demand::Nothing));
        }
        assert!(matches!(say(&mut session, "Host: x").0, Demand::Garbage));
    }

    #[test]
    fn workers_are_bounded() {
        let mut session = session();
        for (name, told) in [("a", "true"), ("b", "true"), ("a", "true"), ("c", "Too many")] {
            let line =
                format!("{{\"id\":1,\"method\":\"mining.authorize\",\"params\":[\"{name}\"]}}");
            assert!(say(&mut session, &line).1.contains(told), "{name}");
        }
    }
}
