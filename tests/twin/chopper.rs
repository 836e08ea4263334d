//! A network between proxy and server that delivers bytes in other pieces than they were sent in.

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

use super::dice::Dice;

/// For the proxy to leave once the server has.
const FAREWELL: Duration = Duration::from_secs(5);

/// Forwards to one port of 127.0.0.1 while the runtime lives.
pub struct Chopper {
    port: u16,
    /// Of the pieces of connections made from now on; 0 forwards as it comes.
    seed: Arc<AtomicU64>,
}

impl Chopper {
    pub async fn start(target: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let seed = Arc::new(AtomicU64::new(0));
        let current = Arc::clone(&seed);
        tokio::spawn(async move {
            while let Ok((proxy, _)) = listener.accept().await {
                tokio::spawn(forward(proxy, target, current.load(Ordering::Relaxed)));
            }
        });
        Self { port, seed }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn chop(&self, seed: Option<u64>) {
        self.seed.store(seed.unwrap_or(0), Ordering::Relaxed);
    }
}

async fn forward(proxy: TcpStream, target: u16, seed: u64) -> io::Result<()> {
    let server = TcpStream::connect((Ipv4Addr::LOCALHOST, target)).await?;
    proxy.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_proxy, to_proxy) = proxy.into_split();
    let (mut from_server, to_server) = server.into_split();
    let up = tokio::spawn(async move {
        let mut from_proxy = from_proxy;
        let carried = carry(&mut from_proxy, to_server, seed).await;
        // A socket that is closed with something unread takes back what it has not sent yet, and many small pieces wait
        // for their turn: the server's last words would get lost here.
        tokio::io::copy(&mut from_proxy, &mut tokio::io::sink()).await?;
        carried
    });
    // The server's end is the end.
    let down = carry(&mut from_server, to_proxy, seed.wrapping_mul(3)).await;
    // It fails where the proxy has left; all there is to do is to wait for that.
    _ = tokio::time::timeout(FAREWELL, up).await;
    down
}

/// Carries all there is, and then the end.
async fn carry(from: &mut OwnedReadHalf, mut to: OwnedWriteHalf, seed: u64) -> io::Result<()> {
    let mut dice = (seed > 0).then(|| Dice::new(seed));
    let mut buffer = vec![0; 16 << 10];
    loop {
        let count = from.read(&mut buffer).await?;
        if count == 0 {
            return to.shutdown().await;
        }
        match &mut dice {
            None => to.write_all(&buffer[..count]).await?,
            Some(dice) => in_pieces(&mut to, &buffer[..count], dice).await?,
        }
    }
}

async fn in_pieces(to: &mut OwnedWriteHalf, mut bytes: &[u8], dice: &mut Dice) -> io::Result<()> {
    // Large answers in large pieces, or it would take for ever.
    let longest = match bytes.len() {
        ..=64 => dice.pick(&[1, 6, 64]),
        65..=1000 => dice.pick(&[3, 20, 200]),
        len => len / 8,
    };
    while !bytes.is_empty() {
        let (piece, rest) = bytes.split_at(dice.between(1, longest).min(bytes.len()));
        to.write_all(piece).await?;
        if dice.chance(3) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        } else {
            // The other side gets its turn, and reads just this.
            tokio::task::yield_now().await;
        }
        bytes = rest;
    }
    Ok(())
}
