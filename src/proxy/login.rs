//! Carries a login between client and server: frames in, [`auth::Login`](crate::auth::Login) decides, bytes out.
//!
//! Only frames that belong to the login are taken from the buffers. What a client sends ahead of
//! ReadyForQuery (its first query, say) and what the server sends behind AuthenticationOk stays there for
//! the session.

use std::io;

use bytes::{Bytes, BytesMut};
use ring::error::Unspecified;
use ring::rand::{SecureRandom, SystemRandom};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::auth::{AuthError, Entropy, Frame, Login, MockNonce, Progress, Step};
use crate::wire::frame::{HEADER_LEN, Header};
use crate::wire::response::Response;

/// Room made for reading: every message of an ordinary login fits.
const READ_CHUNK: usize = 4096;

/// One side of a login: its connection, and what was read from it and not used yet.
#[derive(Debug)]
pub struct Leg<'a, S> {
    /// TCP, TLS or a unix socket.
    pub stream: &'a mut S,
    /// Unused bytes, in both directions of time: those read with the startup packet come first, those that
    /// belong to the session remain.
    pub buffer: &'a mut BytesMut,
}

/// How a login ended.
#[derive(Debug)]
pub enum Outcome {
    /// AuthenticationOk is with the client; the session may begin.
    LoggedIn,
    /// The server refused, and the client has its words. Close both.
    RefusedByServer,
    /// The proxy refused, and the client has the error. Close both; the error's `log_detail` is for the log.
    Refused(AuthError),
    /// The client closed its connection, as psql does to ask for a password. Close the server's.
    ClientGone,
    /// The server closed its connection. Close the client's.
    ServerGone,
}

/// Runs `login` to its end.
///
/// The startup packet must have been sent to the server. Messages longer than `max_message` bytes
/// (`limits.max_auth_message_bytes`) end the login. There is no timeout in here: dropping the future loses no
/// byte that matters, as the connections are closed then.
///
/// # Errors
/// When a connection cannot be read or written.
pub async fn log_in<C, S>(
    mut client: Leg<'_, C>,
    mut server: Leg<'_, S>,
    mut login: Login,
    max_message: usize,
) -> io::Result<Outcome>
where
    C: AsyncRead + AsyncWrite + Unpin,
    S: AsyncRead + AsyncWrite + Unpin,
{
    loop {
        let event = next_event(&mut client, &mut server, &login, max_message).await?;
        let decision = match event {
            Event::FromServer(bytes) => {
                let decision;
                (login, decision) = decide_on_server(login, bytes).await?;
                decision
            }
            Event::FromClient(bytes) => login.on_client(frame(&bytes)),
            Event::TooLong(error) => Err(error),
            Event::ClientGone => return Ok(Outcome::ClientGone),
            Event::ServerGone => return Ok(Outcome::ServerGone),
        };
        match decision {
            Ok(step) => {
                if let Some(outcome) = carry_out(step, client.stream, server.stream).await? {
                    return Ok(outcome);
                }
            }
            Err(error) => {
                send(client.stream, &Response::from(&error).to_bytes()).await?;
                return Ok(Outcome::Refused(error));
            }
        }
    }
}

/// Fresh random bytes for one login.
///
/// # Errors
/// When the operating system has none.
pub fn entropy() -> Result<Entropy, Unspecified> {
    Ok(Entropy {
        client: random()?,
        upstream: random()?,
    })
}

/// Fresh random bytes for the salts of unknown users: once per process, so that they do not change on a reload.
///
/// # Errors
/// When the operating system has none.
pub fn mock_nonce() -> Result<MockNonce, Unspecified> {
    random().map(MockNonce::new)
}

fn random<const N: usize>() -> Result<[u8; N], Unspecified> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes)?;
    Ok(bytes)
}

enum Event {
    FromServer(Bytes),
    FromClient(Bytes),
    TooLong(AuthError),
    ClientGone,
    ServerGone,
}

/// The server goes first where both have spoken: what it says in place of waiting for the client (its
/// `authentication_timeout`) ends the login. One of the two is always awaited.
async fn next_event<C, S>(
    client: &mut Leg<'_, C>,
    server: &mut Leg<'_, S>,
    login: &Login,
    max_message: usize,
) -> io::Result<Event>
where
    C: AsyncRead + Unpin,
    S: AsyncRead + Unpin,
{
    tokio::select! {
        biased;
        read = next_frame(server, max_message), if login.awaits_server() => Ok(match read? {
            Read::Frame(bytes) => Event::FromServer(bytes),
            Read::TooLong(error) => Event::TooLong(error),
            Read::End => Event::ServerGone,
        }),
        read = next_frame(client, max_message), if login.awaits_client() => Ok(match read? {
            Read::Frame(bytes) => Event::FromClient(bytes),
            Read::TooLong(error) => Event::TooLong(error),
            Read::End => Event::ClientGone,
        }),
    }
}

enum Read {
    Frame(Bytes),
    TooLong(AuthError),
    End,
}

/// One whole message, type byte and length included. Cancellation safe: what was read stays in the buffer.
async fn next_frame<S: AsyncRead + Unpin>(leg: &mut Leg<'_, S>, max_message: usize) -> io::Result<Read> {
    loop {
        match frame_length(leg.buffer, max_message) {
            Err(error) => return Ok(Read::TooLong(error)),
            Ok(Some(length)) if leg.buffer.len() >= length => {
                return Ok(Read::Frame(leg.buffer.split_to(length).freeze()));
            }
            Ok(_) => {}
        }
        leg.buffer.reserve(READ_CHUNK);
        if leg.stream.read_buf(leg.buffer).await? == 0 {
            return Ok(Read::End);
        }
    }
}

/// Bytes of the message at the front of `buffer`, `None` while its header is not there.
fn frame_length(buffer: &[u8], max_message: usize) -> Result<Option<usize>, AuthError> {
    let too_long = |length| AuthError::MessageLength {
        length,
        limit: max_message,
    };
    let Some(header) = Header::read(buffer).map_err(|bad| too_long(i64::from(bad.length)))? else {
        return Ok(None);
    };
    let length = header.frame_len - 1;
    if length > max_message {
        return Err(too_long(i64::try_from(length).unwrap_or(i64::MAX)));
    }
    Ok(Some(header.frame_len))
}

/// Key derivation takes milliseconds, or as long as the server likes up to the limit: meanwhile the other
/// connections of this thread go on.
async fn decide_on_server(mut login: Login, bytes: Bytes) -> io::Result<(Login, Result<Step, AuthError>)> {
    if !login.is_expensive(frame(&bytes)) {
        let decision = login.on_server(frame(&bytes));
        return Ok((login, decision));
    }
    let derive = move || {
        let decision = login.on_server(frame(&bytes));
        (login, decision)
    };
    tokio::task::spawn_blocking(derive)
        .await
        .map_err(io::Error::other)
}

/// A message that [`next_frame`] returned: it has its header.
fn frame(bytes: &Bytes) -> Frame<'_> {
    let (tag, body) = match bytes.split_first_chunk::<HEADER_LEN>() {
        Some(([tag, ..], body)) => (*tag, body),
        None => (0, &[][..]),
    };
    Frame { tag, body }
}

async fn carry_out<C, S>(step: Step, client: &mut C, server: &mut S) -> io::Result<Option<Outcome>>
where
    C: AsyncWrite + Unpin,
    S: AsyncWrite + Unpin,
{
    send(server, &step.to_server).await?;
    send(client, &step.to_client).await?;
    Ok(match step.progress {
        Progress::Continues => None,
        Progress::LoggedIn => Some(Outcome::LoggedIn),
        Progress::Ended => Some(Outcome::RefusedByServer),
    })
}

async fn send<S: AsyncWrite + Unpin>(stream: &mut S, bytes: &[u8]) -> io::Result<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    stream.write_all(bytes).await?;
    stream.flush().await
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::{Leg, Outcome, entropy, log_in};
    use crate::auth::{
        AuthError, ClientChannel, DEFAULT_MAX_SCRAM_ITERATIONS, Login, LoginSettings, Mode, UpstreamChannel,
    };

    const OK: &[u8] = b"R\0\0\0\x08\0\0\0\0";
    const CLEARTEXT: &[u8] = b"R\0\0\0\x08\0\0\0\x03";
    const ANSWER: &[u8] = b"p\0\0\0\x0bpencil\0";

    struct Ends {
        client: DuplexStream,
        server: DuplexStream,
    }

    /// Runs a login; the test plays both ends. What is left in the buffers comes back too.
    fn start(mode: Mode) -> (Ends, tokio::task::JoinHandle<(Outcome, BytesMut, BytesMut)>) {
        let (client, mut client_side) = duplex(1024);
        let (server, mut server_side) = duplex(1024);
        let settings = LoginSettings {
            mode,
            user: b"alice".to_vec(),
            client: ClientChannel::UnixSocket,
            upstream: UpstreamChannel::default(),
            users: None,
            max_scram_iterations: DEFAULT_MAX_SCRAM_ITERATIONS,
        };
        let login = Login::new(settings, entropy().unwrap());
        let running = tokio::spawn(async move {
            let (mut from_client, mut from_server) = (BytesMut::new(), BytesMut::new());
            let client = Leg {
                stream: &mut client_side,
                buffer: &mut from_client,
            };
            let server = Leg {
                stream: &mut server_side,
                buffer: &mut from_server,
            };
            let outcome = log_in(client, server, login, 65_535).await.unwrap();
            (outcome, from_client, from_server)
        });
        (Ends { client, server }, running)
    }

    async fn expect(stream: &mut DuplexStream, bytes: &[u8]) {
        let mut read = vec![0; bytes.len()];
        stream.read_exact(&mut read).await.unwrap();
        assert_eq!(read, bytes);
    }

    #[tokio::test]
    async fn messages_may_arrive_byte_by_byte() {
        let (mut ends, running) = start(Mode::Passthrough);
        for byte in CLEARTEXT {
            ends.server.write_all(&[*byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        expect(&mut ends.client, CLEARTEXT).await;
        for byte in ANSWER {
            ends.client.write_all(&[*byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        expect(&mut ends.server, ANSWER).await;
        ends.server.write_all(OK).await.unwrap();
        expect(&mut ends.client, OK).await;
        assert!(matches!(running.await.unwrap().0, Outcome::LoggedIn));
    }

    #[tokio::test]
    async fn what_belongs_to_the_session_stays_unread() {
        let (mut ends, running) = start(Mode::Passthrough);
        ends.server.write_all(CLEARTEXT).await.unwrap();
        expect(&mut ends.client, CLEARTEXT).await;
        ends.client
            .write_all(&[ANSWER, b"Q\0\0\0\x06;\0"].concat())
            .await
            .unwrap();
        expect(&mut ends.server, ANSWER).await;
        ends.server
            .write_all(&[OK, b"Z\0\0\0\x05I"].concat())
            .await
            .unwrap();
        expect(&mut ends.client, OK).await;
        let (outcome, from_client, from_server) = running.await.unwrap();
        assert!(matches!(outcome, Outcome::LoggedIn));
        assert_eq!(
            (&from_client[..], &from_server[..]),
            (&b"Q\0\0\0\x06;\0"[..], &b"Z\0\0\0\x05I"[..])
        );
    }

    #[tokio::test]
    async fn a_server_that_gives_up_waiting_is_heard() {
        for mode in [Mode::Passthrough, Mode::Password] {
            let (mut ends, running) = start(mode);
            ends.server.write_all(CLEARTEXT).await.unwrap();
            expect(&mut ends.client, CLEARTEXT).await;
            let timeout = b"E\0\0\0\x17SFATAL\0C57014\0Mno\0\0";
            ends.server.write_all(timeout).await.unwrap();
            expect(&mut ends.client, timeout).await;
            assert!(
                matches!(running.await.unwrap().0, Outcome::RefusedByServer),
                "{mode}"
            );
        }
    }

    #[tokio::test]
    async fn a_side_that_leaves_ends_the_login() {
        let (ends, running) = start(Mode::Passthrough);
        drop(ends.server);
        assert!(matches!(running.await.unwrap().0, Outcome::ServerGone));
        let (mut ends, running) = start(Mode::Password);
        ends.server.write_all(CLEARTEXT).await.unwrap();
        expect(&mut ends.client, CLEARTEXT).await;
        drop(ends.client);
        assert!(matches!(running.await.unwrap().0, Outcome::ClientGone));
    }

    #[tokio::test]
    async fn impossible_lengths_end_the_login_with_an_error() {
        for length in [0_i32, 3, -1, 65_536, i32::MAX] {
            let (mut ends, running) = start(Mode::Password);
            ends.server.write_all(CLEARTEXT).await.unwrap();
            expect(&mut ends.client, CLEARTEXT).await;
            let message = [b"p", &length.to_be_bytes()[..]].concat();
            ends.client.write_all(&message).await.unwrap();
            let mut told = Vec::new();
            ends.client.read_to_end(&mut told).await.unwrap();
            assert!(
                told.starts_with(b"E") && told.windows(6).any(|part| part == b"C08P01"),
                "{told:?}"
            );
            match running.await.unwrap().0 {
                Outcome::Refused(AuthError::MessageLength { length: said, .. }) => {
                    assert_eq!(said, i64::from(length));
                }
                other => panic!("{other:?}"),
            }
        }
    }
}
