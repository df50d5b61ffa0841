//! A block in the making: right unless a test spoils a part of it.

use bitcoin::consensus::encode::serialize_hex;
use bitcoin::hashes::{Hash as _, sha256d};
use bitcoin::script::{Builder, PushBytesBuf};
use bitcoin::{
    Amount, Block, BlockHash, CompactTarget, OutPoint, ScriptBuf, Sequence, Transaction, TxIn,
    TxMerkleNode, TxOut, Txid, Witness, absolute, block, transaction,
};
use serde_json::{Value, json};

use crate::sim::chain::{REGTEST_BITS, subsidy_sats};
use crate::sim::node::{RpcOutcome, SimNode, Verdict};

/// Later than any block of these tests by less than two hours.
pub(super) const NOW: u32 = 1_800_000_000;

/// The parts of a block that tests change.
#[derive(Clone)]
pub(super) struct Draft {
    pub(super) parent: BlockHash,
    pub(super) version: i32,
    pub(super) time: u32,
    pub(super) bits: u32,
    pub(super) root: Option<TxMerkleNode>,
    pub(super) meets_target: bool,
    pub(super) script_sig: ScriptBuf,
    pub(super) value: u64,
    /// `None` leaves the commitment out, `Some` replaces the right one.
    pub(super) commitment: Commitment,
    pub(super) witness: Vec<Vec<u8>>,
    pub(super) transactions: Vec<Transaction>,
}

#[derive(Clone)]
pub(super) enum Commitment {
    Right,
    Wrong,
    Absent,
}

impl Draft {
    /// A right block without transactions on the tip.
    pub(super) fn new(node: &SimNode) -> Self {
        Self::on(node, node.tip())
    }

    pub(super) fn on(node: &SimNode, parent: BlockHash) -> Self {
        let height = node.chain().entry(parent).unwrap().height + 1;
        Self {
            parent,
            version: 0x2000_0000,
            time: NOW.max(node.chain().median_time_past(parent) + 1),
            bits: REGTEST_BITS,
            root: None,
            meets_target: true,
            script_sig: script_sig(height, 0),
            value: subsidy_sats(height),
            commitment: Commitment::Right,
            witness: vec![vec![0; 32]],
            transactions: Vec::new(),
        }
    }

    pub(super) fn build(&self) -> Block {
        let mut txdata = vec![self.coinbase()];
        txdata.extend(self.transactions.iter().cloned());
        self.seal(txdata)
    }

    /// A header over exactly these transactions.
    pub(super) fn seal(&self, txdata: Vec<Transaction>) -> Block {
        let header = block::Header {
            version: block::Version::from_consensus(self.version),
            prev_blockhash: self.parent,
            merkle_root: TxMerkleNode::all_zeros(),
            time: self.time,
            bits: CompactTarget::from_consensus(self.bits),
            nonce: 0,
        };
        let mut block = Block { header, txdata };
        let root = block.compute_merkle_root().unwrap_or(block.header.merkle_root);
        block.header.merkle_root = self.root.unwrap_or(root);
        // At regtest's difficulty the highest bit decides.
        while (block.block_hash().to_byte_array()[31] < 0x80) != self.meets_target {
            block.header.nonce += 1;
        }
        block
    }

    fn coinbase(&self) -> Transaction {
        let mut output =
            vec![TxOut { value: Amount::from_sat(self.value), script_pubkey: anyone() }];
        let commitment = match self.commitment {
            Commitment::Right => Some(self.right_commitment()),
            Commitment::Wrong => Some([0x22; 32]),
            Commitment::Absent => None,
        };
        output.extend(commitment.map(|hash| TxOut {
            value: Amount::ZERO,
            script_pubkey: ScriptBuf::from_bytes(
                [&[0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed][..], &hash].concat(),
            ),
        }));
        Transaction {
            version: transaction::Version::TWO,
            lock_time: absolute::LockTime::ZERO,
            input: vec![TxIn {
                previous_output: OutPoint::null(),
                script_sig: self.script_sig.clone(),
                sequence: Sequence::MAX,
                witness: Witness::from_slice(&self.witness),
            }],
            output,
        }
    }

    fn right_commitment(&self) -> [u8; 32] {
        let mut layer = vec![[0; 32]];
        let wtxids = self.transactions.iter().map(|tx| tx.compute_wtxid().to_byte_array());
        layer.extend(wtxids);
        while layer.len() > 1 {
            let pairs = layer.chunks(2);
            layer = pairs.map(|pair| hash_two(&pair[0], pair.last().unwrap())).collect();
        }
        hash_two(&layer[0], &[0; 32])
    }
}

fn hash_two(left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    sha256d::Hash::hash(&[&left[..], right].concat()).to_byte_array()
}

/// The height, then a number that makes the coinbase another one.
pub(super) fn script_sig(height: u32, salt: u8) -> ScriptBuf {
    let salt = PushBytesBuf::try_from(vec![salt; 4]).unwrap();
    Builder::new().push_int(i64::from(height)).push_slice(salt).into_script()
}

pub(super) fn anyone() -> ScriptBuf {
    ScriptBuf::from_bytes(vec![0x51])
}

/// A legacy transaction from one outpoint to anyone.
pub(super) fn spend(txid: Txid, vout: u32, value: u64) -> Transaction {
    Transaction {
        version: transaction::Version::TWO,
        lock_time: absolute::LockTime::ZERO,
        input: vec![TxIn {
            previous_output: OutPoint::new(txid, vout),
            script_sig: ScriptBuf::new(),
            sequence: Sequence::MAX,
            witness: Witness::new(),
        }],
        output: vec![TxOut { value: Amount::from_sat(value), script_pubkey: anyone() }],
    }
}

/// A txid that nothing has.
pub(super) fn unknown(salt: u8) -> Txid {
    Txid::from_byte_array([salt; 32])
}

/// One call; the HTTP status and the parsed answer.
pub(super) fn call(node: &mut SimNode, now: u32, method: &str, params: &Value) -> (u16, Value) {
    let body = json!({ "id": 7, "method": method, "params": params }).to_string();
    match node.handle_rpc(now, body.as_bytes()) {
        RpcOutcome::Reply(reply) => (reply.status, serde_json::from_slice(&reply.body).unwrap()),
        RpcOutcome::Parked(parked) => panic!("parked: {parked:?}"),
    }
}

/// The result of a call that must work.
pub(super) fn ask(node: &mut SimNode, method: &str, params: &Value) -> Value {
    let (status, answer) = call(node, NOW, method, params);
    assert_eq!((status, &answer["error"]), (200, &Value::Null), "{method}");
    answer["result"].clone()
}

/// The code and the text of a call that must fail.
pub(super) fn refused(node: &mut SimNode, method: &str, params: &Value) -> (i64, String) {
    let (status, answer) = call(node, NOW, method, params);
    assert_ne!(status, 200, "{method}: {answer}");
    let error = &answer["error"];
    (error["code"].as_i64().unwrap(), error["message"].as_str().unwrap().to_owned())
}

/// What a proposal and then two submissions of a block are answered; null is "accepted".
pub(super) fn verdicts(node: &mut SimNode, block: &Block) -> [String; 3] {
    let hex = json!([serialize_hex(block)]);
    let proposal = propose(node, block);
    let mut submit = || word(&ask(node, "submitblock", &hex));
    [proposal, submit(), submit()]
}

/// What a proposal is answered, which changes nothing.
pub(super) fn propose(node: &mut SimNode, block: &Block) -> String {
    let request =
        json!([{ "mode": "proposal", "data": serialize_hex(block), "rules": ["segwit"] }]);
    word(&ask(node, "getblocktemplate", &request))
}

fn word(value: &Value) -> String {
    value.as_str().unwrap_or("accepted").to_owned()
}

/// Submits a block that must be accepted.
pub(super) fn extend(node: &mut SimNode, draft: &Draft) -> BlockHash {
    let block = draft.build();
    assert_eq!(node.submit(NOW, block.clone()), Verdict::Accepted);
    block.block_hash()
}

/// Submits a right block without transactions.
pub(super) fn extend_empty(node: &mut SimNode) -> BlockHash {
    let draft = Draft::new(node);
    extend(node, &draft)
}

/// Mines empty blocks up to a height.
pub(super) fn mine_to(node: &mut SimNode, height: u32) {
    while node.chain().height() < height {
        node.mine_rival(node.tip(), NOW).unwrap();
    }
}
