//! The files of the repository, as the rules see them.

use std::path::Path;

/// From files to one line for each offence.
pub(crate) type Rule = fn(&[File]) -> Vec<String>;

/// A text file, by its path from the top of the repository with forward slashes.
pub(crate) struct File {
    pub(crate) path: String,
    pub(crate) text: String,
}

impl File {
    pub(crate) fn new(path: impl Into<String>, text: impl Into<String>) -> Self {
        Self { path: path.into(), text: text.into() }
    }

    pub(crate) fn is_rust(&self) -> bool {
        self.has_extension("rs")
    }

    pub(crate) fn has_extension(&self, extension: &str) -> bool {
        Path::new(&self.path).extension().is_some_and(|own| own == extension)
    }

    /// The lines with their numbers, from 1.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(index, line)| (index + 1, line))
    }
}

/// All Rust files among these.
pub(crate) fn rust(files: &[File]) -> impl Iterator<Item = &File> {
    files.iter().filter(|file| file.is_rust())
}

/// Every text file of the tree, in the order of their paths: what git tracks or would add. The
/// folder is walked, not git asked, because a source archive has to pass too.
pub(crate) fn load() -> Vec<File> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut files = Vec::new();
    walk(top, "", &mut files);
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

fn walk(folder: &Path, prefix: &str, files: &mut Vec<File>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let path = format!("{prefix}{name}");
        if ignored(&path, &name) {
            continue;
        }
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            walk(&entry.path(), &format!("{path}/"), files);
        } else if kind.is_file()
            && let Ok(text) = std::fs::read_to_string(entry.path())
        {
            files.push(File::new(path, text));
        }
    }
}

/// What `.gitignore` names, and git's own folder.
fn ignored(path: &str, name: &str) -> bool {
    let fuzzing = path.strip_prefix("server/fuzz/");
    path == "target"
        || path == ".git"
        || fuzzing.is_some_and(|inner| ["artifacts", "coverage", "target"].contains(&inner))
        || name.ends_with(".pending-snap")
        || name.ends_with(".snap.new")
}
