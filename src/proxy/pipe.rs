//! Carries bytes between a client and a server with nothing to decide on: replication.

use std::io;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf, split};

use super::phase::Watcher;
use super::relay::{End, Side, Traffic};
use super::stream::Stream;

/// Room made for reading, in bytes: a walsender sends its messages one by one.
const PIPE_BYTES: usize = 16 << 10;

/// Why a direction of a pipe came to its end.
enum Carried {
    /// The source has nothing more to say.
    ToTheEnd,
    SourceGone(io::Error),
    SinkGone(io::Error),
}

/// Two sides with nothing to decide on. As in a relay, the server's end is the end, and a client that
/// has nothing more to say still hears the server out.
pub(super) async fn pipe(client: Side, server: Side, watcher: &mut Watcher) -> (End, Traffic) {
    let mut traffic = Traffic::default();
    let ((client, from_client), (server, from_server)) = (client.into_parts(), server.into_parts());
    let (mut client_read, mut client_write) = split(client);
    let (mut server_read, mut server_write) = split(server);
    let end = tokio::select! {
        carried = carry(&mut server_read, &mut client_write, from_server, &mut traffic.from_server) => match carried {
            Carried::ToTheEnd => End::ByServer,
            Carried::SourceGone(error) => End::ServerGone(error),
            Carried::SinkGone(error) => End::ClientGone(error),
        },
        error = async {
            match carry(&mut client_read, &mut server_write, from_client, &mut traffic.from_client).await {
                Carried::SourceGone(error) => error,
                Carried::ToTheEnd | Carried::SinkGone(_) => std::future::pending().await,
            }
        } => End::ClientGone(error),
        () = watcher.ending() => End::Shutdown,
    };
    (end, traffic)
}

/// Carries `buffer` and all that follows it from one side to the other, and then the end.
async fn carry(
    from: &mut ReadHalf<Stream>,
    to: &mut WriteHalf<Stream>,
    mut buffer: BytesMut,
    count: &mut u64,
) -> Carried {
    loop {
        if !buffer.is_empty() {
            *count += buffer.len() as u64;
            let written = async {
                to.write_all(&buffer).await?;
                to.flush().await
            };
            if let Err(error) = written.await {
                return Carried::SinkGone(error);
            }
            buffer.clear();
        }
        buffer.reserve(PIPE_BYTES);
        match from.read_buf(&mut buffer).await {
            Ok(0) => {
                return match to.shutdown().await {
                    Ok(()) => Carried::ToTheEnd,
                    Err(error) => Carried::SinkGone(error),
                };
            }
            Ok(_) => {}
            Err(error) => return Carried::SourceGone(error),
        }
    }
}
