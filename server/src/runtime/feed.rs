//! One feed for several engines: the same question, asked by many at a time, is asked once.
//!
//! The rules by which calls are joined are in [`joining`]; here they meet channels and tasks.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

use self::joining::{Asked, Joining};
use super::calls::Calls;
use crate::node::rpc::{CallError, HttpReply};

mod joining;

/// Calls and answers that may wait for the feed.
const INBOX: usize = 1_024;

/// What came of a call.
type Answer = Result<HttpReply, CallError>;

/// What reaches the feed.
#[derive(Debug)]
enum Inbound {
    Ask { engine: usize, place: usize, body: Bytes, patience: Duration, tell: Teller },
    Answered { number: u64, answer: Answer },
    Heard,
}

type Teller = oneshot::Sender<Answer>;

/// One engine's way to the feed.
#[derive(Clone, Debug)]
pub(super) struct Feed {
    engine: usize,
    inbox: mpsc::Sender<Inbound>,
}

impl Feed {
    /// The same feed for another engine.
    pub(super) fn of_engine(&self, engine: usize) -> Self {
        Self { engine, inbox: self.inbox.clone() }
    }

    /// Something came from a node unasked: what was asked before is older than that.
    pub(super) async fn heard(&self) {
        // Without a feed there is nobody to answer either.
        self.inbox.send(Inbound::Heard).await.unwrap_or_default();
    }
}

impl Calls for Feed {
    async fn call(&self, place: usize, body: Bytes, patience: Duration) -> Answer {
        let (tell, answer) = oneshot::channel();
        let ask = Inbound::Ask { engine: self.engine, place, body, patience, tell };
        self.inbox.send(ask).await.unwrap_or_default();
        answer.await.unwrap_or_else(|_| Err(CallError::Broken("the server stops".to_owned())))
    }
}

/// A feed, for the engine 0 at first, and what makes it go: a task that makes calls by `calls`.
pub(super) fn feed(calls: impl Calls) -> (Feed, impl Future<Output = ()> + Send) {
    let (inbox, asked) = mpsc::channel(INBOX);
    let feed = Feed { engine: 0, inbox: inbox.clone() };
    // A weak way back: the feed ends with its engines.
    (feed, serve(calls, inbox.downgrade(), asked))
}

async fn serve(
    calls: impl Calls,
    back: mpsc::WeakSender<Inbound>,
    mut inbox: mpsc::Receiver<Inbound>,
) {
    let mut joining = Joining::<Teller>::default();
    let (mut tasks, mut on_their_way) = (JoinSet::new(), BTreeMap::new());
    while let Some(inbound) = inbox.recv().await {
        let now = Instant::now();
        match inbound {
            Inbound::Heard => joining.heard(),
            Inbound::Answered { number, answer } => {
                on_their_way.remove(&number);
                for teller in joining.answered(now, number, &answer) {
                    // Whoever no longer waits has let go of it.
                    teller.send(answer.clone()).unwrap_or_default();
                }
            }
            Inbound::Ask { engine, place, body, patience, tell } => {
                match joining.ask(now, engine, (place, body.clone()), tell) {
                    Asked::Joined => {}
                    Asked::Known(tell, answer) => tell.send(answer).unwrap_or_default(),
                    Asked::New(number) => {
                        let (calls, back) = (calls.clone(), back.clone());
                        let task = tasks.spawn(async move {
                            let answer = calls.call(place, body, patience).await;
                            let Some(back) = back.upgrade() else { return };
                            let answered = Inbound::Answered { number, answer };
                            back.send(answered).await.unwrap_or_default();
                        });
                        on_their_way.insert(number, task);
                    }
                }
            }
        }
        for number in joining.give_up(Teller::is_closed) {
            if let Some(task) = on_their_way.remove(&number) {
                AbortHandle::abort(&task);
            }
        }
        while tasks.try_join_next().is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reports each call, and answers when it is told to.
    #[derive(Clone)]
    struct Wire(mpsc::Sender<oneshot::Sender<u16>>);

    impl Calls for Wire {
        async fn call(&self, _: usize, body: Bytes, _: Duration) -> Answer {
            let (tell, told) = oneshot::channel();
            self.0.send(tell).await.expect("the test runs");
            let status = told.await.expect("the test answers");
            Ok(HttpReply { status, body })
        }
    }

    #[tokio::test]
    async fn two_engines_make_one_call_and_a_third_makes_its_own() {
        let (wire, mut calls) = mpsc::channel(8);
        let (feed, serving) = feed(Wire(wire));
        let serving = tokio::spawn(serving);
        let patience = Duration::from_secs(20);
        let ask = |engine| {
            let feed = feed.of_engine(engine);
            let call = async move { feed.call(0, Bytes::from_static(b"Q"), patience).await };
            tokio::spawn(call)
        };
        let (one, other) = (ask(0), ask(1));
        let wire = calls.recv().await.expect("a call");
        // Both have asked before anything else is heard.
        tokio::task::yield_now().await;
        feed.heard().await;
        let late = ask(2);
        let later = calls.recv().await.expect("another call");
        wire.send(1).expect("it is waited for");
        later.send(2).expect("it is waited for");
        for (asked, status) in [(one, 1), (other, 1), (late, 2)] {
            let answer = asked.await.expect("it ends").expect("an answer");
            assert_eq!(answer.status, status);
        }
        // Whoever no longer waits lets go of the call.
        let cancelled = ask(0);
        let mut wire = calls.recv().await.expect("a call");
        cancelled.abort();
        cancelled.await.expect_err("it was cancelled");
        feed.heard().await;
        wire.closed().await;
        assert!(calls.is_empty(), "nobody asked for more");
        drop(feed);
        serving.await.expect("it ends with its engines");
    }
}
