//! The plan's part of the simulation: what each item does when it begins and when it ends.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "each function is told the items that it knows"
)]

use bitcoin::absolute::LockTime;
use bitcoin::hashes::Hash as _;
use bitcoin::transaction::Version;
use bitcoin::{
    Amount, BlockHash, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Txid, Witness,
};

use super::{Event, Simulation};
use crate::plan::draw::draw;
use crate::plan::{Item, What};
use crate::sim::observe::{Conn, Observation, Phase};
use crate::sim::queue::Micros;
use crate::sim::sidechain::{HStar, m8_payload};

/// What a child of a bid pays on top, in satoshi.
const CHILD_FEE: u64 = 2_000;
/// Of a thousand bids for a tip that is gone, so many leave the mempool with it.
const EXPIRE: u64 = 850;

impl Simulation<'_> {
    pub(super) fn item_begins(&mut self, place: usize) {
        if self.phase != Phase::Safety {
            return;
        }
        let Item { what, .. } = self.plan.items[place].clone();
        self.panel.felt(&what);
        let text = format!("{what:?}");
        self.see(&Observation::Item { place, begins: true, what: text });
        if let Some(ms) = self.begin(place, &what) {
            self.queue.put(self.later(ms), Event::ItemEnds(place));
        }
    }

    /// Begins, and says after how many milliseconds it ends.
    fn begin(&mut self, place: usize, what: &What) -> Option<u64> {
        match *what {
            What::Reset { .. }
            | What::HalfClose { .. }
            | What::Stall { .. }
            | What::Trickle { .. }
            | What::Partition { .. }
            | What::Storm
            | What::Swizzle { .. } => self.begin_network(place, what),
            What::Node { fault, ms } => {
                self.upstream.begin(0, fault);
                return Some(ms);
            }
            What::Second { fault, ms } => {
                self.upstream.begin(1, fault);
                return Some(ms);
            }
            What::Split { ms } => self.split_until = self.split_until.max(self.later(ms)),
            What::Rival => self.rival(),
            What::SecondRival => self.second_rival(),
            What::Reorg { depth } => self.reorg(depth),
            What::Flip { ms } => {
                self.flip();
                return Some(ms);
            }
            What::Invalidate => self.invalidate_ours(),
            What::Lag { lag_ms, ms } => {
                self.upstream.set_lag(Some(lag_ms * 1_000));
                return Some(ms);
            }
            What::Pay { count } => (0..count).for_each(|_| self.pay()),
            What::Forget => self.world.change_node(crate::sim::node::SimNode::forget_transactions),
            What::Bid { slot, fee, expired, child } => self.bid(slot, fee, expired, child),
            What::Daemon { slot, fault, ms } => {
                self.upstream.set_daemon(slot, fault, true);
                return Some(ms);
            }
            What::Candidate { slot } => {
                if let Some(sidechain) = self.world.sidechain_mut(slot) {
                    sidechain.refresh_candidate();
                }
            }
            What::Poison { poison, ms } => {
                self.upstream.set_poison(poison, true);
                return Some(ms);
            }
            What::WallJump { seconds } => self.host.jump(seconds),
            What::Pause { ms } => {
                let mended = Micros::from_millis(self.plan.horizon_ms);
                self.host.pause(self.later(ms).min(mended));
            }
            What::Disk { fault, ms } => {
                self.disk.begin(fault);
                return Some(ms);
            }
            What::FailWrite { nth } => self.disk.fail_write(nth),
            What::Crash { .. } | What::Reconfigure | What::Restart { .. } => {
                return self.begin_process(what);
            }
        }
        None
    }

    /// What befalls the process.
    fn begin_process(&mut self, what: &What) -> Option<u64> {
        match *what {
            What::Crash { actions, ms } => {
                let number = self.host.set_crash(actions);
                // A server that has nothing to do dies all the same.
                self.queue.put(self.later(1_000), Event::Crash(number));
                Some(1_000 + ms)
            }
            What::Restart { ms, changed } => {
                self.host.change_settings(changed);
                self.stop();
                Some(15_000 + ms)
            }
            _ => {
                self.reconfigure();
                None
            }
        }
    }

    fn begin_network(&mut self, place: usize, what: &What) {
        let conn = |simulation: &Self, miner: u64| simulation.miners.get(&miner)?.conn;
        match *what {
            What::Reset { miner } => {
                if let Some(conn) = conn(self, miner) {
                    self.leave(miner, conn);
                }
            }
            What::HalfClose { miner } => {
                if let Some(conn) = conn(self, miner) {
                    self.network.half_close(self.now, conn);
                }
            }
            What::Stall { miner, up, down, ms } => {
                let until = self.later(ms);
                if let Some(conn) = conn(self, miner) {
                    for (stands, way) in [(up, true), (down, false)] {
                        if stands {
                            self.network.stall(conn, way, until);
                        }
                    }
                }
            }
            What::Trickle { miner, ms } => {
                if let Some(conn) = conn(self, miner) {
                    self.network.trickle(conn, self.later(ms));
                }
            }
            What::Partition { ms } => {
                self.partition_until = self.later(ms);
                for conn in self.network.all() {
                    self.freeze(conn, self.partition_until);
                }
            }
            What::Storm => {
                for (miner, conn) in self.held() {
                    self.leave(miner, conn);
                    self.queue.put(self.later(1), Event::Join(miner));
                }
            }
            // Each stops at its own time, and each goes on at its own.
            What::Swizzle { ms } => {
                for (_, conn) in self.held() {
                    let stops = self.swizzle(place, conn, ms).below(ms / 2 + 1);
                    self.queue.put(self.later(stops), Event::ItemGoesOn(place, conn));
                }
            }
            _ => {}
        }
    }

    fn swizzle(&self, place: usize, conn: Conn, ms: u64) -> crate::plan::draw::Draw {
        draw(self.plan.seed, "net.swizzle", (place as u64, conn * 2 + ms % 2))
    }

    pub(super) fn item_goes_on(&mut self, place: usize, conn: Conn) {
        if let What::Swizzle { ms } = self.plan.items[place].what
            && self.phase == Phase::Safety
        {
            let mut draw = self.swizzle(place, conn, ms);
            let _stopped = draw.below(ms / 2 + 1);
            let until = self.later(draw.below(ms / 2 + 1));
            self.freeze(conn, until);
        }
    }

    pub(super) fn item_ends(&mut self, place: usize) {
        let what = self.plan.items[place].what.clone();
        if !matches!(what, What::Crash { .. } | What::Restart { .. }) && self.phase != Phase::Safety
        {
            return;
        }
        let text = format!("{what:?}");
        self.see(&Observation::Item { place, begins: false, what: text });
        match what {
            What::Node { fault, .. } => self.upstream.end(0, fault),
            What::Second { fault, .. } => self.upstream.end(1, fault),
            What::Flip { .. } => self.flip(),
            What::Lag { .. } => self.upstream.set_lag(None),
            What::Daemon { slot, fault, .. } => self.upstream.set_daemon(slot, fault, false),
            What::Poison { poison, .. } => self.upstream.set_poison(poison, false),
            What::Disk { fault, .. } => self.disk.end(self.now, fault),
            What::Crash { .. } | What::Restart { .. } => self.start(),
            _ => {}
        }
    }

    /// A rival mines on the tip.
    pub(super) fn rival(&mut self) {
        let tip = self.world.node().tip();
        self.mine(tip);
    }

    /// A rival mines on the second node's tip.
    fn second_rival(&mut self) {
        let unix = self.unix();
        // Refused only when blocks ahead of the clock have used up all time there is.
        self.world.change_second(|node| node.mine_rival(node.tip(), unix).ok());
    }

    fn mine(&mut self, parent: BlockHash) -> Option<BlockHash> {
        let unix = self.unix();
        // Refused only when blocks ahead of the clock have used up all time there is.
        self.world.mine_rival(parent, unix).ok()
    }

    /// Rivals mine one block more than they replace.
    fn reorg(&mut self, depth: u32) {
        let active = self.world.node().chain().active().to_vec();
        let Some(fork) = active.len().checked_sub(1 + usize::try_from(depth).unwrap_or(1)) else {
            return;
        };
        let mut parent = active[fork];
        for _ in 0..=depth {
            let Some(next) = self.mine(parent) else { return };
            parent = next;
        }
    }

    /// The tip's twin becomes the tip; where there is none, it is mined first.
    fn flip(&mut self) {
        let chain = self.world.node().chain();
        let (tip, entry) = (chain.tip(), *chain.tip_entry());
        if entry.height == 0 {
            return;
        }
        let parent = entry.header.prev_blockhash;
        let twin = chain.children(parent).find(|hash| *hash != tip);
        if let Some(twin) = twin.or_else(|| self.mine(parent)) {
            self.world.change_node(|node| node.prefer(twin));
        }
    }

    /// What an enforcer does to a block that bitcoind accepted and it does not.
    fn invalidate_ours(&mut self) {
        if let Some(ours) = self.ours.filter(|ours| *ours == self.world.node().tip()) {
            self.panel.invalidated(ours);
            // Whoever watches the first node's rules watches the second's.
            self.world.change_node(|node| node.invalidate(ours));
            self.world.change_second(|node| node.invalidate(ours));
        }
    }

    fn next_outpoint(&mut self) -> OutPoint {
        self.paid += 1;
        let mut bytes = [0x77; 32];
        bytes[..8].copy_from_slice(&self.paid.to_le_bytes());
        OutPoint::new(Txid::from_byte_array(bytes), 0)
    }

    fn pay(&mut self) {
        let input = self.next_outpoint();
        let mut draw = draw(self.plan.seed, "pay", (self.paid, 0));
        let output =
            TxOut { value: Amount::from_sat(draw.scaled(1_000, 1 << 40)), script_pubkey: anyone() };
        let fee = draw.scaled(200, 50_000);
        self.enter(transaction(input, vec![output], draw.chance(500)), fee);
    }

    fn enter(&mut self, transaction: Transaction, fee: u64) -> Txid {
        let txid = transaction.compute_txid();
        let again = transaction.clone();
        // The second may have mined what this one spends otherwise: then it goes without.
        self.world.change_second(|node| node.add_transaction(again, fee).ok());
        let entered = self.world.change_node(|node| node.add_transaction(transaction, fee));
        assert!(entered.is_ok(), "what the world makes up is a transaction: {entered:?}");
        txid
    }

    fn bid(&mut self, slot: u8, fee: u64, expired: bool, child: bool) {
        let input = self.next_outpoint();
        let chain = self.world.node().chain();
        let tip = chain.tip();
        let parent = if expired { chain.tip_entry().header.prev_blockhash } else { tip };
        let mut h_star = [0; 32];
        for (place, word) in h_star.chunks_exact_mut(8).zip(0..) {
            let word = draw(self.plan.seed, "bid", (self.paid, word)).below(u64::MAX);
            place.copy_from_slice(&word.to_le_bytes());
        }
        let payload = m8_payload(slot, HStar(h_star), parent);
        let script = [&[0x6a, 0x44][..], &payload].concat();
        let note = TxOut { value: Amount::ZERO, script_pubkey: ScriptBuf::from_bytes(script) };
        let change = TxOut { value: Amount::from_sat(50_000), script_pubkey: anyone() };
        let txid = self.enter(transaction(input, vec![note, change.clone()], true), fee);
        self.bids.insert(txid, parent);
        if child {
            let spends = OutPoint::new(txid, 1);
            let output = TxOut { value: change.value - Amount::from_sat(CHILD_FEE), ..change };
            self.enter(transaction(spends, vec![output], false), CHILD_FEE);
        }
    }

    /// Bids for a tip that is gone leave, most of them.
    pub(super) fn bids_expire(&mut self) {
        let tip = self.world.node().tip();
        let seed = self.plan.seed;
        let gone: Vec<Txid> = self
            .bids
            .iter()
            .filter(|(txid, parent)| {
                let key =
                    u64::from(txid.as_byte_array()[0]) << 8 | u64::from(txid.as_byte_array()[1]);
                **parent != tip && draw(seed, "bid.expires", (key, 0)).chance(EXPIRE)
            })
            .map(|(txid, _)| *txid)
            .collect();
        for txid in gone {
            self.bids.remove(&txid);
            self.world.change_node(|node| node.withdraw(txid));
            self.world.change_second(|node| node.withdraw(txid));
        }
    }
}

fn anyone() -> ScriptBuf {
    ScriptBuf::from_bytes(vec![0x51])
}

fn transaction(input: OutPoint, output: Vec<TxOut>, witness: bool) -> Transaction {
    let witness = if witness { Witness::from_slice(&[[1; 8]]) } else { Witness::new() };
    let input = TxIn {
        previous_output: input,
        script_sig: ScriptBuf::new(),
        sequence: Sequence::MAX,
        witness,
    };
    Transaction { version: Version::TWO, lock_time: LockTime::ZERO, input: vec![input], output }
}
