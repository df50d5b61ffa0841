//! The server's part of the simulation: its events, its actions, its deaths and its starts.

use server::pool::action::{Action, CallId, Halt, WriteId};
use server::pool::event::{ConnId, Event as PoolEvent};

use super::{Event, Simulation};
use crate::sim::observe::{Ending, Observation};
use crate::sim::queue::Micros;
use crate::sim::upstream::{CallKey, CallMove};

/// Until a server that gave up is started again.
const AGAIN_US: u64 = 2_000_000;

impl Simulation<'_> {
    /// The process starts, unless one runs.
    pub(super) fn start(&mut self) {
        if self.host.is_up() {
            return;
        }
        let recovered = self.host.recover(&mut self.disk);
        self.see(&Observation::Started {
            generation: recovered.generation,
            pending: recovered.pending.iter().map(|block| block.hash).collect(),
        });
        let unix = self.unix();
        self.host.start(self.now, unix, &recovered);
        self.perform_all();
    }

    /// Hands an event to the server: `what` is how an outsider sees it.
    pub(super) fn deliver(&mut self, what: &Observation, event: PoolEvent) {
        if !self.host.is_up() {
            return;
        }
        self.see(what);
        let unix = self.unix();
        self.host.handle(self.now, unix, event);
        self.perform_all();
    }

    /// Puts `event` off while the machine stands still.
    pub(super) fn waits(&mut self, event: &Event) -> bool {
        let Some(until) = self.host.paused(self.now) else { return false };
        self.queue.put(until, event.clone());
        true
    }

    pub(super) fn wake(&mut self, number: u64) {
        if self.waits(&Event::Wake(number)) {
            return;
        }
        let unix = self.unix();
        if let Some(why) = self.host.wake(self.now, unix, number) {
            self.see(&Observation::Woken { why });
            self.perform_all();
        } else {
            self.set_wake();
        }
    }

    fn set_wake(&mut self) {
        if let Some((due, number)) = self.host.next_wake(self.now) {
            self.queue.put(due, Event::Wake(number));
        }
    }

    fn perform_all(&mut self) {
        loop {
            if self.host.dies_now() {
                return self.dies();
            }
            let Some(action) = self.host.poll_action() else { break };
            if self.host.crashes_now() {
                return self.crash();
            }
            if self.perform(action) {
                return;
            }
        }
        self.host.audit();
        self.count_node_changes();
        self.see(&Observation::Done);
        self.set_wake();
    }

    /// Which node is followed only the server knows: what it counts of that is counted here.
    fn count_node_changes(&mut self) {
        let Some(counters) = self.host.counters() else { return };
        let (failovers, returns) = (counters.failovers, counters.returns);
        let before = core::mem::replace(&mut self.node_changes, (failovers, returns));
        for (name, now, before) in [
            ("another node is followed", failovers, before.0),
            ("the preferred node is followed again", returns, before.1),
        ] {
            if now > before {
                self.upstream.felt(name);
            }
        }
    }

    /// Performs `action`; true when the process ended with it.
    fn perform(&mut self, action: Action) -> bool {
        let run = self.host.run();
        match action {
            Action::Listen => self.see(&Observation::Listening),
            Action::Send { conn: ConnId(conn), bytes } => {
                self.see(&Observation::Sent { conn, bytes: bytes.clone() });
                self.network.send_down(self.now, conn, bytes);
            }
            Action::Close { conn: ConnId(conn), why } => {
                self.see(&Observation::Closing { conn, why: why.to_string() });
                self.network.close(self.now, conn);
            }
            Action::Call { call: CallId(call), endpoint, body, patience } => {
                self.see(&Observation::Called { call, endpoint, body: body.clone() });
                let patience = u64::try_from(patience.as_micros()).unwrap_or(u64::MAX);
                let key = CallKey { run, call };
                self.upstream.call(self.now, key, endpoint, body, patience);
            }
            Action::Cancel { call: CallId(call) } => {
                self.see(&Observation::Cancelled { call });
                self.upstream.cancel(CallKey { run, call });
            }
            Action::Persist { write: WriteId(write), op } => {
                self.see(&Observation::Writes { write, op: op.clone() });
                self.disk.write(self.now, write, op);
            }
            Action::Halt(why) => {
                self.halts(why);
                return true;
            }
        }
        false
    }

    /// The process ends by itself: what it asked for is written first.
    fn halts(&mut self, why: Halt) {
        self.disk.settle();
        let (ending, again) = match why {
            Halt::Stopped => (Ending::Stopped, None),
            Halt::Fatal(why) => (Ending::Fatal(why), Some(AGAIN_US)),
        };
        self.process_is_gone(ending);
        if let Some(after) = again {
            self.queue.put(self.now.after(after), Event::Start);
        }
    }

    /// The death that the plan has a moment for.
    fn dies(&mut self) {
        self.crash();
        let after = self.plan.death.map_or(0, |death| death.ms);
        self.queue.put(self.later(after), Event::Start);
    }

    pub(super) fn crash(&mut self) {
        self.disk.crash();
        self.process_is_gone(Ending::Crash);
    }

    fn process_is_gone(&mut self, ending: Ending) {
        self.host.end();
        self.upstream.server_dies();
        self.see(&Observation::Ended(ending));
        self.network.server_dies(self.now);
    }

    pub(super) fn crash_if_due(&mut self, number: u64) {
        if self.host.is_up() && self.host.is_to_crash(number) {
            self.crash();
        }
    }

    /// The operator changes the settings of the server that runs.
    pub(super) fn reconfigure(&mut self) {
        if self.host.is_up() {
            let newer = self.host.reconfigure();
            self.deliver(&Observation::Reconfigured, PoolEvent::Reconfigured(Box::new(newer)));
        }
    }

    /// The operator asks the server to stop.
    pub(super) fn stop(&mut self) {
        if self.host.is_up() {
            let unix = self.unix();
            self.host.handle(self.now, unix, PoolEvent::Stop);
            self.perform_all();
        }
    }

    pub(super) fn disk_done(&mut self, number: u64) {
        if self.waits(&Event::DiskDone(number)) {
            return;
        }
        let Some((write, error)) = self.disk.finish(self.now, number) else { return };
        let id = WriteId(write);
        match error {
            None => {
                let seen = Observation::Persisted { write };
                self.deliver(&seen, PoolEvent::Persisted { write: id });
            }
            Some(error) => {
                let seen = Observation::NotPersisted { write, error: error.clone() };
                self.deliver(&seen, PoolEvent::PersistFailed { write: id, error });
            }
        }
    }

    pub(super) fn call_moves(&mut self, next: CallMove) {
        let unix = self.unix();
        match next {
            CallMove::Arrives(key) => {
                self.upstream.arrive(self.now, unix, key, &mut self.world);
            }
            CallMove::Look(key) => self.upstream.look(self.now, unix, key, &mut self.world),
            CallMove::Returns(key, outcome) => self.call_ends(key, CallMove::Returns(key, outcome)),
            CallMove::Deadline(key) => self.call_ends(key, CallMove::Deadline(key)),
        }
    }

    fn call_ends(&mut self, key: CallKey, next: CallMove) {
        if key.run == self.host.run() && self.waits(&Event::Call(next.clone())) {
            return;
        }
        let outcome = match next {
            CallMove::Returns(_, outcome) => outcome,
            CallMove::Deadline(_) | CallMove::Arrives(_) | CallMove::Look(_) => {
                Err(server::node::rpc::CallError::Timeout)
            }
        };
        let Some(result) = self.upstream.deliver(key, outcome) else { return };
        if key.run != self.host.run() {
            return;
        }
        let seen = Observation::Replied { call: key.call, result: result.clone() };
        self.deliver(&seen, PoolEvent::Replied { call: CallId(key.call), result });
    }

    /// In so many milliseconds.
    pub(super) const fn later(&self, ms: u64) -> Micros {
        self.now.after(ms * 1_000)
    }
}
