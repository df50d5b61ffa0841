//! The data directory: what comes back after what was left, and what each damage comes to.

use std::{env, process};

use super::*;
use crate::mining::hash::sha256d;

/// An empty folder, gone with the test of this name.
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn of(test: &str) -> Self {
        let path =
            env::temp_dir().join(format!("drivechain-stratum-disk-{test}-{}", process::id()));
        if path.exists() {
            fs::remove_dir_all(&path).expect("left by a test long dead");
        }
        Self(path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    fn write(&self, file: &str, text: impl AsRef<[u8]>) {
        fs::write(self.0.join(file), text).expect("the folder is ours");
    }

    fn open(&self) -> FileDisk {
        FileDisk::open(&self.0).expect("the folder is ours")
    }

    /// What a start finds.
    fn recovered(&self) -> Recovered {
        self.open().recover().expect("nothing is damaged beyond use")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap_or_default();
    }
}

fn block(height: u32, seed: u8) -> FoundBlock {
    let bytes = vec![seed; 100];
    FoundBlock { height, hash: sha256d(&bytes[..80]), bytes }
}

fn perform(disk: &mut FileDisk, op: &DiskOp) {
    disk.perform(op).expect("the folder is ours");
}

#[test]
fn what_was_put_is_found_again() {
    let folder = Folder::of("again");
    assert_eq!(folder.recovered(), Recovered::default());
    let (early, late, judged) = (block(9, 1), block(10, 2), block(8, 3));
    let mut disk = folder.open();
    perform(&mut disk, &DiskOp::PutGeneration(41));
    perform(&mut disk, &DiskOp::PutGeneration(42));
    for block in [&late, &judged, &early] {
        perform(&mut disk, &DiskOp::PutBlock(block.clone()));
    }
    let FoundBlock { height, hash, .. } = judged;
    perform(&mut disk, &DiskOp::SettleBlock { height, hash, shelf: Shelf::Rejected });
    drop(disk);
    let name = block_file_name(height, &hash);
    assert!(folder.0.join("blocks/rejected").join(name).exists());
    assert_eq!(folder.recovered(), Recovered { generation: 42, pending: vec![early, late] });
}

/// An older copy of the directory's smallest file, put back, must not make work repeat.
#[test]
fn the_share_log_remembers_the_last_run_too() {
    let folder = Folder::of("remembers");
    let mut disk = folder.open();
    perform(&mut disk, &DiskOp::PutGeneration(42));
    let records = bytes::Bytes::new();
    perform(&mut disk, &DiskOp::AppendShares { run: 42, first: 1, records });
    drop(disk);
    folder.write("generation", "7\n");
    assert_eq!(folder.recovered().generation, 42);
}

#[test]
fn a_generation_that_is_no_number_is_refused_by_name() {
    let folder = Folder::of("generation");
    drop(folder.open());
    let texts: [&[u8]; 7] =
        [b"", b"x", b"\0\0\0\0", b"-1", b"4294967295", b"99999999999", b"\xff\xfe"];
    for text in texts {
        folder.write("generation", text);
        let error = folder.open().recover().expect_err("it is damaged");
        assert!(matches!(error, DiskError::BadGeneration(_)), "{text:?}: {error}");
        assert!(error.to_string().contains("generation does not hold a number"), "{error}");
    }
    folder.write("generation", " 7 \n");
    assert_eq!(folder.recovered().generation, 7, "edited by hand");
}

/// A block that cannot be read is lost; the ones beside it and the next one must not be.
#[test]
fn a_damaged_block_does_not_stop_the_start() {
    let folder = Folder::of("blocks");
    let good = block(5, 1);
    let mut disk = folder.open();
    perform(&mut disk, &DiskOp::PutBlock(good.clone()));
    drop(disk);
    let other = block(6, 2);
    let name =
        |block: &FoundBlock| format!("blocks/{}", block_file_name(block.height, &block.hash));
    folder.write(&name(&other), b"\xff\xfe\xfd");
    folder.write(&name(&block(7, 3)), hex::encode(&other.bytes));
    folder.write("blocks/8-of-no-block.hex", "00");
    folder.write("blocks/9-half.tmp", "00");
    fs::create_dir(folder.0.join("blocks/10-folder.hex")).expect("the folder is ours");
    assert_eq!(folder.recovered().pending, [good]);
}

#[test]
fn one_at_a_time() {
    let folder = Folder::of("lock");
    let first = folder.open();
    let error = FileDisk::open(&folder.0).expect_err("it is held");
    assert!(matches!(error, DiskError::InUse(_)), "{error}");
    drop(first);
    drop(folder.open());
}

#[test]
fn what_cannot_be_used_says_what_to_do() {
    let folder = Folder::of("unusable");
    fs::create_dir(&folder.0).expect("the temporary folder is writable");
    folder.write("file", "in the way");
    let error = FileDisk::open(&folder.0.join("file/data")).expect_err("a file is no folder");
    let error = error.to_string();
    assert!(error.contains("file/data") && error.contains("set DATA_DIR"), "{error}");
}

#[test]
fn a_write_that_fails_names_the_file_and_leaves_the_old_one() {
    let folder = Folder::of("fails");
    let mut disk = folder.open();
    let FoundBlock { height, hash, .. } = block(5, 1);
    let settle = DiskOp::SettleBlock { height, hash, shelf: Shelf::Accepted };
    let error = disk.perform(&settle).expect_err("it was never put").to_string();
    assert!(error.contains(&block_file_name(height, &hash)), "{error}");
    perform(&mut disk, &DiskOp::PutGeneration(3));
    fs::create_dir(folder.0.join("generation.tmp")).expect("the folder is ours");
    disk.perform(&DiskOp::PutGeneration(4)).expect_err("its draft cannot be written");
    drop(disk);
    assert_eq!(folder.recovered().generation, 3);
}

/// Several engines in one directory: numbers of their own, one of them with what was left.
#[test]
fn engines_have_runs_of_their_own_whatever_their_number_was_before() {
    let folder = Folder::of("engines");
    let pending = block(9, 1);
    let mut disk = folder.open();
    perform(&mut disk, &DiskOp::PutGeneration(7));
    perform(&mut disk, &DiskOp::PutBlock(pending.clone()));
    drop(disk);
    let engines = |count| {
        let mut disks = folder.open().of_engines(count).expect("nothing is damaged");
        let recovered = disks.iter_mut().map(|disk| disk.recover().expect("it was looked at"));
        let recovered: Vec<_> = recovered.collect();
        (disks, recovered)
    };
    let with = |generation, pending: &[FoundBlock]| {
        let pending = pending.to_vec();
        Recovered { generation, pending }
    };
    let (mut disks, recovered) = engines(2);
    assert_eq!(recovered, [with(7, core::slice::from_ref(&pending)), with(8, &[])]);
    let error = FileDisk::open(&folder.0).expect_err("each of them holds the lock");
    assert!(matches!(error, DiskError::InUse(_)), "{error}");
    // The later one is first: the number on disk must not fall.
    perform(&mut disks[1], &DiskOp::PutGeneration(9));
    perform(&mut disks[0], &DiskOp::PutGeneration(8));
    drop(disks);
    let (disks, recovered) = engines(3);
    let generations: Vec<u32> = recovered.iter().map(|recovered| recovered.generation).collect();
    assert_eq!(generations, [9, 10, 11]);
    drop(disks);
    assert_eq!(folder.recovered(), with(12, &[pending]), "one alone");
    assert!(!folder.0.join(share_log::ENGINES).exists(), "as it was before there were several");
    folder.write("generation", "4294967293");
    assert!(matches!(folder.open().of_engines(2), Err(DiskError::BadGeneration(_))));
}
