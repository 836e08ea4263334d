//! Why a login ends, and the words the client reads.
//!
//! Where the server has a message for the case, the proxy uses the same message, SQLSTATE and detail
//! (`auth.c`, `auth-scram.c`): drivers and people match on them. Where the proxy itself is the reason,
//! the hint names what to change.

use super::login::Mode;
use crate::wire::response::{Response, Severity};

/// A reason to end a login. `Display` is the M field of the ErrorResponse.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// The client broke the rules of SCRAM; messages of `auth-scram.c`.
    #[error(transparent)]
    Scram(#[from] ScramViolation),

    /// Wrong password, unknown user, or a user without a usable secret: the client must not learn which.
    #[error("password authentication failed for user \"{user}\"")]
    PasswordFailed {
        /// From the startup packet.
        user: String,
        /// For the proxy's log only, as the server's `errdetail_log`.
        log_detail: Option<String>,
    },

    /// `recv_password_packet` in `auth.c`.
    #[error("empty password returned by client")]
    EmptyPassword,

    /// A password message whose text does not end where the message ends.
    #[error("invalid password packet size")]
    InvalidPasswordPacket,

    /// A SASL message that is cut short or too long (`pq_getmsgbytes`, `pq_getmsgend`).
    #[error("{0}")]
    MalformedClientMessage(&'static str),

    /// The client sent something else where its answer was due.
    #[error("expected {expected} response, got message type {tag}")]
    UnexpectedClientMessage {
        /// `password` or `SASL`.
        expected: &'static str,
        /// The message's type byte.
        tag: u8,
    },

    /// Mode `password` on a connection without TLS.
    #[error("the proxy asks for passwords only over TLS")]
    PasswordNeedsTls,

    /// Mode `passthrough`, TLS on both legs, and a client that insists on noticing it.
    #[error("SCRAM channel binding cannot pass through the proxy, which ends TLS here")]
    ChannelBindingThroughProxy,

    /// Mode `passthrough`, and nothing was left of the server's offer.
    #[error("the server offers only SCRAM-SHA-256-PLUS, which cannot pass through the proxy")]
    OnlyChannelBindingOffered,

    /// The server asks for something the proxy cannot answer on behalf of the client.
    #[error("the server asks for {method} authentication, which the proxy cannot answer in mode \"{mode}\"")]
    UnsupportedByMode {
        /// What the server asked for.
        method: String,
        /// The mode of `[auth]`.
        mode: Mode,
    },

    /// `channel_binding=require` upstream and the server does something else.
    #[error("channel binding is required upstream, but the server did not use SCRAM-SHA-256-PLUS")]
    ChannelBindingRequired,

    /// The users file has a SCRAM secret, the server wants the password itself or its MD5.
    #[error("the server asks for {method}, but the users file holds only a SCRAM secret for user \"{user}\"")]
    SecretCannotAnswer {
        /// What the server asked for.
        method: &'static str,
        /// From the startup packet.
        user: String,
    },

    /// The users file has a SCRAM secret, the server another one.
    #[error("the SCRAM secret of user \"{user}\" in the users file is not the server's: {differs} differ")]
    SecretDiffers {
        /// From the startup packet.
        user: String,
        /// `salts` or `iteration counts`.
        differs: &'static str,
    },

    /// More work than the proxy is willing to do for one login.
    #[error("the server asks for {asked} SCRAM iterations, the proxy does at most {limit}")]
    TooManyIterations {
        /// What the server sent.
        asked: u32,
        /// The setting.
        limit: u32,
    },

    /// The server could not prove that it knows the password.
    #[error("the server's SCRAM signature is wrong: it does not know the password of user \"{user}\"")]
    ServerSignature {
        /// From the startup packet.
        user: String,
    },

    /// AuthenticationOk before the server proved itself.
    #[error("the server ended the SCRAM exchange before proving that it knows the password")]
    UnfinishedScram,

    /// A message of the server that does not follow the protocol.
    #[error("malformed authentication message from the server: {0}")]
    MalformedServerMessage(&'static str),

    /// The server sent something that has no place in a login.
    #[error("unexpected message of type {tag} from the server during authentication")]
    UnexpectedServerMessage {
        /// The message's type byte.
        tag: u8,
    },

    /// A message longer than the limit, or one whose length field is impossible.
    #[error("authentication message of {length} bytes, the limit is {limit}")]
    MessageLength {
        /// As announced in the message, the length field included.
        length: i64,
        /// The setting.
        limit: usize,
    },

    /// Mode `scram` without a users file: a configuration error that slipped through.
    #[error("mode \"scram\" needs a users file")]
    NoUsers,
}

/// What `auth-scram.c` and `auth-sasl.c` refuse, in their words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScramViolation {
    /// The text does not follow RFC 5802.
    #[error("malformed SCRAM message")]
    Malformed {
        /// The D field.
        detail: String,
    },
    /// A mechanism that was not offered.
    #[error("client selected an invalid SASL authentication mechanism")]
    InvalidMechanism,
    /// Downgrade: the client thinks that there is no channel binding although it was offered.
    #[error("SCRAM channel binding negotiation error")]
    BindingNegotiation,
    /// `p=` with anything but `tls-server-end-point`; the text is sanitised as the server does it.
    #[error("unsupported SCRAM channel-binding type \"{0}\"")]
    UnsupportedBindingType(String),
    /// The client saw another certificate than ours.
    #[error("SCRAM channel binding check failed")]
    BindingCheckFailed,
    /// The flag at the end is not the flag of the beginning.
    #[error("unexpected SCRAM channel-binding attribute in client-final-message")]
    UnexpectedBindingAttribute,
    /// `a=` in the GS2 header.
    #[error("client uses authorization identity, but it is not supported")]
    AuthorizationIdentity,
    /// `m=` before the user name.
    #[error("client requires an unsupported SCRAM extension")]
    MandatoryExtension,
    /// RFC 5802, `printable`.
    #[error("non-printable characters in SCRAM nonce")]
    UnprintableNonce,
    /// The nonce of the last message is not ours.
    #[error("invalid SCRAM response")]
    NonceMismatch,
}

const PROTOCOL_VIOLATION: &str = "08P01";
const FEATURE_NOT_SUPPORTED: &str = "0A000";
const INVALID_AUTHORIZATION_SPECIFICATION: &str = "28000";
const INVALID_PASSWORD: &str = "28P01";
const CONFIG_FILE_ERROR: &str = "F0000";

impl AuthError {
    /// The C field of the ErrorResponse.
    #[must_use]
    pub fn sqlstate(&self) -> &'static str {
        match self {
            Self::Scram(violation) => violation.sqlstate(),
            Self::PasswordFailed { .. } | Self::EmptyPassword => INVALID_PASSWORD,
            Self::InvalidPasswordPacket
            | Self::MalformedClientMessage(_)
            | Self::UnexpectedClientMessage { .. }
            | Self::UnfinishedScram
            | Self::MalformedServerMessage(_)
            | Self::UnexpectedServerMessage { .. }
            | Self::MessageLength { .. } => PROTOCOL_VIOLATION,
            Self::PasswordNeedsTls
            | Self::ChannelBindingThroughProxy
            | Self::OnlyChannelBindingOffered
            | Self::UnsupportedByMode { .. }
            | Self::ChannelBindingRequired
            | Self::SecretCannotAnswer { .. }
            | Self::SecretDiffers { .. }
            | Self::TooManyIterations { .. }
            | Self::ServerSignature { .. } => INVALID_AUTHORIZATION_SPECIFICATION,
            Self::NoUsers => CONFIG_FILE_ERROR,
        }
    }

    /// The D field, where the server has one.
    #[must_use]
    pub fn detail(&self) -> Option<&str> {
        match self {
            Self::Scram(violation) => violation.detail(),
            Self::ChannelBindingThroughProxy => Some(
                "The client's leg and the server's leg are two TLS connections with two certificates. \
                 The server would refuse this client with \"SCRAM channel binding negotiation error\".",
            ),
            Self::SecretDiffers { .. } => Some(
                "With a SCRAM secret instead of a password the proxy can log in only where the server \
                 holds the very same secret.",
            ),
            _ => None,
        }
    }

    /// The H field: what to change.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::PasswordNeedsTls => Some(
                "Connect with sslmode=require or better, or over the proxy's unix socket, or set \
                 [auth] mode = \"scram\" or \"passthrough\" in the proxy's configuration.",
            ),
            Self::ChannelBindingThroughProxy => Some(
                "Set [auth] mode = \"scram\" or \"password\" in the proxy's configuration, or connect to the \
                 proxy with channel_binding=disable, or with sslmode=disable.",
            ),
            Self::OnlyChannelBindingOffered => {
                Some("Set [auth] mode = \"scram\" or \"password\" in the proxy's configuration.")
            }
            Self::UnsupportedByMode { .. } => Some(
                "Set [auth] mode = \"passthrough\" in the proxy's configuration, or let pg_hba.conf ask this \
                 user for scram-sha-256.",
            ),
            Self::ChannelBindingRequired => Some(
                "Set [auth] mode = \"scram\" or \"password\" in the proxy's configuration and let pg_hba.conf ask \
                 for scram-sha-256 on hostssl lines, or take channel_binding=require out of the upstream URL.",
            ),
            Self::SecretCannotAnswer { .. } => Some(
                "Put the password itself into the users file, or let pg_hba.conf ask this user for scram-sha-256.",
            ),
            Self::SecretDiffers { .. } => {
                Some("Copy rolpassword from pg_authid anew, or put the password itself into the users file.")
            }
            Self::TooManyIterations { .. } => Some("Raise [limits] max_scram_iterations."),
            Self::NoUsers => Some("Set [auth] users_file."),
            _ => None,
        }
    }

    /// What the operator should read in the proxy's log and the client must not see.
    #[must_use]
    pub fn log_detail(&self) -> Option<&str> {
        match self {
            Self::PasswordFailed { log_detail, .. } => log_detail.as_deref(),
            _ => None,
        }
    }
}

impl From<&AuthError> for Response {
    /// What the client is told: FATAL, as every error of the server before ReadyForQuery.
    fn from(error: &AuthError) -> Self {
        Self {
            severity: Severity::Fatal,
            sqlstate: error.sqlstate(),
            message: error.to_string(),
            detail: error.detail().map(str::to_owned),
            hint: error.hint().map(str::to_owned),
        }
    }
}

impl ScramViolation {
    fn sqlstate(&self) -> &'static str {
        match self {
            Self::Malformed { .. }
            | Self::InvalidMechanism
            | Self::UnsupportedBindingType(_)
            | Self::UnexpectedBindingAttribute
            | Self::UnprintableNonce
            | Self::NonceMismatch => PROTOCOL_VIOLATION,
            Self::BindingNegotiation | Self::BindingCheckFailed => INVALID_AUTHORIZATION_SPECIFICATION,
            Self::AuthorizationIdentity | Self::MandatoryExtension => FEATURE_NOT_SUPPORTED,
        }
    }

    fn detail(&self) -> Option<&str> {
        match self {
            Self::Malformed { detail } => Some(detail),
            Self::BindingNegotiation => Some(
                "The client supports SCRAM channel binding but thinks the server does not.  \
                 However, this server does support channel binding.",
            ),
            Self::NonceMismatch => Some("Nonce does not match."),
            Self::InvalidMechanism
            | Self::UnsupportedBindingType(_)
            | Self::BindingCheckFailed
            | Self::UnexpectedBindingAttribute
            | Self::AuthorizationIdentity
            | Self::MandatoryExtension
            | Self::UnprintableNonce => None,
        }
    }
}

/// A user name as an error message shows it: bytes that are no UTF-8 appear as `\xNN`.
pub(super) fn display_name(user: &[u8]) -> String {
    match std::str::from_utf8(user) {
        Ok(name) => name.to_owned(),
        Err(_) => user.escape_ascii().to_string(),
    }
}
