//! TLS on both legs: towards the server as libpq does it, towards clients as the server does it.
//!
//! | module | job |
//! |---|---|
//! | [`upstream`] | from the URL to something to connect with |
//! | [`client_side`] | from certificate and key to something to accept with |
//! | `verifier` | what rustls asks about the peer's certificate |
//! | [`chain`], `trust`, `signature` | does a trusted authority stand behind it? |
//! | [`host_name`] | is it for the host that was asked for? |
//! | [`certificate`] | what a certificate says |
//! | [`channel_binding`] | its hash, for SCRAM-SHA-256-PLUS |
//! | `files` | reading them, with errors a person can act on |
//! | [`generate`] | making some on the spot |
//!
//! rustls with ring does the cryptography and the protocol; the judgement of certificates is our own, because libpq's differs
//! from rustls' in both directions (see [`chain`]). Not supported, and said so where it is asked for: revocation lists,
//! encrypted keys, TLS below 1.2.

pub mod certificate;
pub mod chain;
pub mod channel_binding;
pub mod client_side;
mod files;
pub mod generate;
pub mod host_name;
mod signature;
mod trust;
pub mod upstream;
mod verifier;

pub use files::TlsError;
pub use verifier::{CertificateRefused, refusal};

/// What PostgreSQL calls itself in ALPN (`PG_ALPN_PROTOCOL` in `pqcomm.h`, since version 17).
pub(crate) const ALPN_PROTOCOL: &[u8] = b"postgresql";
