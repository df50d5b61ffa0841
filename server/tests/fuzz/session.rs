//! A whole pool with up to four miners who may say anything: each request is answered once, in its
//! turn and under its own id, and whoever comes afterwards finds work and is credited for it.
//!
//! The input is lines. The first byte of each says what happens, the rest is what is said:
//!
//! * `0`-`3`: that miner sends the rest, line end included; `a`-`d`: without the line end;
//! * `A`-`D`: that miner leaves; `x`: the miner whose digit follows reads no more;
//! * `t`: somebody else finds a block; `s`, `f`: all that is being written is safe, or lost;
//! * `w`: time passes, 0.1 s doubled as often as the digit that follows says;
//! * `n`: the node keeps blocks waiting; `m`: it judges them;
//! * `p`: the node publishes the rest; anything else: nothing.
//!
//! `$` as the very first byte lets each miner mine for himself.

use std::collections::VecDeque;

use serde::Deserialize;
use serde_json::value::RawValue;
use server::config::Limits;

use crate::world::World;

/// As many lines as tell a story; more only make the search slow.
const STEPS_MAX: usize = 100;
/// For the same reason, as often as time may pass.
const WAITS_MAX: usize = 6;
const HELLO: &str = "{\"id\":1,\"method\":\"mining.subscribe\",\"params\":[]}\n\
     {\"id\":2,\"method\":\"mining.authorize\",\
     \"params\":[\"bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080\",\"x\"]}\n";

/// Plays the input's story.
pub(crate) fn run(input: &[u8]) {
    let (solo, story) = match input.split_first() {
        Some((b'$', rest)) => (true, rest),
        _ => (false, input),
    };
    let mut world = World::new(solo);
    let mut waits = 0;
    let mut seats = [const { Seat::empty() }; 4];
    for step in story.split_inclusive(|byte| *byte == b'\n').take(STEPS_MAX) {
        let (what, rest) = step.split_first().expect("no step is empty");
        let text = rest.strip_suffix(b"\n").unwrap_or(rest);
        let digit = usize::from(text.first().map_or(0, |byte| byte.wrapping_sub(b'0')));
        match what {
            b'0'..=b'3' => seats[usize::from(what - b'0')].say(&mut world, rest),
            b'a'..=b'd' => seats[usize::from(what - b'a')].say(&mut world, text),
            b'A'..=b'D' => seats[usize::from(what - b'A')].leave(&mut world),
            b'x' => {
                if let Some(conn) = seats.get(digit).and_then(|seat| seat.conn) {
                    world.deafen(conn);
                }
            }
            b't' => world.new_tip(),
            b's' => world.finish_writes(true),
            b'f' => world.finish_writes(false),
            b'w' if waits < WAITS_MAX => {
                waits += 1;
                world.wait(100 << digit.min(9));
            }
            b'n' => world.judge_at_once(false),
            b'm' => world.judge_at_once(true),
            b'p' => world.publish(text),
            _ => {}
        }
        for seat in &mut seats {
            seat.listen(&mut world);
        }
    }
    world.judge_at_once(true);
    world.finish_writes(true);
    for seat in &mut seats {
        seat.listen(&mut world);
        seat.has_no_question_left(&world);
    }
    welcome(&mut world);
}

/// Somebody new does what every miner does.
fn welcome(world: &mut World) {
    let mut seat = Seat::empty();
    seat.say(world, HELLO.as_bytes());
    seat.listen(world);
    seat.has_no_question_left(world);
    let job = seat.heard.iter().rfind(|line| line.contains("\"mining.notify\",\"params\""));
    let job: serde_json::Value =
        serde_json::from_str(job.expect("he is given work")).expect("JSON");
    let (id, time) = (&job["params"][0], &job["params"][7]);
    let submit = format!(
        "{{\"id\":3,\"method\":\"mining.submit\",\"params\":[\
         \"bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080\",{id},\"0000000000000000\",{time},\
         \"00000000\"]}}\n"
    );
    seat.say(world, submit.as_bytes());
    world.finish_writes(true);
    seat.listen(world);
    let credited = "{\"id\":3,\"result\":true,\"error\":null}";
    assert!(seat.heard.iter().any(|line| line == credited), "{:?}", seat.heard);
}

/// A place where a miner sits: at most one connection at a time.
struct Seat {
    conn: Option<u64>,
    /// What was said behind the last line end.
    unfinished: Vec<u8>,
    /// The ids of requests without a reply, in their order.
    open: VecDeque<String>,
    heard: Vec<String>,
}

impl Seat {
    const fn empty() -> Self {
        Self { conn: None, unfinished: Vec::new(), open: VecDeque::new(), heard: Vec::new() }
    }

    fn say(&mut self, world: &mut World, bytes: &[u8]) {
        let conn = *self.conn.get_or_insert_with(|| world.connect());
        self.unfinished.extend_from_slice(bytes);
        while let Some(end) = self.unfinished.iter().position(|byte| *byte == b'\n') {
            let rest = self.unfinished.split_off(end + 1);
            let line = core::mem::replace(&mut self.unfinished, rest);
            self.open.extend(answer_due(line.trim_ascii()));
        }
        // The server need not hear more than the longest line it reads.
        self.unfinished.truncate(2 * Limits::default().line_bytes);
        world.say(conn, bytes);
    }

    fn leave(&mut self, world: &mut World) {
        if let Some(conn) = self.conn.take() {
            world.leave(conn);
            *self = Self::empty();
        }
    }

    /// Hears what was said to it: each reply answers the oldest question.
    fn listen(&mut self, world: &mut World) {
        let Some(conn) = self.conn else { return };
        for line in world.heard(conn).lines() {
            self.heard.push(line.to_owned());
            let wire = read(line.as_bytes()).expect("the server speaks JSON");
            if wire.method.is_none() {
                let due = self.open.pop_front();
                let id = wire.id.map_or("null", RawValue::get);
                assert_eq!(due.as_deref(), Some(id), "{line}");
            }
        }
        if !world.is_open(conn) {
            *self = Self::empty();
        }
    }

    fn has_no_question_left(&self, world: &World) {
        // Whoever does not read is not expected to have heard.
        let reads = self.conn.is_some_and(|conn| world.reads(conn));
        assert!(!reads || self.open.is_empty(), "no reply to {:?}", self.open);
    }
}

/// What the server reads of a line; of keys that it does not know there may be several.
#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    method: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "params")]
    _params: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "result")]
    _result: Option<&'a RawValue>,
}

/// A line as JSON-RPC, if it is that.
fn read(line: &[u8]) -> Option<Wire<'_>> {
    let line = core::str::from_utf8(line).ok().filter(|line| line.starts_with('{'))?;
    serde_json::from_str(line).ok()
}

/// The id under which this line must be answered; none when it is blank or itself a reply.
fn answer_due(line: &[u8]) -> Option<String> {
    if line.is_empty() {
        return None;
    }
    let Some(wire) = read(line) else { return Some("null".to_owned()) };
    wire.method?;
    Some(wire.id.map_or("null", RawValue::get).to_owned())
}
