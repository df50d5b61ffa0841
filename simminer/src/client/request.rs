//! What the client says: requests and answers as lines, and which requests wait for an answer.
//!
//! Why together: an id is given out, written and remembered in one step, so no answer can be
//! mistaken for another's. What is not here: when something is said (`client`).

use std::collections::VecDeque;

use serde::Serialize;
use serde_json::value::RawValue;

use crate::client::{ClientConfig, Share};
use crate::persona::{Ids, Opening};

/// A request of ours.
#[derive(Debug)]
pub(super) enum Request {
    /// `mining.configure`.
    Configure,
    /// `mining.multi_version`.
    MultiVersion,
    /// `mining.subscribe`.
    Subscribe,
    /// `mining.extranonce.subscribe`.
    SubscribeExtranonce,
    /// `mining.capabilities`.
    Capabilities,
    /// `mining.suggest_target`.
    SuggestTarget,
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
            Self::MultiVersion => "mining.multi_version",
            Self::Subscribe => "mining.subscribe",
            Self::SubscribeExtranonce => "mining.extranonce.subscribe",
            Self::Capabilities => "mining.capabilities",
            Self::SuggestTarget => "mining.suggest_target",
            Self::SuggestDifficulty => "mining.suggest_difficulty",
            Self::Authorize => "mining.authorize",
            Self::Submit(_) => "mining.submit",
        }
    }
}

/// The requests of one connection.
#[derive(Debug)]
pub(super) struct Requests {
    ids: Ids,
    /// How many there were.
    count: u64,
    /// Those without an answer, each with its id as JSON, in order: ids may repeat.
    pending: VecDeque<(String, Request)>,
    /// Lines to send.
    outgoing: Vec<u8>,
}

/// Target of difficulty 1, as `mining.suggest_target` has it.
const TARGET_OF_ONE: &str = "00000000ffff0000000000000000000000000000000000000000000000000000";

impl Requests {
    /// Nothing was asked yet.
    pub(super) fn new(ids: Ids) -> Self {
        Self { ids, count: 0, pending: VecDeque::new(), outgoing: Vec::new() }
    }

    /// Makes one request of the opening, unless the configuration leaves it out.
    pub(super) fn open_with(&mut self, opening: Opening, config: &ClientConfig) {
        let persona = &config.persona;
        match opening {
            Opening::Configure => {
                if config.version_rolling {
                    #[derive(Serialize)]
                    struct Options<'a> {
                        #[serde(rename = "version-rolling.mask")]
                        mask: &'a str,
                        #[serde(
                            rename = "version-rolling.min-bit-count",
                            skip_serializing_if = "Option::is_none"
                        )]
                        bits_min: Option<u32>,
                    }
                    let options = Options { mask: &persona.mask, bits_min: persona.mask_bits_min };
                    self.request(Request::Configure, &(["version-rolling"], options));
                }
            }
            Opening::MultiVersion => {
                if config.version_rolling {
                    self.request(Request::MultiVersion, &[4]);
                }
            }
            Opening::Subscribe => {
                let name = core::iter::once(Some(&persona.user_agent));
                let rest = persona.subscribe_rest.iter().map(Option::as_ref);
                self.request(Request::Subscribe, &name.chain(rest).collect::<Vec<_>>());
            }
            Opening::SubscribeExtranonce => {
                self.request::<[(); 0]>(Request::SubscribeExtranonce, &[]);
            }
            Opening::Capabilities => {
                #[derive(Serialize)]
                struct Offer {
                    notify: [(); 0],
                    set_goal: [(); 0],
                }
                self.request(Request::Capabilities, &[Offer { notify: [], set_goal: [] }]);
            }
            Opening::SuggestTarget => self.request(Request::SuggestTarget, &[TARGET_OF_ONE]),
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
            id: &'a RawValue,
            method: &'static str,
            params: &'a P,
        }
        self.count += 1;
        let id = self.id_of(&request);
        #[expect(clippy::expect_used, reason = "numbers, null and plain names")]
        let raw = RawValue::from_string(id.clone()).expect("an id is JSON");
        self.write_line(&Form { id: &raw, method: request.method(), params });
        self.pending.push_back((id, request));
    }

    fn id_of(&self, request: &Request) -> String {
        match (self.ids, request) {
            (Ids::SubmitAlways(id), Request::Submit(_)) => id.to_string(),
            (Ids::Named, Request::Authorize) => "\"auth\"".to_owned(),
            (Ids::Named, Request::SubscribeExtranonce) => "\"xnsub\"".to_owned(),
            (
                Ids::Named,
                Request::Capabilities | Request::SuggestTarget | Request::SuggestDifficulty,
            ) => "null".to_owned(),
            (Ids::Counted | Ids::SubmitAlways(_) | Ids::Named, _) => self.count.to_string(),
        }
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

    /// The oldest request that an answer with this id is for; it no longer waits.
    pub(super) fn answered(&mut self, id: &RawValue) -> Option<Request> {
        let place = self.pending.iter().position(|(known, _)| known == id.get())?;
        self.pending.remove(place).map(|(_, request)| request)
    }

    /// Whether a line with this id answers the oldest request.
    pub(super) fn is_next(&self, id: &RawValue) -> bool {
        self.pending.front().is_some_and(|(known, _)| known == id.get())
    }

    /// Whether every request is answered.
    pub(super) fn is_idle(&self) -> bool {
        self.pending.is_empty()
    }

    /// The lines to send, which may be none.
    pub(super) fn take_outgoing(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.outgoing)
    }

    /// Shares without an answer.
    pub(super) fn shares(&self) -> impl Iterator<Item = &Share> {
        self.pending.iter().filter_map(|(_, request)| match request {
            Request::Submit(share) => Some(share),
            Request::Configure
            | Request::MultiVersion
            | Request::Subscribe
            | Request::SubscribeExtranonce
            | Request::Capabilities
            | Request::SuggestTarget
            | Request::SuggestDifficulty
            | Request::Authorize => None,
        })
    }

    /// Whether an answer is due without which mining cannot go on.
    pub(super) fn awaits_answer(&self) -> bool {
        self.pending.iter().any(|(_, request)| match request {
            Request::Subscribe | Request::Authorize | Request::Submit(_) => true,
            Request::Configure
            | Request::MultiVersion
            | Request::SubscribeExtranonce
            | Request::Capabilities
            | Request::SuggestTarget
            | Request::SuggestDifficulty => false,
        })
    }

    fn write_line<T: Serialize>(&mut self, message: &T) {
        #[expect(clippy::expect_used, reason = "text and numbers into memory")]
        serde_json::to_writer(&mut self.outgoing, message).expect("a Vec takes every write");
        self.outgoing.push(b'\n');
    }
}
