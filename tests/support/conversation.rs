//! Bytes, not messages: what a client may really send, and everything that comes back until the connection ends.
//!
//! The same conversation is held with a server and with a proxy in front of it; the transcripts must be the same.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use bemi::wire::frame::{HEADER_LEN, Header};
use bemi::wire::startup::startup_packet;

/// Protocol 3.0.
pub const VERSION_3_0: i32 = 3 << 16;

/// How long any answer may take. Only what hangs comes near this.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A connection on which anything can be said.
pub struct Conversation<S = TcpStream> {
    stream: S,
}

/// What came back, and how it ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Transcript {
    /// One line per message.
    pub frames: Vec<String>,
    /// Whether the other side ended the connection, and did not just fall silent.
    pub is_closed: bool,
}

impl Conversation {
    /// Connects to 127.0.0.1 and says nothing.
    pub fn open(port: u16) -> Self {
        Self { stream: socket(port) }
    }

    /// Logs in where no password is asked for, and reads up to the first ReadyForQuery.
    pub fn log_in(port: u16, database: &str) -> Self {
        Self::log_in_on(socket(port), database)
    }

    /// Sends this startup packet and reads up to the first ReadyForQuery.
    pub fn start(port: u16, packet: &[u8]) -> Self {
        Self::start_on(socket(port), packet)
    }

    /// Has nothing more to say.
    pub fn fall_silent(&mut self) {
        _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Ends the connection with a reset, as when a machine goes down.
    pub fn vanish(self) {
        socket2::SockRef::from(&self.stream)
            .set_linger(Some(Duration::ZERO))
            .expect("an option");
    }

    pub fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }
}

impl<S: Read + Write> Conversation<S> {
    /// Logs in on this stream, as [`Conversation::log_in`] does.
    pub fn log_in_on(stream: S, database: &str) -> Self {
        Self::start_on(
            stream,
            &startup(VERSION_3_0, &[("user", "postgres"), ("database", database)]),
        )
    }

    fn start_on(stream: S, packet: &[u8]) -> Self {
        let mut conversation = Self { stream };
        conversation.say(packet);
        conversation.read_until(b'Z');
        conversation
    }

    /// Says it. The other side may have left by then; what it said before is still to be read.
    pub fn say(&mut self, bytes: &[u8]) {
        _ = self.stream.write_all(bytes).and_then(|()| self.stream.flush());
    }

    /// Reads exactly so many bytes.
    pub fn read(&mut self, n: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; n];
        self.stream.read_exact(&mut bytes).map(|()| bytes)
    }

    /// Reads one message.
    pub fn frame(&mut self) -> (u8, Vec<u8>) {
        let header = self.read(HEADER_LEN).expect("a message");
        let header = Header::read(&header).expect("a length").expect("a header");
        let body = self
            .read(header.frame_len - HEADER_LEN)
            .expect("the rest of a message");
        (header.tag, body)
    }

    /// Reads messages up to and including the first of this type, and returns them.
    pub fn read_until(&mut self, tag: u8) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            let (found, body) = self.frame();
            lines.push(line(found, &body));
            if found == tag {
                return lines;
            }
            assert!(found != b'E' || tag == b'Z', "an error: {lines:?}");
        }
    }

    /// Reads to the end.
    pub fn read_to_end(mut self) -> Transcript {
        let (bytes, is_closed) = self.bytes_to_end();
        Transcript {
            frames: lines(&bytes),
            is_closed,
        }
    }

    /// Reads to the end, whatever the bytes mean.
    pub fn bytes_to_end(&mut self) -> (Vec<u8>, bool) {
        let mut bytes = Vec::new();
        let ending = self.stream.read_to_end(&mut bytes);
        let is_silent = matches!(
            ending.as_ref().map_err(io::Error::kind),
            Err(io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
        );
        (bytes, !is_silent)
    }
}

/// A socket with 127.0.0.1, on which nothing takes longer than [`PATIENCE`].
pub fn socket(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).expect("somebody listens");
    stream.set_nodelay(true).expect("an option");
    stream.set_read_timeout(Some(PATIENCE)).expect("an option");
    stream.set_write_timeout(Some(PATIENCE)).expect("an option");
    stream
}

/// A startup packet.
pub fn startup(version: i32, parameters: &[(&str, &str)]) -> Vec<u8> {
    let parameters = parameters
        .iter()
        .map(|(name, value)| (name.as_bytes(), value.as_bytes()));
    startup_packet(version, parameters)
}

/// A message of any type with any body and the right length.
pub fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    message_of_length(tag, body.len() as i32 + 4, body)
}

/// A message that claims any length.
pub fn message_of_length(tag: u8, length: i32, body: &[u8]) -> Vec<u8> {
    [&[tag], &length.to_be_bytes()[..], body].concat()
}

/// A simple Query.
pub fn query(text: &str) -> Vec<u8> {
    message(b'Q', &[text.as_bytes(), b"\0"].concat())
}

/// A Terminate.
pub fn terminate() -> Vec<u8> {
    message(b'X', b"")
}

/// One line per message; a key that is another one each time shows its length.
pub fn lines(mut bytes: &[u8]) -> Vec<String> {
    let mut lines = Vec::new();
    while let Ok(Some(header)) = Header::read(bytes) {
        let Some(body) = bytes.get(HEADER_LEN..header.frame_len) else {
            break;
        };
        lines.push(line(header.tag, body));
        bytes = &bytes[header.frame_len..];
    }
    if !bytes.is_empty() {
        lines.push(format!("cut short: {}", bytes.escape_ascii()));
    }
    lines
}

fn line(tag: u8, body: &[u8]) -> String {
    match tag {
        b'K' => format!("K {} bytes", body.len()),
        _ => format!("{} {}", char::from(tag).escape_default(), body.escape_ascii()),
    }
}
