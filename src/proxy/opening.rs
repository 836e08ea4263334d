//! How a connection begins: requests for encryption, then the packet that says what it is to be.
//!
//! Packets are read to their last byte and no further, so that what follows a request for TLS is read by TLS and
//! by nothing else: bytes that a stranger put behind it in the clear end the handshake (CVE-2021-23214).

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::stream::{Socket, Stream};
use crate::config::ClientTlsMode;
use crate::tls::client_side::{AcceptError, ClientTls, Negotiation};
use crate::wire::startup::{self, StartupPacket};

/// What a client wants.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// A session, with this startup packet.
    Session(Vec<u8>),
    /// To cancel what another session does, with this packet.
    Cancel(Vec<u8>),
    /// Another major version of the protocol: the server knows how to refuse it.
    OtherProtocol(Vec<u8>),
    /// A packet whose parameters do not end where it does.
    Malformed,
    /// Encryption where that was settled already. The server reads the code as a version it does not have.
    EncryptionTwice(&'static str),
    /// A session in the clear, where TLS is required.
    Unencrypted,
}

/// Why a connection came to nothing. There is nobody to tell but the log.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpeningError {
    #[error("the client left during the opening: {0}")]
    Io(#[from] io::Error),
    #[error("the client closed the connection before its startup packet")]
    Closed,
    #[error("invalid length of startup packet: {0}")]
    Length(i32),
    #[error("invalid length of cancel request packet: {0}")]
    CancelKey(usize),
    #[error(transparent)]
    Tls(#[from] AcceptError),
    #[error("the client began with TLS, but [tls] has no certificate")]
    NoCertificate,
}

/// What is offered to clients, and required of them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms<'a> {
    pub tls: Option<&'a ClientTls>,
    pub mode: ClientTlsMode,
    /// `[limits] max_startup_packet_bytes`
    pub max_packet: usize,
}

/// Speaks with the client up to its startup packet.
pub(super) async fn open(socket: Socket, terms: Terms<'_>) -> Result<(Stream, Request), OpeningError> {
    let is_local = matches!(socket, Socket::Unix(_));
    let mut stream = if socket.begins_with_tls().await? {
        let tls = terms.tls.ok_or(OpeningError::NoCertificate)?;
        Stream::from(tls.accept(socket, Negotiation::Direct).await?)
    } else {
        Stream::from(socket)
    };
    let mut settled = Settled::default();
    loop {
        let packet = read_packet(&mut stream, terms.max_packet).await?;
        let request = match startup::parse(&packet) {
            Ok(StartupPacket::SslRequest) if stream.is_tls() || settled.tls => {
                Request::EncryptionTwice("1234.5679")
            }
            Ok(StartupPacket::GssEncRequest) if stream.is_tls() || settled.gss => {
                Request::EncryptionTwice("1234.5680")
            }
            Ok(StartupPacket::SslRequest) => {
                stream = answer_ssl_request(stream, terms.tls.filter(|_| !is_local)).await?;
                settled = Settled {
                    tls: true,
                    gss: false,
                };
                continue;
            }
            Ok(StartupPacket::GssEncRequest) => {
                stream.write_all(b"N").await?;
                settled = Settled {
                    tls: false,
                    gss: true,
                };
                continue;
            }
            Ok(StartupPacket::CancelRequest) => Request::Cancel(packet),
            Ok(StartupPacket::Startup(_)) if is_refused_in_the_clear(&stream, is_local, terms.mode) => {
                Request::Unencrypted
            }
            Ok(StartupPacket::Startup(_)) => Request::Session(packet),
            Ok(StartupPacket::OtherProtocol) => Request::OtherProtocol(packet),
            Err(_) if startup::is_cancel_request(&packet) => {
                return Err(OpeningError::CancelKey(packet.len()));
            }
            Err(_) => Request::Malformed,
        };
        return Ok((stream, request));
    }
}

/// Which kind of encryption was refused last and may not be asked for again. A client may go back and forth between
/// the two for as long as its time lasts, as with the server (`ProcessStartupPacket` in `backend_startup.c`).
#[derive(Debug, Clone, Copy, Default)]
struct Settled {
    tls: bool,
    gss: bool,
}

fn is_refused_in_the_clear(stream: &Stream, is_local: bool, mode: ClientTlsMode) -> bool {
    mode == ClientTlsMode::Require && !is_local && !stream.is_tls()
}

async fn answer_ssl_request(mut stream: Stream, tls: Option<&ClientTls>) -> Result<Stream, OpeningError> {
    match (stream, tls) {
        (Stream::Plain(mut socket), Some(tls)) => {
            socket.write_all(b"S").await?;
            Ok(tls.accept(socket, Negotiation::Requested).await?.into())
        }
        (unchanged, _) => {
            stream = unchanged;
            stream.write_all(b"N").await?;
            Ok(stream)
        }
    }
}

async fn read_packet(stream: &mut Stream, max: usize) -> Result<Vec<u8>, OpeningError> {
    let mut packet = vec![0; 4];
    match stream.read_exact(&mut packet).await {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(OpeningError::Closed),
        Err(error) => return Err(error.into()),
    }
    let announced = startup::announced_len(&packet).unwrap_or_default();
    let length = usize::try_from(announced).unwrap_or_default();
    // As in the server, the limit does not count the length itself.
    if !(8..=max.saturating_add(4)).contains(&length) {
        return Err(OpeningError::Length(announced));
    }
    packet.resize(length, 0);
    stream.read_exact(packet.get_mut(4..).unwrap_or_default()).await?;
    Ok(packet)
}
