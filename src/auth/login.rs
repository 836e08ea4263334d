//! One login from the server's first message to its last: composes the legs by [`Mode`].
//!
//! ```text
//! startup packet already sent upstream, byte for byte
//!                      |
//!       server: NegotiateProtocolVersion, NoticeResponse  -> client, at once
//!       server: ErrorResponse                             -> client, the end
//!       server: authentication request or AuthenticationOk
//!                      |
//!       passthrough    |  password, scram
//!       relay          |  ask the client first, then answer the server
//!                      |
//!       server: AuthenticationOk                          -> client: logged in
//! ```
//!
//! Where the server trusts the connection and asks for nothing, mode `scram` still checks the client
//! against the users file; in mode `password` there is no one to judge a password, so none is asked for.

use std::fmt;
use std::sync::Arc;

use super::client_leg::{ClientAuth, ClientChannel, ClientStep};
use super::error::AuthError;
use super::message::{AuthenticationRequest, Frame};
use super::passthrough::Passthrough;
use super::scram::RAW_NONCE_LENGTH;
use super::upstream_leg::{ChannelBindingPolicy, UpstreamAuth, UpstreamChannel, UpstreamStep};
use super::users::Users;
use crate::wire::backend::tag::{
    AUTHENTICATION, ERROR_RESPONSE, NEGOTIATE_PROTOCOL_VERSION, NOTICE_RESPONSE,
};

/// Who checks passwords: `[auth] mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// The server, directly.
    #[default]
    Passthrough,
    /// The server, with the password that the proxy asked for.
    Password,
    /// The proxy, with a users file.
    Scram,
}

impl fmt::Display for Mode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Passthrough => "passthrough",
            Self::Password => "password",
            Self::Scram => "scram",
        })
    }
}

/// Random bytes for one login, never to be used again.
#[derive(Clone)]
pub struct Entropy {
    /// For the SCRAM exchange with the client.
    pub client: [u8; RAW_NONCE_LENGTH],
    /// For the SCRAM exchange with the server.
    pub upstream: [u8; RAW_NONCE_LENGTH],
}

impl fmt::Debug for Entropy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Entropy(..)")
    }
}

/// What a login depends on.
#[derive(Debug, Clone)]
pub struct LoginSettings {
    /// `[auth] mode`.
    pub mode: Mode,
    /// `user` of the startup packet, as it came.
    pub user: Vec<u8>,
    /// The client's connection.
    pub client: ClientChannel,
    /// The server's connection.
    pub upstream: UpstreamChannel,
    /// For mode `scram`.
    pub users: Option<Arc<Users>>,
    /// Most SCRAM iterations to do at the server's request;
    /// [`DEFAULT_MAX_SCRAM_ITERATIONS`](super::DEFAULT_MAX_SCRAM_ITERATIONS).
    pub max_scram_iterations: u32,
}

/// What to do after a message.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// Whole messages for the client, perhaps none.
    pub to_client: Vec<u8>,
    /// Whole messages for the server, perhaps none.
    pub to_server: Vec<u8>,
    /// Where the login stands once they are sent.
    pub progress: Progress,
}

/// Where a login stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Progress {
    /// More messages to come.
    #[default]
    Continues,
    /// AuthenticationOk is on its way to the client: from here on the session relays.
    LoggedIn,
    /// The server's ErrorResponse is on its way to the client: close both sides.
    Ended,
}

impl Step {
    pub(super) fn to_client(bytes: Vec<u8>) -> Self {
        Self {
            to_client: bytes,
            ..Self::default()
        }
    }

    pub(super) fn to_server(bytes: Vec<u8>) -> Self {
        Self {
            to_server: bytes,
            ..Self::default()
        }
    }

    pub(super) fn logged_in(ok: Vec<u8>) -> Self {
        Self {
            progress: Progress::LoggedIn,
            ..Self::to_client(ok)
        }
    }

    pub(super) fn ended(error: Vec<u8>) -> Self {
        Self {
            progress: Progress::Ended,
            ..Self::to_client(error)
        }
    }
}

/// A login in progress.
#[derive(Debug)]
pub struct Login {
    settings: LoginSettings,
    entropy: Entropy,
    state: State,
}

#[derive(Debug)]
enum State {
    Passthrough(Passthrough),
    /// The server has not asked for anything yet.
    Start,
    /// The client is being asked; the server waits for the answer to `pending`, an authentication request.
    Client {
        auth: ClientAuth,
        pending: Vec<u8>,
    },
    Upstream(Box<UpstreamAuth>),
}

impl Login {
    /// Nothing is sent before the server's first message.
    #[must_use]
    pub fn new(settings: LoginSettings, entropy: Entropy) -> Self {
        let state = match settings.mode {
            Mode::Passthrough => State::Passthrough(Passthrough::default()),
            Mode::Password | Mode::Scram => State::Start,
        };
        Self {
            settings,
            entropy,
            state,
        }
    }

    /// Whether a message of the client is part of the login now. What it sends at other times (a client
    /// may send its first query at once) belongs to the session and must stay unread.
    #[must_use]
    pub fn awaits_client(&self) -> bool {
        match &self.state {
            State::Passthrough(passthrough) => passthrough.awaits_client(),
            State::Client { .. } => true,
            State::Start | State::Upstream(_) => false,
        }
    }

    /// Whether a message of the server is part of the login now. A server that trusts the connection goes on
    /// to the session at once, while the client has still to prove itself to the proxy.
    #[must_use]
    pub fn awaits_server(&self) -> bool {
        match &self.state {
            State::Client { pending, .. } => {
                AuthenticationRequest::decode(pending) != Ok(AuthenticationRequest::Ok)
            }
            State::Passthrough(_) | State::Start | State::Upstream(_) => true,
        }
    }

    /// Whether [`on_server`](Self::on_server) with this message takes milliseconds or more.
    #[must_use]
    pub fn is_expensive(&self, frame: Frame<'_>) -> bool {
        match &self.state {
            State::Upstream(upstream) if frame.tag == AUTHENTICATION => {
                AuthenticationRequest::decode(frame.body).is_ok_and(|request| upstream.is_expensive(request))
            }
            State::Upstream(_) | State::Passthrough(_) | State::Start | State::Client { .. } => false,
        }
    }

    /// A message of the server, while [`awaits_server`](Self::awaits_server). It may come out of turn: a server
    /// that gives up waiting says so.
    ///
    /// # Errors
    /// The login ends; the client gets the error, the server a closed connection.
    pub fn on_server(&mut self, frame: Frame<'_>) -> Result<Step, AuthError> {
        if let State::Passthrough(passthrough) = &mut self.state {
            // Relayed messages are bound to nothing; to go on would be a quiet downgrade.
            if frame.tag == AUTHENTICATION
                && self.settings.upstream.channel_binding == ChannelBindingPolicy::Require
            {
                return Err(AuthError::ChannelBindingRequired);
            }
            return passthrough.on_server(frame);
        }
        match frame.tag {
            NEGOTIATE_PROTOCOL_VERSION | NOTICE_RESPONSE => Ok(Step::to_client(frame.to_bytes())),
            ERROR_RESPONSE => Ok(Step::ended(frame.to_bytes())),
            AUTHENTICATION => self.on_request(frame),
            tag => Err(AuthError::UnexpectedServerMessage { tag }),
        }
    }

    fn on_request(&mut self, frame: Frame<'_>) -> Result<Step, AuthError> {
        let request = AuthenticationRequest::decode(frame.body)?;
        match &mut self.state {
            State::Passthrough(_) | State::Client { .. } => Err(AuthError::MalformedServerMessage(
                "a request before the last was answered",
            )),
            State::Start if request == AuthenticationRequest::Ok && self.settings.mode == Mode::Password => {
                match self.settings.upstream.channel_binding {
                    ChannelBindingPolicy::Require => Err(AuthError::ChannelBindingRequired),
                    ChannelBindingPolicy::Prefer | ChannelBindingPolicy::Disable => {
                        Ok(Step::logged_in(frame.to_bytes()))
                    }
                }
            }
            State::Start => {
                let auth = self.client_auth()?;
                let question = auth.request();
                self.state = State::Client {
                    auth,
                    pending: frame.body.to_vec(),
                };
                Ok(Step::to_client(question))
            }
            State::Upstream(upstream) => Ok(carry_out(upstream.request(request)?, frame)),
        }
    }

    fn client_auth(&self) -> Result<ClientAuth, AuthError> {
        let channel = self.settings.client.clone();
        match self.settings.mode {
            Mode::Passthrough | Mode::Password => ClientAuth::password(&channel),
            Mode::Scram => {
                let users = self.settings.users.as_ref().ok_or(AuthError::NoUsers)?;
                let user = &self.settings.user;
                Ok(ClientAuth::scram(
                    user,
                    users.lookup(user),
                    channel,
                    self.entropy.client,
                ))
            }
        }
    }

    /// A message of the client, while [`awaits_client`](Self::awaits_client).
    ///
    /// # Errors
    /// The login ends; the client gets the error, the server a closed connection.
    pub fn on_client(&mut self, frame: Frame<'_>) -> Result<Step, AuthError> {
        let (auth, pending) = match &mut self.state {
            State::Passthrough(passthrough) => return passthrough.on_client(frame),
            State::Client { auth, pending } => (auth, pending),
            State::Start | State::Upstream(_) => {
                return Err(AuthError::UnexpectedClientMessage {
                    expected: "no",
                    tag: frame.tag,
                });
            }
        };
        match auth.answer(frame)? {
            ClientStep::Ask(question) => Ok(Step::to_client(question)),
            ClientStep::Done(farewell, credentials) => {
                let pending = std::mem::take(pending);
                let mut upstream = UpstreamAuth::new(
                    &self.settings.user,
                    credentials,
                    self.settings.upstream.clone(),
                    self.settings.mode,
                    self.settings.max_scram_iterations,
                    self.entropy.upstream,
                );
                let step = upstream.request(AuthenticationRequest::decode(&pending)?)?;
                self.state = State::Upstream(Box::new(upstream));
                let mut step = carry_out(
                    step,
                    Frame {
                        tag: AUTHENTICATION,
                        body: &pending,
                    },
                );
                step.to_client.splice(0..0, farewell);
                Ok(step)
            }
        }
    }
}

fn carry_out(step: UpstreamStep, request: Frame<'_>) -> Step {
    match step {
        UpstreamStep::Answer(answer) => Step::to_server(answer),
        UpstreamStep::Wait => Step::default(),
        UpstreamStep::LoggedIn => Step::logged_in(request.to_bytes()),
    }
}

#[cfg(test)]
mod tests;
