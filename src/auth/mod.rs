//! Who logs in, and how: the pure half of authentication.
//!
//! A proxy between a client and a server sits in the middle of a conversation that was made to resist
//! exactly that. Three modes, three answers:
//!
//! | [`Mode`] | client proves itself to | how the proxy logs in upstream |
//! |---|---|---|
//! | `passthrough` | the server; the proxy only relays | not at all |
//! | `password` | the server, with the password that the proxy asked for over TLS | cleartext, MD5, SCRAM, SCRAM-PLUS |
//! | `scram` | the proxy, by SCRAM against a users file | the same, or with the client's own SCRAM key |
//!
//! The parts, each a state machine that gets decoded messages and says what to send where:
//!
//! ```text
//!   client  <--->  client_leg (password, SCRAM server role)
//!                      | Credentials
//!   server  <--->  upstream_leg (cleartext, MD5, SCRAM client role)
//!
//!   client  <--->  passthrough  <--->  server
//!
//!   login: picks and composes them; the only one that the I/O code talks to
//! ```
//!
//! Randomness comes in as an argument ([`Entropy`]), files are read by others: nothing here does I/O.
//!
//! *Rejected:* relaying SCRAM-SHA-256-PLUS. Its proof covers the certificate that the client saw; the
//! server compares it with its own. Where the proxy ends TLS they differ unless both hold the same key.

mod client_leg;
mod error;
mod login;
mod message;
mod passthrough;
mod scram;
mod secret;
mod upstream_leg;
mod users;

pub use client_leg::{ClientAuth, ClientChannel, ClientStep};
pub use error::{AuthError, ScramViolation};
pub use login::{Entropy, Login, LoginSettings, Mode, Progress, Step};
pub use message::{AuthenticationRequest, Frame, MAX_AUTHENTICATION_MESSAGE_LENGTH};
pub use passthrough::Passthrough;
pub use scram::{ScramKeys, ScramSecret};
pub use secret::Secret;
pub use upstream_leg::{
    ChannelBindingPolicy, Credentials, DEFAULT_MAX_SCRAM_ITERATIONS, UpstreamAuth, UpstreamChannel,
    UpstreamStep,
};
pub use users::{MockNonce, UserRecord, Users, UsersError};
