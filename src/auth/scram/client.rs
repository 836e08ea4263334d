//! The client's role in SCRAM: the proxy logs in upstream (`fe-auth-scram.c`).

use std::num::NonZeroU32;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use subtle::ConstantTimeEq;

use super::keys::{ScramKeys, ScramSecret, decode_key, sign};
use super::{BOUND_GS2_HEADER, RAW_NONCE_LENGTH};
use crate::auth::error::{AuthError, display_name};
use crate::auth::message::{SCRAM_SHA_256, SCRAM_SHA_256_PLUS};
use crate::auth::secret::Secret;

/// What the proxy has to log in with.
#[derive(Debug, Clone)]
pub(in crate::auth) enum ClientSecret {
    /// Serves every salt.
    Password(Secret),
    /// Keys for the salt and iteration count of one secret.
    Keys { keys: ScramKeys, secret: ScramSecret },
}

/// How the exchange is bound to the TLS connection to the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::auth) enum Binding {
    /// SCRAM-SHA-256-PLUS with the hash of the server's certificate.
    ServerEndPoint(Vec<u8>),
    /// We could, the server did not offer it: it will notice if somebody took the offer away.
    NotOffered,
    /// No TLS, or not wanted.
    Unsupported,
}

impl Binding {
    fn gs2_header(&self) -> &'static [u8] {
        match self {
            Self::ServerEndPoint(_) => BOUND_GS2_HEADER,
            Self::NotOffered => b"y,,",
            Self::Unsupported => b"n,,",
        }
    }

    fn input(&self) -> Vec<u8> {
        match self {
            Self::ServerEndPoint(hash) => [self.gs2_header(), hash].concat(),
            Self::NotOffered | Self::Unsupported => self.gs2_header().to_vec(),
        }
    }
}

/// One login upstream.
#[derive(Debug)]
pub(in crate::auth) struct ClientExchange {
    user: Vec<u8>,
    secret: ClientSecret,
    binding: Binding,
    max_iterations: u32,
    client_nonce: String,
    state: State,
}

#[derive(Debug)]
enum State {
    FirstSent,
    LastSent { server_signature: [u8; 32] },
    Finished,
}

impl ClientExchange {
    /// `user` is for error messages only; `nonce` must be random and used once.
    pub fn new(
        user: &[u8],
        secret: ClientSecret,
        binding: Binding,
        max_iterations: u32,
        nonce: [u8; RAW_NONCE_LENGTH],
    ) -> Self {
        Self {
            user: user.to_vec(),
            secret,
            binding,
            max_iterations,
            client_nonce: STANDARD.encode(nonce),
            state: State::FirstSent,
        }
    }

    /// For the SASLInitialResponse.
    pub fn mechanism(&self) -> &'static [u8] {
        match self.binding {
            Binding::ServerEndPoint(_) => SCRAM_SHA_256_PLUS,
            Binding::NotOffered | Binding::Unsupported => SCRAM_SHA_256,
        }
    }

    /// client-first-message.
    pub fn first(&self) -> Vec<u8> {
        [self.binding.gs2_header(), self.first_bare().as_bytes()].concat()
    }

    /// The user name is empty, as libpq's: the server takes the startup packet's.
    fn first_bare(&self) -> String {
        format!("n=,r={}", self.client_nonce)
    }

    /// Whether the exchange proves that both ends see the same TLS connection.
    pub fn is_bound(&self) -> bool {
        matches!(self.binding, Binding::ServerEndPoint(_))
    }

    /// Whether the server's signature was checked, so that an AuthenticationOk may be believed.
    pub fn is_finished(&self) -> bool {
        matches!(self.state, State::Finished)
    }

    /// server-first-message -> client-final-message. Expensive with a password: `iterations` rounds.
    pub fn respond(&mut self, server_first: &[u8]) -> Result<Vec<u8>, AuthError> {
        if !matches!(self.state, State::FirstSent) {
            return Err(AuthError::MalformedServerMessage("a SCRAM challenge out of turn"));
        }
        let challenge = Challenge::parse(server_first)?;
        if challenge
            .nonce
            .strip_prefix(self.client_nonce.as_bytes())
            .is_none_or(<[u8]>::is_empty)
        {
            return Err(AuthError::MalformedServerMessage("the SCRAM nonce is not ours"));
        }
        if challenge.iterations.get() > self.max_iterations {
            return Err(AuthError::TooManyIterations {
                asked: challenge.iterations.get(),
                limit: self.max_iterations,
            });
        }
        let keys = self.keys_for(&challenge)?;
        let binding = STANDARD.encode(self.binding.input());
        let mut last = [b"c=", binding.as_bytes(), b",r=", challenge.nonce].concat();
        let auth_message = [self.first_bare().as_bytes(), server_first, &last].join(&b","[..]);
        last.extend_from_slice(b",p=");
        last.extend_from_slice(STANDARD.encode(keys.prove(&auth_message)).as_bytes());
        self.state = State::LastSent {
            server_signature: sign(&keys.server_key, &auth_message),
        };
        Ok(last)
    }

    /// server-final-message: the server's own proof.
    pub fn finish(&mut self, server_final: &[u8]) -> Result<(), AuthError> {
        let State::LastSent { server_signature } = &self.state else {
            return Err(AuthError::MalformedServerMessage("a SCRAM verdict out of turn"));
        };
        let signature = server_final
            .strip_prefix(b"v=")
            .map(|rest| &rest[..memchr::memchr(b',', rest).unwrap_or(rest.len())])
            .and_then(decode_key)
            .ok_or(AuthError::MalformedServerMessage("no SCRAM server signature"))?;
        if !bool::from(signature.ct_eq(server_signature)) {
            return Err(AuthError::ServerSignature {
                user: display_name(&self.user),
            });
        }
        self.state = State::Finished;
        Ok(())
    }

    fn keys_for(&self, challenge: &Challenge<'_>) -> Result<ScramKeys, AuthError> {
        let (keys, secret) = match &self.secret {
            ClientSecret::Password(password) => {
                return Ok(ScramKeys::derive(
                    password.expose(),
                    &challenge.salt,
                    challenge.iterations,
                ));
            }
            ClientSecret::Keys { keys, secret } => (keys, secret),
        };
        let differs = match (
            secret.salt == challenge.salt,
            secret.iterations == challenge.iterations,
        ) {
            (true, true) => return Ok(keys.clone()),
            (true, false) => "the iteration counts",
            (false, true) => "the salts",
            (false, false) => "the salts and the iteration counts",
        };
        Err(AuthError::SecretDiffers {
            user: display_name(&self.user),
            differs,
        })
    }
}

/// server-first-message.
struct Challenge<'a> {
    nonce: &'a [u8],
    salt: Vec<u8>,
    iterations: NonZeroU32,
}

impl<'a> Challenge<'a> {
    /// `r=nonce,s=salt,i=iterations`, perhaps with extensions behind.
    fn parse(text: &'a [u8]) -> Result<Self, AuthError> {
        let mut parts = text.split(|byte| *byte == b',');
        let mut value = |prefix: &[u8]| parts.next().and_then(|part| part.strip_prefix(prefix));
        let (Some(nonce), Some(salt), Some(iterations)) = (value(b"r="), value(b"s="), value(b"i=")) else {
            return Err(AuthError::MalformedServerMessage(
                "no nonce, salt and iteration count",
            ));
        };
        let salt = STANDARD
            .decode(salt)
            .map_err(|_| AuthError::MalformedServerMessage("the SCRAM salt is no Base64"))?;
        let iterations = std::str::from_utf8(iterations)
            .ok()
            .and_then(|number| number.parse().ok())
            .ok_or(AuthError::MalformedServerMessage(
                "the SCRAM iteration count is no positive number",
            ))?;
        Ok(Self {
            nonce,
            salt,
            iterations,
        })
    }
}
