//! A replication connection: login, the few commands it needs, and the stream behind `START_REPLICATION`.
//!
//! The manual, 55.4 "Streaming Replication Protocol", is the source of all of it.
//!
//! *Rejected:* the crate pgwire-replication, which speaks the same protocol. It makes its connection by itself, with
//! another idea of certificates than libpq's and without channel binding, so that a URL that works for the proxy could
//! fail here; it takes no option of the stream but `messages`; and it hands over each message by itself through a channel
//! that counts messages, not bytes, where a row may have 50 MB. tokio-postgres has no replication mode.

use std::io;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::Lsn;
use crate::auth::{
    AuthError, AuthenticationRequest, ChannelBindingPolicy, Credentials, DEFAULT_MAX_SCRAM_ITERATIONS, Mode,
    Secret, UpstreamAuth, UpstreamChannel, UpstreamStep,
};
use crate::config::url::{ChannelBinding, UpstreamUrl};
use crate::proxy::connect_error::ConnectError;
use crate::proxy::login::entropy;
use crate::proxy::stream::Stream;
use crate::proxy::upstream::Upstream;
use crate::wire::Malformed;
use crate::wire::backend::{data_row, tag};
use crate::wire::frame::{BadLength, HEADER_LEN, Header};
use crate::wire::frontend;
use crate::wire::response::field_of;
use crate::wire::startup::startup_packet;

/// Version 3.0 of the protocol.
const PROTOCOL_VERSION: i32 = 3 << 16;

/// Room made for reading. A large one: behind a backlog every read is full.
pub(super) const READ_BYTES: usize = 256 << 10;

/// How the session writes values, whatever server and role are set to; what reads them relies on it
/// (`crate::track::value`). A session that streams for days must not be ended for being idle either.
const SETTINGS: [(&str, &str); 9] = [
    ("client_encoding", "UTF8"),
    ("DateStyle", "ISO"),
    ("IntervalStyle", "iso_8601"),
    ("TimeZone", "UTC"),
    ("bytea_output", "hex"),
    ("extra_float_digits", "1"),
    ("statement_timeout", "0"),
    ("lock_timeout", "0"),
    ("idle_session_timeout", "0"),
];

/// Why a replication connection failed.
#[derive(Debug, thiserror::Error)]
pub enum ReplicationError {
    /// It was never made.
    #[error("{0}")]
    Connect(#[from] ConnectError),
    /// It broke.
    #[error("the connection broke: {0}")]
    Io(#[from] io::Error),
    /// The server closed it without a word.
    #[error("the server closed the connection")]
    Closed,
    /// The login failed on our side.
    #[error("cannot log in: {0}")]
    Auth(#[from] AuthError),
    /// There is no password to log in with.
    #[error("the server asks for a password, and the URL has none")]
    NoPassword,
    /// The server refused.
    #[error("{message} ({sqlstate})")]
    Server {
        /// Its SQLSTATE.
        sqlstate: String,
        /// Its words.
        message: String,
    },
    /// What it sent is not what the protocol allows there.
    #[error("the server sent what was not expected: {0}")]
    Unexpected(String),
}

impl From<Malformed> for ReplicationError {
    fn from(error: Malformed) -> Self {
        Self::Unexpected(error.to_string())
    }
}

impl From<BadLength> for ReplicationError {
    fn from(error: BadLength) -> Self {
        Self::Unexpected(error.to_string())
    }
}

impl ReplicationError {
    /// What the server calls it; empty where it is not the server who complains.
    #[must_use]
    pub fn sqlstate(&self) -> &str {
        match self {
            Self::Server { sqlstate, .. } => sqlstate,
            _ours => "",
        }
    }

    fn from_response(body: &[u8]) -> Self {
        let field = |code| match field_of(body, code) {
            Ok(Some(text)) => {
                std::str::from_utf8(text).map_or_else(|_| text.escape_ascii().to_string(), str::to_owned)
            }
            Ok(None) | Err(_) => String::new(),
        };
        Self::Server {
            sqlstate: field(b'C'),
            message: field(b'M'),
        }
    }
}

/// Who the server is (`IDENTIFY_SYSTEM`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct System {
    /// Made by initdb; the same on its standbys.
    pub identifier: u64,
    /// The timeline it is on.
    pub timeline: u32,
    /// How far its log is flushed.
    pub flushed: Lsn,
}

/// A connection with `replication=database`.
#[derive(Debug)]
pub struct ReplicationConnection {
    pub(super) stream: Stream,
    /// What was read and not used yet.
    pub(super) buffer: BytesMut,
}

impl ReplicationConnection {
    /// Connects and logs in.
    ///
    /// # Errors
    /// [`ReplicationError`]
    pub async fn connect(
        upstream: &Upstream,
        url: &UpstreamUrl,
        application_name: &str,
    ) -> Result<Self, ReplicationError> {
        let mut connection = Self {
            stream: upstream.connect().await?.stream,
            buffer: BytesMut::new(),
        };
        connection.log_in(url, application_name).await?;
        Ok(connection)
    }

    async fn log_in(&mut self, url: &UpstreamUrl, application_name: &str) -> Result<(), ReplicationError> {
        let user = url.user.as_deref().unwrap_or_default();
        let mut parameters = vec![
            ("user", user),
            ("database", url.dbname.as_deref().unwrap_or(user)),
            ("replication", "database"),
            ("application_name", application_name),
        ];
        parameters.extend(SETTINGS);
        if let Some(options) = &url.options {
            parameters.push(("options", options));
        }
        let parameters = parameters
            .iter()
            .map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        let packet = startup_packet(PROTOCOL_VERSION, parameters);
        self.send(&packet).await?;
        let mut auth = self.authentication(url, user)?;
        let mut is_any_bytes = false;
        loop {
            let (tag, body) = self.frame().await?;
            match tag {
                tag::AUTHENTICATION => {
                    let request = AuthenticationRequest::decode(&body)?;
                    let needs_password = !matches!(request, AuthenticationRequest::Ok);
                    if needs_password && url.password.is_none() {
                        return Err(ReplicationError::NoPassword);
                    }
                    if let UpstreamStep::Answer(answer) = auth.request(request)? {
                        self.send(&answer).await?;
                    }
                }
                tag::READY_FOR_QUERY => break,
                tag::PARAMETER_STATUS => is_any_bytes |= &body[..] == b"server_encoding\0SQL_ASCII\0",
                tag::BACKEND_KEY_DATA | tag::NEGOTIATE_PROTOCOL_VERSION | tag::NOTICE_RESPONSE => {}
                other => return Err(unexpected(other, "a login")),
            }
        }
        // Such a database holds any bytes. Asked for UTF-8, the server would refuse the first row whose bytes are none, and
        // with it all that come behind (`pg_server_to_any`, mbutils.c).
        if is_any_bytes {
            self.query("SET client_encoding = 'SQL_ASCII'").await?;
        }
        Ok(())
    }

    fn authentication(&self, url: &UpstreamUrl, user: &str) -> Result<UpstreamAuth, ReplicationError> {
        let password = url.password.as_ref().map_or("", |password| password.reveal());
        let channel = UpstreamChannel {
            server_end_point: self.stream.peer_certificate_hash().ok().flatten(),
            channel_binding: match url.channel_binding {
                ChannelBinding::Disable => ChannelBindingPolicy::Disable,
                ChannelBinding::Prefer => ChannelBindingPolicy::Prefer,
                ChannelBinding::Require => ChannelBindingPolicy::Require,
            },
        };
        let entropy = entropy().map_err(|_| io::Error::other("the system has no random bytes"))?;
        Ok(UpstreamAuth::new(
            user.as_bytes(),
            Credentials::Password(Secret::new(password.as_bytes())),
            channel,
            Mode::Password,
            DEFAULT_MAX_SCRAM_ITERATIONS,
            entropy.upstream,
        ))
    }

    /// Who the server is.
    ///
    /// # Errors
    /// [`ReplicationError`]
    pub async fn identify_system(&mut self) -> Result<System, ReplicationError> {
        const WHAT: &str = "an answer to IDENTIFY_SYSTEM";
        let rows = self.query("IDENTIFY_SYSTEM").await?;
        let mut row = rows.into_iter().next().unwrap_or_default().into_iter();
        let mut next = || {
            let column = row.next().flatten()?;
            String::from_utf8(column).ok()
        };
        let (identifier, timeline, flushed) = (next(), next(), next());
        let system = || {
            Some(System {
                identifier: identifier?.parse().ok()?,
                timeline: timeline?.parse().ok()?,
                flushed: flushed?.parse().ok()?,
            })
        };
        system().ok_or_else(|| ReplicationError::Unexpected(format!("{WHAT} that cannot be read")))
    }

    /// The history file of a timeline: where the server left each of the ones before (manual, 25.3.6 "Timelines").
    ///
    /// # Errors
    /// [`ReplicationError`]
    pub async fn timeline_history(&mut self, timeline: u32) -> Result<String, ReplicationError> {
        let rows = self.query(&format!("TIMELINE_HISTORY {timeline}")).await?;
        let content = rows
            .into_iter()
            .next()
            .and_then(|row| row.into_iter().nth(1).flatten());
        content
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .ok_or_else(|| ReplicationError::Unexpected("an empty timeline history".into()))
    }

    /// Runs one command, and returns its rows.
    async fn query(&mut self, command: &str) -> Result<Vec<Vec<Option<Vec<u8>>>>, ReplicationError> {
        self.send_query(command).await?;
        let mut rows = Vec::new();
        loop {
            let (tag, body) = self.frame().await?;
            match tag {
                tag::DATA_ROW => {
                    let columns = data_row(&body)?;
                    rows.push(
                        columns
                            .into_iter()
                            .map(|column| column.map(<[u8]>::to_vec))
                            .collect(),
                    );
                }
                tag::READY_FOR_QUERY => return Ok(rows),
                tag::ROW_DESCRIPTION
                | tag::COMMAND_COMPLETE
                | tag::NOTICE_RESPONSE
                | tag::PARAMETER_STATUS => {}
                other => return Err(unexpected(other, "an answer")),
            }
        }
    }

    /// Begins the stream of a slot behind `lsn`. `options` are pgoutput's. Messages of more than `max_message` bytes are
    /// shortened ([`super::abridge`]).
    ///
    /// # Errors
    /// [`ReplicationError`]
    pub async fn start(
        mut self,
        slot: &str,
        lsn: Lsn,
        options: &[(&str, &str)],
        max_message: usize,
    ) -> Result<super::stream::ReplicationStream, ReplicationError> {
        let options: Vec<String> = options
            .iter()
            .map(|(name, value)| format!("{name} '{}'", value.replace('\'', "''")))
            .collect();
        let slot = slot.replace('"', "\"\"");
        let command = format!(
            "START_REPLICATION SLOT \"{slot}\" LOGICAL {lsn} ({})",
            options.join(", ")
        );
        self.send_query(&command).await?;
        loop {
            let (tag, _body) = self.frame().await?;
            match tag {
                tag::COPY_BOTH_RESPONSE => {
                    return Ok(super::stream::ReplicationStream::new(self, lsn, max_message));
                }
                tag::NOTICE_RESPONSE | tag::PARAMETER_STATUS => {}
                other => return Err(unexpected(other, "the beginning of a stream")),
            }
        }
    }

    async fn send_query(&mut self, command: &str) -> Result<(), ReplicationError> {
        let mut out = Vec::new();
        frontend::write_query(&mut out, command.as_bytes());
        self.send(&out).await
    }

    pub(super) async fn send(&mut self, bytes: &[u8]) -> Result<(), ReplicationError> {
        self.stream.write_all(bytes).await?;
        Ok(self.stream.flush().await?)
    }

    /// The next message; one that is an error is the error.
    async fn frame(&mut self) -> Result<(u8, BytesMut), ReplicationError> {
        loop {
            if let Some(header) = Header::read(&self.buffer)?
                && self.buffer.len() >= header.frame_len
            {
                let mut frame = self.buffer.split_to(header.frame_len);
                frame.advance(HEADER_LEN);
                if header.tag == tag::ERROR_RESPONSE {
                    return Err(ReplicationError::from_response(&frame));
                }
                return Ok((header.tag, frame));
            }
            self.fill().await?;
        }
    }

    /// Reads what has come. May be dropped at any time: nothing that was read is lost.
    pub(super) async fn fill(&mut self) -> Result<(), ReplicationError> {
        if self.buffer.capacity() - self.buffer.len() < READ_BYTES / 8 {
            self.buffer.reserve(READ_BYTES);
        }
        match self.stream.read_buf(&mut self.buffer).await? {
            0 => Err(ReplicationError::Closed),
            _count => Ok(()),
        }
    }

    pub(super) fn error_of(body: &[u8]) -> ReplicationError {
        ReplicationError::from_response(body)
    }
}

pub(super) fn unexpected(tag: u8, instead: &str) -> ReplicationError {
    ReplicationError::Unexpected(format!("a message {:?} instead of {instead}", char::from(tag)))
}
