//! A network that can be cut: forwards TCP connections, stalls them, drops them.

use std::io;
use std::net::Ipv4Addr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Forwards to one port of 127.0.0.1 while the runtime lives.
pub struct Forwarder {
    port: u16,
    network: watch::Sender<Network>,
}

#[derive(Clone, Copy)]
struct Network {
    /// How often it was cut: connections made before the last time are gone.
    cuts: u64,
    /// Nothing moves, nothing ends.
    is_stalled: bool,
}

impl Forwarder {
    pub async fn start(target: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let network = watch::Sender::new(Network {
            cuts: 0,
            is_stalled: false,
        });
        let watched = network.subscribe();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(forward(client, target, watched.clone()));
            }
        });
        Self { port, network }
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Drops all connections, in the middle of whatever they carry.
    pub fn cut(&self) {
        self.network.send_modify(|network| network.cuts += 1);
    }

    /// From now on nothing moves, or moves again.
    pub fn stall(&self, is_stalled: bool) {
        self.network
            .send_modify(|network| network.is_stalled = is_stalled);
    }
}

async fn forward(client: TcpStream, target: u16, network: watch::Receiver<Network>) -> io::Result<()> {
    let cuts = network.borrow().cuts;
    let server = TcpStream::connect((Ipv4Addr::LOCALHOST, target)).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let mut cut = network.clone();
    // Whichever side ends first ends both: a server that says why it goes has said all.
    tokio::select! {
        done = pipe(from_client, to_server, network.clone()) => done,
        done = pipe(from_server, to_client, network) => done,
        _ = cut.wait_for(|network| network.cuts != cuts) => Ok(()),
    }
}

async fn pipe(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut network: watch::Receiver<Network>,
) -> io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let count = from.read(&mut buffer).await?;
        // The test has ended where there is nobody to say that it moves again.
        _ = network.wait_for(|network| !network.is_stalled).await;
        match buffer.get(..count) {
            Some([]) | None => return to.shutdown().await,
            Some(bytes) => to.write_all(bytes).await?,
        }
    }
}
