//! What shares cost: so many miners, each with so many shares on their way.
//!
//! As fast as it goes, each miner sends a new share for every answer, so the number on their way
//! stays. With a rate, each sends one at its time and waits for the answer: what then counts is
//! what a lone share costs a server that had gone to sleep.
//!
//! A share costs more on one machine than on another. So what the machine takes is measured in the
//! same run, by a server that does the least for the same lines ([`super::bare_server`]). The ratio
//! of the two is the server's part.

use std::path::Path;

use super::bare_process::BareProcess;
use super::grind::{Shares, grind};
use super::hashing::Hashing;
use super::report::{Latency, SharesReport, per};
use super::sender::send_all;
use super::session::open_all;
use super::{LoadError, LoadOptions, Target};

/// Grinds, then sends: to the target, and to the bare server in the program `harness`.
pub(super) async fn measure(
    options: &LoadOptions,
    target: &Target,
    harness: &Path,
) -> Result<SharesReport, LoadError> {
    let sessions = open_all(target, options.connections).await?;
    let (wires, works): (Vec<_>, Vec<_>) =
        sessions.into_iter().map(|session| (session.wire, session.work)).unzip();
    // All miners have the same job. Started before the clock is: a run whose comparison cannot take
    // place should end here.
    let hashing = works.first().map(|work| Hashing::of(work, options.nonces));
    let bare = match target.pid.and(hashing) {
        Some(hashing) => Some(BareProcess::start(harness, hashing).await?),
        None => None,
    };
    let each = options.shares.div_ceil(works.len() as u64);
    let each = usize::try_from(each).unwrap_or(usize::MAX);
    let ground = std::time::Instant::now();
    let shares = grind(&works, &target.user, each, options.nonces)?;
    let grinding = ground.elapsed();

    let sent = send_all(options, wires, shares, target.pid).await?;
    let bare_cpu = match bare {
        Some(bare) => measure_bare(options, &bare, sent.shares).await?,
        None => None,
    };
    let (tally, cpu) = (sent.tally, sent.cpu_us_per_share);
    Ok(SharesReport {
        connections: options.connections,
        depth: if options.rate.is_some() { 1 } else { options.depth },
        rate: options.rate,
        nonces: options.nonces,
        grinding_seconds: grinding.as_secs_f64(),
        seconds: sent.seconds,
        accepted: tally.accepted,
        rejected: tally.rejected,
        first_rejection: tally.first_rejection,
        clean_jobs: tally.clean_jobs,
        accepted_per_second: per(tally.accepted, sent.seconds),
        latency: Latency::of(&tally.latencies),
        cpu_us_per_share: cpu,
        bare_cpu_us_per_share: bare_cpu,
        bare_ratio: cpu.zip(bare_cpu).and_then(|(cpu, bare)| ratio(cpu, bare)),
    })
}

/// Sends the same shares again, to the bare server; its processor time for each.
async fn measure_bare(
    options: &LoadOptions,
    bare: &BareProcess,
    mut shares: Vec<Shares>,
) -> Result<Option<f64>, LoadError> {
    shares.iter_mut().for_each(Shares::rewind);
    let wires = bare.connect(shares.len()).await?;
    let sent = send_all(options, wires, shares, bare.pid()).await;
    let sent = sent.map_err(|error| LoadError::BareServer(std::io::Error::other(error)))?;
    Ok(sent.cpu_us_per_share)
}

/// None where so little was done that the kernel counted no time.
fn ratio(cpu: f64, bare: f64) -> Option<f64> {
    (bare > 0.0).then(|| cpu / bare)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_needs_something_to_be_a_ratio_to() {
        assert_eq!(ratio(6.0, 4.0), Some(1.5));
        assert_eq!(ratio(6.0, 0.0), None);
        assert_eq!(ratio(6.0, f64::NAN), None);
    }
}
