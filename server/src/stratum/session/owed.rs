//! What a miner is still to hear: replies in order, and lines on their way.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::mining::hash::Hash;
use crate::stratum::message::{self, RequestId};

/// A reply on its way.
#[derive(Debug)]
enum Owed {
    /// It may leave.
    Ready(String),
    /// It waits for the block with this hash; then it is `true`.
    Parked(Box<str>, Hash),
}

/// Everything that one connection is to be sent.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    owed: VecDeque<Owed>,
    waiting: String,
    unflushed_bytes: usize,
}

impl Outbox {
    /// A line that answers nothing, so that no reply holds it back.
    pub(super) fn say(&mut self, line: &str) {
        self.waiting.push_str(line);
    }

    /// A reply whose result is `result`, JSON text; almost always written where it leaves from.
    pub(super) fn answer(&mut self, id: RequestId<'_>, result: &str) {
        if self.owed.is_empty() {
            return message::reply(&mut self.waiting, id, result);
        }
        let mut reply = String::new();
        message::reply(&mut reply, id, result);
        self.owe(reply);
    }

    pub(super) fn owe(&mut self, reply: String) {
        if self.owed.is_empty() {
            return self.waiting.push_str(&reply);
        }
        self.owed.push_back(Owed::Ready(reply));
    }

    pub(super) fn park(&mut self, id: RequestId<'_>, hash: Hash) {
        self.owed.push_back(Owed::Parked(id.keep(), hash));
    }

    pub(super) fn block_is_safe(&mut self, hash: Hash) {
        for owed in &mut self.owed {
            if let Owed::Parked(id, waits_for) = owed
                && *waits_for == hash
            {
                let mut reply = String::new();
                message::reply(&mut reply, RequestId::kept(id), "true");
                *owed = Owed::Ready(reply);
            }
        }
        self.release();
    }

    pub(super) fn owed(&self) -> usize {
        self.owed.len()
    }

    fn release(&mut self) {
        while let Some(Owed::Ready(line)) = self.owed.front() {
            self.waiting.push_str(line);
            self.owed.pop_front();
        }
    }

    pub(super) fn take(&mut self) -> Option<Bytes> {
        let bytes = Bytes::from(core::mem::take(&mut self.waiting));
        self.sending(bytes.len());
        (!bytes.is_empty()).then_some(bytes)
    }

    /// In one piece: a write each would cost more than the copy.
    pub(super) fn take_with(&mut self, line: &Bytes) -> Bytes {
        self.sending(line.len());
        match self.take() {
            Some(waiting) => Bytes::from([&waiting[..], line].concat()),
            None => line.clone(),
        }
    }

    fn sending(&mut self, length: usize) {
        self.unflushed_bytes += length;
    }

    pub(super) fn flushed(&mut self, length: usize) {
        assert!(length <= self.unflushed_bytes, "no more can leave than was sent");
        self.unflushed_bytes -= length;
    }

    pub(super) fn unflushed_bytes(&self) -> usize {
        self.unflushed_bytes
    }
}
