//! Ports side by side over real sockets: plain, behind a proxy, in TLS.

use std::fs;
use std::net::Ipv4Addr;
use std::sync::Arc;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::*;
use crate::settings::TlsFiles;

async fn bound() -> (TcpDoor, SocketAddr) {
    let door = TcpDoor::bind("127.0.0.1", 0).await.expect("a free port");
    let address = door.address().expect("it is bound");
    (door, address)
}

/// Writes a fresh certificate for localhost; the answer is what a client must trust.
fn certify(files: &TlsFiles) -> CertificateDer<'static> {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    fs::write(&files.certificate, cert.pem()).expect("a folder of ours");
    fs::write(&files.key, signing_key.serialize_pem()).expect("a folder of ours");
    cert.der().clone()
}

async fn connect(address: SocketAddr, trusted: CertificateDer<'static>) -> io::Result<()> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted).expect("a certificate");
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("known versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").expect("a name");
    let stream = TcpStream::connect(address).await.expect("it listens");
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    stream.write_all(b"hello").await?;
    stream.flush().await
}

#[tokio::test]
async fn each_port_lets_in_by_its_own_rules() {
    let (plain, at_plain) = bound().await;
    let (proxied, at_proxied) = bound().await;
    let (open, at_open) = bound().await;
    let mut doors = Doors::default();
    doors.add(plain, &[], None);
    doors.add(proxied, &[Ipv4Addr::LOCALHOST.into()], None);
    doors.add(open, &[Ipv4Addr::new(192, 0, 2, 1).into()], None);
    for door in &mut doors.ports {
        door.tcp.listen().expect("a free port");
    }
    let mut silent = TcpStream::connect(at_proxied).await.expect("it listens");
    let mut miner = TcpStream::connect(at_proxied).await.expect("it listens");
    miner.write_all(b"PROXY TCP4 192.0.2.1 203.0.113.7 5 3333\r\nhello").await.expect("sent");
    let (mut io, peer, port) = doors.accept().await.expect("let in");
    assert_eq!((peer.to_string().as_str(), port), ("192.0.2.1:5", PortId(1)));
    let mut heard = [0; 5];
    io.read_exact(&mut heard).await.expect("the rest is the session's");
    assert_eq!(&heard, b"hello");
    // One that says nothing keeps nobody waiting.
    let plain = TcpStream::connect(at_plain).await.expect("it listens");
    let (_, peer, port) = doors.accept().await.expect("let in");
    assert_eq!((peer, port), (plain.local_addr().expect("connected"), PortId(0)));
    // Who is no proxy of ours is who he is, whatever he says.
    let mut liar = TcpStream::connect(at_open).await.expect("it listens");
    liar.write_all(b"PROXY TCP4 192.0.2.9 203.0.113.7 5 3333\r\n").await.expect("sent");
    let (_, peer, port) = doors.accept().await.expect("let in");
    assert_eq!((peer, port), (liar.local_addr().expect("connected"), PortId(2)));
    // And a proxy that says nonsense is sent away.
    silent.write_all(b"{\"id\":1,\"method\":\"mining.ping\"}\n").await.expect("sent");
    let last = TcpStream::connect(at_plain).await.expect("it listens");
    let mut gone = Vec::new();
    let (_, peer, _) = doors.accept().await.expect("let in");
    assert_eq!(peer, last.local_addr().expect("connected"));
    let closing = tokio::spawn(async move { doors.accept().await.map(|_| ()) });
    assert!(matches!(silent.read_to_end(&mut gone).await, Ok(0) | Err(_)));
    closing.abort();
}

#[tokio::test]
async fn tls_with_a_certificate_that_is_renewed() {
    let folder = std::env::temp_dir().join(format!("stratum-tls-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    let files = TlsFiles { certificate: folder.join("chain.pem"), key: folder.join("key.pem") };
    assert!(Tls::load(files.clone()).is_err(), "there is none");
    let first = certify(&files);
    let (door, address) = bound().await;
    let mut doors = Doors::default();
    doors.add(door, &[], Some(Tls::load(files.clone()).expect("a good pair")));
    doors.ports[0].tcp.listen().expect("a free port");
    let serving = tokio::spawn(async move {
        let mut bytes = [0; 5];
        loop {
            let (mut io, ..) = doors.accept().await.expect("let in");
            // A client that did not like the certificate says nothing.
            if io.read_exact(&mut bytes).await.is_ok() {
                assert_eq!(&bytes, b"hello");
            }
        }
    });
    connect(address, first.clone()).await.expect("it is trusted");
    fs::write(&files.certificate, "half a certi").expect("a folder of ours");
    connect(address, first.clone()).await.expect("the old one stays");
    let second = certify(&files);
    connect(address, second).await.expect("read anew");
    connect(address, first).await.expect_err("the old one is gone");
    serving.abort();
    fs::remove_dir_all(&folder).expect("a folder of ours");
}
