//! What a process has used, as Linux tells it.

use std::fs;
use std::io;
use std::time::Duration;

use super::LoadError;

/// Linux counts processor time for user space in hundredths of a second on every machine.
const TICK: Duration = Duration::from_millis(10);

/// Time on a processor so far, in user mode and in the kernel, all threads together.
pub(super) fn cpu(pid: u32) -> Result<Duration, LoadError> {
    let stat = read(pid, "stat")?;
    let ticks = cpu_ticks(&stat).ok_or_else(|| strange(pid, "stat"))?;
    Ok(TICK.saturating_mul(ticks))
}

/// Memory that is in RAM now, in bytes.
pub(super) fn rss_bytes(pid: u32) -> Result<u64, LoadError> {
    let status = read(pid, "status")?;
    let kilobytes = rss_kilobytes(&status).ok_or_else(|| strange(pid, "status"))?;
    Ok(kilobytes * 1024)
}

fn cpu_ticks(stat: &str) -> Option<u32> {
    // The name in brackets may hold anything; the third field comes behind it.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_ascii_whitespace().skip(11);
    let (user, system) = (times.next()?, times.next()?);
    user.parse::<u32>().ok()?.checked_add(system.parse().ok()?)
}

fn rss_kilobytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

fn read(pid: u32, file: &str) -> Result<String, LoadError> {
    fs::read_to_string(format!("/proc/{pid}/{file}"))
        .map_err(|cause| LoadError::Process { pid, cause })
}

fn strange(pid: u32, file: &str) -> LoadError {
    let cause = io::Error::other(format!("/proc/{pid}/{file} is not as it should be"));
    LoadError::Process { pid, cause }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_files_are_read_whatever_the_process_is_called() {
        let stat = "42 (a) b (c)) S 1 42 42 0 -1 4194560 100 0 0 0 250 75 0 0 20 0 5 0 100 1 2";
        assert_eq!(cpu_ticks(stat), Some(325));
        assert_eq!(cpu_ticks("42 (a) S 1"), None);
        assert_eq!(rss_kilobytes("Name:\ta\nVmRSS:\t    1234 kB\nThreads:\t5\n"), Some(1234));
        assert_eq!(rss_kilobytes("Name:\ta\n"), None);
    }

    #[test]
    fn this_process_can_be_looked_at_and_an_absent_one_not() {
        assert!(rss_bytes(std::process::id()).unwrap() > 100_000);
        cpu(std::process::id()).unwrap();
        let error = cpu(0).unwrap_err().to_string();
        assert!(error.contains("process 0"), "{error}");
    }
}
