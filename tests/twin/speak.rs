//! Holds a session with one side, and writes down what comes back.
//!
//! The client cannot know how many messages answer what it sent: that is the very thing under test. With the server it
//! waits for as many ReadyForQuery as it may expect, and where these do not come until nothing has come for a while. How
//! many messages there were by then is noted; the proxy must have sent as many at the same moment, or it keeps them back.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use bemi::wire::frame::{HEADER_LEN, Header};
use bemi::wire::startup::startup_packet;

use super::compare;
use super::dice::Dice;
use super::session::{Act, Cuts, Ending, Said, Session};
use super::support::raw::Frame;

/// How long any answer may take. Only what hangs comes near this.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long nothing comes before the client takes it that nothing will, where ReadyForQuery should still come.
const QUIET: Duration = Duration::from_millis(30);

/// The same where none is to come: behind a Flush.
const QUIET_BEHIND_FLUSH: Duration = Duration::from_millis(8);

/// What one byte at a time costs; behind so many it is said at once.
const MAX_SINGLE_BYTES: usize = 500;

/// GSSENCRequest. The proxy declines it in any case, as the README says; a server that was built with GSSAPI takes it and
/// must not be asked, since its client has none.
const GSS_ENCRYPTION: i32 = 80_877_104;

/// What came back.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    /// The one-byte answers to requests for encryption.
    pub answers: Vec<u8>,
    pub frames: Vec<Frame>,
    /// Bytes behind the last whole message.
    pub rest: Vec<u8>,
    /// Whether the other side ended the connection, and did not just fall silent. A reset ends it as well: which of the
    /// two it is depends on what was still on its way.
    pub is_closed: bool,
    /// How many messages there were at each wait.
    pub marks: Vec<usize>,
    /// Whether the client could vanish without changing what the server does: it was owed nothing.
    pub may_vanish: bool,
    /// The proxy kept messages back at this wait: how many there were, and how many there should have been.
    pub kept_back: Option<(usize, usize)>,
}

/// Holds a session with the server itself.
pub fn with_server(session: &Session, port: u16, database: &str) -> io::Result<Heard> {
    Client::connect(session, port, None)?.hold(session, database)
}

/// Holds it with the proxy, at the pace at which the server took it.
pub fn with_proxy(session: &Session, port: u16, database: &str, server: &Heard) -> io::Result<Heard> {
    Client::connect(session, port, Some(server))?.hold(session, database)
}

struct Client<'a> {
    stream: TcpStream,
    heard: Heard,
    /// What the server said, where this is the proxy.
    pace: Option<&'a Heard>,
    dice: Dice,
    cuts: Cuts,
    ready_expected: usize,
    ready_seen: usize,
    /// Whether the client once stopped waiting for what may still come.
    has_given_up: bool,
}

impl<'a> Client<'a> {
    fn connect(session: &Session, port: u16, pace: Option<&'a Heard>) -> io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self {
            stream,
            heard: Heard::default(),
            pace,
            dice: Dice::new(session.seed ^ 0x5eed),
            cuts: session.cuts,
            ready_expected: 0,
            ready_seen: 0,
            has_given_up: false,
        })
    }

    fn hold(mut self, session: &Session, database: &str) -> io::Result<Heard> {
        self.open(session, database)?;
        let mut batch: Vec<Said> = Vec::new();
        for act in &session.acts {
            match act {
                Act::Say(said) => batch.push(said.clone()),
                Act::Pause(micros) => {
                    self.say(&std::mem::take(&mut batch));
                    std::thread::sleep(Duration::from_micros(*micros));
                }
                Act::Wait => {
                    self.say(&std::mem::take(&mut batch));
                    self.wait()?;
                }
            }
        }
        self.say(&batch);
        self.end(session.ending)?;
        Ok(self.heard)
    }

    fn open(&mut self, session: &Session, database: &str) -> io::Result<()> {
        let opening = &session.opening;
        for request in &opening.requests {
            let answer = if *request == GSS_ENCRYPTION && self.pace.is_none() {
                b'N'
            } else {
                self.ask_for_encryption(*request)?
            };
            self.heard.answers.push(answer);
        }
        let parameters: Vec<_> = opening
            .parameters
            .iter()
            .map(|(name, value)| (name.clone(), value.replace("{database}", database)))
            .collect();
        let packet = startup_packet(
            opening.version,
            parameters
                .iter()
                .map(|(name, value)| (name.as_bytes(), value.as_bytes())),
        );
        self.ready_expected += 1;
        match self.cuts {
            Cuts::OneByteEach | Cuts::Anywhere => self.say_in_pieces(&packet),
            Cuts::InLengths => {
                self.write(&packet[..2]);
                self.write(&packet[2..]);
            }
            Cuts::None | Cuts::Messages => self.write(&packet),
        }
        if opening.waits { self.wait() } else { Ok(()) }
    }

    fn ask_for_encryption(&mut self, code: i32) -> io::Result<u8> {
        self.write(&[8_i32.to_be_bytes(), code.to_be_bytes()].concat());
        self.stream.set_read_timeout(Some(PATIENCE))?;
        let mut answer = [0];
        self.stream.read_exact(&mut answer)?;
        Ok(answer[0])
    }

    /// Says these without waiting.
    fn say(&mut self, batch: &[Said]) {
        let answered = |said: &&Said| matches!(said.bytes.first(), Some(b'Q' | b'S' | b'F'));
        self.ready_expected += batch.iter().filter(answered).count();
        match self.cuts {
            Cuts::None => self.write(&joined(batch)),
            Cuts::Messages => batch.iter().for_each(|said| self.write(&said.bytes)),
            Cuts::InLengths => self.say_cut_in_lengths(batch),
            Cuts::OneByteEach | Cuts::Anywhere => self.say_in_pieces(&joined(batch)),
        }
    }

    fn say_cut_in_lengths(&mut self, batch: &[Said]) {
        let mut begun = Vec::new();
        for said in batch {
            let at = self.dice.between(1, 4).min(said.bytes.len());
            begun.extend_from_slice(&said.bytes[..at]);
            self.write(&begun);
            self.now_and_then_rest();
            begun = said.bytes[at..].to_vec();
        }
        self.write(&begun);
    }

    fn say_in_pieces(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        let mut said = 0;
        while !rest.is_empty() {
            let size = match self.cuts {
                Cuts::OneByteEach if said < MAX_SINGLE_BYTES => 1,
                Cuts::OneByteEach => rest.len(),
                _ => self.dice.weighted(&[(3, 7), (3, 40), (2, 300), (1, 5000)]),
            };
            let size = match size {
                1 => 1,
                size => self.dice.between(1, size),
            };
            let (piece, further) = rest.split_at(size.min(rest.len()));
            self.write(piece);
            self.now_and_then_rest();
            (said, rest) = (said + 1, further);
        }
    }

    /// Long enough for the other side to read what it got, sometimes.
    fn now_and_then_rest(&mut self) {
        if self.dice.chance(4) {
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    /// The other side may have left by then; what it said before is still to be read.
    fn write(&mut self, bytes: &[u8]) {
        _ = self.stream.write_all(bytes);
    }

    fn wait(&mut self) -> io::Result<()> {
        let mark = match self.pace {
            None => self.wait_for_server()?,
            Some(server) => self.wait_for_proxy(server, server.marks[self.heard.marks.len()])?,
        };
        self.heard.marks.push(mark);
        Ok(())
    }

    fn wait_for_server(&mut self) -> io::Result<usize> {
        let is_flushed = self.ready_seen >= self.ready_expected;
        let quiet = if is_flushed { QUIET_BEHIND_FLUSH } else { QUIET };
        while (is_flushed || self.ready_seen < self.ready_expected) && self.read(quiet)? {}
        self.has_given_up |= self.ready_seen != self.ready_expected;
        self.heard.may_vanish = !is_flushed && !self.has_given_up;
        // Some were not to come: the model is a rough one.
        self.ready_expected = self.ready_seen;
        Ok(self.heard.frames.len())
    }

    fn wait_for_proxy(&mut self, server: &Heard, expected: usize) -> io::Result<usize> {
        let until = Instant::now() + PATIENCE;
        while self.heard.frames.len() < expected && Instant::now() < until {
            let has_come = self.read(PATIENCE)?;
            let agrees = compare::agree_so_far(&self.heard.frames, &server.frames);
            // What differs already need not be waited for.
            if (!has_come && self.heard.is_closed) || !agrees {
                break;
            }
        }
        let found = self.heard.frames.len();
        let is_late = Instant::now() >= until;
        if found < expected && is_late {
            self.heard.kept_back.get_or_insert((found, expected));
        }
        Ok(found)
    }

    fn end(&mut self, ending: Ending) -> io::Result<()> {
        match ending {
            Ending::Polite => self.write(b"X\0\0\0\x04"),
            Ending::FallsSilent => {}
            Ending::CutShort | Ending::Vanishes => {
                self.write(b"Q\0\0\0\x30INSERT INTO t (id) VALUE");
            }
        }
        let server = self.pace.unwrap_or(&self.heard);
        if ending == Ending::Vanishes && server.may_vanish {
            socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO))?;
            self.heard.is_closed = true;
            return Ok(());
        }
        if ending != Ending::Polite {
            _ = self.stream.shutdown(Shutdown::Write);
        }
        while self.read(PATIENCE)? {}
        Ok(())
    }

    /// Reads once. False when nothing came for that long, or nothing will come any more.
    fn read(&mut self, timeout: Duration) -> io::Result<bool> {
        if self.heard.is_closed {
            return Ok(false);
        }
        self.stream.set_read_timeout(Some(timeout))?;
        let mut chunk = [0; 16 * 1024];
        match self.stream.read(&mut chunk) {
            Ok(0) => self.heard.is_closed = true,
            Ok(n) => self.take(&chunk[..n]),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                return Ok(false);
            }
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
                ) =>
            {
                self.heard.is_closed = true;
            }
            Err(error) => return Err(error),
        }
        Ok(!self.heard.is_closed)
    }

    /// What is no message, such as an error of protocol 2, stays in the rest.
    fn take(&mut self, bytes: &[u8]) {
        self.heard.rest.extend_from_slice(bytes);
        let mut at = 0;
        while let Ok(Some(header)) = Header::read(&self.heard.rest[at..]) {
            let Some(body) = self.heard.rest.get(at + HEADER_LEN..at + header.frame_len) else {
                break;
            };
            self.ready_seen += usize::from(header.tag == b'Z');
            let body = body.to_vec();
            self.heard.frames.push(Frame {
                tag: header.tag,
                body,
            });
            at += header.frame_len;
        }
        self.heard.rest.drain(..at);
    }
}

fn joined(batch: &[Said]) -> Vec<u8> {
    batch.iter().flat_map(|said| said.bytes.iter().copied()).collect()
}
