//! A client that hides nothing: frames out, frames in, on a blocking socket.
//!
//! The drivers' clients interpret what a server says; where every byte counts, and where the order in which
//! messages are sent is the very thing under test, this is used instead.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use bemi::wire::backend::tag;
use bemi::wire::frame::{HEADER_LEN, Header};
use bemi::wire::startup::startup_packet;

/// Protocol 3.0.
const VERSION: i32 = 3 << 16;

/// How long a reply may take. Nothing in a test is slow; only what hangs comes near this.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A message of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub tag: u8,
    pub body: Vec<u8>,
}

/// A connection past its startup.
pub struct RawClient {
    stream: TcpStream,
    read: Vec<u8>,
    at: usize,
}

impl RawClient {
    /// Logs in on 127.0.0.1 where no password is asked for, and reads up to the first ReadyForQuery.
    pub fn connect(port: u16, parameters: &[(&str, &str)]) -> io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut client = Self {
            stream,
            read: Vec::new(),
            at: 0,
        };
        let parameters = parameters
            .iter()
            .map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        client.write(&startup_packet(VERSION, parameters))?;
        loop {
            let frame = client.frame()?;
            match frame.tag {
                tag::READY_FOR_QUERY => return Ok(client),
                tag::ERROR_RESPONSE => {
                    return Err(io::Error::other(format!(
                        "login refused: {}",
                        frame.body.escape_ascii()
                    )));
                }
                _ => {}
            }
        }
    }

    /// Sends these bytes.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Waits for the next message.
    pub fn frame(&mut self) -> io::Result<Frame> {
        loop {
            let rest = &self.read[self.at..];
            let header = Header::read(rest).map_err(io::Error::other)?;
            match header.filter(|header| rest.len() >= header.frame_len) {
                Some(header) => {
                    let body = rest[HEADER_LEN..header.frame_len].to_vec();
                    self.at += header.frame_len;
                    return Ok(Frame {
                        tag: header.tag,
                        body,
                    });
                }
                None => self.fill()?,
            }
        }
    }

    fn fill(&mut self) -> io::Result<()> {
        self.read.drain(..self.at);
        self.at = 0;
        let mut chunk = [0; 16 * 1024];
        match self.stream.read(&mut chunk)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            n => {
                self.read.extend_from_slice(&chunk[..n]);
                Ok(())
            }
        }
    }
}
