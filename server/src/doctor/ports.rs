//! The ports that miners connect to: whether they can be had, and what TLS proves itself with.

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpSocket;

use super::ask::{self, PATIENCE};
use super::report::Line;
use crate::runtime::tls::Tls;
use crate::settings::Settings;

const PORT: &str = "port";
const CERTIFICATE: &str = "certificate";

/// Takes each port for a moment. `in_use` is whether a server has the data directory: then it has
/// the ports as well.
pub(super) async fn examine(settings: &Settings, in_use: bool) -> Vec<Line> {
    let first = (settings.stratum_host.as_str(), settings.stratum_port, None);
    let others = settings
        .listen
        .iter()
        .map(|listen| (listen.host.as_str(), listen.port, listen.tls.as_ref()));
    let mut lines = Vec::new();
    for (place, (host, port, tls)) in core::iter::once(first).chain(others).enumerate() {
        let taken = take(host, port).await;
        lines.push(verdict(place == 0, &ask::shown(host, port), taken, in_use));
        lines.extend(tls.map(|files| {
            let certificate = files.certificate.display();
            match Tls::load(files.clone()) {
                Ok(_) => Line::passed(CERTIFICATE, format!("{certificate} and its key are a pair")),
                Err(error) => {
                    let fix = "give tls_cert and tls_key of this [[listen]] files that are";
                    Line::failed(CERTIFICATE, error.to_string(), fix)
                }
            }
        }));
    }
    lines
}

/// Listens for a moment where the server would.
async fn take(host: &str, port: u16) -> io::Result<()> {
    let looking = tokio::time::timeout(PATIENCE, tokio::net::lookup_host((host, port)));
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host name has no address");
    for address in looking.await.map_err(io::Error::from)?? {
        match listen(address) {
            Ok(()) => return Ok(()),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn listen(address: SocketAddr) -> io::Result<()> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // As the server does: what the last run's connections left is no obstacle.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    // Two may hold one address; only who listens is told.
    socket.listen(1).map(drop)
}

fn verdict(is_first: bool, address: &str, taken: io::Result<()>, in_use: bool) -> Line {
    let settings = if is_first { "STRATUM_HOST and STRATUM_PORT" } else { "its [[listen]]" };
    let error = match taken {
        Ok(()) => return Line::passed(PORT, format!("{address} is free to listen on")),
        Err(error) => error,
    };
    let is_taken = error.kind() == io::ErrorKind::AddrInUse;
    if is_taken && in_use {
        let seen = "is taken, as it should be while a server has the data directory";
        return Line::passed(PORT, format!("{address} {seen}"));
    }
    let fix = if is_taken {
        format!(
            "stop what listens there, unless it is systemd for this server, or choose another port \
             in {settings}"
        )
    } else if error.kind() == io::ErrorKind::PermissionDenied {
        format!("choose a port above 1023 in {settings}")
    } else {
        format!("name an address of this machine in {settings}")
    };
    Line::failed(PORT, format!("{address}: {error}"), fix)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Verdict;

    #[test]
    fn a_port_is_free_or_taken_by_whom_it_should_be() {
        let check = |taken: io::Result<()>, in_use, expected, fix: &str| {
            let line = verdict(false, "0.0.0.0:3333", taken, in_use);
            assert_eq!(line.verdict, expected);
            let its = line.fix.unwrap_or_default();
            assert!(its.contains(fix), "{its}");
        };
        let refused = |kind: io::ErrorKind| Err(kind.into());
        check(Ok(()), false, Verdict::Passed, "");
        check(refused(io::ErrorKind::AddrInUse), true, Verdict::Passed, "");
        check(refused(io::ErrorKind::AddrInUse), false, Verdict::Failed, "another port");
        check(refused(io::ErrorKind::PermissionDenied), false, Verdict::Failed, "above 1023");
        check(refused(io::ErrorKind::AddrNotAvailable), true, Verdict::Failed, "this machine");
    }

    #[test]
    fn a_port_is_tried_by_listening() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let port = taken.local_addr().expect("its address").port();
            let kind = |outcome: io::Result<()>| outcome.map_err(|error| error.kind());
            assert_eq!(kind(take("127.0.0.1", port).await), Err(io::ErrorKind::AddrInUse));
            assert_eq!(kind(take("127.0.0.1", 0).await), Ok(()));
            // TEST-NET-1 (RFC 5737) is nobody's.
            let elsewhere = kind(take("192.0.2.1", 0).await);
            assert_eq!(elsewhere, Err(io::ErrorKind::AddrNotAvailable));
        });
    }
}
