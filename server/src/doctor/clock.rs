//! Our clock against the node's: a header's time is judged by both.

use super::report::Line;
use crate::clock::UnixTime;
use crate::config::Limits;

pub(super) const CLOCK: &str = "clock";

/// Seconds between the clocks that nobody needs to care about.
const APART_MAX: u32 = 60;
/// Seconds that a block may be ahead of a node's clock (consensus).
const AHEAD_MAX: u32 = 7_200;

/// The times of one template, in Unix seconds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Times {
    /// Our clock when it came.
    pub(super) ours: UnixTime,
    /// What it says (`curtime`): the node's clock, but never less than the next.
    pub(super) template: UnixTime,
    /// The least that the chain allows (`mintime`).
    pub(super) least: UnixTime,
}

pub(super) fn verdict(times: Times) -> Line {
    let Times { ours, template, least } = times;
    let apart = i64::from(ours.0) - i64::from(template.0);
    let seen = match apart {
        0 => "the same second as the node's".to_owned(),
        1.. => format!("{apart} s ahead of the node's"),
        ..0 => format!("{} s behind the node's", -apart),
    };
    if apart.unsigned_abs() <= u64::from(APART_MAX) {
        return Line::passed(CLOCK, seen);
    }
    if template == least && ours < template {
        let why = "the newest blocks are ahead of the clocks, and hide the node's";
        return Line::not_checked(CLOCK, why);
    }
    let fix = "set both clocks by NTP";
    let ahead = Limits::default().ntime_ahead_seconds;
    // Ahead: miners may roll the time to beyond what the node takes. Behind: the template's own
    // time is more than miners may use.
    let lost = i64::from(AHEAD_MAX - ahead) < apart || apart < -i64::from(ahead);
    if lost {
        let seen = format!("{seen}: blocks can be refused for their time");
        return Line::failed(CLOCK, seen, fix);
    }
    Line::warning(CLOCK, seen, fix)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Verdict;

    #[test]
    fn drift_is_judged_by_what_it_costs() {
        let check = |ours, template, least, verdict_is| {
            let times = |time: u32| UnixTime(1_700_000_000 + time);
            let (ours, template, least) = (times(ours), times(template), times(least));
            let line = verdict(Times { ours, template, least });
            assert_eq!(line.verdict, verdict_is, "{}", line.seen);
        };
        check(20_000, 20_000, 0, Verdict::Passed);
        check(20_060, 20_000, 0, Verdict::Passed);
        check(20_061, 20_000, 0, Verdict::Warning);
        check(20_200, 20_000, 0, Verdict::Warning);
        check(20_201, 20_000, 0, Verdict::Failed);
        check(19_939, 20_000, 0, Verdict::Warning);
        check(13_000, 20_000, 0, Verdict::Warning);
        check(12_999, 20_000, 0, Verdict::Failed);
        // The chain itself is ahead: what the node's clock says is not to be seen.
        check(10_000, 20_000, 20_000, Verdict::NotChecked);
        check(30_000, 20_000, 20_000, Verdict::Failed);
    }
}
