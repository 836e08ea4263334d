//! Connects to the server: finds an address that answers, and agrees on TLS with it as libpq does.
//!
//! Order, as in libpq (`PQconnectPoll`): hosts as the URL lists them, of each all its addresses. An address that does
//! not answer hands over to the next one; one that answers and then fails in TLS ends the attempt, as the operator's
//! mistake should not be hidden by the next host. With `sslmode=prefer` a failed handshake is tried again in the clear.
//!
//! One thing differs: libpq, with `prefer`, also tries in the clear when the *login* over TLS is refused. Here the login comes later and is
//! the client's; a server that takes only unencrypted connections (`hostnossl`) needs `sslmode=disable`.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio_rustls::TlsConnector;

use super::connect_error::{Attempt, ConnectError, Failure};
use super::stream::{Keepalive, Socket, Stream};
use crate::config::url::{Host, SslNegotiation, UpstreamUrl};
use crate::tls::upstream::{HostTls, UpstreamTls};

/// `SSLRequest`: its length and its code (manual, "Message Formats").
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

/// How much of an error that comes instead of an answer to `SSLRequest` is read.
const MAX_ERROR_RESPONSE: u64 = 4096;

/// The server, as the URL describes it. Shared by all connections; a reload builds a new one.
#[derive(Debug)]
pub struct Upstream {
    hosts: Vec<Host>,
    tls: UpstreamTls,
    keepalive: Keepalive,
    connect_timeout: Duration,
}

/// A connection, and where it leads.
#[derive(Debug)]
pub struct UpstreamStream {
    /// The connection.
    pub stream: Stream,
    /// The address that answered. Whoever wants to cancel what runs there has to go there, not to another host.
    pub address: UpstreamAddress,
}

/// An address of the server that can be connected to again with [`Upstream::connect_to`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UpstreamAddress {
    /// Place in the URL's list of hosts.
    host: usize,
    endpoint: Endpoint,
}

impl fmt::Display for UpstreamAddress {
    /// `10.0.0.1:5432` or the path of a socket, for the log.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.endpoint {
            Endpoint::Tcp(address) => write!(formatter, "{address}"),
            Endpoint::Unix(path) => write!(formatter, "{}", path.display()),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Endpoint {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl Upstream {
    /// Puts together what is needed to connect. `connect_timeout` is for one address, TLS included, where the URL does not say another;
    /// what the URL says about keepalive comes before `keepalive`.
    pub fn new(
        url: &UpstreamUrl,
        tls: UpstreamTls,
        keepalive: Keepalive,
        connect_timeout: Duration,
    ) -> Arc<Self> {
        Arc::new(Self {
            hosts: url.hosts.clone(),
            tls,
            keepalive: keepalive.overridden_by(&url.keepalive),
            connect_timeout: url.connect_timeout.unwrap_or(connect_timeout),
        })
    }

    /// Connects to the first address that answers.
    ///
    /// # Errors
    /// [`ConnectError`] with every address that was tried and what came of it.
    pub async fn connect(&self) -> Result<UpstreamStream, ConnectError> {
        let mut attempts = Vec::new();
        for (index, host) in self.hosts.iter().enumerate() {
            let endpoints = match self.endpoints(host).await {
                Ok(endpoints) => endpoints,
                Err(failure) => {
                    attempts.push(Attempt {
                        host: host.to_string(),
                        address: None,
                        failure,
                    });
                    continue;
                }
            };
            for endpoint in endpoints {
                let address = UpstreamAddress {
                    host: index,
                    endpoint,
                };
                match self.try_address(&address).await {
                    Ok(stream) => return Ok(UpstreamStream { stream, address }),
                    Err(failure) => {
                        let is_final = failure.ends_the_search();
                        attempts.push(self.attempt(&address, failure));
                        if is_final {
                            return Err(ConnectError::new(attempts));
                        }
                    }
                }
            }
        }
        Err(ConnectError::new(attempts))
    }

    /// Connects to an address that answered before, and to no other: for a `CancelRequest`.
    ///
    /// # Errors
    /// [`ConnectError`] with what came of it.
    pub async fn connect_to(&self, address: &UpstreamAddress) -> Result<UpstreamStream, ConnectError> {
        match self.try_address(address).await {
            Ok(stream) => Ok(UpstreamStream {
                stream,
                address: address.clone(),
            }),
            Err(failure) => Err(ConnectError::new(vec![self.attempt(address, failure)])),
        }
    }

    fn attempt(&self, address: &UpstreamAddress, failure: Failure) -> Attempt {
        let host = self
            .hosts
            .get(address.host)
            .map_or_else(String::new, Host::to_string);
        let address = match &address.endpoint {
            Endpoint::Tcp(address) => Some(*address),
            Endpoint::Unix(_) => None,
        };
        Attempt {
            host,
            address,
            failure,
        }
    }

    async fn endpoints(&self, host: &Host) -> Result<Vec<Endpoint>, Failure> {
        match host {
            Host::Unix { directory, port } => {
                Ok(vec![Endpoint::Unix(directory.join(format!(".s.PGSQL.{port}")))])
            }
            Host::Tcp {
                address: Some(address),
                port,
                ..
            } => Ok(vec![Endpoint::Tcp(SocketAddr::new(*address, *port))]),
            Host::Tcp {
                name,
                address: None,
                port,
            } => {
                let name = name.as_deref().unwrap_or("localhost");
                let lookup = tokio::time::timeout(self.connect_timeout, lookup_host((name, *port)));
                let found = lookup.await.map_err(|_| Failure::Timeout(self.connect_timeout))?;
                let endpoints: Vec<_> = found.map_err(Failure::Resolve)?.map(Endpoint::Tcp).collect();
                if endpoints.is_empty() {
                    Err(Failure::NoAddress)
                } else {
                    Ok(endpoints)
                }
            }
        }
    }

    async fn try_address(&self, address: &UpstreamAddress) -> Result<Stream, Failure> {
        let limit = self.connect_timeout;
        let tried = tokio::time::timeout(limit, self.try_address_with_tls(address)).await;
        tried.unwrap_or(Err(Failure::Timeout(limit)))
    }

    async fn try_address_with_tls(&self, address: &UpstreamAddress) -> Result<Stream, Failure> {
        let socket = self.open(&address.endpoint).await?;
        let Some(tls) = self.tls.host(address.host) else {
            return Ok(socket.into());
        };
        let may_be_plain = self.tls.mode().may_be_plain();
        match negotiate(socket, tls, self.tls.negotiation(), may_be_plain).await {
            Err(failure) if may_be_plain && failure.allows_plain() => {
                tracing::debug!(%failure, "TLS failed, sslmode=prefer goes on without");
                Ok(self.open(&address.endpoint).await?.into())
            }
            result => result,
        }
    }

    async fn open(&self, endpoint: &Endpoint) -> Result<Socket, Failure> {
        let socket = match endpoint {
            Endpoint::Tcp(address) => TcpStream::connect(address).await.map(Socket::Tcp),
            Endpoint::Unix(path) => UnixStream::connect(path).await.map(Socket::Unix),
        };
        let socket = socket.map_err(Failure::Connect)?;
        socket.set_options(&self.keepalive).map_err(Failure::Connect)?;
        Ok(socket)
    }
}

async fn negotiate(
    mut socket: Socket,
    tls: &HostTls,
    negotiation: SslNegotiation,
    may_be_plain: bool,
) -> Result<Stream, Failure> {
    if negotiation == SslNegotiation::Postgres {
        socket.write_all(&SSL_REQUEST).await.map_err(Failure::Lost)?;
        // One byte and no more: what a stranger appended in the clear (CVE-2021-23222) then reaches the TLS handshake,
        // which it cannot be part of.
        match socket.read_u8().await.map_err(Failure::Lost)? {
            b'S' => {}
            b'N' if may_be_plain => return Ok(socket.into()),
            b'N' => return Err(Failure::NoTls),
            b'E' => return Err(server_error(socket, may_be_plain).await),
            other => return Err(Failure::Answer(other)),
        }
    }
    let connector = TlsConnector::from(Arc::clone(&tls.config));
    let stream = connector
        .connect(tls.name.clone(), socket)
        .await
        .map_err(Failure::handshake)?;
    if negotiation == SslNegotiation::Direct && stream.get_ref().1.alpn_protocol().is_none() {
        return Err(Failure::NoAlpn);
    }
    Ok(stream.into())
}

/// Reads the error that came instead of `S` or `N`: a server that cannot start a process for the connection. It came
/// in the clear, from whom nobody knows; where TLS is a must, its words are not repeated (CVE-2024-10977).
async fn server_error(socket: Socket, may_be_plain: bool) -> Failure {
    if !may_be_plain {
        return Failure::ServerError { message: None };
    }
    let mut bytes = Vec::new();
    // Whatever came before the end is what there is to tell.
    _ = socket.take(MAX_ERROR_RESPONSE).read_to_end(&mut bytes).await;
    Failure::ServerError {
        message: message_of(&bytes),
    }
}

/// The field `M` of an `ErrorResponse` whose type byte has been read.
fn message_of(response: &[u8]) -> Option<String> {
    let fields = response.get(4..)?.split(|byte| *byte == 0);
    let message = fields
        .map_while(|field| field.split_first())
        .find(|(code, _)| **code == b'M')?
        .1;
    Some(message.escape_ascii().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_of_an_error_is_found_and_made_harmless() {
        let response = b"\0\0\0\x28SFATAL\0C53300\0Mno\x1b[31m room\0\0";
        assert_eq!(message_of(response).as_deref(), Some(r"no\x1b[31m room"));
        assert_eq!(message_of(b"\0\0\0\x08SF\0\0"), None);
        assert_eq!(message_of(b"\0"), None);
        assert_eq!(message_of(b""), None);
    }
}
