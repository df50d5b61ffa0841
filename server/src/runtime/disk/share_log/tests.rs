//! The share log on a real file system: what is there after what was done to it.

use super::*;
use crate::journal::record::tests::share;
use crate::journal::writer::Batch;
use crate::runtime::disk::tests::Folder;

/// A batch whose first record has this number.
fn batch(run: u32, first: u64, count: usize) -> Batch {
    let mut lines = Vec::new();
    for number in first..first + count as u64 {
        Record { run, number, safe: first - 1, share: share("w") }.render(&mut lines);
    }
    Batch { first, records: lines.into(), count }
}

fn append(log: &mut ShareLog, run: u32, first: u64, count: usize) {
    let Batch { records, .. } = batch(run, first, count);
    log.append(run, first, &records).expect("the folder is ours");
}

/// Run and number of each record, and the bytes that are none.
fn records(folder: &Folder) -> (Vec<(u32, u64)>, usize) {
    let mut numbers = Vec::new();
    let torn = read(folder.path(), |record| numbers.push((record.run, record.number)));
    (numbers, torn.expect("nothing is damaged"))
}

fn file(folder: &Folder, run: u32, first: u64) -> PathBuf {
    folder.path().join("shares").join(Part { run, first }.file_name())
}

#[test]
fn what_was_appended_is_read_in_order_across_files_and_runs() {
    let folder = Folder::of("shares-order");
    let mut log = ShareLog::open(folder.path()).expect("the folder is ours");
    assert_eq!((records(&folder), log.recover(1).expect("empty")), ((vec![], 0), 0));
    append(&mut log, 9, 1, 2);
    append(&mut log, 9, 3, 1);
    log.file_bytes_max = 1;
    append(&mut log, 9, 4, 1);
    let mut log = ShareLog::open(folder.path()).expect("the folder is ours");
    assert_eq!(log.recover(1).expect("whole"), 9);
    append(&mut log, 10, 1, 1);
    assert_eq!(records(&folder), (vec![(9, 1), (9, 2), (9, 3), (9, 4), (10, 1)], 0));
    for (run, first) in [(9, 1), (9, 4), (10, 1)] {
        assert!(file(&folder, run, first).exists(), "{run} {first}");
    }
    // Older files may be moved away; one between two others may not.
    fs::remove_file(file(&folder, 9, 1)).expect("it is ours");
    assert_eq!(records(&folder).0, [(9, 4), (10, 1)]);
    append(&mut log, 10, 2, 1);
    log.file_bytes_max = 1;
    append(&mut log, 10, 3, 1);
    append(&mut log, 10, 4, 1);
    fs::remove_file(file(&folder, 10, 3)).expect("it is ours");
    let error = read(folder.path(), |_| {}).expect_err("a file is gone").to_string();
    assert!(error.contains("record 3") && error.contains("put that back"), "{error}");
}

#[test]
fn a_write_that_did_not_end_is_cut_off_at_the_start() {
    let folder = Folder::of("shares-torn");
    let mut log = ShareLog::open(folder.path()).expect("the folder is ours");
    append(&mut log, 9, 1, 2);
    let half = batch(9, 3, 2).records;
    let path = file(&folder, 9, 1);
    let mut bytes = fs::read(&path).expect("it was written");
    let whole = bytes.len();
    bytes.extend_from_slice(&half[..half.len() - 20]);
    fs::write(&path, &bytes).expect("it is ours");
    let (found, torn) = records(&folder);
    assert_eq!((found.len(), torn), (3, half.len() / 2 - 20), "a reader says so and cuts nothing");
    assert_eq!(log.recover(1).expect("torn is not damaged"), 9);
    assert_eq!(records(&folder), (vec![(9, 1), (9, 2), (9, 3)], 0));
    assert_eq!(fs::read(&path).expect("it is there").len(), whole + half.len() / 2);
}

/// DISK-1: a bit that flipped in what was synced.
#[test]
fn a_damaged_middle_is_refused_and_says_what_to_do() {
    let folder = Folder::of("shares-damaged");
    let mut log = ShareLog::open(folder.path()).expect("the folder is ours");
    append(&mut log, 9, 1, 2);
    append(&mut log, 9, 3, 2);
    let path = file(&folder, 9, 1);
    let mut bytes = fs::read(&path).expect("it was written");
    bytes[70] ^= 4;
    fs::write(&path, &bytes).expect("it is ours");
    for error in [log.recover(1).err(), read(folder.path(), |_| {}).err()] {
        let error = error.expect("it is damaged").to_string();
        let words = ["0000000009-000000000001.jsonl", "line 1", "record 1", "move the file out"];
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
    }
    assert_eq!(fs::read(&path).expect("it is there"), bytes, "nothing is cut");
    // An older file that ends in a torn write was never looked after.
    fs::write(&path, &batch(9, 1, 2).records[..100]).expect("it is ours");
    append(&mut ShareLog::open(folder.path()).expect("the folder is ours"), 10, 1, 1);
    let error = read(folder.path(), |_| {}).expect_err("only the last may be torn").to_string();
    assert!(error.contains("record 1"), "{error}");
}

/// A file of a disk with little room.
#[derive(Default)]
struct Small {
    bytes: Vec<u8>,
    room: usize,
    syncs: u32,
    sync_fails: bool,
}

impl io::Write for Small {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let fits = bytes.len().min(self.room - self.bytes.len());
        self.bytes.extend_from_slice(&bytes[..fits]);
        if fits == 0 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(fits) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl LogFile for Small {
    fn cut(&mut self, bytes: u64) -> io::Result<()> {
        self.bytes.truncate(usize::try_from(bytes).expect("it fits"));
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.syncs += 1;
        if self.sync_fails { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

#[test]
fn what_finds_no_room_leaves_the_file_as_it_was() {
    let mut file = Small { bytes: b"one\n".to_vec(), room: 9, ..Small::default() };
    let refused = add(&mut file, 4, b"two\nthree\n").expect("nothing is unknown");
    assert_eq!(refused.expect_err("it is full").kind(), io::ErrorKind::StorageFull);
    assert_eq!((&file.bytes[..], file.syncs), (&b"one\n"[..], 0));
    file.room = 99;
    add(&mut file, 4, b"two\nthree\n").expect("nothing is unknown").expect("there is room");
    assert_eq!((&file.bytes[..], file.syncs), (&b"one\ntwo\nthree\n"[..], 1));
    file.sync_fails = true;
    add(&mut file, 14, b"four\n").expect_err("nobody knows what is on disk");
}

/// DISK-1, where several runs wrote at a time: each may have left a write that did not end.
#[test]
fn each_of_several_engines_may_have_been_cut_short() {
    let folder = Folder::of("shares-engines");
    let log = || ShareLog::open(folder.path()).expect("the folder is ours");
    let tear = |run| {
        let path = file(&folder, run, 1);
        let mut bytes = fs::read(&path).expect("it was written");
        bytes.extend_from_slice(&batch(run, 3, 1).records[..50]);
        fs::write(&path, &bytes).expect("it is ours");
    };
    append(&mut log(), 8, 1, 2);
    append(&mut log(), 9, 1, 2);
    append(&mut log(), 10, 1, 2);
    tear(9);
    tear(10);
    read(folder.path(), |_| {}).expect_err("one run alone leaves one torn end");
    fs::write(folder.path().join(ENGINES), "2\n").expect("the folder is ours");
    let all = vec![(8, 1), (8, 2), (9, 1), (9, 2), (10, 1), (10, 2)];
    assert_eq!(records(&folder), (all.clone(), 100));
    assert_eq!(log().recover(engines(folder.path()).expect("it is there")).expect("torn"), 10);
    assert_eq!(records(&folder), (all, 0));
    // Older runs have none, and a file that says nonsense says nothing of them.
    tear(8);
    read(folder.path(), |_| {}).expect_err("it was whole when the next run began");
    fs::write(folder.path().join(ENGINES), "many").expect("the folder is ours");
    assert_eq!(records(&folder).1, 50);
}
