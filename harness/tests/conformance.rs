//! The simulated node against a real bitcoind: one story told to both, their answers compared.
//!
//! Both are told the time, and every block is put together here, so hashes and times are equal
//! too; what must differ is masked in one place (`node.rs`). The story's answers are kept in
//! `snapshots/`, as a bitcoind gave them: without containers the simulator is still held to them.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a node that does not answer fails the test"
)]

#[path = "conformance/node.rs"]
mod node;
#[path = "conformance/story.rs"]
mod story;
#[path = "conformance/story_of_blocks.rs"]
mod story_of_blocks;

use harness::containers::{Bitcoind, BitcoindOptions, wanted};
use harness::http::{Credentials, NodeServer, SharedWorld};
use harness::rpc::RpcClient;
use harness::sim::World;
use node::{Node, simulated_clock};

/// Tells the story to a simulated node on a port, as a bitcoind stands on one.
async fn as_simulated() -> String {
    let (clock, hand) = simulated_clock();
    let world = SharedWorld::new(World::new([], 1));
    let credentials = Credentials::new("harness", "harness");
    let server = NodeServer::start(world, ([127, 0, 0, 1], 0).into(), Some(credentials), clock);
    let server = server.await.unwrap();
    let client =
        RpcClient::new(server.address().to_string()).with_credentials("harness", "harness");
    story::tell(Node::simulated(client, hand)).await
}

#[tokio::test]
async fn the_simulated_node_answers_as_bitcoind_did() {
    insta::assert_snapshot!("as_bitcoind", as_simulated().await);
}

#[tokio::test]
async fn the_simulated_node_answers_as_bitcoind_does() {
    if !wanted("the_simulated_node_answers_as_bitcoind_does").unwrap() {
        return;
    }
    // Its policy is no concern here: a transaction waits if a block may have it.
    let extra_arguments = ["-acceptnonstdtxn=1", "-minrelaytxfee=0", "-blockmintxfee=0"];
    let extra_arguments = extra_arguments.map(str::to_owned).into();
    let bitcoind = Bitcoind::start(BitcoindOptions { extra_arguments }).await.unwrap();
    let real = story::tell(Node::real(bitcoind.client())).await;
    insta::assert_snapshot!("as_bitcoind", real);
}
