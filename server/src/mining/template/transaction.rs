//! The transactions of a template: each one checked, those of the last template taken from there.

use core::ops::{ControlFlow, Range};

use bitcoin::ScriptBuf;
use bitcoin::opcodes::all::OP_RETURN;
use bitcoin_slices::bsl::{self, TxOut};
use bitcoin_slices::{Visit as _, Visitor};
use bytes::Bytes;

use super::TemplateError;
use crate::mining::hash::{Hash, display_hash, sha256d_each};

/// One transaction of a template, as it will stand in the block.
#[derive(Clone, Debug)]
pub struct TemplateTransaction {
    /// Consensus serialization, with witness.
    pub bytes: Bytes,
    /// Hash without the witness, internal order.
    pub txid: Hash,
    /// Hash with the witness, internal order.
    pub wtxid: Hash,
    /// Fee in satoshis.
    pub fee: u64,
    /// Weight units.
    pub weight: u64,
    /// Places of the transactions before it that it spends from, from 0.
    pub depends: Vec<usize>,
    /// Script of output 0 when it starts with `OP_RETURN`: the only place a bid (M8) can be.
    pub note: Option<ScriptBuf>,
}

/// A transaction as the node declares it.
#[derive(Clone, Debug)]
pub struct DeclaredTransaction {
    /// Consensus serialization.
    pub bytes: Vec<u8>,
    /// The txid the node gave, internal order.
    pub txid: Hash,
    /// The wtxid the node gave, internal order.
    pub wtxid: Hash,
    /// The fee the node gave, in satoshis.
    pub fee: u64,
    /// Places of the transactions before it that it spends from, from 0.
    pub depends: Vec<usize>,
}

/// Checks each of `declared`, in order; those that `last` holds too are taken from there.
pub(super) fn check_all(
    declared: Vec<DeclaredTransaction>,
    last: &[TemplateTransaction],
) -> Result<Vec<TemplateTransaction>, TemplateError> {
    let mut known = Known { last, next: 0, places: None };
    let mut claims = Claims::default();
    let transactions = declared
        .into_iter()
        .enumerate()
        .map(|(index, declared)| match known.find(&declared) {
            Some(known) => {
                let DeclaredTransaction { fee, depends, .. } = declared;
                Ok(TemplateTransaction { fee, depends, ..known.clone() })
            }
            None => claims.read(index, declared),
        })
        .collect::<Result<Vec<_>, _>>()?;
    claims.check(&transactions)?;
    Ok(transactions)
}

/// The transactions of the last template. Most of the next one's come in the same order.
struct Known<'a> {
    last: &'a [TemplateTransaction],
    /// The place after the one that was found last.
    next: usize,
    /// Starts of wtxids and their places, sorted; made when one is not where it is looked for.
    places: Option<Vec<(u64, usize)>>,
}

impl<'a> Known<'a> {
    fn find(&mut self, declared: &DeclaredTransaction) -> Option<&'a TemplateTransaction> {
        let known = self.of_wtxid(&declared.wtxid)?;
        let is_same = known.txid == declared.txid && known.bytes == declared.bytes;
        is_same.then_some(known)
    }

    fn of_wtxid(&mut self, wtxid: &Hash) -> Option<&'a TemplateTransaction> {
        let last = self.last;
        if last.get(self.next).is_none_or(|expected| expected.wtxid != *wtxid) {
            let places = self.places.get_or_insert_with(|| {
                let starts = last.iter().map(|transaction| start(&transaction.wtxid));
                let mut places: Vec<_> = starts.zip(0..).collect();
                places.sort_unstable();
                places
            });
            let first = places.partition_point(|(known, _)| *known < start(wtxid));
            let mut alike = places[first..].iter().take_while(|(known, _)| *known == start(wtxid));
            self.next = alike.find(|(_, place)| last[*place].wtxid == *wtxid)?.1;
        }
        self.next += 1;
        last.get(self.next - 1)
    }
}

/// The hashes that new transactions are said to have, until all of them are hashed at once.
#[derive(Default)]
struct Claims {
    claims: Vec<Claim>,
    /// Transactions without their witnesses, side by side.
    stripped: Vec<u8>,
}

/// That a transaction hashes to this.
struct Claim {
    index: usize,
    hash: Hash,
    /// Where it stands without its witnesses, when it is hashed without them.
    stripped: Option<Range<usize>>,
}

impl Claims {
    /// A transaction that decodes, with the hashes it is said to have.
    fn read(
        &mut self,
        index: usize,
        declared: DeclaredTransaction,
    ) -> Result<TemplateTransaction, TemplateError> {
        let mut note = Note(None);
        let whole = bsl::Transaction::visit(&declared.bytes, &mut note).ok();
        let transaction = whole.filter(|whole| whole.remaining().is_empty());
        let transaction = transaction.ok_or(TemplateError::Transaction(index))?.parsed_owned();
        let DeclaredTransaction { txid, wtxid, fee, depends, .. } = declared;
        let (version, body, lock_time) = transaction.txid_preimage();
        self.claims.push(Claim { index, hash: wtxid, stripped: None });
        if !body.is_empty() {
            let start = self.stripped.len();
            for part in [version, body, lock_time] {
                self.stripped.extend_from_slice(part);
            }
            let stripped = Some(start..self.stripped.len());
            self.claims.push(Claim { index, hash: txid, stripped });
        } else if txid != wtxid {
            // Without witnesses the two are one, so one of them is wrong.
            self.claims.push(Claim { index, hash: txid, stripped: None });
        }
        let weight = transaction.weight();
        let bytes = Bytes::from(declared.bytes);
        Ok(TemplateTransaction { bytes, txid, wtxid, fee, weight, depends, note: note.0 })
    }

    /// Whether all of them are true of `transactions`.
    fn check(self, transactions: &[TemplateTransaction]) -> Result<(), TemplateError> {
        let message = |claim: &Claim| match claim.stripped.clone() {
            Some(place) => &self.stripped[place],
            None => &transactions[claim.index].bytes[..],
        };
        let messages: Vec<_> = self.claims.iter().map(message).collect();
        for (claim, found) in self.claims.iter().zip(sha256d_each(&messages)) {
            if claim.hash != found {
                let (declared, found) = (display_hash(&claim.hash), display_hash(&found));
                return Err(TemplateError::TransactionHash { index: claim.index, declared, found });
            }
        }
        Ok(())
    }
}

/// Enough of a hash to look for it.
fn start(hash: &Hash) -> u64 {
    hash.iter().take(8).fold(0, |start, byte| start << 8 | u64::from(*byte))
}

/// Takes the script of output 0, if it is a note.
struct Note(Option<ScriptBuf>);

impl Visitor for Note {
    fn visit_tx_out(&mut self, place: usize, output: &TxOut<'_>) -> ControlFlow<()> {
        let script = output.script_pubkey();
        if place == 0 && script.first() == Some(&OP_RETURN.to_u8()) {
            self.0 = Some(ScriptBuf::from_bytes(script.to_vec()));
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use bitcoin::hashes::Hash as _;
    use bitcoin::{
        Amount, OutPoint, Sequence, Transaction, TxIn, TxOut, Txid, Witness, absolute, transaction,
    };
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn input() -> impl Strategy<Value = TxIn> {
        let script = vec(any::<u8>(), 0..300).prop_map(ScriptBuf::from_bytes);
        let witness =
            vec(vec(any::<u8>(), 0..90), 0..4).prop_map(|items| Witness::from(&items[..]));
        (any::<([u8; 32], u32, u32)>(), script, witness).prop_map(
            |((txid, vout, sequence), script_sig, witness)| TxIn {
                previous_output: OutPoint { txid: Txid::from_byte_array(txid), vout },
                script_sig,
                sequence: Sequence(sequence),
                witness,
            },
        )
    }

    fn output() -> impl Strategy<Value = TxOut> {
        let script = prop_oneof![
            vec(any::<u8>(), 0..80),
            vec(any::<u8>(), 0..80).prop_map(|mut rest| {
                rest.insert(0, OP_RETURN.to_u8());
                rest
            }),
        ];
        (0..crate::mining::template::MONEY_MAX, script).prop_map(|(value, script)| TxOut {
            value: Amount::from_sat(value),
            script_pubkey: ScriptBuf::from_bytes(script),
        })
    }

    fn transactions() -> impl Strategy<Value = Transaction> {
        (any::<(i32, u32)>(), vec(input(), 1..5), vec(output(), 1..5)).prop_map(
            |((version, lock_time), input, output)| Transaction {
                version: transaction::Version(version),
                lock_time: absolute::LockTime::from_consensus(lock_time),
                input,
                output,
            },
        )
    }

    fn declare(transaction: &Transaction) -> DeclaredTransaction {
        DeclaredTransaction {
            bytes: bitcoin::consensus::serialize(transaction),
            txid: transaction.compute_txid().to_byte_array(),
            wtxid: transaction.compute_wtxid().to_byte_array(),
            fee: 7,
            depends: vec![3],
        }
    }

    fn check(declared: &DeclaredTransaction) -> Result<TemplateTransaction, TemplateError> {
        let all = check_all(vec![declared.clone()], &[])?;
        Ok(all.into_iter().next().expect("one in, one out"))
    }

    proptest! {
        /// The `bitcoin` crate's own reading is the witness.
        #[test]
        fn what_passes_is_what_it_is(transaction in transactions()) {
            let declared = declare(&transaction);
            let read = check(&declared).expect("a good transaction");
            prop_assert_eq!(read.weight, transaction.weight().to_wu());
            let first = &transaction.output[0].script_pubkey;
            prop_assert_eq!(read.note.as_ref(), Some(first).filter(|script| script.is_op_return()));
            prop_assert_eq!((read.fee, read.depends), (7, vec![3]));
            prop_assert_eq!((read.txid, read.wtxid), (declared.txid, declared.wtxid));
            prop_assert_eq!(read.bytes, declared.bytes);
        }

        #[test]
        fn a_changed_byte_is_seen(transaction in transactions(), place: usize, bits in 1_u8..) {
            let mut declared = declare(&transaction);
            let place = place % declared.bytes.len();
            declared.bytes[place] ^= bits;
            prop_assert!(check(&declared).is_err());
        }

        #[test]
        fn what_is_cut_or_has_more_behind_it_is_seen(transaction in transactions(), at: usize) {
            let good = declare(&transaction);
            let mut cut = good.clone();
            cut.bytes.truncate(at % good.bytes.len());
            prop_assert!(check(&cut).is_err());
            let mut longer = good;
            longer.bytes.push(0);
            prop_assert!(check(&longer).is_err());
        }
    }
}
