//! `EMPTY_FIRST` on a real bitcoind: a new tip is mined on before its template is there. A block
//! that is found so is one that node and enforcer keep.

use bitcoin::hashes::Hash as _;
use bitcoin::{Amount, BlockHash};
use harness::containers::{AddressKind, wanted};
use harness::http::BlockVerdict;
use harness::stack::RunningServer;
use serde_json::json;
use server::bmm::check;
use simminer::client::{Client, ClientConfig, Event};
use simminer::hasher::Hasher;
use simminer::persona::Persona;
use simminer::work::Work;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::network::{First, Network, PATIENCE, Way};

/// Payments in the mempool, so that a whole job is one with a branch.
const PAYMENTS: u64 = 8;
const FEE: u64 = 2_000;
/// Tips until one is mined on early. Of the first nobody hears, for a subscription takes a
/// moment.
const TIPS_MAX: usize = 5;

/// A miner that does as it is told.
struct Miner {
    stream: BufReader<TcpStream>,
    client: Client,
}

impl Miner {
    async fn connect(server: &RunningServer) -> Self {
        server.until_open().await.unwrap();
        let mut client = Client::new(ClientConfig {
            user: "miner".to_owned(),
            password: "x".to_owned(),
            version_rolling: false,
            suggest_difficulty: None,
            persona: Persona::honest(),
        });
        client.connected();
        let stream = TcpStream::connect(server.address()).await.unwrap();
        Self { stream: BufReader::new(stream), client }
    }

    async fn event(&mut self) -> Event {
        let next = async {
            loop {
                if let Some(event) = self.client.poll_event() {
                    return event;
                }
                self.stream.write_all(&self.client.take_outgoing()).await.unwrap();
                // Line by line: two jobs may come at once, and there is work of the newest only.
                let mut line = Vec::new();
                let length = self.stream.read_until(b'\n', &mut line).await.unwrap();
                assert_ne!(length, 0, "the server keeps its miners");
                self.client.receive(&line);
            }
        };
        timeout(PATIENCE, next).await.unwrap()
    }

    /// Work on each job of the child of `tip`, until one has transactions.
    async fn works_on(&mut self, tip: BlockHash) -> Vec<Work> {
        let mut works: Vec<Work> = Vec::new();
        while works.last().is_none_or(|work| work.job.branch.is_empty()) {
            if let Event::Job { job, .. } = self.event().await
                && job.previous_block == tip.to_byte_array()
            {
                works.extend(self.client.next_work());
            }
        }
        works
    }
}

#[tokio::test]
async fn a_tip_is_mined_on_before_its_template_is_there() {
    if !wanted("a_tip_is_mined_on_before_its_template_is_there").unwrap() {
        return;
    }
    let mut network = Network::start().await;
    let payout = network.node.create_wallet("payout").await.unwrap();
    let payout = payout.address(AddressKind::Bech32m).await.unwrap();
    for _ in 0..PAYMENTS {
        network.send(First::Payment, FEE).await;
    }
    let mut settings = network.server_settings(Way::Blind);
    settings.push(("NODE_ZMQ", format!("tcp://{}", network.node.zmq_address())));
    settings.push(("PAYOUT_ADDRESS", payout.to_string()));
    settings.push(("EMPTY_FIRST", "on".to_owned()));
    let server = RunningServer::start(&settings).await.unwrap();
    let mut miner = Miner::connect(&server).await;
    let tip = network.tip().await;
    miner.works_on(tip).await;

    let mut tips = 0;
    let (tip, works) = loop {
        tips += 1;
        assert!(tips <= TIPS_MAX, "no tip of {TIPS_MAX} was mined on before its template");
        // A rival's block that leaves the payments where they are.
        let rival = json!([network.wallet.address(AddressKind::Bech32).await.unwrap(), []]);
        network.node.rpc("generateblock", rival).await.unwrap();
        let tip = network.tip().await;
        assert_eq!(network.verdict().await, BlockVerdict::Accepted(tip));
        let works = miner.works_on(tip).await;
        if works.len() > 1 {
            break (tip, works);
        }
    };
    let [alone, whole] = &works[..] else { unreachable!("as many jobs as needed: {works:?}") };
    assert!(alone.job.clean && !whole.job.clean, "what is done on the first stays good");
    assert_eq!(alone.job.bits, whole.job.bits);

    // Found late, when the whole job is long there: a job that was given out is honoured.
    let nonces = 0..=u32::MAX;
    let mut hasher = Hasher::new(&alone.header(0), alone.job.block_target, nonces);
    let found = hasher.search(u64::MAX).found.unwrap();
    miner.client.submit(alone, found.nonce).unwrap();
    let accepted = loop {
        let event = miner.event().await;
        assert!(!matches!(event, Event::Rejected(..)), "{event:?}");
        if let Event::Accepted(share) = event {
            break share;
        }
    };
    assert!(accepted.meets_block);
    let hash = BlockHash::from_byte_array(found.hash.0);
    assert_eq!(network.verdict().await, BlockVerdict::Accepted(hash));
    assert_eq!(network.tip().await, hash);
    let block = network.node.block(hash).await.unwrap();
    assert_eq!((block.header.prev_blockhash, block.txdata.len()), (tip, 1));
    check::block(&block, tip, None).unwrap();
    let paid: Amount = block.txdata[0].output.iter().map(|output| output.value).sum();
    assert_eq!(paid, super::SUBSIDY, "no fee, for no transaction is in it");
    server.stop().await.unwrap();
}
