//! The data directory: what `journal` wants kept, on a real file system, synced.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::journal::recovery::Damaged;
use crate::journal::{DiskOp, Recovered, Shelf, WriteError, block_file_name, read_block_file};
use crate::mining::block::FoundBlock;
use crate::mining::hex;

pub mod share_log;

use share_log::ShareLog;

/// Why the data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// The system refuses the whole directory.
    #[error(
        "the data directory cannot be used: {path}: {cause}; set DATA_DIR to a directory that this \
         user may write to"
    )]
    Unusable {
        /// What was touched.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// The system refused one write.
    #[error("{path}: {cause}")]
    Io {
        /// What was touched.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// There is no room, and nothing of the write was kept.
    #[error("{path}: {cause}")]
    Full {
        /// What was touched.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// The share log is not what was written.
    #[error(
        "{path}: {damaged}: the disk may be failing; look at the line, then move the file out of \
         its folder (it says what miners are owed), and start again"
    )]
    SharesDamaged {
        /// The file.
        path: PathBuf,
        /// Where.
        damaged: Damaged,
    },
    /// A file between two others is gone.
    #[error(
        "{path} is not the next file of the share log: record {next} of its run should be in one \
         before it; put that back, or move every older file away too"
    )]
    SharesMissing {
        /// The file after the gap.
        path: PathBuf,
        /// The number of the first record that is missing.
        next: u64,
    },
    /// Two servers in one directory would give out the same work and overwrite each other.
    #[error(
        "the data directory {0} is in use by another server: stop it, or give this one its own \
         DATA_DIR"
    )]
    InUse(PathBuf),
    /// The counter is damaged.
    #[error(
        "{0} does not hold a number: write one into it that is higher than any it ever held \
         (job ids of the last run start with it, in hex), so that no work repeats"
    )]
    BadGeneration(PathBuf),
}

impl From<DiskError> for WriteError {
    fn from(error: DiskError) -> Self {
        let why = error.to_string();
        match error {
            DiskError::Full { .. } => Self::NotKept(why),
            DiskError::Unusable { .. }
            | DiskError::Io { .. }
            | DiskError::SharesDamaged { .. }
            | DiskError::SharesMissing { .. }
            | DiskError::InUse(_)
            | DiskError::BadGeneration(_) => Self::Unknown(why),
        }
    }
}

/// Where the pool's writes go.
pub trait Disk: Send + 'static {
    /// What the last run left.
    fn recover(&mut self) -> Result<Recovered, DiskError>;

    /// Performs `op`; when this returns, it would survive a loss of power.
    fn perform(&mut self, op: &DiskOp) -> Result<(), DiskError>;
}

/// A data directory on the file system, locked for this process.
#[derive(Debug)]
pub struct FileDisk {
    root: PathBuf,
    shares: ShareLog,
    lock: Arc<File>,
    /// What one of several engines recovers, for the whole directory was looked at once.
    recovered: Option<Recovered>,
    /// The generation on disk is no lower.
    reserved: u32,
}

fn unusable(path: &Path) -> impl FnOnce(io::Error) -> DiskError {
    move |cause| DiskError::Unusable { path: path.to_owned(), cause }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> DiskError {
    move |cause| DiskError::Io { path: path.to_owned(), cause }
}

impl FileDisk {
    /// Makes the directory where it is missing and takes its lock.
    pub fn open(root: &Path) -> Result<Self, DiskError> {
        for shelf in [Shelf::Accepted, Shelf::Inconclusive, Shelf::Rejected] {
            let folder = root.join("blocks").join(shelf.folder());
            fs::create_dir_all(&folder).map_err(unusable(&folder))?;
        }
        let path = root.join("lock");
        let lock = File::create(&path).map_err(unusable(&path))?;
        match lock.try_lock() {
            Ok(()) => {
                let (shares, lock) = (ShareLog::open(root)?, Arc::new(lock));
                Ok(Self { root: root.to_owned(), shares, lock, recovered: None, reserved: 0 })
            }
            Err(TryLockError::WouldBlock) => Err(DiskError::InUse(root.to_owned())),
            Err(TryLockError::Error(cause)) => Err(DiskError::Unusable { path, cause }),
        }
    }

    /// The same directory for `count` engines at a time. Each is a run of its own, so it has a
    /// generation, and files of the share log, that no other has. What the last runs left unjudged
    /// is the first engine's.
    pub fn of_engines(mut self, count: u32) -> Result<Vec<Self>, DiskError> {
        let Recovered { generation, mut pending } = self.recover()?;
        let path = self.root.join("generation");
        let Some(last) = generation.checked_add(count).filter(|last| *last < u32::MAX) else {
            return Err(DiskError::BadGeneration(path));
        };
        // Before there is a file of any of them: so many may end in a torn write.
        self.write_synced(&self.root.join(share_log::ENGINES), &format!("{count}\n"))?;
        self.write_synced(&path, &format!("{last}\n"))?;
        let engines = generation..last;
        let disk = |generation| {
            let (shares, lock) = (ShareLog::open(&self.root)?, Arc::clone(&self.lock));
            let recovered = Some(Recovered { generation, pending: core::mem::take(&mut pending) });
            Ok(Self { root: self.root.clone(), shares, lock, recovered, reserved: last })
        };
        engines.map(disk).collect()
    }

    fn generation(&self) -> Result<u32, DiskError> {
        let path = self.root.join("generation");
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            Err(cause) => return Err(DiskError::Unusable { path, cause }),
        };
        let number = core::str::from_utf8(&text).ok().and_then(|text| text.trim().parse().ok());
        // After the highest number of all there is none for this run.
        number.filter(|number| *number < u32::MAX).ok_or(DiskError::BadGeneration(path))
    }

    fn pending(&self) -> Result<Vec<FoundBlock>, DiskError> {
        let folder = self.root.join("blocks");
        let mut found = Vec::new();
        for entry in fs::read_dir(&folder).map_err(unusable(&folder))? {
            let path = entry.map_err(unusable(&folder))?.path();
            if path.extension().is_some_and(|extension| extension == "hex") {
                found.extend(read_pending(&path));
            }
        }
        found.sort_by_key(|block| (block.height, block.hash));
        Ok(found)
    }

    /// Whole or not at all, and there after a loss of power.
    fn write_synced(&self, path: &Path, text: &str) -> Result<(), DiskError> {
        let draft = path.with_extension("tmp");
        let mut file = File::create(&draft).map_err(at(&draft))?;
        file.write_all(text.as_bytes()).map_err(at(&draft))?;
        file.sync_all().map_err(at(&draft))?;
        fs::rename(&draft, path).map_err(at(path))?;
        sync_folder(path.parent().unwrap_or(&self.root))
    }
}

/// A block's file that cannot be used must not keep the server from mining the next one.
fn read_pending(path: &Path) -> Option<FoundBlock> {
    let problem = match fs::read(path) {
        Err(error) => format!("cannot be read ({error})"),
        Ok(text) => {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let block = read_block_file(&name, &String::from_utf8_lossy(&text));
            if block.is_some() {
                return block;
            }
            "is damaged".to_owned()
        }
    };
    tracing::error!(
        path = %path.display(),
        "this found block's file {problem}, so the block is not offered; look at it by hand"
    );
    None
}

fn sync_folder(folder: &Path) -> Result<(), DiskError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(at(folder))
}

impl Disk for FileDisk {
    fn recover(&mut self) -> Result<Recovered, DiskError> {
        if let Some(recovered) = self.recovered.take() {
            return Ok(recovered);
        }
        let engines = share_log::engines(&self.root)?;
        let (counter, logged) = (self.generation()?, self.shares.recover(engines)?);
        if engines > 1 {
            // What they left is whole now, and this run may be one engine alone.
            let path = self.root.join(share_log::ENGINES);
            fs::remove_file(&path).map_err(unusable(&path))?;
            sync_folder(&self.root)?;
        }
        if logged > counter {
            tracing::warn!(
                counter,
                logged,
                "the share log knows a later start than the file generation: an older copy of it \
                 was put back; going on after the later one"
            );
        }
        Ok(Recovered { generation: counter.max(logged), pending: self.pending()? })
    }

    fn perform(&mut self, op: &DiskOp) -> Result<(), DiskError> {
        let blocks = self.root.join("blocks");
        match op {
            // It was written for all engines at once.
            DiskOp::PutGeneration(number) if *number <= self.reserved => Ok(()),
            DiskOp::PutGeneration(number) => {
                self.write_synced(&self.root.join("generation"), &format!("{number}\n"))
            }
            DiskOp::PutBlock(block) => {
                let path = blocks.join(block_file_name(block.height, &block.hash));
                self.write_synced(&path, &hex::encode(&block.bytes))
            }
            DiskOp::SettleBlock { height, hash, shelf } => {
                let name = block_file_name(*height, hash);
                let to = blocks.join(shelf.folder()).join(&name);
                fs::rename(blocks.join(&name), &to).map_err(at(&to))?;
                sync_folder(&blocks.join(shelf.folder()))?;
                sync_folder(&blocks)
            }
            DiskOp::AppendShares { run, first, records } => {
                self.shares.append(*run, *first, records)
            }
        }
    }
}

#[cfg(test)]
mod tests;
