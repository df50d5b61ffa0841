//! `drivechain-stratum doctor`: looks at everything that mining needs, before a miner waits for it.
//!
//! Each family of checks is a file: it asks, and a pure function makes a [`Line`] of the answer, so
//! that every verdict is tested on answers alone. A check that depends on a failed one is not
//! made, and says so. Every question has a bounded time, so a node that hangs does not hang the
//! doctor. Nothing is changed but for a file in the data directory that is gone afterwards.
//!
//! **Invariant:** the settings are the server's and are read as it reads them; the block that is
//! proposed to a node is the one that the server would make.

#![expect(clippy::disallowed_methods, reason = "a second shell: it looks at the machine")]

mod ask;
mod clock;
mod descriptors;
mod disk;
mod node;
mod payout;
mod ports;
mod publisher;
mod report;
mod sidechain;
mod template;

use std::sync::Arc;

use tokio::task::JoinSet;

pub use self::report::{Line, Report, Section, Verdict};
use crate::settings::Settings;

/// Makes every check, those of different nodes and daemons at the same time.
pub async fn examine(settings: &Settings) -> Report {
    let settings = Arc::new(settings.clone());
    let mut others = JoinSet::new();
    let nodes = node::all(&settings);
    let daemons = settings.sidechains.len();
    for (place, node) in nodes.into_iter().enumerate() {
        let settings = Arc::clone(&settings);
        others.spawn(async move { (place, node.examine(&settings).await) });
    }
    let first_daemon = others.len();
    for place in 0..daemons {
        let settings = Arc::clone(&settings);
        others.spawn(async move {
            (first_daemon + place, sidechain::examine(&settings.sidechains[place]).await)
        });
    }
    let mut examined = others.join_all().await;
    examined.sort_by_key(|(place, _)| *place);
    let (mut sections, mut reward) = (Vec::new(), None);
    for (_, node::Examined { section, reward: its }) in examined {
        sections.push(section);
        reward = reward.or(its);
    }
    sections.push(here(&settings, reward).await);
    Report { sections }
}

/// What is no node's business; `reward` is what the next block pays, in satoshis, where a node
/// said so.
async fn here(settings: &Settings, reward: Option<u64>) -> Section {
    let mut lines = payout::lines(settings, reward);
    let (disk, in_use) = disk::examine(&settings.data_dir).await;
    lines.extend(disk);
    lines.push(descriptors::examine(settings.max_connections));
    lines.extend(ports::examine(settings, in_use).await);
    Section { subject: "this machine".to_owned(), lines }
}
