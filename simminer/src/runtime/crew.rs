//! The hashing threads.
//!
//! Why threads with a single-place order board each (`watch`) and not a queue: only the newest
//! order counts, and a thread must see within one short batch of nonces that its job is void.
//! After each find a thread waits until the engine has dealt with it; so at a trivial difficulty
//! the pace is the server's, and no flood of shares builds up anywhere.
//! **Invariant:** a thread works on what the engine gave it, and the engine gives no work twice.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};

use crate::hasher::Solution;
use crate::kernel::Kernel;
use crate::runtime::bench;
use crate::runtime::engine::Input;
use crate::work::Work;

/// Nonces between two looks at the order board: half a millisecond, or less with a fast kernel.
const BATCH_NONCES: u64 = 8 * 1024;

/// Hashes after which a thread reports them, so that the rate shown is fresh.
const REPORT_HASHES: u64 = 1 << 20;

/// What a thread is to do now.
#[derive(Clone, Debug, Default)]
struct Order {
    /// Counted up with each change of work.
    number: u64,
    /// What to search; `None` is to wait.
    work: Option<Arc<Work>>,
    /// Finds that were dealt with; the thread waits until its own are.
    released: u64,
}

/// A nonce that met its work's share target.
#[derive(Debug)]
pub(super) struct Found {
    /// Which thread found it.
    pub(super) thread: usize,
    /// How many it has found, this one included.
    pub(super) count: u64,
    /// What was searched.
    pub(super) work: Arc<Work>,
    /// What was found.
    pub(super) solution: Solution,
}

/// All hashing threads.
#[derive(Debug)]
pub(super) struct Crew {
    hands: Vec<Hand>,
}

/// One hashing thread, from the engine's side.
#[derive(Debug)]
struct Hand {
    orders: watch::Sender<Order>,
    thread: JoinHandle<u64>,
}

impl Crew {
    /// Starts the threads, without work. Must be called within a tokio runtime.
    pub(super) fn start(
        threads: usize,
        kernel: Option<Kernel>,
        inbox: &mpsc::Sender<Input>,
    ) -> io::Result<Self> {
        // With no thread there is nothing to choose.
        let kernel =
            if threads == 0 { Kernel::SCALAR } else { kernel.unwrap_or_else(bench::fastest) };
        let mut hands = Vec::with_capacity(threads);
        for index in 0..threads {
            let (orders, board) = watch::channel(Order::default());
            let worker = Worker {
                index,
                kernel,
                board,
                inbox: inbox.clone(),
                runtime: Handle::current(),
                found: 0,
                tried: 0,
            };
            let name = format!("hasher-{index}");
            let thread = thread::Builder::new().name(name).spawn(move || worker.work())?;
            hands.push(Hand { orders, thread });
        }
        Ok(Self { hands })
    }

    /// How many threads there are.
    pub(super) fn len(&self) -> usize {
        self.hands.len()
    }

    /// Gives a thread work, or `None` to wait; it drops what it had.
    pub(super) fn assign(&self, thread: usize, work: Option<Work>) {
        self.hands[thread].orders.send_if_modified(|order| {
            // Telling a thread that waits to wait would only wake it.
            let news = order.work.is_some() || work.is_some();
            order.number += u64::from(news);
            order.work = work.map(Arc::new);
            news
        });
    }

    /// Whether a thread's order is still the one with this number.
    pub(super) fn is_current(&self, thread: usize, number: u64) -> bool {
        self.hands[thread].orders.borrow().number == number
    }

    /// Lets a thread go on after its `count`-th find.
    pub(super) fn release(&self, thread: usize, count: u64) {
        self.hands[thread].orders.send_modify(|order| order.released = count);
    }

    /// Ends the threads; returns the hashes they had not reported. The inbox must be closed.
    pub(super) fn stop(self) -> u64 {
        let (boards, threads): (Vec<_>, Vec<_>) =
            self.hands.into_iter().map(|hand| (hand.orders, hand.thread)).unzip();
        // A thread whose board is gone ends at its next look.
        drop(boards);
        let ended = threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        ended.sum()
    }
}

/// One hashing thread, from its own side.
struct Worker {
    index: usize,
    kernel: Kernel,
    board: watch::Receiver<Order>,
    inbox: mpsc::Sender<Input>,
    /// Only to wait on the board from a thread that is not a task.
    runtime: Handle,
    /// Shares found so far.
    found: u64,
    /// Hashes not reported yet.
    tried: u64,
}

/// How a search ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Outcome {
    /// There was nothing left to try, or there is more to search.
    Searched,
    /// Another order was given.
    Superseded,
    /// The engine is gone.
    Ended,
}

impl Worker {
    /// Follows orders until the engine is gone; returns the hashes not reported.
    fn work(mut self) -> u64 {
        loop {
            let order = self.board.borrow_and_update().clone();
            if let Some(work) = &order.work
                && self.search(order.number, work) == Outcome::Ended
            {
                return self.tried;
            }
            let new_order = |board: &Order| board.number != order.number;
            if self.runtime.block_on(self.board.wait_for(new_order)).is_err() {
                return self.tried;
            }
        }
    }

    /// Searches all nonces of one work, unless something else is to be done.
    fn search(&mut self, number: u64, work: &Arc<Work>) -> Outcome {
        let mut hasher = work.hasher().with_kernel(self.kernel);
        while !hasher.is_exhausted() {
            match self.board.has_changed() {
                Err(_) => return Outcome::Ended,
                Ok(true) if self.board.borrow_and_update().number != number => {
                    return Outcome::Superseded;
                }
                Ok(_) => {}
            }
            let step = hasher.search(BATCH_NONCES);
            self.tried += step.tried;
            if let Some(solution) = step.found {
                match self.report(number, work, solution) {
                    Outcome::Searched => {}
                    Outcome::Superseded => return Outcome::Superseded,
                    Outcome::Ended => return Outcome::Ended,
                }
            } else if self.tried >= REPORT_HASHES {
                let hashes = std::mem::take(&mut self.tried);
                if self.inbox.blocking_send(Input::Tried { hashes }).is_err() {
                    return Outcome::Ended;
                }
            }
        }
        let hashes = std::mem::take(&mut self.tried);
        let spent = Input::Spent { thread: self.index, number, hashes };
        if self.inbox.blocking_send(spent).is_err() { Outcome::Ended } else { Outcome::Searched }
    }

    /// Hands a find to the engine and waits until it has dealt with it.
    ///
    /// Also when a new order has come by now: the find may be a block, and whether its job is
    /// still good is the client's to say.
    fn report(&mut self, number: u64, work: &Arc<Work>, solution: Solution) -> Outcome {
        self.found += 1;
        let count = self.found;
        let found = Found { thread: self.index, count, work: Arc::clone(work), solution };
        let hashes = std::mem::take(&mut self.tried);
        if self.inbox.blocking_send(Input::Found { found, hashes }).is_err() {
            return Outcome::Ended;
        }
        let dealt_with = |order: &Order| order.number != number || order.released >= count;
        match self.runtime.block_on(self.board.wait_for(dealt_with)) {
            Err(_) => Outcome::Ended,
            Ok(order) if order.number != number => Outcome::Superseded,
            Ok(_) => Outcome::Searched,
        }
    }
}
