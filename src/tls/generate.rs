//! A certificate authority and a server certificate made on the spot, for `bemi demo` and for tests.
//!
//! Keys are ECDSA P-256: made in a millisecond, where an RSA key takes a second. Nothing is written to disk here: the
//! caller owns the files and their permissions. For certificates that people keep there is `certs/generate.sh`, which
//! needs nothing but openssl.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType,
};

/// Clocks differ between machines: certificates are valid from this long before now.
const CLOCK_SKEW: Duration = Duration::from_secs(60 * 60);

/// How long generated certificates are valid, unless the caller says otherwise: they are made for one run.
pub const DEFAULT_VALIDITY: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// What [`authority_and_server`] made, all of it PEM text.
///
/// `Debug` does not show the key.
pub struct Generated {
    /// The authority's certificate: what clients name in `sslrootcert`.
    pub ca_pem: String,
    /// The server's certificate: PostgreSQL's `ssl_cert_file`.
    pub cert_pem: String,
    /// The server's private key (PKCS#8): PostgreSQL's `ssl_key_file`, to be written with mode 0600.
    pub key_pem: String,
}

impl std::fmt::Debug for Generated {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Generated")
            .field("ca_pem", &self.ca_pem)
            .field("cert_pem", &self.cert_pem)
            .finish_non_exhaustive()
    }
}

/// A certificate could not be made.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    /// A server certificate has to name something.
    #[error("a server certificate needs at least one host name or IP address")]
    NoName,
    /// A name that no certificate can hold, or a failure of the key generator.
    #[error("cannot make a certificate for {names}: {source}")]
    Certificate {
        /// The names asked for.
        names: String,
        /// What the generator said.
        source: rcgen::Error,
    },
}

/// Makes a new authority and one server certificate signed by it, valid for [`DEFAULT_VALIDITY`].
///
/// `names` are DNS names or IP addresses; each becomes a subject alternative name of its kind, the first one is the
/// common name as well.
///
/// # Errors
/// [`GenerateError`] when `names` is empty or holds a name that is not ASCII.
pub fn authority_and_server(names: &[&str]) -> Result<Generated, GenerateError> {
    authority_and_server_valid_for(names, DEFAULT_VALIDITY)
}

/// As [`authority_and_server`], with a validity of the caller's choice.
///
/// # Errors
/// As [`authority_and_server`].
pub fn authority_and_server_valid_for(
    names: &[&str],
    validity: Duration,
) -> Result<Generated, GenerateError> {
    let first = names.first().ok_or(GenerateError::NoName)?;
    let certificate_error = |source| GenerateError::Certificate {
        names: names.join(", "),
        source,
    };

    let authority = authority(validity).map_err(certificate_error)?;
    let key = KeyPair::generate().map_err(certificate_error)?;
    let certificate = server_params(first, names, validity)
        .and_then(|params| params.signed_by(&key, &authority))
        .map_err(certificate_error)?;
    Ok(Generated {
        ca_pem: authority.pem(),
        cert_pem: certificate.pem(),
        key_pem: key.serialize_pem(),
    })
}

fn authority(validity: Duration) -> Result<CertifiedIssuer<'static, KeyPair>, rcgen::Error> {
    let mut params = CertificateParams::default();
    set_validity(&mut params, validity);
    params
        .distinguished_name
        .push(DnType::CommonName, "bemi throw-away authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    CertifiedIssuer::self_signed(params, KeyPair::generate()?)
}

fn server_params(
    common_name: &str,
    names: &[&str],
    validity: Duration,
) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::default();
    set_validity(&mut params, validity);
    params.distinguished_name.push(DnType::CommonName, common_name);
    for name in names {
        params.subject_alt_names.push(match name.parse::<IpAddr>() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName((*name).try_into()?),
        });
    }
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn set_validity(params: &mut CertificateParams, validity: Duration) {
    let now = SystemTime::now();
    params.not_before = (now - CLOCK_SKEW).into();
    params.not_after = (now + validity).into();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_certificate_without_a_name_is_refused() {
        assert!(matches!(authority_and_server(&[]), Err(GenerateError::NoName)));
    }

    #[test]
    fn the_key_is_not_shown_by_debug() {
        let generated = authority_and_server(&["localhost", "127.0.0.1", "::1"]).unwrap();
        assert!(generated.key_pem.contains("PRIVATE KEY"));
        assert!(!format!("{generated:?}").contains("PRIVATE KEY"));
    }

    #[test]
    fn names_and_addresses_become_alternative_names_of_their_kind() {
        let generated = authority_and_server(&["db.example", "127.0.0.1"]).unwrap();
        let (_, pem) = x509_parser::pem::parse_x509_pem(generated.cert_pem.as_bytes()).unwrap();
        let certificate = pem.parse_x509().unwrap();
        let names = &certificate
            .subject_alternative_name()
            .unwrap()
            .unwrap()
            .value
            .general_names;
        assert!(matches!(
            names[0],
            x509_parser::prelude::GeneralName::DNSName("db.example")
        ));
        assert!(matches!(
            names[1],
            x509_parser::prelude::GeneralName::IPAddress(&[127, 0, 0, 1])
        ));
    }
}
