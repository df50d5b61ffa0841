//! The ways in which a block can be wrong in one thing, and those in which it is odd but right.
//!
//! One list for every judge: the simulated node, a real bitcoind and libbitcoinkernel. Not in
//! here: what they must say.

use bitcoin::hashes::Hash as _;
use bitcoin::{BlockHash, ScriptBuf, Transaction, TxMerkleNode, Txid, Witness, absolute};

use super::{Commitment, Draft, script_sig, spend};

/// Changes a right block of height 4, ten seconds after the third of three that are ten seconds
/// apart.
pub type Spoil = fn(&mut Draft);

/// The faults by name. None of these may become the tip. No negative version is among them: a
/// distribution of bitcoind takes the sign for a header format of its own.
pub const FAULTS: [(&str, Spoil); 30] = [
    ("a hash above the target", |draft| draft.meets_target = false),
    ("another difficulty", |draft| draft.bits = 0x207f_fffe),
    ("a harder target than its hash", |draft| draft.bits = 0x1d00_ffff),
    ("a target above all", |draft| draft.bits = 0x217f_ffff),
    ("a negative target", |draft| draft.bits = 0x2080_0001),
    ("a target of zero", |draft| draft.bits = 0),
    ("an unknown parent", |draft| draft.parent = BlockHash::from_byte_array([0x11; 32])),
    ("a time that is the median's", |draft| draft.time -= 20),
    ("a time before all", |draft| draft.time = 1),
    ("a time two hours and a second ahead", |draft| draft.time += 7_201),
    ("version 1", |draft| draft.version = 1),
    ("version 3", |draft| draft.version = 3),
    ("another merkle root", |draft| draft.root = Some(TxMerkleNode::from_byte_array([1; 32]))),
    ("a transaction twice", |draft| draft.transactions = vec![unfounded(); 3]),
    ("a scriptSig of one byte", |draft| draft.script_sig = ScriptBuf::from_bytes(vec![0x54])),
    ("a scriptSig of 101 bytes", |draft| {
        draft.script_sig = ScriptBuf::from_bytes(vec![draft.script_sig.as_bytes()[0]; 101]);
    }),
    ("another height", |draft| draft.script_sig = script_sig(77, 0)),
    ("a coinbase of one satoshi too much", |draft| draft.value += 1),
    ("a coinbase of less than nothing", |draft| draft.value = u64::MAX),
    ("a coinbase of more than all coins", |draft| draft.value = 2_100_000_000_000_001),
    ("another witness commitment", |draft| draft.commitment = Commitment::Wrong),
    ("a witness and no commitment", |draft| draft.commitment = Commitment::Absent),
    ("a reserved value of 31 bytes", |draft| draft.witness = vec![vec![0; 31]]),
    ("two reserved values", |draft| draft.witness = vec![vec![0; 32]; 2]),
    ("an input that does not exist", |draft| draft.transactions = vec![unfounded()]),
    ("a transaction without outputs", |draft| {
        let mut transaction = unfounded();
        transaction.output.clear();
        draft.transactions = vec![transaction];
    }),
    ("an input twice", |draft| {
        let mut transaction = unfounded();
        transaction.input.push(transaction.input[0].clone());
        draft.transactions = vec![transaction];
    }),
    ("a transaction that is locked until later", |draft| {
        let mut transaction = unfounded();
        transaction.lock_time = absolute::LockTime::from_consensus(draft.time + 1);
        transaction.input[0].sequence = bitcoin::Sequence(0xffff_fffe);
        draft.transactions = vec![transaction];
    }),
    ("more weight than a block may have", |draft| {
        let mut transaction = unfounded();
        transaction.input[0].witness = Witness::from_slice(&[vec![0; 3_999_500]]);
        draft.transactions = vec![transaction];
    }),
    ("more bytes than a block may have", |draft| {
        let mut transaction = unfounded();
        transaction.output[0].script_pubkey = ScriptBuf::from_bytes(vec![0x6a; 1_000_100]);
        draft.transactions = vec![transaction];
    }),
];

/// Blocks that look odd and are right. `submitblock` fills in the reserved value of one of them.
pub const ODD: [(&str, Spoil); 6] = [
    ("a coinbase that pays nothing", |draft| draft.value = 0),
    ("no commitment and no witness", |draft| {
        draft.commitment = Commitment::Absent;
        draft.witness.clear();
    }),
    ("a reserved value that was forgotten", |draft| draft.witness.clear()),
    ("every version bit that may be rolled", |draft| draft.version = 0x3fff_e000),
    ("version 4", |draft| draft.version = 4),
    ("a time two hours ahead", |draft| draft.time += 7_200),
];

/// Spends what nobody made.
fn unfounded() -> Transaction {
    spend(Txid::from_byte_array([1; 32]), 0, 1)
}
