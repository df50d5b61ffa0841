//! The script of a coinbase's input: how it starts, what we add, and how long it may be.

use bitcoin::script::PushBytesBuf;

/// Bytes of extranonce1: one session's share of the search space.
pub const EXTRANONCE1_BYTES: usize = 4;
/// Bytes of extranonce2: what the miner rolls. Eight, so that proxies can split it.
pub const EXTRANONCE2_BYTES: usize = 8;
/// Consensus bounds of a coinbase's input script.
pub const SCRIPT_SIG_BYTES_MAX: usize = 100;
/// Our name in the chain; kept short because small firmware buffers the coinbase.
const TAG: &[u8] = b"drivechain";
/// Bytes of both.
pub(super) const EXTRANONCE_BYTES: usize = EXTRANONCE1_BYTES + EXTRANONCE2_BYTES;
/// What we append to the start of the script at most: two pushes, extranonces, and tag with
/// generation and revision.
pub const SCRIPT_BYTES_ADDED: usize = 1 + EXTRANONCE_BYTES + 1 + TAG.len() + 4 + 1;

/// Extranonce1 of a session.
pub type Extranonce1 = [u8; EXTRANONCE1_BYTES];
/// Extranonce2 of a candidate.
pub type Extranonce2 = [u8; EXTRANONCE2_BYTES];

/// The height as consensus wants it first in the script (BIP-0034): `OP_N` up to 16, padded to
/// the two bytes that a coinbase script must have; a minimal push above.
pub(super) fn height_push(height: u32) -> Vec<u8> {
    let builder = bitcoin::script::Builder::new().push_int(i64::from(height));
    let mut bytes = builder.into_script().into_bytes();
    if bytes.len() < 2 {
        bytes.push(0);
    }
    bytes
}

/// The push of our tag and the generation, and of the revision when a job is given out again.
pub(super) fn tag_push(generation: u32, revision: u8) -> Vec<u8> {
    let mut tag = PushBytesBuf::new();
    let again: &[u8] = if revision == 0 { &[] } else { &[revision] };
    for part in [TAG, &generation.to_be_bytes(), again] {
        assert!(tag.extend_from_slice(part).is_ok(), "15 bytes are a legal push");
    }
    bitcoin::script::Builder::new().push_slice(tag).into_script().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heights_are_pushed_as_consensus_wants_them() {
        let check = |height, hex: &str| {
            assert_eq!(crate::mining::hex::encode(&height_push(height)), hex, "{height}");
        };
        check(1, "5100");
        check(16, "6000");
        check(17, "0111");
        check(127, "017f");
        check(128, "028000");
        check(32_767, "02ff7f");
        check(32_768, "03008000");
        check(8_388_607, "03ffff7f");
        check(8_388_608, "0400008000");
    }
}
