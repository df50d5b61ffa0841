//! Open files: each miner's connection takes one.

use rustix::process::{Resource, getrlimit};

use super::report::Line;

const DESCRIPTORS: &str = "open files";

/// What the server opens beside connections: calls, ports, the journal, the runtime's own.
const BESIDE_MINERS: u64 = 64;

/// Whether `connections` of miners can be open at a time. The server raises its own limit to the
/// hard one, so that is what counts.
pub(super) fn examine(connections: usize) -> Line {
    verdict(getrlimit(Resource::Nofile).maximum, connections as u64)
}

/// `limit` is none where there is no limit.
fn verdict(limit: Option<u64>, sessions: u64) -> Line {
    let Some(limit) = limit else { return Line::passed(DESCRIPTORS, "no limit") };
    let room = limit.saturating_sub(BESIDE_MINERS);
    let seen = format!("a limit of {limit}, so {} connections of {sessions}", room.min(sessions));
    if room >= sessions {
        return Line::passed(DESCRIPTORS, seen);
    }
    let needed = sessions + BESIDE_MINERS;
    let fix = format!(
        "for more miners than that, raise it: ulimit -Hn {needed}, or LimitNOFILE={needed} in the \
         unit of systemd"
    );
    Line::warning(DESCRIPTORS, seen, fix)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Verdict;

    #[test]
    fn a_limit_is_counted_in_miners() {
        let check = |limit, expected, seen: &str| {
            let line = verdict(limit, 20_000);
            assert_eq!((line.verdict, line.seen.as_str()), (expected, seen));
        };
        check(None, Verdict::Passed, "no limit");
        check(Some(20_064), Verdict::Passed, "a limit of 20064, so 20000 connections of 20000");
        check(Some(1_024), Verdict::Warning, "a limit of 1024, so 960 connections of 20000");
        check(Some(10), Verdict::Warning, "a limit of 10, so 0 connections of 20000");
    }
}
