//! SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, RFC 7677, RFC 5929) in both roles.
//!
//! `keys` derives and compares, `attributes` reads `a=value,...`, `server` and `client` play the roles
//! as `auth-scram.c` and `fe-auth-scram.c` do. The client role of a crate would not do: it logs in only
//! with a password, while a users file copied from `pg_authid` holds keys, and it refuses iteration
//! counts that the server's own library accepts.

mod attributes;
mod client;
mod keys;
mod server;

#[cfg(test)]
mod tests;

pub use keys::{ScramKeys, ScramSecret};

pub(super) use client::{Binding, ClientExchange, ClientSecret};
pub(super) use keys::{DEFAULT_ITERATIONS, SECRET_PREFIX, mock_salt};
pub(super) use server::{ServerExchange, ServerStep, Verdict};

/// `tls-server-end-point` is the only binding type PostgreSQL knows (RFC 5929).
const BINDING_TYPE: &[u8] = b"tls-server-end-point";

/// The GS2 header of an exchange with channel binding.
const BOUND_GS2_HEADER: &[u8] = b"p=tls-server-end-point,,";

/// Random bytes of a nonce before Base64: `SCRAM_RAW_NONCE_LEN` (`common/scram-common.h`).
pub(super) const RAW_NONCE_LENGTH: usize = 18;
