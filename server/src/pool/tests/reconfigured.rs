//! The operator changes settings while miners mine.

use super::*;
use crate::config::PortRules;

impl Rig {
    fn reconfigure(&mut self, newer: Config) {
        self.handle(Event::Reconfigured(Box::new(newer)));
    }
}

fn paying(script: u8) -> Config {
    Config { payout: ScriptBuf::from_bytes(vec![script]), ..easy() }
}

#[test]
fn another_payout_is_in_a_job_at_once_and_the_last_job_stays_good() {
    let mut rig = Rig::mining(paying(0x51));
    let (conn, heard) = rig.miner();
    let old = Work::from(&heard, "00000000", 5);
    rig.reconfigure(paying(0x52));
    let new = Work::from(&rig.hear(conn), "00000000", 5);
    assert!(!new.clean && new.job != old.job);
    let pays = |work: &Work| work.outputs()[0].script_pubkey.to_bytes();
    assert_eq!((pays(&old), pays(&new)), (vec![0x51], vec![0x52]));
    for (id, work) in [(4, &old), (5, &new)] {
        let said = rig.say(conn, &work.submit(id, 5, work.nonce(0, false)));
        assert!(said.contains(&format!("\"id\":{id},\"result\":true")), "{said}");
    }
}

#[test]
fn who_comes_later_begins_with_the_new_difficulty_and_who_is_there_keeps_his() {
    let rules = |difficulty: &str| {
        let difficulty = difficulty.parse().expect("a difficulty");
        Miners { ports: vec![PortRules { difficulty, vardiff: None }], solo: None }
    };
    let mut rig = Rig::mining(Config { miners: rules("1e-12"), ..easy() });
    let (conn, heard) = rig.miner();
    assert!(heard.contains("mining.set_difficulty"), "{heard}");
    rig.reconfigure(Config { miners: rules("2e-12"), ..easy() });
    let again = rig.hear(conn);
    assert!(again.contains("mining.notify") && !again.contains("set_difficulty"), "{again}");
    let (_, later) = rig.miner();
    assert!(later.contains("\"mining.set_difficulty\"") && later != heard, "{later}");
    assert!(later.contains("0.000000000002"), "{later}");
}

#[test]
fn the_refresh_follows_at_once_and_what_needs_a_start_does_not() {
    let mut rig = Rig::mining(easy());
    let (conn, _) = rig.miner();
    let refresh = Duration::from_secs(2);
    let nodes = vec![NodeRole::Follow; 3];
    rig.reconfigure(Config {
        refresh,
        nodes,
        sidechains: vec![OwnSidechain::new(Slot(1))],
        ..easy()
    });
    rig.hear(conn);
    rig.wait(Duration::from_secs(3));
    rig.reply("getblocktemplate", template(1, 101));
    let fresh = Work::from(&rig.hear(conn), "00000000", 5);
    assert!(!fresh.clean, "two seconds have passed, and not ten");
    rig.say(conn, &fresh.submit(4, 5, fresh.nonce(0, true)));
    assert_eq!(rig.asked("submitblock"), 1, "the one node that was there at the start");
}

#[test]
fn bids_are_no_longer_taken_from_the_next_job_on() {
    let bids = fixtures::GBT_BITCOIND_FOUR_BIDS;
    let mut rig = Rig::new(Config { blind: Mode::On, ..easy() });
    rig.finish_writes();
    rig.reply("getblockchaininfo", json(r#"{"chain":"regtest","blocks":143}"#));
    rig.reply("getblocktemplate", json(bids));
    let (conn, heard) = rig.miner();
    let commits = |heard: &str| heard.matches("6a25d1617368").count();
    assert!(commits(&heard) > 0, "{heard}");
    rig.reconfigure(Config { blind: Mode::Off, ..easy() });
    let heard = rig.hear(conn);
    assert!(heard.contains("mining.notify") && commits(&heard) == 0, "{heard}");
    rig.reconfigure(Config { blind: Mode::On, ..easy() });
    assert!(commits(&rig.hear(conn)) > 0, "the template is remembered whole");
}

#[test]
fn a_dead_tip_gets_no_job_by_new_settings_either() {
    let limits = Limits { tip_age: Duration::from_secs(20), ..Limits::default() };
    let mut rig = Rig::mining(Config { limits: limits.clone(), ..easy() });
    let (conn, _) = rig.miner();
    rig.wait(Duration::from_secs(21));
    assert_eq!(rig.pool.counters().work_stops, 1);
    rig.hear(conn);
    rig.reconfigure(Config { limits, ..paying(0x52) });
    assert!(!rig.hear(conn).contains("mining.notify"));
}
