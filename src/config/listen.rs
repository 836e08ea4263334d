//! Where the proxy listens: `host:port`, or a directory for a unix socket.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::value::found;

/// The port of a unix socket whose directory comes without one.
const DEFAULT_PORT: u16 = 6432;

/// One of `listen`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ListenAddress {
    /// `host:port`; an IPv6 address in brackets, a name for all its addresses. Port 0 lets the system choose.
    Tcp {
        /// A name or an address, without brackets.
        host: String,
        /// The port.
        port: u16,
    },
    /// `unix:/directory[:port]`: the socket `/directory/.s.PGSQL.<port>`, where libpq looks for it.
    Unix {
        /// The directory, which must exist.
        directory: PathBuf,
        /// The port, a part of the socket's name only. Default 6432.
        port: u16,
    },
}

impl ListenAddress {
    /// The socket file as libpq names it, for an address that has one.
    ///
    /// The rule is `UNIXSOCK_PATH` in `libpq/pqcomm.h`.
    pub fn socket_path(&self) -> Option<PathBuf> {
        match self {
            Self::Tcp { .. } => None,
            Self::Unix { directory, port } => Some(directory.join(format!(".s.PGSQL.{port}"))),
        }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix { directory, port } => write!(f, "unix:{}:{port}", directory.display()),
        }
    }
}

impl FromStr for ListenAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix("unix:") {
            Some(rest) => unix_address(rest),
            None => tcp_address(text),
        }
    }
}

fn unix_address(text: &str) -> Result<ListenAddress, String> {
    let (directory, port) = match text.rsplit_once(':') {
        Some((directory, port)) => (directory, parse_port(port)?),
        None => (text, DEFAULT_PORT),
    };
    if !Path::new(directory).is_absolute() {
        return Err(format!(
            "expected unix:/directory or unix:/directory:port, found \"unix:{text}\""
        ));
    }
    Ok(ListenAddress::Unix {
        directory: directory.into(),
        port,
    })
}

fn tcp_address(text: &str) -> Result<ListenAddress, String> {
    let expected = || {
        format!(
            "expected host:port, [ipv6]:port or unix:/directory, found {}",
            found(text)
        )
    };
    let (host, port) = text.rsplit_once(':').ok_or_else(expected)?;
    let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => address,
        None if host.contains([':', '[', ']']) => return Err(expected()),
        None => host,
    };
    if host.is_empty() {
        return Err(expected());
    }
    Ok(ListenAddress::Tcp {
        host: host.into(),
        port: parse_port(port)?,
    })
}

fn parse_port(text: &str) -> Result<u16, String> {
    text.parse()
        .map_err(|_| format!("expected a port (0 to 65535), found {}", found(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(host: &str, port: u16) -> ListenAddress {
        ListenAddress::Tcp {
            host: host.into(),
            port,
        }
    }

    #[test]
    fn a_tcp_address_is_a_host_and_a_port() {
        assert_eq!("127.0.0.1:6432".parse(), Ok(tcp("127.0.0.1", 6432)));
        assert_eq!("localhost:0".parse(), Ok(tcp("localhost", 0)));
        assert_eq!("[::1]:6432".parse(), Ok(tcp("::1", 6432)));
    }

    #[test]
    fn a_unix_address_names_the_socket_as_libpq_does() {
        let given: ListenAddress = "unix:/run/bemi:5432".parse().expect("valid");
        assert_eq!(given.socket_path(), Some("/run/bemi/.s.PGSQL.5432".into()));
        let default: ListenAddress = "unix:/run/bemi".parse().expect("valid");
        assert_eq!(default.socket_path(), Some("/run/bemi/.s.PGSQL.6432".into()));
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "",
            ":6432",
            "6432",
            "::1:6432",
            "[::1:6432",
            "host:",
            "host:65536",
            "unix:run",
            "unix:",
        ] {
            assert!(text.parse::<ListenAddress>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_address_reads_back_as_it_is_written() {
        for text in ["127.0.0.1:6432", "[::1]:6432", "unix:/run/bemi:6432"] {
            assert_eq!(
                text.parse::<ListenAddress>().map(|address| address.to_string()),
                Ok(text.into())
            );
        }
    }
}
