//! Cancel requests: passed on as they are, to wherever the server is.
//!
//! A key is opaque and the proxy keeps no table of keys, so any instance can pass on any client's request. With
//! several hosts in the URL the request goes to the first that answers, as a session would.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::stream::Stream;
use super::upstream::Upstream;

/// Passes a request on and waits until the server has taken it.
///
/// The server closes the connection once the signal is sent. Only then is the client's closed: libpq waits for
/// that, so that a cancel cannot hit the client's next statement (`PQcancel`).
pub(super) async fn pass_on(client: Stream, packet: &[u8], upstream: &Upstream) {
    match upstream.connect().await {
        Ok(server) => {
            let mut server = server.stream;
            let sent = async {
                server.write_all(packet).await?;
                server.flush().await?;
                server.read(&mut [0]).await
            };
            if let Err(error) = sent.await {
                tracing::debug!(%error, "the server left during a cancel request");
            }
        }
        // There is no way to tell the client: a cancel request has no answer.
        Err(error) => tracing::warn!(%error, "a cancel request could not be passed on"),
    }
    drop(client);
}
