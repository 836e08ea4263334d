//! The proxy as the server that checks its client: modes `password` and `scram`.

use super::error::{AuthError, display_name};
use super::message::{
    Frame, MAX_SASL_MESSAGE_LENGTH, SaslInitialResponse, authentication_cleartext, authentication_sasl,
    authentication_sasl_continue, authentication_sasl_final, decode_password,
};
use super::scram::{RAW_NONCE_LENGTH, ServerExchange, ServerStep, Verdict};
use super::secret::Secret;
use super::upstream_leg::Credentials;
use super::users::UserRecord;
use crate::wire::frontend::tag::PASSWORD;

/// What the client's connection is made of, as far as passwords care.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientChannel {
    /// TCP in the clear.
    Plain,
    /// A unix socket: as private as TLS, it never leaves the machine.
    UnixSocket,
    /// TLS, with the `tls-server-end-point` hash of the certificate that this client was shown
    /// (`None` where RFC 5929 defines none, e.g. Ed25519).
    Tls {
        /// RFC 5929, section 4.1.
        server_end_point: Option<Vec<u8>>,
    },
}

impl ClientChannel {
    fn may_carry_passwords(&self) -> bool {
        !matches!(self, Self::Plain)
    }

    fn server_end_point(self) -> Option<Vec<u8>> {
        match self {
            Self::Tls { server_end_point } => server_end_point,
            Self::Plain | Self::UnixSocket => None,
        }
    }
}

/// Asks the client who it is. Start with [`ClientAuth::request`], then feed it the client's answers.
#[derive(Debug)]
pub struct ClientAuth(Kind);

#[derive(Debug)]
enum Kind {
    Password,
    Scram(Box<Scram>),
}

#[derive(Debug)]
struct Scram {
    user: Vec<u8>,
    record: UserRecord,
    exchange: ServerExchange,
}

/// What an answer of the client led to.
#[derive(Debug)]
pub enum ClientStep {
    /// Send this and wait for the next answer.
    Ask(Vec<u8>),
    /// The client has done its part. Send this (perhaps nothing) and log in upstream.
    Done(Vec<u8>, Credentials),
}

impl ClientAuth {
    /// Mode `password`: whatever the client sends is for the server to judge.
    ///
    /// # Errors
    /// [`AuthError::PasswordNeedsTls`] where others could read it.
    pub fn password(channel: &ClientChannel) -> Result<Self, AuthError> {
        if channel.may_carry_passwords() {
            Ok(Self(Kind::Password))
        } else {
            Err(AuthError::PasswordNeedsTls)
        }
    }

    /// Mode `scram`. `nonce` must be random and used once.
    #[must_use]
    pub fn scram(
        user: &[u8],
        record: UserRecord,
        channel: ClientChannel,
        nonce: [u8; RAW_NONCE_LENGTH],
    ) -> Self {
        let doomed = record.unusable.is_some();
        let exchange = ServerExchange::new(record.secret.clone(), doomed, channel.server_end_point(), nonce);
        Self(Kind::Scram(Box::new(Scram {
            user: user.to_vec(),
            record,
            exchange,
        })))
    }

    /// The first message for the client.
    #[must_use]
    pub fn request(&self) -> Vec<u8> {
        match &self.0 {
            Kind::Password => authentication_cleartext(),
            Kind::Scram(scram) => authentication_sasl(scram.exchange.mechanisms()),
        }
    }

    /// The next message of the client.
    ///
    /// # Errors
    /// Everything the server would refuse, in its words.
    pub fn answer(&mut self, frame: Frame<'_>) -> Result<ClientStep, AuthError> {
        let expected = match &self.0 {
            Kind::Password => "password",
            Kind::Scram(_) => "SASL",
        };
        if frame.tag != PASSWORD {
            return Err(AuthError::UnexpectedClientMessage {
                expected,
                tag: frame.tag,
            });
        }
        match &mut self.0 {
            Kind::Password => {
                let password = Secret::new(decode_password(frame.body)?);
                Ok(ClientStep::Done(Vec::new(), Credentials::Password(password)))
            }
            Kind::Scram(scram) => scram.answer(frame.body),
        }
    }
}

impl Scram {
    fn answer(&mut self, body: &[u8]) -> Result<ClientStep, AuthError> {
        if body.len() > MAX_SASL_MESSAGE_LENGTH {
            return Err(self.refused(Some("the SASL message is too long".to_owned())));
        }
        let step = if self.exchange.awaits_choice() {
            let response = SaslInitialResponse::decode(body)?;
            self.exchange.choose(response.mechanism, response.data)?
        } else {
            self.exchange.respond(body)?
        };
        match step {
            ServerStep::Challenge(challenge) => Ok(ClientStep::Ask(authentication_sasl_continue(&challenge))),
            ServerStep::Verdict(Verdict::Refused) => Err(self.refused(self.record.unusable.clone())),
            ServerStep::Verdict(Verdict::Authenticated { server_final, keys }) => {
                let credentials = match self.record.password.take() {
                    Some(password) => Credentials::Password(password),
                    None => Credentials::Scram {
                        keys,
                        secret: self.record.secret.clone(),
                    },
                };
                Ok(ClientStep::Done(
                    authentication_sasl_final(&server_final),
                    credentials,
                ))
            }
        }
    }

    fn refused(&self, log_detail: Option<String>) -> AuthError {
        AuthError::PasswordFailed {
            user: display_name(&self.user),
            log_detail,
        }
    }
}
