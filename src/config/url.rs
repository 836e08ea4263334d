//! The server's address, read from the very `DATABASE_URL` that an app has.
//!
//! Problem: what stands in that variable was written for libpq, or for a driver or an ORM with its own additions, and has
//! to mean the same here as it did there, above all where it decides whether a certificate is verified.
//!
//! Mechanism: both forms that libpq knows, the URI and `keyword = value`, become one list of keys and values
//! ([`uri`], [`keyword`]), exactly as in libpq (`fe-connect.c`: `conninfo_uri_parse_options`, `conninfo_parse`); one
//! place gives the keys their meaning ([`parameters`]). A general URL parser was rejected: a list of hosts, an empty
//! host or a socket directory is no valid authority to it.
//!
//! Beyond libpq, because it costs nothing: `jdbc:postgresql://`, `postgis://` and `postgresql+driver://`. Parameters of drivers and ORMs
//! (`schema`, `connection_limit`, `pgbouncer`, ...) are no error but end in [`UpstreamUrl::ignored`]; unless they are
//! about TLS: what would have weakened or strengthened the app's connection is refused, never dropped in silence.
//!
//! Not read: environment variables of libpq (`PGHOST`, `PGSSLMODE`, ...), service files and password files.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

mod error;
mod keyword;
mod parameters;
mod tls_parameters;
mod uri;

#[cfg(test)]
mod tests;

pub use error::UrlError;

/// The port of a host that names none.
pub const DEFAULT_PORT: u16 = 5432;

/// Where a server is looked for when the URL names no host (`postgresql:///db`): libpq's compiled-in directory, which is the first of these
/// on Debian and the second elsewhere, then TCP.
pub const DEFAULT_HOSTS: &str = "/var/run/postgresql,/tmp,localhost";

/// What an app's `DATABASE_URL` says. Neither `Debug` nor `Display` show the password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamUrl {
    /// The servers to try, in this order. Never empty.
    pub hosts: Vec<Host>,
    /// The user to log in as, if named. libpq would take the operating system's user otherwise.
    pub user: Option<String>,
    /// The password, if named.
    pub password: Option<Password>,
    /// The database, if named. The server takes the user's name otherwise.
    pub dbname: Option<String>,
    /// How the connection is to be encrypted and the server to be verified.
    pub tls: TlsParameters,
    /// Whether the login must be bound to the TLS channel (SCRAM-SHA-256-PLUS).
    pub channel_binding: ChannelBinding,
    /// How long to wait for one address, TLS handshake included. `None`: not said, or said to be endless.
    pub connect_timeout: Option<Duration>,
    /// TCP keepalive.
    pub keepalive: KeepaliveParameters,
    /// `application_name` to log in with.
    pub application_name: Option<String>,
    /// `options` to log in with (`-c name=value ...`).
    pub options: Option<String>,
    /// Names of the parameters that were recognised as somebody else's, or as meaningless for a proxy, and left out.
    /// For a line in the log.
    pub ignored: Vec<String>,
}

/// A server to try.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// A server reached by TCP. At least one of `name` and `address` is there.
    Tcp {
        /// The name (or the address as text) that the certificate has to match.
        name: Option<String>,
        /// `hostaddr`: the address to connect to, so that `name` need not be resolved.
        address: Option<IpAddr>,
        /// TCP port.
        port: u16,
    },
    /// A server on this machine.
    Unix {
        /// The directory of the socket.
        directory: PathBuf,
        /// The port, which is part of the socket's file name.
        port: u16,
    },
}

/// A password that no log can show.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

/// `sslmode`, weakest first. `allow` is read as `prefer`: what it adds, trying in the clear first, needs a login to fail
/// before TLS is tried, and the login is the client's, not ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SslMode {
    /// Never TLS.
    Disable,
    /// TLS if the server can; the default of libpq.
    Prefer,
    /// TLS, and the server's certificate is verified only if there is a root certificate file.
    Require,
    /// TLS with a certificate of a known authority.
    VerifyCa,
    /// TLS with a certificate of a known authority in the host's name.
    VerifyFull,
}

/// `sslnegotiation`: how TLS begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SslNegotiation {
    /// The server is asked first (`SSLRequest`).
    Postgres,
    /// TLS from the first byte, with ALPN. PostgreSQL 17 and newer.
    Direct,
}

/// `sslrootcert`: whom to trust.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RootCertificates {
    /// Not said: `~/.postgresql/root.crt`, where it exists.
    Default,
    /// A file, its path as written.
    File(PathBuf),
    /// What the operating system trusts.
    System,
}

/// A version of TLS. Older ones are not spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TlsVersion {
    /// TLS 1.2
    V1_2,
    /// TLS 1.3
    V1_3,
}

/// Everything a URL can say about TLS.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TlsParameters {
    /// `sslmode`
    pub mode: SslMode,
    /// `sslnegotiation`
    pub negotiation: SslNegotiation,
    /// `sslrootcert`
    pub root_certificates: RootCertificates,
    /// `sslcert`; `None`: `~/.postgresql/postgresql.crt`, where it exists.
    pub certificate: Option<PathBuf>,
    /// `sslkey`; `None`: `~/.postgresql/postgresql.key`, where there is a certificate.
    pub key: Option<PathBuf>,
    /// `sslcertmode`: whether to show a client certificate that is there. Off with `disable`.
    pub send_certificate: bool,
    /// `sslsni`: whether to tell the server which name it was called by.
    pub sni: bool,
    /// `ssl_min_protocol_version`; anything older than TLS 1.2 means TLS 1.2.
    pub min_version: TlsVersion,
    /// `ssl_max_protocol_version`
    pub max_version: TlsVersion,
}

/// `channel_binding`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChannelBinding {
    /// Never.
    Disable,
    /// Where both sides can; the default.
    Prefer,
    /// Fail where it cannot be had.
    Require,
}

/// `keepalives*` and `tcp_user_timeout`. `None` leaves the caller's setting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct KeepaliveParameters {
    /// `keepalives`
    pub enabled: Option<bool>,
    /// `keepalives_idle`: silence before the first probe.
    pub idle: Option<Duration>,
    /// `keepalives_interval`: time between probes.
    pub interval: Option<Duration>,
    /// `keepalives_count`: unanswered probes that end the connection.
    pub count: Option<u32>,
    /// `tcp_user_timeout`: how long sent data may stay unacknowledged.
    pub user_timeout: Option<Duration>,
}

impl UpstreamUrl {
    /// Reads a connection URI or a `keyword = value` string.
    ///
    /// # Errors
    /// [`UrlError`] says which part cannot be used and what to write instead. It never shows a password.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let text = text.trim();
        let pairs = match uri::without_scheme(text)? {
            Some(rest) => uri::parse(rest)?,
            None => keyword::parse(text)?,
        };
        parameters::interpret(pairs)
    }
}

impl FromStr for UpstreamUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        Self::parse(text)
    }
}

impl fmt::Display for UpstreamUrl {
    /// `user@host:port,host:port/dbname`, for a line in the log.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("postgresql://")?;
        if let Some(user) = &self.user {
            write!(formatter, "{user}@")?;
        }
        for (index, host) in self.hosts.iter().enumerate() {
            let separator = if index == 0 { "" } else { "," };
            write!(formatter, "{separator}{host}")?;
        }
        if let Some(dbname) = &self.dbname {
            write!(formatter, "/{dbname}")?;
        }
        write!(formatter, "?sslmode={}", self.tls.mode)
    }
}

impl Host {
    /// The port, by TCP or as part of the socket's name.
    pub fn port(&self) -> u16 {
        match self {
            Self::Tcp { port, .. } | Self::Unix { port, .. } => *port,
        }
    }

    /// The name that `sslmode=verify-full` compares with the certificate: never `hostaddr`, which may have come from
    /// anywhere.
    pub fn name_to_verify(&self) -> Option<&str> {
        match self {
            Self::Tcp { name, .. } => name.as_deref(),
            Self::Unix { .. } => None,
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp {
                name: Some(name),
                port,
                ..
            } if name.contains(':') => write!(formatter, "[{name}]:{port}"),
            Self::Tcp {
                name: Some(name),
                port,
                ..
            } => write!(formatter, "{name}:{port}"),
            Self::Tcp {
                name: None,
                address: Some(address),
                port,
            } => {
                write!(formatter, "{}", std::net::SocketAddr::new(*address, *port))
            }
            Self::Tcp {
                name: None,
                address: None,
                port,
            } => write!(formatter, ":{port}"),
            Self::Unix { directory, port } => write!(formatter, "{}:{port}", directory.display()),
        }
    }
}

impl Password {
    /// Takes a password out of sight.
    pub fn new(password: String) -> Self {
        Self(password)
    }

    /// The password itself, for the login.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Password(not shown)")
    }
}

impl fmt::Display for SslMode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Disable => "disable",
            Self::Prefer => "prefer",
            Self::Require => "require",
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        })
    }
}

impl SslMode {
    /// Whether a connection in the clear would do.
    pub fn may_be_plain(self) -> bool {
        self <= Self::Prefer
    }

    /// Whether a server whose certificate no known authority has signed is refused whatever else is set.
    pub fn always_verifies(self) -> bool {
        self >= Self::VerifyCa
    }
}

impl Default for TlsParameters {
    /// What libpq does when a URL says nothing.
    fn default() -> Self {
        Self {
            mode: SslMode::Prefer,
            negotiation: SslNegotiation::Postgres,
            root_certificates: RootCertificates::Default,
            certificate: None,
            key: None,
            send_certificate: true,
            sni: true,
            min_version: TlsVersion::V1_2,
            max_version: TlsVersion::V1_3,
        }
    }
}
