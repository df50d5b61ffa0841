//! What the benchmarks share: inputs, a driven pool, and the least that hashing can cost.
//!
//! A template is the captured reply of a real node with its transactions replaced by as many
//! synthetic ones as asked for, so that its other fields are those of a node and its size is ours.
//! Everything comes from counters: two runs measure the same bytes.
//!
//! Not here: what is measured. That is one file a question, beside this one.

#![expect(
    clippy::expect_used,
    reason = "inputs that do not build are a fault here: no number is better than a wrong one"
)]

use std::sync::Arc;
use std::time::Duration;

use bitcoin::hashes::Hash as _;
use bitcoin::{BlockHash, CompactTarget, ScriptBuf, Transaction, Txid, Wtxid};
use bytes::Bytes;
use server::bmm::{Bid, Commitment, Slot};
use server::clock::{Instant, UnixTime};
use server::mining::coinbase::{Coinbase, CoinbasePlan};
use server::mining::hash::sha256d;
use server::mining::hex;
use server::mining::job::{Job, JobBook, JobId, VERSION_ROLLING_MASK};
use server::mining::share::Candidate;
use server::mining::template::Template;
use server::mining::witness::WITNESS_RESERVED;
use server::node::rpc::{self, CallError, HttpReply};

pub mod floor;
pub mod rig;

/// A node's answer, as the shell brings it.
pub type Reply = Result<HttpReply, CallError>;

/// The sizes that share and job are measured at: no merkle branch, a short one, and a full block's.
pub const TRANSACTION_COUNTS: [usize; 3] = [0, 10, FULL];
/// Transactions in a full block.
pub const FULL: usize = 4_000;
/// From this many transactions on, the last two are rival bids for one slot.
pub const BIDS_FROM: usize = 10;
/// Extranonce1 of the miner whose candidates are evaluated.
pub const EXTRANONCE1: [u8; 4] = [0, 0, 0, 1];
/// As long as an address with a worker's name behind it.
pub const WORKER: &str = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4.rack07-unit12";

/// A target of mainnet's order: no share of a benchmark is a block.
const BITS: u32 = 0x1702_5105;
const SUBSIDY_SAT: u64 = 312_500_000;
const SLOT: Slot = Slot(9);

/// `getblocktemplate`'s answer with this many transactions, on a parent of one repeated byte.
///
/// Half of the transactions are legacy (one P2PKH input), half segwit (two P2WPKH inputs), in
/// turn; every tenth spends from the one before it. From [`BIDS_FROM`] on, the last two are rival
/// bids (M8), so that the pool has an auction to hold. 4,000 of them weigh 3.5 million units.
/// Templates with another `first` have no transaction in common.
pub fn template_reply(transactions: usize, parent: u8, first: usize) -> Reply {
    let parent_hash = BlockHash::from_byte_array([parent; 32]);
    let block = transactions_of(transactions, parent_hash, first);
    let mut fees = 0;
    let listed: Vec<serde_json::Value> = block
        .iter()
        .enumerate()
        .map(|(index, transaction)| {
            let fee = 1_000 + index as u64;
            fees += fee;
            serde_json::json!({
                "data": bitcoin::consensus::encode::serialize_hex(transaction),
                "txid": transaction.compute_txid().to_string(),
                "hash": transaction.compute_wtxid().to_string(),
                // Places from 1 (BIP-0022), and the one before this is at `index`.
                "depends": if is_chained(index) { vec![index] } else { Vec::new() },
                "fee": fee,
                "sigops": 4,
                "weight": transaction.weight().to_wu(),
            })
        })
        .collect();
    let mut template: serde_json::Value =
        serde_json::from_str(fixtures::GBT_BITCOIND_FOUR_BIDS).expect("the fixture is JSON");
    let target = bitcoin::Target::from_compact(CompactTarget::from_consensus(BITS));
    let parent = hex::encode(&[parent; 32]);
    template["longpollid"] = format!("{parent}{transactions}").into();
    template["previousblockhash"] = parent.into();
    template["transactions"] = listed.into();
    template["coinbasevalue"] = (SUBSIDY_SAT + fees).into();
    template["bits"] = format!("{BITS:08x}").into();
    template["target"] = hex::encode(&target.to_be_bytes()).into();
    template["default_witness_commitment"] = witness_commitment(&block).into();
    let body = serde_json::json!({ "result": template, "error": null, "id": 1 });
    Ok(HttpReply { status: 200, body: body.to_string().into() })
}

/// The length of a reply's body, in bytes.
pub fn reply_bytes(reply: &Reply) -> u64 {
    reply.as_ref().map_or(0, |reply| reply.body.len() as u64)
}

/// The template that [`template_reply`] stands for, checked.
pub fn template(transactions: usize) -> Arc<Template> {
    let parts = rpc::template(&template_reply(transactions, 1, 0)).expect("the reply reads");
    Arc::new(Template::check(parts).expect("the template passes its checks"))
}

/// A job with a template of this many transactions, as `mining.notify` would send it.
pub fn job(transactions: usize) -> Arc<Job> {
    job_of(template(transactions))
}

/// A job that pays to one address and commits to one sidechain.
pub fn job_of(template: Arc<Template>) -> Arc<Job> {
    let m7 = Commitment { slot: SLOT, hash: [7; 32] }.to_script();
    let coinbase = Coinbase::build(&CoinbasePlan::new(&template, 1, &payout(), [m7]));
    let mut book = JobBook::new(1, Duration::ZERO, Duration::ZERO, 1);
    book.publish(Instant::ZERO, template, coinbase, None).0
}

/// Where the coinbase pays to: a P2WPKH script.
pub fn payout() -> ScriptBuf {
    let hash = bitcoin::WPubkeyHash::from_byte_array(filler(0, 9));
    ScriptBuf::new_p2wpkh(&hash)
}

/// What a miner that rolls versions may submit to `job`; another `number`, another candidate.
pub fn candidate(job: JobId, time: UnixTime, number: u64) -> Candidate {
    let low = u32::try_from(number % (1 << 16)).unwrap_or_default();
    Candidate {
        job,
        extranonce2: number.to_be_bytes(),
        time,
        nonce: low.wrapping_mul(0x9e37_79b1),
        version_bits: Some((low << 13) & VERSION_ROLLING_MASK),
    }
}

/// `candidate` as a miner writes it, line feed and all.
pub fn submit_line(candidate: &Candidate) -> Bytes {
    let Candidate { job, extranonce2, time: UnixTime(time), nonce, version_bits } = candidate;
    let extranonce2 = hex::encode(extranonce2);
    let version_bits = version_bits.unwrap_or_default();
    let line = format!(
        "{{\"params\": [\"{WORKER}\", \"{job}\", \"{extranonce2}\", \"{time:08x}\", \
         \"{nonce:08x}\", \"{version_bits:08x}\"], \"id\": 4242, \"method\": \"mining.submit\"}}\n"
    );
    Bytes::from(line)
}

fn transactions_of(count: usize, parent: BlockHash, first: usize) -> Vec<Transaction> {
    let mut block: Vec<Transaction> = Vec::with_capacity(count);
    for index in 0..count {
        let spends = block.last().filter(|_| is_chained(index)).map(Transaction::compute_txid);
        let is_bid = count >= BIDS_FROM && index + 2 >= count;
        let bid = is_bid.then(|| {
            let commitment = Commitment { slot: SLOT, hash: filler(index, 8) };
            Bid { commitment, parent }.to_script()
        });
        block.push(transaction(first + index, spends, bid));
    }
    block
}

fn is_chained(index: usize) -> bool {
    index % 10 == 5
}

/// Signed as real ones are, but for the signatures: nobody here verifies them.
fn transaction(index: usize, spends: Option<Txid>, note: Option<ScriptBuf>) -> Transaction {
    use bitcoin::{Amount, OutPoint, Sequence, TxIn, TxOut, Witness, absolute, transaction};

    let is_segwit = index % 2 == 1;
    let inputs = if is_segwit { 2 } else { 1 };
    let input = |place: u8| {
        let signature: [u8; 72] = filler(index, place);
        let key: [u8; 33] = filler(index, 2 + place);
        let txid = spends.filter(|_| place == 0);
        let txid = txid.unwrap_or_else(|| Txid::from_byte_array(filler(index, 4 + place)));
        let legacy = bitcoin::script::Builder::new().push_slice(signature).push_slice(key);
        TxIn {
            previous_output: OutPoint { txid, vout: 1 },
            script_sig: if is_segwit { ScriptBuf::new() } else { legacy.into_script() },
            sequence: Sequence::ENABLE_RBF_NO_LOCKTIME,
            witness: if is_segwit {
                Witness::from_slice(&[&signature[..], &key[..]])
            } else {
                Witness::new()
            },
        }
    };
    let pays = |salt| {
        let hash = filler(index, salt);
        if is_segwit {
            ScriptBuf::new_p2wpkh(&bitcoin::WPubkeyHash::from_byte_array(hash))
        } else {
            ScriptBuf::new_p2pkh(&bitcoin::PubkeyHash::from_byte_array(hash))
        }
    };
    let value = Amount::from_sat(50_000 + index as u64);
    let first = note.unwrap_or_else(|| pays(6));
    Transaction {
        version: transaction::Version::TWO,
        lock_time: absolute::LockTime::ZERO,
        input: (0..inputs).map(input).collect(),
        output: vec![
            TxOut { value, script_pubkey: first },
            TxOut { value, script_pubkey: pays(7) },
        ],
    }
}

/// The witness commitment's script in hex, by the `bitcoin` crate and not by the code on trial.
fn witness_commitment(block: &[Transaction]) -> String {
    let coinbase = Wtxid::all_zeros().to_raw_hash();
    let others = block.iter().map(|transaction| transaction.compute_wtxid().to_raw_hash());
    let root = bitcoin::merkle_tree::calculate_root(core::iter::once(coinbase).chain(others));
    let root = root.expect("there is a coinbase").to_byte_array();
    let root = bitcoin::WitnessMerkleNode::from_byte_array(root);
    let commitment = bitcoin::Block::compute_witness_commitment(&root, &WITNESS_RESERVED);
    format!("6a24aa21a9ed{}", hex::encode(commitment.as_byte_array()))
}

/// Bytes that look random and are the same in every run.
fn filler<const N: usize>(index: usize, salt: u8) -> [u8; N] {
    let mut bytes = [0; N];
    for (part, chunk) in (0_u8..).zip(bytes.chunks_mut(32)) {
        let hash = sha256d(&[&index.to_le_bytes()[..], &[salt, part]].concat());
        chunk.copy_from_slice(&hash[..chunk.len()]);
    }
    bytes
}

/// The job's name that stands in what ends with a `mining.notify` line.
fn job_id(sent: &[u8]) -> Option<JobId> {
    let last = sent.split_inclusive(|byte| *byte == b'\n').next_back()?;
    let line: serde_json::Value = serde_json::from_slice(last).ok()?;
    let is_job = line["method"] == "mining.notify";
    line["params"][0].as_str().filter(|_| is_job)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use server::mining::share::rolled_version;
    use server::mining::template::WEIGHT_MAX;
    use server::stratum::message::{self, Call};

    #[test]
    fn synthetic_templates_pass_the_checks() {
        for (transactions, branch) in [(0, 0), (1, 1), (9, 4), (10, 4), (FULL, 12)] {
            let template = template(transactions);
            assert_eq!(template.transactions.len(), transactions);
            let segwit = template.transactions.iter().filter(|known| known.txid != known.wtxid);
            assert_eq!(segwit.count(), transactions / 2);
            let depends = template.transactions.iter().filter(|known| !known.depends.is_empty());
            assert_eq!(depends.count(), (transactions + 4) / 10);
            assert_eq!(job_of(template).branch.len(), branch, "{transactions}");
        }
    }

    #[test]
    fn a_full_template_is_near_the_limit_of_a_block() {
        let template = template(FULL);
        let weight: u64 = template.transactions.iter().map(|known| known.weight).sum();
        assert!((WEIGHT_MAX * 8 / 10..WEIGHT_MAX - 8_000).contains(&weight), "{weight}");
        let bids =
            template.transactions.iter().filter_map(|known| Bid::parse(known.note.as_ref()?));
        assert_eq!(bids.count(), 2);
    }

    #[test]
    fn a_damaged_template_is_noticed() {
        let reply = template_reply(10, 1, 0).expect("a reply");
        let text = core::str::from_utf8(&reply.body).expect("JSON is UTF-8");
        let body = text.replacen("\"data\":\"02", "\"data\":\"03", 1);
        assert_ne!(body, text);
        let parts = rpc::template(&Ok(HttpReply { status: 200, body: body.into() }));
        Template::check(parts.expect("it reads")).expect_err("a hash that is no longer that");
    }

    #[test]
    fn a_submit_line_reads_back() {
        let job = job(10);
        for number in [0, 1, 65_535, u64::MAX] {
            let expected = candidate(job.id, job.template.time, number);
            let mask = VERSION_ROLLING_MASK;
            assert!(rolled_version(&job, mask, expected.version_bits).is_some());
            let line = submit_line(&expected);
            let Ok(Call::Submit { worker, candidate }) = message::parse(line.trim_ascii()).call
            else {
                panic!("a submission")
            };
            assert_eq!((worker.as_ref(), candidate), (WORKER, Ok(expected)));
        }
    }
}
