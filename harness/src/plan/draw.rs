//! Randomness that is looked up, not consumed: a draw depends on the seed, what it is for, and a
//! key, and on nothing that was drawn before it.
//!
//! So one item less in a plan leaves all other draws as they were, which is what makes a failing
//! plan shrink. `ChaCha8` under a key made of seed, label and key; the ranges are reduced here and
//! not by a library, because a new version of one must not change what an old plan does.

use rand::rngs::ChaCha8Rng;
use rand::{Rng as _, SeedableRng as _};

/// A few numbers for one purpose.
#[derive(Debug)]
pub struct Draw(ChaCha8Rng);

/// The numbers that `seed` holds for `label` and `key`, always the same.
pub fn draw(seed: u64, label: &str, key: (u64, u64)) -> Draw {
    let mut bytes = [0; 32];
    for (place, word) in bytes.chunks_exact_mut(8).zip([seed, digest(label), key.0, key.1]) {
        place.copy_from_slice(&word.to_le_bytes());
    }
    Draw(ChaCha8Rng::from_seed(bytes))
}

/// FNV-1a: labels are few and ours, so that a collision would be seen.
fn digest(label: &str) -> u64 {
    label.bytes().fold(0xcbf2_9ce4_8422_2325, |digest, byte| {
        (digest ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

impl Draw {
    /// A number below `end`, all alike; 0 when `end` is.
    pub fn below(&mut self, end: u64) -> u64 {
        let wide = u128::from(self.0.next_u64()) * u128::from(end);
        u64::try_from(wide >> 64).unwrap_or(0)
    }

    /// A number from `first` to `last`, all alike.
    pub fn between(&mut self, first: u64, last: u64) -> u64 {
        assert!(first <= last && last < u64::MAX, "a range has a first and a last number");
        first + self.below(last - first + 1)
    }

    /// A number from `first` to `last`, every octave alike: intensities are felt as ratios.
    pub fn scaled(&mut self, first: u64, last: u64) -> u64 {
        assert!(0 < first && first <= last, "octaves begin above zero");
        let octaves = u64::from((last / first).ilog2()) + 1;
        let low = first << self.below(octaves);
        self.between(low, (low.saturating_mul(2) - 1).min(last).max(low))
    }

    /// True in `of_a_thousand` of a thousand cases.
    pub fn chance(&mut self, of_a_thousand: u64) -> bool {
        self.below(1_000) < of_a_thousand
    }

    /// One of `all`, all alike.
    pub fn pick<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        let place = self.below(all.len() as u64);
        &all[usize::try_from(place).unwrap_or(0)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draw_depends_on_what_it_is_for_and_on_nothing_else() {
        let first = |seed, label, key| draw(seed, label, key).below(u64::MAX);
        let one = first(1, "a", (2, 3));
        assert_eq!(one, first(1, "a", (2, 3)));
        for other in [first(2, "a", (2, 3)), first(1, "b", (2, 3)), first(1, "a", (3, 2))] {
            assert_ne!(one, other);
        }
        // Kept plans mean what they meant: these numbers must never change.
        assert_eq!(draw(417, "net.latency", (3, 9)).below(1_000_000), KEPT);
    }

    const KEPT: u64 = 130_976;

    #[test]
    fn ranges_hold_their_ends() {
        let mut seen = std::collections::BTreeSet::new();
        for key in 0..200 {
            let mut draw = draw(7, "range", (key, 0));
            seen.insert(draw.between(3, 5));
            let scaled = draw.scaled(10, 1_000);
            assert!((10..=1_000).contains(&scaled), "{scaled}");
            assert_eq!(draw.scaled(5, 5), 5);
            assert!(!draw.chance(0) && draw.chance(1_000));
        }
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), [3, 4, 5]);
        assert_eq!(draw(7, "none", (0, 0)).below(0), 0);
    }
}
