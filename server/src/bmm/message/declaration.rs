//! The description in an M1, in the one form that wallets and explorers understand (version 0).
//!
//! To the rules it is opaque bytes. It is written here so that an operator can propose a sidechain
//! from the settings, and read so that a log line can say which sidechain was proposed.

/// The last two fields of a declaration, which need no length.
const HASH_BYTES: usize = 32 + 20;

/// A sidechain's own description of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declaration {
    /// Its name, at most 255 bytes of UTF-8.
    pub title: String,
    /// A sentence about it.
    pub description: String,
    /// By convention the SHA-256 of a release; the rules do not look at it.
    pub hash_id_1: [u8; 32],
    /// By convention a git commit; the rules do not look at it.
    pub hash_id_2: [u8; 20],
}

/// A title does not fit its one length byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the title of a proposed sidechain has {bytes} bytes and the format ends at 255; the proposal \
     cannot be made; choose a shorter title"
)]
pub struct DeclarationTooLong {
    /// The length of the title.
    pub bytes: usize,
}

impl Declaration {
    /// Reads the description of an M1. `None`: it is in another form, which is legal.
    pub fn parse(description: &[u8]) -> Option<Self> {
        let (&title_bytes, rest) = description.strip_prefix(&[0])?.split_first()?;
        let (title, rest) = rest.split_at_checked(usize::from(title_bytes))?;
        let (text, hashes) = rest.split_at_checked(rest.len().checked_sub(HASH_BYTES)?)?;
        let (hash_id_1, hash_id_2) = hashes.split_first_chunk::<32>()?;
        Some(Self {
            title: String::from_utf8(title.to_vec()).ok()?,
            description: String::from_utf8(text.to_vec()).ok()?,
            hash_id_1: *hash_id_1,
            hash_id_2: hash_id_2.try_into().ok()?,
        })
    }

    /// The description for an M1.
    pub fn to_bytes(&self) -> Result<Vec<u8>, DeclarationTooLong> {
        let bytes = self.title.len();
        let title_bytes = u8::try_from(bytes).map_err(|_| DeclarationTooLong { bytes })?;
        let head = [0, title_bytes];
        let (title, text) = (self.title.as_bytes(), self.description.as_bytes());
        Ok([&head[..], title, text, &self.hash_id_1, &self.hash_id_2].concat())
    }
}
