//! Bitcoin Core's own consensus code on the blocks of the simulated node: what one takes the
//! other takes, what one refuses the other refuses, and both end on the same tip.

#![cfg(feature = "kernel")]
#![expect(clippy::unwrap_used, reason = "a judge that does not judge fails the test")]
#![expect(clippy::wildcard_enum_match_arm, reason = "most refusals are of one kind")]

#[path = "kernel/worlds.rs"]
mod worlds;

use bitcoin::consensus::encode::serialize;
use bitcoin::{Block, BlockHash, ScriptBuf, Transaction};
use harness::draft::faults::{FAULTS, ODD};
use harness::draft::{Draft, script_sig, spend};
use harness::kernel::{Judge, Reason};
use harness::sim::node::{Refusal, SimNode, Verdict};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt as _, SeedableRng as _};

/// The time of the first block, in Unix seconds: long ago, for the judge has a clock of its own.
const START: u32 = 1_700_000_000;
const PACE_SECS: u32 = 10;
const MATURITY: u32 = 100;

/// The simulated node and the judge, with the same chain.
struct Bench {
    node: SimNode,
    judge: Judge,
    now: u32,
}

impl Bench {
    fn new() -> Self {
        Self { node: SimNode::new(), judge: Judge::new().unwrap(), now: START }
    }

    /// A right block on any block that the node knows.
    fn on(&self, parent: BlockHash) -> Draft {
        let height = self.node.chain().entry(parent).unwrap().height + 1;
        Draft { payee: anyone(), ..Draft::on(parent, height, self.now) }
    }

    fn on_tip(&self) -> Draft {
        self.on(self.node.tip())
    }

    /// Both judge a block; they must agree whether they take it, and on the tip.
    fn submit(&mut self, block: &Block) -> (Verdict, Result<(), Reason>) {
        let verdict = self.node.submit(self.now, block.clone());
        // As the node keeps it: submitblock may have completed its witness.
        let kept = self.node.block(block.block_hash()).map_or(block, |kept| kept.as_ref());
        let second = self.judge.submit(&serialize(kept));
        let taken = match verdict {
            Verdict::Accepted | Verdict::Inconclusive | Verdict::Duplicate => true,
            Verdict::Refused(_) | Verdict::DuplicateInvalid => false,
        };
        assert_eq!(second.is_ok(), taken, "the node: {verdict:?}, the kernel: {second:?}");
        assert_eq!(self.judge.tip(), self.node.tip());
        (verdict, second)
    }

    fn extend(&mut self) -> Block {
        self.now += PACE_SECS;
        let block = self.on_tip().build();
        assert_eq!(self.submit(&block), (Verdict::Accepted, Ok(())));
        block
    }
}

/// A witness script that anyone can spend, so that the kernel has a script to run.
fn anyone() -> ScriptBuf {
    ScriptBuf::from_bytes(vec![0x51]).to_p2wsh()
}

/// Spends the coinbase of a block, leaving a fee.
fn payment(block: &Block, fee: u64) -> Transaction {
    let coinbase = &block.txdata[0];
    let value = coinbase.output[0].value.to_sat() - fee;
    let mut transaction = spend(coinbase.compute_txid(), 0, value);
    transaction.input[0].witness.push([0x51]);
    transaction.output[0].script_pubkey = anyone();
    transaction
}

/// The kernel's kind for what the simulated node has a word for.
fn kind(refusal: Refusal) -> Reason {
    match refusal {
        Refusal::HighHash | Refusal::BadDiffBits | Refusal::TimeTooOld | Refusal::BadVersion(_) => {
            Reason::Header
        }
        Refusal::TimeTooNew => Reason::FromTheFuture,
        Refusal::PrevBlockNotFound => Reason::UnknownParent,
        Refusal::BadPrevBlock => Reason::InvalidParent,
        other if other.is_mutation() => Reason::Mutated,
        _ => Reason::Consensus,
    }
}

#[test]
fn faults_are_faults_to_both() {
    let mut bench = Bench::new();
    for _ in 0..3 {
        bench.extend();
    }
    bench.now += PACE_SECS;
    for (number, (fault, spoil)) in (1..).zip(FAULTS) {
        let mut draft = bench.on_tip();
        draft.script_sig = script_sig(4, number);
        spoil(&mut draft);
        if draft.time > bench.now {
            // The kernel's clock is the machine's.
            continue;
        }
        let (verdict, second) = bench.submit(&draft.build());
        let Verdict::Refused(refusal) = verdict else { panic!("{fault}: {verdict:?}") };
        assert_eq!(second, Err(kind(refusal)), "{fault}: {refusal}");
    }
    for (oddity, spoil) in ODD {
        bench.now += PACE_SECS;
        let mut draft = bench.on_tip();
        spoil(&mut draft);
        assert_eq!(bench.submit(&draft.build()), (Verdict::Accepted, Ok(())), "{oddity}");
    }
}

#[test]
fn what_comes_from_the_future_is_refused_by_the_machines_clock() {
    let bench = Bench::new();
    let future = Draft { time: u32::MAX, ..bench.on_tip() };
    assert_eq!(bench.judge.submit(&serialize(&future.build())), Err(Reason::FromTheFuture));
    assert_eq!(bench.judge.submit(&[0; 10]), Err(Reason::Undecodable));
}

/// The node runs no scripts: this is the fault that only the second judge sees.
#[test]
fn a_script_that_fails_is_seen_by_the_kernel_alone() {
    let mut bench = Bench::new();
    let first = bench.extend();
    for _ in 0..MATURITY {
        bench.extend();
    }
    let mut transaction = payment(&first, 0);
    transaction.input[0].witness.clear();
    transaction.input[0].witness.push([0x00]);
    let block = Draft { transactions: vec![transaction], ..bench.on_tip() }.build();
    assert_eq!(bench.judge.submit(&serialize(&block)), Err(Reason::Consensus));
    assert_eq!(bench.node.submit(bench.now, block), Verdict::Accepted);
}

/// Forks, reorganisations and payments at random, past two halvings.
#[test]
fn chains_of_the_simulated_node_are_chains_to_the_kernel() {
    for seed in 0..4 {
        wander(seed, 350);
    }
}

fn wander(seed: u64, steps: u32) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut bench = Bench::new();
    let mut reorganisations = 0;
    for step in 0..steps {
        bench.now += rng.random_range(1..2 * PACE_SECS);
        let active = bench.node.chain().active();
        let back = rng.random_range(0..4).min(active.len() - 1);
        let (before, parent) = (bench.node.tip(), active[active.len() - 1 - back]);
        // Mostly straight on; a branch of its own is two blocks, so that it takes over at times.
        let branches = back > 0 && rng.random_range(0..4) == 0;
        let mut parent = if branches { parent } else { before };
        for _ in 0..=usize::from(branches) * back {
            // A young chain's median is soon overtaken by blocks of one second.
            bench.now += 1;
            let mut draft = bench.on(parent);
            let height = bench.node.chain().entry(parent).unwrap().height + 1;
            draft.script_sig = script_sig(height, u8::try_from(step % 251).unwrap());
            draft.version |= rng.random_range(0..0x1_0000) << 13;
            if parent == bench.node.tip() {
                pay(&bench, height, &mut draft);
            }
            let block = draft.build();
            let (verdict, _) = bench.submit(&block);
            assert!(matches!(verdict, Verdict::Accepted | Verdict::Inconclusive), "{verdict:?}");
            parent = block.block_hash();
        }
        reorganisations += u32::from(!bench.node.chain().is_active(before));
    }
    assert!(reorganisations > 10, "only {reorganisations} in seed {seed}");
    assert!(bench.node.chain().height() > 300, "{}", bench.node.chain().height());
}

/// Puts the payment of the newest mature coinbase into a block on the tip.
fn pay(bench: &Bench, height: u32, draft: &mut Draft) {
    let Some(mature) = height.checked_sub(MATURITY).filter(|mature| *mature > 0) else { return };
    let hash = bench.node.chain().active_hash(mature).unwrap();
    draft.transactions = vec![payment(bench.node.block(hash).unwrap(), 500)];
    draft.value += 500;
}
