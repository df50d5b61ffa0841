//! What may be done to a call.

use std::fmt;
use std::time::Duration;

/// One way in which a call goes wrong.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fault {
    /// The node carries it out; its reply is lost with the connection.
    ReplyLost,
    /// The connection is reset while the request is being sent; the node never hears of it.
    Reset,
    /// HTTP 500 and nothing more; the node never hears of it.
    Broken,
    /// The node is shown no password, and says 401.
    Unauthorized,
    /// The node carries it out; half of the reply's JSON comes back.
    Truncated,
    /// HTTP 200 and a page in HTML; the node never hears of it.
    Html,
    /// Nothing for so long, then the connection ends; the node never hears of it.
    HangBefore(Duration),
    /// The node carries it out; nothing comes back for so long, then the connection ends.
    HangAfter(Duration),
    /// A null, as for a block that was taken, and the node never hears of it. No server can stand
    /// that: it is here to show that the loss is noticed.
    Lie,
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ReplyLost => formatter.write_str("reply lost after effect"),
            Self::Reset => formatter.write_str("reset mid-request"),
            Self::Broken => formatter.write_str("500"),
            Self::Unauthorized => formatter.write_str("401"),
            Self::Truncated => formatter.write_str("truncated JSON"),
            Self::Html => formatter.write_str("HTML body with 200"),
            Self::HangBefore(time) => {
                write!(formatter, "hang of {} s before effect", time.as_secs())
            }
            Self::HangAfter(time) => write!(formatter, "hang of {} s after effect", time.as_secs()),
            Self::Lie => formatter.write_str("lie"),
        }
    }
}

/// Which calls.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Methods {
    /// Calls of this method.
    Only(&'static str),
    /// Every call.
    All,
}

impl Methods {
    /// Whether a call of `method` is meant.
    pub fn has(self, method: &str) -> bool {
        match self {
            Self::Only(name) => name == method,
            Self::All => true,
        }
    }
}

impl fmt::Display for Methods {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Only(name) => name,
            Self::All => "any call",
        })
    }
}
