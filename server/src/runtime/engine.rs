//! The one task that owns the pool: takes events from the inbox, performs actions.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::mpsc as blocking;
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{AbortHandle, JoinSet, unconstrained, yield_now};
use tokio::time::{Instant as TokioInstant, Sleep, sleep_until, timeout};

use super::calls::Calls;
use super::connection::{Connections, LAST_WORDS, Report};
use super::disk::{Disk, DiskError};
use super::listener::Listener;
use super::witness::Witness;
use crate::clock::{Instant, Now, UnixMillis};
use crate::config::{Config, PortId};
use crate::journal::{DiskOp, WriteError};
use crate::pool::action::{Action, CallId, Endpoint, Halt, Wake, WriteId};
use crate::pool::event::{ConnId, Event};
use crate::pool::{Counters, Pool};

/// Events that may wait for the pool; then readers wait too.
const INBOX_EVENTS: usize = 1_024;
/// Writes that may wait for the disk; then they fail at once, and say so.
const DISK_WRITES: usize = 1_024;
/// Events in a row after which everybody else has a turn, although more are there.
const TURN_EVENTS: usize = 256;
/// How long an ended run waits for its miners' last words and for the disk.
const FAREWELL: Duration = Duration::from_secs(3);
const _: () = assert!(FAREWELL.as_millis() > LAST_WORDS.as_millis());

/// What the shell is made of.
#[derive(Debug)]
pub struct Parts<L, Q, D, W> {
    /// What the core is told.
    pub config: Config,
    /// Where miners come in.
    pub listener: L,
    /// How calls leave.
    pub calls: Q,
    /// What the core is told that it did not ask for: nodes' notices, changed settings.
    pub told: mpsc::Receiver<Event>,
    /// Where writes go.
    pub disk: D,
    /// Told of every change of the totals, before anybody else can know of it.
    pub counters: watch::Sender<Counters>,
    /// Sees what passes between the pool and the shell.
    pub witness: W,
}

/// What reaches the engine.
#[derive(Debug)]
pub(super) enum Inbound<Io> {
    /// For the pool.
    Event(Event),
    /// What a miner's tasks report.
    Miner(ConnId, Report<Io>),
    /// A miner, not yet listened to.
    Accepted(Io, SocketAddr, PortId),
    /// Nobody can be let in any more.
    Shut(io::Error),
}

/// Runs the pool until it halts. `wall` is the wall clock; when `stop` is done, the pool is told.
///
/// When this returns, door, connections and disk are let go; when it is dropped, soon after.
pub async fn run<L: Listener, Q: Calls, D: Disk, W: Witness>(
    parts: Parts<L, Q, D, W>,
    wall: impl Fn() -> UnixMillis,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<Halt, DiskError> {
    // The engine gives way by itself. What it writes must not be kept from its socket because it
    // wrote much before.
    unconstrained(run_engine(parts, wall, stop)).await
}

async fn run_engine<L: Listener, Q: Calls, D: Disk, W: Witness>(
    parts: Parts<L, Q, D, W>,
    wall: impl Fn() -> UnixMillis,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<Halt, DiskError> {
    let Parts { config, listener, calls, told, mut disk, counters, mut witness } = parts;
    let recovered = disk.recover()?;
    let (inbox_in, mut inbox) = mpsc::channel(INBOX_EVENTS);
    let started = TokioInstant::now();
    let now = || Now {
        mono: Instant::from_nanos(u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX)),
        wall: wall(),
    };
    let nodes = config.nodes.len();
    let mut pool = Pool::new(config, &recovered, now());
    let (queue, disk_ends) = start_disk(disk, inbox_in.clone());
    let mut engine = Engine {
        listener: Some(listener),
        calls,
        nodes,
        disk: queue,
        disk_ends,
        connections: Connections::new(inbox_in.clone()),
        on_their_way: BTreeMap::new(),
        tasks: JoinSet::new(),
        inbox: inbox_in,
    };
    engine.tell_when(stop);
    engine.tasks.spawn(pass_on(told, engine.inbox.clone()));
    let (mut clock_was_first, mut turn, mut alarm) = (false, 0, Alarm::default());
    let mut at = now();
    let halt = loop {
        // First: who is answered may look at once whether he is counted.
        let totals = pool.counters();
        counters.send_if_modified(|known| core::mem::replace(known, totals) != totals);
        if let Some(halt) = engine.perform_all(&mut pool, &mut witness) {
            break halt;
        }
        engine.tell_flushed(&mut pool, &mut witness, at);
        let mut event = engine.connections.next_event();
        if event.is_none() {
            turn += 1;
            let wake = pool.poll_timeout();
            // A job takes long to reach everybody: whoever has something to say is heard meanwhile.
            if turn >= TURN_EVENTS || matches!(wake, Some((_, Wake::SendJob))) {
                turn = 0;
                yield_now().await;
            }
            let due = wake.map(|(due, _)| started + Duration::from_nanos(due.as_nanos()));
            let inbound = next(&mut inbox, due, !clock_was_first, &mut alarm).await;
            clock_was_first = inbound.is_none();
            match inbound {
                None => {
                    at = now();
                    pool.handle_timeout(at);
                    continue;
                }
                Some(Inbound::Shut(error)) => break Halt::Fatal(shut(&error)),
                Some(inbound) => event = engine.admit(inbound),
            }
        }
        if let Some(event) = event {
            witness.event(&event);
            at = now();
            pool.handle(at, event);
        }
    };
    engine.end(inbox).await;
    Ok(halt)
}

/// What comes next, or `None` when `due` has come. Clock and inbox take turns at going first: with
/// enough miners the inbox is never empty, and what is due would never be done.
async fn next<Io>(
    inbox: &mut mpsc::Receiver<Inbound<Io>>,
    due: Option<TokioInstant>,
    clock_first: bool,
    alarm: &mut Alarm,
) -> Option<Inbound<Io>> {
    if clock_first && due.is_some_and(|due| due <= TokioInstant::now()) {
        return None;
    }
    // Without a timer where there is nothing to wait for.
    if let Ok(inbound) = inbox.try_recv() {
        return Some(inbound);
    }
    // A timer would be up to a millisecond late.
    if due.is_some_and(|due| due <= TokioInstant::now()) {
        return None;
    }
    match due {
        // The engine holds a sender, so the inbox never ends.
        None => inbox.recv().await,
        Some(due) => {
            poll_fn(|context| match inbox.poll_recv(context) {
                Poll::Pending => alarm.poll(due, context).map(|()| None),
                ready @ Poll::Ready(_) => ready,
            })
            .await
        }
    }
}

/// The engine's one timer. What is due next is mostly what was due before, so it is set anew less
/// often than waited for.
#[derive(Default)]
struct Alarm(Option<Pin<Box<Sleep>>>);

impl Alarm {
    fn poll(&mut self, due: TokioInstant, context: &mut Context<'_>) -> Poll<()> {
        let sleep = self.0.get_or_insert_with(|| Box::pin(sleep_until(due)));
        if sleep.deadline() != due {
            sleep.as_mut().reset(due);
        }
        sleep.as_mut().poll(context)
    }
}

fn shut(error: &io::Error) -> String {
    format!(
        "cannot listen for miners on {error}; stop what else listens there, or set STRATUM_HOST \
         and STRATUM_PORT"
    )
}

struct Engine<L: Listener, Q> {
    listener: Option<L>,
    calls: Q,
    /// How many nodes come before the first sidechain daemon.
    nodes: usize,
    disk: blocking::SyncSender<(WriteId, DiskOp)>,
    /// Answered or dropped once the disk is let go.
    disk_ends: oneshot::Receiver<()>,
    connections: Connections<L::Io>,
    on_their_way: BTreeMap<CallId, AbortHandle>,
    /// Everything else that runs: dropped with the engine, so that nothing outlives it.
    tasks: JoinSet<()>,
    inbox: mpsc::Sender<Inbound<L::Io>>,
}

impl<L: Listener, Q: Calls> Engine<L, Q> {
    fn tell_when(&mut self, stop: impl Future<Output = ()> + Send + 'static) {
        let inbox = self.inbox.clone();
        self.tasks.spawn(async move {
            stop.await;
            inbox.send(Inbound::Event(Event::Stop)).await.unwrap_or_default();
        });
    }

    fn perform_all(&mut self, pool: &mut Pool, witness: &mut impl Witness) -> Option<Halt> {
        while let Some(action) = pool.poll_action() {
            witness.action(&action);
            if let Some(halt) = self.perform(action) {
                return Some(halt);
            }
        }
        if cfg!(debug_assertions) {
            pool.audit();
        }
        None
    }

    /// Tells the pool what left at once, as of `at`, when it was sent. After a job these are as
    /// many as there are miners, and ask for nothing: so with no more ado than that.
    fn tell_flushed(&mut self, pool: &mut Pool, witness: &mut impl Witness, at: Now) {
        while let Some(flushed) = self.connections.next_flushed() {
            witness.event(&flushed);
            pool.handle(at, flushed);
        }
    }

    fn perform(&mut self, action: Action) -> Option<Halt> {
        match action {
            Action::Listen => {
                let listener = self.listener.take();
                assert!(listener.is_some(), "the door opens once");
                if let Some(listener) = listener {
                    self.tasks.spawn(accept(listener, self.inbox.clone()));
                }
            }
            Action::Send { conn, bytes } => self.connections.send(conn, bytes),
            Action::Close { conn, .. } => self.connections.close(conn),
            Action::Call { call, endpoint, body, patience } => {
                let place = match endpoint {
                    Endpoint::Node(index) => index,
                    Endpoint::Sidechain(index) => self.nodes + index,
                };
                let (calls, inbox) = (self.calls.clone(), self.inbox.clone());
                let task = self.tasks.spawn(async move {
                    let result = calls.call(place, body, patience).await;
                    let replied = Inbound::Event(Event::Replied { call, result });
                    inbox.send(replied).await.unwrap_or_default();
                });
                self.on_their_way.insert(call, task);
            }
            Action::Cancel { call } => {
                if let Some(task) = self.on_their_way.remove(&call) {
                    task.abort();
                }
            }
            Action::Persist { write, op } => self.persist(write, op),
            Action::Halt(halt) => return Some(halt),
        }
        None
    }

    fn persist(&mut self, write: WriteId, op: DiskOp) {
        if self.disk.try_send((write, op)).is_ok() {
            return;
        }
        let error = WriteError::NotKept("the disk is too slow, or its thread is gone".to_owned());
        let inbox = self.inbox.clone();
        self.tasks.spawn(async move {
            let failed = Inbound::Event(Event::PersistFailed { write, error });
            inbox.send(failed).await.unwrap_or_default();
        });
    }

    /// What came in, as an event if it is one; forgets what it ends.
    fn admit(&mut self, inbound: Inbound<L::Io>) -> Option<Event> {
        match inbound {
            Inbound::Miner(conn, report) => self.connections.hear(conn, report),
            Inbound::Accepted(io, peer, port) => {
                let conn = self.connections.open(io);
                Some(Event::Opened { conn, peer, port })
            }
            Inbound::Event(event) => {
                if let Event::Replied { call, .. } = &event {
                    self.on_their_way.remove(call);
                }
                while self.tasks.try_join_next().is_some() {}
                Some(event)
            }
            Inbound::Shut(_) => None,
        }
    }

    /// Lets out what was said and written, and everything go.
    async fn end(mut self, mut inbox: mpsc::Receiver<Inbound<L::Io>>) {
        self.connections.close_all();
        drop(self.disk);
        let last = async {
            while !self.connections.is_empty() {
                // Only what miners' tasks have to say counts; whoever comes now is turned away.
                if let Some(Inbound::Miner(conn, report)) = inbox.recv().await {
                    self.connections.hear(conn, report);
                }
            }
            drop(inbox);
            self.disk_ends.await.unwrap_or_default();
        };
        // Who needs longer, a miner that does not read or a disk that hangs, is left behind.
        timeout(FAREWELL, last).await.unwrap_or_default();
    }
}

async fn pass_on<Io>(mut told: mpsc::Receiver<Event>, inbox: mpsc::Sender<Inbound<Io>>) {
    while let Some(event) = told.recv().await {
        inbox.send(Inbound::Event(event)).await.unwrap_or_default();
    }
}

async fn accept<L: Listener>(mut listener: L, inbox: mpsc::Sender<Inbound<L::Io>>) {
    loop {
        let (last, inbound) = match listener.accept().await {
            Ok((io, peer, port)) => (false, Inbound::Accepted(io, peer, port)),
            Err(error) => (true, Inbound::Shut(error)),
        };
        if inbox.send(inbound).await.is_err() || last {
            return;
        }
    }
}

/// fsync blocks, so the disk has a thread of its own. It ends, and says so, when its queue is
/// dropped; what was asked for before is written first, whether or not anybody hears of it.
fn start_disk<D: Disk, Io: Send + 'static>(
    mut disk: D,
    inbox: mpsc::Sender<Inbound<Io>>,
) -> (blocking::SyncSender<(WriteId, DiskOp)>, oneshot::Receiver<()>) {
    let (queue, waiting) = blocking::sync_channel::<(WriteId, DiskOp)>(DISK_WRITES);
    let (ends, disk_ends) = oneshot::channel();
    thread::spawn(move || {
        for (write, op) in waiting {
            let event = match disk.perform(&op) {
                Ok(()) => Event::Persisted { write },
                Err(error) => Event::PersistFailed { write, error: error.into() },
            };
            // Who hears of it may want the memory back.
            drop(op);
            inbox.blocking_send(Inbound::Event(event)).unwrap_or_default();
        }
        drop(disk);
        ends.send(()).unwrap_or_default();
    });
    (queue, disk_ends)
}
