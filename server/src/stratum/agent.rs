//! What is known of a miner's firmware by the name that it gives itself.
//!
//! The numbers are those of MINERS: buffers read in the firmware's own source, or coinbases that
//! were seen to break it. An unknown name gets what every ordinary client holds.

use core::num::NonZeroU64;

use crate::mining::coinbase::Coinbase;
use crate::mining::form::Budget;

/// What one family of firmware can and wants.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Family {
    /// Part of the name, in lower case.
    name: &'static str,
    /// The coinbase that it holds.
    pub budget: Budget,
    /// The least difficulty that it mines at, when it refuses lower ones.
    pub difficulty_min: Option<NonZeroU64>,
}

impl Family {
    const fn new(name: &'static str, budget: Budget) -> Self {
        Self { name, budget, difficulty_min: None }
    }

    const fn from(self, difficulty_min: u64) -> Self {
        Self { difficulty_min: NonZeroU64::new(difficulty_min), ..self }
    }
}

/// The first whose name is found counts, so the narrower ones come first.
const FAMILIES: [Family; 13] = [
    // 512 hex digits for each half (NerdMiner PR 807).
    Family::new("nerdminer", Budget::half(255)),
    // ESP-Miner and what descends from it: 384 bytes for each half (PR 1897).
    Family::new("bitaxe", Budget::half(384)),
    Family::new("nerdqaxe", Budget::half(384)),
    Family::new("nerdaxe", Budget::half(384)),
    Family::new("nerdoctaxe", Budget::half(384)),
    Family::new("nmaxe", Budget::half(384)),
    // Small coinbases, and no mining below this difficulty ("Pool difficulty too low").
    Family::new("nicehash", Budget::whole(500)).from(500_000),
    Family::new("antminer s21", Budget::whole(2_250)),
    // Stock S19 and older.
    Family::new("antminer", Budget::whole(750)),
    Family::new("bmminer", Budget::whole(750)),
    // Canaan's build: Avalon Nano and Q fail on ports with large coinbases.
    Family::new("cgminer/4.11.1", Budget::whole(750)),
    Family::new("whatsminer", Budget::whole(6_500)),
    Family::new("", Budget::LARGEST),
];

/// Bytes that `coinbase` must lose to fit into every firmware that is known.
pub fn excess_bytes(coinbase: &Coinbase) -> usize {
    let excesses = FAMILIES.iter().map(|family| family.budget.excess_bytes(coinbase));
    excesses.max().unwrap_or(0)
}

/// The family of whoever calls itself `agent`.
pub fn family(agent: &str) -> Family {
    let agent = agent.to_ascii_lowercase();
    let found = FAMILIES.iter().find(|family| agent.contains(family.name));
    found.copied().unwrap_or(Family::new("", Budget::LARGEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_by_the_names_that_they_give() {
        let check = |agent, whole_bytes, half_bytes, difficulty_min| {
            let found = family(agent);
            let budget = Budget { whole_bytes, half_bytes };
            let least = found.difficulty_min.map(NonZeroU64::get);
            assert_eq!((found.budget, least), (budget, difficulty_min), "{agent}");
        };
        check("NerdMinerV2/1.8.3", 510, 255, None);
        check("bitaxe/BM1370/v2.12.2", 768, 384, None);
        check("NerdQAxe++/BM1370/v1.0", 768, 384, None);
        check("NiceHash/1.0.0", 500, 500, Some(500_000));
        check("Antminer S21/Thu Apr 11", 2_250, 2_250, None);
        check("bmminer/2.0.0", 750, 750, None);
        check("cgminer/4.11.1", 750, 750, None);
        check("cgminer/4.12.0", 16_000, 16_000, None);
        check("whatsminer/v1.0", 6_500, 6_500, None);
        check("Braiins OS 2019-06-05", 16_000, 16_000, None);
        check("", 16_000, 16_000, None);
    }
}
