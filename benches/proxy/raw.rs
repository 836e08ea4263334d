//! A client that does next to nothing, so that the time is spent elsewhere (manual, "Message Flow").

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};

/// Read at once, in bytes.
const BUFFER: usize = 256 << 10;

/// A logged-in session, in plain text and trusted.
pub struct Session {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// Follows the frames of what is read, without keeping any.
#[derive(Default)]
struct Frames {
    header: Vec<u8>,
    /// Of the current message, still to come.
    body: usize,
}

impl Frames {
    /// The type of the last message that begins in there, and whether it has come to its end.
    fn follow(&mut self, mut bytes: &[u8], mut each: impl FnMut(u8)) {
        while !bytes.is_empty() {
            if self.body > 0 {
                let n = self.body.min(bytes.len());
                self.body -= n;
                bytes = &bytes[n..];
            } else {
                let n = (5 - self.header.len()).min(bytes.len());
                self.header.extend_from_slice(&bytes[..n]);
                bytes = &bytes[n..];
                if let [_, a, b, c, d] = self.header[..] {
                    self.body = u32::from_be_bytes([a, b, c, d]) as usize - 4;
                }
            }
            if self.body == 0 && self.header.len() == 5 {
                each(self.header[0]);
                self.header.clear();
            }
            // A message with a body has its header until the body is there.
        }
    }
}

impl Session {
    /// Logs in; `context` is what the session starts with.
    pub fn open(port: u16, context: &str) -> io::Result<Self> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_nodelay(true)?;
        let mut session = Self {
            stream,
            buffer: vec![0; BUFFER],
        };
        session.stream.write_all(&startup(context))?;
        session.read_until(b'Z')?;
        Ok(session)
    }

    /// Sends a Query.
    pub fn send(&mut self, sql: &str) -> io::Result<()> {
        self.stream
            .write_all(&message(b'Q', &[sql.as_bytes(), b"\0"].concat()))
    }

    /// Runs a Query and reads all of its answer. Returns how many bytes it had.
    pub fn query(&mut self, sql: &str) -> io::Result<u64> {
        self.send(sql)?;
        self.read_until(b'Z')
    }

    /// Runs a COPY FROM STDIN with this data, `times` times. Returns how many bytes were sent.
    pub fn copy_in(&mut self, sql: &str, rows: &[u8], times: usize) -> io::Result<u64> {
        self.send(sql)?;
        self.read_until(b'G')?;
        let data = message(b'd', rows);
        for _ in 0..times {
            self.stream.write_all(&data)?;
        }
        self.stream.write_all(&message(b'c', b""))?;
        self.read_until(b'Z')?;
        Ok((data.len() * times) as u64)
    }

    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Reads until a message of this type has come to its end.
    fn read_until(&mut self, kind: u8) -> io::Result<u64> {
        let mut frames = Frames::default();
        let (mut total, mut is_there, mut failed) = (0, false, false);
        while !is_there {
            let n = self.stream.read(&mut self.buffer)?;
            if n == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            total += n as u64;
            frames.follow(&self.buffer[..n], |seen| {
                is_there |= seen == kind;
                failed |= seen == b'E';
            });
        }
        if failed {
            Err(io::Error::other("an ErrorResponse"))
        } else {
            Ok(total)
        }
    }
}

/// A StartupMessage of protocol 3.0.
pub fn startup(context: &str) -> Vec<u8> {
    let mut body = 196_608u32.to_be_bytes().to_vec();
    body.extend_from_slice(b"user\0postgres\0database\0postgres\0");
    if !context.is_empty() {
        body.extend_from_slice(format!("bemi.context\0{context}\0").as_bytes());
    }
    body.push(0);
    [&(body.len() as u32 + 4).to_be_bytes()[..], &body].concat()
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind][..], &(body.len() as u32 + 4).to_be_bytes(), body].concat()
}
