//! The submitter against nodes of words: who is handed what when, and what is made of the answers.

use super::*;

type Reply = Result<HttpReply, CallError>;

#[expect(clippy::unnecessary_wraps, reason = "the form in which replies come")]
fn answer(status: u16, body: &str) -> Reply {
    Ok(HttpReply { status, body: Bytes::copy_from_slice(body.as_bytes()) })
}

fn says(word: &str) -> Reply {
    answer(200, &format!(r#"{{"result":{word},"error":null,"id":1}}"#))
}

/// A block on a parent of one repeated byte.
fn block(parent: u8, seed: u8) -> FoundBlock {
    FoundBlock { height: 1, hash: [seed; 32], bytes: [vec![0; 4], vec![parent; 80]].concat() }
}

/// A submitter and the time.
struct Rig {
    submitter: Submitter,
    now: Instant,
}

impl Rig {
    fn new(nodes: usize) -> Self {
        let submitter = Submitter::new(nodes, Duration::from_millis(200));
        Self { submitter, now: Instant::ZERO }
    }

    fn found(nodes: usize, block: &FoundBlock) -> Self {
        let mut rig = Self::new(nodes);
        assert!(rig.submitter.offer(rig.now, block));
        rig
    }

    /// Node and block of every call that is due.
    fn handed(&mut self) -> Vec<(usize, u8)> {
        let mut calls = Vec::new();
        while let Some((node, hash, body)) = self.submitter.poll_submission(self.now) {
            assert!(body.starts_with(br#"{"jsonrpc":"2.0","id":1,"method":"submitblock""#));
            calls.push((node, hash[0]));
        }
        calls
    }

    fn reply(&mut self, node: usize, block: u8, reply: &Reply) -> Judged {
        self.submitter.on_reply(self.now, node, [block; 32], reply).expect("it was asked")
    }

    /// What becomes of the block by this reply.
    fn settled(&mut self, node: usize, block: u8, word: &str) -> Option<Verdict> {
        self.reply(node, block, &says(word)).settled
    }

    fn wait(&mut self, time: Duration) -> Vec<(usize, u8)> {
        self.now = self.now + time;
        self.handed()
    }
}

/// FAILURES 11: neither error may be taken for the other.
#[test]
fn verdicts_are_told_apart() {
    let rejected = |why: &str| Verdict::Rejected(why.to_owned());
    let check = |status, body, expected| {
        assert_eq!(Verdict::read(&answer(status, body)), expected, "{body}");
    };
    check(200, r#"{"result":null,"error":null,"id":1}"#, Verdict::Accepted);
    check(200, r#"{"result":"duplicate","id":1}"#, Verdict::Duplicate);
    check(200, r#"{"result":"inconclusive","id":1}"#, Verdict::Inconclusive);
    check(200, r#"{"result":"duplicate-inconclusive","id":1}"#, Verdict::Inconclusive);
    check(200, r#"{"result":"duplicate-invalid","id":1}"#, rejected("duplicate-invalid"));
    check(200, r#"{"result":"bad-cb-amount","id":1}"#, rejected("bad-cb-amount"));
    let undecodable = r#"{"result":null,"error":{"code":-22,"message":"Block decode failed"}}"#;
    check(500, undecodable, rejected("Block decode failed"));
    let unknown = |reply| assert!(matches!(Verdict::read(&reply), Verdict::Unknown(_)));
    unknown(answer(200, "{}"));
    unknown(answer(200, "{\"result\":nul"));
    unknown(answer(200, r#"{"result":5,"id":1}"#));
    unknown(answer(200, r#"{"result":true,"id":1}"#));
    unknown(answer(500, "<html>oops</html>"));
    unknown(answer(503, "Work queue depth exceeded"));
    unknown(answer(401, ""));
    unknown(answer(500, r#"{"result":null,"error":{"code":-28,"message":"Loading"}}"#));
    unknown(Err(CallError::Timeout));
    unknown(Err(CallError::Broken("reset".to_owned())));
    unknown(Err(CallError::Connect("refused".to_owned())));
}

#[test]
fn offered_until_there_is_a_verdict_and_then_never_again() {
    let block = block(9, 1);
    let mut rig = Rig::found(1, &block);
    assert!(!rig.submitter.offer(rig.now, &block), "the same block once");
    for _ in 0..5 {
        assert_eq!(rig.handed(), [(0, 1)], "one question at a time");
        let judged = rig.reply(0, 1, &Err(CallError::Timeout));
        assert!(matches!(judged.verdict, Verdict::Unknown(_)) && judged.settled.is_none());
        assert_eq!(rig.handed(), [], "a pause first");
        rig.now = rig.submitter.next_submission().expect("again, later");
    }
    assert_eq!(rig.now.since(Instant::ZERO).as_millis(), 50 + 100 + 200 + 200 + 200);
    assert_eq!(rig.handed(), [(0, 1)]);
    let judged = rig.reply(0, 1, &says("null"));
    assert_eq!((judged.settled, judged.block), (Some(Verdict::Accepted), block.clone()));
    assert_eq!((rig.submitter.pending(), rig.submitter.next_submission()), (0, None));
    assert!(!rig.submitter.offer(rig.now, &block), "judged");
}

#[test]
fn two_blocks_at_once_both_go_out() {
    let mut rig = Rig::found(1, &block(9, 1));
    assert!(rig.submitter.offer(rig.now, &block(9, 2)));
    assert_eq!(rig.handed(), [(0, 1), (0, 2)]);
}

#[test]
fn every_node_is_handed_the_block_at_once_and_the_first_yes_settles_it() {
    let mut rig = Rig::found(3, &block(9, 1));
    assert_eq!(rig.handed(), [(0, 1), (1, 1), (2, 1)]);
    assert_eq!(rig.reply(0, 1, &Err(CallError::Timeout)).settled, None);
    assert_eq!(rig.settled(1, 1, "null"), Some(Verdict::Accepted));
    assert_eq!(rig.submitter.pending(), 0, "nobody needs to wait");
    assert_eq!(rig.settled(2, 1, "\"duplicate\""), None, "once");
    assert_eq!(rig.wait(Duration::from_millis(50)), [(0, 1)], "who was away is still offered it");
    let judged = rig.reply(0, 1, &Err(CallError::Timeout));
    assert!(!judged.first && judged.settled.is_none());
    assert_eq!(rig.wait(Duration::from_millis(4_999)), [], "without haste");
    assert_eq!(rig.wait(Duration::from_millis(1)), [(0, 1)]);
    assert_eq!(rig.settled(0, 1, "\"duplicate\""), None);
    assert_eq!(rig.submitter.next_submission(), None);
}

/// A silent node may have the block in its chain: only its own word, or much time, ends the hope.
#[test]
fn bad_news_waits_for_better() {
    let mut rig = Rig::found(2, &block(9, 1));
    rig.handed();
    assert_eq!(rig.settled(0, 1, "\"inconclusive\""), None);
    assert_eq!(rig.submitter.pending(), 1);
    assert_eq!(rig.settled(1, 1, "null"), Some(Verdict::Accepted));

    let mut rig = Rig::found(2, &block(9, 1));
    rig.handed();
    assert_eq!(rig.settled(0, 1, "\"bad-cb-amount\""), None);
    assert_eq!(rig.settled(1, 1, "\"inconclusive\""), Some(Verdict::Inconclusive));

    let mut rig = Rig::found(2, &block(9, 1));
    rig.handed();
    assert_eq!(rig.settled(0, 1, "\"inconclusive\""), None);
    let mut settled = None;
    while settled.is_none() {
        settled = rig.reply(1, 1, &Err(CallError::Timeout)).settled;
        rig.now = rig.submitter.next_submission().unwrap_or(rig.now);
        rig.handed();
        assert!(rig.now.since(Instant::ZERO) < PATIENCE * 2, "it ends");
    }
    assert_eq!(settled, Some(Verdict::Inconclusive));
    assert!(rig.now.since(Instant::ZERO) >= PATIENCE);
    assert_eq!(rig.submitter.next_submission(), None);
}

/// A node that is a block behind has not judged ours.
#[test]
fn a_node_without_the_parent_is_asked_again() {
    let mut rig = Rig::found(1, &block(9, 1));
    rig.handed();
    assert_eq!(rig.settled(0, 1, "\"prev-blk-not-found\""), None);
    assert_eq!(rig.wait(Duration::from_millis(50)), [(0, 1)]);
    assert_eq!(rig.settled(0, 1, "null"), Some(Verdict::Accepted));

    let mut rig = Rig::found(1, &block(9, 1));
    rig.handed();
    rig.now = rig.now + PATIENCE;
    let never = Some(Verdict::Rejected(PARENT_UNKNOWN.to_owned()));
    assert_eq!(rig.settled(0, 1, "\"prev-blk-not-found\""), never);
}

#[test]
fn only_so_many_settled_blocks_are_still_offered() {
    let mut rig = Rig::new(2);
    for seed in 0..40 {
        assert!(rig.submitter.offer(rig.now, &block(seed, seed)));
        rig.handed();
        assert!(rig.settled(0, seed, "null").is_some());
        rig.now = rig.now + Duration::from_millis(1);
    }
    assert_eq!(rig.submitter.offers.len(), STRAGGLERS_MAX);
    let gone = rig.submitter.on_reply(rig.now, 1, [0; 32], &says("null"));
    assert_eq!(gone, None);
}

#[test]
fn nodes_that_took_different_blocks_of_ours_are_made_one() {
    let mut rig = Rig::found(2, &block(9, 1));
    assert!(rig.submitter.offer(rig.now, &block(9, 2)));
    rig.handed();
    let mut prefers = |node, block, word: &str| rig.reply(node, block, &says(word)).prefer;
    assert_eq!(prefers(0, 1, "null"), None, "the first");
    assert_eq!(prefers(1, 2, "null"), None, "it may not have the first");
    assert_eq!(prefers(0, 2, "\"inconclusive\""), None, "this node is right");
    assert_eq!(prefers(1, 1, "\"inconclusive\""), Some([1; 32]), "now it has it");

    // With one node there is nobody to disagree.
    let mut rig = Rig::found(1, &block(9, 1));
    assert!(rig.submitter.offer(rig.now, &block(9, 2)));
    rig.handed();
    assert_eq!(rig.reply(0, 2, &says("null")).prefer, None);
    assert_eq!(rig.reply(0, 1, &says("\"inconclusive\"")).prefer, None);
}
