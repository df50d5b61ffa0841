//! What a block says of its witnesses (BIP-0141).

/// The witness reserved value: what the commitment is hashed with, and the coinbase's one witness
/// item.
pub const WITNESS_RESERVED: [u8; 32] = [0; 32];
/// How the script of the commitment output starts; 32 bytes of hash follow.
pub const WITNESS_COMMITMENT_START: [u8; 6] = [0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed];
