//! The whole miner, sockets and threads, at a small server in the same process.
//!
//! The server's checks are written with the `bitcoin` crate from its own copy of the job, so they
//! agree with the miner only if both read the wire alike.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::collections::BTreeSet;
use std::time::Duration;

use bitcoin::block::{Header, Version};
use bitcoin::hashes::{Hash as _, sha256d};
use bitcoin::{BlockHash, CompactTarget, TxMerkleNode};
use serde_json::{Value, json};
use simminer::runtime::{self, MinerError, MinerEvent, Options, Summary};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};

const COINBASE1: &str = "01000000010000000000000000000000000000000000000000000000000000000000000000\
                         ffffffff1002900000";
const COINBASE2: &str = "ffffffff0100f2052a01000000015100000000";
const SIBLING: &str = "7ac5e0a7f8c1d3f6b1b54f0a64c7b7c40c1ad1f9f0f1a2b3c4d5e6f708192a3b";
const VERSION: u32 = 0x2000_0000;
const MASK: u32 = 0x1fff_e000;
const TIME: u32 = 0x6600_0000;

/// Time after which a test that hangs fails.
const PATIENCE: Duration = Duration::from_mins(1);

/// One miner's connection, from the server's side.
struct Session {
    lines: Lines<BufReader<OwnedReadHalf>>,
    writer: OwnedWriteHalf,
    extranonce1: &'static str,
}

/// A submission, judged.
#[derive(Debug)]
struct Judged {
    id: Value,
    job: String,
    header: Header,
    /// What must differ between any two submissions.
    key: (String, String, String, String),
    extranonce2: String,
}

impl Session {
    fn new(stream: TcpStream, extranonce1: &'static str) -> Self {
        let (reader, writer) = stream.into_split();
        Self { lines: BufReader::new(reader).lines(), writer, extranonce1 }
    }

    /// The next message, or `None` when the miner has gone.
    async fn next(&mut self) -> Option<Value> {
        let line = self.lines.next_line().await.ok()??;
        Some(serde_json::from_str(&line).unwrap())
    }

    async fn say(&mut self, message: Value) {
        self.writer.write_all(format!("{message}\n").as_bytes()).await.unwrap();
    }

    async fn answer(&mut self, id: &Value, result: bool) {
        self.say(json!({"id": id, "result": result, "error": null})).await;
    }

    /// Answers everything up to the authorization.
    async fn open(&mut self, bits: &str) {
        loop {
            let request = self.next().await.unwrap();
            let id = request["id"].clone();
            let method = request["method"].as_str().unwrap();
            let result = match method {
                "mining.configure" => {
                    json!({"version-rolling": true, "version-rolling.mask": "1fffe000"})
                }
                "mining.subscribe" => json!([[["mining.notify", "1"]], self.extranonce1, 8]),
                _ => json!(true),
            };
            self.say(json!({"id": id, "result": result, "error": null})).await;
            if method == "mining.authorize" {
                break;
            }
        }
        let difficulty = json!({"id": null, "method": "mining.set_difficulty", "params": [1e-7]});
        self.say(difficulty).await;
        self.notify("first", bits, true).await;
    }

    async fn notify(&mut self, job_id: &str, bits: &str, clean: bool) {
        let params = json!([
            job_id,
            "00".repeat(32),
            COINBASE1,
            COINBASE2,
            [SIBLING],
            format!("{VERSION:08x}"),
            bits,
            format!("{TIME:08x}"),
            clean
        ]);
        self.say(json!({"id": null, "method": "mining.notify", "params": params})).await;
    }

    /// The next submission, its header rebuilt by the `bitcoin` crate.
    async fn submission(&mut self, bits: u32) -> Option<Judged> {
        let message = self.next().await?;
        assert_eq!(message["method"], "mining.submit");
        let [user, job, extranonce2, time, nonce, rolled] =
            message["params"].as_array()?.as_slice()
        else {
            panic!("{message}");
        };
        assert_eq!((user, time), (&json!("someone"), &json!("66000000")));
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let number = |value: &Value| u32::from_str_radix(value.as_str().unwrap(), 16).unwrap();
        let rolled_bits = number(rolled);
        assert_eq!(rolled_bits & !MASK, 0);
        let extranonce2 = text(extranonce2);
        assert_eq!(extranonce2.len(), 16);
        let coinbase = format!("{COINBASE1}{}{extranonce2}{COINBASE2}", self.extranonce1);
        let bytes = simminer::hex::decode(&coinbase).unwrap();
        let root = sha256d::Hash::hash(&bytes).to_byte_array();
        let sibling = simminer::hex::decode(SIBLING).unwrap();
        let root = sha256d::Hash::hash(&[root.as_slice(), &sibling].concat());
        let version = (VERSION & !MASK) | rolled_bits;
        let header = Header {
            version: Version::from_consensus(version.cast_signed()),
            prev_blockhash: BlockHash::all_zeros(),
            merkle_root: TxMerkleNode::from_raw_hash(root),
            time: TIME,
            bits: CompactTarget::from_consensus(bits),
            nonce: number(nonce),
        };
        // Difficulty 1e-7.
        let target = "009895e769800000000000000000000000000000000000000000000000000000";
        assert!(header.block_hash().to_string().as_str() <= target, "{header:?}");
        Some(Judged {
            id: message["id"].clone(),
            job: text(job),
            header,
            key: (text(job), extranonce2.clone(), text(nonce), text(rolled)),
            extranonce2,
        })
    }
}

/// A miner in the background.
struct Running {
    task: tokio::task::JoinHandle<Result<Summary, MinerError>>,
    events: mpsc::Receiver<MinerEvent>,
    stop: oneshot::Sender<()>,
}

/// Starts a miner and waits for its first connection.
async fn start(adapt: impl FnOnce(&mut Options)) -> (Running, TcpListener, Session) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut options = Options::new(format!("stratum+tcp://{address}").parse().unwrap(), "someone");
    adapt(&mut options);
    let (sender, events) = mpsc::channel(100_000);
    let (stop, stopped) = oneshot::channel::<()>();
    let task = tokio::spawn(runtime::run(options, sender, async {
        // A test that ends drops the sender, which stops the miner too.
        stopped.await.ok();
    }));
    let session = Session::new(listener.accept().await.unwrap().0, "0000002a");
    (Running { task, events, stop }, listener, session)
}

impl Running {
    async fn end(self) -> (Result<Summary, MinerError>, Vec<MinerEvent>) {
        let outcome = tokio::time::timeout(PATIENCE, self.task).await.unwrap().unwrap();
        let mut events = self.events;
        let mut all = vec![];
        while let Some(event) = events.recv().await {
            all.push(event);
        }
        drop(self.stop);
        (outcome, all)
    }
}

const REGTEST: (&str, u32) = ("207fffff", 0x207f_ffff);
const MAINNET: (&str, u32) = ("1d00ffff", 0x1d00_ffff);

#[tokio::test]
async fn mines_exactly_the_shares_it_was_asked_for() {
    let (running, _listener, mut session) = start(|options| {
        options.threads = 2;
        options.shares = Some(400);
    })
    .await;
    session.open(MAINNET.0).await;
    let mut keys = BTreeSet::new();
    let mut extranonces = BTreeSet::new();
    let mut rejected = 0;
    while let Some(judged) = session.submission(MAINNET.1).await {
        assert_eq!(judged.job, "first");
        assert!(keys.insert(judged.key.clone()), "twice: {judged:?}");
        extranonces.insert(judged.extranonce2);
        // Every fifth is refused, which the miner must make up for.
        if keys.len() % 5 == 0 {
            rejected += 1;
            let error = json!([21, "Job not found", null]);
            session.say(json!({"id": judged.id, "result": null, "error": error})).await;
        } else {
            session.answer(&judged.id, true).await;
        }
    }
    let (outcome, events) = running.end().await;
    let summary = outcome.unwrap();
    assert_eq!((summary.accepted, summary.rejected, summary.blocks), (400, rejected, 0));
    assert_eq!((summary.unanswered, summary.stale, summary.events_dropped), (0, 0, 0));
    assert!(summary.hashes > 400 && summary.seconds > 0.0 && summary.hashrate > 0.0);
    assert_eq!(summary.last_error.as_deref(), Some("share rejected: Job not found (code 21)"));
    // Each thread has an extranonce2 of its own, and many shares come from one.
    assert_eq!(extranonces.len(), 2);
    let submitted = events.iter().filter(|event| matches!(event, MinerEvent::Submitted(_))).count();
    assert_eq!(submitted, keys.len());
    assert_eq!(events[0], MinerEvent::Connected);
}

#[tokio::test]
async fn holds_back_while_sixteen_submissions_wait() {
    let (running, _listener, mut session) = start(|options| options.threads = 2).await;
    session.open(MAINNET.0).await;
    let mut ids = vec![];
    for _ in 0..16 {
        ids.push(session.submission(MAINNET.1).await.unwrap().id);
    }
    // Nothing more comes, though shares take a fraction of a second to find.
    let more = tokio::time::timeout(Duration::from_millis(300), session.next()).await;
    assert!(more.is_err(), "{more:?}");
    for id in ids.iter().take(3) {
        session.answer(id, true).await;
    }
    for _ in 0..3 {
        session.submission(MAINNET.1).await.unwrap();
    }
    running.stop.send(()).unwrap();
    let summary = tokio::time::timeout(PATIENCE, running.task).await.unwrap().unwrap().unwrap();
    assert_eq!((summary.accepted, summary.unanswered), (3, 16));
}

#[tokio::test]
async fn after_a_clean_job_no_share_of_the_old_one_comes() {
    let (running, _listener, mut session) = start(|options| options.threads = 2).await;
    session.open(MAINNET.0).await;
    session.submission(MAINNET.1).await.unwrap();
    for round in 0..20 {
        let job_id = format!("clean-{round}");
        session.notify(&job_id, MAINNET.0, true).await;
        // An answer to this shows that the miner has read the job: both were in order.
        session.say(json!({"id": "mark", "method": "mining.ping", "params": []})).await;
        let mut told = false;
        let mut fresh = 0;
        while fresh < 4 {
            let message = session.next().await.unwrap();
            if message["id"] == "mark" {
                assert_eq!(message["result"], "pong");
                told = true;
                continue;
            }
            let id = message["id"].clone();
            if told {
                assert_eq!(message["params"][1], job_id.as_str());
                fresh += 1;
            }
            session.answer(&id, true).await;
        }
    }
    running.stop.send(()).unwrap();
    let (outcome, _) = Running { stop: oneshot::channel().0, ..running }.end().await;
    assert!(outcome.unwrap().accepted >= 80);
}

#[tokio::test]
async fn stops_after_exactly_the_blocks_it_was_asked_for() {
    let (running, _listener, mut session) = start(|options| {
        options.threads = 2;
        options.blocks = Some(3);
    })
    .await;
    session.open(REGTEST.0).await;
    let mut blocks = 0;
    while let Some(judged) = session.submission(REGTEST.1).await {
        // At this difficulty every share is a block.
        assert!(judged.header.validate_pow(judged.header.target()).is_ok());
        blocks += 1;
        session.notify(&format!("after-{blocks}"), REGTEST.0, true).await;
        session.answer(&judged.id, true).await;
    }
    let (outcome, _) = running.end().await;
    let summary = outcome.unwrap();
    assert_eq!((blocks, summary.blocks, summary.accepted, summary.rejected), (3, 3, 3, 0));
}

#[tokio::test]
async fn comes_back_after_a_lost_connection_with_the_new_extranonce() {
    let (running, listener, mut session) = start(|options| options.shares = Some(2)).await;
    session.open(MAINNET.0).await;
    let first = session.submission(MAINNET.1).await.unwrap();
    session.answer(&first.id, true).await;
    // Lost with submissions unanswered.
    session.submission(MAINNET.1).await.unwrap();
    drop(session);
    let mut session = Session::new(listener.accept().await.unwrap().0, "0000002b");
    session.open(MAINNET.0).await;
    let second = session.submission(MAINNET.1).await.unwrap();
    session.answer(&second.id, true).await;
    let (outcome, events) = running.end().await;
    let summary = outcome.unwrap();
    assert_eq!((summary.accepted, summary.unanswered, summary.reconnects), (2, 1, 1));
    assert!(summary.last_error.is_some());
    let extranonces: Vec<&[u8]> = events
        .iter()
        .filter_map(|event| {
            if let MinerEvent::Subscribed { extranonce1, .. } = event {
                Some(extranonce1.as_slice())
            } else {
                None
            }
        })
        .collect();
    assert_eq!(extranonces, [[0, 0, 0, 0x2a], [0, 0, 0, 0x2b]]);
}

#[tokio::test]
async fn keeps_to_its_pace() {
    let (running, _listener, mut session) = start(|options| {
        options.threads = 2;
        options.rate_max = Some(20.0);
        options.shares = Some(5);
    })
    .await;
    session.open(MAINNET.0).await;
    while let Some(judged) = session.submission(MAINNET.1).await {
        session.answer(&judged.id, true).await;
    }
    let summary = running.end().await.0.unwrap();
    assert_eq!(summary.accepted, 5);
    // Four pauses of 50 ms at least.
    assert!(summary.seconds >= 0.2, "{}", summary.seconds);
}

#[tokio::test]
async fn a_watcher_sees_the_jobs_and_submits_nothing() {
    let (running, _listener, mut session) = start(|options| options.threads = 0).await;
    session.open(REGTEST.0).await;
    session.notify("second", REGTEST.0, false).await;
    session.say(json!({"id": 1, "method": "client.get_version", "params": []})).await;
    let answer = session.next().await.unwrap();
    assert_eq!(answer["result"], "simminer/0.0.0");
    running.stop.send(()).unwrap();
    let (outcome, events) = Running { stop: oneshot::channel().0, ..running }.end().await;
    let summary = outcome.unwrap();
    assert_eq!((summary.hashes, summary.accepted), (0, 0));
    let jobs: Vec<_> = events
        .iter()
        .filter_map(|event| {
            if let MinerEvent::Job { job, difficulty } = event {
                assert_eq!(difficulty.to_string(), "1e-7");
                Some((job.id.as_str(), job.clean, job.coinbase1.len(), job.branch.len()))
            } else {
                None
            }
        })
        .collect();
    let length = COINBASE1.len() / 2;
    assert_eq!(jobs, [("first", true, length, 1), ("second", false, length, 1)]);
}
