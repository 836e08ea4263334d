//! Why a chain of certificates is not trusted, for a person to read.

use crate::tls::certificate::{CertificateTime, MalformedCertificate};

/// Why a chain is not trusted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// A certificate that cannot be read.
    #[error(transparent)]
    Malformed(#[from] MalformedCertificate),
    /// Too late.
    #[error("the certificate of '{subject}' expired: it was valid until {not_after}; have it renewed")]
    Expired {
        /// Whose certificate.
        subject: String,
        /// Its last second.
        not_after: CertificateTime,
    },
    /// Too early.
    #[error(
        "the certificate of '{subject}' is not valid before {not_before}; check the clocks of both machines"
    )]
    NotYetValid {
        /// Whose certificate.
        subject: String,
        /// Its first second.
        not_before: CertificateTime,
    },
    /// The chain ends at somebody unknown.
    #[error(
        "the certificate of '{subject}' was issued by '{issuer}', which is not trusted: put that authority's \
         certificate (and those above it) into the file of root certificates, or let the peer send the ones between"
    )]
    UnknownIssuer {
        /// Whose certificate.
        subject: String,
        /// Who signed it.
        issuer: String,
    },
    /// It signs itself, and is not trusted.
    #[error(
        "the certificate of '{subject}' signs itself and is not among the trusted ones: if it is the right one, put \
         it into the file of root certificates"
    )]
    SelfSigned {
        /// Whose certificate.
        subject: String,
    },
    /// Somebody of that name, but not with that key.
    #[error(
        "the certificate of '{subject}' was not signed by the '{issuer}' that is known here: another authority has \
         the same name, or the file of root certificates is out of date"
    )]
    WrongSignature {
        /// Whose certificate.
        subject: String,
        /// The name of its issuer.
        issuer: String,
    },
    /// Signed in a way that does not count.
    #[error(
        "the certificate of '{subject}' is signed with an algorithm that is not accepted ({algorithm}): have it \
         issued with SHA-256 and RSA (2048 bits or more), ECDSA (P-256, P-384) or Ed25519"
    )]
    UnsupportedSignature {
        /// Whose certificate.
        subject: String,
        /// The algorithm's object identifier.
        algorithm: String,
    },
    /// An issuer that must not issue.
    #[error("'{subject}' is not allowed to issue this certificate: {rule}")]
    NoAuthority {
        /// Who issued.
        subject: String,
        /// What forbids it.
        rule: &'static str,
    },
    /// A certificate for something else.
    #[error("the certificate of '{subject}' is not for this use: {rule}")]
    WrongUsage {
        /// Whose certificate.
        subject: String,
        /// What forbids it.
        rule: &'static str,
    },
    /// An extension that must be understood, and is not.
    #[error("the certificate of '{subject}' has a critical extension that is not understood: {oid}")]
    CriticalExtension {
        /// Whose certificate.
        subject: String,
        /// The extension's object identifier.
        oid: String,
    },
    /// An authority limits the names it may sign.
    #[error(
        "the names in the certificate of '{subject}' are not among those its authority may sign: {reason}"
    )]
    NameConstraints {
        /// Whose certificate.
        subject: String,
        /// What webpki said.
        reason: String,
    },
    /// Longer, or more work, than anything real.
    #[error("the chain of certificates above '{subject}' is too long")]
    TooLong {
        /// Whose certificate.
        subject: String,
    },
}
