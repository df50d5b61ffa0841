//! A node of words: JSON-RPC over HTTP, answered as the test says, with every call reported.
//!
//! It knows no Bitcoin: it hands out empty templates, takes every block for its new tip, and parks
//! long polls until then. The same words serve as a sidechain's daemon. One task owns the script,
//! so a test changes it in the middle of anything.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, oneshot};

/// How long any test waits for what has to happen. Generous: it is the time of a failure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// The h* that it has as a sidechain's daemon.
pub(crate) const H_STAR: &str = "11aa22bb33cc44dd11aa22bb33cc44dd11aa22bb33cc44dd11aa22bb33cc44dd";
/// `curtime` of its templates.
const TIME: u32 = 1_700_000_000;

/// What a call is answered with.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// This status and body.
    Http(u16, String),
    /// These bytes, then the end of the connection.
    Raw(&'static str),
    /// Nothing, for as long as the caller waits.
    Silence,
}

/// An RPC error as bitcoind gives it.
pub(crate) fn refusal(code: i64, message: &str) -> Answer {
    let error = json!({ "code": code, "message": message });
    Answer::Http(500, json!({ "result": null, "error": error, "id": 1 }).to_string())
}

fn result(value: &Value) -> Answer {
    Answer::Http(200, json!({ "result": value, "error": null, "id": 1 }).to_string())
}

/// What the node saw.
#[derive(Debug)]
pub(crate) enum Seen {
    /// A call: its method and first parameter.
    Call(String, Value),
    /// The caller hung up on a call of this method before it was answered.
    HungUp(String),
}

/// An address that nobody listens on and that no other test is given.
pub(crate) struct Reserved(TcpSocket);

impl Reserved {
    pub(crate) fn new() -> Self {
        let socket = TcpSocket::new_v4().expect("sockets are to be had");
        // Servers of ours may hold it too, until one of them listens.
        socket.set_reuseaddr(true).expect("a plain option");
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("so are ports");
        Self(socket)
    }

    pub(crate) fn port(&self) -> u16 {
        self.0.local_addr().expect("it is bound").port()
    }
}

#[derive(Debug)]
enum Message {
    Call { method: String, first: Value, answer: oneshot::Sender<Answer> },
    HungUp,
    Rule(&'static str, VecDeque<Answer>, Option<Answer>),
    Tip,
}

/// A node that answers until it is dropped.
pub(crate) struct Node {
    port: u16,
    script: mpsc::Sender<Message>,
    seen: Receiver<Seen>,
    _runtime: Runtime,
}

impl Node {
    /// On regtest, all well.
    pub(crate) fn start() -> Self {
        Self::at(Reserved::new())
    }

    /// The same, at an address that was known before.
    pub(crate) fn at(reserved: Reserved) -> Self {
        let port = reserved.port();
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("threads are to be had");
        let (script, inbox) = mpsc::channel(64);
        let (report, seen) = channel();
        let listener = runtime.block_on(async { reserved.0.listen(64) }).expect("it is ours");
        runtime.spawn(Script::new(report).run(inbox));
        runtime.spawn(serve(listener, script.clone()));
        Self { port, script, seen, _runtime: runtime }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Answers the next calls of `method` with `answers`, and those after them as usual.
    pub(crate) fn next(&self, method: &'static str, answers: impl IntoIterator<Item = Answer>) {
        self.tell(Message::Rule(method, answers.into_iter().collect(), None));
    }

    /// Answers every call of `method` with `answer` from now on.
    pub(crate) fn always(&self, method: &'static str, answer: Answer) {
        self.tell(Message::Rule(method, VecDeque::new(), Some(answer)));
    }

    /// Gives it another tip, one higher, found by somebody else.
    pub(crate) fn new_tip(&self) {
        self.tell(Message::Tip);
    }

    fn tell(&self, message: Message) {
        self.script.blocking_send(message).expect("its script runs as long as it does");
    }

    /// Waits for a call of `method`; the answer is its first parameter.
    pub(crate) fn called(&self, method: &str) -> Value {
        loop {
            match self.seen.recv_timeout(PATIENCE) {
                Ok(Seen::Call(known, first)) if known == method => return first,
                Ok(Seen::Call(..) | Seen::HungUp(_)) => {}
                Err(error) => panic!("no call of {method}: {error}"),
            }
        }
    }

    /// Waits until a caller of `method` goes without its answer.
    pub(crate) fn hung_up(&self, method: &str) {
        loop {
            match self.seen.recv_timeout(PATIENCE) {
                Ok(Seen::HungUp(known)) if known == method => return,
                Ok(Seen::Call(..) | Seen::HungUp(_)) => {}
                Err(error) => panic!("nobody hung up on {method}: {error}"),
            }
        }
    }
}

/// A call that has no answer yet.
struct Waiting {
    method: String,
    /// Answered by the next tip; never otherwise.
    is_long_poll: bool,
    to: oneshot::Sender<Answer>,
}

struct Script {
    rules: Vec<(&'static str, VecDeque<Answer>, Option<Answer>)>,
    tip: String,
    height: u32,
    waiting: Vec<Waiting>,
    report: Sender<Seen>,
}

impl Script {
    fn new(report: Sender<Seen>) -> Self {
        Self { rules: Vec::new(), tip: "0a".repeat(32), height: 100, waiting: Vec::new(), report }
    }

    async fn run(mut self, mut inbox: mpsc::Receiver<Message>) {
        while let Some(message) = inbox.recv().await {
            match message {
                Message::Call { method, first, answer } => self.on_call(&method, first, answer),
                Message::HungUp => self.on_hung_up(),
                Message::Rule(method, next, always) => {
                    self.rules.retain(|(known, ..)| *known != method);
                    self.rules.push((method, next, always));
                }
                Message::Tip => self.on_tip(format!("{:064x}", self.height + 1)),
            }
        }
    }

    fn see(&self, seen: Seen) {
        // The test may be over.
        self.report.send(seen).unwrap_or_default();
    }

    fn on_call(&mut self, method: &str, first: Value, to: oneshot::Sender<Answer>) {
        let ruled = self.ruled(method);
        let is_long_poll = first["longpollid"] == self.tip.as_str();
        let answer = match (ruled, method) {
            (Some(Answer::Silence), _) => None,
            (Some(answer), _) => Some(answer),
            (None, "getblockchaininfo") => {
                Some(result(&json!({ "chain": "regtest", "blocks": self.height })))
            }
            (None, "getblocktemplate") => (!is_long_poll).then(|| self.template()),
            (None, "submitblock") => {
                self.on_tip(hash_of(&first));
                Some(result(&Value::Null))
            }
            (None, "getbestblockhash") => Some(result(&H_STAR.into())),
            (None, _) => Some(refusal(-32601, "Method not found")),
        };
        self.see(Seen::Call(method.to_owned(), first));
        match answer {
            // A caller that does not wait is noticed by its connection.
            Some(answer) => to.send(answer).unwrap_or_default(),
            None => self.waiting.push(Waiting { method: method.to_owned(), is_long_poll, to }),
        }
    }

    /// What the test wants said.
    fn ruled(&mut self, method: &str) -> Option<Answer> {
        let rule = self.rules.iter_mut().find(|(known, ..)| *known == method);
        rule.and_then(|(_, next, always)| next.pop_front().or_else(|| always.clone()))
    }

    fn on_hung_up(&mut self) {
        for gone in self.waiting.extract_if(.., |waiting| waiting.to.is_closed()) {
            self.report.send(Seen::HungUp(gone.method)).unwrap_or_default();
        }
    }

    fn on_tip(&mut self, tip: String) {
        self.tip = tip;
        self.height += 1;
        let parked: Vec<Waiting> =
            self.waiting.extract_if(.., |waiting| waiting.is_long_poll).collect();
        for call in parked {
            let answer = self.ruled(&call.method).unwrap_or_else(|| self.template());
            call.to.send(answer).unwrap_or_default();
        }
    }

    fn template(&self) -> Answer {
        // Of a block without transactions: sha256d of 64 zero bytes.
        let commitment =
            "6a24aa21a9ede2f61c3f71d1defd3fa999dfa36953755c690689799962b48bebd836974e8cf9";
        result(&json!({
            "version": 0x2000_0000, "rules": ["segwit"], "vbrequired": 0,
            "previousblockhash": self.tip, "transactions": [], "coinbasevalue": 5_000_000_000_u64,
            "longpollid": self.tip, "mintime": TIME - 600, "curtime": TIME, "bits": "207fffff",
            "height": self.height + 1, "default_witness_commitment": commitment,
        }))
    }
}

/// The hash of a block in hex, as people write it.
fn hash_of(block: &Value) -> String {
    let block = block.as_str().expect("a block is a string");
    let block: bitcoin::Block = bitcoin::consensus::encode::deserialize_hex(block).expect("whole");
    block.block_hash().to_string()
}

async fn serve(listener: TcpListener, script: mpsc::Sender<Message>) {
    while let Ok((stream, _)) = listener.accept().await {
        let script = script.clone();
        tokio::spawn(async move {
            // A caller that breaks off in the middle wants no answer.
            answer(stream, script).await.unwrap_or_default();
        });
    }
}

async fn answer(mut stream: TcpStream, script: mpsc::Sender<Message>) -> io::Result<()> {
    let request = read_request(&mut stream).await?;
    let method = request["method"].as_str().unwrap_or_default().to_owned();
    let first = request["params"][0].clone();
    let (to, answer) = oneshot::channel();
    let call = Message::Call { method, first, answer: to };
    script.send(call).await.map_err(io::Error::other)?;
    let (mut from, mut back) = stream.into_split();
    let answering = tokio::spawn(async move {
        let text = match answer.await {
            Err(_) | Ok(Answer::Silence) => return,
            Ok(Answer::Raw(text)) => text.to_owned(),
            Ok(Answer::Http(status, body)) => {
                format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{body}", body.len())
            }
        };
        // The caller may be gone.
        back.write_all(text.as_bytes()).await.unwrap_or_default();
        back.shutdown().await.unwrap_or_default();
    });
    // It says no more; so this ends when it hangs up.
    from.read(&mut [0]).await.unwrap_or_default();
    answering.abort();
    answering.await.unwrap_or_default();
    script.send(Message::HungUp).await.map_err(io::Error::other)
}

async fn read_request(stream: &mut TcpStream) -> io::Result<Value> {
    let mut read = Vec::new();
    loop {
        if stream.read_buf(&mut read).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let text = String::from_utf8_lossy(&read).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
        });
        if body.len() >= length.unwrap_or(0) {
            return serde_json::from_str(body).map_err(io::Error::other);
        }
    }
}
