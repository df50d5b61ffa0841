//! What comes before the first line of a connection: a proxy's word for who it is, and TLS.

use std::io;
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};
use std::time::Duration;

use ppp::{v1, v2};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// How long either may take.
const GREETING: Duration = Duration::from_secs(10);
/// Bytes with which either form of the header begins, and that the shorter one has.
const START_BYTES: usize = 12;
/// Longest header of the first form, its line end included (PROXY protocol 2.1).
const LINE_BYTES_MAX: usize = 107;
/// What a header of the second form may bring beside its first 16 bytes. Addresses are 216 bytes at
/// most; the rest is room for what a cloud's proxies say of themselves.
const BODY_BYTES_MAX: usize = 2_048;

/// Hears out the proxy: where the miner is, none when it speaks for itself.
pub(super) async fn hear_proxy(io: &mut TcpStream) -> io::Result<Option<SocketAddr>> {
    timeout(GREETING, read_header(io)).await?
}

/// Speaks TLS.
pub(super) async fn encrypt(
    io: TcpStream,
    acceptor: TlsAcceptor,
) -> io::Result<TlsStream<TcpStream>> {
    timeout(GREETING, acceptor.accept(io)).await?
}

/// Where the miner is, as the proxy says; none when it speaks for itself (a health check). Not a
/// byte more than the header is read.
pub async fn read_header<R: AsyncRead + Unpin>(from: &mut R) -> io::Result<Option<SocketAddr>> {
    let mut header = vec![0; START_BYTES];
    from.read_exact(&mut header).await?;
    if header == v2::PROTOCOL_PREFIX {
        let mut rest = [0; 4];
        from.read_exact(&mut rest).await?;
        let length = usize::from(u16::from_be_bytes([rest[2], rest[3]]));
        if length > BODY_BYTES_MAX {
            return Err(bad("a PROXY header is too long"));
        }
        header.extend_from_slice(&rest);
        let start = header.len();
        header.resize(start + length, 0);
        from.read_exact(&mut header[start..]).await?;
        let header = v2::Header::try_from(header.as_slice()).map_err(bad)?;
        return Ok(match (header.command, header.addresses) {
            (v2::Command::Proxy, v2::Addresses::IPv4(addresses)) => {
                Some(SocketAddrV4::new(addresses.source_address, addresses.source_port).into())
            }
            (v2::Command::Proxy, v2::Addresses::IPv6(addresses)) => Some(SocketAddr::V6(
                SocketAddrV6::new(addresses.source_address, addresses.source_port, 0, 0),
            )),
            (v2::Command::Proxy, v2::Addresses::Unspecified | v2::Addresses::Unix(_))
            | (v2::Command::Local, _) => None,
        });
    }
    if !header.starts_with(v1::PROTOCOL_PREFIX.as_bytes()) {
        return Err(bad("a proxy did not begin with a PROXY header"));
    }
    while !header.ends_with(b"\n") {
        if header.len() == LINE_BYTES_MAX {
            return Err(bad("a PROXY header is too long"));
        }
        header.push(from.read_u8().await?);
    }
    let header = v1::Header::try_from(header.as_slice()).map_err(bad)?;
    Ok(match header.addresses {
        v1::Addresses::Unknown => None,
        v1::Addresses::Tcp4(addresses) => {
            Some(SocketAddrV4::new(addresses.source_address, addresses.source_port).into())
        }
        v1::Addresses::Tcp6(addresses) => Some(SocketAddr::V6(SocketAddrV6::new(
            addresses.source_address,
            addresses.source_port,
            0,
            0,
        ))),
    })
}

fn bad(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What is made of `bytes`, and what is left for the session.
    fn read(bytes: &[u8]) -> (Result<Option<String>, ()>, Vec<u8>) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let mut left = bytes;
        let said = runtime.block_on(read_header(&mut left));
        (said.map(|peer| peer.map(|peer| peer.to_string())).map_err(|_| ()), left.to_vec())
    }

    fn second(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).expect("short").to_be_bytes();
        [v2::PROTOCOL_PREFIX, &[command, family], &length, body].concat()
    }

    #[test]
    fn both_forms_and_not_a_byte_more() {
        let check = |header: &[u8], expected: Result<Option<&str>, ()>| {
            let (said, left) = read(&[header, b"{\"id\":1}\n"].concat());
            assert_eq!(said, expected.map(|peer| peer.map(str::to_owned)), "{header:?}");
            assert!(expected.is_err() || left == b"{\"id\":1}\n", "{left:?}");
        };
        let four = b"PROXY TCP4 192.0.2.1 203.0.113.7 56324 3333\r\n";
        check(four, Ok(Some("192.0.2.1:56324")));
        check(
            b"PROXY TCP6 2001:db8::1 2001:db8::2 56324 3333\r\n",
            Ok(Some("[2001:db8::1]:56324")),
        );
        check(b"PROXY UNKNOWN\r\n", Ok(None));
        let body = [192, 0, 2, 1, 203, 0, 113, 7, 0xdc, 4, 0x0d, 5];
        check(&second(0x21, 0x11, &body), Ok(Some("192.0.2.1:56324")));
        // With a note of the proxy's own behind the addresses.
        check(
            &second(0x21, 0x11, &[&body[..], &[4, 0, 1, 0]].concat()),
            Ok(Some("192.0.2.1:56324")),
        );
        check(&second(0x20, 0, &[]), Ok(None));
        check(b"{\"id\":1,\"method\":\"mining.subscribe\",\"params\":[]}\n", Err(()));
        check(b"PROXY TCP4 192.0.2.1 203.0.113.7 56324\r\n", Err(()));
        check(&[b"PROXY UNKNOWN ", &[b'x'; 200][..]].concat(), Err(()));
        check(&second(0x31, 0x11, &body), Err(()));
        check(&[v2::PROTOCOL_PREFIX, &[0x21, 0x11, 0xff, 0xff]].concat(), Err(()));
    }

    proptest! {
        #[test]
        fn no_bytes_do_harm(
            form in 0_usize..3,
            bytes in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let start: [&[u8]; 3] = [b"", b"PROXY ", v2::PROTOCOL_PREFIX];
            let (said, left) = read(&[start[form], &bytes].concat());
            // Whatever the bytes: an answer, and nothing is read twice.
            prop_assert!(left.len() <= bytes.len());
            prop_assert!(said.is_err() || form > 0 || bytes.len() >= START_BYTES);
        }
    }
}
