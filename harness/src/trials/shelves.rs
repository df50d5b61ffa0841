//! The files that the server keeps of found blocks, read by their documentation: which folder each
//! block is in.

use std::fs;
use std::io;
use std::path::Path;
use std::str::FromStr as _;

use bitcoin::BlockHash;

/// Where a found block's file is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Shelf {
    /// Not judged.
    Pending,
    /// `accepted`.
    Accepted,
    /// `inconclusive`.
    Inconclusive,
    /// `rejected`.
    Rejected,
}

/// Every file of a block under `data_dir`.
pub(super) fn files(data_dir: &Path) -> io::Result<Vec<(BlockHash, Shelf)>> {
    let blocks = data_dir.join("blocks");
    let mut all = Vec::new();
    for (folder, shelf) in [
        (blocks.clone(), Shelf::Pending),
        (blocks.join("accepted"), Shelf::Accepted),
        (blocks.join("inconclusive"), Shelf::Inconclusive),
        (blocks.join("rejected"), Shelf::Rejected),
    ] {
        for entry in fs::read_dir(folder)? {
            let name = entry?.file_name();
            // <height>-<hash>.hex; what a crash left of a file that was being written is none.
            let hash = name.to_str().and_then(|name| name.strip_suffix(".hex"));
            let hash = hash.and_then(|name| name.split_once('-')).map(|(_, hash)| hash);
            all.extend(hash.and_then(|hash| BlockHash::from_str(hash).ok()).map(|it| (it, shelf)));
        }
    }
    all.sort_unstable();
    Ok(all)
}

/// How many blocks are not judged.
pub(super) fn pending(data_dir: &Path) -> io::Result<usize> {
    Ok(files(data_dir)?.iter().filter(|(_, shelf)| *shelf == Shelf::Pending).count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_is_on_its_shelf() {
        let folder = tempfile::TempDir::new().unwrap();
        let blocks = folder.path().join("blocks");
        for shelf in ["accepted", "inconclusive", "rejected"] {
            fs::create_dir_all(blocks.join(shelf)).unwrap();
        }
        let (one, two) = ("11".repeat(32), "22".repeat(32));
        fs::write(blocks.join(format!("7-{one}.hex")), "").unwrap();
        fs::write(blocks.join(format!("7-{two}.tmp")), "").unwrap();
        fs::write(blocks.join(format!("accepted/6-{two}.hex")), "").unwrap();
        let hash = |text: &str| BlockHash::from_str(text).unwrap();
        let expected = [(hash(&one), Shelf::Pending), (hash(&two), Shelf::Accepted)];
        assert_eq!(files(folder.path()).unwrap(), expected);
        assert_eq!(pending(folder.path()).unwrap(), 1);
    }
}
