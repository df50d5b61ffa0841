//! Which calls of several engines are one call.
//!
//! An engine believes that what it is told is not older than what it knew when it asked. So a
//! question joins one that is on its way only if nothing was heard of anybody since that one was
//! asked, and an answer is given to a later question only if it is the last thing that was heard.
//! A long poll is held back until there is news, whenever it was asked, so it is always joined. And
//! no engine is given an answer that it had, or was waiting for: it asks again because it wants
//! another.
//!
//! **Invariant:** knows no channel and no task; a question is its bytes.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::Answer;
use crate::node::rpc;

/// How long the last answer is as good as new. Engines that ask a moment apart come into step by
/// it, and stay there.
const FRESH: Duration = Duration::from_millis(250);

/// The host's place, and the request.
pub(super) type Question = (usize, Bytes);

/// What becomes of a question.
#[derive(Debug)]
pub(super) enum Asked<W> {
    /// It waits for the answer of one that is on its way.
    Joined,
    /// This is its answer.
    Known(W, Answer),
    /// It is to be asked by this number.
    New(u64),
}

#[derive(Debug)]
struct UnderWay<W> {
    number: u64,
    question: Question,
    /// How much had been heard when it was asked.
    heard: u64,
    /// Who asked it, whether or not they still wait.
    engines: Vec<usize>,
    waiting: Vec<W>,
}

#[derive(Debug)]
struct Last {
    question: Question,
    engines: Vec<usize>,
    answer: Answer,
    came: Instant,
}

/// Questions on their way, each with those who wait for its answer.
#[derive(Debug)]
pub(super) struct Joining<W> {
    under_way: Vec<UnderWay<W>>,
    /// The answer that is the last thing heard, and was asked for after all else.
    last: Option<Last>,
    heard: u64,
    asked: u64,
}

impl<W> Default for Joining<W> {
    fn default() -> Self {
        Self { under_way: Vec::new(), last: None, heard: 0, asked: 0 }
    }
}

impl<W> Joining<W> {
    /// `engine` asks `question`; `waiter` is who waits for the answer.
    pub(super) fn ask(
        &mut self,
        now: Instant,
        engine: usize,
        question: Question,
        waiter: W,
    ) -> Asked<W> {
        let (parks, heard) = (rpc::is_parked(&question.1), self.heard);
        let joins = |call: &&mut UnderWay<W>| {
            call.question == question
                && !call.engines.contains(&engine)
                && (parks || call.heard == heard)
        };
        if let Some(call) = self.under_way.iter_mut().find(joins) {
            call.engines.push(engine);
            call.waiting.push(waiter);
            return Asked::Joined;
        }
        let fresh = |last: &&mut Last| {
            last.question == question && !last.engines.contains(&engine) && now - last.came <= FRESH
        };
        if let Some(last) = self.last.as_mut().filter(fresh) {
            last.engines.push(engine);
            return Asked::Known(waiter, last.answer.clone());
        }
        self.asked += 1;
        self.under_way.push(UnderWay {
            number: self.asked,
            question,
            heard,
            engines: vec![engine],
            waiting: vec![waiter],
        });
        Asked::New(self.asked)
    }

    /// The call `number` was answered: everybody who waits for it. None when it was given up.
    pub(super) fn answered(&mut self, now: Instant, number: u64, answer: &Answer) -> Vec<W> {
        let Some(place) = self.under_way.iter().position(|call| call.number == number) else {
            return Vec::new();
        };
        let call = self.under_way.swap_remove(place);
        let is_newest = call.heard == self.heard && !rpc::is_parked(&call.question.1);
        self.heard();
        let UnderWay { question, engines, waiting, .. } = call;
        self.last =
            is_newest.then(|| Last { question, engines, answer: answer.clone(), came: now });
        waiting
    }

    /// Something was heard that nobody asked for.
    pub(super) fn heard(&mut self) {
        self.heard += 1;
        self.last = None;
    }

    /// Gives up the calls that nobody waits for any more, and names them.
    pub(super) fn give_up(&mut self, is_gone: impl Fn(&W) -> bool) -> Vec<u64> {
        let mut gone = Vec::new();
        self.under_way.retain(|call| {
            let is_wanted = call.waiting.iter().any(|waiter| !is_gone(waiter));
            gone.extend((!is_wanted).then_some(call.number));
            is_wanted
        });
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::rpc::HttpReply;

    const TEMPLATE: &str = "{\"method\":\"getblocktemplate\",\"params\":[{}]}";
    const LONG_POLL: &str = "{\"method\":\"getblocktemplate\",\"params\":[{\"longpollid\":\"7\"}]}";

    /// A feed whose waiters are their names, and the words for what it did.
    struct Story {
        joining: Joining<&'static str>,
        now: Instant,
    }

    impl Story {
        fn ask(&mut self, engine: usize, text: &'static str, who: &'static str) -> String {
            let question = (0, Bytes::from_static(text.as_bytes()));
            match self.joining.ask(self.now, engine, question, who) {
                Asked::Joined => "joined".to_owned(),
                Asked::Known(_, answer) => format!("known: {:?}", answer.map(|reply| reply.status)),
                Asked::New(number) => format!("new {number}"),
            }
        }

        fn answered(&mut self, number: u64, status: u16) -> Vec<&'static str> {
            let answer = Ok(HttpReply { status, body: Bytes::new() });
            self.joining.answered(self.now, number, &answer)
        }
    }

    fn story() -> Story {
        Story { joining: Joining::default(), now: Instant::now() }
    }

    #[test]
    fn what_is_asked_at_one_time_is_asked_once() {
        let mut feed = story();
        assert_eq!(feed.ask(0, TEMPLATE, "a"), "new 1");
        assert_eq!(feed.ask(1, TEMPLATE, "b"), "joined");
        assert_eq!(feed.ask(0, LONG_POLL, "c"), "new 2", "another question");
        assert_eq!(feed.answered(1, 200), ["a", "b"]);
        assert_eq!(feed.ask(2, TEMPLATE, "d"), "known: Ok(200)", "a moment later");
        assert_eq!(feed.ask(2, TEMPLATE, "d"), "new 3", "it had that one");
        assert_eq!(feed.answered(1, 200), [""; 0], "it is answered already");
        feed.now += FRESH * 2;
        assert_eq!(feed.ask(1, TEMPLATE, "e"), "joined");
        assert_eq!(feed.answered(3, 200), ["d", "e"]);
        feed.now += FRESH * 2;
        assert_eq!(feed.ask(0, TEMPLATE, "f"), "new 4", "too old");
    }

    #[test]
    fn an_answer_is_never_older_than_what_the_asker_may_know() {
        let mut feed = story();
        assert_eq!(feed.ask(0, TEMPLATE, "a"), "new 1");
        feed.joining.heard();
        assert_eq!(feed.ask(1, TEMPLATE, "b"), "new 2", "a notice came since the first was asked");
        assert_eq!(feed.answered(1, 200), ["a"]);
        assert_eq!(feed.ask(2, TEMPLATE, "c"), "new 3", "an answer came since both were asked");
        assert_eq!(feed.answered(2, 200), ["b"]);
        assert_eq!(feed.answered(3, 500), ["c"]);
        assert_eq!(feed.ask(1, TEMPLATE, "d"), "new 4", "the last answer was to an old question");
    }

    #[test]
    fn a_long_poll_is_joined_whenever_it_was_asked_but_not_known_afterwards() {
        let mut feed = story();
        assert_eq!(feed.ask(0, LONG_POLL, "a"), "new 1");
        feed.joining.heard();
        assert_eq!(feed.ask(1, LONG_POLL, "b"), "joined");
        assert_eq!(feed.ask(1, LONG_POLL, "c"), "new 2", "it does not want that one");
        assert_eq!(feed.answered(1, 200), ["a", "b"]);
        assert_eq!(feed.ask(2, LONG_POLL, "d"), "joined", "the one that is still held back");
        assert_eq!(feed.answered(2, 200), ["c", "d"]);
        assert_eq!(feed.ask(0, LONG_POLL, "e"), "new 3", "its answer would not be news");
    }

    #[test]
    fn nobody_joins_what_nobody_waits_for() {
        let mut feed = story();
        assert_eq!(feed.ask(0, TEMPLATE, "a"), "new 1");
        assert_eq!(feed.ask(1, TEMPLATE, "b"), "joined");
        assert_eq!(feed.joining.give_up(|who| *who == "a"), [0; 0]);
        assert_eq!(feed.joining.give_up(|_| true), [1]);
        assert_eq!(feed.ask(2, TEMPLATE, "c"), "new 2");
    }
}
