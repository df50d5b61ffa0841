//! How a miner behaves where the protocol leaves it a choice.
//!
//! Why data and not code: real miners differ in the order and the pace of what they say, not in
//! what a valid line is. A persona is those habits; `client` follows them and `runtime` keeps to
//! their pace. The habits of real firmware are in `family`. What is not here: bytes that break the
//! protocol.

mod family;

pub use family::FAMILIES;

/// Submissions that may wait for an answer before a miner holds back; ASICs stay far below.
const UNANSWERED_MAX: usize = 16;

/// The habits of one kind of miner.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Persona {
    /// What it calls itself in `mining.subscribe` and `client.get_version`.
    pub user_agent: String,
    /// What it says on a new connection, in order.
    pub opening: Vec<Opening>,
    /// Whether it waits for each answer of the opening, and takes the next line for it: one that is
    /// not ends the connection, as it does with the real firmware.
    pub line_strict: bool,
    /// What follows the name in `mining.subscribe`; none is a null.
    pub subscribe_rest: Vec<Option<String>>,
    /// The version bits that it asks for, as written.
    pub mask: String,
    /// How many of them it needs, if it says so.
    pub mask_bits_min: Option<u32>,
    /// How it numbers its requests.
    pub ids: Ids,
    /// What its submissions carry as a sixth parameter.
    pub version: VersionParameter,
    /// Whether its nonces lose their leading zeros.
    pub short_nonce: bool,
    /// Bytes of each half of the coinbase that it can hold.
    pub coinbase_half_max: usize,
    /// Submissions that may wait for an answer at once; hashing pauses at this number.
    pub unanswered_max: usize,
}

/// How requests are numbered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ids {
    /// From 1, each its own.
    Counted,
    /// From 1, but every submission has this one.
    SubmitAlways(u64),
    /// By what is asked, as text, or null where no answer is waited for.
    Named,
}

/// What stands for the rolled version bits in a submission.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum VersionParameter {
    /// The bits, once rolling was granted (BIP-0310).
    Bits,
    /// How the version differs from the job's.
    Difference,
    /// The whole version.
    Whole,
}

/// A request of the opening. One that the miner was told not to make is left out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Opening {
    /// `mining.configure`, asking for version rolling (BIP-0310).
    Configure,
    /// `mining.multi_version`, which is version rolling without a mask.
    MultiVersion,
    /// `mining.subscribe`.
    Subscribe,
    /// `mining.extranonce.subscribe`.
    SubscribeExtranonce,
    /// `mining.capabilities`.
    Capabilities,
    /// `mining.suggest_target`, of difficulty 1.
    SuggestTarget,
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
            line_strict: false,
            subscribe_rest: Vec::new(),
            mask: "1fffe000".to_owned(),
            mask_bits_min: Some(2),
            ids: Ids::Counted,
            version: VersionParameter::Bits,
            short_nonce: false,
            coinbase_half_max: usize::MAX,
            unanswered_max: UNANSWERED_MAX,
        }
    }

    /// The family of real miners called `name`, one of [`FAMILIES`].
    pub fn family(name: &str) -> Option<Self> {
        family::persona(name)
    }
}
