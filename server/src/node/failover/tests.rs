//! Two and three nodes of words: whose templates are mined on, and for how long.

use super::*;
use crate::bmm::auction::Mode;
use crate::config::tests::config;
use crate::mining::hex;
use crate::mining::template::witness_commitment;

type Reply = Result<HttpReply, CallError>;

#[expect(clippy::unnecessary_wraps, reason = "a reply is what comes of a call")]
fn http(status: u16, body: &str) -> Reply {
    Ok(HttpReply { status, body: Bytes::copy_from_slice(body.as_bytes()) })
}

/// An empty template for `height` on a parent of one repeated byte.
fn template(parent: u8, height: u32) -> Reply {
    let parent = hex::encode(&[parent; 32]);
    let commitment = hex::encode(witness_commitment(&[]).as_bytes());
    http(
        200,
        &format!(
            r#"{{"result":{{"version":536870912,"rules":["segwit"],"vbrequired":0,
            "previousblockhash":"{parent}","transactions":[],"coinbasevalue":5000000000,
            "mintime":1699999400,"curtime":1700000000,"bits":"207fffff",
            "height":{height},"default_witness_commitment":"{commitment}"}},"id":1}}"#
        ),
    )
}

/// What a node does with whatever it is asked.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Does {
    /// Gives templates on this parent, of this height.
    Gives(u8, u32),
    Refuses,
    /// Says nothing until it does something else.
    Hangs,
    /// Answers after so many seconds.
    Crawls(u64),
    /// Is set up for another chain.
    IsElsewhere,
}

/// Some nodes, and what came of following them.
struct Rig {
    nodes: Failover,
    does: Vec<Does>,
    /// Questions that wait for their answer: since when, to whom.
    open: Vec<(Instant, usize, Question)>,
    now: Instant,
    /// The parents that miners were sent to, each with its node's place.
    mined: Vec<(usize, u8)>,
    fatal: Option<String>,
}

impl Rig {
    fn new(does: &[Does]) -> Self {
        let config = Config {
            nodes: vec![NodeRole::Follow; does.len()],
            refresh: Duration::from_secs(30),
            blind: Mode::Off,
            ..config()
        };
        let (open, mined, fatal) = (Vec::new(), Vec::new(), None);
        let nodes = Failover::new(&config);
        Self { nodes, does: does.to_vec(), open, now: Instant::ZERO, mined, fatal }
    }

    /// Two nodes of one mind, for long enough that anything is steady.
    fn settled() -> Self {
        let mut rig = Self::new(&[Does::Gives(1, 101); 2]);
        rig.pass(40);
        rig
    }

    fn reply(&self, node: usize, question: Question) -> Reply {
        match (self.does[node], question) {
            (Does::Refuses | Does::Hangs, _) => Err(CallError::Connect("refused".to_owned())),
            (Does::IsElsewhere, _) => http(200, r#"{"result":{"chain":"main","blocks":1},"id":1}"#),
            (_, Question::ChainInfo) => {
                http(200, r#"{"result":{"chain":"regtest","blocks":100},"error":null,"id":1}"#)
            }
            (Does::Gives(parent, height), _) => template(parent, height),
            (Does::Crawls(_), _) => template(1, 101),
        }
    }

    fn hear(&mut self, news: &News, node: usize) {
        match news {
            News::Nothing => {}
            News::Template(template) | News::Alone(template) => {
                self.mined.push((node, template.parent[0]));
            }
            News::Fatal(why) => self.fatal = Some(why.clone()),
        }
    }

    fn lead(&self) -> usize {
        self.nodes.followers[self.nodes.lead].node
    }

    /// Lets so many seconds pass.
    fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds * 100 {
            self.step();
        }
    }

    /// After how many milliseconds, give or take a step, somebody else is followed.
    fn changes_after(&mut self) -> u128 {
        let (since, lead) = (self.now, self.lead());
        while self.lead() == lead {
            assert!(self.now.since(since).as_secs() < 300, "still {lead}");
            self.step();
        }
        self.now.since(since).as_millis()
    }

    /// A hundredth of a second. Who hangs is given up on after ten seconds.
    fn step(&mut self) {
        self.now = self.now + Duration::from_millis(10);
        while let Some((node, question, _)) = self.nodes.poll_question(self.now) {
            self.open.push((self.now, node, question));
        }
        for (since, node, question) in core::mem::take(&mut self.open) {
            let waited = self.now.since(since).as_secs();
            let (due, reply) = match self.does[node] {
                Does::Hangs => (waited >= 10, Err(CallError::Timeout)),
                Does::Crawls(seconds) => (waited >= seconds, self.reply(node, question)),
                Does::Gives(..) | Does::Refuses | Does::IsElsewhere => {
                    (true, self.reply(node, question))
                }
            };
            if due {
                let news = self.nodes.on_reply(self.now, node, question, &reply);
                self.hear(&news, node);
            } else {
                self.open.push((since, node, question));
            }
        }
        if let Some(template) = self.nodes.weigh(self.now) {
            let lead = self.lead();
            self.hear(&News::Template(template), lead);
        }
        let change = self.nodes.next_change();
        assert!(change.is_none_or(|when| when > self.now), "a wake that is dealt with is gone");
    }
}

#[test]
fn the_preferred_node_is_followed_while_it_is_well() {
    let mut rig = Rig::settled();
    assert!(rig.mined.iter().all(|mined| *mined == (0, 1)), "{:?}", rig.mined);
    let mut alone = Rig::new(&[Does::Hangs]);
    alone.pass(100);
    assert_eq!((alone.lead(), alone.nodes.next_change()), (0, None), "there is nobody else");
    rig.does[1] = Does::Refuses;
    rig.pass(100);
    assert_eq!(rig.lead(), 0);
}

#[test]
fn a_node_that_fails_is_left_and_gone_back_to_when_it_is_steady() {
    for (trouble, least, most) in [(Does::Refuses, 1_000, 11_100), (Does::Hangs, 5_000, 15_100)] {
        let mut rig = Rig::settled();
        rig.does[0] = trouble;
        let left = rig.changes_after();
        assert!((least..=most).contains(&left), "{trouble:?}: {left} ms, a refresh at most before");
        rig.pass(100);
        assert_eq!(rig.lead(), 1);
        rig.does[0] = Does::Gives(1, 101);
        let back = rig.changes_after();
        assert!((29_000..=41_000).contains(&back), "{trouble:?}: {back} ms");
        assert!(rig.mined.iter().all(|(_, parent)| *parent == 1));
    }
}

/// DESIGN: never flip-flop the miners.
#[test]
fn a_node_that_comes_and_goes_is_left_once() {
    let mut rig = Rig::settled();
    let mut changes = 0;
    let mut lead = rig.lead();
    for round in 0..60 {
        rig.does[0] = if round % 2 == 0 { Does::Refuses } else { Does::Gives(1, 101) };
        rig.pass(12);
        changes += usize::from(rig.lead() != lead);
        lead = rig.lead();
    }
    assert_eq!((changes, lead), (1, 1));
    // Nor is one that takes too long for each template.
    let mut rig = Rig::settled();
    rig.does[0] = Does::Crawls(7);
    assert!(rig.changes_after() <= 15_100);
    rig.pass(200);
    assert_eq!(rig.lead(), 1);
}

#[test]
fn a_node_that_lags_is_left_after_a_moment_and_one_that_only_differs_is_not() {
    let mut rig = Rig::settled();
    rig.does[1] = Does::Gives(2, 102);
    let left = rig.changes_after();
    assert!((2_000..=12_100).contains(&left), "{left} ms, two of them after it was asked");
    assert_eq!(rig.mined.last(), Some(&(1, 2)));
    // The preferred one is at the same height, on another block: it waits for the next.
    rig.does[0] = Does::Gives(3, 102);
    rig.pass(100);
    assert_eq!(rig.lead(), 1);
    rig.does[0] = Does::Gives(4, 103);
    rig.changes_after();
    assert_eq!((rig.lead(), rig.mined.last()), (0, Some(&(0, 4))));
    let mut rig = Rig::settled();
    rig.does[1] = Does::Gives(3, 101);
    rig.pass(100);
    assert_eq!(rig.lead(), 0);
}

/// Its last block may never have left the node that is gone, and may have won all the same.
#[test]
fn miners_are_not_sent_to_a_lower_tip_at_once() {
    let mut rig = Rig::settled();
    rig.does[0] = Does::Gives(2, 102);
    rig.pass(12);
    rig.does[0] = Does::Refuses;
    let left = rig.changes_after();
    assert!((31_000..=41_100).contains(&left), "{left}");
    assert_eq!(rig.mined.last(), Some(&(1, 1)));

    // Once the other has it, there is no reason to wait.
    let mut rig = Rig::settled();
    rig.does[0] = Does::Gives(2, 102);
    rig.pass(12);
    rig.does = vec![Does::Refuses, Does::Gives(2, 102)];
    assert!(rig.changes_after() <= 11_100);
}

#[test]
fn templates_that_make_no_job_are_a_reason_to_leave_for_a_while() {
    let mut rig = Rig::settled();
    rig.nodes.on_job(rig.now, false);
    assert_eq!(rig.changes_after(), 1_000);
    rig.nodes.on_job(rig.now, true);
    let back = rig.changes_after();
    assert!((58_000..=61_000).contains(&back), "{back}: another chance");
}

#[test]
fn who_is_first_to_be_well_is_mined_on_at_the_start() {
    let mut rig = Rig::new(&[Does::Refuses, Does::Hangs, Does::Gives(1, 101)]);
    assert!(rig.changes_after() <= 1_100);
    assert_eq!(rig.lead(), 2);
    let mut rig = Rig::new(&[Does::Crawls(2), Does::Gives(1, 101)]);
    rig.pass(20);
    assert_eq!(rig.mined.first(), Some(&(0, 1)), "a slow start is no failure");
    let mut rig = Rig::new(&[Does::Refuses; 2]);
    rig.pass(20);
    assert_eq!(rig.mined, []);
    rig.does[1] = Does::Gives(1, 101);
    rig.pass(1);
    assert_eq!(rig.mined.first(), Some(&(1, 1)));
}

#[test]
fn nodes_that_are_set_up_wrongly_end_it_only_together() {
    let mut rig = Rig::new(&[Does::IsElsewhere, Does::Gives(1, 101)]);
    rig.pass(20);
    assert_eq!((rig.lead(), &rig.fatal), (1, &None));
    rig.does[0] = Does::Gives(1, 101);
    rig.changes_after();
    assert_eq!(rig.lead(), 0, "it was put right");
    let mut rig = Rig::new(&[Does::IsElsewhere; 2]);
    rig.pass(1);
    assert!(rig.fatal.is_some_and(|why| why.matches("NETWORK=main").count() == 2));
}
