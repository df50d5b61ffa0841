//! The way to instructions that not every machine has.
//!
//! **Invariant:** the only `unsafe` of the server is here, and only to enter a function whose
//! instructions this machine was found to have.

use super::{Block, Hash, sha_ni};

/// This machine has the SHA extensions: there is no other way to get one than to ask it.
#[derive(Clone, Copy, Debug)]
pub(super) struct ShaNi(());

#[expect(
    unsafe_code,
    reason = "a function that uses other instructions can be entered in no other way"
)]
#[expect(clippy::unused_self, reason = "it is the proof, and there is nothing in it")]
impl ShaNi {
    /// Asks once; the answer is kept.
    #[inline]
    pub(super) fn here() -> Option<Self> {
        let all = is_x86_feature_detected!("sha")
            && is_x86_feature_detected!("ssse3")
            && is_x86_feature_detected!("sse4.1");
        all.then_some(Self(()))
    }

    /// [`super::sha256d_blocks`].
    #[inline]
    pub(super) fn blocks(self, parts: &[&[Block]]) -> Hash {
        // SAFETY: `self` comes from `here` alone, so this machine has SHA, SSSE3 and SSE4.1, which
        // is all that the function asks for.
        unsafe { sha_ni::blocks(parts) }
    }

    /// [`super::sha256d_branch`].
    #[inline]
    pub(super) fn branch(self, leaf: &Hash, branch: &[Hash]) -> Hash {
        // SAFETY: as in `blocks`.
        unsafe { sha_ni::branch(leaf, branch) }
    }

    /// [`super::sha256d_pairs`].
    pub(super) fn pairs(self, pairs: &[[Hash; 2]]) -> Vec<Hash> {
        // SAFETY: as in `blocks`.
        unsafe { sha_ni::pairs(pairs) }
    }

    /// [`super::sha256d_each`].
    pub(super) fn each(self, messages: &[&[u8]]) -> Vec<Hash> {
        // SAFETY: as in `blocks`.
        unsafe { sha_ni::each(messages) }
    }
}
