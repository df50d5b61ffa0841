//! A data directory for one test, gone with it.

use std::path::{Path, PathBuf};
use std::{env, fs, process};

/// A fresh empty folder among the system's temporary ones.
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// One that `test` has to itself: tests have names of their own, and processes numbers.
    pub(crate) fn of(test: &str) -> Self {
        let path = env::temp_dir().join(format!("drivechain-stratum-{test}-{}", process::id()));
        if path.exists() {
            fs::remove_dir_all(&path).expect("left by a test long dead");
        }
        fs::create_dir(&path).expect("the temporary folder is writable");
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// The names of the found blocks that are in `shelf`, a path below the folder.
    pub(crate) fn blocks(&self, shelf: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.0.join(shelf)) else { return Vec::new() };
        let paths = entries.map(|entry| entry.expect("readable").path());
        let files = paths.filter(|path| path.extension().is_some_and(|kind| kind == "hex"));
        let name = |path: PathBuf| path.file_name().map(|name| name.to_string_lossy().into_owned());
        let mut names: Vec<String> = files.filter_map(name).collect();
        names.sort();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A server that still ends may write once more; what is left is the system's to clean up.
        fs::remove_dir_all(&self.0).unwrap_or_default();
    }
}
