//! Several nodes: who is handed what, whom the miners work for, and what they notice of it.

use super::*;

fn two() -> Config {
    Config { nodes: vec![NodeRole::Follow; 2], ..easy() }
}

impl Rig {
    /// Answers the oldest call of `method` to one node, long polls aside.
    fn reply_from(&mut self, node: usize, method: &str, result: Result<HttpReply, CallError>) {
        let is_it = |(_, endpoint, body): &(CallId, Endpoint, String)| {
            *endpoint == Endpoint::Node(node)
                && body.contains(method)
                && !body.contains("longpollid")
        };
        let place = self.calls.iter().position(is_it);
        let place = place.unwrap_or_else(|| panic!("node {node} is not asked {method}"));
        let (call, ..) = self.calls.remove(place);
        self.handle(Event::Replied { call, result });
    }

    /// The nodes that are asked `method`.
    fn asked_of(&self, method: &str) -> Vec<usize> {
        let asked = self.calls.iter().filter(|(_, _, body)| body.contains(method));
        let nodes = asked.filter_map(|(_, endpoint, _)| match endpoint {
            Endpoint::Node(node) => Some(*node),
            Endpoint::Sidechain(_) => None,
        });
        nodes.collect()
    }

    /// A miner finds a block; what it was sent for it.
    fn finds_a_block(&mut self, conn: ConnId, heard: &str) -> String {
        let work = Work::from(heard, "00000000", 5);
        self.say(conn, &work.submit(4, 5, work.nonce(0, true)))
    }
}

fn refused() -> Result<HttpReply, CallError> {
    Err(CallError::Connect("refused".to_owned()))
}

#[test]
fn a_block_goes_to_every_node_in_the_step_in_which_it_is_found() {
    let roles = vec![NodeRole::Follow, NodeRole::SubmitOnly, NodeRole::SubmitOnly];
    let mut rig = Rig::mining(Config { nodes: roles, ..easy() });
    let (conn, heard) = rig.miner();
    assert_eq!(rig.asked_of("getblock"), [0], "the others are for blocks only");
    rig.finds_a_block(conn, &heard);
    assert_eq!(rig.asked_of("submitblock"), [0, 1, 2]);
    rig.reply_from(0, "submitblock", refused());
    rig.reply_from(1, "submitblock", json("null"));
    assert!(rig.hear(conn).contains("\"id\":4,\"result\":true"), "one yes is enough");
    assert_eq!(rig.pool.counters().blocks_accepted, 1);
    rig.reply_from(2, "submitblock", json("\"inconclusive\""));
    rig.wait(Duration::from_millis(60));
    assert_eq!(rig.asked_of("submitblock"), [0], "who was away is still offered it");
    rig.reply_from(0, "submitblock", json("\"duplicate\""));
    let settled = rig.finish_writes();
    let settled = settled.iter().filter(|op| matches!(op, DiskOp::SettleBlock { .. }));
    assert_eq!((settled.count(), rig.pool.counters().blocks_accepted), (1, 1), "once");
}

/// The enforcer passes the block on and knows no `getblockheader`; the node behind it does.
#[test]
fn where_the_first_node_is_an_enforcer_the_second_says_what_became_of_the_block() {
    let nodes = vec![NodeRole::Follow, NodeRole::SubmitOnly];
    let mut rig = Rig::mining(Config { nodes, ..easy() });
    let (conn, heard) = rig.miner();
    rig.finds_a_block(conn, &heard);
    rig.reply_from(0, "submitblock", json("null"));
    rig.reply_from(1, "submitblock", json("\"duplicate\""));
    rig.wait(Duration::from_millis(100));
    let unknown = "{\"error\":{\"code\":-32601,\"message\":\"Method not found\"}}";
    let unknown = HttpReply { status: 200, body: Bytes::from_static(unknown.as_bytes()) };
    rig.reply_from(0, "getblockheader", Ok(unknown));
    assert_eq!(rig.asked_of("getblockheader"), [1], "at once");
    rig.reply_from(1, "getblockheader", json(r#"{"confirmations":-1}"#));
    let counters = rig.pool.counters();
    assert_eq!((counters.blocks_accepted, counters.blocks_lost_again), (1, 1));
}

/// An answer got lost, and the node says "duplicate" the next time: whether that is a yes, it is
/// asked.
#[test]
fn a_block_that_the_node_had_counts_once_it_is_seen_in_the_chain() {
    for (word, confirmations, accepted) in
        [("\"duplicate\"", 1, 1), ("\"duplicate\"", -1, 0), ("\"inconclusive\"", 2, 1)]
    {
        let mut rig = Rig::mining(easy());
        let (conn, heard) = rig.miner();
        rig.finds_a_block(conn, &heard);
        rig.reply("submitblock", Err(CallError::Timeout));
        rig.wait(Duration::from_millis(50));
        rig.reply("submitblock", json(word));
        assert_eq!(rig.pool.counters().blocks_accepted, 0);
        rig.wait(Duration::from_millis(100));
        let reply = json(&format!("{{\"confirmations\":{confirmations}}}"));
        rig.reply("getblockheader", reply);
        let counters = rig.pool.counters();
        assert_eq!((counters.blocks_accepted, counters.blocks_lost_again), (accepted, 0), "{word}");
    }
}

#[test]
fn blocks_of_an_earlier_run_go_to_every_node() {
    let block = found_block(3);
    let recovered = Recovered { generation: 3, pending: vec![block] };
    let rig = Rig::after(two(), &recovered);
    assert_eq!(rig.asked_of("submitblock"), [0, 1]);
}

#[test]
fn nodes_that_hold_different_blocks_of_ours_are_asked_to_prefer_one() {
    let mut rig = Rig::mining(Config { nodes: vec![NodeRole::Follow; 2], ..easy() });
    let (conn, heard) = rig.miner();
    let work = Work::from(&heard, "00000000", 5);
    let first = work.nonce(0, true);
    rig.say(conn, &work.submit(4, 5, first));
    rig.say(conn, &work.submit(5, 5, work.nonce(first + 1, true)));
    assert_eq!(rig.asked_of("submitblock"), [0, 1, 0, 1]);
    rig.reply_from(0, "submitblock", json("null"));
    rig.reply_from(0, "submitblock", json("\"inconclusive\""));
    rig.reply_from(1, "submitblock", json("\"inconclusive\""));
    assert_eq!(rig.asked_of("preciousblock"), [0; 0]);
    rig.reply_from(1, "submitblock", json("null"));
    assert_eq!(rig.asked_of("preciousblock"), [1]);
    rig.reply_from(1, "preciousblock", json("null"));
}

/// The whole way: the first node goes away, and the second's templates are mined on, at that tip
/// and then at the next.
#[test]
fn miners_stay_where_they_are_when_nodes_come_and_go() {
    let mut rig = Rig::new(two());
    rig.finish_writes();
    for node in [0, 1] {
        rig.reply_from(node, "getblockchaininfo", json(r#"{"chain":"regtest","blocks":100}"#));
        rig.reply_from(node, "getblocktemplate", template(1, 101));
    }
    let (conn, heard) = rig.miner();
    assert!(Work::from(&heard, "00000000", 0).clean, "a first job");
    rig.wait(Duration::from_secs(10));
    rig.reply_from(0, "getblocktemplate", refused());
    rig.reply_from(1, "getblocktemplate", template(1, 101));
    rig.wait(Duration::from_secs(1));
    let job = Work::from(&rig.hear(conn), "00000000", 0);
    assert!(!job.clean, "the same tip: nothing is lost");
    rig.reply_from(1, "getblocktemplate", template(2, 102));
    assert!(Work::from(&rig.hear(conn), "00000000", 0).clean, "the second one's tips count now");
    assert_eq!((rig.closed.len(), rig.halted.clone()), (0, None));
}

/// FAILURES 23: never past so many seconds on a dead tip.
#[test]
fn without_any_node_there_is_no_work_in_the_end_and_at_once_when_one_is_back() {
    let limits = Limits { tip_age: Duration::from_secs(30), ..Limits::default() };
    let mut rig = Rig::mining(Config { limits, ..easy() });
    let (conn, heard) = rig.miner();
    let work = Work::from(&heard, "00000000", 5);
    for _ in 0..29 {
        rig.wait(Duration::from_secs(1));
        if rig.asked("getblocktemplate") > 1 {
            rig.reply("getblocktemplate", refused());
        }
    }
    assert_eq!(rig.hear(conn), "", "the last job stays");
    rig.wait(Duration::from_secs(1));
    let said = rig.hear(conn);
    assert!(said.contains("client.show_message") && !said.contains("notify"), "{said}");
    assert_eq!(rig.pool.counters().work_stops, 1);
    rig.wait(Duration::from_mins(5));
    let (late, heard) = rig.miner();
    assert!(
        heard.contains("\"result\":true") && !heard.contains("mining.notify\",\"params"),
        "{heard}"
    );
    assert_eq!(rig.hear(conn), "", "no word of work");
    // What is found all the same is a block, and shares count.
    let said = rig.say(conn, &work.submit(7, 5, work.nonce(0, false)));
    assert!(said.contains("\"result\":true"), "{said}");
    rig.say(conn, &work.submit(8, 5, work.nonce(0, true)));
    assert_eq!(rig.asked("submitblock"), 1);

    rig.reply("getblocktemplate", template(1, 101));
    assert!(rig.hear(conn).contains("mining.notify"));
    assert!(Work::from(&rig.hear(late), "00000001", 0).clean, "its first");
    assert_eq!(rig.closed, []);
    assert_eq!(rig.pool.counters().work_stops, 1);
}
