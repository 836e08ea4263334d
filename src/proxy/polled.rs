//! A socket that an event loop of ours watches, and not tokio.

use std::io::{self, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::task::{Context, Poll};

use mio::event::Event;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::net::{RecvFlags, SendFlags};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A socket that nobody watches: it is to live on another thread. It does not block.
#[derive(Debug)]
pub enum Detached {
    /// TCP
    Tcp(TcpStream),
    /// A unix socket
    Unix(UnixStream),
}

impl AsFd for Detached {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        }
    }
}

/// A socket and what is known of it: what it was not found to have run out of, it is asked for.
///
/// Readiness is told once, when it begins (`EPOLLET`, `epoll(7)`). So each side counts as ready until a call takes
/// or gives less than it was asked to, and what is over for good is remembered: no second event tells of it.
#[derive(Debug)]
pub struct Polled {
    socket: Detached,
    readable: Readiness,
    writable: Readiness,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Readiness {
    /// An event will tell.
    Not,
    Ready,
    /// Ready ever after: the peer has closed, or there was an error.
    Closed,
}

impl Readiness {
    fn told(&mut self, is_ready: bool, is_closed: bool) {
        if is_closed {
            *self = Self::Closed;
        } else if is_ready && *self == Self::Not {
            *self = Self::Ready;
        }
    }

    fn exhausted(&mut self) {
        if *self == Self::Ready {
            *self = Self::Not;
        }
    }
}

impl Polled {
    /// Nothing is known of it yet, so it counts as ready.
    pub fn new(socket: Detached) -> Self {
        Self {
            socket,
            readable: Readiness::Ready,
            writable: Readiness::Ready,
        }
    }

    /// The socket itself.
    pub fn socket(&self) -> &Detached {
        &self.socket
    }

    /// Has its events told, under this token.
    ///
    /// # Errors
    /// Those of `epoll_ctl(2)`: the system is out of memory or watches.
    pub fn register(&self, registry: &Registry, token: Token) -> io::Result<()> {
        let interest = Interest::READABLE | Interest::WRITABLE;
        registry.register(&mut SourceFd(&self.socket.as_fd().as_raw_fd()), token, interest)
    }

    /// Has its events told no longer.
    ///
    /// # Errors
    /// When they were not.
    pub fn deregister(&self, registry: &Registry) -> io::Result<()> {
        registry.deregister(&mut SourceFd(&self.socket.as_fd().as_raw_fd()))
    }

    /// Whether reading may yield anything, its end or an error included.
    pub fn may_be_readable(&self) -> bool {
        self.readable != Readiness::Not
    }

    /// An event was told.
    pub fn told(&mut self, event: &Event) {
        let failed = event.is_error();
        self.readable
            .told(event.is_readable(), event.is_read_closed() || failed);
        self.writable
            .told(event.is_writable(), event.is_write_closed() || failed);
    }
}

/// Asks for as much as this many bytes, if there may be any; short of that, the socket has no more for now.
fn attempt(
    readiness: &mut Readiness,
    bytes: usize,
    mut call: impl FnMut() -> io::Result<usize>,
) -> Poll<io::Result<usize>> {
    while *readiness != Readiness::Not {
        match call() {
            Ok(n) => {
                if 0 < n && n < bytes {
                    readiness.exhausted();
                }
                return Poll::Ready(Ok(n));
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => *readiness = Readiness::Not,
            Err(error) => return Poll::Ready(Err(error)),
        }
    }
    Poll::Pending
}

impl AsyncRead for Polled {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { socket, readable, .. } = &mut *self;
        let room = buffer.initialize_unfilled();
        let read = attempt(readable, room.len(), || {
            // Not by the C library: in a process with threads it surrounds each call with steps for their cancellation.
            let (_, n) = rustix::net::recv(&*socket, &mut *room, RecvFlags::empty())?;
            Ok(n)
        });
        read.map_ok(|n| buffer.advance(n))
    }
}

impl AsyncWrite for Polled {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Self { socket, writable, .. } = &mut *self;
        attempt(writable, bytes.len(), || {
            Ok(rustix::net::send(&*socket, bytes, SendFlags::NOSIGNAL)?)
        })
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let Self { socket, writable, .. } = &mut *self;
        let bytes = slices.iter().map(|slice| slice.len()).sum();
        attempt(writable, bytes, || match socket {
            Detached::Tcp(stream) => stream.write_vectored(slices),
            Detached::Unix(stream) => stream.write_vectored(slices),
        })
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(match &self.socket {
            Detached::Tcp(stream) => stream.shutdown(std::net::Shutdown::Write),
            Detached::Unix(stream) => stream.shutdown(std::net::Shutdown::Write),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::task::Waker;
    use std::time::Duration;

    use super::*;

    const PATIENCE: Option<Duration> = Some(Duration::from_secs(10));

    /// One that is watched, its other end, and who watches it.
    fn watched() -> (Polled, UnixStream, mio::Poll) {
        let (ours, theirs) = UnixStream::pair().expect("two sockets");
        ours.set_nonblocking(true).expect("a setting");
        theirs.set_nonblocking(true).expect("a setting");
        let (polled, poll) = (
            Polled::new(Detached::Unix(ours)),
            mio::Poll::new().expect("a poll"),
        );
        polled.register(poll.registry(), Token(0)).expect("registered");
        (polled, theirs, poll)
    }

    fn read(polled: &mut Polled) -> Option<usize> {
        let mut room = [0; 10];
        let mut buffer = ReadBuf::new(&mut room);
        match Pin::new(polled).poll_read(&mut Context::from_waker(Waker::noop()), &mut buffer) {
            Poll::Ready(read) => {
                read.expect("no error");
                Some(buffer.filled().len())
            }
            Poll::Pending => None,
        }
    }

    fn write(polled: &mut Polled, bytes: &[u8]) -> Option<usize> {
        match Pin::new(polled).poll_write(&mut Context::from_waker(Waker::noop()), bytes) {
            Poll::Ready(written) => Some(written.expect("no error")),
            Poll::Pending => None,
        }
    }

    fn hear(poll: &mut mio::Poll, polled: &mut Polled) {
        let mut events = mio::Events::with_capacity(8);
        poll.poll(&mut events, PATIENCE).expect("a poll");
        events.iter().for_each(|event| polled.told(event));
    }

    #[test]
    fn who_gave_less_than_asked_for_is_asked_again_once_told() {
        let (mut polled, mut theirs, mut poll) = watched();
        theirs.write_all(b"abc").expect("written");
        hear(&mut poll, &mut polled);
        assert_eq!(read(&mut polled), Some(3));
        theirs.write_all(b"def").expect("written");
        assert_eq!(read(&mut polled), None);
        hear(&mut poll, &mut polled);
        assert_eq!(read(&mut polled), Some(3));
    }

    #[test]
    fn the_end_behind_the_last_bytes_is_told_once_and_not_forgotten() {
        let (mut polled, mut theirs, mut poll) = watched();
        theirs.write_all(b"abc").expect("written");
        drop(theirs);
        hear(&mut poll, &mut polled);
        assert_eq!(read(&mut polled), Some(3));
        assert_eq!(read(&mut polled), Some(0));
        assert_eq!(read(&mut polled), Some(0));
    }

    #[test]
    fn who_took_less_than_given_is_given_more_once_told() {
        let (mut polled, mut theirs, mut poll) = watched();
        hear(&mut poll, &mut polled);
        let much = vec![0; 1 << 22];
        let mut written = 0;
        while let Some(n) = write(&mut polled, &much) {
            written += n;
        }
        while written > 0 {
            written -= theirs.read(&mut vec![0; written]).expect("bytes");
        }
        assert_eq!(write(&mut polled, b"more"), None);
        hear(&mut poll, &mut polled);
        assert_eq!(write(&mut polled, b"more"), Some(4));
    }
}
