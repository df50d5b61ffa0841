//! Where the server is: `stratum+tcp://host:port`.
//!
//! Why its own reader: three schemes, a host and a port are all there is; a path, a user or TLS is
//! refused in words instead of being ignored.

use std::fmt;
use std::str::FromStr;

/// A server's host and port.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Endpoint {
    /// Name or address; an IPv6 address without its brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

/// Why a text names no server.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "{problem} in \"{url}\"; write stratum+tcp://HOST:PORT, such as stratum+tcp://127.0.0.1:3333"
)]
pub struct EndpointError {
    /// The text.
    url: String,
    /// What is wrong with it.
    problem: &'static str,
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(url: &str) -> Result<Self, EndpointError> {
        parse(url).map_err(|problem| EndpointError { url: url.escape_debug().to_string(), problem })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(formatter, "stratum+tcp://[{}]:{}", self.host, self.port)
        } else {
            write!(formatter, "stratum+tcp://{}:{}", self.host, self.port)
        }
    }
}

fn parse(url: &str) -> Result<Endpoint, &'static str> {
    let (scheme, rest) = url.split_once("://").ok_or("no scheme")?;
    match scheme.to_ascii_lowercase().as_str() {
        "stratum+tcp" | "stratum" | "tcp" => {}
        "stratum+ssl" | "stratum+tls" | "ssl" => return Err("TLS, which this miner lacks,"),
        _ => return Err("unknown scheme"),
    }
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (host, port) = rest.rsplit_once(':').ok_or("no port")?;
    let host = match host.strip_prefix('[') {
        Some(inner) => inner.strip_suffix(']').ok_or("unclosed bracket")?,
        None if host.contains(':') => return Err("IPv6 address without brackets"),
        None => host,
    };
    let stranger = |character: char| {
        character.is_whitespace() || character.is_control() || "/?#@[]".contains(character)
    };
    if host.is_empty() || host.contains(stranger) {
        return Err("no plain host");
    }
    let port = port.parse().ok().filter(|port| *port != 0).ok_or("no port from 1 to 65535")?;
    Ok(Endpoint { host: host.to_owned(), port })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn urls_are_read_and_written_back() {
        for (url, shown) in [
            ("stratum+tcp://127.0.0.1:3333", "stratum+tcp://127.0.0.1:3333"),
            ("STRATUM+TCP://pool.example:1/", "stratum+tcp://pool.example:1"),
            ("tcp://[::1]:65535", "stratum+tcp://[::1]:65535"),
        ] {
            assert_eq!(url.parse::<Endpoint>().unwrap().to_string(), shown);
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (url, problem) in [
            ("", "no scheme"),
            ("127.0.0.1:3333", "no scheme"),
            ("http://a:1", "unknown scheme"),
            ("stratum+ssl://a:1", "TLS, which this miner lacks,"),
            ("tcp://a", "no port"),
            ("tcp://a:", "no port from 1 to 65535"),
            ("tcp://a:0", "no port from 1 to 65535"),
            ("tcp://a:65536", "no port from 1 to 65535"),
            ("tcp://:1", "no plain host"),
            ("tcp://user@a:1", "no plain host"),
            ("tcp://a:1/path", "no port from 1 to 65535"),
            ("tcp://::1:1", "IPv6 address without brackets"),
            ("tcp://[::1:1", "unclosed bracket"),
        ] {
            assert_eq!(url.parse::<Endpoint>().unwrap_err().problem, problem, "{url}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_an_endpoint_or_refused(text in "(tcp://)?.*") {
            if let Ok(endpoint) = text.parse::<Endpoint>() {
                prop_assert_eq!(endpoint.to_string().parse(), Ok(endpoint));
            }
        }
    }
}
