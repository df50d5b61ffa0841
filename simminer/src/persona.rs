//! How a miner behaves where the protocol leaves it a choice.
//!
//! Why data and not code: real miners differ in the order and the pace of what they say, not in
//! what a valid line is. A persona is those habits; `client` follows them and `runtime` keeps to
//! their pace. What is not here: bytes that break the protocol.

/// Submissions that may wait for an answer before a miner holds back; ASICs stay far below.
const UNANSWERED_MAX: usize = 16;

/// The habits of one kind of miner.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Persona {
    /// What it calls itself in `mining.subscribe` and `client.get_version`.
    pub user_agent: String,
    /// What it says on a new connection, in order and without waiting for answers.
    pub opening: Vec<Opening>,
    /// Submissions that may wait for an answer at once; hashing pauses at this number.
    pub unanswered_max: usize,
}

/// A request of the opening. One that the miner was told not to make is left out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Opening {
    /// `mining.configure`, asking for version rolling (BIP-0310).
    Configure,
    /// `mining.subscribe`.
    Subscribe,
    /// `mining.extranonce.subscribe`.
    SubscribeExtranonce,
    /// `mining.suggest_difficulty`.
    SuggestDifficulty,
    /// `mining.authorize`.
    Authorize,
}

impl Persona {
    /// Keeps to the protocol, pipelines its opening as Bitaxe does, and settles everything that
    /// governs the first job before it authorizes.
    pub fn honest() -> Self {
        Self {
            user_agent: format!("simminer/{}", env!("CARGO_PKG_VERSION")),
            opening: vec![
                Opening::Configure,
                Opening::Subscribe,
                Opening::SubscribeExtranonce,
                Opening::SuggestDifficulty,
                Opening::Authorize,
            ],
            unanswered_max: UNANSWERED_MAX,
        }
    }
}
