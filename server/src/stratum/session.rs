//! One miner's connection: who it is, what it negotiated, what it was told, what it is owed.
//!
//! **Invariant:** replies leave in the order of their requests; a reply that waits for a block to
//! be safe holds back the replies behind it, never a job.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use bitcoin::Network;
use bytes::Bytes;

use super::agent;
use super::framing::Framing;
use super::message::{self, Call, Configure, Request, RequestId};
use super::reject::Reject;
use super::vardiff::{self, Vardiff};
use crate::clock::Instant;
use crate::config::{Limits, PortRules};
use crate::mining::address;
use crate::mining::difficulty::Difficulty;
use crate::mining::form::{Form, Payee};
use crate::mining::hash::Hash;
use crate::mining::job::{Job, JobId, VERSION_ROLLING_MASK};
use crate::mining::script_sig::Extranonce1;
use crate::mining::share::Candidate;

mod owed;
mod terms;

use owed::Outbox;
pub use terms::Terms;
use terms::Told;

/// What a request asks of the pool.
#[derive(Debug)]
pub enum Demand {
    /// It is dealt with.
    Nothing,
    /// It wants to go on with the session that had this extranonce1, if it can be had; then
    /// [`Session::subscribe`] answers.
    Resume {
        /// Answered under this id.
        id: RequestId,
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
        id: RequestId,
        /// Of which job.
        job: JobId,
    },
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
    workers: BTreeSet<String>,
    workers_max: usize,
    mask: u32,
    mask_told: Option<u32>,
    form: Arc<Form>,
    told: Told,
    /// The newest job as it was given: most shares are for it.
    newest: Option<Arc<Job>>,
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
            workers: BTreeSet::new(),
            workers_max: limits.workers,
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
            Call::Subscribe { agent, resume } => {
                self.learn_agent(agent.unwrap_or_default());
                match resume.filter(|_| !self.subscribed) {
                    Some(extranonce1) => return Demand::Resume { id, extranonce1 },
                    None => self.subscribe(&id),
                }
            }
            Call::Authorize { worker, password } => return self.authorize(&id, worker, &password),
            Call::Configure(wishes) => {
                let result = self.configure(&wishes);
                self.answer(&id, &result);
            }
            Call::Suggest(difficulty) => {
                if let Some(difficulty) = difficulty {
                    self.vardiff.suggest(difficulty);
                }
                self.answer(&id, "true");
            }
            Call::Submit { worker, candidate } => return self.submit(id, &worker, candidate),
            Call::Courtesy => self.answer(&id, "true"),
            Call::MultiVersion => {
                // What was negotiated since goes first.
                if self.mask_told.is_none() {
                    self.mask = VERSION_ROLLING_MASK;
                }
                self.answer(&id, "true");
            }
            Call::Ping => self.answer(&id, "\"pong\""),
            Call::GetTransactions(Some(job)) => return Demand::Transactions { id, job },
            Call::GetTransactions(None) => self.refuse(&id, &Reject::JobNotFound),
            Call::Version(agent) => self.learn_agent(agent),
            Call::Reply => {}
        }
        Demand::Nothing
    }

    /// Answers a subscription, the same each time.
    pub fn subscribe(&mut self, id: &RequestId) {
        self.subscribed = true;
        let result = message::subscribe_result(self.extranonce1);
        self.answer(id, &result);
    }

    /// Goes on where an earlier session was; its extranonce1 is this one's now.
    pub fn resume(&mut self, extranonce1: Extranonce1, remains: Remains) {
        assert!(!self.subscribed, "nobody was told another extranonce1");
        self.extranonce1 = extranonce1;
        self.told = remains.told;
    }

    /// What a miner who comes back can go on with; none when it was never given work.
    pub fn into_remains(self) -> Option<Remains> {
        self.given.map(|_| Remains { address: self.address, told: self.told })
    }

    fn learn_agent(&mut self, agent: String) {
        let family = agent::family(&agent);
        self.form = Arc::new(Form { budget: family.budget, ..Form::clone(&self.form) });
        if let Some(least) = family.difficulty_min {
            // Where the operator's bounds do not allow it, nothing can be done for that miner.
            self.vardiff.keep_above(Difficulty::from(least));
        }
        self.agent = agent;
    }

    fn authorize(&mut self, id: &RequestId, worker: String, password: &str) -> Demand {
        if self.workers.contains(&worker) {
            self.answer(id, "true");
            return Demand::Nothing;
        }
        let barred = if self.workers.len() >= self.workers_max {
            Some(Reject::TooManyWorkers)
        } else {
            self.settle_payee(&worker).err()
        };
        if let Some(why) = barred {
            self.refuse(id, &why);
            return Demand::NotAuthorized(why);
        }
        let (fixed, floor) = vardiff::wishes(password);
        if let Some(floor) = floor {
            self.vardiff.keep_above(floor);
        }
        if let Some(fixed) = fixed {
            self.vardiff.fix(fixed);
        }
        self.answer(id, "true");
        self.workers.insert(worker.clone());
        Demand::Authorized(worker)
    }

    /// One coinbase a session, so one payee: all its workers must name the same address.
    fn settle_payee(&mut self, worker: &str) -> Result<(), Reject> {
        let Payment::Solo { network, fee_basis_points } = self.payment else { return Ok(()) };
        let script = address::payee(worker, network).map_err(Reject::Payee)?;
        let payee = Some(Payee { script, fee_basis_points });
        if self.form.payee.is_some() && self.form.payee != payee {
            return Err(Reject::OtherPayee);
        }
        self.form = Arc::new(Form { payee, ..Form::clone(&self.form) });
        Ok(())
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
            let granted = match name.as_str() {
                "version-rolling" => {
                    let mask = VERSION_ROLLING_MASK & wishes.mask.unwrap_or(u32::MAX);
                    let enough = mask != 0 && mask.count_ones() >= wishes.bits_min.unwrap_or(0);
                    self.mask = if enough { mask } else { 0 };
                    self.mask_told = enough.then_some(mask);
                    enough
                }
                "minimum-difficulty" => {
                    wishes.difficulty_min.is_some_and(|floor| self.vardiff.keep_above(floor))
                }
                // Kept by never changing it; and what the miner says of itself may be said.
                "subscribe-extranonce" | "info" => true,
                _ => false,
            };
            result.insert(name.clone(), granted.into());
            if granted && name == "version-rolling" {
                let mask = format!("{:08x}", self.mask);
                result.insert("version-rolling.mask".to_owned(), mask.into());
            }
        }
        serde_json::Value::from(result).to_string()
    }

    /// Which time `job` would be given to this session now.
    pub fn next_revision(&self, job: &Job) -> Option<u8> {
        self.told.next_revision(job.id)
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
        self.newest = Some(Arc::clone(job));
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
        self.newest.as_ref().filter(|newest| newest.id == job)
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
    pub fn answer(&mut self, id: &RequestId, result: &str) {
        self.outbox.owe(message::reply(id, result));
    }

    /// Answers with a refusal.
    pub fn refuse(&mut self, id: &RequestId, why: &Reject) {
        self.outbox.owe(message::refusal(id, why));
    }

    /// Answers `true` once [`Self::block_is_safe`] is called with `hash`.
    pub fn park(&mut self, id: RequestId, hash: Hash) {
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

    /// `length` bytes are on their way.
    pub fn sending(&mut self, length: usize) {
        self.outbox.sending(length);
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
mod tests {
    use super::*;
    use crate::config::VardiffRules;
    use core::time::Duration;

    const PORT: PortRules = PortRules { difficulty: Difficulty::ONE, vardiff: None };

    fn enter(rules: PortRules, payment: Payment) -> Session {
        let limits = Limits { workers: 2, ..Limits::default() };
        let address = IpAddr::from([192, 0, 2, 1]);
        let entrance = Entrance { rules, payment, address, now: Instant::ZERO };
        Session::new([0, 0, 0, 9], &entrance, &limits)
    }

    fn session() -> Session {
        enter(PORT, Payment::Operator)
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
        check(two, r#"{"minimum-difficulty":false,"subscribe-extranonce":true}"#, 0);
        let easy = r#"[["minimum-difficulty"],{"minimum-difficulty.value":1}]"#;
        check(easy, r#"{"minimum-difficulty":true}"#, 0);
        check(r#"[["info","x"],{"info.hw-id":"7"}]"#, r#"{"info":true,"x":false}"#, 0);
        check("[[]]", "{}", 0);
    }

    #[test]
    fn a_minimum_difficulty_is_kept_within_the_ports_bounds() {
        let bounds = |min: &str, max: &str| VardiffRules {
            share_interval: Duration::from_secs(5),
            min: min.parse().expect("a difficulty"),
            max: max.parse().ok(),
        };
        let check = |max, value: &str, granted: bool, wanted: &str| {
            let rules = PortRules { vardiff: Some(bounds("0.001", max)), ..PORT };
            let mut session = enter(rules, Payment::Operator);
            let line = format!(
                "{{\"id\":1,\"method\":\"mining.configure\",\"params\":[[\"minimum-difficulty\"],\
                 {{\"minimum-difficulty.value\":{value}}}]}}"
            );
            let told = format!("{{\"minimum-difficulty\":{granted}}}");
            assert!(say(&mut session, &line).1.contains(&told), "{value}");
            assert_eq!(session.vardiff.wanted().to_string(), wanted, "{value}");
        };
        check("", "2048", true, "2048");
        check("", "\"2048\"", true, "2048");
        check("1000", "2048", false, "1");
        check("", "0.5", true, "1");
        check("", "null", false, "1");
    }

    #[test]
    fn wishes_of_password_suggestion_and_firmware() {
        let vardiff = VardiffRules {
            share_interval: Duration::from_secs(5),
            min: "0.0000001".parse().expect("a difficulty"),
            max: None,
        };
        let check = |lines: &[&str], wanted: &str| {
            let mut session =
                enter(PortRules { vardiff: Some(vardiff), ..PORT }, Payment::Operator);
            for line in lines {
                let line = format!("{{\"id\":1,\"method\":\"mining.{line}}}");
                assert!(say(&mut session, &line).1.contains("\"error\":null"), "{line}");
            }
            assert_eq!(session.vardiff.wanted().to_string(), wanted, "{lines:?}");
        };
        check(&[r#"authorize","params":["w","x"]"#], "1");
        check(&[r#"authorize","params":["w","d=1000"]"#], "1000");
        check(&[r#"authorize","params":["w","x,md=64"]"#], "64");
        check(&[r#"suggest_difficulty","params":["0.00015"]"#], "0.00015");
        check(&[r#"suggest_difficulty","params":[1e-30]"#], "0.0000001");
        let fixed =
            [r#"authorize","params":["w","d=1000"]"#, r#"suggest_difficulty","params":[7]"#];
        check(&fixed, "1000");
        check(&[r#"subscribe","params":["NiceHash/1.0.0"]"#], "500000");
    }

    #[test]
    fn who_mines_for_himself_names_one_address() {
        let address = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";
        let solo = Payment::Solo { network: Network::Regtest, fee_basis_points: 100 };
        let mut session = enter(PORT, solo);
        let mut authorize = |name: &str| {
            let line =
                format!("{{\"id\":1,\"method\":\"mining.authorize\",\"params\":[\"{name}\"]}}");
            say(&mut session, &line)
        };
        let (demand, said) = authorize("worker");
        assert!(matches!(demand, Demand::NotAuthorized(Reject::Payee(_))));
        assert!(
            said.contains("[24,\"The user name is not an address: mine with ADDRESS"),
            "{said}"
        );
        assert!(authorize(&format!("{address}.one")).1.contains("true"));
        assert!(authorize(&format!("{address}.two")).1.contains("true"));
        assert_eq!(session.form().payee.as_ref().map(|payee| payee.fee_basis_points), Some(100));
        let mut session = enter(PORT, solo);
        for (name, told) in
            [(address, "true"), ("2MzQwSSnBHWHqSAqtTVQ6v47XtaisrJa1Vc", "One address")]
        {
            let line =
                format!("{{\"id\":1,\"method\":\"mining.authorize\",\"params\":[\"{name}\"]}}");
            assert!(say(&mut session, &line).1.contains(told), "{name}");
        }
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
        let refused = |demand| {
            let Demand::Judge { refuse, .. } = demand else { panic!("{demand:?}") };
            refuse
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
