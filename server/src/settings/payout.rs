//! Where the reward of a block goes: one script from two settings.
//!
//! **Invariant:** a script that nobody or everybody could spend is never chosen on mainnet.

use core::error::Error;

use bitcoin::address::NetworkUnchecked;
use bitcoin::bech32::segwit;
use bitcoin::hashes::Hash as _;
use bitcoin::opcodes::OP_TRUE;
use bitcoin::script::Builder;
use bitcoin::{Address, Network, PubkeyHash, ScriptBuf};

use super::value::{NETWORKS, network_name};
use crate::mining::address::{self, KINDS};

/// The output script that blocks pay to, and how to say so.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Payout {
    /// The script.
    pub script: ScriptBuf,
    /// For the log: its kind, its address, the setting it came from.
    pub description: String,
}

impl Payout {
    pub(super) fn to_key_hash(hash: [u8; 20], network: Network) -> Self {
        let address = Address::p2pkh(PubkeyHash::from_byte_array(hash), network);
        let description = format!("P2PKH {address} (MINER_PKH_HEX)");
        Self { script: address.script_pubkey(), description }
    }

    pub(super) fn to_anyone() -> Self {
        let script = Builder::new().push_opcode(OP_TRUE).into_script();
        let description = "OP_TRUE, which anyone can spend".to_owned();
        Self { script, description }
    }

    /// The payout to the address `value`, or the sentence after `PAYOUT_ADDRESS=value (source): `.
    pub(super) fn to_address(value: &str, network: Network) -> Result<Self, String> {
        let ours = network_name(network);
        let address: Address<NetworkUnchecked> = value.parse().map_err(|error| {
            // The parser tries base58 last and complains of that alone.
            let cause = match segwit::decode(value) {
                Err(error) if is_like_segwit(value) => causes(&error),
                _ => causes(&error),
            };
            format!(
                "is not an address ({cause}), so blocks would pay nobody; copy an address of \
                 {ours} whole"
            )
        })?;
        if !address.is_valid_for_network(network) {
            let theirs: Vec<&str> = NETWORKS
                .iter()
                .filter(|(other, ..)| address.is_valid_for_network(*other))
                .map(|(_, names, _)| names[0])
                .collect();
            let theirs = theirs.join(", ");
            return Err(format!(
                "is an address of {theirs}, but NETWORK is {ours}, where nobody could be paid by \
                 it; give an address of {ours}, or correct NETWORK"
            ));
        }
        let address = address.assume_checked();
        let kind = address::kind(&address).ok_or_else(|| {
            format!("is of a kind that anyone can spend today; give a {KINDS} address of {ours}")
        })?;
        let description = format!("{kind} {address} (PAYOUT_ADDRESS)");
        Ok(Self { script: address.script_pubkey(), description })
    }
}

/// Whether `value` was meant to be a bech32 address (BIP-0173).
fn is_like_segwit(value: &str) -> bool {
    let lower = value.to_ascii_lowercase();
    ["bc1", "tb1", "bcrt1"].iter().any(|prefix| lower.starts_with(prefix))
}

/// An error with all its causes in one line.
fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
