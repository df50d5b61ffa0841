//! One call against a peer of bytes: what goes out, and what each kind of answer comes to.

use std::fs;
use std::io;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::sync::mpsc;

use super::*;
use crate::settings;

/// The time of a failure.
const PATIENCE: Duration = Duration::from_secs(20);

/// Connects to a peer that reports the request and answers with these bytes, then hangs up.
#[derive(Clone)]
struct Peer {
    answer: &'static str,
    requests: mpsc::Sender<String>,
}

impl Connect for Peer {
    type Io = DuplexStream;

    async fn connect(&self, _: &str, port: u16) -> io::Result<DuplexStream> {
        if port == 1 {
            return Err(io::Error::new(io::ErrorKind::ConnectionRefused, "refused"));
        }
        let (io, mut far) = duplex(4_096);
        let Self { answer, requests } = self.clone();
        tokio::spawn(async move {
            let mut heard = vec![0; 4_096];
            let mut length = 0;
            while !heard[..length].ends_with(b"BODY") {
                length += far.read(&mut heard[length..]).await.expect("in memory");
            }
            let heard = String::from_utf8(heard[..length].to_vec()).expect("ASCII");
            requests.send(heard).await.expect("the test listens");
            if answer == "never" {
                core::future::pending::<()>().await;
            }
            // The caller may have had enough.
            far.write_all(answer.as_bytes()).await.unwrap_or_default();
        });
        Ok(io)
    }
}

async fn call(
    endpoint: RpcEndpoint,
    answer: &'static str,
    patience: Duration,
) -> (Result<HttpReply, CallError>, Option<String>) {
    let (requests, mut heard) = mpsc::channel(1);
    let peer = Peer { answer, requests };
    let result = post(peer, endpoint, Bytes::from_static(b"BODY"), patience).await;
    (result, heard.try_recv().ok())
}

fn endpoint(host: &str, credentials: Credentials) -> RpcEndpoint {
    RpcEndpoint { host: host.to_owned(), port: 8_332, credentials }
}

/// Credentials can only be had from settings.
fn basic(user: &str, password: &str) -> Credentials {
    let known = [("RPC_USER", user), ("RPC_PASSWORD", password)];
    let known = known.iter().map(|(name, value)| ((*name).to_owned(), value.into())).collect();
    let no_files = |_: &std::path::Path| Err(io::ErrorKind::NotFound.into());
    let args = ["drivechain-stratum".into()].into_iter();
    settings::load(args, &known, &no_files).expect("good settings").settings.node.credentials
}

const FINE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";

#[tokio::test]
async fn a_request_is_a_plain_post() {
    let (result, request) = call(endpoint("node", Credentials::None), FINE, PATIENCE).await;
    assert_eq!(result, Ok(HttpReply { status: 200, body: Bytes::from_static(b"{}") }));
    insta::assert_snapshot!(request.expect("it was called").replace('\r', ""), @r"
    POST / HTTP/1.1
    host: node:8332
    content-type: application/json
    connection: close
    content-length: 4

    BODY
    ");
}

#[tokio::test]
async fn addresses_and_credentials() {
    let request = async |endpoint| call(endpoint, FINE, PATIENCE).await.1.expect("it was called");
    let said = request(endpoint("::1", Credentials::None)).await;
    assert!(said.contains("\r\nhost: [::1]:8332\r\n"), "{said}");
    let said = request(endpoint("node", basic("user", "pass:word"))).await;
    assert!(said.contains("\r\nauthorization: Basic dXNlcjpwYXNzOndvcmQ=\r\n"), "{said}");
}

/// bitcoind writes a new cookie at each of its starts, before it answers.
#[tokio::test]
async fn a_cookie_is_read_for_each_call() {
    let name = format!("drivechain-stratum-cookie-{}", std::process::id());
    let path = std::env::temp_dir().join(name);
    let node = || endpoint("node", Credentials::CookieFile(path.clone()));
    fs::remove_file(&path).unwrap_or_default();
    let (result, _) = call(node(), FINE, PATIENCE).await;
    let error = result.expect_err("there is no cookie").to_string();
    assert!(
        error.contains("RPC_COOKIE_FILE") && error.contains(path.to_str().expect("ASCII")),
        "{error}"
    );
    for (cookie, expected) in [("__cookie__:a\n", "X19jb29raWVfXzph"), ("u:b", "dTpi")] {
        fs::write(&path, cookie).expect("the temporary folder is writable");
        let (_, request) = call(node(), FINE, PATIENCE).await;
        let expected = format!("\r\nauthorization: Basic {expected}\r\n");
        assert!(request.expect("it was called").contains(&expected));
    }
    fs::remove_file(&path).expect("it is ours");
}

#[tokio::test]
async fn whatever_status_and_body_come_are_brought_back() {
    let check = async |answer, status, body: &'static str| {
        let (result, _) = call(endpoint("node", Credentials::None), answer, PATIENCE).await;
        let body = Bytes::from_static(body.as_bytes());
        assert_eq!(result, Ok(HttpReply { status, body }), "{answer}");
    };
    check("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 4\r\n\r\noops", 500, "oops").await;
    check("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n", 401, "").await;
    check("HTTP/1.0 200 OK\r\n\r\nuntil the end", 200, "until the end").await;
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
                   3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    check(chunked, 200, "abcde").await;
    check("HTTP/1.1 204 No Content\r\n\r\n", 204, "").await;
}

#[tokio::test]
async fn what_is_no_whole_answer_is_broken() {
    let broken = [
        "",
        "SSH-2.0-OpenSSH_9.2\r\n",
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n{\"result\":",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab",
        "HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\n{}",
    ];
    for answer in broken {
        let (result, _) = call(endpoint("node", Credentials::None), answer, PATIENCE).await;
        let is_broken = matches!(&result, Err(CallError::Broken(why)) if !why.is_empty());
        assert!(is_broken, "{answer:?}: {result:?}");
    }
}

#[tokio::test]
async fn who_cannot_be_reached_and_who_is_silent() {
    let nobody = RpcEndpoint { port: 1, ..endpoint("node", Credentials::None) };
    let (result, _) = call(nobody, FINE, PATIENCE).await;
    assert_eq!(result, Err(CallError::Connect("node:1: refused".to_owned())));
    let moment = Duration::from_millis(20);
    let (result, _) = call(endpoint("node", Credentials::None), "never", moment).await;
    assert_eq!(result, Err(CallError::Timeout));
}
