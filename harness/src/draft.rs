//! A block in the making: right unless somebody spoils a part of it.
//!
//! Put together by hand, with no code of the server's or of the simulated node's checks, so that
//! the simulated node, a real bitcoind and libbitcoinkernel can be asked what they think of it.
//! Not in here: who judges, and what they must say.

pub mod faults;

use bitcoin::hashes::{Hash as _, sha256d};
use bitcoin::script::Builder;
use bitcoin::{
    Amount, Block, BlockHash, CompactTarget, OutPoint, ScriptBuf, Sequence, Transaction, TxIn,
    TxMerkleNode, TxOut, Txid, Witness, absolute, block, transaction,
};

use crate::sim::chain::{REGTEST_BITS, subsidy_sats};

/// How the output with the witness commitment begins (BIP-0141).
const WITNESS_COMMITMENT_HEAD: [u8; 6] = [0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed];

/// The parts of a block that may be spoilt, as they stand before it is built.
#[derive(Clone, Debug)]
pub struct Draft {
    /// The hash of the block before.
    pub parent: BlockHash,
    /// The header's version.
    pub version: i32,
    /// The header's time, in Unix seconds.
    pub time: u32,
    /// The header's target, in compact form.
    pub bits: u32,
    /// Stands in for the right merkle root.
    pub root: Option<TxMerkleNode>,
    /// Whether a nonce is searched that meets regtest's target, or one that misses it.
    pub meets_target: bool,
    /// The coinbase's scriptSig.
    pub script_sig: ScriptBuf,
    /// What the coinbase pays, in satoshi.
    pub value: u64,
    /// Whom the coinbase pays.
    pub payee: ScriptBuf,
    /// What the coinbase says of the witnesses.
    pub commitment: Commitment,
    /// The coinbase's witness.
    pub witness: Vec<Vec<u8>>,
    /// What follows the coinbase.
    pub transactions: Vec<Transaction>,
}

/// The witness commitment of a draft (BIP-0141).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Commitment {
    /// Of the witnesses that are there.
    Right,
    /// Of others.
    Wrong,
    /// No such output.
    Absent,
}

impl Draft {
    /// A right regtest block without transactions, at `height` on `parent`; `time` in Unix seconds.
    pub fn on(parent: BlockHash, height: u32, time: u32) -> Self {
        Self {
            parent,
            version: 0x2000_0000,
            time,
            bits: REGTEST_BITS,
            root: None,
            meets_target: true,
            script_sig: script_sig(height, 0),
            value: subsidy_sats(height),
            payee: anyone(),
            commitment: Commitment::Right,
            witness: vec![vec![0; 32]],
            transactions: Vec::new(),
        }
    }

    /// The block: coinbase, transactions, and a header over them with its proof of work.
    pub fn build(&self) -> Block {
        let mut txdata = vec![self.coinbase()];
        txdata.extend(self.transactions.iter().cloned());
        self.seal(txdata)
    }

    /// A header over exactly these transactions.
    pub fn seal(&self, txdata: Vec<Transaction>) -> Block {
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
            vec![TxOut { value: Amount::from_sat(self.value), script_pubkey: self.payee.clone() }];
        let commitment = match self.commitment {
            Commitment::Right => Some(self.right_commitment()),
            Commitment::Wrong => Some([0x22; 32]),
            Commitment::Absent => None,
        };
        output.extend(commitment.map(|hash| TxOut {
            value: Amount::ZERO,
            script_pubkey: ScriptBuf::from_bytes([&WITNESS_COMMITMENT_HEAD[..], &hash].concat()),
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
            layer = pairs.map(|pair| hash_two(&pair[0], &pair[pair.len() - 1])).collect();
        }
        hash_two(&layer[0], &[0; 32])
    }
}

fn hash_two(left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    sha256d::Hash::hash(&[&left[..], right].concat()).to_byte_array()
}

/// The height, then a number that makes the coinbase another one.
pub fn script_sig(height: u32, salt: u8) -> ScriptBuf {
    Builder::new().push_int(i64::from(height)).push_slice([salt; 4]).into_script()
}

/// A script that anyone can spend.
pub fn anyone() -> ScriptBuf {
    ScriptBuf::from_bytes(vec![0x51])
}

/// A legacy transaction from one outpoint to anyone.
pub fn spend(txid: Txid, vout: u32, value: u64) -> Transaction {
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
