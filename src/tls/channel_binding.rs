//! The channel binding `tls-server-end-point` of SCRAM-SHA-256-PLUS: a hash of the server's certificate (RFC 5929, section 4.1).
//!
//! The hash is the one of the certificate's signature, except that MD5 and SHA-1 are replaced by SHA-256. PostgreSQL
//! computes it the same way on both sides (`be_tls_get_certificate_hash`, `pgtls_get_peer_certificate_hash`).

use ring::digest::{self, Algorithm};
use x509_parser::oid_registry::{
    OID_HASH_SHA1, OID_NIST_HASH_SHA256, OID_NIST_HASH_SHA384, OID_NIST_HASH_SHA512, OID_PKCS1_MD5WITHRSAENC,
    OID_PKCS1_RSASSAPSS, OID_PKCS1_SHA1WITHRSA, OID_PKCS1_SHA256WITHRSA, OID_PKCS1_SHA384WITHRSA,
    OID_PKCS1_SHA512WITHRSA, OID_SIG_DSA_WITH_SHA1, OID_SIG_ECDSA_WITH_SHA256, OID_SIG_ECDSA_WITH_SHA384,
    OID_SIG_ECDSA_WITH_SHA512,
};
use x509_parser::signature_algorithm::SignatureAlgorithm;
use x509_parser::x509::AlgorithmIdentifier;

use super::certificate::{MalformedCertificate, parse};

/// Why there is no end-point hash of a certificate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChannelBindingError {
    /// It is no certificate.
    #[error(transparent)]
    Malformed(#[from] MalformedCertificate),
    /// Ed25519 and the like, whose signatures name no hash: the server cannot do channel binding with it either.
    #[error(
        "channel binding is not defined for a certificate signed with algorithm {oid}: have it signed with RSA or \
         ECDSA and SHA-256"
    )]
    NoHash {
        /// The signature's algorithm.
        oid: String,
    },
}

/// The end-point hash of a certificate in DER.
///
/// # Errors
/// [`ChannelBindingError`] when the certificate has no hash to go by: then SCRAM-SHA-256-PLUS cannot be offered.
pub fn end_point_hash(certificate_der: &[u8]) -> Result<Vec<u8>, ChannelBindingError> {
    let certificate = parse(certificate_der)?;
    let algorithm = hash_of(&certificate.signature_algorithm).ok_or_else(|| ChannelBindingError::NoHash {
        oid: certificate.signature_algorithm.algorithm.to_string(),
    })?;
    Ok(digest::digest(algorithm, certificate_der).as_ref().to_vec())
}

fn hash_of(signature: &AlgorithmIdentifier<'_>) -> Option<&'static Algorithm> {
    let oid = &signature.algorithm;
    let one_of = |candidates: &[_]| candidates.contains(oid);
    if one_of(&[
        OID_PKCS1_MD5WITHRSAENC,
        OID_PKCS1_SHA1WITHRSA,
        OID_SIG_DSA_WITH_SHA1,
        ECDSA_WITH_SHA1,
    ]) || one_of(&[OID_PKCS1_SHA256WITHRSA, OID_SIG_ECDSA_WITH_SHA256])
    {
        Some(&digest::SHA256)
    } else if one_of(&[OID_PKCS1_SHA384WITHRSA, OID_SIG_ECDSA_WITH_SHA384]) {
        Some(&digest::SHA384)
    } else if one_of(&[OID_PKCS1_SHA512WITHRSA, OID_SIG_ECDSA_WITH_SHA512]) {
        Some(&digest::SHA512)
    } else if *oid == OID_PKCS1_RSASSAPSS {
        hash_of_pss(signature)
    } else {
        None
    }
}

/// RFC 3279, section 2.2.3.
const ECDSA_WITH_SHA1: x509_parser::oid_registry::asn1_rs::Oid<'static> =
    x509_parser::oid_registry::asn1_rs::oid!(1.2.840.10045.4.1);

/// RSASSA-PSS names its hash in a parameter.
fn hash_of_pss(signature: &AlgorithmIdentifier<'_>) -> Option<&'static Algorithm> {
    let Ok(SignatureAlgorithm::RSASSA_PSS(parameters)) = SignatureAlgorithm::try_from(signature) else {
        return None;
    };
    let oid = parameters.hash_algorithm_oid();
    if *oid == OID_NIST_HASH_SHA256 || *oid == OID_HASH_SHA1 {
        Some(&digest::SHA256)
    } else if *oid == OID_NIST_HASH_SHA384 {
        Some(&digest::SHA384)
    } else if *oid == OID_NIST_HASH_SHA512 {
        Some(&digest::SHA512)
    } else {
        None
    }
}
