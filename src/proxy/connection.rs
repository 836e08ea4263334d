//! One connection, from its first byte to its line in the log.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use tokio::io::AsyncWriteExt;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::event_loop::EventLoops;
use super::generation::Generation;
use super::login::{self, Leg, Outcome};
use super::opening::{OpeningError, Request, Terms, open};
use super::phase::{LAST_WORDS, Watcher};
use super::pipe::pipe;
use super::polled::Detached;
use super::relay::{End, Relay, Side, Traffic};
use super::stream::{Socket, Stream};
use super::workers::Served;
use super::{Shared, cancel};
use crate::auth::{ClientChannel, Login, LoginSettings, UpstreamChannel};
use crate::context::{Context, startup_value, without_startup_value};
use crate::session::{Client, Counters, Policy, Session};
use crate::sql::VARIABLE;
use crate::wire::encoding::ClientEncoding;
use crate::wire::response::{Response, Severity, sqlstate};
use crate::wire::startup::{self, StartupMessage, StartupPacket};

/// How many sessions there are. Connections that have not sent their startup packet do not count: whoever opens
/// thousands of them and says nothing must not take the places of those who speak.
#[derive(Debug, Default)]
pub(super) struct Count {
    connections: AtomicUsize,
    sessions: AtomicUsize,
    left: Notify,
}

/// Counts one for as long as it lives.
struct Counted<'a>(&'a AtomicUsize, Option<&'a Notify>);

impl<'a> Counted<'a> {
    fn new(counter: &'a AtomicUsize, left: Option<&'a Notify>) -> (Self, usize) {
        let before = counter.fetch_add(1, Ordering::Relaxed);
        (Self(counter, left), before)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
        if let Some(left) = self.1 {
            left.notify_one();
        }
    }
}

impl Count {
    /// Connections at this moment.
    pub fn current(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Returns once there are none.
    pub async fn none_left(&self) {
        while self.current() > 0 {
            self.left.notified().await;
        }
    }
}

/// Serves one connection to its end, and counts it until then.
pub(super) async fn serve(accepted: Detached, address: Option<IpAddr>, shared: Arc<Shared>, served: Served) {
    let _counted = Counted::new(&shared.connections.connections, Some(&shared.connections.left));
    let generation = shared.generation.load_full();
    let deadline = Instant::now() + generation.config.limits.handshake_timeout;
    let mut watcher = shared.phases.watch();
    // What is over when the session begins, and what nobody needs more than once in a while, is boxed here and below: a
    // task is as large as its largest future for as long as it lives, and most of them are idle sessions.
    tokio::select! {
        biased;
        opened = timeout(until(deadline), Box::pin(begin(accepted, &generation))) => match opened {
            Ok(Ok((stream, request))) => {
                let connection = Connection {
                    generation,
                    shared: &shared,
                    watcher: &mut watcher,
                    event_loops: served.event_loops(),
                    address,
                    deadline,
                };
                connection.answer(stream, request).await;
            }
            Ok(Err(error)) => log_opening(address, &error),
            Err(_) => tracing::info!(client = %Shown(address), "no startup packet within handshake_timeout"),
        },
        () = watcher.draining() => {}
    }
}

fn until(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

async fn begin(accepted: Detached, generation: &Generation) -> Result<(Stream, Request), OpeningError> {
    let socket = Socket::register(accepted)?;
    socket.set_options(&generation.keepalive)?;
    let terms = Terms {
        tls: generation.client_tls.as_ref(),
        mode: generation.config.tls.mode,
        max_packet: generation.config.limits.max_startup_packet_bytes,
    };
    open(socket, terms).await
}

/// A health check or a port scan says nothing and leaves; that is not worth a line at info.
fn log_opening(address: Option<IpAddr>, error: &OpeningError) {
    match error {
        OpeningError::Closed | OpeningError::Io(_) => tracing::debug!(client = %Shown(address), "{error}"),
        OpeningError::Length(_)
        | OpeningError::CancelKey(_)
        | OpeningError::Tls(_)
        | OpeningError::NoCertificate => {
            tracing::info!(client = %Shown(address), "connection refused: {error}");
        }
    }
}

/// An address, or what stands for a unix socket.
struct Shown(Option<IpAddr>);

impl std::fmt::Display for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(address) => address.fmt(f),
            None => f.write_str("[local]"),
        }
    }
}

/// A connection whose first packet is there.
struct Connection<'a> {
    generation: Arc<Generation>,
    shared: &'a Shared,
    watcher: &'a mut Watcher,
    event_loops: &'a EventLoops,
    address: Option<IpAddr>,
    /// When the handshake must be over.
    deadline: Instant,
}

impl Connection<'_> {
    async fn answer(self, stream: Stream, request: Request) {
        // In the words of the server, where it has any.
        let response = match request {
            Request::Session(packet) => return self.session(stream, packet).await,
            Request::Cancel(packet) => {
                let passed = Box::pin(cancel::pass_on(stream, &packet, &self.generation.upstream));
                _ = timeout(self.generation.config.limits.handshake_timeout, passed).await;
                return;
            }
            Request::OtherProtocol(packet) => {
                let refused = Box::pin(self.let_server_refuse(stream, &packet));
                _ = timeout(until(self.deadline), refused).await;
                return;
            }
            Request::Malformed => Response::new(
                Severity::Fatal,
                sqlstate::PROTOCOL_VIOLATION,
                "invalid startup packet layout: expected terminator as last byte",
            ),
            Request::EncryptionTwice(code) => Response::new(
                Severity::Fatal,
                sqlstate::FEATURE_NOT_SUPPORTED,
                format!("unsupported frontend protocol {code}: server supports 3.0 to 3.2"),
            ),
            Request::Unencrypted => Response::new(
                Severity::Fatal,
                sqlstate::INVALID_AUTHORIZATION,
                "this proxy takes no connections in the clear",
            )
            .hint("Connect with sslmode=require or stronger; the operator wrote [tls] mode = \"require\"."),
        };
        Box::pin(refuse(stream, &response)).await;
    }

    /// The client reads the server's own words, and what it says itself goes nowhere: a server that, against all
    /// reason, took such a packet would else give it a session that nobody looks into.
    async fn let_server_refuse(&self, mut client: Stream, packet: &[u8]) {
        let mut server = match self.generation.upstream.connect().await {
            Ok(server) => server.stream,
            Err(error) => {
                let response = Response::new(Severity::Fatal, error.sqlstate(), error.to_string());
                return refuse(client, &response).await;
            }
        };
        let refused = async {
            server.write_all(packet).await?;
            server.shutdown().await?;
            tokio::io::copy(&mut server, &mut client).await?;
            client.shutdown().await
        };
        if let Err(error) = refused.await {
            tracing::debug!(client = %Shown(self.address), %error, "a side left while the server refused");
        }
    }

    async fn session(self, client: Stream, packet: Vec<u8>) {
        let started = Instant::now();
        let (_counted, others) = Counted::new(&self.shared.connections.sessions, None);
        let begun = Box::pin(self.begin_session(client, packet, others));
        if let Some(begun) = begun.await {
            let (address, who) = (self.address, begun.who.clone());
            if let Some(outcome) = self.relay(begun).await {
                log_session(address, &who, started, &outcome);
            }
        }
    }

    /// Reads who the client is and what it wants, and logs in, if there is room beside the others; `None` when that
    /// failed and the client knows why.
    async fn begin_session(&self, client: Stream, packet: Vec<u8>, others: usize) -> Option<Begun> {
        let Ok(StartupPacket::Startup(message)) = startup::parse(&packet) else {
            return None;
        };
        let max = self.generation.config.limits.max_connections;
        if others >= max {
            let response = Response::new(
                Severity::Fatal,
                sqlstate::TOO_MANY_CONNECTIONS,
                "sorry, too many clients already",
            )
            .hint(format!("The proxy's limit is max_connections = {max}."));
            refuse(client, &response).await;
            return None;
        }
        let who = describe(&message, self.address);
        let context = match startup_context(&message, &self.generation.policy) {
            Ok(context) => context,
            Err(response) => {
                refuse(client, &response).await;
                return None;
            }
        };
        let packet = if self.generation.policy.is_pooled {
            Cow::Owned(without_context(&message))
        } else {
            Cow::Borrowed(&*packet)
        };
        let logged_in = self.log_in(client, &message, &packet);
        let Ok(logged_in) = timeout(until(self.deadline), logged_in).await else {
            tracing::info!(client = %Shown(self.address), user = who.user, "no login within handshake_timeout");
            return None;
        };
        logged_in.map(|(client, server)| Begun {
            client,
            server,
            is_replication: message.asks_for_replication(),
            who,
            context,
        })
    }

    /// Connects to the server and logs in there; `None` when that failed and the client knows why.
    async fn log_in(
        &self,
        client: Stream,
        message: &StartupMessage<'_>,
        packet: &[u8],
    ) -> Option<(Side, Side)> {
        let mut server = match self.generation.upstream.connect().await {
            Ok(server) => server.stream,
            Err(error) => {
                tracing::warn!(client = %Shown(self.address), %error, "no connection to the server");
                refuse(
                    client,
                    &Response::new(Severity::Fatal, error.sqlstate(), error.to_string()),
                )
                .await;
                return None;
            }
        };
        let mut client = client;
        let login = Login::new(
            self.login_settings(&client, &server, message),
            login::entropy().ok()?,
        );
        let (mut from_client, mut from_server) = (BytesMut::new(), BytesMut::new());
        let done = async {
            server.write_all(packet).await?;
            server.flush().await?;
            let client = Leg {
                stream: &mut client,
                buffer: &mut from_client,
            };
            let server = Leg {
                stream: &mut server,
                buffer: &mut from_server,
            };
            login::log_in(
                client,
                server,
                login,
                self.generation.config.limits.max_auth_message_bytes,
            )
            .await
        };
        match done.await {
            Ok(Outcome::LoggedIn) => {
                return Some((Side::new(client, from_client), Side::new(server, from_server)));
            }
            Ok(Outcome::RefusedByServer | Outcome::ClientGone | Outcome::ServerGone) => {}
            Ok(Outcome::Refused(error)) => {
                let detail = error.log_detail().unwrap_or_default();
                tracing::info!(client = %Shown(self.address), %error, detail, "login refused");
            }
            Err(error) => {
                tracing::debug!(client = %Shown(self.address), %error, "a side left during the login")
            }
        }
        _ = client.shutdown().await;
        None
    }

    fn login_settings(
        &self,
        client: &Stream,
        server: &Stream,
        message: &StartupMessage<'_>,
    ) -> LoginSettings {
        let tls = self.generation.client_tls.as_ref();
        let client = match client {
            Stream::Plain(Socket::Unix(_)) => ClientChannel::UnixSocket,
            Stream::Plain(Socket::Tcp(_) | Socket::Polled(_)) => ClientChannel::Plain,
            Stream::Tls(_) => ClientChannel::Tls {
                server_end_point: tls.and_then(|tls| tls.end_point_hash()).map(<[u8]>::to_vec),
            },
        };
        LoginSettings {
            mode: self.generation.auth_mode(),
            user: message.parameter("user").unwrap_or_default().to_vec(),
            client,
            upstream: UpstreamChannel {
                server_end_point: server.peer_certificate_hash().ok().flatten(),
                channel_binding: self.generation.channel_binding,
            },
            users: self.generation.users.clone(),
            max_scram_iterations: self.generation.config.limits.max_scram_iterations,
        }
    }

    /// `None` when the proxy's end left nothing to tell.
    async fn relay(self, begun: Begun) -> Option<(End, Traffic, Counters)> {
        if begun.is_replication {
            let piped = Box::pin(pipe(begun.client, begun.server, self.watcher));
            let (end, traffic) = piped.await;
            return Some((end, traffic, Counters::default()));
        }
        let session = Session::new(
            Arc::clone(&self.generation.policy),
            Arc::clone(&self.generation.verdicts),
            begun.who,
            begun.context,
        );
        let buffer = self.generation.config.limits.buffer_bytes;
        let relay = Box::new(Relay::new(begun.client, begun.server, session, buffer));
        match self.event_loops.relay(relay).await {
            Ok(ended) => {
                let (relay, end) = ended?;
                let (traffic, counters) = Box::pin(relay.farewell(&end)).await;
                Some((end, traffic, counters))
            }
            Err(error) => {
                tracing::error!(client = %Shown(self.address), %error, "no file descriptor for a logged-in session");
                None
            }
        }
    }
}

/// A session that is logged in on both sides.
struct Begun {
    client: Side,
    server: Side,
    is_replication: bool,
    who: Client,
    /// What it starts with.
    context: Option<Arc<Context>>,
}

/// Tells the client why, and closes. It may be gone already.
async fn refuse(mut client: Stream, response: &Response) {
    let bytes = response.to_bytes();
    let told = async {
        client.write_all(&bytes).await?;
        client.shutdown().await
    };
    _ = timeout(LAST_WORDS, told).await;
}

fn describe(message: &StartupMessage<'_>, address: Option<IpAddr>) -> Client {
    let text = |name| {
        message
            .parameter(name)
            .map(|value| ClientEncoding::default().decode(value).into_owned())
    };
    let user = text("user").unwrap_or_default();
    Client {
        database: text("database")
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| user.clone()),
        user,
        application_name: text("application_name").unwrap_or_default(),
        address,
    }
}

fn startup_context(message: &StartupMessage<'_>, policy: &Policy) -> Result<Option<Arc<Context>>, Response> {
    let Some(value) = startup_value(message) else {
        return Ok(None);
    };
    let text = ClientEncoding::default().decode(&value).into_owned();
    match Context::parse(&text, policy.rules.max_context_bytes) {
        Ok(context) => Ok(context.map(Arc::new)),
        Err(why) => {
            let message = format!("invalid value for parameter \"{VARIABLE}\": {why}");
            let response = Response::new(Severity::Fatal, sqlstate::INVALID_PARAMETER_VALUE, message);
            Err(response.hint("Start the session with a JSON object as its value, or without it."))
        }
    }
}

/// The packet for a transaction pooler, which refuses parameters it does not know and whose copy means nothing.
fn without_context(message: &StartupMessage<'_>) -> Vec<u8> {
    let kept = without_startup_value(message);
    startup::startup_packet(
        message.version,
        kept.iter().map(|(name, value)| (*name, &**value)),
    )
}

fn log_session(address: Option<IpAddr>, who: &Client, started: Instant, outcome: &(End, Traffic, Counters)) {
    let (end, traffic, counters) = outcome;
    tracing::info!(
        client = %Shown(address),
        user = who.user,
        database = who.database,
        duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        bytes_from_client = traffic.from_client,
        bytes_from_server = traffic.from_server,
        writes_contextualised = counters.contextualised,
        warnings = counters.warnings,
        refusals = counters.refusals,
        "connection ended: {end}",
    );
}
