//! The proxy as the client that logs in to the server: modes `password` and `scram` (`fe-auth.c`).

use super::error::{AuthError, display_name};
use super::login::Mode;
use super::message::{
    AuthenticationRequest, Mechanisms, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, SaslInitialResponse, password,
    sasl_response,
};
use super::scram::{Binding, ClientExchange, ClientSecret, RAW_NONCE_LENGTH, ScramKeys, ScramSecret};
use super::secret::Secret;

/// SCRAM iterations the proxy is willing to do for one login, unless told otherwise
/// (`limits.max_scram_iterations`). The server's default is 4,096; a million takes about a second, and a hostile server could ask for two thousand times that.
pub const DEFAULT_MAX_SCRAM_ITERATIONS: u32 = 1_000_000;

/// libpq's `channel_binding`, of the upstream URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ChannelBindingPolicy {
    /// Never.
    Disable,
    /// When both sides can.
    #[default]
    Prefer,
    /// Or fail.
    Require,
}

/// What the connection to the server is made of.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UpstreamChannel {
    /// The `tls-server-end-point` hash of the server's certificate; `None` without TLS, and where
    /// RFC 5929 defines none.
    pub server_end_point: Option<Vec<u8>>,
    /// Whether to use it.
    pub channel_binding: ChannelBindingPolicy,
}

/// What the client's login left the proxy with.
#[derive(Debug, Clone)]
pub enum Credentials {
    /// Serves every method.
    Password(Secret),
    /// Serves SCRAM, where the server holds the same secret.
    Scram {
        /// Worked out of the client's proof.
        keys: ScramKeys,
        /// Which the keys are valid for.
        secret: ScramSecret,
    },
}

/// Answers the server's authentication requests.
#[derive(Debug)]
pub struct UpstreamAuth {
    user: Vec<u8>,
    credentials: Credentials,
    channel: UpstreamChannel,
    mode: Mode,
    max_iterations: u32,
    nonce: [u8; RAW_NONCE_LENGTH],
    exchange: Option<ClientExchange>,
}

/// What a request of the server led to.
#[derive(Debug, PartialEq, Eq)]
pub enum UpstreamStep {
    /// Send this.
    Answer(Vec<u8>),
    /// Nothing to send, the server goes on.
    Wait,
    /// AuthenticationOk: logged in.
    LoggedIn,
}

impl UpstreamAuth {
    /// `user` as in the startup packet; `nonce` must be random and used once; `mode` is for error messages.
    #[must_use]
    pub fn new(
        user: &[u8],
        credentials: Credentials,
        channel: UpstreamChannel,
        mode: Mode,
        max_iterations: u32,
        nonce: [u8; RAW_NONCE_LENGTH],
    ) -> Self {
        Self {
            user: user.to_vec(),
            credentials,
            channel,
            mode,
            max_iterations,
            nonce,
            exchange: None,
        }
    }

    /// Whether answering `request` takes the time of a key derivation: milliseconds, or more where the
    /// server stores many iterations. The I/O code does that elsewhere than among its connections.
    #[must_use]
    pub fn is_expensive(&self, request: AuthenticationRequest<'_>) -> bool {
        matches!(
            (request, &self.credentials),
            (AuthenticationRequest::SaslContinue(_), Credentials::Password(_))
        )
    }

    /// The next request of the server.
    ///
    /// # Errors
    /// When there is no answer, or the server does not keep to the protocol.
    pub fn request(&mut self, request: AuthenticationRequest<'_>) -> Result<UpstreamStep, AuthError> {
        if self.channel.channel_binding == ChannelBindingPolicy::Require {
            self.insist_on_binding(request)?;
        }
        match request {
            AuthenticationRequest::Ok => match &self.exchange {
                Some(exchange) if !exchange.is_finished() => Err(AuthError::UnfinishedScram),
                Some(_) | None => Ok(UpstreamStep::LoggedIn),
            },
            AuthenticationRequest::CleartextPassword => {
                let text = self.password_for("the password itself")?;
                Ok(UpstreamStep::Answer(password(text)))
            }
            AuthenticationRequest::Md5Password { salt } => {
                let text = self.password_for("an MD5 hash of the password")?;
                let hash = postgres_protocol::authentication::md5_hash(&self.user, text, salt);
                Ok(UpstreamStep::Answer(password(hash.as_bytes())))
            }
            AuthenticationRequest::Sasl(mechanisms) => self.start_scram(request, mechanisms),
            AuthenticationRequest::SaslContinue(challenge) => {
                let last = self.exchange()?.respond(challenge)?;
                Ok(UpstreamStep::Answer(sasl_response(&last)))
            }
            AuthenticationRequest::SaslFinal(verdict) => {
                self.exchange()?.finish(verdict)?;
                Ok(UpstreamStep::Wait)
            }
            AuthenticationRequest::Gss
            | AuthenticationRequest::GssContinue
            | AuthenticationRequest::Sspi
            | AuthenticationRequest::Other(_) => Err(self.unsupported(request)),
        }
    }

    fn start_scram(
        &mut self,
        request: AuthenticationRequest<'_>,
        mechanisms: Mechanisms<'_>,
    ) -> Result<UpstreamStep, AuthError> {
        if self.exchange.is_some() {
            return Err(AuthError::MalformedServerMessage(
                "a second offer of SASL mechanisms",
            ));
        }
        let binding = self
            .binding(mechanisms)
            .ok_or_else(|| self.unsupported(request))?;
        let secret = match &self.credentials {
            Credentials::Password(password) => ClientSecret::Password(password.clone()),
            Credentials::Scram { keys, secret } => ClientSecret::Keys {
                keys: keys.clone(),
                secret: secret.clone(),
            },
        };
        let exchange = ClientExchange::new(&self.user, secret, binding, self.max_iterations, self.nonce);
        let first = SaslInitialResponse::encode(exchange.mechanism(), &exchange.first());
        self.exchange = Some(exchange);
        Ok(UpstreamStep::Answer(first))
    }

    /// `pg_SASL_init`: PLUS where both can; `y` where only we can, so that a server whose offer was cut
    /// short on the way notices.
    fn binding(&self, mechanisms: Mechanisms<'_>) -> Option<Binding> {
        let wanted = self.channel.channel_binding != ChannelBindingPolicy::Disable;
        let hash = self.channel.server_end_point.as_ref().filter(|_| wanted);
        match (
            mechanisms.offers(SCRAM_SHA_256_PLUS),
            mechanisms.offers(SCRAM_SHA_256),
            hash,
        ) {
            (true, _, Some(hash)) => Some(Binding::ServerEndPoint(hash.clone())),
            (false, true, Some(_)) => Some(Binding::NotOffered),
            (_, true, None) => Some(Binding::Unsupported),
            (_, false, _) => None,
        }
    }

    /// `check_expected_areq` with `channel_binding=require`: nothing but a finished SCRAM-SHA-256-PLUS will do.
    fn insist_on_binding(&self, request: AuthenticationRequest<'_>) -> Result<(), AuthError> {
        let fine = match request {
            AuthenticationRequest::Sasl(mechanisms) => {
                self.channel.server_end_point.is_some() && mechanisms.offers(SCRAM_SHA_256_PLUS)
            }
            AuthenticationRequest::SaslContinue(_) | AuthenticationRequest::SaslFinal(_) => true,
            AuthenticationRequest::Ok => self.exchange.as_ref().is_some_and(ClientExchange::is_bound),
            AuthenticationRequest::CleartextPassword
            | AuthenticationRequest::Md5Password { .. }
            | AuthenticationRequest::Gss
            | AuthenticationRequest::GssContinue
            | AuthenticationRequest::Sspi
            | AuthenticationRequest::Other(_) => false,
        };
        if fine {
            Ok(())
        } else {
            Err(AuthError::ChannelBindingRequired)
        }
    }

    fn password_for(&self, method: &'static str) -> Result<&[u8], AuthError> {
        match &self.credentials {
            Credentials::Password(password) => Ok(password.expose()),
            Credentials::Scram { .. } => Err(AuthError::SecretCannotAnswer {
                method,
                user: display_name(&self.user),
            }),
        }
    }

    fn exchange(&mut self) -> Result<&mut ClientExchange, AuthError> {
        self.exchange.as_mut().ok_or(AuthError::MalformedServerMessage(
            "a SASL message before the offer",
        ))
    }

    fn unsupported(&self, request: AuthenticationRequest<'_>) -> AuthError {
        AuthError::UnsupportedByMode {
            method: request.name(),
            mode: self.mode,
        }
    }
}
