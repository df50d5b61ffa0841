//! REPLY-1, REPLY-2, REPLY-3: every request gets its one reply, in its turn, and nothing else.

use super::casebook::{Asks, Casebook, Fact};
use super::{Broken, Oracle, Scene, hold};
use crate::sim::observe::{Observation, Phase};

/// How long a reply may take when nothing goes wrong, in microseconds: a block must be safe first.
const PATIENCE_US: u64 = 30_000_000;

/// Judges replies.
#[derive(Debug, Default)]
pub(super) struct Replies {
    /// When the quiet phase began.
    quiet: Option<u64>,
}

impl Oracle for Replies {
    fn see(&mut self, scene: &Scene<'_>, book: &Casebook, fact: &Fact) -> Result<(), Broken> {
        match fact {
            Fact::Seen(Observation::Phase(Phase::Quiet)) => self.quiet = Some(scene.now.0),
            Fact::Seen(Observation::Phase(Phase::Drain)) => {
                for (conn, session) in &book.sessions {
                    let due = session.asked.front().filter(|request| {
                        let since = request.at.0.max(self.quiet.unwrap_or(0));
                        scene.now.0 - since > PATIENCE_US && !matches!(request.asks, Asks::Other)
                    });
                    hold("REPLY-1", due.is_none() || session.closing, || {
                        format!("conn {conn} never got a reply to {due:?}")
                    })?;
                }
            }
            Fact::Seen(Observation::Complaint { miner, what }) => {
                return hold("REPLY-2", false, || format!("honest miner {miner} says: {what}"));
            }
            Fact::Answered(reply) => match &reply.request.asks {
                Asks::Subscribe => {
                    hold("REPLY-1", reply.result.is_ok(), || {
                        format!("conn {} may not subscribe: {:?}", reply.conn, reply.result)
                    })?;
                }
                Asks::Nonsense => {
                    hold("REPLY-3", reply.result.is_err(), || {
                        format!("conn {}: nonsense is answered {:?}", reply.conn, reply.result)
                    })?;
                }
                Asks::Authorize(_)
                | Asks::Configure
                | Asks::MultiVersion
                | Asks::Submit(_)
                | Asks::Other => {}
            },
            Fact::Seen(_)
            | Fact::Asked(..)
            | Fact::Job(..)
            | Fact::Notified(..)
            | Fact::Logged(_) => {}
        }
        Ok(())
    }
}
