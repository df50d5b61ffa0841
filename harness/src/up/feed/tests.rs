//! A real node's chain as events: in order, with what a reorganisation takes back.

use std::net::{Ipv4Addr, SocketAddr};

use bitcoin::{Amount, Block, TxOut};

use super::*;
use crate::http::{NodeServer, SharedWorld};
use crate::sim::World;
use crate::sim::chain::genesis;
use crate::sim::sidechain::{HStar, Sidechain, m7_script};

const NOW: u32 = 1_800_000_000;
const SLOT: u8 = 9;

async fn watched(world: &SharedWorld) -> (NodeServer, ChainWatch) {
    let any_port = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0);
    let clock: crate::http::Clock = Arc::new(|| NOW);
    let node = NodeServer::start(world.clone(), any_port, None, clock).await.unwrap();
    let client = RpcClient::new(node.address().to_string());
    let sidechain = Sidechain::new(SLOT, 1, genesis().block_hash());
    let follower = Arc::new(Follower::new(sidechain, client.clone()));
    (node, ChainWatch::new(follower, client, SLOT, 0))
}

async fn mine(world: &SharedWorld, h_star: HStar) -> BlockHash {
    let outputs = [TxOut { value: Amount::ZERO, script_pubkey: m7_script(SLOT, h_star) }];
    world.with(|world| world.mine_rival_with(world.node().tip(), NOW, &outputs)).await.unwrap()
}

#[tokio::test]
async fn blocks_and_reorganisations_are_told_once_and_in_order() {
    let world = SharedWorld::new(World::new([], 0));
    let (_node, mut watch) = watched(&world).await;
    assert_eq!(watch.look().await.unwrap(), []);

    let candidate = watch.follower.with(|sidechain| sidechain.candidate()).await;
    let first = mine(&world, candidate).await;
    let second = mine(&world, HStar([5; 32])).await;
    // A request that came between two looks must not swallow the news.
    watch.follower.catch_up().await.unwrap();
    let tip = |hash, height| WorldEvent::TipChanged { hash, height, cause: TipCause::Rival };
    let advanced = WorldEvent::SidechainAdvanced { slot: SLOT, height: 1, h_star: candidate };
    assert_eq!(watch.look().await.unwrap(), [advanced, tip(first, 1), tip(second, 2)]);
    assert_eq!(watch.look().await.unwrap(), []);

    world.with(|world| world.change_node(|node| node.invalidate(first))).await.unwrap();
    let other = mine(&world, HStar([6; 32])).await;
    let back = WorldEvent::SidechainRolledBack { slot: SLOT, height: 0, h_star: candidate };
    assert_eq!(watch.look().await.unwrap(), [back, tip(other, 1)]);
}

#[tokio::test]
async fn news_wait_while_the_node_does_not_answer() {
    let world = SharedWorld::new(World::new([], 0));
    let (node, mut watch) = watched(&world).await;
    let hash = mine(&world, HStar([5; 32])).await;
    watch.follower.catch_up().await.unwrap();
    let address = node.address();
    drop(node);
    watch.look().await.unwrap_err();
    let clock: crate::http::Clock = Arc::new(|| NOW);
    let _node = NodeServer::start(world.clone(), address, None, clock).await.unwrap();
    let tip = WorldEvent::TipChanged { hash, height: 1, cause: TipCause::Rival };
    assert_eq!(watch.look().await.unwrap(), [tip]);
}

#[test]
fn our_blocks_are_known_by_their_payout() {
    let pays = |script_pubkey: ScriptBuf| -> Block {
        let mut block = genesis();
        block.txdata[0].output[0].script_pubkey = script_pubkey;
        block
    };
    assert!(!is_ours(&genesis()));
    assert!(is_ours(&pays(ScriptBuf::new_p2pkh(&PubkeyHash::from_byte_array(PAYOUT_KEY_HASH)))));
    assert!(!is_ours(&pays(ScriptBuf::new_p2pkh(&PubkeyHash::all_zeros()))));
}

#[test]
fn a_refused_block_is_known_by_its_file() {
    let hash = genesis().block_hash();
    assert_eq!(hash_in(&format!("0-{hash}.hex")), Some(hash));
    for name in ["", "0-.hex", "0-00.hex", "lock"] {
        assert_eq!(hash_in(name), None, "{name}");
    }
    let folder = tempfile::TempDir::new().unwrap();
    assert!(refused_blocks(&folder.path().join("missing")).is_empty());
    std::fs::write(folder.path().join(format!("0-{hash}.hex")), "00").unwrap();
    assert_eq!(refused_blocks(folder.path()), BTreeSet::from([hash]));
}
