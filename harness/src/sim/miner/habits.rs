//! What miners do that the protocol does not ask for.

#![expect(clippy::wildcard_enum_match_arm, reason = "a habit is what differs from the rest")]

use std::sync::Arc;

use bytes::Bytes;
use simminer::client::Share;
use simminer::mischief::{self, Submission};
use simminer::work::Work;

use super::{SimMiner, Wish, worker};
use crate::plan::Habit;
use crate::sim::observe::Conn;
use crate::sim::queue::Micros;

const SECOND_US: u64 = 1_000_000;

impl SimMiner {
    fn habit(&self) -> Habit {
        if self.tame { Habit::Honest } else { self.plan.habit }
    }

    fn trick_id(&mut self) -> String {
        self.tricks += 1;
        format!("x{}", self.tricks)
    }

    fn send(&mut self, bytes: Vec<u8>) {
        self.wishes.push(Wish::Send(bytes.into()));
    }

    /// Before the handshake.
    pub(super) fn before_opening(&mut self, _now: Micros, _conn: Conn) {
        if self.habit() == Habit::Impatient {
            let id = self.trick_id();
            let made_up = Submission {
                worker: worker(self.plan.id),
                job: "0000000100000000".to_owned(),
                extranonce2: "0000000000000000".to_owned(),
                time: "65000000".to_owned(),
                nonce: "00000000".to_owned(),
                bits: None,
            };
            self.send(made_up.line(&id));
            let id = self.trick_id();
            self.send(mischief::line(&id, "mining.subscribe", &serde_json::json!([])));
        }
    }

    /// After it.
    pub(super) fn after_opening(&mut self, now: Micros, conn: Conn) {
        match self.habit() {
            Habit::Sloppy => {
                for name in ["a", "b", "c"] {
                    let (id, name) = (self.trick_id(), format!("{}.{name}", worker(self.plan.id)));
                    self.send(mischief::line(&id, "mining.authorize", &serde_json::json!([name])));
                }
            }
            Habit::Impatient => {
                let id = self.trick_id();
                self.send(mischief::line(&id, "mining.subscribe", &serde_json::json!(["x", null])));
            }
            Habit::Endless => self.send(vec![b'x'; 40_000]),
            Habit::Deep => {
                let depth = self.draw("deep", self.connects).scaled(10, 4_000);
                let mut bytes = mischief::deep(usize::try_from(depth).unwrap_or(10));
                bytes.push(b'\n');
                for _ in 0..9 {
                    self.send(bytes.clone());
                }
            }
            Habit::Binary => {
                for line in 0..8 {
                    let mut draw = self.draw("binary", self.connects * 8 + line);
                    let length = draw.scaled(1, 300);
                    let mut bytes: Vec<u8> =
                        (0..length).map(|_| u8::try_from(draw.below(256)).unwrap_or(0)).collect();
                    bytes.push(b'\n');
                    self.send(bytes);
                }
            }
            Habit::Replaying => {
                let again: Vec<Share> = self.remembered.iter().cloned().collect();
                for share in again {
                    self.send_later(now, conn, &share, 300_000);
                }
            }
            Habit::Honest
            | Habit::Bursty
            | Habit::Late
            | Habit::Duplicating
            | Habit::LowDifficulty
            | Habit::Malformed
            | Habit::ForeignBits
            | Habit::TimeRolling
            | Habit::Deaf
            | Habit::Silent
            | Habit::Flapping
            | Habit::Foreign => {}
        }
    }

    fn send_later(&mut self, now: Micros, conn: Conn, share: &Share, us: u64) {
        let id = self.trick_id();
        let line = Submission::of(&worker(self.plan.id), share).line(&id);
        self.wishes.push(Wish::SendLater(now.after(us), conn, Bytes::from(line)));
    }

    /// Its own choices in work that it was given.
    pub(super) fn change_work(&self, work: &mut Work) {
        if self.habit() != Habit::TimeRolling {
            return;
        }
        let mut draw = self.draw("time", self.searches);
        let mut job = (*work.job).clone();
        let ahead = draw.scaled(1, 9_000);
        let shift = u32::try_from(ahead).unwrap_or(1);
        job.time = if draw.chance(700) {
            job.time.saturating_add(shift)
        } else {
            job.time.saturating_sub(shift)
        };
        work.job = Arc::new(job);
    }

    /// It found a nonce.
    pub(super) fn found(&mut self, now: Micros, work: &Work, nonce: u32) {
        let Some(conn) = self.conn else { return };
        if !self.client.is_live(work) {
            if self.habit() != Habit::Late {
                return;
            }
            let share = share_of(work, nonce);
            let us = self.draw("late", self.shares).scaled(1, 12 * SECOND_US);
            return self.send_later(now, conn, &share, us);
        }
        let Ok(share) = self.client.submit(work, nonce) else { return };
        self.remember(share.clone());
        let worker = worker(self.plan.id);
        match self.habit() {
            Habit::Bursty if !self.shares.is_multiple_of(6) => return,
            Habit::Duplicating => {
                self.flush();
                let submission = Submission::of(&worker, &share);
                for again in [submission.respelt(), submission] {
                    let id = self.trick_id();
                    self.send(again.line(&id));
                }
            }
            Habit::Foreign => {
                if let Some(job) = self.overheard.clone() {
                    let id = self.trick_id();
                    let foreign = Submission { job, ..Submission::of(&worker, &share) };
                    self.send(foreign.line(&id));
                }
            }
            Habit::Replaying | Habit::Flapping => {
                self.flush();
                if self.shares.is_multiple_of(7) {
                    self.wishes.push(Wish::Leave);
                }
            }
            Habit::LowDifficulty | Habit::Malformed | Habit::ForeignBits | Habit::Sloppy => {
                self.twisted(&Submission::of(&worker, &share));
            }
            Habit::Honest
            | Habit::Late
            | Habit::Impatient
            | Habit::TimeRolling
            | Habit::Endless
            | Habit::Deep
            | Habit::Binary
            | Habit::Deaf
            | Habit::Silent
            | Habit::Bursty => {}
        }
        self.flush();
    }

    /// A share, and beside it one that is not as it should be.
    fn twisted(&mut self, honest: &Submission) {
        let mut draw = self.draw("twist", self.shares);
        let other = format!("{:08x}", draw.below(1 << 32));
        let twisted = match self.habit() {
            Habit::LowDifficulty => Submission { nonce: other, ..honest.clone() },
            Habit::Malformed => honest.broken(draw.below(mischief::BREAKS)),
            Habit::ForeignBits => {
                let bits = 1_u32 << draw.below(32);
                Submission { bits: Some(format!("{bits:08x}")), ..honest.clone() }
            }
            _ => {
                let worker = format!("{}.{}", honest.worker, draw.pick(&["a", "b", "c", "d"]));
                Submission { worker, nonce: other, ..honest.respelt() }
            }
        };
        let way = draw.below(8);
        let id = self.trick_id();
        self.send(twisted.line(&id));
        if self.habit() == Habit::Malformed {
            let id = self.trick_id();
            self.send(mischief::odd_line(&id, way));
        }
    }
}

/// What a client would have made of it.
fn share_of(work: &Work, nonce: u32) -> Share {
    let hash = work.hash(nonce);
    Share {
        job_id: work.job.id.clone(),
        extranonce1: work.extranonce1.clone(),
        extranonce2: work.extranonce2.clone(),
        time: work.job.time,
        nonce,
        version: work.version(),
        rolled_bits: (work.version_mask != 0).then(|| work.version() & work.version_mask),
        hash,
        meets_block: work.job.block_target.is_met_by(&hash.0),
    }
}
