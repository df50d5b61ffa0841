//! The bytes of the Drivechain messages, as the running enforcers read and write them.
//!
//! There are three incompatible forms on paper. This is the one that every live network runs:
//! `OP_RETURN` and exactly one push. The text of the BIPs (no push opcode) and the older
//! `drivechaind` (other field order) read as ordinary outputs here, as they do for the enforcer.
//!
//! | message | where | output script |
//! |---|---|---|
//! | M1 propose sidechain | coinbase | `6a push(d5e0c4af slot description..)` |
//! | M2 acknowledge it | coinbase | `6a 25 d6e1c5df slot sha256d(description)` |
//! | M3 propose bundle | coinbase | `6a 25 d45aa943 slot txid` |
//! | M4 vote on bundles | coinbase | `6a push(d77d1776 version votes..)` |
//! | M7 accept BMM | coinbase | `6a 25 d1617368 slot h*` |
//! | M8 request BMM | output 0 of any other transaction | `6a 44 00bf00 slot h* parent` |
//!
//! Parsing is as strict and as lenient as the enforcer: a coinbase message may use any form of
//! push but nothing may follow it, an M8 is exactly 70 bytes. What does not parse is an ordinary
//! output and no error. Writing is canonical: the shortest push. Output values do not matter.
//!
//! Not here: whether a message is allowed in a block ([`super::check`]).

use bitcoin::hashes::{Hash as _, sha256d};
use bitcoin::opcodes::all::OP_RETURN;
use bitcoin::script::{Instruction, PushBytesBuf};
use bitcoin::{BlockHash, Script, ScriptBuf, Transaction, Txid};

use super::{Bid, Commitment, Slot};

pub use declaration::{Declaration, DeclarationTooLong};

mod declaration;
mod display;

/// The longest payload this side writes into one message: Bitcoin's limit for a script. Only M1
/// and M4 have a length to choose; the longest M4 that makes sense has 517 bytes.
pub const PAYLOAD_BYTES_MAX: usize = 10_000;

/// The most votes an M4 can hold that any block may carry: one for each of 256 slots.
pub const VOTES_MAX: usize = 256;

/// The longest M4 fits the longest payload.
const _: () = assert!(TAG_BYTES + 1 + 2 * VOTES_MAX <= PAYLOAD_BYTES_MAX);

const TAG_BYTES: usize = 4;
const M1_TAG: [u8; TAG_BYTES] = [0xd5, 0xe0, 0xc4, 0xaf];
/// The running enforcers end in `df`; the text of BIP-0300 ends in `bf`.
const M2_TAG: [u8; TAG_BYTES] = [0xd6, 0xe1, 0xc5, 0xdf];
const M3_TAG: [u8; TAG_BYTES] = [0xd4, 0x5a, 0xa9, 0x43];
const M4_TAG: [u8; TAG_BYTES] = [0xd7, 0x7d, 0x17, 0x76];
const M8_TAG: [u8; 3] = [0x00, 0xbf, 0x00];

/// `OP_RETURN`, the push of 68 bytes and the tag: how each M8 begins, byte for byte.
const M8_PREFIX: [u8; 5] = [0x6a, 0x44, M8_TAG[0], M8_TAG[1], M8_TAG[2]];

/// The four bytes in front of slot and h\* in a BMM commitment (setting `BMM_HEADER_HEX`).
///
/// With any header but [`BmmHeader::M7`] the output is *not* an M7: the enforcer reads it as an
/// ordinary output, no BIP-0301 sidechain sees the commitment, and a bid (M8) for it would make
/// the block invalid. It exists for sidechains with a commitment format of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BmmHeader(pub [u8; TAG_BYTES]);

impl BmmHeader {
    /// `d1617368`, the header of BIP-0301 M7.
    pub const M7: Self = Self([0xd1, 0x61, 0x73, 0x68]);

    /// Whether outputs with this header are M7 messages to the enforcer.
    pub fn is_m7(self) -> bool {
        self == Self::M7
    }
}

impl Default for BmmHeader {
    fn default() -> Self {
        Self::M7
    }
}

impl Commitment {
    /// The M7 output script: 39 bytes, `6a 25 d1617368 slot h*` (BIP-0301 M7).
    pub fn to_script(&self) -> ScriptBuf {
        self.to_script_with(BmmHeader::M7)
    }

    /// The same 39 bytes with another header. See [`BmmHeader`] for what that costs.
    pub fn to_script_with(&self, header: BmmHeader) -> ScriptBuf {
        tag_slot_hash(header.0, self.slot, &self.hash)
    }
}

impl Bid {
    /// The bid of a transaction: its output 0 and no other, and never of a coinbase.
    pub fn of(transaction: &Transaction) -> Option<Self> {
        if transaction.is_coinbase() {
            return None;
        }
        Self::parse(&transaction.output.first()?.script_pubkey)
    }

    /// Reads an M8 output script: exactly `6a 44 00bf00` and 65 more bytes (BIP-0301 M8).
    pub fn parse(script: &Script) -> Option<Self> {
        let body = script.as_bytes().strip_prefix(&M8_PREFIX)?;
        let (&slot, hashes) = body.split_first()?;
        let (hash, parent) = hashes.split_first_chunk::<32>()?;
        let parent = <[u8; 32]>::try_from(parent).ok()?;
        Some(Self {
            commitment: Commitment { slot: Slot(slot), hash: *hash },
            parent: BlockHash::from_byte_array(parent),
        })
    }

    /// The M8 output script, 70 bytes. The parent goes in in internal order, the reverse of what
    /// RPC shows.
    pub fn to_script(&self) -> ScriptBuf {
        let mut payload = [0; 68];
        payload[..3].copy_from_slice(&M8_TAG);
        payload[3] = self.commitment.slot.0;
        payload[4..36].copy_from_slice(&self.commitment.hash);
        payload[36..].copy_from_slice(self.parent.as_byte_array());
        ScriptBuf::new_op_return(payload)
    }
}

/// A message that an output of the coinbase carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CoinbaseMessage {
    /// Proposes a sidechain for a slot (BIP-0300 M1).
    M1(SidechainProposal),
    /// Acknowledges a proposal of an earlier block (BIP-0300 M2).
    M2(SidechainAcknowledgement),
    /// Proposes a withdrawal bundle of an active sidechain (BIP-0300 M3).
    M3(BundleProposal),
    /// Votes on the pending withdrawal bundles (BIP-0300 M4).
    M4(Votes),
    /// Commits to a sidechain block (BIP-0301 M7).
    M7(Commitment),
}

/// What an M1 says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SidechainProposal {
    /// The slot the sidechain wants.
    pub slot: Slot,
    /// Opaque to the rules, of any length; [`Declaration`] is the form in use.
    pub description: Vec<u8>,
}

impl SidechainProposal {
    /// What an M2 for this proposal names. Displays reversed, as the enforcer's gRPC does.
    pub fn description_hash(&self) -> sha256d::Hash {
        sha256d::Hash::hash(&self.description)
    }
}

/// What an M2 says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SidechainAcknowledgement {
    /// The slot of the proposal.
    pub slot: Slot,
    /// [`SidechainProposal::description_hash`] of the proposal.
    pub description_hash: sha256d::Hash,
}

/// What an M3 says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BundleProposal {
    /// The sidechain that wants to pay out.
    pub slot: Slot,
    /// The id of the blinded payout transaction ("m6id").
    pub bundle: Txid,
}

/// What an M4 says: one vote for each active slot, in ascending order of the slots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Votes {
    /// Version 0: the votes of the previous block once more.
    RepeatPrevious,
    /// Version 1: the index of a pending bundle, oldest first, or one of the two constants.
    OneByte(Vec<u8>),
    /// Version 2: the same in two bytes, little endian. Allowed only where one byte is too small.
    TwoByte(Vec<u16>),
    /// Version 3: up for each bundle that leads its rivals by 50.
    LeadingBy50,
}

impl Votes {
    /// The largest bundle index that version 1 can name.
    pub const INDEX_ONE_BYTE_MAX: u8 = 0xfd;
    /// Down for every bundle of the slot, version 1.
    pub const ALARM_ONE_BYTE: u8 = 0xfe;
    /// No vote for the slot, version 1.
    pub const ABSTAIN_ONE_BYTE: u8 = 0xff;
    /// Down for every bundle of the slot, version 2.
    pub const ALARM_TWO_BYTE: u16 = 0xfffe;
    /// No vote for the slot, version 2.
    pub const ABSTAIN_TWO_BYTE: u16 = 0xffff;

    /// No vote for any of `active_slots` sidechains.
    pub fn abstain(active_slots: usize) -> Self {
        Self::OneByte(vec![Self::ABSTAIN_ONE_BYTE; active_slots])
    }

    fn parse(body: &[u8]) -> Option<Self> {
        let (&version, votes) = body.split_first()?;
        match version {
            0 => votes.is_empty().then_some(Self::RepeatPrevious),
            1 => Some(Self::OneByte(votes.to_vec())),
            2 => {
                let (pairs, odd) = votes.as_chunks::<2>();
                let votes = pairs.iter().map(|pair| u16::from_le_bytes(*pair)).collect();
                odd.is_empty().then_some(Self::TwoByte(votes))
            }
            3 => votes.is_empty().then_some(Self::LeadingBy50),
            _ => None,
        }
    }

    fn payload(&self) -> Vec<u8> {
        let mut payload = M4_TAG.to_vec();
        match self {
            Self::RepeatPrevious => payload.push(0),
            Self::OneByte(votes) => {
                payload.push(1);
                payload.extend_from_slice(votes);
            }
            Self::TwoByte(votes) => {
                payload.push(2);
                payload.extend(votes.iter().flat_map(|vote| vote.to_le_bytes()));
            }
            Self::LeadingBy50 => payload.push(3),
        }
        payload
    }
}

/// A message is longer than [`PAYLOAD_BYTES_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a coinbase message of {bytes} bytes is longer than the {PAYLOAD_BYTES_MAX} bytes written \
     here; it would be left out of the block; shorten its description or its votes"
)]
pub struct MessageTooLong {
    /// The length of its payload.
    pub bytes: usize,
}

impl CoinbaseMessage {
    /// Reads one output script of a coinbase. `None`: an ordinary output.
    pub fn parse(script: &Script) -> Option<Self> {
        let (tag, body) = only_push(script)?.split_first_chunk::<TAG_BYTES>()?;
        match *tag {
            M1_TAG => {
                let (&slot, description) = body.split_first()?;
                let description = description.to_vec();
                Some(Self::M1(SidechainProposal { slot: Slot(slot), description }))
            }
            M2_TAG => slot_hash(body).map(|(slot, hash)| {
                let description_hash = sha256d::Hash::from_byte_array(hash);
                Self::M2(SidechainAcknowledgement { slot, description_hash })
            }),
            M3_TAG => slot_hash(body).map(|(slot, hash)| {
                Self::M3(BundleProposal { slot, bundle: Txid::from_byte_array(hash) })
            }),
            M4_TAG => Votes::parse(body).map(Self::M4),
            tag if tag == BmmHeader::M7.0 => {
                slot_hash(body).map(|(slot, hash)| Self::M7(Commitment { slot, hash }))
            }
            _ => None,
        }
    }

    /// The canonical output script.
    pub fn to_script(&self) -> Result<ScriptBuf, MessageTooLong> {
        match self {
            Self::M1(SidechainProposal { slot, description }) => {
                op_return([&M1_TAG[..], &[slot.0], description].concat())
            }
            Self::M2(SidechainAcknowledgement { slot, description_hash }) => {
                Ok(tag_slot_hash(M2_TAG, *slot, description_hash.as_byte_array()))
            }
            Self::M3(BundleProposal { slot, bundle }) => {
                Ok(tag_slot_hash(M3_TAG, *slot, bundle.as_byte_array()))
            }
            Self::M4(votes) => op_return(votes.payload()),
            Self::M7(commitment) => Ok(commitment.to_script()),
        }
    }
}

/// The payload of `OP_RETURN <push>` and nothing after it, whatever opcode pushes.
fn only_push(script: &Script) -> Option<&[u8]> {
    let mut instructions = script.instructions();
    let Ok(Instruction::Op(OP_RETURN)) = instructions.next()? else { return None };
    let Ok(Instruction::PushBytes(payload)) = instructions.next()? else { return None };
    instructions.next().is_none().then_some(payload.as_bytes())
}

/// Exactly one slot byte and 32 more.
fn slot_hash(body: &[u8]) -> Option<(Slot, [u8; 32])> {
    let (&slot, hash) = body.split_first()?;
    Some((Slot(slot), hash.try_into().ok()?))
}

fn tag_slot_hash(tag: [u8; TAG_BYTES], slot: Slot, hash: &[u8; 32]) -> ScriptBuf {
    let mut payload = [0; TAG_BYTES + 1 + 32];
    payload[..TAG_BYTES].copy_from_slice(&tag);
    payload[TAG_BYTES] = slot.0;
    payload[TAG_BYTES + 1..].copy_from_slice(hash);
    ScriptBuf::new_op_return(payload)
}

fn op_return(payload: Vec<u8>) -> Result<ScriptBuf, MessageTooLong> {
    let bytes = payload.len();
    if bytes > PAYLOAD_BYTES_MAX {
        return Err(MessageTooLong { bytes });
    }
    let payload = PushBytesBuf::try_from(payload).map_err(|_| MessageTooLong { bytes })?;
    Ok(ScriptBuf::new_op_return(payload))
}

#[cfg(test)]
mod tests;
