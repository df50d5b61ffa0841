//! A miner's user name as the address that his blocks pay.
//!
//! The network is checked, for a coin sent to another network's address is gone; and the kind, for
//! outputs of future kinds can be spent by anybody today.

use bitcoin::address::NetworkUnchecked;
use bitcoin::{Address, AddressType, Network, ScriptBuf};

/// Why nobody can be paid by a text.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum AddressError {
    /// It is no address.
    #[error("is not an address: mine with ADDRESS or ADDRESS.RIG as the user name")]
    NotAnAddress,
    /// Another network's.
    #[error("is an address of another network than {0}, where nobody could be paid by it")]
    Network(Network),
    /// A kind that is not spendable by its owner alone.
    #[error("is of a kind that anyone can spend: use a {} address", KINDS)]
    Kind,
}

/// Every kind that [`kind`] names, for a sentence.
pub const KINDS: &str = "P2PKH, P2SH, P2WPKH, P2WSH or P2TR";

/// The kind of an address whose owner alone can spend what it is sent; none when anybody can.
pub fn kind(address: &Address) -> Option<&'static str> {
    match address.address_type()? {
        AddressType::P2pkh => Some("P2PKH"),
        AddressType::P2sh => Some("P2SH"),
        AddressType::P2wpkh => Some("P2WPKH"),
        AddressType::P2wsh => Some("P2WSH"),
        AddressType::P2tr => Some("P2TR"),
        // P2A by design, future versions of segwit for now.
        AddressType::P2a | _ => None,
    }
}

/// The script that pays the address before the first dot of `user`: `ADDRESS` or `ADDRESS.RIG`.
pub fn payee(user: &str, network: Network) -> Result<ScriptBuf, AddressError> {
    let text = user.split_once('.').map_or(user, |(address, _rig)| address).trim();
    let address: Address<NetworkUnchecked> =
        text.parse().map_err(|_| AddressError::NotAnAddress)?;
    let address = address.require_network(network).map_err(|_| AddressError::Network(network))?;
    kind(&address).map(|_| address.script_pubkey()).ok_or(AddressError::Kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_address_on_its_own_network() {
        let check = |user, network, expected: Result<&str, AddressError>| {
            let found = payee(user, network);
            let hex = found.map(|script| crate::mining::hex::encode(script.as_bytes()));
            assert_eq!(hex.as_deref().map_err(|why| *why), expected, "{user}");
        };
        let main = Network::Bitcoin;
        let p2pkh = "76a91462e907b15cbf27d5425399ebf6f0fb50ebb88f1888ac";
        check("1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa", main, Ok(p2pkh));
        check("1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa.rig.2", main, Ok(p2pkh));
        check(
            "3J98t1WpEZ73CNmQviecrnyiWrnqRhWNLy",
            main,
            Ok("a914b472a266d0bd89c13706a4132ccfb16f7c3b9fcb87"),
        );
        let p2wpkh = "0014751e76e8199196d454941c45d1b3a323f1433bd6";
        check("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4.bitaxe", main, Ok(p2wpkh));
        check("BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KV8F3T4", main, Ok(p2wpkh));
        check(
            "bc1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3qccfmv3",
            main,
            Ok("00201863143c14c5166804bd19203356da136c985678cd4d27a1b8c6329604903262"),
        );
        check(
            "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0",
            main,
            Ok("512079be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"),
        );
        check("tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx", Network::Testnet, Ok(p2wpkh));
        check("tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx", Network::Testnet4, Ok(p2wpkh));
        let other = Err(AddressError::Network(main));
        check("tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx.rig", main, other);
        check("mipcBbFg9gMiCh81Kj8tqqdgoZub1ZJRfn", main, other);
        for name in ["worker", "", ".rig", "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNb"] {
            check(name, main, Err(AddressError::NotAnAddress));
        }
        // A program of a version that means nothing yet.
        check("bc1zw508d6qejxtdg4y5r3zarvaryvaxxpcs", main, Err(AddressError::Kind));
    }
}
