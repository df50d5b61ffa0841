//! A job with a coinbase alone, for as long as the node takes for the whole one (`EMPTY_FIRST`).
//!
//! It holds no bid and so no commitment, not even one of our own sidechains: theirs are for the
//! tip, and nobody was asked. The whole job follows as one of the same tip, that is not clean.

use std::sync::Arc;

use super::Pool;
use super::work::Settled;
use crate::clock::Now;
use crate::mining::template::Template;

impl Pool {
    /// A node has a new tip, and this is what can be mined on it so far.
    pub(super) fn on_tip_alone(&mut self, now: Now, template: Arc<Template>) {
        let parent = template.parent;
        if self.jobs.current().is_some_and(|job| job.template.parent == parent) {
            return;
        }
        // The template of the tip before is good for nothing any more.
        self.work.forget_template();
        self.publish(now, &Settled::alone(template));
    }
}
