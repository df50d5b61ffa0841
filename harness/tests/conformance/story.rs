//! The story that both nodes are told: requests, faults, forks, long-polls, payments, eras.
//!
//! Each chapter goes on where the one before left the chain. Blocks are equal for both nodes, so
//! a difference in one answer is the first that is seen, not the last.

use bitcoin::consensus::encode::{deserialize_hex, serialize_hex};
use bitcoin::{Block, BlockHash, Transaction};
use harness::draft::{Draft, spend};
use serde_json::{Value, json};

use crate::node::Node;
use crate::story_of_blocks;

/// The time of the story's first block, in Unix seconds.
pub(crate) const START: u32 = 1_700_000_000;
/// Seconds from block to block.
const PACE_SECS: u32 = 10;
/// More than bitcoind may go on giving out an old template, in seconds.
const TEMPLATE_AGE_SECS: u32 = 6;

/// The node and the chain it is given.
pub(crate) struct Story {
    pub(crate) node: Node,
    /// The hashes that were accepted as the best chain, by height.
    pub(crate) chain: Vec<BlockHash>,
    pub(crate) now: u32,
}

/// Tells all of it; gives back what the node said.
pub(crate) async fn tell(node: Node) -> String {
    let genesis = bitcoin::constants::genesis_block(bitcoin::Network::Regtest).block_hash();
    let mut story = Story { node, chain: vec![genesis], now: START };
    story.node.set_time(START).await;
    story.the_beginning().await;
    story.requests_that_make_no_sense().await;
    story.extend_to(3).await;
    story_of_blocks::wrong_in_one_way(&mut story).await;
    story.stale_and_rival_blocks().await;
    story.commands().await;
    story.long_polls().await;
    story.payments().await;
    story.eras().await;
    story.node.into_transcript()
}

impl Story {
    pub(crate) fn height(&self) -> u32 {
        u32::try_from(self.chain.len() - 1).unwrap()
    }

    pub(crate) fn tip(&self) -> BlockHash {
        self.chain[self.chain.len() - 1]
    }

    /// A right block on the tip.
    pub(crate) fn draft(&self) -> Draft {
        Draft::on(self.tip(), self.height() + 1, self.now)
    }

    pub(crate) async fn pass(&mut self, seconds: u32) {
        self.now += seconds;
        self.node.set_time(self.now).await;
    }

    /// Submits a block that must become the tip.
    async fn extend_by(&mut self, block: &Block) {
        assert_eq!(self.node.submit(block).await, "accepted", "height {}", self.height() + 1);
        self.chain.push(block.block_hash());
    }

    async fn extend(&mut self) -> Block {
        self.pass(PACE_SECS).await;
        let block = self.draft().build();
        self.extend_by(&block).await;
        block
    }

    async fn extend_to(&mut self, height: u32) {
        while self.height() < height {
            self.extend().await;
        }
    }

    async fn template(&mut self) {
        self.node.ask("getblocktemplate", json!([{ "rules": ["segwit"] }])).await;
    }

    async fn the_beginning(&mut self) {
        self.node.chapter("the beginning");
        self.node.ask("getblockchaininfo", json!([])).await;
        self.node.ask("getblockcount", json!([])).await;
        self.node.ask("getbestblockhash", json!([])).await;
        self.node.ask("getblockheader", json!([self.tip()])).await;
        self.node.ask("getblock", json!([self.tip(), 1])).await;
        self.template().await;
        self.extend().await;
        self.node.chapter("after one block");
        self.node.ask("getblockchaininfo", json!([])).await;
        self.node.ask("getblockheader", json!([self.tip()])).await;
        self.node.ask("getblockheader", json!([self.tip(), false])).await;
        self.node.ask("getblock", json!([self.tip(), 0])).await;
        self.node.ask("getblock", json!([self.tip(), 1])).await;
        let fields = ["loaded", "size", "bytes", "total_fee", "fullrbf"];
        self.node.ask_fields("getmempoolinfo", json!([]), &fields).await;
        self.template().await;
    }

    async fn requests_that_make_no_sense(&mut self) {
        self.node.chapter("requests that make no sense");
        let absent = "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2207";
        for (method, params) in [
            ("getblocktemplate", json!([])),
            ("getblocktemplate", json!([{}])),
            ("getblocktemplate", json!([{ "rules": [] }])),
            ("getblocktemplate", json!([{ "rules": ["csv"] }])),
            ("getblocktemplate", json!([{ "mode": "nonsense", "rules": ["segwit"] }])),
            ("getblocktemplate", json!([{ "mode": 1, "rules": ["segwit"] }])),
            ("getblocktemplate", json!([{ "mode": "proposal", "rules": ["segwit"] }])),
            ("getblocktemplate", json!([{ "mode": "proposal", "data": "00", "rules": [] }])),
            ("getblocktemplate", json!([{ "rules": ["segwit"], "longpollid": "short" }])),
            ("getblocktemplate", json!(["segwit"])),
            ("submitblock", json!([])),
            ("submitblock", json!([1])),
            ("submitblock", json!([""])),
            ("submitblock", json!(["zz"])),
            ("submitblock", json!(["00", "dummy", "more"])),
            ("submitblock", json!({ "hexdata": "00" })),
            ("submitblock", json!({ "block": "00" })),
            ("getblockhash", json!([2])),
            ("getblockhash", json!([-1])),
            ("getblockhash", json!(["1"])),
            ("getblockhash", json!([1])),
            ("getblockheader", json!([absent])),
            ("getblockheader", json!(["0f91"])),
            ("getblockheader", json!([absent.replace('0', "z")])),
            ("getblock", json!([absent, 0])),
            ("invalidateblock", json!([absent])),
            ("preciousblock", json!([absent])),
            ("sendrawtransaction", json!(["00"])),
            ("getnosuchthing", json!([])),
        ] {
            self.node.ask(method, params).await;
        }
    }

    async fn headers(&mut self, hashes: &[BlockHash]) {
        let fields = ["height", "confirmations", "nextblockhash"];
        for hash in hashes {
            self.node.ask_fields("getblockheader", json!([hash]), &fields).await;
        }
    }

    async fn stale_and_rival_blocks(&mut self) {
        self.node.chapter("stale and rival blocks");
        let (fork, height) = (self.tip(), self.height());
        let ours = self.extend().await;
        let answer = self.node.submit(&ours).await;
        self.node.note("the same block again", &answer);
        let mut rival = Draft::on(fork, height + 1, self.now);
        rival.script_sig = harness::draft::script_sig(height + 1, 1);
        let rival = rival.build();
        for what in ["a rival of equal height", "the rival again"] {
            let answer = self.node.submit(&rival).await;
            self.node.note(what, &answer);
        }
        let answer = self.node.propose(&Draft::on(fork, height + 1, self.now + 1).build()).await;
        self.node.note("a proposal on an older block", &answer);
        self.headers(&[fork, ours.block_hash(), rival.block_hash()]).await;

        let mut greedy = Draft::on(rival.block_hash(), height + 2, self.now);
        greedy.value += 1;
        let answer = self.node.submit(&greedy.build()).await;
        self.node.note("a rival's child that pays too much", &answer);
        self.node.ask("getbestblockhash", json!([])).await;
        let child = Draft::on(greedy.build().block_hash(), height + 3, self.now).build();
        let answer = self.node.submit(&child).await;
        self.node.note("a child of that", &answer);

        let longer = Draft::on(rival.block_hash(), height + 2, self.now).build();
        let answer = self.node.submit(&longer).await;
        self.node.note("a rival's child", &answer);
        self.headers(&[fork, ours.block_hash(), rival.block_hash(), longer.block_hash()]).await;
        self.node.ask("getblockhash", json!([height + 1])).await;
        self.node.ask("getblock", json!([ours.block_hash(), 1])).await;
        self.chain.truncate(usize::try_from(height).unwrap() + 1);
        self.chain.extend([rival.block_hash(), longer.block_hash()]);
        self.template().await;
    }

    async fn commands(&mut self) {
        self.node.chapter("invalidateblock and preciousblock");
        let (top, below) = (self.tip(), self.chain[self.chain.len() - 2]);
        let top_block = self.node.result("getblock", json!([top, 0])).await;
        let top_block: Block = deserialize_hex(top_block.as_str().unwrap()).unwrap();
        self.node.ask("invalidateblock", json!([top])).await;
        self.node.ask("getblockcount", json!([])).await;
        self.headers(&[below, top]).await;
        let again = [self.node.propose(&top_block).await, self.node.submit(&top_block).await];
        self.node.note("the invalidated block again", &again.join(" | "));
        self.node.ask_each("getchaintips", "hash").await;
        let child = Draft::on(top, self.height() + 1, self.now).build();
        let answer = self.node.submit(&child).await;
        self.node.note("its child", &answer);
        // Two of equal height are left; the one that came first is the tip.
        self.node.ask("getbestblockhash", json!([])).await;
        self.node.ask("preciousblock", json!([below])).await;
        self.node.ask("getbestblockhash", json!([])).await;
        self.chain.pop();
        self.extend().await;
    }

    async fn long_polls(&mut self) {
        self.node.chapter("long polls");
        let fields = ["previousblockhash", "height", "curtime", "mintime", "longpollid"];
        let template = self.node.result("getblocktemplate", json!([{ "rules": ["segwit"] }])).await;
        let parked = self.node.park(template["longpollid"].clone()).await;
        self.extend().await;
        self.node.wake(parked, &fields).await;
        // A tip that is no more is a change.
        let parked = self.node.park(template["longpollid"].clone()).await;
        self.node.wake(parked, &fields).await;
        let (fork, height) = (self.tip(), self.height());
        let parked = self.node.park(format!("{fork}0").into()).await;
        self.node.ask("invalidateblock", json!([fork])).await;
        self.node.wake(parked, &fields).await;
        self.chain.truncate(usize::try_from(height).unwrap());
        self.pass(1).await;
        self.extend().await;
    }

    async fn payments(&mut self) {
        self.node.chapter("payments");
        let payee = bitcoin::ScriptBuf::from_bytes(vec![0x51]).to_p2wsh();
        self.pass(PACE_SECS).await;
        let paying = Draft { payee: payee.clone(), ..self.draft() }.build();
        self.extend_by(&paying).await;
        let (first, coin) = (self.height(), paying.txdata[0].compute_txid());
        let value = paying.txdata[0].output[0].value.to_sat();
        let witnessed = |mut transaction: Transaction| {
            transaction.input[0].witness.push([0x51]);
            transaction.output[0].script_pubkey = payee.clone();
            transaction
        };
        let parent = witnessed(spend(coin, 0, value - 1_000));
        let child = witnessed(spend(parent.compute_txid(), 0, value - 3_000));
        let rival = witnessed(spend(coin, 0, value - 900));
        let greedy = witnessed(spend(coin, 0, value + 1));

        self.extend_to(first + 98).await;
        self.send("too early", &parent).await;
        self.extend().await;
        self.send("out of order", &child).await;
        self.send("more than there is", &greedy).await;
        self.send("mature", &parent).await;
        self.send("again", &parent).await;
        self.node.note("sending a payment", "a conflict");
        self.node.ask_code("sendrawtransaction", json!([serialize_hex(&rival), 0])).await;
        self.send("its child", &child).await;
        self.pass(TEMPLATE_AGE_SECS).await;
        self.template().await;
        self.node.ask_fields("getmempoolinfo", json!([]), &["size", "bytes", "total_fee"]).await;

        let mut block = self.draft();
        block.transactions = vec![parent.clone(), child.clone()];
        for (what, value) in
            [("a coinbase above the fees", 3_001), ("the same to the satoshi", 3_000)]
        {
            let greedy = Draft { value: block.value + value, ..block.clone() };
            let answer = self.node.propose(&greedy.build()).await;
            self.node.note(what, &answer);
        }
        let reversed = Draft { transactions: vec![child, parent.clone()], ..block.clone() };
        let answer = self.node.propose(&reversed.build()).await;
        self.node.note("a child before its parent", &answer);
        let block = Draft { value: block.value + 3_000, ..block }.build();
        self.extend_by(&block).await;
        self.node.ask("getrawmempool", json!([])).await;
        self.send("mined already", &parent).await;
        self.node.ask("getblock", json!([self.tip(), 1])).await;
        // What a lost block held waits again.
        self.node.ask("invalidateblock", json!([self.tip()])).await;
        self.chain.pop();
        self.pass(TEMPLATE_AGE_SECS).await;
        self.template().await;
    }

    async fn send(&mut self, what: &str, transaction: &Transaction) {
        // Zero: whatever it pays in fees is fine.
        let params = json!([serialize_hex(transaction), 0]);
        self.node.note("sending a payment", what);
        self.node.ask("sendrawtransaction", params).await;
    }

    /// What changes with the height alone: version bits, their rules, the subsidy.
    async fn eras(&mut self) {
        self.node.chapter("eras");
        let fields = ["height", "version", "rules", "vbavailable", "coinbasevalue"];
        let request = json!([{ "rules": ["segwit"] }]);
        for height in [142, 143, 148, 149, 286, 287, 430, 431] {
            while self.height() < height {
                // A miner takes the version from the template; that is how a deployment is voted
                // for.
                self.pass(PACE_SECS).await;
                let template = self.node.result("getblocktemplate", request.clone()).await;
                let version = template["version"].as_i64().unwrap();
                let version = i32::try_from(version).unwrap();
                let block = Draft { version, ..self.draft() }.build();
                self.extend_by(&block).await;
            }
            self.node.ask_fields("getblocktemplate", request.clone(), &fields).await;
        }
        let last: Value = self.node.result("getblockcount", json!([])).await;
        assert_eq!(last, self.height());
    }
}
