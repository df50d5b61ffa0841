//! The follower against a node of words: what is asked when, what is believed, what is said.

use std::collections::BTreeMap;
use std::sync::mpsc;

use proptest::prelude::*;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Level, Metadata, subscriber};

use super::*;
use crate::config::tests::config;
use crate::mining::hex;
use crate::mining::template::witness_commitment;

type Reply = Result<HttpReply, CallError>;

const REFRESH: Duration = Duration::from_secs(10);

#[expect(clippy::unnecessary_wraps, reason = "a reply is what comes of a call")]
fn http(status: u16, body: &str) -> Reply {
    Ok(HttpReply { status, body: Bytes::copy_from_slice(body.as_bytes()) })
}

fn chain(name: &str) -> Reply {
    http(200, &format!(r#"{{"result":{{"chain":"{name}","blocks":100}},"error":null,"id":1}}"#))
}

fn refusal(code: i64) -> Reply {
    http(500, &format!(r#"{{"result":null,"error":{{"code":{code},"message":"no"}},"id":1}}"#))
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
            "longpollid":"{parent}","mintime":1699999400,"curtime":1700000000,"bits":"207fffff",
            "height":{height},"default_witness_commitment":"{commitment}"}},"id":1}}"#
        ),
    )
}

/// A follower and the time.
struct Rig {
    follower: Follower,
    now: Instant,
}

impl Rig {
    fn new() -> Self {
        Self::blind(Mode::Off)
    }

    fn blind(mode: Mode) -> Self {
        Self::with(&Config { blind: mode, ..config() })
    }

    fn with(config: &Config) -> Self {
        Self { follower: Follower::new(0, REFRESH, config), now: Instant::ZERO }
    }

    /// One that was answered by a node whose tip is `[1; 32]` at height 100, and that long polls.
    fn following() -> Self {
        Self::new().followed()
    }

    fn followed(self) -> Self {
        let mut rig = self;
        assert_eq!(rig.asks(), [Question::ChainInfo]);
        rig.reply(Question::ChainInfo, &chain("regtest"));
        assert_eq!(rig.asks(), [Question::Template]);
        assert_eq!(rig.mines_on(Question::Template, &template(1, 101)), Some(1));
        assert_eq!(rig.asks(), [Question::LongPoll]);
        rig
    }

    fn asks(&mut self) -> Vec<Question> {
        let mut asked = Vec::new();
        while let Some((question, body)) = self.follower.poll_question(self.now) {
            let body = String::from_utf8(body.to_vec()).expect("JSON is UTF-8");
            assert_eq!(body.contains("longpollid"), question == Question::LongPoll, "{body}");
            asked.push(question);
        }
        asked
    }

    fn wait(&mut self, time: Duration) -> Vec<Question> {
        self.now = self.now + time;
        self.asks()
    }

    /// Milliseconds until something is asked.
    fn pause(&self) -> Option<u128> {
        self.follower.next_question().map(|when| when.since(self.now).as_millis())
    }

    fn reply(&mut self, question: Question, reply: &Reply) -> News {
        self.follower.on_reply(self.now, question, reply)
    }

    /// The parent that a believed template builds on.
    fn mines_on(&mut self, question: Question, reply: &Reply) -> Option<u8> {
        match self.reply(question, reply) {
            News::Template(template) => Some(template.parent[0]),
            News::Nothing | News::Alone(_) => None,
            News::Fatal(why) => panic!("{why}"),
        }
    }

    fn fatal(&mut self, question: Question, reply: &Reply) -> String {
        match self.reply(question, reply) {
            News::Fatal(why) => why,
            other @ (News::Nothing | News::Template(_) | News::Alone(_)) => {
                panic!("not fatal: {other:?}")
            }
        }
    }
}

#[test]
fn bids_are_looked_for_every_second_and_past_the_nodes_cache() {
    let mut rig = Rig::blind(Mode::On).followed();
    assert_eq!(rig.wait(Duration::from_millis(999)), []);
    assert_eq!(rig.wait(Duration::from_millis(1)), [Question::Template]);
    for (mode, fresh) in [(Mode::On, true), (Mode::Off, false)] {
        let mut follower = Rig::blind(mode).followed().follower;
        let (_, body) = follower.poll_question(Instant::ZERO + REFRESH).expect("the refresh");
        let body = String::from_utf8_lossy(&body).into_owned();
        assert_eq!(body.contains("blockreservedweight"), fresh, "{body}");
    }
}

#[test]
fn a_changed_mempool_is_looked_at_soon_and_at_a_pace() {
    let mut rig = Rig::blind(Mode::On).followed();
    let changed = |rig: &mut Rig| rig.follower.look_at_mempool(rig.now);
    rig.now = rig.now + Duration::from_millis(300);
    changed(&mut rig);
    assert_eq!(rig.asks(), [Question::Template], "at once, for the last look is long ago");
    changed(&mut rig);
    rig.now = rig.now + Duration::from_millis(50);
    rig.mines_on(Question::Template, &template(1, 101));
    assert_eq!(rig.pause(), Some(150), "it took 50 ms, so 200 ms after it began");
    let mut off = Rig::following();
    changed(&mut off);
    assert_eq!(off.pause(), Some(REFRESH.as_millis()), "nobody wants bids");
}

#[test]
fn a_tip_that_was_heard_of_is_waited_for() {
    let mut rig = Rig::following();
    rig.follower.expect_tip(rig.now, [2; 32], None);
    assert_eq!(rig.asks(), [Question::Template]);
    assert_eq!(rig.mines_on(Question::Template, &template(1, 101)), None, "it lags");
    assert_eq!(rig.wait(LAG_PAUSE), [Question::Template]);
    assert_eq!(rig.mines_on(Question::Template, &template(2, 102)), Some(2));
    rig.follower.expect_tip(rig.now, [2; 32], None);
    assert_eq!(rig.asks(), [], "it is known");
    // A third block overtook the news of a second.
    rig.follower.expect_tip(rig.now, [7; 32], None);
    assert_eq!(rig.asks(), [Question::Template]);
    assert_eq!(rig.mines_on(Question::Template, &template(3, 103)), Some(3));
}

#[test]
fn nothing_is_mined_before_the_chain_is_the_right_one() {
    let mut rig = Rig::new();
    assert_eq!(rig.asks(), [Question::ChainInfo]);
    let why = rig.fatal(Question::ChainInfo, &chain("main"));
    assert!(why.contains("set NETWORK=main") && why.contains("RPC_PORT"), "{why}");
    for status in [401, 403] {
        let mut rig = Rig::new();
        rig.asks();
        let why = rig.fatal(Question::ChainInfo, &http(status, ""));
        assert!(why.contains("RPC_USER and RPC_PASSWORD"), "{why}");
    }
}

#[test]
fn a_node_that_knows_templates_only_is_followed_too() {
    let mut rig = Rig::new();
    rig.asks();
    rig.reply(Question::ChainInfo, &refusal(METHOD_NOT_FOUND));
    assert_eq!(rig.asks(), [Question::Template]);
}

#[test]
fn what_passes_is_asked_again_with_growing_pauses() {
    let troubles: [fn() -> Reply; 6] = [
        || Err(CallError::Connect("refused".to_owned())),
        || Err(CallError::Timeout),
        || Err(CallError::Broken("reset".to_owned())),
        || refusal(-28),
        || http(500, "<html>oops</html>"),
        || http(200, r#"{"result":{}}"#),
    ];
    for trouble in troubles {
        let mut rig = Rig::new();
        for pause in [50, 100, 200, 400, 500, 500] {
            assert_eq!(rig.asks(), [Question::ChainInfo]);
            assert_eq!(rig.pause(), None, "one question at a time");
            assert!(matches!(rig.reply(Question::ChainInfo, &trouble()), News::Nothing));
            assert_eq!(rig.pause(), Some(pause));
            assert_eq!(rig.asks(), [], "a pause first");
            rig.now = rig.follower.next_question().expect("again, later");
        }
        assert_eq!(rig.asks(), [Question::ChainInfo]);
        rig.reply(Question::ChainInfo, &chain("regtest"));
        assert_eq!(rig.asks(), [Question::Template], "at once");
        rig.reply(Question::Template, &refusal(-10));
        assert_eq!(rig.pause(), Some(50), "what worked starts anew");
    }
}

#[test]
fn a_template_that_fails_its_checks_is_asked_for_again() {
    let mut rig = Rig::following();
    assert_eq!(rig.wait(REFRESH), [Question::Template]);
    let Ok(reply) = template(2, 102) else { unreachable!("made here") };
    let body = String::from_utf8(reply.body.to_vec()).expect("JSON is UTF-8");
    let signet = body.replace("[\"segwit\"]", "[\"!signet\"]");
    assert_ne!(signet, body);
    assert_eq!(rig.mines_on(Question::Template, &http(200, &signet)), None);
    assert_eq!(rig.pause(), Some(50));
    assert_eq!(rig.follower.tip(), Some([1; 32]));
}

#[test]
fn which_replies_are_believed() {
    // Tip [1; 32] at height 100 is known; a long poll from then is out.
    let believed = |first: (u8, u32), old: (u8, u32)| {
        let mut rig = Rig::following();
        assert_eq!(rig.wait(REFRESH), [Question::Template]);
        rig.mines_on(Question::Template, &template(first.0, first.1));
        let tip = rig.mines_on(Question::LongPoll, &template(old.0, old.1));
        (tip, rig.asks().contains(&Question::Template))
    };
    let check = |first, old, expected| assert_eq!(believed(first, old), expected);
    check((1, 101), (2, 102), (Some(2), false)); // a new tip
    check((1, 101), (1, 101), (Some(1), false)); // the same, with other transactions
    check((1, 101), (3, 101), (Some(3), false)); // equal height: a reorganisation
    check((1, 101), (4, 90), (Some(4), false)); // lower: a longer one
    check((2, 102), (2, 102), (Some(2), false)); // what is known by now
    check((2, 102), (3, 103), (Some(3), false)); // overtaken, but it knows more
    check((2, 102), (3, 102), (None, true)); // overtaken: may be older; ask
    check((2, 102), (1, 101), (None, true)); // overtaken: older; ask
}

#[test]
fn after_a_doubt_the_next_answer_is_believed_whatever_it_says() {
    let mut rig = Rig::following();
    assert_eq!(rig.wait(REFRESH), [Question::Template]);
    rig.mines_on(Question::Template, &template(2, 102));
    assert_eq!(rig.mines_on(Question::LongPoll, &template(3, 102)), None);
    assert_eq!(rig.asks(), [Question::Template, Question::LongPoll]);
    assert_eq!(rig.mines_on(Question::Template, &template(3, 102)), Some(3));
    assert_eq!(rig.follower.tip(), Some([3; 32]));
}

#[test]
fn templates_are_refreshed_and_asked_for_when_something_happened() {
    let mut rig = Rig::following();
    assert_eq!(rig.pause(), Some(10_000));
    assert_eq!(rig.wait(Duration::from_millis(9_999)), []);
    assert_eq!(rig.wait(Duration::from_millis(1)), [Question::Template]);
    rig.mines_on(Question::Template, &template(1, 101));
    rig.follower.ask_now(rig.now);
    assert_eq!(rig.asks(), [Question::Template]);
}

/// The template on its way may be from before the block that we know of.
#[test]
fn a_template_on_its_way_does_not_swallow_the_wish_for_a_newer_one() {
    let mut rig = Rig::following();
    assert_eq!(rig.wait(REFRESH), [Question::Template]);
    rig.follower.ask_now(rig.now);
    assert_eq!(rig.asks(), [], "one at a time");
    rig.mines_on(Question::Template, &template(1, 101));
    assert_eq!(rig.asks(), [Question::Template]);
    rig.mines_on(Question::Template, &template(2, 102));
    assert_eq!(rig.pause(), Some(10_000), "once");
}

#[test]
fn a_long_poll_is_always_out_and_follows_a_new_tip_at_once() {
    let mut rig = Rig::following();
    rig.now = rig.now + Duration::from_millis(3);
    assert_eq!(rig.mines_on(Question::LongPoll, &template(2, 102)), Some(2));
    assert_eq!(rig.asks(), [Question::LongPoll], "a new tip");
    rig.now = rig.now + Duration::from_secs(9);
    assert!(matches!(rig.reply(Question::LongPoll, &Err(CallError::Timeout)), News::Nothing));
    assert_eq!(rig.asks(), [Question::LongPoll], "parked for as long as it may be");
    rig.now = rig.now + Duration::from_secs(5);
    assert_eq!(rig.mines_on(Question::LongPoll, &template(2, 102)), Some(2));
    assert!(rig.asks().contains(&Question::LongPoll), "new transactions, after a while");
}

/// Some nodes answer long polls at once. Each answer is a job for every miner.
#[test]
fn a_node_that_does_not_park_long_polls_does_not_set_the_pace() {
    let mut rig = Rig::following();
    let mut jobs = 0;
    while rig.now < Instant::ZERO + REFRESH {
        jobs += u32::from(rig.mines_on(Question::LongPoll, &template(1, 101)).is_some());
        assert_eq!(rig.pause().map(|pause| pause <= 1_000), Some(true));
        rig.now = rig.follower.next_question().expect("it is asked again");
        rig.asks();
    }
    assert_eq!(jobs, 10);
}

/// A proxy that cuts long polls, a node that refuses them: templates still come, at their pace.
#[test]
fn a_failing_long_poll_leaves_templates_alone() {
    let mut rig = Rig::following();
    let (mut templates, mut polls) = (0, 0);
    let mut due = vec![Question::LongPoll];
    while rig.now < Instant::ZERO + REFRESH * 10 {
        for question in due {
            if question == Question::LongPoll {
                polls += 1;
                rig.reply(question, &refusal(-8));
            } else {
                templates += 1;
                rig.mines_on(question, &template(1, 101));
            }
        }
        rig.now = rig.now.max(rig.follower.next_question().expect("something is always due"));
        due = rig.asks();
    }
    assert!((10..=12).contains(&templates), "one a refresh, and one at the first failure");
    assert!((190..=205).contains(&polls), "with its own pauses of half a second: {polls}");
}

/// What was said: level and text of each line.
fn lines(during: impl FnOnce()) -> Vec<(Level, String)> {
    let (said, heard) = mpsc::channel();
    subscriber::with_default(Ear(said), during);
    heard.try_iter().collect()
}

struct Ear(mpsc::Sender<(Level, String)>);

#[derive(Default)]
struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn core::fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}

impl subscriber::Subscriber for Ear {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn event(&self, event: &tracing::Event<'_>) {
        let mut message = Message::default();
        event.record(&mut message);
        self.0.send((*event.metadata().level(), message.0)).expect("somebody listens");
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// Fails every question for `time` as `trouble` says.
fn suffer(rig: &mut Rig, time: Duration, mut trouble: impl FnMut(Instant) -> Reply) {
    let until = rig.now + time;
    while rig.now < until {
        for question in rig.asks() {
            rig.reply(question, &trouble(rig.now));
        }
        rig.now = rig.follower.next_question().expect("it is tried again");
    }
}

#[test]
fn one_trouble_is_one_line_a_minute() {
    let said = lines(|| {
        let mut rig = Rig::new();
        suffer(&mut rig, Duration::from_secs(150), |_| refusal(-28));
        assert_eq!(rig.asks(), [Question::ChainInfo]);
        rig.reply(Question::ChainInfo, &chain("regtest"));
    });
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    for (level, line) in said {
        *counts.entry(format!("{level} {line}")).or_default() += 1;
    }
    let line = "WARN node trouble: it says: no (code -28); it is starting up; \
                asked again until it works";
    let expected = [("INFO node is there", 1), ("INFO node works again", 1), (line, 3)];
    assert_eq!(counts, expected.map(|(line, count)| (line.to_owned(), count)).into());
}

#[test]
fn a_trouble_that_changes_is_said_but_not_each_time() {
    let mut times = Vec::new();
    let said = lines(|| {
        let mut rig = Rig::new();
        suffer(&mut rig, Duration::from_secs(20), |now| {
            times.push(now);
            http(502, &format!("<html>request {}</html>", now.as_nanos()))
        });
    });
    assert!(times.len() > 40, "tried all the time");
    assert!((18..=21).contains(&said.len()), "said once a second: {}", said.len());
}

#[test]
fn a_node_that_goes_away_is_one_trouble_and_not_two() {
    let said = lines(|| {
        let mut rig = Rig::following();
        rig.reply(Question::LongPoll, &Err(CallError::Broken("reset".to_owned())));
        suffer(&mut rig, Duration::from_secs(30), |_| Err(CallError::Connect("no".to_owned())));
    });
    let warnings: Vec<_> = said.iter().filter(|(level, _)| *level == Level::WARN).collect();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
}

#[test]
fn a_long_poll_that_fails_beside_a_healthy_node_is_said() {
    let said = lines(|| {
        let mut rig = Rig::following();
        let mut due = vec![Question::LongPoll];
        while rig.now < Instant::ZERO + Duration::from_secs(50) {
            for question in due {
                let reply = match question {
                    Question::LongPoll => Err(CallError::Broken("cut".to_owned())),
                    Question::ChainInfo | Question::Header | Question::Template => template(1, 101),
                };
                rig.reply(question, &reply);
            }
            rig.now = rig.now.max(rig.follower.next_question().expect("something is due"));
            due = rig.asks();
        }
        rig.mines_on(Question::LongPoll, &template(1, 101));
    });
    let about: Vec<_> = said.iter().filter(|(_, line)| line.contains("long poll")).collect();
    assert_eq!(about.len(), 2, "{about:?}");
    assert!(about[0].1.contains("JOB_REFRESH_INTERVAL"), "{about:?}");
    assert_eq!(about[1].1, "long poll works again");
}

/// The header of block `[hash; 32]` on `[parent; 32]`.
fn header(hash: u8, parent: u8, height: u32) -> Reply {
    let [hash, parent] = [hash, parent].map(|byte| hex::encode(&[byte; 32]));
    http(
        200,
        &format!(
            r#"{{"result":{{"hash":"{hash}","confirmations":1,"height":{height},
            "mediantime":1699999500,"bits":"207fffff","previousblockhash":"{parent}"}},"id":1}}"#
        ),
    )
}

impl Rig {
    /// One that asks for headers, on tip `[1; 32]` as [`Self::following`].
    fn early() -> Self {
        Self::with(&Config { blind: Mode::Off, empty_first: true, ..config() }).followed()
    }

    /// The parent that can be mined on with a coinbase alone.
    fn alone_on(&mut self, reply: &Reply) -> Option<u8> {
        match self.reply(Question::Header, reply) {
            News::Alone(template) => Some(template.parent[0]),
            News::Nothing => None,
            News::Template(_) | News::Fatal(_) => panic!("a header is no more than a header"),
        }
    }
}

#[test]
fn the_header_of_a_new_tip_comes_before_its_template() {
    let mut rig = Rig::early();
    rig.follower.announce_tip(rig.now, [2; 32]);
    assert_eq!(rig.asks(), [Question::Header], "the template would keep the node busy");
    assert_eq!(rig.alone_on(&header(2, 1, 101)), Some(2));
    assert_eq!(rig.asks(), [Question::Template]);
    // The node says it once more, as another topic.
    rig.follower.announce_tip(rig.now, [2; 32]);
    assert_eq!(rig.asks(), []);
    assert_eq!(rig.mines_on(Question::Template, &template(1, 101)), None, "it lags");
    assert_eq!(rig.wait(LAG_PAUSE), [Question::Template]);
    assert_eq!(rig.mines_on(Question::Template, &template(2, 102)), Some(2));
}

#[test]
fn a_header_that_does_not_come_is_not_waited_for() {
    let mut rig = Rig::early();
    rig.follower.announce_tip(rig.now, [2; 32]);
    assert_eq!(rig.asks(), [Question::Header]);
    assert_eq!(rig.pause(), Some(20));
    assert_eq!(rig.wait(Duration::from_millis(20)), [Question::Template]);
    assert_eq!(rig.mines_on(Question::Template, &template(2, 102)), Some(2));
    assert_eq!(rig.alone_on(&header(2, 1, 101)), None, "the whole template is there");
    // One that is refused, or of what is no tip any more, is no reason to wait at all.
    rig.follower.announce_tip(rig.now, [3; 32]);
    assert_eq!(rig.asks(), [Question::Header]);
    assert_eq!(rig.alone_on(&refusal(-5)), None);
    assert_eq!(rig.asks(), [Question::Template]);
}

#[test]
fn only_the_newest_tip_is_mined_on_by_its_header() {
    let mut rig = Rig::early();
    rig.follower.announce_tip(rig.now, [2; 32]);
    assert_eq!(rig.asks(), [Question::Header]);
    rig.follower.announce_tip(rig.now, [3; 32]);
    assert_eq!(rig.asks(), [], "one at a time");
    assert_eq!(rig.alone_on(&header(2, 1, 101)), None);
    assert_eq!(rig.asks(), [Question::Header]);
    assert_eq!(rig.alone_on(&header(3, 2, 102)), None, "not on what the template was for");
    assert_eq!(rig.asks(), [Question::Template]);
}

/// A long poll would have the node make a template in the moment in which the header is wanted.
#[test]
fn while_notices_are_heard_no_long_poll_is_out() {
    let mut rig = Rig::early();
    rig.follower.announce_tip(rig.now, [2; 32]);
    rig.asks();
    rig.alone_on(&header(2, 1, 101));
    assert_eq!(rig.mines_on(Question::LongPoll, &template(2, 102)), Some(2));
    assert_eq!(rig.asks(), [Question::Template], "no other long poll");
    assert_eq!(rig.mines_on(Question::Template, &template(2, 102)), Some(2));
    assert_eq!(rig.pause(), Some(1_000), "a notice may be lost");
    assert_eq!(rig.wait(Duration::from_secs(1)), [Question::Template]);
    // A tip of which there was none.
    assert_eq!(rig.mines_on(Question::Template, &template(3, 103)), Some(3));
    assert_eq!(rig.asks(), [Question::LongPoll]);
}

#[test]
fn no_header_is_asked_for_where_it_is_of_no_use() {
    let mut off = Rig::following();
    off.follower.announce_tip(off.now, [2; 32]);
    assert_eq!(off.asks(), [Question::Template], "nobody wants it");
    let mut reserve = Rig::early();
    reserve.follower.lead(reserve.now, false);
    reserve.follower.announce_tip(reserve.now, [2; 32]);
    assert_eq!(reserve.asks(), [Question::Template], "its templates are not mined on");
}

fn any_reply() -> impl Strategy<Value = Reply> {
    prop_oneof![
        (0_u8..4, 99_u32..103).prop_map(|(parent, height)| template(parent, height)),
        (0_u8..4, 0_u8..4, 99_u32..103)
            .prop_map(|(hash, parent, height)| { header(hash, parent, height) }),
        Just(chain("regtest")),
        prop_oneof![Just(-9), Just(-10), Just(-28), Just(-32601), Just(7)].prop_map(refusal),
        (200_u16..600, ".{0,40}").prop_map(|(status, body)| http(status, &body)),
        Just(Err(CallError::Timeout)),
        Just(Err(CallError::Connect("refused".to_owned()))),
        Just(Err(CallError::Broken("reset".to_owned()))),
    ]
}

proptest! {
    /// Whatever the node says and when: nothing is asked twice at a time, what is due is asked, and
    /// a node that comes to its senses is mined with.
    #[test]
    fn nothing_a_node_says_stops_the_questions(
        steps in proptest::collection::vec(
            (any::<bool>(), 0_u64..3_000, proptest::option::of(0_u8..4), any_reply()),
            0..60,
        ),
    ) {
        let mut rig = Rig::with(&Config { blind: Mode::Off, empty_first: true, ..config() });
        let mut out: Vec<Question> = Vec::new();
        for (oldest, pause, notice, reply) in steps {
            rig.now = rig.now + Duration::from_millis(pause);
            if let Some(tip) = notice {
                rig.follower.announce_tip(rig.now, [tip; 32]);
            }
            for question in rig.asks() {
                prop_assert!(!out.contains(&question), "{question:?} is out already");
                out.push(question);
            }
            let next = rig.follower.next_question();
            prop_assert!(next.is_none_or(|when| when > rig.now), "what is due was not asked");
            if !out.is_empty() {
                let question = out.remove(if oldest { 0 } else { out.len() - 1 });
                if matches!(rig.reply(question, &reply), News::Fatal(_)) {
                    return Ok(());
                }
            }
        }
        for _ in 0..10 {
            for question in core::mem::take(&mut out) {
                let good = match question {
                    Question::ChainInfo => chain("regtest"),
                    Question::Header | Question::Template | Question::LongPoll => template(9, 200),
                };
                rig.reply(question, &good);
            }
            if let Some(when) = rig.follower.next_question() {
                rig.now = rig.now.max(when);
            }
            out = rig.asks();
        }
        prop_assert_eq!(rig.follower.tip(), Some([9; 32]));
    }
}
