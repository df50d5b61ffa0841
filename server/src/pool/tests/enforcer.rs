//! Templates with a whole coinbase, as an enforcer gives them.

use bitcoin::{Transaction, TxOut};

use super::*;

fn mining(config: Config, template: &str) -> Rig {
    let mut rig = Rig::new(config);
    rig.finish_writes();
    let unknown = "{\"error\":{\"code\":-32601,\"message\":\"Method not found\"}}";
    rig.reply(
        "getblockchaininfo",
        Ok(HttpReply { status: 200, body: Bytes::from_static(unknown.as_bytes()) }),
    );
    rig.reply("getblocktemplate", json(template));
    rig
}

fn outputs_given(template: &str) -> Vec<TxOut> {
    let template: serde_json::Value = serde_json::from_str(template).expect("JSON");
    let data = template["coinbasetxn"]["data"].as_str().expect("a string");
    let coinbase: Transaction =
        bitcoin::consensus::deserialize(&hex::decode(data).expect("hex")).expect("a transaction");
    coinbase.output
}

#[test]
fn every_output_is_kept_and_the_reward_redirected() {
    for template in [
        fixtures::GBT_ENFORCER_NO_MESSAGES,
        fixtures::GBT_ENFORCER_M1,
        fixtures::GBT_ENFORCER_THREE_BIDS,
    ] {
        let mut rig = mining(config(), template);
        let (_, heard) = rig.miner();
        let mined = Work::from(&heard, "00000000", 0).outputs();
        let given = outputs_given(template);
        assert_eq!(mined.len(), given.len());
        for (given, mined) in given.iter().zip(&mined) {
            assert_eq!(given.value, mined.value);
            if given.script_pubkey.is_op_return() {
                assert_eq!(given.script_pubkey, mined.script_pubkey);
            } else {
                assert_eq!(mined.script_pubkey, config().payout);
            }
        }
    }
}

#[test]
fn a_block_from_an_enforcers_template_adds_up() {
    let template = fixtures::GBT_ENFORCER_THREE_BIDS;
    let mut rig = mining(easy(), template);
    rig.now.wall = UnixTime(1_795_352_597).into();
    let (conn, heard) = rig.miner();
    let work = Work::from(&heard, "00000000", 5);
    // Grinding by the miner's own arithmetic would need the branch: any nonce will do, for every
    // second one is a block.
    let submitted = (0..64).any(|nonce| {
        rig.say(conn, &work.submit(3, 5, nonce));
        rig.asked("submitblock") > 0
    });
    assert!(submitted);
    let DiskOp::PutBlock(found) = &rig.writes[0].1 else { panic!("a block") };
    let block: bitcoin::Block = bitcoin::consensus::deserialize(&found.bytes).expect("a block");
    assert!(block.check_merkle_root() && block.check_witness_commitment());
    assert_eq!(block.bip34_block_height(), Ok(144));
    assert_eq!(block.txdata.len(), 6);
    let verdict = crate::bmm::check::block(&block, block.header.prev_blockhash, None);
    assert_eq!(verdict.map(|found| found.commitments.len()), Ok(3));
}

#[test]
fn our_own_commitment_takes_a_free_slot_and_never_a_taken_one() {
    for (slot, outputs) in [(9, 6), (77, 7)] {
        let mut own = with_sidechain(Fallback::Zero);
        own.sidechains[0].slot = Slot(slot);
        let mut rig = mining(own, fixtures::GBT_ENFORCER_THREE_BIDS);
        rig.reply("getbestblockhash", json(&format!("\"{}\"", "ab".repeat(32))));
        let (_, heard) = rig.miner();
        let mined = Work::from(&heard, "00000000", 0).outputs();
        assert_eq!(mined.len(), outputs, "slot {slot}");
        let ours = hex::encode(mined[outputs - 1].script_pubkey.as_bytes());
        assert_eq!(ours.starts_with("6a25d16173684d"), slot == 77);
    }
}

/// The template server lags its node: a template on the tip before our own block is not mined on.
#[test]
fn a_template_that_lags_behind_our_own_block_is_asked_for_again() {
    let (mut rig, conn) = Rig::whose_block_was_taken();
    rig.finish_writes();
    rig.hear(conn);
    for _ in 0..3 {
        rig.reply("getblocktemplate", template(1, 101));
        assert_eq!(rig.hear(conn), "", "nobody is sent to a dead tip");
        rig.wait(Duration::from_millis(20));
    }
    rig.reply("getblocktemplate", template(2, 102));
    assert!(Work::from(&rig.hear(conn), "00000000", 0).clean);
}

/// But when the node goes back, because an enforcer invalidated the block, so do we.
#[test]
fn a_node_that_goes_back_is_followed_after_a_moment() {
    let (mut rig, conn) = Rig::whose_block_was_taken();
    rig.hear(conn);
    rig.wait(Duration::from_secs(10));
    rig.reply("getblocktemplate", template(1, 101));
    assert!(rig.hear(conn).contains("mining.notify"));
}

/// FAILURES 18, 22: a template that would lose the block never becomes a job.
#[test]
fn a_bid_without_its_commitment_is_not_mined() {
    let m7 = format!("6a25d161736802{}", "43".repeat(32));
    let broken = fixtures::GBT_ENFORCER_THREE_BIDS.replace(&m7, &m7.replace("02", "03"));
    assert_ne!(broken, fixtures::GBT_ENFORCER_THREE_BIDS);
    let rig = mining(config(), &broken);
    assert_eq!(rig.pool.counters().jobs, 0);
}
