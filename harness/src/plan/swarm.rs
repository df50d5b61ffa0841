//! From a seed to a plan: which families of faults, which miners, how much of each.
//!
//! Swarm testing: each family is left out of half of the runs, because a fault that always comes
//! hides what only happens without it. Intensities are drawn by octaves. Limits are drawn within
//! the bounds that the laws assume. Not in here: draws made while a plan runs.

use simminer::persona::FAMILIES;

use super::draw::{Draw, draw};
use super::{
    Ask, DaemonFault, DaemonPlan, DiskFault, Family, Habit, Item, LimitsPlan, MinerPlan,
    NetworkPlan, NodeFault, NoticesPlan, Plan, Poison, SecondPlan, ServerPlan, VardiffPlan, What,
};

const SECOND_MS: u64 = 1_000;
const MINUTE_MS: u64 = 60 * SECOND_MS;

/// Which families a plan may have, whatever its seed says.
#[derive(Clone, Debug, Default)]
pub struct Families {
    /// Only these; all when empty.
    pub only: Vec<Family>,
    /// These in every plan, of those that it may have.
    pub always: Vec<Family>,
    /// So many miners, where given.
    pub miners: Option<u64>,
    /// So long, where given.
    pub horizon_ms: Option<u64>,
}

impl Plan {
    /// The plan that `seed` stands for, within what `families` allow.
    pub fn from_seed(seed: u64, families: &Families) -> Self {
        let mut shape = draw(seed, "plan.shape", (0, 0));
        // Mostly minutes, now and then an hour.
        let horizon_ms = shape.scaled(MINUTE_MS, 16 * MINUTE_MS);
        let long = shape.chance(20);
        let horizon_ms = if long { horizon_ms * 8 } else { horizon_ms };
        let horizon_ms = families.horizon_ms.unwrap_or(horizon_ms);
        let on = |family: Family| {
            let wanted = families.only.is_empty() || families.only.contains(&family);
            let half = draw(seed, "plan.family", (family as u64, 0)).chance(500);
            let always = !families.only.is_empty() || families.always.contains(&family);
            wanted && (half || always)
        };
        let mut server = server(seed);
        second(seed, &mut server);
        notices(seed, &mut server);
        let count = families.miners.unwrap_or_else(|| shape.scaled(1, 40));
        let miners = miners(seed, count, horizon_ms, on(Family::Miners));
        let mut items = Vec::new();
        let scope = Scope { seed, horizon_ms, miners: &miners, server: &server };
        for (family, _) in Family::ALL {
            if on(family) {
                scope.family(family, &mut items);
            }
        }
        // A chain on which nobody else ever mines is rare.
        if families.only.is_empty() && shape.chance(900) {
            scope.rivals(&mut items);
        }
        items.sort_by_key(|item| item.at_ms);
        let network = network(seed, on(Family::Network));
        Self { why: String::new(), seed, horizon_ms, server, network, miners, items, death: None }
    }
}

fn server(seed: u64) -> ServerPlan {
    let mut draw = draw(seed, "plan.server", (0, 0));
    let slots: Vec<u8> = (0..4).filter(|_| draw.chance(300)).collect();
    ServerPlan {
        share_hashes: draw.scaled(2, 64),
        block_shares: draw.scaled(50, 1_000),
        refresh_ms: SECOND_MS * draw.scaled(1, 30),
        blind: draw.chance(850),
        enforcer: draw.chance(350),
        daemons: slots
            .into_iter()
            .map(|slot| DaemonPlan { slot: slot * 3, zero: draw.chance(600) })
            .collect(),
        vardiff: vardiff(seed),
        limits: limits(&mut draw),
        empty_first: false,
        notices: None,
        second: None,
    }
}

/// In half of all runs difficulty follows the pace.
fn vardiff(seed: u64) -> Option<VardiffPlan> {
    let mut draw = draw(seed, "plan.vardiff", (0, 0));
    draw.chance(500).then(|| {
        let share_ms = draw.scaled(1_000, 8_000);
        let min_hashes = draw.scaled(2, 16);
        let max_hashes = draw.chance(300).then(|| draw.scaled(64, 4_096));
        VardiffPlan { share_ms, min_hashes, max_hashes }
    })
}

/// A second node, in some runs.
fn second(seed: u64, server: &mut ServerPlan) {
    let mut draw = draw(seed, "plan.second", (0, 0));
    // An enforcer's work and that of a node without one are not to be mixed.
    let submit_only = draw.chance(200) || server.enforcer;
    let second = SecondPlan { delay_ms: draw.scaled(5, 3_000), submit_only };
    server.second = draw.chance(400).then_some(second);
    server.limits.tip_age_ms = draw.scaled(20 * SECOND_MS, 10 * MINUTE_MS);
}

/// In half of all runs the nodes publish their tips, and mostly that is made use of. To how many
/// miners at once, in all of them.
fn notices(seed: u64, server: &mut ServerPlan) {
    let mut draw = draw(seed, "plan.notices", (0, 0));
    let lost = if draw.chance(300) { draw.between(1, 500) } else { 0 };
    let notices = NoticesPlan { delay_us: draw.scaled(50, 20_000), lost };
    server.notices = draw.chance(500).then_some(notices);
    server.empty_first = draw.chance(700);
    server.limits.offers_at_once = size(draw.scaled(1, 64));
}

fn limits(draw: &mut Draw) -> LimitsPlan {
    let grace_ms = draw.scaled(100, 10_000);
    LimitsPlan {
        sessions: size(draw.scaled(8, 256)),
        outbox_bytes: size(draw.scaled(32 * 1_024, 256 * 1_024)),
        garbage_lines: u32::try_from(draw.between(1, 8)).unwrap_or(5),
        line_bytes: size(draw.scaled(1_024, 16 * 1_024)),
        workers: size(draw.scaled(2, 64)),
        jobs_live: size(draw.scaled(64, 1_024)),
        offers_at_once: 0,
        grace_ms,
        keep_stale_ms: grace_ms + draw.scaled(1_000, 600_000),
        commitment_wait_ms: draw.scaled(10, 500),
        call_patience_ms: draw.scaled(500, 10_000),
        long_poll_patience_ms: draw.scaled(5_000, 90_000),
        submit_patience_ms: draw.scaled(1_000, 30_000),
        retry_pause_ms: draw.scaled(50, 1_000),
        tip_age_ms: 0,
        journal_flush_ms: draw.scaled(10, 1_000),
        journal_batch: size(draw.scaled(1, 4_096)),
        journal_waiting: size(draw.scaled(32, 65_536)),
    }
}

fn size(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn network(seed: u64, rough: bool) -> NetworkPlan {
    let mut draw = draw(seed, "plan.network", (0, 0));
    let latency_us = draw.scaled(50, 50_000);
    NetworkPlan {
        latency_us,
        jitter_us: if rough { draw.scaled(100, 200_000) } else { 0 },
        cuts: if rough { draw.between(0, 400) } else { 0 },
        call_us: draw.scaled(50, 5_000),
        call_jitter_us: if rough { draw.scaled(100, 400_000) } else { 0 },
    }
}

fn miners(seed: u64, count: u64, horizon_ms: u64, odd: bool) -> Vec<MinerPlan> {
    let mut shape = draw(seed, "plan.miners", (0, 0));
    let share_ms = shape.scaled(500, 20_000);
    // Of the odd habits, a few in each run: they would drown one another.
    let habits: Vec<Habit> = Habit::ODD.into_iter().filter(|_| shape.chance(300)).collect();
    (0..count)
        .map(|id| {
            let mut draw = draw(seed, "plan.miner", (id, 0));
            let is_odd = odd && !habits.is_empty() && draw.chance(400);
            let early = draw.chance(700);
            let habit = if is_odd { *draw.pick(&habits) } else { Habit::Honest };
            let (family, asks) = character(seed, id, habit);
            MinerPlan {
                id,
                habit,
                family,
                asks,
                share_ms: draw.scaled(share_ms, share_ms * 4),
                joins_ms: draw.below(if early { 2_000 } else { horizon_ms }),
                rolls: draw.chance(600),
            }
        })
        .collect()
}

/// The firmware that a miner has, and what it asks for. Odd ones are simminer: what is odd about
/// them is enough.
fn character(seed: u64, id: u64, habit: Habit) -> (Option<String>, Option<Ask>) {
    let mut draw = draw(seed, "plan.character", (id, 0));
    if habit != Habit::Honest {
        return (None, None);
    }
    let family = draw.chance(400).then(|| (*draw.pick(&FAMILIES)).to_owned());
    let hashes = draw.scaled(1, 10_000);
    let asks = match draw.below(100) {
        0..15 => Some(Ask::Suggest { hashes }),
        15..20 => Some(Ask::Fix { hashes }),
        20..25 => Some(Ask::Floor { hashes }),
        _ => None,
    };
    (family, asks)
}

/// What items are drawn over.
struct Scope<'a> {
    seed: u64,
    horizon_ms: u64,
    miners: &'a [MinerPlan],
    server: &'a ServerPlan,
}

impl Scope<'_> {
    /// So many items of one kind, each at a time of its own.
    fn some(
        &self,
        items: &mut Vec<Item>,
        label: &str,
        every_ms: (u64, u64),
        make: impl Fn(&mut Draw) -> What,
    ) {
        let mut shape = draw(self.seed, label, (u64::MAX, 0));
        let every = shape.scaled(every_ms.0, every_ms.1);
        for place in 0..(self.horizon_ms / every).min(400) {
            let mut draw = draw(self.seed, label, (place, 0));
            let at_ms = draw.below(self.horizon_ms);
            items.push(Item { at_ms, what: make(&mut draw) });
        }
    }

    fn family(&self, family: Family, items: &mut Vec<Item>) {
        match family {
            Family::Network => self.network(items),
            Family::Node => self.node(items),
            Family::Chain => self.chain(items),
            Family::Drivechain => self.drivechain(items),
            Family::Clock => self.clock(items),
            Family::Disk => self.disk(items),
            Family::Process => self.process(items),
            Family::Miners => {}
        }
    }

    fn network(&self, items: &mut Vec<Item>) {
        if self.miners.is_empty() {
            return;
        }
        self.some(items, "items.network", (3_000, 60_000), |draw| {
            let miner = draw.pick(self.miners).id;
            let ms = draw.scaled(50, 30_000);
            match draw.below(100) {
                0..30 => What::Reset { miner },
                30..45 => What::HalfClose { miner },
                45..70 => {
                    let (up, down) = *draw.pick(&[(true, false), (false, true), (true, true)]);
                    What::Stall { miner, up, down, ms }
                }
                70..80 => What::Trickle { miner, ms: ms.min(3_000) },
                80..87 => What::Partition { ms },
                87..93 => What::Swizzle { ms },
                _ => What::Storm,
            }
        });
    }

    fn node(&self, items: &mut Vec<Item>) {
        let mut shape = draw(self.seed, "items.node.kinds", (0, 0));
        let kinds: Vec<NodeFault> =
            NodeFault::ALL.into_iter().filter(|_| shape.chance(400)).collect();
        if kinds.is_empty() {
            return;
        }
        self.some(items, "items.node", (5_000, 60_000), |draw| {
            let fault = *draw.pick(&kinds);
            What::Node { fault, ms: draw.scaled(100, 40_000) }
        });
        if self.server.second.is_none() {
            return;
        }
        self.some(items, "items.second", (10_000, 90_000), |draw| {
            if draw.chance(400) {
                return What::Split { ms: draw.scaled(500, 60_000) };
            }
            let fault = *draw.pick(&kinds);
            What::Second { fault, ms: draw.scaled(100, 60_000) }
        });
    }

    fn rivals(&self, items: &mut Vec<Item>) {
        self.some(items, "items.rivals", (20_000, 300_000), |_| What::Rival);
        if self.server.second.is_some() {
            let every = (20_000, 300_000);
            self.some(items, "items.second.rivals", every, |_| What::SecondRival);
        }
        self.some(items, "items.pay", (3_000, 60_000), |draw| What::Pay {
            count: draw.scaled(1, 8),
        });
    }

    fn chain(&self, items: &mut Vec<Item>) {
        self.some(items, "items.chain", (10_000, 120_000), |draw| match draw.below(100) {
            0..40 => What::Rival,
            40..60 => What::Reorg { depth: u32::try_from(draw.between(1, 3)).unwrap_or(1) },
            60..75 => What::Flip { ms: draw.scaled(10, 10_000) },
            75..85 => What::Invalidate,
            85..95 => What::Lag { lag_ms: draw.scaled(5, 800), ms: draw.scaled(1_000, 60_000) },
            _ => What::Forget,
        });
    }

    fn drivechain(&self, items: &mut Vec<Item>) {
        let daemons = &self.server.daemons;
        self.some(items, "items.bids", (2_000, 40_000), |draw| {
            // Two slots of four are hotly contested.
            let slot = *draw.pick(&[0, 3, 3, 6, 9, 9, 9]);
            What::Bid {
                slot,
                fee: draw.scaled(100, 100_000),
                expired: draw.chance(150),
                child: draw.chance(200),
            }
        });
        if !daemons.is_empty() {
            self.some(items, "items.daemons", (5_000, 60_000), |draw| {
                let slot = draw.pick(daemons).slot;
                if draw.chance(400) {
                    return What::Candidate { slot };
                }
                let fault =
                    *draw.pick(&[DaemonFault::Down, DaemonFault::Slow, DaemonFault::Nonsense]);
                What::Daemon { slot, fault, ms: draw.scaled(100, 40_000) }
            });
        }
        if self.server.enforcer {
            self.some(items, "items.poison", (30_000, 300_000), |draw| {
                let poison = *draw.pick(&[
                    Poison::BidWithoutCommitment,
                    Poison::TwoCommitments,
                    Poison::WrongWitnessCommitment,
                ]);
                What::Poison { poison, ms: draw.scaled(500, 20_000) }
            });
        }
    }

    fn clock(&self, items: &mut Vec<Item>) {
        self.some(items, "items.clock", (20_000, 300_000), |draw| {
            if draw.chance(500) {
                return What::Pause { ms: draw.scaled(10, 20_000) };
            }
            let seconds = i64::try_from(draw.scaled(1, 7_200)).unwrap_or(1);
            What::WallJump { seconds: if draw.chance(500) { seconds } else { -seconds } }
        });
    }

    fn disk(&self, items: &mut Vec<Item>) {
        self.some(items, "items.disk", (10_000, 120_000), |draw| {
            if draw.chance(300) {
                return What::FailWrite { nth: draw.below(4) };
            }
            let fault = *draw.pick(&[
                DiskFault::Slow,
                DiskFault::Full,
                DiskFault::SyncFails,
                DiskFault::Hangs,
            ]);
            What::Disk { fault, ms: draw.scaled(100, 60_000) }
        });
    }

    fn process(&self, items: &mut Vec<Item>) {
        self.some(items, "items.process", (20_000, 300_000), |draw| {
            let ms = draw.scaled(10, 20_000);
            match draw.below(100) {
                0..65 => What::Crash { actions: draw.below(5), ms },
                65..80 => What::Restart { ms, changed: draw.chance(500) },
                _ => What::Reconfigure,
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_one_plan_and_survives_json() {
        for seed in 0..40 {
            let plan = Plan::from_seed(seed, &Families::default());
            assert_eq!(plan, Plan::from_seed(seed, &Families::default()));
            let text = serde_json::to_string(&plan).expect("a plan is JSON");
            assert_eq!(serde_json::from_str::<Plan>(&text).expect("reads"), plan);
        }
    }

    #[test]
    fn what_is_always_there_is_in_every_plan_and_the_others_are_not() {
        let families = Families { always: vec![Family::Disk], ..Families::default() };
        let has = |seed, family| {
            let plan = Plan::from_seed(seed, &families);
            plan.items.iter().any(|item| item.what.family() == family)
        };
        // A run may be shorter than the time between two faults of a family.
        assert!((0..60).filter(|seed| has(*seed, Family::Disk)).count() > 50);
        assert!((0..60).filter(|seed| has(*seed, Family::Clock)).count() < 50);
    }

    #[test]
    fn every_family_comes_and_every_family_stays_away() {
        for (family, name) in Family::ALL {
            if family == Family::Miners {
                continue;
            }
            let with = (0..60)
                .filter(|seed| {
                    let plan = Plan::from_seed(*seed, &Families::default());
                    plan.items.iter().any(|item| item.what.family() == family)
                })
                .count();
            // Rivals and payments are in nine of ten plans whatever the family says.
            assert!(with > 10 && (with < 50 || family == Family::Chain), "{name}: {with} of 60");
        }
    }

    #[test]
    fn what_is_asked_for_is_what_comes() {
        let families = Families {
            only: vec![Family::Disk],
            miners: Some(3),
            horizon_ms: Some(90_000),
            ..Families::default()
        };
        let plan = Plan::from_seed(4, &families);
        assert_eq!((plan.miners.len(), plan.horizon_ms), (3, 90_000));
        assert!(plan.items.iter().all(|item| item.what.family() == Family::Disk));
        assert!(plan.miners.iter().all(|miner| miner.habit == Habit::Honest));
    }
}
