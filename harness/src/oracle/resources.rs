//! RES-1, RES-2: everything that could grow is bounded, and nothing of a miner stays behind.

#![expect(clippy::wildcard_enum_match_arm, reason = "most of what is seen holds nothing")]

use std::collections::BTreeSet;

use super::casebook::{Casebook, Fact};
use super::{Broken, Oracle, Scene, hold};
use crate::sim::observe::Observation;

/// Calls under way at a time, beside one for each block and each daemon.
const CALLS_MAX: usize = 4 + 16;
/// Blocks that can be under way at a time before calls are too many.
const BLOCKS_MAX: usize = 64;
/// One job that is sent before the outbox is looked at.
const NOTIFY_BYTES: usize = 64 * 1_024;

/// Judges what is held.
#[derive(Debug, Default)]
pub(super) struct Resources {
    calls: BTreeSet<u64>,
}

impl Oracle for Resources {
    fn see(&mut self, scene: &Scene<'_>, book: &Casebook, fact: &Fact) -> Result<(), Broken> {
        let limits = &scene.settings.limits;
        let Fact::Seen(what) = fact else { return Ok(()) };
        match what {
            Observation::Ended(_) => self.calls.clear(),
            Observation::Called { call, .. } => {
                let most = CALLS_MAX + BLOCKS_MAX + scene.settings.daemons.len();
                let new = self.calls.insert(*call);
                hold("RES-1", new, || format!("call {call} is made twice"))?;
                return hold("RES-1", self.calls.len() <= most, || {
                    format!("{} calls are under way, at most {most}", self.calls.len())
                });
            }
            Observation::Replied { call, .. } | Observation::Cancelled { call } => {
                self.calls.remove(call);
            }
            Observation::Sent { conn, .. } => {
                let session = book.sessions.get(conn);
                let unflushed = session.map_or(0, |session| session.unflushed);
                return hold("RES-1", unflushed <= limits.outbox_bytes + NOTIFY_BYTES, || {
                    format!(
                        "{unflushed} bytes wait for conn {conn}, at most {}",
                        limits.outbox_bytes
                    )
                });
            }
            Observation::Done => {
                let served = book.sessions.values().filter(|session| !session.closing).count();
                return hold("RES-1", served <= limits.sessions, || {
                    format!("{served} sessions are served, at most {}", limits.sessions)
                });
            }
            _ => {}
        }
        Ok(())
    }

    fn finish(&mut self, scene: &Scene<'_>, book: &Casebook) -> Result<(), Broken> {
        hold("RES-2", book.sessions.is_empty(), || {
            let conns: Vec<_> = book.sessions.keys().collect();
            format!("the miners have left, and connections {conns:?} are still held")
        })?;
        hold("RES-2", scene.sessions == Some(0), || {
            format!("the miners have left, and the server counts {:?} sessions", scene.sessions)
        })
    }
}
