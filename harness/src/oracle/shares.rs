//! SHARE-1, SHARE-2: every verdict on a share, worked out again from the wire.
//!
//! A submission must be taken when nothing speaks against it, and refused for one of the reasons
//! that do. No header is ever taken twice, in whatever session or run.

use std::collections::BTreeSet;

use super::casebook::{Asks, Casebook, Fact, Reply, Submission};
use super::{Broken, Oracle, Scene};
use crate::sim::queue::Micros;

/// Judges shares.
#[derive(Debug, Default)]
pub(super) struct Shares {
    /// Hashes of the headers that were taken, in all runs.
    taken: BTreeSet<[u8; 32]>,
    /// When as many shares as may be waited for the disk.
    full: Option<Micros>,
}

impl Oracle for Shares {
    fn see(&mut self, scene: &Scene<'_>, book: &Casebook, fact: &Fact) -> Result<(), Broken> {
        if book.unkept.len() >= scene.settings.limits.journal_waiting {
            self.full = Some(scene.now);
        }
        if let Fact::Answered(reply) = fact
            && let Asks::Submit(submission) = &reply.request.asks
        {
            // Judged when it came, and answered when the block before it was safe.
            let full = self.full.is_some_and(|full| full >= reply.request.at);
            return self.judge(reply, submission, full);
        }
        Ok(())
    }
}

impl Shares {
    /// `full` is whether since it came no share more could be counted before the disk took some.
    fn judge(&mut self, reply: &Reply, submission: &Submission, full: bool) -> Result<(), Broken> {
        let (conn, id) = (reply.conn, &reply.request.id);
        let broken = |law, what| Err(Broken { law, what });
        let repeated = submission.hash.is_some_and(|hash| self.taken.contains(&hash));
        let codes = &submission.verdict.codes;
        match &reply.result {
            Ok(result) if result == "true" => {
                if repeated {
                    let what = format!("conn {conn}: request {id} is taken, and was before");
                    return broken("SHARE-1", what);
                }
                if !codes.is_empty() {
                    let what = format!("conn {conn}: request {id} is taken and deserves {codes:?}");
                    return broken("SHARE-2", what);
                }
                self.taken.extend(submission.hash);
                Ok(())
            }
            Ok(result) => broken("SHARE-2", format!("conn {conn}: request {id} gets {result}")),
            Err(22) if repeated => Ok(()),
            Err(20) if submission.verdict.open || (full && codes.is_empty()) => Ok(()),
            Err(code) if codes.contains(code) => Ok(()),
            Err(code) => broken(
                "SHARE-2",
                format!("conn {conn}: request {id} is refused with {code} and deserves {codes:?}"),
            ),
        }
    }
}
