//! Thunder's blocks: kept while the mainchain may commit to them, connected once it did.
//!
//! Thunder does not look for its blocks on the mainchain. Whoever mined the commitment hands the
//! sidechain block back to it with the name of the mainchain block (`connect_block`). A share may
//! solve an older job, so each block is kept for as long as a job lives that commits to it.
//!
//! Not here: a block survives no restart. A crash between the node's yes and Thunder's loses the
//! sidechain block and its fees, and never the mainchain block.

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use crate::clock::Instant;
use crate::mining::hash::Hash;
use crate::node::rpc::thunder::{self, Connected};
use crate::node::rpc::{CallError, HttpReply};

/// Blocks of one daemon that are kept at a time.
const BLOCKS_MAX: usize = 256;
/// What they may take together.
const BLOCKS_BYTES_MAX: usize = 64 * 1024 * 1024;

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// How long a daemon is asked to connect a block.
const PATIENCE: Duration = Duration::from_mins(5);
/// Blocks that wait to be connected, all daemons together; on a regtest chain at full speed the
/// oldest go first.
const WAITING_MAX: usize = 64;

/// The blocks of one daemon that live jobs commit to.
#[derive(Debug, Default)]
pub struct Blocks {
    /// The one used longest ago first.
    kept: VecDeque<Kept>,
    bytes: usize,
}

#[derive(Debug)]
struct Kept {
    h_star: [u8; 32],
    block: Bytes,
    /// The last job that commits to it; none yet.
    job: Option<u32>,
}

impl Blocks {
    /// Keeps `block`, whose hash is `h_star`. The answer is how many had to go for it although a
    /// job commits to them.
    pub fn keep(&mut self, h_star: [u8; 32], block: Bytes) -> usize {
        let known = self.kept.iter().position(|kept| kept.h_star == h_star);
        let job = known.and_then(|place| self.remove(place)).and_then(|kept| kept.job);
        // What no job took up before the next one came is never mined.
        self.retain(|kept| kept.job.is_some());
        self.bytes += block.len();
        self.kept.push_back(Kept { h_star, block, job });
        let mut lost = 0;
        while self.kept.len() > BLOCKS_MAX || self.bytes > BLOCKS_BYTES_MAX && self.kept.len() > 1 {
            self.remove(0);
            lost += 1;
        }
        lost
    }

    /// The job of this sequence number commits to `h_star`.
    pub fn use_for(&mut self, h_star: [u8; 32], job: u32) {
        if let Some(kept) = self.kept.iter_mut().find(|kept| kept.h_star == h_star) {
            kept.job = Some(job);
        }
    }

    /// Jobs before this sequence number are gone.
    pub fn forget_before(&mut self, oldest: u32) {
        self.retain(|kept| kept.job.is_none_or(|job| job >= oldest));
    }

    /// Every block with its h\*.
    pub fn iter(&self) -> impl Iterator<Item = ([u8; 32], &Bytes)> {
        self.kept.iter().map(|kept| (kept.h_star, &kept.block))
    }

    fn retain(&mut self, keeps: impl Fn(&Kept) -> bool) {
        self.kept.retain(keeps);
        self.bytes = self.kept.iter().map(|kept| kept.block.len()).sum();
    }

    fn remove(&mut self, place: usize) -> Option<Kept> {
        let kept = self.kept.remove(place)?;
        self.bytes -= kept.block.len();
        Some(kept)
    }
}

/// A sidechain block and the mainchain block that commits to it.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Delivery {
    /// Place of the daemon in the settings.
    pub sidechain: usize,
    /// The mainchain block, internal order.
    pub main: Hash,
}

/// How a delivery ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Ending {
    /// The sidechain has the block.
    Connected,
    /// It does not, and is not asked again; why.
    GivenUp(String),
}

#[derive(Debug)]
struct Waiting {
    block: Bytes,
    since: Instant,
    due: Instant,
    pause: Duration,
    asked: bool,
}

/// Blocks on their way to the daemons.
#[derive(Debug, Default)]
pub struct Deliveries {
    waiting: BTreeMap<Delivery, Waiting>,
}

impl Deliveries {
    /// Takes a block up. Another one comes back when it had to make room.
    pub fn add(&mut self, now: Instant, delivery: Delivery, block: Bytes) -> Option<Delivery> {
        let oldest = self.waiting.iter().min_by_key(|(_, waiting)| waiting.since);
        let dropped = oldest.map(|(oldest, _)| *oldest);
        let dropped = dropped.filter(|_| self.waiting.len() >= WAITING_MAX);
        if let Some(oldest) = &dropped {
            self.waiting.remove(oldest);
        }
        let waiting = Waiting { block, since: now, due: now, pause: FIRST_PAUSE, asked: false };
        self.waiting.entry(delivery).or_insert(waiting);
        dropped
    }

    /// The next call that is due, with its body; call again until `None`.
    pub fn poll_question(&mut self, now: Instant) -> Option<(Delivery, Bytes)> {
        let mut all = self.waiting.iter_mut();
        let (delivery, waiting) = all.find(|(_, waiting)| !waiting.asked && waiting.due <= now)?;
        waiting.asked = true;
        Some((*delivery, thunder::connect_block_request(&waiting.block, &delivery.main)))
    }

    /// When [`Self::poll_question`] next has something.
    pub fn next_question(&self) -> Option<Instant> {
        self.waiting.values().filter(|waiting| !waiting.asked).map(|waiting| waiting.due).min()
    }

    /// The daemon answered, or did not. `None`: it is asked again.
    pub fn on_reply(
        &mut self,
        now: Instant,
        delivery: Delivery,
        reply: &Result<HttpReply, CallError>,
    ) -> Option<Ending> {
        let waiting = self.waiting.get_mut(&delivery)?;
        let ending = match thunder::connected(reply) {
            Connected::Yes => Ending::Connected,
            Connected::Never(why) => Ending::GivenUp(why),
            Connected::NotNow(why) if now.since(waiting.since) >= PATIENCE => Ending::GivenUp(why),
            Connected::NotNow(_) => {
                waiting.asked = false;
                waiting.due = now + waiting.pause;
                waiting.pause = (waiting.pause * 2).min(PAUSE_MAX);
                return None;
            }
        };
        self.waiting.remove(&delivery);
        Some(ending)
    }

    /// How many blocks are on their way.
    pub fn pending(&self) -> usize {
        self.waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DELIVERY: Delivery = Delivery { sidechain: 0, main: [7; 32] };

    #[expect(clippy::unnecessary_wraps, reason = "the form in which replies come")]
    fn answer(body: &'static str) -> Result<HttpReply, CallError> {
        Ok(HttpReply { status: 200, body: Bytes::from_static(body.as_bytes()) })
    }

    fn kept(blocks: &Blocks) -> Vec<u8> {
        blocks.iter().map(|(h_star, _)| h_star[0]).collect()
    }

    fn block() -> Bytes {
        Bytes::from_static(b"{}")
    }

    #[test]
    fn a_block_is_kept_while_a_job_commits_to_it() {
        let mut blocks = Blocks::default();
        blocks.keep([1; 32], block());
        blocks.use_for([1; 32], 10);
        blocks.keep([2; 32], block());
        blocks.keep([3; 32], block());
        assert_eq!(kept(&blocks), [1, 3], "no job took up the second");
        blocks.use_for([3; 32], 11);
        blocks.keep([1; 32], block());
        assert_eq!(kept(&blocks), [3, 1], "the same block again is not twice there");
        blocks.forget_before(11);
        assert_eq!(kept(&blocks), [3]);
        blocks.forget_before(12);
        assert_eq!((kept(&blocks), blocks.bytes), (vec![], 0));
    }

    #[test]
    fn number_and_bytes_are_bounded_and_what_goes_is_told() {
        let mut blocks = Blocks::default();
        let mut lost = 0;
        for index in 0..300_u32 {
            let mut h_star = [0; 32];
            h_star[..4].copy_from_slice(&index.to_be_bytes());
            lost += blocks.keep(h_star, block());
            blocks.use_for(h_star, index);
        }
        assert_eq!((blocks.kept.len(), lost), (BLOCKS_MAX, 300 - BLOCKS_MAX));
        let huge = Bytes::from(vec![b' '; BLOCKS_BYTES_MAX + 1]);
        assert_eq!(blocks.keep([9; 32], huge), BLOCKS_MAX, "one at least is kept");
        assert_eq!(blocks.kept.len(), 1);
    }

    #[test]
    fn asked_until_there_is_an_answer() {
        let mut deliveries = Deliveries::default();
        let mut now = Instant::ZERO;
        assert_eq!(deliveries.add(now, DELIVERY, block()), None);
        assert_eq!(deliveries.add(now, DELIVERY, block()), None, "the same once");
        let mut pauses = Vec::new();
        for refusal in [Err(CallError::Timeout), answer(r#"{"result":false}"#)] {
            let (delivery, body) = deliveries.poll_question(now).expect("due");
            assert!(body.ends_with(format!("[{{}},\"{}\"]}}", "07".repeat(32)).as_bytes()));
            assert!(deliveries.poll_question(now).is_none(), "one question at a time");
            assert_eq!(deliveries.on_reply(now, delivery, &refusal), None);
            let due = deliveries.next_question().expect("again, later");
            pauses.push(due.since(now));
            now = due;
        }
        assert_eq!(pauses, [FIRST_PAUSE, 2 * FIRST_PAUSE]);
        let (delivery, _) = deliveries.poll_question(now).expect("due");
        let ending = deliveries.on_reply(now, delivery, &answer(r#"{"result":true}"#));
        assert_eq!(ending, Some(Ending::Connected));
        assert_eq!((deliveries.pending(), deliveries.next_question()), (0, None));
    }

    #[test]
    fn a_final_no_and_the_end_of_patience_end_it() {
        let mut deliveries = Deliveries::default();
        deliveries.add(Instant::ZERO, DELIVERY, block());
        deliveries.poll_question(Instant::ZERO);
        let unknown = answer(r#"{"error":{"code":-32601,"message":"Method not found"}}"#);
        let ending = deliveries.on_reply(Instant::ZERO, DELIVERY, &unknown);
        assert!(matches!(ending, Some(Ending::GivenUp(_))), "{ending:?}");

        deliveries.add(Instant::ZERO, DELIVERY, block());
        let mut tries = 0;
        while let Some(due) = deliveries.next_question() {
            deliveries.poll_question(due);
            deliveries.on_reply(due, DELIVERY, &Err(CallError::Timeout));
            tries += 1;
        }
        assert_eq!(tries, 66, "from often to every five seconds, for five minutes");
    }

    #[test]
    fn only_so_many_wait() {
        let mut deliveries = Deliveries::default();
        for seed in 0..65 {
            let delivery = Delivery { sidechain: 0, main: [seed; 32] };
            let dropped = deliveries.add(Instant::from_nanos(u64::from(seed)), delivery, block());
            assert_eq!(dropped.map(|dropped| dropped.main[0]), (seed == 64).then_some(0));
        }
        assert_eq!(deliveries.pending(), WAITING_MAX);
    }
}
