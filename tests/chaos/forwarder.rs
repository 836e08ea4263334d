//! A network that can be cut: forwards TCP connections, stalls them, drops them.

use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;

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
    /// Waits for the next COMMIT.
    trap: Option<Trap>,
}

/// The two moments at which a client cannot know what became of its COMMIT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trap {
    /// It never arrives.
    OnItsWay,
    /// It arrives, but no answer comes back.
    OnTheWayBack,
}

/// How long a server that has got its COMMIT is given to do it.
const COMMITTING: Duration = Duration::from_millis(50);

impl Forwarder {
    pub async fn start(target: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let network = watch::Sender::new(Network {
            cuts: 0,
            is_stalled: false,
            trap: None,
        });
        let watched = network.clone();
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

    /// Cuts at the next COMMIT that a client sends. Whether there was one in time.
    pub async fn cut_at_commit(&self, trap: Trap, timeout: Duration) -> bool {
        self.network.send_modify(|network| network.trap = Some(trap));
        let mut network = self.network.subscribe();
        // What it returns holds a lock, and must not be kept.
        let is_sprung = tokio::time::timeout(timeout, network.wait_for(|network| network.trap.is_none()))
            .await
            .is_ok();
        self.network.send_modify(|network| network.trap = None);
        is_sprung
    }
}

async fn forward(client: TcpStream, target: u16, network: watch::Sender<Network>) -> io::Result<()> {
    let server = TcpStream::connect((Ipv4Addr::LOCALHOST, target)).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let cuts = network.borrow().cuts;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let mut cut = network.subscribe();
    let way = |is_clients| Way {
        network: network.clone(),
        cuts,
        is_clients,
    };
    // Whichever side ends first ends both: a server that says why it goes has said all.
    tokio::select! {
        done = way(true).pipe(from_client, to_server) => done,
        done = way(false).pipe(from_server, to_client) => done,
        _ = cut.wait_for(|network| network.cuts != cuts) => Ok(()),
    }
}

/// One direction of a connection.
struct Way {
    network: watch::Sender<Network>,
    /// How often the network had been cut when the connection was made.
    cuts: u64,
    /// From client to server.
    is_clients: bool,
}

impl Way {
    async fn pipe(self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) -> io::Result<()> {
        let mut network = self.network.subscribe();
        let mut buffer = vec![0; 64 << 10];
        loop {
            let count = from.read(&mut buffer).await?;
            let bytes = &buffer[..count];
            let trap = if self.is_clients { self.trap(bytes) } else { None };
            if trap.is_none() {
                // The test has ended where there is nobody to say that it moves again.
                _ = network.wait_for(|network| !network.is_stalled).await;
            }
            if network.borrow().cuts != self.cuts {
                return Ok(());
            }
            if bytes.is_empty() {
                return to.shutdown().await;
            }
            to.write_all(bytes).await?;
            if trap.is_some() {
                tokio::time::sleep(COMMITTING).await;
                self.network.send_modify(|network| {
                    network.cuts += 1;
                    network.is_stalled = false;
                    network.trap = None;
                });
            }
        }
    }

    /// Looks for a COMMIT where one is waited for: then nothing moves any more, and this is forwarded first; or all is cut.
    fn trap(&self, bytes: &[u8]) -> Option<Trap> {
        if !bytes.windows(COMMIT.len()).any(|window| window == COMMIT) {
            return None;
        }
        let mut trap = None;
        self.network.send_if_modified(|network| {
            match network.trap {
                Some(Trap::OnItsWay) => {
                    network.trap = None;
                    network.cuts += 1;
                }
                // Whoever waits for the trap waits until the COMMIT has been done.
                Some(Trap::OnTheWayBack) if !network.is_stalled => {
                    network.is_stalled = true;
                    trap = network.trap;
                }
                Some(Trap::OnTheWayBack) | None => return false,
            }
            true
        });
        trap
    }
}

/// As a Query.
const COMMIT: &[u8] = b"COMMIT\0";
