//! The monitor on runs that keep the contract and on runs that break it in one place.

use std::time::Duration;

use bytes::Bytes;
use server::config::PortId;
use server::journal::{DiskOp, WriteError};
use server::node::rpc::CallError;
use server::pool::action::{Action, CallId, CloseReason, Endpoint, Halt, WriteId};
use server::pool::event::{ConnId, Event};

use super::{Breach, Contract};

const A: ConnId = ConnId(0);

/// One step of a run.
enum Step {
    Told(Event),
    Wants(Action),
}

fn opened(conn: ConnId) -> Step {
    Step::Told(Event::Opened { conn, peer: ([127, 0, 0, 1], 9).into(), port: PortId::default() })
}

fn received(conn: ConnId) -> Step {
    Step::Told(Event::Received { conn, bytes: Bytes::from_static(b"x") })
}

fn flushed(conn: ConnId, length: usize) -> Step {
    Step::Told(Event::Flushed { conn, length })
}

fn closed(conn: ConnId) -> Step {
    Step::Told(Event::Closed { conn })
}

fn replied(call: u64) -> Step {
    Step::Told(Event::Replied { call: CallId(call), result: Err(CallError::Timeout) })
}

fn persisted(write: u64) -> Step {
    Step::Told(Event::Persisted { write: WriteId(write) })
}

fn failed(write: u64) -> Step {
    Step::Told(Event::PersistFailed {
        write: WriteId(write),
        error: WriteError::NotKept("full".to_owned()),
    })
}

fn send(conn: ConnId) -> Step {
    Step::Wants(Action::Send { conn, bytes: Bytes::from_static(b"four") })
}

fn close(conn: ConnId) -> Step {
    Step::Wants(Action::Close { conn, why: CloseReason::Stopping })
}

fn call(call: u64) -> Step {
    let (endpoint, body, patience) = (Endpoint::Node(0), Bytes::new(), Duration::ZERO);
    Step::Wants(Action::Call { call: CallId(call), endpoint, body, patience })
}

fn cancel(call: u64) -> Step {
    Step::Wants(Action::Cancel { call: CallId(call) })
}

fn persist(write: u64) -> Step {
    Step::Wants(Action::Persist { write: WriteId(write), op: DiskOp::PutGeneration(1) })
}

fn halt() -> Step {
    Step::Wants(Action::Halt(Halt::Stopped))
}

/// The breach of the last step; those before it must keep the contract.
#[track_caller]
fn run(steps: impl IntoIterator<Item = Step>) -> Option<Breach> {
    let mut contract = Contract::default();
    let mut last = Ok(());
    for step in steps {
        assert_eq!(last, Ok(()), "broken before the last step");
        last = match step {
            Step::Told(event) => contract.event(&event),
            Step::Wants(action) => contract.action(&action),
        };
    }
    last.err()
}

#[test]
fn a_run_as_it_should_be() {
    let steps = [
        persist(0),
        call(0),
        persisted(0),
        replied(0),
        Step::Wants(Action::Listen),
        opened(A),
        received(A),
        send(A),
        send(A),
        flushed(A, 3),
        flushed(A, 5),
        opened(ConnId(1)),
        close(ConnId(1)),
        // What was on its way when the pool let go of it.
        received(ConnId(1)),
        closed(ConnId(1)),
        closed(A),
        persist(1),
        persist(2),
        persist(3),
        // No room in the queue: it fails before the others end.
        failed(3),
        persisted(1),
        failed(2),
        call(1),
        cancel(1),
        replied(1),
        Step::Told(Event::Stop),
        halt(),
    ];
    assert_eq!(run(steps), None);
}

#[test]
fn each_clause_can_be_broken() {
    let overtook = Breach::WriteOvertook { late: WriteId(1), early: WriteId(0) };
    let too_much = Breach::FlushedMoreThanSent { conn: A, flushed: 5, sent: 4 };
    for (steps, breach) in [
        (vec![opened(A), opened(A)], Breach::OpenedTwice(A)),
        (vec![opened(A), closed(A), opened(A)], Breach::OpenedTwice(A)),
        (vec![received(A)], Breach::NotOpen(A)),
        (vec![opened(A), closed(A), received(A)], Breach::NotOpen(A)),
        (vec![opened(A), closed(A), flushed(A, 0)], Breach::NotOpen(A)),
        (vec![opened(A), closed(A), closed(A)], Breach::NotOpen(A)),
        (vec![opened(A), close(A), send(A)], Breach::SpokenToAfterClose(A)),
        (vec![opened(A), close(A), close(A)], Breach::SpokenToAfterClose(A)),
        (vec![opened(A), closed(A), send(A)], Breach::SpokenToAfterClose(A)),
        (vec![opened(A), send(A), flushed(A, 5)], too_much),
        (vec![call(0), call(0)], Breach::CalledTwice(CallId(0))),
        (vec![replied(0)], Breach::AnsweredTwice(CallId(0))),
        (vec![call(0), replied(0), replied(0)], Breach::AnsweredTwice(CallId(0))),
        (vec![call(0), cancel(0), replied(0), replied(0)], Breach::AnsweredTwice(CallId(0))),
        (vec![call(0), replied(0), cancel(0)], Breach::CancelledTwice(CallId(0))),
        (vec![persist(0), persist(0)], Breach::WrittenTwice(WriteId(0))),
        (vec![persist(0), persisted(0), persist(0)], Breach::WrittenTwice(WriteId(0))),
        (vec![persisted(0)], Breach::WriteUnknown(WriteId(0))),
        (vec![persist(0), persisted(0), persisted(0)], Breach::WriteUnknown(WriteId(0))),
        (vec![persist(0), failed(0), failed(0)], Breach::WriteUnknown(WriteId(0))),
        (vec![persist(0), persist(1), persisted(1)], overtook),
        (vec![Step::Wants(Action::Listen), Step::Wants(Action::Listen)], Breach::ListenedTwice),
        (vec![halt(), send(A)], Breach::AfterHalt),
        (vec![opened(A), halt(), closed(A)], Breach::AfterHalt),
    ] {
        assert_eq!(run(steps), Some(breach));
    }
}
