//! Signatures of certificates and of handshakes, checked with the algorithms rustls has.
//!
//! rustls' own functions insist on a certificate of version 3 that is no authority; what `openssl x509 -req` made for many a
//! PostgreSQL server, following the manual, is of version 1 or signs itself. The arithmetic is rustls' (ring's); only
//! the parsing of the certificate around the key is ours.

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{SignatureVerificationAlgorithm, SubjectPublicKeyInfoDer};
use rustls::{CertificateError, DigitallySignedStruct, PeerMisbehaved};
use x509_parser::asn1_rs::{Any, FromDer};
use x509_parser::prelude::X509Certificate;
use x509_parser::x509::SubjectPublicKeyInfo;

/// Why a certificate's signature does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SignatureError {
    /// Not made with the issuer's key, or altered since.
    Invalid,
    /// An algorithm that is not trusted (MD5, SHA-1) or not implemented (P-521).
    Unsupported,
}

/// Checks that `issuer`'s key signed `certificate`.
pub(super) fn check_certificate(
    certificate: &X509Certificate<'_>,
    issuer: &SubjectPublicKeyInfo<'_>,
    algorithms: WebPkiSupportedAlgorithms,
) -> Result<(), SignatureError> {
    // RFC 5280, 4.1.1.2: the unsigned copy of the algorithm has to be the signed one.
    if certificate.signature_algorithm != certificate.tbs_certificate.signature {
        return Err(SignatureError::Invalid);
    }
    if certificate.signature_value.unused_bits != 0 {
        return Err(SignatureError::Invalid);
    }
    let signature_algorithm = signature_algorithm(certificate.as_raw()).ok_or(SignatureError::Invalid)?;
    let candidates = algorithms
        .all
        .iter()
        .filter(|a| a.signature_alg_id().as_ref() == signature_algorithm);
    verify(
        candidates.copied(),
        issuer,
        certificate.tbs_certificate.as_ref(),
        &certificate.signature_value.data,
    )
}

/// Checks that the holder of the certificate's key signed a TLS 1.2 handshake.
pub(super) fn check_tls12(
    message: &[u8],
    key: &SubjectPublicKeyInfo<'_>,
    signature: &DigitallySignedStruct,
    algorithms: WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, rustls::Error> {
    let scheme = algorithms
        .mapping
        .iter()
        .find(|(scheme, _)| *scheme == signature.scheme);
    let (_, candidates) = scheme.ok_or(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme)?;
    match verify(candidates.iter().copied(), key, message, signature.signature()) {
        Ok(()) => Ok(HandshakeSignatureValid::assertion()),
        Err(_) => Err(CertificateError::BadSignature.into()),
    }
}

/// Checks that the holder of the certificate's key signed a TLS 1.3 handshake.
pub(super) fn check_tls13(
    message: &[u8],
    key: &SubjectPublicKeyInfo<'_>,
    signature: &DigitallySignedStruct,
    algorithms: WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, rustls::Error> {
    verify_tls13_signature_with_raw_key(
        message,
        &SubjectPublicKeyInfoDer::from(key.raw),
        signature,
        &algorithms,
    )
}

fn verify(
    candidates: impl Iterator<Item = &'static dyn SignatureVerificationAlgorithm>,
    key: &SubjectPublicKeyInfo<'_>,
    message: &[u8],
    signature: &[u8],
) -> Result<(), SignatureError> {
    let key_algorithm = key_algorithm(key.raw).ok_or(SignatureError::Invalid)?;
    let mut verdict = Err(SignatureError::Unsupported);
    for algorithm in candidates.filter(|a| a.public_key_alg_id().as_ref() == key_algorithm) {
        match algorithm.verify_signature(&key.subject_public_key.data, message, signature) {
            Ok(()) => return Ok(()),
            Err(_) => verdict = Err(SignatureError::Invalid),
        }
    }
    verdict
}

/// `Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm SEQUENCE { .. }, .. }`: the inside of the latter.
fn signature_algorithm(certificate: &[u8]) -> Option<&[u8]> {
    let (_, outer) = Any::from_der(certificate).ok()?;
    let (behind_tbs, _) = Any::from_der(outer.data).ok()?;
    let (_, algorithm) = Any::from_der(behind_tbs).ok()?;
    Some(algorithm.data)
}

/// `SubjectPublicKeyInfo ::= SEQUENCE { algorithm SEQUENCE { .. }, .. }`: the inside of the latter.
fn key_algorithm(key: &[u8]) -> Option<&[u8]> {
    let (_, outer) = Any::from_der(key).ok()?;
    let (_, algorithm) = Any::from_der(outer.data).ok()?;
    Some(algorithm.data)
}
