//! What a proxy says before its miner speaks: the address is the one that stands there, and not a
//! byte more than the header is read.

use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use server::runtime::greeting::read_header;

/// Bytes before the length of a header of the second form, and with it.
const SECOND_START: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const SECOND_BYTES: usize = 16;

/// The input is what comes over the connection.
pub(crate) fn run(input: &[u8]) {
    let (said, left) = read(input);
    let Ok(said) = said else { return };
    let header = &input[..input.len() - left];
    if let Some(rest) = header.strip_prefix(SECOND_START) {
        let length = usize::from(u16::from_be_bytes([rest[2], rest[3]]));
        assert_eq!(header.len(), SECOND_BYTES + length, "not a byte more");
        assert_eq!(said, second(rest), "{header:?}");
    } else {
        assert_eq!(header.iter().position(|byte| *byte == b'\n'), Some(header.len() - 1));
        assert_eq!(said, first(header), "{header:?}");
    }
    // What follows makes no difference, and a header that is cut off is none.
    assert_eq!(read(header), (Ok(said), 0));
    assert_eq!(read(&header[..header.len() - 1]).0, Err(()));
}

/// What is made of `bytes`, and how many of them are left.
fn read(bytes: &[u8]) -> (Result<Option<SocketAddr>, ()>, usize) {
    let mut left = bytes;
    let said = {
        let mut reading = pin!(read_header(&mut left));
        // Bytes in memory are always there, so nobody is waited for.
        match reading.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(said) => said.map_err(|_| ()),
            Poll::Pending => panic!("it waits for what is there"),
        }
    };
    (said, left.len())
}

/// A line that was taken, by its words.
fn first(line: &[u8]) -> Option<SocketAddr> {
    let line = core::str::from_utf8(line).expect("it was taken for text");
    let words: Vec<&str> = line.trim_ascii_end().split(' ').collect();
    match words[..] {
        ["PROXY", "TCP4" | "TCP6", address, _, port, _] => {
            let address: IpAddr = address.parse().expect("it was taken for an address");
            Some(SocketAddr::new(address, port.parse().expect("it was taken for a port")))
        }
        _ => None,
    }
}

/// A header that was taken, behind its start: command, family, length, addresses.
fn second(rest: &[u8]) -> Option<SocketAddr> {
    let port = |at: usize| u16::from_be_bytes([rest[at], rest[at + 1]]);
    // The low halves: PROXY is 1, LOCAL is 0; over IPv4 is 1, over IPv6 is 2.
    match (rest[0] & 0x0f, rest[1] >> 4) {
        (1, 1) => {
            let address: [u8; 4] = rest[4..8].try_into().expect("four bytes");
            Some(SocketAddr::new(address.into(), port(12)))
        }
        (1, 2) => {
            let address: [u8; 16] = rest[4..20].try_into().expect("sixteen bytes");
            Some(SocketAddr::new(address.into(), port(36)))
        }
        _ => None,
    }
}
