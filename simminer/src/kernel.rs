//! The kernels: ways to hash a header with many nonces, each as fast as some machines can.
//!
//! Why several: the instructions that are worth using differ from one machine to the next, and the
//! widest are not always the fastest. What the machine has is asked when the program runs, so one
//! binary serves all of them, and `scalar` is always there. Which of them is the fastest is for
//! a clock to say (`runtime`).
//!
//! A kernel only looks at the hash's most significant word; whoever it names is hashed again by
//! [`Header::hash`] and held to the whole target, so that no kernel is believed.
//! **Invariant:** knows no target but its top word, no job and no clock; `unsafe` is in this file
//! alone, and only to enter a kernel that the machine was found to have.

mod header;
mod scalar;
mod sha256;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod lanes;
#[cfg(target_arch = "x86_64")]
mod sha_ni;

use std::fmt;
use std::str::FromStr;

pub use header::Header;

/// A way to hash that this machine has: there is no other way to get one than to ask the machine.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Kernel(Kind);

/// Every way there is, on any machine.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    /// One nonce at a time, by the library's block function.
    Scalar,
    /// Eight nonces in the lanes of AVX2.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// Several nonces in turn through the SHA extensions, so that none waits for another.
    #[cfg(target_arch = "x86_64")]
    ShaNi,
    /// The 16 lanes of AVX-512.
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

#[cfg(target_arch = "x86_64")]
const KINDS: [Kind; 4] = [Kind::Scalar, Kind::Avx2, Kind::ShaNi, Kind::Avx512];
#[cfg(not(target_arch = "x86_64"))]
const KINDS: [Kind; 1] = [Kind::Scalar];

/// Why a name gives no kernel.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum KernelError {
    /// There is none of this name.
    #[error("there is no such kernel; this machine has {0}")]
    Unknown(String),
    /// The processor lacks the instructions.
    #[error("this machine lacks the instructions it needs; it has {0}")]
    NotHere(String),
}

impl Kernel {
    /// The one that every machine has.
    pub const SCALAR: Self = Self(Kind::Scalar);

    /// Those that this machine has.
    pub fn all() -> impl Iterator<Item = Self> {
        KINDS.into_iter().filter(|kind| kind.is_here()).map(Self)
    }

    /// What it is called on the command line.
    pub const fn name(self) -> &'static str {
        self.0.name()
    }

    /// Finds the first nonce of `count`, counted from `first`, with which the hash's most
    /// significant word is at most `top_word`.
    ///
    /// `first + count` is at most 2^32.
    pub fn scan(self, header: &Header, first: u32, count: u64, top_word: u32) -> Option<u32> {
        assert!(u64::from(first) + count <= 1 << 32, "a nonce has 32 bits");
        let whole = count - count % self.0.nonces_at_once();
        let found = self.0.scan(header, first, whole, top_word);
        if found.is_some() || whole == count {
            return found;
        }
        // Fewer nonces are left than go through at once. They do fit, for `count` is not done yet.
        let (first, _) = first.overflowing_add(low_word(whole));
        scalar::scan(header, first, count - whole, top_word)
    }
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Self::ShaNi => "sha-ni",
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => "avx512",
        }
    }

    /// Whether this machine has every instruction that it uses.
    fn is_here(self) -> bool {
        match self {
            Self::Scalar => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => is_x86_feature_detected!("avx2"),
            #[cfg(target_arch = "x86_64")]
            Self::ShaNi => {
                is_x86_feature_detected!("sha")
                    && is_x86_feature_detected!("ssse3")
                    && is_x86_feature_detected!("sse4.1")
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => {
                is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw")
            }
        }
    }

    const fn nonces_at_once(self) -> u64 {
        match self {
            Self::Scalar => 1,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => avx2::NONCES as u64,
            #[cfg(target_arch = "x86_64")]
            Self::ShaNi => sha_ni::NONCES as u64,
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => avx512::NONCES as u64,
        }
    }

    /// [`Kernel::scan`] for a `count` that is a multiple of [`Self::nonces_at_once`].
    #[cfg_attr(
        target_arch = "x86_64",
        expect(
            unsafe_code,
            reason = "a function that uses other instructions can be entered in no other way"
        )
    )]
    fn scan(self, header: &Header, first: u32, count: u64, top_word: u32) -> Option<u32> {
        match self {
            Self::Scalar => scalar::scan(header, first, count, top_word),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => {
                // SAFETY: this machine has AVX2. A `Kernel` comes only from `Kernel::all`, which
                // leaves out what `is_here` denies, and its field is private to this module.
                unsafe { avx2::scan(header, first, count, top_word) }
            }
            #[cfg(target_arch = "x86_64")]
            Self::ShaNi => {
                // SAFETY: this machine has SHA, SSSE3 and SSE4.1, for the same reason.
                unsafe { sha_ni::scan(header, first, count, top_word) }
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => {
                // SAFETY: this machine has AVX-512 F and BW, for the same reason.
                unsafe { avx512::scan(header, first, count, top_word) }
            }
        }
    }
}

impl FromStr for Kernel {
    type Err = KernelError;

    fn from_str(name: &str) -> Result<Self, KernelError> {
        let here = || Self::all().map(Self::name).collect::<Vec<_>>().join(", ");
        match KINDS.into_iter().find(|kind| kind.name() == name) {
            None => Err(KernelError::Unknown(here())),
            Some(kind) if kind.is_here() => Ok(Self(kind)),
            Some(_) => Err(KernelError::NotHere(here())),
        }
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// The low 32 bits: nonces wrap where they end.
#[expect(clippy::cast_possible_truncation, reason = "that is what it is for")]
const fn low_word(number: u64) -> u32 {
    number as u32
}

#[cfg(test)]
mod tests;
