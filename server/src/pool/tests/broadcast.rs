//! A job on its way to very many miners, and what happens meanwhile.

use super::*;

/// More than are offered a job at once, twice over.
const MANY: usize = 150;

/// A pool with so many miners, the first one's work, and the first job's successor under way.
fn under_way(config: Config, conns: &mut Vec<ConnId>) -> (Rig, String) {
    let mut rig = Rig::mining(config);
    let (first, heard) = rig.miner();
    conns.push(first);
    conns.extend((1..MANY).map(|_| rig.miner().0));
    rig.reply_long_poll(template(2, 102));
    (rig, heard)
}

/// How many jobs each miner heard of, and hears of from now on.
fn jobs(rig: &mut Rig, conns: &[ConnId]) -> Vec<usize> {
    conns.iter().map(|conn| rig.hear(*conn).matches("mining.notify").count()).collect()
}

#[test]
fn it_leaves_a_few_at_a_time_and_reaches_each_once() {
    let mut conns = Vec::new();
    let (mut rig, _) = under_way(config(), &mut conns);
    let at_first = jobs(&mut rig, &conns);
    let there = at_first.iter().sum::<usize>();
    assert!((1..MANY / 2).contains(&there), "{at_first:?}");
    assert!(at_first.is_sorted_by(|a, b| a >= b), "those who are connected longest: {at_first:?}");
    assert!(rig.send_jobs() > 1);
    let later = jobs(&mut rig, &conns);
    assert!(at_first.iter().zip(&later).all(|(first, later)| first + later == 1), "{later:?}");
}

/// The block test comes first, and whoever speaks need not wait for his turn.
#[test]
fn a_block_and_a_share_are_heard_meanwhile() {
    let mut conns = Vec::new();
    let (mut rig, _) = under_way(easy(), &mut conns);
    let newest = Work::from(&rig.hear(conns[0]), "00000000", 5);
    rig.say(conns[0], &newest.submit(3, 5, newest.nonce(0, true)));
    assert_eq!(rig.asked("submitblock"), 1, "before the job is everywhere");
    let last = conns[MANY - 1];
    let heard = rig.say(last, "{\"id\":9,\"method\":\"mining.ping\",\"params\":[]}\n");
    assert_eq!(heard.matches("mining.notify").count(), 1, "{heard}");
    assert!(Work::from(&heard, "00000000", 5).clean);
    rig.send_jobs();
    assert_eq!(jobs(&mut rig, &conns[MANY - 1..]), [0], "it has it");
    assert_eq!(jobs(&mut rig, &conns[MANY - 2..MANY - 1]), [1]);
}

/// One who connects meanwhile, and one who leaves.
#[test]
fn who_comes_has_it_and_who_goes_is_passed_over() {
    let mut conns = Vec::new();
    let (mut rig, _) = under_way(config(), &mut conns);
    let (newcomer, heard) = rig.miner();
    assert!(Work::from(&heard, "00000000", 5).clean);
    rig.handle(Event::Closed { conn: conns[MANY - 1] });
    rig.send_jobs();
    assert_eq!(jobs(&mut rig, &[newcomer]), [0]);
    assert_eq!(jobs(&mut rig, &conns[..MANY - 1]), [1; MANY - 1]);
}
