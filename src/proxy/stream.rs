//! One type for every connection there is: TCP or a unix socket, in the clear or with TLS, towards clients or the server.
//!
//! An enum and not a boxed trait: the relay's inner loop calls it for every read and write.

use std::io::{self, IoSlice};
use std::os::fd::AsFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsStream;

use super::polled::{Detached, Polled};
use crate::config::url::KeepaliveParameters;
use crate::tls::channel_binding::{ChannelBindingError, end_point_hash};

/// A connection without TLS.
#[derive(Debug)]
pub enum Socket {
    /// TCP
    Tcp(TcpStream),
    /// A unix socket
    Unix(UnixStream),
    /// Either, once an event loop has it.
    Polled(Polled),
}

/// A connection.
///
/// With TLS, what is written may wait in a buffer until it is flushed.
#[derive(Debug)]
pub enum Stream {
    /// In the clear.
    Plain(Socket),
    /// With TLS; boxed, as it is ten times the size.
    Tls(Box<TlsStream<Socket>>),
}

/// How a silent TCP connection is found to be dead. The defaults are those of Linux, with a shorter first wait:
/// a server that vanished should not keep clients waiting for two hours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepalive {
    /// Whether to probe at all.
    pub enabled: bool,
    /// Silence before the first probe.
    pub idle: Duration,
    /// Time between probes.
    pub interval: Duration,
    /// Unanswered probes that end the connection.
    pub count: u32,
    /// How long sent data may stay unacknowledged (Linux). `None`: as the system has it.
    pub user_timeout: Option<Duration>,
}

impl Default for Keepalive {
    fn default() -> Self {
        Self {
            enabled: true,
            idle: Duration::from_secs(60),
            interval: Duration::from_secs(15),
            count: 4,
            user_timeout: None,
        }
    }
}

impl Keepalive {
    /// These settings with what a URL says instead.
    #[must_use]
    pub fn overridden_by(self, url: &KeepaliveParameters) -> Self {
        Self {
            enabled: url.enabled.unwrap_or(self.enabled),
            idle: url.idle.unwrap_or(self.idle),
            interval: url.interval.unwrap_or(self.interval),
            count: url.count.unwrap_or(self.count),
            user_timeout: url.user_timeout.or(self.user_timeout),
        }
    }
}

impl Socket {
    /// Makes it a socket of the runtime this is called on.
    ///
    /// # Errors
    /// When that runtime cannot watch it.
    pub fn register(detached: Detached) -> io::Result<Self> {
        match detached {
            Detached::Tcp(stream) => TcpStream::from_std(stream).map(Self::Tcp),
            Detached::Unix(stream) => UnixStream::from_std(stream).map(Self::Unix),
        }
    }

    /// The same socket, watched by nobody.
    fn duplicate(&self) -> io::Result<Detached> {
        match self {
            Self::Tcp(stream) => Ok(Detached::Tcp(stream.as_fd().try_clone_to_owned()?.into())),
            Self::Unix(stream) => Ok(Detached::Unix(stream.as_fd().try_clone_to_owned()?.into())),
            Self::Polled(polled) => match polled.socket() {
                Detached::Tcp(stream) => stream.try_clone().map(Detached::Tcp),
                Detached::Unix(stream) => stream.try_clone().map(Detached::Unix),
            },
        }
    }

    /// Sets what every TCP connection of a proxy wants: messages leave at once (`TCP_NODELAY`), and a dead peer is
    /// noticed. Unix sockets need neither.
    ///
    /// # Errors
    /// Those of `setsockopt`, which happen when the peer has already gone.
    pub fn set_options(&self, keepalive: &Keepalive) -> io::Result<()> {
        let Self::Tcp(stream) = self else {
            return Ok(());
        };
        stream.set_nodelay(true)?;
        let socket = SockRef::from(stream);
        if keepalive.enabled {
            let probes = TcpKeepalive::new()
                .with_time(keepalive.idle)
                .with_interval(keepalive.interval)
                .with_retries(keepalive.count);
            socket.set_tcp_keepalive(&probes)?;
        }
        #[cfg(target_os = "linux")]
        if keepalive.user_timeout.is_some() {
            socket.set_tcp_user_timeout(keepalive.user_timeout)?;
        }
        Ok(())
    }

    /// Whether the next byte begins a TLS handshake, without taking it: PostgreSQL's direct negotiation. Waits for that byte.
    /// Always false on unix sockets, where the server does not speak TLS either.
    ///
    /// # Errors
    /// Those of the socket.
    pub async fn begins_with_tls(&self) -> io::Result<bool> {
        /// `ContentType` handshake of a TLS record; no startup packet begins with it, as it would be 300 MB long.
        const HANDSHAKE: u8 = 0x16;
        let mut first = [0];
        match self {
            Self::Tcp(stream) => Ok(stream.peek(&mut first).await? == 1 && first == [HANDSHAKE]),
            Self::Unix(_) | Self::Polled(_) => Ok(false),
        }
    }
}

impl Stream {
    fn socket_mut(&mut self) -> &mut Socket {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(stream) => stream.get_mut().0,
        }
    }

    /// Leaves the runtime, for an event loop.
    ///
    /// # Errors
    /// When the process has too many open files; the stream is as it was.
    pub fn leave_runtime(&mut self) -> io::Result<()> {
        // A second descriptor for a moment: the first cannot be taken out of a TLS stream without one to put in.
        let socket = self.socket_mut();
        *socket = Socket::Polled(Polled::new(socket.duplicate()?));
        Ok(())
    }

    /// Enters the runtime this is called on, back from an event loop that does not watch it any more.
    ///
    /// # Errors
    /// When that runtime cannot watch it, or the process has too many open files; the stream is as it was.
    pub fn enter_runtime(&mut self) -> io::Result<()> {
        let socket = self.socket_mut();
        *socket = Socket::register(socket.duplicate()?)?;
        Ok(())
    }

    /// What an event loop watches; `None` as long as the runtime has it.
    pub fn polled_mut(&mut self) -> Option<&mut Polled> {
        match self.socket_mut() {
            Socket::Polled(polled) => Some(polled),
            Socket::Tcp(_) | Socket::Unix(_) => None,
        }
    }

    /// Whether reading may yield anything, or nothing was told of the socket since it had no more.
    pub fn may_be_readable(&self) -> bool {
        match self {
            Self::Plain(Socket::Polled(polled)) => polled.may_be_readable(),
            // TLS may keep what it has read from the socket, and what the runtime watches only the runtime knows.
            Self::Plain(Socket::Tcp(_) | Socket::Unix(_)) | Self::Tls(_) => true,
        }
    }

    /// Whether the connection is encrypted.
    pub fn is_tls(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// The peer's certificate in DER, if it showed one.
    pub fn peer_certificate(&self) -> Option<&[u8]> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(stream) => stream
                .get_ref()
                .1
                .peer_certificates()
                .and_then(<[_]>::first)
                .map(AsRef::as_ref),
        }
    }

    /// The `tls-server-end-point` hash of the peer's certificate, for SCRAM-SHA-256-PLUS. `None` without a certificate.
    ///
    /// # Errors
    /// [`ChannelBindingError`] when the certificate's signature names no hash.
    pub fn peer_certificate_hash(&self) -> Result<Option<Vec<u8>>, ChannelBindingError> {
        self.peer_certificate().map(end_point_hash).transpose()
    }

    /// Version and cipher suite of TLS, for a line in the log: `TLSv1_3 TLS13_AES_256_GCM_SHA384`.
    pub fn tls_description(&self) -> Option<String> {
        let Self::Tls(stream) = self else {
            return None;
        };
        let state = stream.get_ref().1;
        Some(format!(
            "{:?} {:?}",
            state.protocol_version()?,
            state.negotiated_cipher_suite()?.suite()
        ))
    }
}

impl From<Socket> for Stream {
    fn from(socket: Socket) -> Self {
        Self::Plain(socket)
    }
}

impl From<TlsStream<Socket>> for Stream {
    fn from(stream: TlsStream<Socket>) -> Self {
        Self::Tls(Box::new(stream))
    }
}

impl From<tokio_rustls::client::TlsStream<Socket>> for Stream {
    fn from(stream: tokio_rustls::client::TlsStream<Socket>) -> Self {
        TlsStream::from(stream).into()
    }
}

impl From<tokio_rustls::server::TlsStream<Socket>> for Stream {
    fn from(stream: tokio_rustls::server::TlsStream<Socket>) -> Self {
        TlsStream::from(stream).into()
    }
}

/// Calls the same method of whatever is inside.
macro_rules! on_inner {
    ($self:expr, $type:ident { $($variant:ident),+ }, $inner:ident => $call:expr) => {
        match $self.get_mut() {
            $($type::$variant(stream) => {
                let $inner = Pin::new(stream);
                $call
            })+
        }
    };
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        on_inner!(self, Self { Tcp, Unix, Polled }, inner => inner.poll_read(context, buffer))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        on_inner!(self, Self { Tcp, Unix, Polled }, inner => inner.poll_write(context, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        on_inner!(self, Self { Tcp, Unix, Polled }, inner => inner.poll_write_vectored(context, slices))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_inner!(self, Self { Tcp, Unix, Polled }, inner => inner.poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_inner!(self, Self { Tcp, Unix, Polled }, inner => inner.poll_shutdown(context))
    }
}

impl AsyncRead for Stream {
    /// A peer that closes TCP without taking leave in TLS has ended the stream, no more: PostgreSQL does so when a
    /// process dies, many drivers always. Where a message was cut short, its length tells.
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let result = ready!(on_inner!(self, Self { Plain, Tls }, inner => inner.poll_read(context, buffer)));
        Poll::Ready(match result {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(()),
            result => result,
        })
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        on_inner!(self, Self { Plain, Tls }, inner => inner.poll_write(context, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        on_inner!(self, Self { Plain, Tls }, inner => inner.poll_write_vectored(context, slices))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_inner!(self, Self { Plain, Tls }, inner => inner.poll_flush(context))
    }

    /// Ends our direction only; the peer's can still be read. With TLS, it is told so first.
    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_inner!(self, Self { Plain, Tls }, inner => inner.poll_shutdown(context))
    }
}
