//! Moves bytes between a client and a server, as the session decides.
//!
//! ```text
//!              read               decide            write
//!   client ──> scratch ──────> Session::on_client ──> server
//!                 │ undecided        │ not taken by the socket
//!                 ▼                  ▼
//!               held              pending            (and the same the other way round)
//! ```
//! It lives in an event loop and has its turn when either socket has something to tell. Bytes are read into a buffer of
//! the thread, decided on there, and written from there. Only what cannot be decided on yet (the rest of a message is
//! missing) or cannot be written yet is kept for the connection: an idle connection holds no buffer at all. A side is
//! not read while the other one does not take what it sent, so what a connection holds is bounded by one buffer and the
//! longest message that is looked into.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::timeout;

use super::backlog::Backlog;
use super::phase::{LAST_WORDS, Phase};
use super::polled::Polled;
use super::stream::Stream;
use crate::prefetch::prefetch;
use crate::session::edit::Edit;
use crate::session::{Counters, OutOfStep, Progress, Session};
use crate::wire::response::{Response, Severity, sqlstate};

/// Reads from either side in one turn of a relay, before others have theirs.
const TURN_READS: usize = 16;

/// What a thread reads into, and writes changed chunks from. No connection keeps anything in it between turns.
#[derive(Default)]
pub(super) struct Scratch {
    read: Vec<u8>,
    edited: Vec<u8>,
}

/// One side of a connection.
#[derive(Debug)]
pub(super) struct Side {
    stream: Stream,
    /// Read and not decided on.
    held: Backlog,
    /// Decided on and not yet written to this side.
    pending: Backlog,
    /// What TLS still keeps.
    needs_flush: bool,
    has_ended: bool,
    is_shut: bool,
}

impl Side {
    /// `held` was read ahead.
    pub fn new(stream: Stream, held: BytesMut) -> Self {
        Self {
            stream,
            held: held.into(),
            pending: Backlog::default(),
            needs_flush: false,
            has_ended: false,
            is_shut: false,
        }
    }

    /// The stream, and what was read ahead of it.
    pub fn into_parts(self) -> (Stream, BytesMut) {
        (self.stream, self.held.into())
    }

    /// Writes what it can, the rest waits. Never blocks.
    fn write(&mut self, context: &mut Context<'_>, mut bytes: &[u8]) -> io::Result<()> {
        while self.pending.is_empty() && !bytes.is_empty() {
            match Pin::new(&mut self.stream).poll_write(context, bytes) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(n)) => {
                    bytes = bytes.get(n..).unwrap_or_default();
                    self.needs_flush = self.stream.is_tls();
                }
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => break,
            }
        }
        self.pending.extend(bytes);
        Ok(())
    }

    /// Gets rid of what is pending; `Ready` when nothing is.
    fn poll_drain(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.pending.is_empty() {
            match ready!(Pin::new(&mut self.stream).poll_write(context, self.pending.bytes())) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(n) => {
                    self.pending.advance(n);
                    self.needs_flush = self.stream.is_tls();
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        if self.needs_flush {
            ready!(Pin::new(&mut self.stream).poll_flush(context))?;
            self.needs_flush = false;
        }
        Poll::Ready(Ok(()))
    }

    fn is_drained(&self) -> bool {
        self.pending.is_empty() && !self.needs_flush
    }

    /// Whether there is nothing to be moved from here to the other side: of most turns half the reads would be in vain.
    fn has_nothing_for(&self, other: &Self) -> bool {
        !self.stream.may_be_readable() && other.is_drained()
    }

    /// Ends our direction: the other side has nothing more to say.
    fn poll_shut(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.is_shut {
            ready!(Pin::new(&mut self.stream).poll_shutdown(context))?;
            self.is_shut = true;
        }
        Poll::Ready(Ok(()))
    }
}

/// Bytes read from either side.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Traffic {
    pub from_client: u64,
    pub from_server: u64,
}

/// How a connection ended.
#[derive(Debug)]
pub(super) enum End {
    /// The server closed it, after Terminate or because it had to.
    ByServer,
    /// The client was gone when something was for it.
    ClientGone(io::Error),
    /// The server was gone when something was for it.
    ServerGone(io::Error),
    /// The replies made no sense.
    OutOfStep(OutOfStep),
    /// The proxy shuts down.
    Shutdown,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ByServer => f.write_str("closed"),
            Self::ClientGone(error) => write!(f, "the client is gone: {error}"),
            Self::ServerGone(error) => write!(f, "the server is gone: {error}"),
            Self::OutOfStep(error) => error.fmt(f),
            Self::Shutdown => f.write_str("the proxy shuts down"),
        }
    }
}

/// One of the two that are connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Party {
    Client,
    Server,
}

impl Party {
    pub const BOTH: [Self; 2] = [Self::Client, Self::Server];
}

/// What is left after a turn of a relay.
pub(super) enum Turn {
    /// Nothing, until one of its sockets has something new to tell.
    Waits,
    /// More, once the others had their turns.
    Goes,
    /// Nothing ever.
    Ends(End),
}

/// A client and a server, logged in.
pub(super) struct Relay {
    client: Side,
    server: Side,
    session: Session,
    /// The session waits for the server before it looks at the client again.
    client_waits: bool,
    /// What was read during the login has not been decided on.
    has_read_ahead: bool,
    buffer_bytes: usize,
    traffic: Traffic,
}

impl Relay {
    pub fn new(client: Side, server: Side, session: Session, buffer_bytes: usize) -> Self {
        let traffic = Traffic {
            from_client: client.held.bytes().len() as u64,
            from_server: server.held.bytes().len() as u64,
        };
        Self {
            client,
            server,
            session,
            client_waits: false,
            has_read_ahead: true,
            buffer_bytes,
            traffic,
        }
    }

    /// Leaves the runtime, for an event loop.
    ///
    /// # Errors
    /// When there are too many open files.
    pub fn leave_runtime(&mut self) -> io::Result<()> {
        self.client.stream.leave_runtime()?;
        self.server.stream.leave_runtime()
    }

    /// What an event loop watches of this side.
    pub fn polled(&mut self, party: Party) -> Option<&mut Polled> {
        match party {
            Party::Client => self.client.stream.polled_mut(),
            Party::Server => self.server.stream.polled_mut(),
        }
    }

    /// Has the processor fetch what an event is noted down in.
    pub fn prefetch_side(&self, party: Party) {
        prefetch(match party {
            Party::Client => &self.client,
            Party::Server => &self.server,
        });
    }

    /// Has the processor fetch what the session's next messages are noted down in, where it points to that.
    pub fn prefetch_session(&self) {
        self.session.prefetch();
    }

    /// Moves what can be moved, within bounds.
    pub fn turn(&mut self, context: &mut Context<'_>, phase: Phase, scratch: &mut Scratch) -> Turn {
        scratch.read.resize(self.buffer_bytes, 0);
        // The call that reads takes longer than that.
        self.session.prefetch_statements();
        match self.move_all(context, phase, scratch) {
            Ok(true) => Turn::Waits,
            Ok(false) => Turn::Goes,
            Err(end) => Turn::Ends(end),
        }
    }

    /// Takes leave, back in the runtime. Returns what it has carried.
    pub async fn farewell(mut self: Box<Self>, end: &End) -> (Traffic, Counters) {
        if let Err(error) = self.say_goodbye(end).await {
            // Whoever does not listen any more misses nothing.
            tracing::debug!(%error, "no goodbye");
        }
        (self.traffic, self.session.counters())
    }

    /// Returns whether nothing is left to move.
    fn move_all(
        &mut self,
        context: &mut Context<'_>,
        phase: Phase,
        scratch: &mut Scratch,
    ) -> Result<bool, End> {
        if std::mem::take(&mut self.has_read_ahead) {
            self.decide_on_server(context, scratch, 0)?;
            self.decide_on_client(context, scratch, 0)?;
        }
        // Whoever has nothing more to say is not asked again for what the other one said: it wakes us when it has.
        let (mut server_spoke, mut client_spoke) = (true, true);
        for _ in 0..TURN_READS {
            if phase == Phase::Ending || (phase == Phase::Draining && self.is_idle()) {
                return Err(End::Shutdown);
            }
            // The server first: its replies are what a waiting client waits for.
            if server_spoke {
                client_spoke |= self.client_waits;
                server_spoke = self.poll_server(context, scratch)?;
            }
            if client_spoke {
                client_spoke = self.poll_client(context, scratch)?;
            }
            if self.server.has_ended && self.client.poll_drain(context).is_ready() {
                return Err(End::ByServer);
            }
            if !server_spoke && !client_spoke {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn is_idle(&self) -> bool {
        self.session.is_idle() && self.client.pending.is_empty() && self.server.pending.is_empty()
    }

    /// Server to client. Returns whether anything moved.
    fn poll_server(&mut self, context: &mut Context<'_>, scratch: &mut Scratch) -> Result<bool, End> {
        if self.server.has_nothing_for(&self.client) {
            return Ok(false);
        }
        match self.client.poll_drain(context) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(error)) => return Err(End::ClientGone(error)),
            Poll::Pending => return Ok(false),
        }
        if self.server.has_ended {
            return Ok(false);
        }
        match read(&mut self.server, context, &mut scratch.read).map_err(End::ServerGone)? {
            None => return Ok(false),
            Some(0) => self.server.has_ended = true,
            Some(n) => {
                self.traffic.from_server += n as u64;
                self.decide_on_server(context, scratch, n)?;
            }
        }
        Ok(true)
    }

    fn decide_on_server(
        &mut self,
        context: &mut Context<'_>,
        scratch: &mut Scratch,
        n: usize,
    ) -> Result<(), End> {
        let read = scratch.read.get(..n).unwrap_or_default();
        let mut edit = Edit::new(input(&mut self.server.held, read), &mut scratch.edited);
        let decided = self.session.on_server(&mut edit);
        let consumed = edit.consumed();
        self.client
            .write(context, edit.finish())
            .map_err(End::ClientGone)?;
        keep_rest(&mut self.server.held, read, consumed);
        decided.map_err(End::OutOfStep)?;
        if std::mem::take(&mut self.client_waits) {
            self.decide_on_client(context, scratch, 0)?;
        }
        Ok(())
    }

    /// Client to server. Returns whether anything moved.
    fn poll_client(&mut self, context: &mut Context<'_>, scratch: &mut Scratch) -> Result<bool, End> {
        if self.client.has_nothing_for(&self.server) {
            return Ok(false);
        }
        match self.server.poll_drain(context) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(error)) => return self.server_is_gone(error),
            Poll::Pending => return Ok(false),
        }
        if self.client.has_ended {
            // The server reads the end, and may still have something to say.
            return match self.server.poll_shut(context) {
                Poll::Ready(Err(error)) => self.server_is_gone(error),
                Poll::Ready(Ok(())) | Poll::Pending => Ok(false),
            };
        }
        if self.client_waits {
            return Ok(false);
        }
        match read(&mut self.client, context, &mut scratch.read).map_err(End::ClientGone)? {
            None => return Ok(false),
            Some(0) => {
                self.client.has_ended = true;
                // Of its last message only a part came: what the server says to that is up to the server.
                let cut_short = std::mem::take(&mut self.client.held);
                if let Err(error) = self.server.write(context, cut_short.bytes()) {
                    return self.server_is_gone(error);
                }
            }
            Some(n) => {
                self.traffic.from_client += n as u64;
                self.decide_on_client(context, scratch, n)?;
            }
        }
        Ok(true)
    }

    fn decide_on_client(
        &mut self,
        context: &mut Context<'_>,
        scratch: &mut Scratch,
        n: usize,
    ) -> Result<(), End> {
        let read = scratch.read.get(..n).unwrap_or_default();
        let mut edit = Edit::new(input(&mut self.client.held, read), &mut scratch.edited);
        self.client_waits = self.session.on_client(&mut edit) == Progress::Wait;
        let consumed = edit.consumed();
        let written = self.server.write(context, edit.finish());
        keep_rest(&mut self.client.held, read, consumed);
        match written {
            Ok(()) => Ok(()),
            Err(error) => self.server_is_gone(error).map(|_| ()),
        }
    }

    /// The server takes no more; what it said last may still be on its way to us, so it is read to its end.
    fn server_is_gone(&mut self, error: io::Error) -> Result<bool, End> {
        if self.server.has_ended {
            return Err(End::ServerGone(error));
        }
        tracing::debug!(%error, "the server takes no more");
        self.client.has_ended = true;
        self.server.is_shut = true;
        self.server.pending = Backlog::default();
        self.server.needs_flush = false;
        Ok(false)
    }

    /// The client reads why, where the proxy ended it.
    async fn say_goodbye(&mut self, end: &End) -> io::Result<()> {
        let response = match end {
            End::Shutdown => {
                let message = "terminating connection due to administrator command";
                Some(Response::new(Severity::Fatal, sqlstate::ADMIN_SHUTDOWN, message))
            }
            End::OutOfStep(error) => Some(Response::new(
                Severity::Fatal,
                sqlstate::PROTOCOL_VIOLATION,
                error.to_string(),
            )),
            End::ByServer | End::ClientGone(_) | End::ServerGone(_) => None,
        };
        self.client.stream.enter_runtime()?;
        let goodbye = async {
            if let Some(response) = response {
                self.client.stream.write_all(self.client.pending.bytes()).await?;
                self.client.stream.write_all(&response.to_bytes()).await?;
            }
            self.client.stream.shutdown().await
        };
        timeout(LAST_WORDS, goodbye)
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }
}

/// Reads once; `None` when nothing is there, `Some(0)` at the end.
fn read(side: &mut Side, context: &mut Context<'_>, buffer: &mut [u8]) -> io::Result<Option<usize>> {
    let mut buffer = ReadBuf::new(buffer);
    match Pin::new(&mut side.stream).poll_read(context, &mut buffer) {
        Poll::Ready(Ok(())) => Ok(Some(buffer.filled().len())),
        Poll::Ready(Err(error)) => Err(error),
        Poll::Pending => Ok(None),
    }
}

/// What is to be decided on: what was read, behind what was held if anything was.
fn input<'a>(held: &'a mut Backlog, read: &'a [u8]) -> &'a [u8] {
    if held.is_empty() {
        read
    } else {
        held.extend(read);
        held.bytes()
    }
}

/// Keeps what was not decided on.
fn keep_rest(held: &mut Backlog, read: &[u8], consumed: usize) {
    if held.is_empty() {
        held.extend(read.get(consumed..).unwrap_or_default());
    } else {
        held.advance(consumed);
    }
}
