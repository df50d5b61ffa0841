//! What a miner takes that does nothing: the server's memory before and after they came.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::report::{IdleReport, float};
use super::session::open_all;
use super::{LoadError, LoadOptions, Target, process};

/// How long the server may settle before it is looked at.
const SETTLING: Duration = Duration::from_secs(2);

/// Looks, connects, looks again.
pub(super) async fn measure(
    options: &LoadOptions,
    target: &Target,
) -> Result<IdleReport, LoadError> {
    // One miner first: what the first costs is the server's warming up.
    let _first = open_all(target, 1).await?;
    let rss = || target.pid.map(process::rss_bytes).transpose();
    let before = rss()?;
    let miners = open_all(target, options.connections).await?;
    sleep_until(Instant::now() + SETTLING).await;
    let after = rss()?;
    let grown = before.zip(after).map(|(before, after)| after.saturating_sub(before));
    Ok(IdleReport {
        connections: miners.len(),
        rss_before_bytes: before,
        rss_after_bytes: after,
        bytes_per_connection: grown.map(|grown| float(grown) / float(miners.len() as u64)),
    })
}
