//! What the client says: requests and answers as lines, and which requests wait for an answer.
//!
//! Why together: an id is given out, written and remembered in one step, so no answer can be
//! mistaken for another's. What is not here: when something is said (`client`).

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::value::RawValue;

use crate::client::{ClientConfig, Share, VERSION_MASK};
use crate::persona::Opening;

/// A request of ours.
#[derive(Debug)]
pub(super) enum Request {
    /// `mining.configure`.
    Configure,
    /// `mining.subscribe`.
    Subscribe,
    /// `mining.extranonce.subscribe`.
    SubscribeExtranonce,
    /// `mining.suggest_difficulty`.
    SuggestDifficulty,
    /// `mining.authorize`.
    Authorize,
    /// `mining.submit`.
    Submit(Share),
}

impl Request {
    /// The method it calls.
    pub(super) fn method(&self) -> &'static str {
        match self {
            Self::Configure => "mining.configure",
            Self::Subscribe => "mining.subscribe",
            Self::SubscribeExtranonce => "mining.extranonce.subscribe",
            Self::SuggestDifficulty => "mining.suggest_difficulty",
            Self::Authorize => "mining.authorize",
            Self::Submit(_) => "mining.submit",
        }
    }
}

/// The requests of one connection.
#[derive(Debug, Default)]
pub(super) struct Requests {
    /// The id of the last one.
    last_id: u64,
    /// Those without an answer.
    pending: BTreeMap<u64, Request>,
    /// Lines to send.
    outgoing: Vec<u8>,
}

impl Requests {
    /// Makes one request of the opening, unless the configuration leaves it out.
    pub(super) fn open_with(&mut self, opening: Opening, config: &ClientConfig) {
        match opening {
            Opening::Configure => {
                if config.version_rolling {
                    #[derive(Serialize)]
                    struct Options {
                        #[serde(rename = "version-rolling.mask")]
                        mask: String,
                        #[serde(rename = "version-rolling.min-bit-count")]
                        bits_min: u32,
                    }
                    let options = Options { mask: format!("{VERSION_MASK:08x}"), bits_min: 2 };
                    self.request(Request::Configure, &(["version-rolling"], options));
                }
            }
            Opening::Subscribe => {
                self.request(Request::Subscribe, &[&config.persona.user_agent]);
            }
            Opening::SubscribeExtranonce => {
                self.request::<[(); 0]>(Request::SubscribeExtranonce, &[]);
            }
            Opening::SuggestDifficulty => {
                if let Some(difficulty) = config.suggest_difficulty {
                    #[expect(clippy::expect_used, reason = "a law of target's tests")]
                    let number = RawValue::from_string(difficulty.to_string())
                        .expect("a difficulty is written as a JSON number");
                    self.request(Request::SuggestDifficulty, &[number]);
                }
            }
            Opening::Authorize => {
                self.request(Request::Authorize, &[&config.user, &config.password]);
            }
        }
    }

    /// Queues a request and remembers what its answer will mean.
    pub(super) fn request<P: Serialize>(&mut self, request: Request, params: &P) {
        #[derive(Serialize)]
        struct Form<'a, P> {
            id: u64,
            method: &'static str,
            params: &'a P,
        }
        self.last_id += 1;
        self.write_line(&Form { id: self.last_id, method: request.method(), params });
        self.pending.insert(self.last_id, request);
    }

    /// Queues an answer to a request of the server.
    pub(super) fn answer(&mut self, id: &RawValue, result: Result<&str, &str>) {
        #[derive(Serialize)]
        struct Form<'a> {
            id: &'a RawValue,
            result: Option<&'a str>,
            error: Option<(i64, &'a str, ())>,
        }
        let error = result.err().map(|message| (20, message, ()));
        self.write_line(&Form { id, result: result.ok(), error });
    }

    /// The request that an answer with this id is for; it no longer waits.
    pub(super) fn answered(&mut self, id: &RawValue) -> Option<Request> {
        self.pending.remove(&id.get().parse().ok()?)
    }

    /// The lines to send, which may be none.
    pub(super) fn take_outgoing(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.outgoing)
    }

    /// Shares without an answer.
    pub(super) fn shares(&self) -> impl Iterator<Item = &Share> {
        self.pending.values().filter_map(|request| match request {
            Request::Submit(share) => Some(share),
            Request::Configure
            | Request::Subscribe
            | Request::SubscribeExtranonce
            | Request::SuggestDifficulty
            | Request::Authorize => None,
        })
    }

    /// Whether an answer is due without which mining cannot go on.
    pub(super) fn awaits_answer(&self) -> bool {
        self.pending.values().any(|request| match request {
            Request::Subscribe | Request::Authorize | Request::Submit(_) => true,
            Request::Configure | Request::SubscribeExtranonce | Request::SuggestDifficulty => false,
        })
    }

    fn write_line<T: Serialize>(&mut self, message: &T) {
        #[expect(clippy::expect_used, reason = "text and numbers into memory")]
        serde_json::to_writer(&mut self.outgoing, message).expect("a Vec takes every write");
        self.outgoing.push(b'\n');
    }
}
