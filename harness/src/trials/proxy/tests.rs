//! The proxy in front of a listener that answers everything alike.

use std::convert::Infallible;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::rpc::RpcFailure;

/// A node that says `{"result":"here"}` to everything, and 401 to strangers.
async fn node() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = service_fn(|request: Request<Incoming>| async move {
                let known = request.headers().contains_key(AUTHORIZATION);
                drop(request.into_body().collect().await);
                Ok::<_, Infallible>(if known {
                    plain(StatusCode::OK, r#"{"result":"here","error":null,"id":0}"#)
                } else {
                    plain(StatusCode::UNAUTHORIZED, "")
                })
            });
            let served = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            tokio::spawn(served);
        }
    });
    address
}

/// What a call comes to that meets this fault.
async fn met(fault: Fault) -> Result<serde_json::Value, RpcFailure> {
    let proxy = Proxy::start(node().await).await.unwrap();
    let client = RpcClient::new(proxy.address().to_string()).with_credentials("a", "b");
    let methods = Methods::Only("faulty");
    proxy.plan(&[Planned { methods, fault, count: 1 }]);
    assert_eq!(client.call("sound", json!([])).await.unwrap(), json!("here"));
    let first = client.call("faulty", json!([])).await;
    assert_eq!(proxy.outstanding(), 0);
    assert_eq!(client.call("faulty", json!([])).await.unwrap(), json!("here"), "it is over");
    first
}

#[tokio::test]
async fn each_fault_is_what_it_is_called() {
    let moment = Duration::from_millis(20);
    for fault in [Fault::ReplyLost, Fault::HangBefore(moment), Fault::HangAfter(moment)] {
        let failure = met(fault).await.unwrap_err();
        assert!(matches!(failure, RpcFailure::Broken { .. }), "{fault}: {failure}");
    }
    let status = |failure: RpcFailure| {
        let RpcFailure::NotJsonRpc { status, excerpt, .. } = failure else { panic!("{failure}") };
        (status.as_u16(), excerpt)
    };
    assert_eq!(status(met(Fault::Broken).await.unwrap_err()).0, 500);
    assert_eq!(status(met(Fault::Unauthorized).await.unwrap_err()).0, 401);
    let (code, text) = status(met(Fault::Html).await.unwrap_err());
    assert!(code == 200 && text.starts_with("<html>"), "{text}");
    let (code, text) = status(met(Fault::Truncated).await.unwrap_err());
    assert!(code == 200 && text.starts_with(r#"{"result""#), "{text}");
    assert_eq!(met(Fault::Lie).await.unwrap(), serde_json::Value::Null);
}

#[tokio::test]
async fn a_reset_comes_mid_request_and_is_no_orderly_end() {
    let proxy = Proxy::start(node().await).await.unwrap();
    let methods = Methods::Only("submitblock");
    proxy.plan(&[Planned { methods, fault: Fault::Reset, count: 1 }]);
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    let half = format!(r#"{{"id":1,"method":"submitblock","params":["{}"#, "00".repeat(200));
    let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n";
    stream.write_all(format!("{head}{half}").as_bytes()).await.unwrap();
    let error = stream.read(&mut [0; 10]).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_node_out_of_reach_refuses_and_comes_back_at_its_address() {
    let mut proxy = Proxy::start(node().await).await.unwrap();
    let client = RpcClient::new(proxy.address().to_string()).with_credentials("a", "b");
    client.call("x", json!([])).await.unwrap();
    proxy.cut().await;
    let failure = client.call("x", json!([])).await.unwrap_err();
    assert!(matches!(failure, RpcFailure::Connect { .. }), "{failure}");
    proxy.mend().await.unwrap();
    client.call("x", json!([])).await.unwrap();
}
