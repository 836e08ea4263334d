//! Sessions of our own on a server: those of `bemi check` and `bemi track`.
//!
//! The connection is made as the proxy makes it ([`Upstream`]): TLS as libpq judges it. The session on it is
//! tokio-postgres', which is told that TLS has been dealt with and learns the certificate for SCRAM's channel binding.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio_postgres::config::{ChannelBinding as Binding, SslMode, SslNegotiation};
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};
use tokio_postgres::{Client, Config};

use crate::config::url::{ChannelBinding as UrlBinding, UpstreamUrl};
use crate::proxy::connect_error::ConnectError;
use crate::proxy::stream::Stream;
use crate::proxy::upstream::Upstream;

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No connection.
    #[error("{0}")]
    Connect(#[from] ConnectError),
    /// No session on it.
    #[error("{}", reason(.0))]
    Postgres(#[from] tokio_postgres::Error),
}

/// Connects and logs in. `application_name` is what `pg_stat_activity` shows.
///
/// # Errors
/// [`ClientError`]
pub async fn connect(
    upstream: &Upstream,
    url: &UpstreamUrl,
    application_name: &str,
) -> Result<Client, ClientError> {
    let stream = upstream.connect().await?.stream;
    Ok(log_in(stream, url, application_name).await?)
}

/// Logs in on a connection that is made.
///
/// # Errors
/// Those of the server, and where the URL lacks what it asks for.
pub async fn log_in(
    stream: Stream,
    url: &UpstreamUrl,
    application_name: &str,
) -> Result<Client, tokio_postgres::Error> {
    let mut config = Config::new();
    config.application_name(application_name);
    config.channel_binding(match url.channel_binding {
        UrlBinding::Disable => Binding::Disable,
        UrlBinding::Prefer => Binding::Prefer,
        UrlBinding::Require => Binding::Require,
    });
    // "Direct" asks the server for nothing: what follows is a session inside TLS.
    if stream.is_tls() {
        config
            .ssl_mode(SslMode::Require)
            .ssl_negotiation(SslNegotiation::Direct);
    } else {
        config.ssl_mode(SslMode::Disable);
    }
    if let Some(user) = &url.user {
        config.user(user);
    }
    if let Some(dbname) = &url.dbname {
        config.dbname(dbname);
    }
    if let Some(password) = &url.password {
        config.password(password.reveal());
    }
    if let Some(options) = &url.options {
        config.options(options);
    }
    let (client, connection) = config.connect_raw(stream, TlsIsThere).await?;
    // It ends with an error of its own only after the client has seen the same.
    tokio::spawn(async { drop(connection.await) });
    Ok(client)
}

/// What the server said, or the library with all that is behind it.
#[must_use]
pub fn reason(error: &tokio_postgres::Error) -> String {
    if let Some(answer) = error.as_db_error() {
        return format!("{} ({})", answer.message(), answer.code().code());
    }
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}

/// A [`TlsConnect`] for a connection that has TLS already, or needs none although its session has it.
pub(crate) struct TlsIsThere;

/// What [`TlsIsThere`] takes.
pub(crate) trait Peer: AsyncRead + AsyncWrite + Unpin {
    /// Of the certificate that the other side showed.
    fn certificate_hash(&self) -> Option<Vec<u8>>;
}

impl Peer for Stream {
    fn certificate_hash(&self) -> Option<Vec<u8>> {
        self.peer_certificate_hash().ok().flatten()
    }
}

/// In memory: nobody is there.
impl Peer for DuplexStream {
    fn certificate_hash(&self) -> Option<Vec<u8>> {
        None
    }
}

impl<S: Peer> TlsConnect<S> for TlsIsThere {
    type Stream = Encrypted<S>;
    type Error = Infallible;
    type Future = Ready<Result<Encrypted<S>, Infallible>>;

    fn connect(self, stream: S) -> Self::Future {
        ready(Ok(Encrypted(stream)))
    }
}

/// A connection with TLS.
pub(crate) struct Encrypted<S>(S);

impl<S: Peer> TlsStream for Encrypted<S> {
    fn channel_binding(&self) -> ChannelBinding {
        match self.0.certificate_hash() {
            Some(hash) => ChannelBinding::tls_server_end_point(hash),
            None => ChannelBinding::none(),
        }
    }
}

impl<S: Peer> AsyncRead for Encrypted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl<S: Peer> AsyncWrite for Encrypted<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
