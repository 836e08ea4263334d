//! Why no connection to the server came about, address by address, without credentials.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use crate::tls::{CertificateRefused, refusal};

/// No connection to the server came about.
#[derive(Debug)]
pub struct ConnectError {
    attempts: Vec<Attempt>,
}

/// One address that was tried.
#[derive(Debug)]
pub struct Attempt {
    /// Host and port as the URL has them.
    pub host: String,
    /// The address behind the name, if it came to that.
    pub address: Option<SocketAddr>,
    /// What came of it.
    pub failure: Failure,
}

/// What came of one address.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The name leads nowhere.
    #[error("the name cannot be resolved: {0}")]
    Resolve(io::Error),
    /// The name has no address.
    #[error("the name has no address")]
    NoAddress,
    /// Nobody answered.
    #[error("{0}")]
    Connect(io::Error),
    /// Nobody answered in time.
    #[error("no answer within {} s", .0.as_secs_f64())]
    Timeout(Duration),
    /// The server does not speak TLS, which the URL asks for.
    #[error(
        "the server does not support TLS, which sslmode asks for: turn it on there (ssl = on) or write sslmode=disable"
    )]
    NoTls,
    /// An error came instead of an answer to the request for TLS.
    #[error("the server answered the request for TLS with an error{}", quoted(.message.as_deref()))]
    ServerError {
        /// Its message; `None` where TLS is a must, as nobody knows whose words these are.
        message: Option<String>,
    },
    /// Something else came.
    #[error("this is no PostgreSQL server: it answered the request for TLS with the byte {0:#04x}")]
    Answer(u8),
    /// The server's certificate was refused.
    #[error("{0}")]
    Certificate(CertificateRefused),
    /// The handshake failed otherwise.
    #[error("TLS handshake failed: {0}")]
    Handshake(rustls::Error),
    /// TLS, but perhaps not PostgreSQL.
    #[error(
        "the server did not confirm the protocol 'postgresql' in TLS (ALPN): write sslnegotiation=postgres"
    )]
    NoAlpn,
    /// The connection broke while TLS was being agreed on.
    #[error("the server closed the connection while TLS was being agreed on: {0}")]
    Lost(io::Error),
}

impl Failure {
    /// Reads the error of a handshake.
    pub(super) fn handshake(error: io::Error) -> Self {
        let tls = error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match (tls.and_then(refusal), tls) {
            (Some(refused), _) => Self::Certificate(refused.clone()),
            (None, Some(tls)) => Self::Handshake(tls.clone()),
            (None, None) => Self::Lost(error),
        }
    }

    /// Whether the other addresses are left alone: this one answered, so that the fault is not that it is down.
    pub(super) fn ends_the_search(&self) -> bool {
        match self {
            Self::Resolve(_) | Self::NoAddress | Self::Connect(_) | Self::Timeout(_) => false,
            Self::NoTls
            | Self::ServerError { .. }
            | Self::Answer(_)
            | Self::Certificate(_)
            | Self::Handshake(_)
            | Self::NoAlpn
            | Self::Lost(_) => true,
        }
    }

    /// Whether `sslmode=prefer` goes on in the clear.
    pub(super) fn allows_plain(&self) -> bool {
        matches!(self, Self::Certificate(_) | Self::Handshake(_) | Self::Lost(_))
    }
}

impl ConnectError {
    pub(super) fn new(attempts: Vec<Attempt>) -> Self {
        Self { attempts }
    }

    /// Every address that was tried, in order.
    pub fn attempts(&self) -> &[Attempt] {
        &self.attempts
    }

    /// The SQLSTATE for the client: 08006 (connection failure) if a connection stood and broke, else 08001
    /// (the connection could not be established).
    pub fn sqlstate(&self) -> &'static str {
        match self.attempts.last() {
            Some(Attempt {
                failure: Failure::Lost(_),
                ..
            }) => "08006",
            _ => "08001",
        }
    }

    /// Why the server's certificate was refused, if that was it.
    pub fn refused_certificate(&self) -> Option<&CertificateRefused> {
        match self.attempts.last() {
            Some(Attempt {
                failure: Failure::Certificate(refused),
                ..
            }) => Some(refused),
            _ => None,
        }
    }
}

impl std::error::Error for ConnectError {}

impl fmt::Display for ConnectError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("cannot connect to the server")?;
        for (index, attempt) in self.attempts.iter().enumerate() {
            write!(
                formatter,
                "{}{attempt}",
                if index == 0 { " at " } else { "; at " }
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for Attempt {
    /// `db.example:5432 (10.0.0.1): what happened`
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            Some(address) => write!(formatter, "{} ({}): {}", self.host, address.ip(), self.failure),
            None => write!(formatter, "{}: {}", self.host, self.failure),
        }
    }
}

fn quoted(message: Option<&str>) -> String {
    message.map_or_else(String::new, |message| format!(": \"{message}\""))
}
