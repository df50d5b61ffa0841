//! The data directory: whether it can be written, how fast it syncs, how much room there is, and
//! whether a server has it.
//!
//! A directory that is not there is not made: whoever asks may be another user than the server.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::time::timeout;

use super::ask::PATIENCE;
use super::report::Line;
use crate::config::Limits;

const DATA_DIR: &str = "data directory";
const FSYNC: &str = "fsync";
const ROOM: &str = "free space";

/// What is written and synced in turn; a batch of shares is about as long.
const PROBE_BYTES: usize = 4_096;
/// How often. The first one is slower, for it makes the file.
const SYNCS: usize = 9;
/// Less than this many bytes and there is no room for a file of the share log.
const FREE_BYTES_MIN: u64 = 64 * 1024 * 1024;
/// Less than this many are soon used up.
const FREE_BYTES_SOON: u64 = 1024 * 1024 * 1024;
const MIB: u64 = 1024 * 1024;

/// What the file system did with a file of ours.
#[derive(Debug)]
struct Probe {
    /// The directory it was in: the data directory, or the nearest that is there.
    at: PathBuf,
    /// How long each sync took.
    syncs: io::Result<Vec<Duration>>,
    /// Bytes that are free for this user.
    free: Option<u64>,
    /// Whether a server holds the data directory.
    in_use: bool,
}

/// The lines, and whether a server holds the directory.
pub(super) async fn examine(data_dir: &Path) -> (Vec<Line>, bool) {
    let (tell, probed) = oneshot::channel();
    let path = data_dir.to_owned();
    // A thread and not a task: where the disk hangs, nobody waits for it.
    thread::spawn(move || tell.send(probe(&path)).map_err(drop));
    let Ok(Ok(probe)) = timeout(PATIENCE, probed).await else {
        let seen = format!("{} hangs: no answer within {PATIENCE:?}", data_dir.display());
        let hangs = Line::failed(DATA_DIR, seen, "see to the disk, or set DATA_DIR elsewhere");
        let why = hangs.stands_in_the_way().unwrap_or_default();
        let others = [FSYNC, ROOM].map(|check| Line::not_checked(check, why.clone()));
        return (core::iter::once(hangs).chain(others).collect(), false);
    };
    (lines(data_dir, &probe), probe.in_use)
}

fn probe(data_dir: &Path) -> Probe {
    // Relative to the working directory, whose name is empty.
    let there = data_dir.ancestors().find(|path| path.exists()).unwrap_or(data_dir);
    let at = if there.as_os_str().is_empty() { Path::new(".") } else { there }.to_owned();
    let free = rustix::fs::statvfs(&at).ok();
    let free = free.map(|known| known.f_bavail.saturating_mul(known.f_frsize));
    Probe { syncs: sync_some(&at), free, in_use: is_in_use(data_dir), at }
}

/// Writes and syncs a file that is gone afterwards.
fn sync_some(folder: &Path) -> io::Result<Vec<Duration>> {
    let path = folder.join(format!("doctor-{}.tmp", std::process::id()));
    let mut file = OpenOptions::new().write(true).create_new(true).open(&path)?;
    let synced = (0..SYNCS).map(|_| {
        let began = Instant::now();
        file.write_all(&[0; PROBE_BYTES])?;
        file.sync_data()?;
        Ok(began.elapsed())
    });
    let synced = synced.collect::<io::Result<Vec<Duration>>>();
    fs::remove_file(&path)?;
    synced
}

/// Whether a server holds the lock; one that is not there nobody holds.
fn is_in_use(data_dir: &Path) -> bool {
    let Ok(lock) = File::open(data_dir.join("lock")) else { return false };
    matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock))
}

fn lines(data_dir: &Path, probe: &Probe) -> Vec<Line> {
    let place = data_dir.display();
    let syncs = match &probe.syncs {
        Ok(syncs) => syncs,
        Err(error) => {
            let full =
                matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
            let fix = if full {
                "make room: found blocks and shares are kept there"
            } else {
                "set DATA_DIR to a directory that this user may write to"
            };
            let seen = format!("{}: {error}", probe.at.display());
            let failed = Line::failed(DATA_DIR, seen, fix);
            let why = failed.stands_in_the_way().unwrap_or_default();
            let room = if full { room(probe.free) } else { Line::not_checked(ROOM, why.clone()) };
            return vec![failed, Line::not_checked(FSYNC, why), room];
        }
    };
    let seen = if probe.in_use {
        format!("{place} can be written, and a running server has it")
    } else if probe.at == data_dir {
        format!("{place} can be written, and no server has it")
    } else {
        format!("{place} is not there yet, and can be made in {}", probe.at.display())
    };
    vec![Line::passed(DATA_DIR, seen), speed(syncs), room(probe.free)]
}

fn speed(syncs: &[Duration]) -> Line {
    let mut sorted = syncs.to_vec();
    sorted.sort_unstable();
    let milliseconds = |time: Option<&Duration>| {
        let time = time.copied().unwrap_or_default();
        format!("{}.{} ms", time.as_millis(), time.as_micros() / 100 % 10)
    };
    let median = sorted.get(sorted.len() / 2);
    let seen = format!(
        "{} syncs of {} KiB: {} in the middle, {} at worst",
        sorted.len(),
        PROBE_BYTES / 1024,
        milliseconds(median),
        milliseconds(sorted.last())
    );
    let between = Limits::default().journal_flush;
    if median.is_some_and(|median| *median > between) {
        let fix = format!(
            "set DATA_DIR on a faster disk: shares are written every {} ms, and a found block \
             waits for a sync or for the node",
            between.as_millis()
        );
        return Line::warning(FSYNC, seen, fix);
    }
    Line::passed(FSYNC, seen)
}

fn room(free: Option<u64>) -> Line {
    let Some(free) = free else {
        return Line::not_checked(ROOM, "the file system does not say");
    };
    let seen = format!("{} MiB", free / MIB);
    let fix = "make room: found blocks and the share log, some 200 bytes a share, go there";
    match free {
        ..FREE_BYTES_MIN => Line::failed(ROOM, seen, fix),
        FREE_BYTES_MIN..FREE_BYTES_SOON => Line::warning(ROOM, seen, fix),
        FREE_BYTES_SOON.. => Line::passed(ROOM, seen),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Verdict;

    fn folder(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("doctor-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a folder");
        path
    }

    fn verdicts(lines: &[Line]) -> Vec<Verdict> {
        lines.iter().map(|line| line.verdict).collect()
    }

    #[test]
    fn a_directory_that_is_not_there_is_not_made() {
        let root = folder("missing");
        let data = root.join("a/b");
        let probe = probe(&data);
        assert_eq!((probe.at.clone(), probe.in_use), (root.clone(), false));
        let lines = lines(&data, &probe);
        assert_eq!(lines[0].verdict, Verdict::Passed, "{lines:?}");
        assert!(lines[0].seen.contains("not there yet"), "{}", lines[0].seen);
        assert_eq!(fs::read_dir(&root).expect("there").count(), 0, "nothing is left behind");
        fs::remove_dir_all(&root).expect("gone");
    }

    #[test]
    fn a_directory_of_a_running_server_is_told() {
        let root = folder("lock");
        let lock = File::create(root.join("lock")).expect("a lock");
        assert!(!is_in_use(&root));
        lock.lock().expect("ours");
        assert!(is_in_use(&root));
        let probe = probe(&root);
        assert!(lines(&root, &probe)[0].seen.contains("a running server has it"));
        fs::remove_dir_all(&root).expect("gone");
    }

    #[test]
    fn a_file_where_the_directory_should_be_is_no_place_to_write() {
        let root = folder("file");
        let data = root.join("data");
        fs::write(&data, "a file").expect("written");
        let lines = lines(&data, &probe(&data));
        assert_eq!(verdicts(&lines)[..2], [Verdict::Failed, Verdict::NotChecked], "{lines:?}");
        fs::remove_dir_all(&root).expect("gone");
    }

    #[test]
    fn a_full_disk_has_another_fix_than_a_forbidden_one() {
        let check = |kind: io::ErrorKind, room, fix: &str| {
            let (at, syncs) = (PathBuf::from("/d"), Err(kind.into()));
            let probe = Probe { at, syncs, free: Some(0), in_use: false };
            let lines = lines(Path::new("/d"), &probe);
            let expected = [Verdict::Failed, Verdict::NotChecked, room];
            assert_eq!(verdicts(&lines), expected);
            let its = lines[0].fix.clone().unwrap_or_default();
            assert!(its.contains(fix), "{its}");
        };
        check(io::ErrorKind::StorageFull, Verdict::Failed, "make room");
        let forbidden = io::ErrorKind::PermissionDenied;
        check(forbidden, Verdict::NotChecked, "this user may write");
    }

    #[test]
    fn slow_syncs_and_little_room_are_warned_of() {
        let syncs = |middle| {
            let each = [1_u64, middle, 900].map(Duration::from_millis);
            speed(&each)
        };
        assert_eq!(syncs(100).verdict, Verdict::Passed);
        assert_eq!(syncs(101).verdict, Verdict::Warning);
        assert_eq!(syncs(2).seen, "3 syncs of 4 KiB: 2.0 ms in the middle, 900.0 ms at worst");
        let check = |free, expected| assert_eq!(room(free).verdict, expected);
        check(None, Verdict::NotChecked);
        check(Some(FREE_BYTES_MIN - 1), Verdict::Failed);
        check(Some(FREE_BYTES_MIN), Verdict::Warning);
        check(Some(FREE_BYTES_SOON), Verdict::Passed);
    }
}
