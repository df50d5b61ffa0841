//! A miner of words: a plain socket, and its own arithmetic over what it is told.
//!
//! Shares no code with the server, so that an error in both is unlikely to be the same.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::Instant;

use bitcoin::hashes::{Hash as _, sha256d};
use serde_json::Value;

use super::node::PATIENCE;

/// One miner.
pub(crate) struct Miner {
    stream: TcpStream,
    from: BufReader<TcpStream>,
    extranonce1: String,
    /// The newest job's parameters.
    job: Value,
    /// The tip that was last waited for.
    tip: Value,
    next_id: u64,
}

impl Miner {
    /// One that shook hands and has a job; tries until the server listens.
    pub(crate) fn connect(server: SocketAddr) -> Self {
        let until = Instant::now() + PATIENCE;
        let stream = loop {
            match TcpStream::connect(server) {
                Err(_) if Instant::now() < until => thread::yield_now(),
                stream => break stream.expect("the server listens"),
            }
        };
        Self::over(stream)
    }

    /// One that shook hands over this connection and has a job.
    pub(crate) fn over(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).expect("a plain option");
        let from = BufReader::new(stream.try_clone().expect("a handle more"));
        let (extranonce1, job, tip) = (String::new(), Value::Null, Value::Null);
        let mut miner = Self { stream, from, extranonce1, job, tip, next_id: 3 };
        miner.say(
            "{\"id\":1,\"method\":\"mining.subscribe\",\"params\":[\"words/1\"]}\n\
             {\"id\":2,\"method\":\"mining.authorize\",\"params\":[\"w\",\"x\"]}\n",
        );
        let subscribed = miner.reply(1);
        subscribed[1].as_str().expect("extranonce1").clone_into(&mut miner.extranonce1);
        assert_eq!(miner.reply(2), true);
        miner.next_tip();
        miner
    }

    pub(crate) fn say(&mut self, lines: &str) {
        self.stream.write_all(lines.as_bytes()).expect("the server listens");
    }

    /// Says it if that can be said; `false` once the server hung up.
    pub(crate) fn try_say(&mut self, lines: &str) -> bool {
        self.stream.write_all(lines.as_bytes()).is_ok()
    }

    /// What one read brings after `lines` were sent at once.
    pub(crate) fn exchange(&mut self, lines: &str) -> String {
        assert!(self.from.buffer().is_empty(), "everything before was heard");
        self.say(lines);
        let mut heard = vec![0; 64 * 1024];
        let length = self.stream.read(&mut heard).expect("the connection holds");
        String::from_utf8(heard[..length].to_vec()).expect("JSON is UTF-8")
    }

    /// Says no more, but listens on.
    pub(crate) fn half_close(&self) {
        self.stream.shutdown(Shutdown::Write).expect("the connection holds");
    }

    /// The next line; `None` once the server hung up.
    pub(crate) fn hear(&mut self) -> Option<Value> {
        let mut line = String::new();
        match self.from.read_line(&mut line) {
            Ok(0) | Err(_) => None,
            Ok(_) => Some(serde_json::from_str(&line).expect("each line is JSON")),
        }
    }

    /// The next line that is no job.
    fn hear_reply(&mut self) -> Value {
        loop {
            let line = self.hear_and_note();
            if line["method"].is_null() {
                return line;
            }
        }
    }

    /// The next line; if it is a job, it is taken up.
    fn hear_and_note(&mut self) -> Value {
        let line = self.hear().expect("the connection holds");
        if line["method"] == "mining.notify" {
            let job = &line["params"];
            let new_tip = job[1] != self.job[1];
            assert_eq!(job[8], new_tip, "older work is void with a new tip, and only then");
            self.job = job.clone();
        }
        line
    }

    fn reply(&mut self, id: u64) -> Value {
        let line = self.hear_reply();
        assert_eq!(line["id"], id, "replies come in order: {line}");
        assert_eq!(line["error"], Value::Null, "{line}");
        line["result"].clone()
    }

    /// Waits for a job on another tip than the last one waited for.
    pub(crate) fn next_tip(&mut self) {
        let until = Instant::now() + PATIENCE;
        while self.job[1] == self.tip {
            assert!(Instant::now() < until, "no new tip");
            self.hear_and_note();
        }
        self.tip = self.job[1].clone();
    }

    /// Waits for a job more.
    pub(crate) fn next_job(&mut self) {
        while self.hear_and_note()["method"] != "mining.notify" {}
    }

    /// The generation that the job's id begins with.
    pub(crate) fn generation(&self) -> u32 {
        u32::from_str_radix(&self.text(0)[..8], 16).expect("hex")
    }

    /// Whether the coinbase carries these bytes, given in hex.
    pub(crate) fn coinbase_has(&self, hex: &str) -> bool {
        self.text(3).contains(hex)
    }

    fn text(&self, place: usize) -> &str {
        self.job[place].as_str().expect("a string")
    }

    /// Submits what is a block by regtest's target; `true` comes when it is safe.
    pub(crate) fn submit_block(&mut self) -> u64 {
        let nonce =
            (0..1_000).find(|nonce| self.hash(*nonce)[31] < 0x7f).expect("every second is one");
        let (id, job, time) = (self.next_id, self.text(0), self.text(7));
        let line = format!(
            "{{\"id\":{id},\"method\":\"mining.submit\",\"params\":[\"w\",\"{job}\",\
             \"{:016x}\",\"{time}\",\"{nonce:08x}\"]}}\n",
            0
        );
        self.say(&line);
        self.next_id += 1;
        id
    }

    /// Waits for the `true` to submission `id`.
    pub(crate) fn accepted(&mut self, id: u64) {
        assert_eq!(self.reply(id), true);
    }

    /// A header's hash, in internal order.
    fn hash(&self, nonce: u32) -> [u8; 32] {
        let coinbase = [self.text(2), &self.extranonce1, &"0".repeat(16), self.text(3)].concat();
        let mut root = sha256d::Hash::hash(&unhex(&coinbase)).to_byte_array();
        for other in self.job[4].as_array().expect("the branch") {
            let pair = [&root[..], &unhex(other.as_str().expect("hex"))].concat();
            root = sha256d::Hash::hash(&pair).to_byte_array();
        }
        let word = |text: &str| u32::from_str_radix(text, 16).expect("hex").to_le_bytes();
        let mut header = word(self.text(5)).to_vec();
        for four in unhex(self.text(1)).chunks(4) {
            header.extend(four.iter().rev());
        }
        header.extend(root);
        header.extend([word(self.text(7)), word(self.text(6)), nonce.to_le_bytes()].concat());
        assert_eq!(header.len(), 80);
        sha256d::Hash::hash(&header).to_byte_array()
    }
}

fn unhex(text: &str) -> Vec<u8> {
    let byte = |place| u8::from_str_radix(&text[place..place + 2], 16).expect("hex");
    (0..text.len()).step_by(2).map(byte).collect()
}
