//! The share log's files: appended to, synced, begun anew; looked at when the server starts.
//!
//! Each run begins a file, and another whenever one is large; so files can be moved away whole, and
//! only the newest of a run can end in a write that a crash cut short. Several engines are as many
//! runs at a time; the file `engines` says how many the last were, and where there is none it was
//! one.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use super::{DiskError, at, sync_folder, unusable};
use crate::journal::record::Record;
use crate::journal::recovery::{Damaged, Part, examine};

/// Bytes after which a file is followed by another: some 300,000 shares.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Says how many runs wrote at a time, in decimal.
pub(super) const ENGINES: &str = "engines";

/// How many runs wrote to the data directory `root` at a time, and so may have left a torn write.
pub(super) fn engines(root: &Path) -> Result<u32, DiskError> {
    let path = root.join(ENGINES);
    match fs::read_to_string(&path) {
        // A damaged one is no reason to overlook anything.
        Ok(text) => Ok(text.trim().parse().unwrap_or(u32::MAX)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(1),
        Err(cause) => Err(DiskError::Unusable { path, cause }),
    }
}

/// The share log as this run writes it.
#[derive(Debug)]
pub(super) struct ShareLog {
    folder: PathBuf,
    file_bytes_max: u64,
    open: Option<Open>,
}

/// The file that is written to.
#[derive(Debug)]
struct Open {
    path: PathBuf,
    file: File,
    /// What is synced.
    bytes: u64,
}

impl ShareLog {
    /// The log in the data directory `root`; makes its folder where it is missing.
    pub(super) fn open(root: &Path) -> Result<Self, DiskError> {
        let folder = root.join("shares");
        fs::create_dir_all(&folder).map_err(unusable(&folder))?;
        Ok(Self { folder, file_bytes_max: FILE_BYTES_MAX, open: None })
    }

    /// Makes the newest file of each of the newest `runs` end with a whole record, and sure that
    /// what it holds stays; the newest run, 0 when there is none.
    pub(super) fn recover(&self, runs: u32) -> Result<u32, DiskError> {
        let ends = ends(&parts(&self.folder)?, runs);
        ends.values().try_for_each(|part| self.mend(*part))?;
        Ok(ends.last_key_value().map_or(0, |(run, _)| *run))
    }

    fn mend(&self, part: Part) -> Result<(), DiskError> {
        let path = self.folder.join(part.file_name());
        let bytes = fs::read(&path).map_err(unusable(&path))?;
        let examined = examine(part, &bytes, |_| {})
            .map_err(|damaged| DiskError::SharesDamaged { path: path.clone(), damaged })?;
        let file = OpenOptions::new().write(true).open(&path).map_err(unusable(&path))?;
        if examined.torn > 0 {
            tracing::warn!(
                path = %path.display(),
                bytes = examined.torn,
                "the last write to the share log did not end: it is cut off"
            );
            file.set_len(examined.whole as u64).map_err(unusable(&path))?;
        }
        // What a failed sync left in memory alone was seen just now: it must not go later.
        file.sync_all().map_err(unusable(&path))
    }

    /// Appends `records`, the first of which has the number `first` in the run `run`.
    pub(super) fn append(&mut self, run: u32, first: u64, records: &[u8]) -> Result<(), DiskError> {
        let full = |open: &mut Open| open.bytes >= self.file_bytes_max;
        let mut open = match self.open.take_if(|open| !full(open)) {
            Some(open) => open,
            None => self.begin(Part { run, first })?,
        };
        let added = add(&mut open.file, open.bytes, records).map_err(at(&open.path))?;
        let path = open.path.clone();
        if added.is_ok() {
            open.bytes += records.len() as u64;
        }
        self.open = Some(open);
        added.map_err(|cause| DiskError::Full { path, cause })
    }

    fn begin(&self, part: Part) -> Result<Open, DiskError> {
        let path = self.folder.join(part.file_name());
        // A full disk may have left it there without a record.
        let opened = OpenOptions::new().append(true).create(true).open(&path);
        let file = opened.map_err(|cause| {
            let path = path.clone();
            if is_full(&cause) {
                DiskError::Full { path, cause }
            } else {
                DiskError::Io { path, cause }
            }
        })?;
        let bytes = file.metadata().map_err(at(&path))?.len();
        sync_folder(&self.folder)?;
        Ok(Open { path, file, bytes })
    }
}

/// What is done to an open file of the log.
trait LogFile: io::Write {
    /// Forgets what is beyond so many bytes.
    fn cut(&mut self, bytes: u64) -> io::Result<()>;

    /// Makes sure of what was written.
    fn sync(&mut self) -> io::Result<()>;
}

impl LogFile for File {
    fn cut(&mut self, bytes: u64) -> io::Result<()> {
        self.set_len(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}

/// Appends `records` to a file of so many `bytes`. The inner error says that there is no room and
/// that the file is as it was; after the outer one nothing is known of it.
fn add(file: &mut impl LogFile, bytes: u64, records: &[u8]) -> io::Result<Result<(), io::Error>> {
    match file.write_all(records) {
        Ok(()) => {}
        Err(cause) if is_full(&cause) => {
            // The next attempt must not find the half that went in.
            file.cut(bytes)?;
            return Ok(Err(cause));
        }
        Err(cause) => return Err(cause),
    }
    // No room here is no better than any other failure: the kernel has let go of the bytes.
    file.sync().map(Ok)
}

/// Nothing is wrong with the disk but that others have used it up.
fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// The files of the log, the oldest first.
fn parts(folder: &Path) -> Result<Vec<Part>, DiskError> {
    let mut parts = Vec::new();
    for entry in fs::read_dir(folder).map_err(unusable(folder))? {
        let name = entry.map_err(unusable(folder))?.file_name();
        parts.extend(name.to_str().and_then(Part::of_file));
    }
    parts.sort();
    Ok(parts)
}

/// The newest part of each of the newest `runs`.
fn ends(parts: &[Part], runs: u32) -> BTreeMap<u32, Part> {
    let mut ends: BTreeMap<u32, Part> = parts.iter().map(|part| (part.run, *part)).collect();
    let older = ends.len().saturating_sub(usize::try_from(runs).unwrap_or(usize::MAX));
    for _ in 0..older {
        ends.pop_first();
    }
    ends
}

/// Shows `see` every whole record of the log in the data directory `root`, the oldest first, while
/// a server may be writing to it. Gives the bytes at its ends that are no whole record.
pub fn read(root: &Path, mut see: impl FnMut(&Record<'_>)) -> Result<usize, DiskError> {
    let folder = root.join("shares");
    let parts = parts(&folder)?;
    let ends = ends(&parts, engines(root)?);
    let mut before: Option<(u32, u64)> = None;
    let mut torn = 0;
    for part in &parts {
        let path = folder.join(part.file_name());
        if let Some((run, next)) = before
            && (run, next) != (part.run, part.first)
            && run == part.run
        {
            return Err(DiskError::SharesMissing { path, next });
        }
        let bytes = fs::read(&path).map_err(unusable(&path))?;
        let examined = examine(*part, &bytes, &mut see)
            .map_err(|damaged| DiskError::SharesDamaged { path: path.clone(), damaged })?;
        // A start cuts off what the run before it left unfinished.
        if examined.torn > 0 && ends.get(&part.run) != Some(part) {
            let damaged = Damaged { line: examined.next - part.first + 1, number: examined.next };
            return Err(DiskError::SharesDamaged { path, damaged });
        }
        torn += examined.torn;
        before = Some((part.run, examined.next));
    }
    Ok(torn)
}

#[cfg(test)]
mod tests;
