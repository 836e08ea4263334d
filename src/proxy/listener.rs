//! Listening: TCP and unix sockets.

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, UnixListener, UnixSocket, UnixStream, lookup_host};

use super::polled::Detached;
use super::workers::Workers;
use super::{Shared, connection};
use crate::config::ListenAddress;

/// How long to wait when the system has no more file descriptors or memory for a connection: it will have when
/// others have ended.
const EXHAUSTED: Duration = Duration::from_millis(100);

/// Connections that the system holds until they are accepted, as many as the server asks for (`PG_SOMAXCONN`); the
/// system has a limit of its own. Where it holds no more, a client waits a second before it tries again: with the
/// usual 128, a crowd of strangers at the door is felt by everybody.
const BACKLOG: u32 = 10_000;

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}")]
pub struct ListenError {
    /// As configured.
    pub address: ListenAddress,
    /// What the operating system said.
    pub source: io::Error,
}

/// Everything that is listened on.
#[derive(Debug)]
pub(super) struct Listeners {
    listeners: Vec<Listener>,
    addresses: Vec<SocketAddr>,
}

#[derive(Debug)]
enum Listener {
    Tcp(TcpListener),
    Unix {
        listener: UnixListener,
        _file: SocketFile,
    },
}

/// The file of a unix socket, removed when nobody listens any more.
#[derive(Debug)]
struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        _ = fs::remove_file(&self.0);
    }
}

impl Listeners {
    /// Listens on all addresses; a name stands for every address behind it.
    pub async fn bind(addresses: &[ListenAddress]) -> Result<Self, ListenError> {
        let mut listeners = Vec::new();
        for address in addresses {
            let bound = bind(address).await;
            listeners.extend(bound.map_err(|source| ListenError {
                address: address.clone(),
                source,
            })?);
        }
        let addresses = listeners.iter().filter_map(Listener::address).collect();
        Ok(Self { listeners, addresses })
    }

    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Accepts for ever and hands each connection to a worker.
    pub async fn accept_all(&self, workers: &Workers, shared: &Arc<Shared>) {
        let mut next = 0;
        loop {
            let accepted = std::future::poll_fn(|context| {
                // Each listener has its turn to be asked first.
                for offset in 0..self.listeners.len() {
                    let at = (next + offset) % self.listeners.len();
                    if let std::task::Poll::Ready(accepted) = self.listeners[at].poll_accept(context) {
                        next = at + 1;
                        return std::task::Poll::Ready(accepted);
                    }
                }
                std::task::Poll::Pending
            });
            match accepted.await {
                Ok((socket, address)) => {
                    workers.spawn(|served| connection::serve(socket, address, Arc::clone(shared), served));
                }
                Err(error) if belongs_to_one_connection(&error) => {}
                Err(error) => {
                    tracing::error!(%error, "cannot accept connections");
                    tokio::time::sleep(EXHAUSTED).await;
                }
            }
        }
    }
}

impl Listener {
    fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr().ok(),
            Self::Unix { .. } => None,
        }
    }

    fn poll_accept(
        &self,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<io::Result<(Detached, Option<IpAddr>)>> {
        match self {
            Self::Tcp(listener) => listener.poll_accept(context).map(|accepted| {
                let (stream, address) = accepted?;
                Ok((
                    Detached::Tcp(stream.into_std()?),
                    Some(address.ip().to_canonical()),
                ))
            }),
            Self::Unix { listener, .. } => listener.poll_accept(context).map(|accepted| {
                let (stream, _) = accepted?;
                Ok((Detached::Unix(stream.into_std()?), None))
            }),
        }
    }
}

/// The client was gone before it was accepted: nothing is wrong with the listener (`accept(2)`).
fn belongs_to_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
    )
}

async fn bind(address: &ListenAddress) -> io::Result<Vec<Listener>> {
    match address {
        ListenAddress::Tcp { host, port } => {
            let mut listeners = Vec::new();
            for resolved in lookup_host((host.as_str(), *port)).await? {
                listeners.push(Listener::Tcp(listen(resolved)?));
            }
            Ok(listeners)
        }
        ListenAddress::Unix { .. } => {
            let path = address.socket_path().unwrap_or_default();
            remove_stale(&path).await?;
            let socket = UnixSocket::new_stream()?;
            socket.bind(&path)?;
            let listener = socket.listen(BACKLOG)?;
            Ok(vec![Listener::Unix {
                listener,
                _file: SocketFile(path),
            }])
        }
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    // Connections of a proxy that has just ended must not keep the next one from listening.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// A socket file whose owner is gone keeps nobody from listening; one that answers does.
async fn remove_stale(path: &Path) -> io::Result<()> {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    if is_socket && UnixStream::connect(path).await.is_err() {
        fs::remove_file(path)?;
    }
    Ok(())
}
