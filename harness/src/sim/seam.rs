//! The seam between the server and its world, where bugs can be planted: the alarm is tested too.
//!
//! A canary is a bug that the server does not have. It changes what passes the seam, so that the
//! production code stays as it is and the oracles see what they would see if it had the bug.
//! [`CANARIES`] says for each which law must notice.

#![expect(clippy::wildcard_enum_match_arm, reason = "a canary changes one thing")]

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;
use server::config::Config;
use server::journal::{DiskOp, Shelf};
use server::pool::action::{Action, Endpoint, WriteId};
use server::pool::event::{ConnId, Event};

use super::disk::SimDisk;
use crate::oracle::journal::log::crc32;

/// A planted bug.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Canary {
    /// Block shares are answered as if the disk were faster than light.
    AnswersBeforeSafe,
    /// A failed write is taken for one that is done.
    IgnoresFailedWrite,
    /// Every thirtieth reply is sent twice.
    RepliesTwice,
    /// Every thirtieth reply is not sent.
    SwallowsReply,
    /// Found blocks are not handed in.
    ForgetsToSubmit,
    /// Every session gets the first extranonce1.
    ReissuesExtranonce,
    /// A new tip is told to nobody who has a job already.
    HidesNewTip,
    /// Older work is never called void.
    NeverClean,
    /// Commitments carry another tag.
    WrongTag,
    /// The h* of two commitments are exchanged.
    SwapsCommitments,
    /// One satoshi more than there is.
    PaysTooMuch,
    /// One hash of the merkle branch is wrong.
    BendsBranch,
    /// Shares are announced to be easier than they are.
    AnnouncesEasier,
    /// Job ids begin anew with each start.
    ReusesJobIds,
    /// Accepted blocks are filed as refused.
    FilesAsRejected,
    /// The end of a connection is not noticed.
    LeaksSessions,
    /// A share that was counted is counted again.
    CountsTwice,
    /// A hash above the target is a share.
    TakesEverything,
    /// After a while the node is not asked any more.
    StopsAsking,
    /// Everything that a miner sends is done twice.
    HearsTwice,
    /// Difficulty follows another pace than the wished one.
    MissesPace,
    /// Difficulty leaves its bounds.
    LeavesBounds,
    /// Found blocks are handed to the first node alone.
    ForgetsSecondNode,
    /// Every third batch of shares is said to be on disk and never was.
    ForgetsShares,
    /// Every batch of shares is written twice over.
    WritesSharesTwice,
    /// Shares are written down for far more than their difficulty.
    CreditsMore,
    /// A start cuts a record too much off the share log.
    CutsTooMuch,
    /// The block that is proposed is not the one that miners work on.
    BendsProposals,
    /// Only a new tip brings a job.
    KeepsFirstJob,
}

/// Every canary, its name, and the laws of which one must break.
pub const CANARIES: [(Canary, &str, &[&str]); 29] = [
    (Canary::AnswersBeforeSafe, "answers-before-safe", &["BLOCK-2"]),
    (Canary::IgnoresFailedWrite, "ignores-failed-write", &["DISK-2", "SHARE-3", "BLOCK-2"]),
    (Canary::RepliesTwice, "replies-twice", &["REPLY-1"]),
    (Canary::SwallowsReply, "swallows-reply", &["REPLY-1"]),
    (Canary::ForgetsToSubmit, "forgets-to-submit", &["BLOCK-3"]),
    (Canary::ReissuesExtranonce, "reissues-extranonce", &["EXTRA-1"]),
    (Canary::HidesNewTip, "hides-new-tip", &["SHARE-2", "LIVE-1"]),
    (Canary::NeverClean, "never-clean", &["JOB-5"]),
    (Canary::WrongTag, "wrong-tag", &["BMM-2", "BMM-3", "COIN-2"]),
    (Canary::SwapsCommitments, "swaps-commitments", &["BMM-2", "BMM-3", "COIN-2"]),
    (Canary::PaysTooMuch, "pays-too-much", &["COIN-1"]),
    (Canary::BendsBranch, "bends-branch", &["JOB-4"]),
    (Canary::AnnouncesEasier, "announces-easier", &["SHARE-2", "SHARE-4", "VAR-1"]),
    (Canary::ReusesJobIds, "reuses-job-ids", &["JOB-2"]),
    (Canary::FilesAsRejected, "files-as-rejected", &["BLOCK-4"]),
    (Canary::LeaksSessions, "leaks-sessions", &["RES-2", "REPLY-2"]),
    (Canary::CountsTwice, "counts-twice", &["SHARE-1"]),
    (Canary::TakesEverything, "takes-everything", &["SHARE-2"]),
    (Canary::StopsAsking, "stops-asking", &["LIVE-1"]),
    (Canary::HearsTwice, "hears-twice", &["REPLY-1"]),
    (Canary::MissesPace, "misses-pace", &["VAR-1", "VAR-2"]),
    (Canary::LeavesBounds, "leaves-bounds", &["VAR-1"]),
    (Canary::ForgetsSecondNode, "forgets-second-node", &["BLOCK-3"]),
    (Canary::ForgetsShares, "forgets-shares", &["SHARE-3"]),
    (Canary::WritesSharesTwice, "writes-shares-twice", &["SHARE-3"]),
    (Canary::CreditsMore, "credits-more", &["SHARE-4"]),
    (Canary::CutsTooMuch, "cuts-too-much", &["DISK-1"]),
    (Canary::BendsProposals, "bends-proposals", &["PROP-1"]),
    (Canary::KeepsFirstJob, "keeps-first-job", &["LIVE-4"]),
];

/// Replies of which one goes wrong.
const REPLIES: u64 = 30;
/// Batches of shares of which one goes wrong.
const BATCHES: u64 = 3;
/// Calls after which the node is not asked any more.
const CALLS: u64 = 25;

/// A difficulty that every hash meets.
const HARDLY_ANY: &str = "1e-10";

/// What passes between the server and its world.
#[derive(Debug, Default)]
pub struct Seam {
    canary: Option<Canary>,
    passed: u64,
    /// Actions that come before what the server wants next.
    waiting: VecDeque<Action>,
    /// Events that the server is handed before the world's next.
    events: VecDeque<Event>,
    /// Connections that were sent a job.
    working: BTreeSet<ConnId>,
    /// Writes that the server was told the end of.
    told: BTreeSet<WriteId>,
}

impl Seam {
    /// A seam with a bug, or a clean one.
    pub const fn new(canary: Option<Canary>) -> Self {
        Self {
            canary,
            passed: 0,
            waiting: VecDeque::new(),
            events: VecDeque::new(),
            working: BTreeSet::new(),
            told: BTreeSet::new(),
        }
    }

    /// The settings that the server gets instead.
    pub fn config(&self, mut config: Config) -> Config {
        for vardiff in config.miners.ports.iter_mut().filter_map(|port| port.vardiff.as_mut()) {
            match self.canary {
                Some(Canary::MissesPace) => vardiff.share_interval *= 16,
                Some(Canary::LeavesBounds) => {
                    vardiff.min = HARDLY_ANY.parse().unwrap_or(vardiff.min);
                    vardiff.max = None;
                }
                _ => {}
            }
        }
        config
    }

    /// Another process starts.
    pub fn start(&mut self) {
        *self = Self::new(self.canary);
    }

    /// An event on its way in: what the server is handed instead, in order.
    pub fn event(&mut self, event: Event) -> Vec<Event> {
        let Some(canary) = self.canary else { return vec![event] };
        let mut events: Vec<Event> = self.events.drain(..).collect();
        match (canary, event) {
            (Canary::IgnoresFailedWrite, Event::PersistFailed { write, .. }) => {
                events.push(Event::Persisted { write });
            }
            // The shortcut has told the server already.
            (Canary::AnswersBeforeSafe, Event::Persisted { write }) if self.told.remove(&write) => {
            }
            (Canary::LeaksSessions, Event::Closed { .. }) => {}
            (Canary::HearsTwice, Event::Received { conn, bytes }) => {
                events.push(Event::Received { conn, bytes: bytes.clone() });
                events.push(Event::Received { conn, bytes });
            }
            (_, event) => events.push(event),
        }
        events
    }

    /// A start has looked at what it found.
    pub fn recovered(&self, disk: &mut SimDisk) {
        if self.canary == Some(Canary::CutsTooMuch) {
            disk.lose_share();
        }
    }

    /// An action that the server wants before it is handed what is next.
    pub fn keep(&mut self, action: Action) {
        if let Some(canary) = self.canary
            && let Some(action) = self.pass(canary, action)
        {
            self.waiting.push_back(action);
        }
    }

    /// What the server is told although nothing happened.
    pub fn made_up(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// The next action on its way out.
    pub fn action(&mut self, mut next: impl FnMut() -> Option<Action>) -> Option<Action> {
        let Some(canary) = self.canary else { return next() };
        loop {
            if let Some(action) = self.waiting.pop_front() {
                return Some(action);
            }
            let action = next()?;
            if let Some(action) = self.pass(canary, action) {
                return Some(action);
            }
        }
    }

    fn pass(&mut self, canary: Canary, action: Action) -> Option<Action> {
        match action {
            Action::Send { conn, bytes } => {
                let bytes = self.bytes(canary, conn, bytes)?;
                Some(Action::Send { conn, bytes })
            }
            Action::Call { call, endpoint, body, patience } => {
                let asks = |method: &[u8]| body.windows(method.len()).any(|part| part == method);
                let forgets = canary == Canary::ForgetsToSubmit
                    || (canary == Canary::ForgetsSecondNode && endpoint == Endpoint::Node(1));
                let submits = forgets && asks(b"submitblock");
                let stops = canary == Canary::StopsAsking && asks(b"getblocktemplate");
                self.passed += u64::from(stops);
                let swallowed = submits || (stops && self.passed > CALLS);
                let bends = canary == Canary::BendsProposals && asks(b"\"proposal\",\"data\"");
                let body = if bends { another_root(&body) } else { body };
                (!swallowed).then_some(Action::Call { call, endpoint, body, patience })
            }
            Action::Persist { write, op } => {
                if canary == Canary::ForgetsShares && matches!(op, DiskOp::AppendShares { .. }) {
                    self.passed += 1;
                    if self.passed.is_multiple_of(BATCHES) {
                        self.events.push_back(Event::Persisted { write });
                        return None;
                    }
                }
                let op = match op {
                    DiskOp::AppendShares { run, first, records } => {
                        let records = shares(canary, records);
                        DiskOp::AppendShares { run, first, records }
                    }
                    DiskOp::SettleBlock { height, hash, shelf: Shelf::Accepted }
                        if canary == Canary::FilesAsRejected =>
                    {
                        DiskOp::SettleBlock { height, hash, shelf: Shelf::Rejected }
                    }
                    op => op,
                };
                if canary == Canary::AnswersBeforeSafe && matches!(op, DiskOp::PutBlock(_)) {
                    self.told.insert(write);
                    self.events.push_back(Event::Persisted { write });
                }
                Some(Action::Persist { write, op })
            }
            other @ (Action::Listen
            | Action::Close { .. }
            | Action::Cancel { .. }
            | Action::Halt(_)) => Some(other),
        }
    }

    /// Bytes on their way to a miner: what it is sent instead.
    fn bytes(&mut self, canary: Canary, conn: ConnId, bytes: Bytes) -> Option<Bytes> {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let notifies = text.contains("mining.notify\",\"params");
        let replies = text.contains("\"error\":");
        let changed = match canary {
            Canary::RepliesTwice | Canary::SwallowsReply if replies => {
                self.passed += 1;
                if !self.passed.is_multiple_of(REPLIES) {
                    return Some(bytes);
                }
                if canary == Canary::SwallowsReply {
                    return None;
                }
                [text.as_str(), text.as_str()].concat()
            }
            Canary::ReissuesExtranonce => extranonce(&text),
            Canary::HidesNewTip if notifies => {
                if self.working.insert(conn) {
                    return Some(bytes);
                }
                without_jobs(&text, ",true]}")?
            }
            Canary::KeepsFirstJob if notifies => without_jobs(&text, ",false]}")?,
            Canary::NeverClean => text.replace(",true]}", ",false]}"),
            Canary::WrongTag => text.replace("6a25d1617368", "6a25d1617369"),
            Canary::SwapsCommitments => swapped(&text),
            Canary::PaysTooMuch => pays_more(&text),
            Canary::BendsBranch => bent(&text),
            Canary::AnnouncesEasier => easier(&text),
            Canary::ReusesJobIds => same_ids(&text),
            Canary::CountsTwice => refused(&text, 22),
            Canary::TakesEverything => refused(&text, 23),
            _ => return Some(bytes),
        };
        Some(changed.into())
    }
}

/// The lines of `text` but for jobs that end so; none when none is left.
fn without_jobs(text: &str, end: &str) -> Option<String> {
    let is_job = |line: &&str| line.contains("mining.notify\",\"params") && line.contains(end);
    let rest: String = text.split_inclusive('\n').filter(|line| !is_job(line)).collect();
    (!rest.is_empty()).then_some(rest)
}

/// A proposed block whose header has another merkle root, which stands after version and parent.
fn another_root(body: &[u8]) -> Bytes {
    let mut body = body.to_vec();
    let data = body.windows(8).position(|part| part == b"\"data\":\"").map(|at| at + 8);
    if let Some(digit) = data.and_then(|data| body.get_mut(data + 2 * 36)) {
        *digit = if *digit == b'0' { b'1' } else { b'0' };
    }
    body.into()
}

/// Records on their way to the share log: what is written instead.
fn shares(canary: Canary, records: Bytes) -> Bytes {
    match canary {
        Canary::WritesSharesTwice => [&records[..], &records[..]].concat().into(),
        Canary::CreditsMore => {
            let text = String::from_utf8_lossy(&records).into_owned();
            text.lines().map(worth_more).collect::<String>().into()
        }
        _ => records,
    }
}

/// One share's line with another difficulty, and a checksum that fits it.
fn worth_more(line: &str) -> String {
    let changed = line.replacen("\"difficulty\":\"", "\"difficulty\":\"2", 1);
    let body = changed.split(",\"crc32\"").next().unwrap_or_default();
    format!("{body},\"crc32\":\"{:08x}\"}}\n", crc32(body.as_bytes()))
}

/// The same extranonce1 for everybody.
fn extranonce(text: &str) -> String {
    let Some((head, rest)) = text.split_once("]],\"") else { return text.to_owned() };
    [head, "]],\"00000000", rest.get(8..).unwrap_or_default()].concat()
}

/// A refusal with this code turned into a yes.
fn refused(text: &str, code: u8) -> String {
    let lines = text.split_inclusive('\n').map(|line| {
        match line.split_once(&format!("\"result\":null,\"error\":[{code},")) {
            Some((head, _)) => format!("{head}\"result\":true,\"error\":null}}\n"),
            None => line.to_owned(),
        }
    });
    lines.collect()
}

/// A first digit of the difficulty that is one less; a tenth where it is 1.
fn easier(text: &str) -> String {
    let head = "set_difficulty\",\"params\":[0.";
    let Some(start) = text.find(head).map(|place| place + head.len()) else {
        return text.to_owned();
    };
    let digit = text[start..].find(|digit: char| digit != '0').map(|place| place + start);
    let Some(place) = digit else { return text.to_owned() };
    let value = text[place..=place].parse::<u8>().unwrap_or(1);
    let mut easier = text.to_owned();
    easier.replace_range(place..=place, &value.saturating_sub(1).to_string());
    easier
}

/// Another first digit in the merkle branch.
fn bent(text: &str) -> String {
    let Some(place) = text.find("\",[\"").map(|place| place + 4) else { return text.to_owned() };
    let digit = if text[place..].starts_with('0') { "1" } else { "0" };
    let mut bent = text.to_owned();
    bent.replace_range(place..=place, digit);
    bent
}

/// Every run's job ids are those of the first.
fn same_ids(text: &str) -> String {
    let head = "mining.notify\",\"params\":[\"";
    let Some(place) = text.find(head).map(|place| place + head.len()) else {
        return text.to_owned();
    };
    let mut same = text.to_owned();
    same.replace_range(place..place + 8, "00000001");
    same
}

const M7: &str = "6a25d1617368";
/// Where h* begins and ends after the start of an M7, in hex digits.
const H_STAR: std::ops::Range<usize> = 14..78;

/// The h* of the first two commitments exchanged.
fn swapped(text: &str) -> String {
    let places: Vec<usize> = text.match_indices(M7).map(|(place, _)| place).collect();
    let [one, two, ..] = places[..] else { return text.to_owned() };
    let h_star = |place: usize| text[place + H_STAR.start..place + H_STAR.end].to_owned();
    let (first, second) = (h_star(one), h_star(two));
    let mut swapped = text.to_owned();
    swapped.replace_range(one + H_STAR.start..one + H_STAR.end, &second);
    swapped.replace_range(two + H_STAR.start..two + H_STAR.end, &first);
    swapped
}

/// One more in the lowest byte of what the payout gets.
fn pays_more(text: &str) -> String {
    let Some(place) = text.find("1600145a5a").and_then(|place| place.checked_sub(16)) else {
        return text.to_owned();
    };
    let low = u8::from_str_radix(&text[place..place + 2], 16).unwrap_or(0).wrapping_add(1);
    let mut changed = text.to_owned();
    changed.replace_range(place..place + 2, &format!("{low:02x}"));
    changed
}
