//! Every kernel of this machine against SHA-256 by two other roads: the library's ordinary
//! interface, and the `bitcoin` crate's idea of a header.

use std::collections::BTreeSet;

use bitcoin::block::Header as BitcoinHeader;
use bitcoin::consensus::deserialize;
use bitcoin::hashes::Hash as _;
use proptest::prelude::*;
use sha2::{Digest as _, Sha256};

use super::*;

/// The hash by the slow road.
fn sha256d(header: &[u8; 80], nonce: u32) -> [u8; 32] {
    let mut header = *header;
    header[76..].copy_from_slice(&nonce.to_le_bytes());
    Sha256::digest(Sha256::digest(header)).into()
}

/// The hash's most significant word.
fn top_word(hash: &[u8; 32]) -> u32 {
    u32::from_le_bytes([hash[28], hash[29], hash[30], hash[31]])
}

/// Everything that a kernel names, scanning from each find on.
fn scan_all(kernel: Kernel, header: &Header, first: u32, count: u64, top_word: u32) -> Vec<u32> {
    let (mut found, end) = (Vec::new(), u64::from(first) + count);
    let mut next = u64::from(first);
    while let Ok(start) = u32::try_from(next)
        && let Some(nonce) = kernel.scan(header, start, end - next, top_word)
    {
        found.push(nonce);
        next = u64::from(nonce) + 1;
    }
    found
}

#[track_caller]
fn check(bytes: &[u8; 80], first: u32, count: u64, most: u32) {
    let header = Header::new(bytes);
    let nonces = (u64::from(first)..u64::from(first) + count).map(low_word);
    let expected: Vec<u32> =
        nonces.filter(|nonce| top_word(&sha256d(bytes, *nonce)) <= most).collect();
    for kernel in Kernel::all() {
        let found = scan_all(kernel, &header, first, count, most);
        assert_eq!(found, expected, "{kernel}: {count} from {first}, at most {most:08x}");
    }
}

fn header() -> impl Strategy<Value = [u8; 80]> {
    proptest::collection::vec(any::<u8>(), 80).prop_map(|bytes| bytes.try_into().unwrap())
}

#[test]
fn names_lead_back_and_the_scalar_one_is_everywhere() {
    assert!(Kernel::all().any(|kernel| kernel == Kernel::SCALAR));
    for kernel in Kernel::all() {
        assert_eq!(kernel.name().parse(), Ok(kernel));
    }
    let names: BTreeSet<&str> = KINDS.iter().map(|kind| kind.name()).collect();
    assert_eq!(names.len(), KINDS.len());
    let Err(KernelError::Unknown(here)) = "gpu".parse::<Kernel>() else { unreachable!("no GPU") };
    assert!(here.starts_with("scalar"), "{here}");
}

#[test]
fn nothing_is_found_where_nothing_is_to_be_searched() {
    for kernel in Kernel::all() {
        for first in [0, 1, u32::MAX] {
            assert_eq!(kernel.scan(&Header::new(&[7; 80]), first, 0, u32::MAX), None, "{kernel}");
        }
    }
}

#[test]
fn each_nonce_of_each_batch_is_named_in_turn() {
    // Whatever is hashed meets this, so all are hits, and each lane is the first once.
    check(&[7; 80], 1_000, 100, u32::MAX);
}

#[test]
fn the_last_nonces_are_searched_and_the_first_not_again() {
    for count in [1, 3, 4, 5, 15, 16, 17, 31, 32, 33, 64, 65] {
        check(&[9; 80], low_word((1 << 32) - count), count, u32::MAX);
        check(&[9; 80], low_word((1 << 32) - count), count, 0x1fff_ffff);
        check(&[9; 80], 0, count, 0x1fff_ffff);
    }
}

#[test]
fn equal_to_the_bound_is_a_hit_and_one_above_is_none() {
    let bytes = [3; 80];
    for kernel in Kernel::all() {
        for nonce in 0..64 {
            let word = top_word(&sha256d(&bytes, nonce));
            let scan = |most| kernel.scan(&Header::new(&bytes), nonce, 32, most);
            assert_eq!(scan(word), scan_from(&bytes, nonce, 32, word), "{kernel}");
            assert_eq!(scan(word - 1), scan_from(&bytes, nonce, 32, word - 1), "{kernel}");
            assert_eq!(scan(word), Some(nonce), "{kernel}");
        }
    }
}

/// The first hit by the slow road.
fn scan_from(bytes: &[u8; 80], first: u32, count: u32, most: u32) -> Option<u32> {
    (first..first + count).find(|nonce| top_word(&sha256d(bytes, *nonce)) <= most)
}

proptest! {
    #[test]
    fn every_kernel_names_exactly_what_the_slow_road_finds(
        bytes in header(),
        first in any::<u32>(),
        count in 0_u64..400,
        // From one hash in two to one in a hundred thousand.
        most in (1_u32..17).prop_map(|shift| u32::MAX >> shift),
    ) {
        let count = count.min((1 << 32) - u64::from(first));
        check(&bytes, first, count, most);
    }

    #[test]
    fn the_full_hash_is_that_of_bitcoin(bytes in header(), nonce in any::<u32>()) {
        let mut parsed: BitcoinHeader = deserialize(&bytes).unwrap();
        parsed.nonce = nonce;
        let hash = Header::new(&bytes).hash(nonce);
        prop_assert_eq!(hash, parsed.block_hash().to_byte_array());
        for kernel in Kernel::all() {
            let named = kernel.scan(&Header::new(&bytes), nonce, 1, top_word(&hash));
            prop_assert_eq!(named, Some(nonce));
        }
    }
}
