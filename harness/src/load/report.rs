//! What was measured, as JSON for programs and as lines for people.

use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// The longest time that is told apart from longer ones.
const LATENCY_US_MAX: u64 = 60_000_000;

/// Of one mode.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "lowercase", tag = "mode")]
pub enum Report {
    /// Of `--mode shares`.
    Shares(SharesReport),
    /// Of `--mode notify`.
    Notify(NotifyReport),
    /// Of `--mode idle`.
    Idle(IdleReport),
}

/// Percentiles of a time, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[expect(missing_docs, reason = "the names of the percentiles say it")]
pub struct Latency {
    pub p50_us: f64,
    pub p90_us: f64,
    pub p99_us: f64,
    pub p999_us: f64,
    pub max_us: f64,
}

/// What shares cost.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SharesReport {
    /// Miners.
    pub connections: usize,
    /// Shares of each that waited for an answer.
    pub depth: usize,
    /// Shares a second that were asked for; none is as fast as it went.
    pub rate: Option<f64>,
    /// Nonces sent for one extranonce2.
    pub nonces: u32,
    /// How long was ground, before anything was timed.
    pub grinding_seconds: f64,
    /// From the first share to the last answer.
    pub seconds: f64,
    /// Shares taken.
    pub accepted: u64,
    /// Shares refused.
    pub rejected: u64,
    /// The first refusal, as the server said it.
    pub first_rejection: Option<String>,
    /// Jobs that voided those before them, over all miners: any spoils the run.
    pub clean_jobs: u64,
    /// Shares taken a second.
    pub accepted_per_second: f64,
    /// From writing a share to reading its answer.
    pub latency: Latency,
    /// Of the server's processor time, in user mode and the kernel; without its process, none.
    pub cpu_us_per_share: Option<f64>,
    /// The same of a bare server, which got the same shares after it: the least that they cost.
    pub bare_cpu_us_per_share: Option<f64>,
    /// The server's processor time over that.
    pub bare_ratio: Option<f64>,
}

/// What a new tip took.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NotifyReport {
    /// Miners.
    pub connections: usize,
    /// New tips.
    pub tips: u32,
    /// Bytes of the last job.
    pub job_bytes: usize,
    /// From the node having the block to the first miner having its job.
    pub first: Latency,
    /// The same for every miner.
    pub latency: Latency,
    /// And until it had the whole job, where a coinbase alone came first.
    pub whole: Option<Latency>,
    /// As many bytes to as many sockets by a loop that does nothing else.
    pub bare: Latency,
    /// The server's 99th percentile over that of the loop.
    pub ratio_p99: f64,
}

/// What an idle miner takes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct IdleReport {
    /// Miners.
    pub connections: usize,
    /// The server's memory with one miner.
    pub rss_before_bytes: Option<u64>,
    /// And with all of them.
    pub rss_after_bytes: Option<u64>,
    /// The difference for each.
    pub bytes_per_connection: Option<f64>,
}

impl Latency {
    pub(super) fn of(histogram: &Histogram<u64>) -> Self {
        let at = |quantile| float(histogram.value_at_quantile(quantile));
        Self {
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: float(histogram.max()),
        }
    }
}

/// Microseconds, to three digits.
pub(super) fn histogram() -> Histogram<u64> {
    #[expect(clippy::expect_used, reason = "the bounds are constants that fit")]
    Histogram::new_with_bounds(1, LATENCY_US_MAX, 3).expect("1 to a minute, with 3 digits")
}

pub(super) fn note(histogram: &mut Histogram<u64>, latency: Duration) {
    histogram.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(LATENCY_US_MAX));
}

pub(super) fn per(count: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { float(count) / seconds } else { 0.0 }
}

#[expect(clippy::cast_precision_loss, reason = "shown, and never as large as 2^52")]
pub(super) const fn float(number: u64) -> f64 {
    number as f64
}

impl fmt::Display for Latency {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { p50_us, p90_us, p99_us, p999_us, max_us } = self;
        write!(
            formatter,
            "50% {p50_us:.0} us, 90% {p90_us:.0}, 99% {p99_us:.0}, 99.9% {p999_us:.0}, \
             at most {max_us:.0}"
        )
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shares(report) => report.fmt(formatter),
            Self::Notify(report) => report.fmt(formatter),
            Self::Idle(report) => report.fmt(formatter),
        }
    }
}

impl fmt::Display for SharesReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            formatter,
            "{} connections, {} deep, {} nonces for each extranonce2, {:.1} s after {:.1} s of \
             grinding",
            self.connections, self.depth, self.nonces, self.seconds, self.grinding_seconds
        )?;
        writeln!(
            formatter,
            "accepted  {} ({:.0} a second), rejected {}",
            self.accepted, self.accepted_per_second, self.rejected
        )?;
        if let Some(line) = &self.first_rejection {
            writeln!(formatter, "          the first: {}", line.escape_debug())?;
        }
        if self.clean_jobs > 0 {
            writeln!(formatter, "SPOILED   a new tip came and voided the shares: run it again")?;
        }
        write!(formatter, "latency   {}", self.latency)?;
        if let Some(cpu) = self.cpu_us_per_share {
            write!(formatter, "\nserver    {cpu:.2} us of processor time a share")?;
        }
        if let Some(bare) = self.bare_cpu_us_per_share {
            let what = "for reading, hashing as often and answering alone";
            write!(formatter, "\nbare      {bare:.2} us {what}")?;
        }
        match self.bare_ratio {
            Some(ratio) => write!(formatter, ": ratio {ratio:.2}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for NotifyReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            formatter,
            "{} connections, {} tips, jobs of {} bytes",
            self.connections, self.tips, self.job_bytes
        )?;
        writeln!(formatter, "first     {}", self.first)?;
        writeln!(formatter, "all       {}", self.latency)?;
        if let Some(whole) = self.whole {
            writeln!(formatter, "whole     {whole}")?;
        }
        writeln!(formatter, "bare      {}", self.bare)?;
        write!(formatter, "ratio     {:.2} at 99%", self.ratio_p99)
    }
}

impl fmt::Display for IdleReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} connections", self.connections)?;
        match self.bytes_per_connection {
            Some(bytes) => write!(formatter, ", {bytes:.0} bytes of the server's memory each"),
            None => write!(formatter, "; say --pid to see what they take"),
        }
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    const LATENCY: Latency =
        Latency { p50_us: 1.0, p90_us: 2.0, p99_us: 3.0, p999_us: 4.0, max_us: 5.0 };

    fn shares(cpu: Option<f64>, bare_cpu: Option<f64>, bare_ratio: Option<f64>) -> Report {
        Report::Shares(SharesReport {
            connections: 100,
            depth: 16,
            rate: None,
            nonces: 1,
            grinding_seconds: 0.5,
            seconds: 1.5,
            accepted: 1_500,
            rejected: 0,
            first_rejection: None,
            clean_jobs: 0,
            accepted_per_second: 1_000.0,
            latency: LATENCY,
            cpu_us_per_share: cpu,
            bare_cpu_us_per_share: bare_cpu,
            bare_ratio,
        })
    }

    #[test]
    fn the_bare_server_stands_below_the_server() {
        let report = shares(Some(6.07), Some(4.4), Some(1.379));
        assert_snapshot!(report, @r"
        100 connections, 16 deep, 1 nonces for each extranonce2, 1.5 s after 0.5 s of grinding
        accepted  1500 (1000 a second), rejected 0
        latency   50% 1 us, 90% 2, 99% 3, 99.9% 4, at most 5
        server    6.07 us of processor time a share
        bare      4.40 us for reading, hashing as often and answering alone: ratio 1.38
        ");
        let json = serde_json::to_string(&report).unwrap();
        let figures = r#""cpu_us_per_share":6.07,"bare_cpu_us_per_share":4.4,"bare_ratio":1.379}"#;
        assert!(json.ends_with(figures), "{json}");
    }

    #[test]
    fn what_was_not_measured_is_null_and_no_line() {
        let report = shares(None, None, None);
        assert!(report.to_string().ends_with("at most 5"), "{report}");
        let json = serde_json::to_string(&report).unwrap();
        assert!(json.ends_with(r#""bare_cpu_us_per_share":null,"bare_ratio":null}"#), "{json}");
        // Too little was done for the kernel to have counted any of it.
        let report = shares(Some(0.0), Some(0.0), None).to_string();
        assert!(
            report.ends_with(
                "\nbare      0.00 us for reading, hashing as often and answering \
            alone"
            ),
            "{report}"
        );
    }
}
