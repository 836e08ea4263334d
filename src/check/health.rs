//! `bemi health`: does a proxy answer? For containers whose image has no shell and no `pg_isready`.
//!
//! An SSLRequest is the one question that needs no login and that every PostgreSQL server and proxy answers with
//! a single byte. The server behind the proxy is not asked: an orchestrator that restarts the proxy because
//! the database is down only makes things worse.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use crate::config::ListenAddress;

/// How long a healthy proxy may take. Below the shortest timeout that orchestrators set by default (1 s in Kubernetes)
/// nothing would be left for starting this very process.
const PATIENCE: Duration = Duration::from_millis(900);

/// Length 8 and the code 80877103, network order (manual, 55.7 Message Formats, SSLRequest).
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// Why a proxy is not healthy.
#[derive(Debug, thiserror::Error)]
pub enum HealthError {
    /// Nobody is there, or the connection broke.
    #[error("{address}: {source}")]
    Io {
        /// Who was asked.
        address: ListenAddress,
        /// What the system says.
        source: io::Error,
    },
    /// It did not answer in time.
    #[error("{address}: no answer within {} ms", PATIENCE.as_millis())]
    Timeout {
        /// Who was asked.
        address: ListenAddress,
    },
    /// It is something else.
    #[error("{address}: does not speak PostgreSQL's protocol (answered byte {byte} to an SSLRequest)")]
    Stranger {
        /// Who was asked.
        address: ListenAddress,
        /// What it said.
        byte: u8,
    },
}

/// Asks the proxy at `address` for a sign of life.
///
/// # Errors
/// When there is none within 900 ms.
pub async fn probe(address: &ListenAddress) -> Result<(), HealthError> {
    let answer = timeout(PATIENCE, ask(address))
        .await
        .map_err(|_| HealthError::Timeout {
            address: address.clone(),
        })?;
    match answer.map_err(|source| HealthError::Io {
        address: address.clone(),
        source,
    })? {
        b'S' | b'N' => Ok(()),
        byte => Err(HealthError::Stranger {
            address: address.clone(),
            byte,
        }),
    }
}

async fn ask(address: &ListenAddress) -> io::Result<u8> {
    match address {
        ListenAddress::Tcp { host, port } => {
            ask_on(TcpStream::connect((reachable(host).as_str(), *port)).await?).await
        }
        ListenAddress::Unix { directory, port } => {
            ask_on(UnixStream::connect(directory.join(format!(".s.PGSQL.{port}"))).await?).await
        }
    }
}

async fn ask_on(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<u8> {
    stream.write_all(&SSL_REQUEST).await?;
    stream.read_u8().await
}

/// Who listens on every address listens on loopback, which, unlike them, one can connect to everywhere.
fn reachable(host: &str) -> String {
    match host.parse() {
        Ok(IpAddr::V4(Ipv4Addr::UNSPECIFIED)) => Ipv4Addr::LOCALHOST.to_string(),
        Ok(IpAddr::V6(Ipv6Addr::UNSPECIFIED)) => Ipv6Addr::LOCALHOST.to_string(),
        Ok(_) | Err(_) => host.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::demo::cluster::{Cluster, ClusterOptions};

    #[tokio::test]
    async fn who_answers_an_ssl_request_is_healthy() {
        let server = Cluster::start(&ClusterOptions::default()).expect("a server");
        let by_tcp = ListenAddress::Tcp {
            host: "0.0.0.0".into(),
            port: server.port(),
        };
        probe(&by_tcp).await.expect("healthy by TCP");
        let by_socket = ListenAddress::Unix {
            directory: server.socket_dir().into(),
            port: server.port(),
        };
        probe(&by_socket).await.expect("healthy by unix socket");
    }

    #[tokio::test]
    async fn who_is_not_there_is_silent_or_speaks_something_else_is_not_healthy() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let address = ListenAddress::Tcp {
            host: "127.0.0.1".into(),
            port,
        };
        // The system accepts for a listener that never looks.
        assert!(matches!(probe(&address).await, Err(HealthError::Timeout { .. })));

        // The first in the queue is the probe above, which has gone.
        let answers = async {
            for _ in 0..2 {
                let (mut stream, _) = listener.accept().await.expect("a connection");
                // The one that has gone cannot be written to.
                let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n").await;
            }
        };
        let (answer, ()) = tokio::join!(probe(&address), answers);
        assert!(
            matches!(answer, Err(HealthError::Stranger { byte: b'H', .. })),
            "{answer:?}"
        );

        drop(listener);
        assert!(matches!(probe(&address).await, Err(HealthError::Io { .. })));
    }
}
