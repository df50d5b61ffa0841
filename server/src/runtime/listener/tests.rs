//! The TCP door: whose address it is, when it opens, what is said when it does not.

use std::net::Ipv4Addr;

use super::*;

#[tokio::test]
async fn nobody_is_let_in_before_the_first_accept() {
    let mut door = TcpDoor::bind("127.0.0.1", 0).await.expect("a free port");
    let address = door.address().expect("it is bound");
    let early = TcpStream::connect(address).await.expect_err("it is shut");
    assert_eq!(early.kind(), io::ErrorKind::ConnectionRefused);
    let accepting = tokio::spawn(async move { (door.accept().await, door) });
    let until = Instant::now() + Duration::from_secs(20);
    let miner = loop {
        match TcpStream::connect(address).await {
            Err(_) if Instant::now() < until => tokio::task::yield_now().await,
            miner => break miner.expect("it opens"),
        }
    };
    let (accepted, door) = accepting.await.expect("no panic");
    let (_, peer, _) = accepted.expect("it connected");
    assert_eq!(peer, miner.local_addr().expect("it is connected"));
    assert_eq!(door.address().expect("it listens"), address);
}

#[tokio::test]
async fn an_address_that_listens_already_is_in_use() {
    let other = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
    let port = other.local_addr().expect("it is bound").port();
    let error = TcpDoor::bind("127.0.0.1", port).await.expect_err("it is taken");
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
}

/// Both wait for their node; only one can be let in to.
#[tokio::test]
async fn of_two_that_hold_one_address_the_second_is_told() {
    let mut first = TcpDoor::bind("127.0.0.1", 0).await.expect("a free port");
    let address = first.address().expect("it is bound");
    let mut second = TcpDoor::bind("127.0.0.1", address.port()).await.expect("nobody listens yet");
    first.listen().expect("it is first");
    let error = second.accept().await.expect_err("it is second");
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    assert!(error.to_string().starts_with(&address.to_string()), "{error}");
    let again = second.accept().await.expect_err("it stays shut");
    assert_eq!(again.kind(), io::ErrorKind::NotConnected);
}

#[tokio::test]
async fn a_restart_does_not_wait_for_old_connections() {
    let mut door = TcpDoor::bind("127.0.0.1", 0).await.expect("a free port");
    let address = door.address().expect("it is bound");
    door.listen().expect("a free port");
    let miner = TcpStream::connect(address).await.expect("it listens");
    let (accepted, ..) = door.accept().await.expect("it connected");
    // The side that closes first keeps the address for a minute.
    drop((accepted, door));
    let mut door = TcpDoor::bind("127.0.0.1", address.port()).await.expect("free again");
    door.listen().expect("free again");
    drop(miner);
}

#[tokio::test]
async fn a_host_that_is_not_ours_is_refused() {
    // 192.0.2.0/24 is nobody's (RFC 5737).
    let error = TcpDoor::bind("192.0.2.1", 0).await.expect_err("it is not ours");
    assert_eq!(error.kind(), io::ErrorKind::AddrNotAvailable);
}
