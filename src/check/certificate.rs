//! What the server's certificate says, and what the connection's TLS is worth.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::report::Finding;
use crate::config::url::SslMode;

/// A certificate that ends sooner than this is worth a note: who renews automatically has done so by then.
const SOON: Duration = Duration::from_secs(14 * 24 * 3_600);

/// The parts of a certificate that people look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFacts {
    /// Alternative names, or the subject where there are none.
    pub names: Vec<String>,
    /// Who signed it.
    pub issuer: String,
    /// The day of its last second, UTC: `2027-01-31`.
    pub last_day: String,
    /// Its last second, counted from 1970.
    pub not_after: u64,
}

/// Reads a certificate in DER. `None` for bytes that are no certificate.
pub fn read(der: &[u8]) -> Option<CertificateFacts> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let alternatives = certificate.subject_alternative_name().ok().flatten();
    let names: Vec<String> = alternatives
        .map(|extension| extension.value.general_names.iter().filter_map(name).collect())
        .unwrap_or_default();
    let not_after = certificate.validity().not_after;
    Some(CertificateFacts {
        names: if names.is_empty() {
            vec![certificate.subject().to_string()]
        } else {
            names
        },
        issuer: certificate.issuer().to_string(),
        last_day: not_after.to_datetime().date().to_string(),
        not_after: not_after.timestamp().try_into().unwrap_or_default(),
    })
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress([a, b, c, d]) => Some(std::net::Ipv4Addr::new(*a, *b, *c, *d).to_string()),
        GeneralName::IPAddress(bytes) => <[u8; 16]>::try_from(*bytes)
            .ok()
            .map(|bytes| std::net::Ipv6Addr::from(bytes).to_string()),
        // Mail addresses, URIs and directory names are nothing that a server is called by.
        _ => None,
    }
}

/// What a connection is worth that was made as `mode` asks. `certificate` is `None` in the clear.
pub fn finding(mode: SslMode, certificate: Option<&CertificateFacts>, now: SystemTime) -> Finding {
    let Some(certificate) = certificate else {
        return in_the_clear(mode);
    };
    let CertificateFacts {
        names,
        issuer,
        last_day,
        ..
    } = certificate;
    let shown = format!(
        "certificate of {}, issued by \"{issuer}\", valid until {last_day}",
        names.join(", ")
    );
    let what = match mode {
        SslMode::VerifyFull => format!("name and issuer verified: {shown}"),
        SslMode::VerifyCa => format!("issuer verified, name not: {shown}"),
        SslMode::Disable | SslMode::Prefer | SslMode::Require => {
            format!("encrypted with sslmode={mode}: {shown}")
        }
    };
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    if Duration::from_secs(certificate.not_after) < now + SOON {
        return Finding::note("TLS", what).by("the certificate ends soon, or has ended: renew it");
    }
    if mode == SslMode::VerifyFull {
        return Finding::fine("TLS", what);
    }
    Finding::note("TLS", what)
        .by("who can redirect the connection can read it: sslmode=verify-full&sslrootcert=... makes sure of the server")
}

fn in_the_clear(mode: SslMode) -> Finding {
    match mode {
        SslMode::Disable => Finding::fine("TLS", "none, as sslmode=disable asks"),
        SslMode::Prefer | SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => Finding::note(
            "TLS",
            format!(
                "none, although sslmode={mode} asks for it: the server has not switched it on, or this is a unix socket"
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;

    use super::super::report::Mark;
    use super::*;
    use crate::tls::generate::authority_and_server;

    fn facts(names: &[&str]) -> CertificateFacts {
        let made = authority_and_server(names).expect("a certificate");
        let der = CertificateDer::from_pem_slice(made.cert_pem.as_bytes()).expect("PEM");
        read(&der).expect("a certificate")
    }

    #[test]
    fn names_issuer_and_end_are_read() {
        let facts = facts(&["db.example.com", "127.0.0.1", "::1"]);
        assert_eq!(facts.names, ["db.example.com", "127.0.0.1", "::1"]);
        assert!(facts.issuer.starts_with("CN="), "{}", facts.issuer);
        let dashes = facts.last_day.bytes().filter(|byte| *byte == b'-').count();
        assert_eq!((facts.last_day.len(), dashes), (10, 2), "{}", facts.last_day);
        assert_eq!(read(b"no certificate"), None);
    }

    #[test]
    fn only_a_verified_name_is_fine() {
        let facts = facts(&["db.example.com"]);
        let mark = |mode| finding(mode, Some(&facts), SystemTime::now()).mark;
        assert_eq!(mark(SslMode::VerifyFull), Mark::Fine);
        assert_eq!(mark(SslMode::VerifyCa), Mark::Note);
        assert_eq!(mark(SslMode::Require), Mark::Note);
        assert_eq!(
            finding(SslMode::Disable, None, SystemTime::now()).mark,
            Mark::Fine
        );
        assert_eq!(finding(SslMode::Prefer, None, SystemTime::now()).mark, Mark::Note);
    }

    #[test]
    fn a_certificate_that_ends_soon_is_worth_a_note() {
        let facts = facts(&["db.example.com"]);
        let end = UNIX_EPOCH + Duration::from_secs(facts.not_after);
        let mark = |now| finding(SslMode::VerifyFull, Some(&facts), now).mark;
        assert_eq!(mark(end - SOON - Duration::from_secs(1)), Mark::Fine);
        assert_eq!(mark(end - SOON + Duration::from_secs(1)), Mark::Note);
    }
}
