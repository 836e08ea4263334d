//! What the server's certificate says, and what the connection's TLS is worth.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::report::Finding;
use crate::config::url::SslMode;
use crate::tls::certificate::PeerCertificate;

/// A certificate that ends sooner than this is worth a note: who renews automatically has done so by then.
const SOON: Duration = Duration::from_secs(14 * 24 * 3_600);

/// What a connection is worth that was made as `mode` asks. `certificate` is `None` in the clear.
pub fn finding(mode: SslMode, certificate: Option<&PeerCertificate>, now: SystemTime) -> Finding {
    let Some(certificate) = certificate else {
        return in_the_clear(mode);
    };
    let PeerCertificate {
        names,
        issuer,
        not_after,
        ..
    } = certificate;
    let shown = format!("certificate of {names}, issued by \"{issuer}\", valid until {not_after}");
    let what = match mode {
        SslMode::VerifyFull => format!("name and issuer verified: {shown}"),
        SslMode::VerifyCa => format!("issuer verified, name not: {shown}"),
        SslMode::Disable | SslMode::Prefer | SslMode::Require => {
            format!("encrypted with sslmode={mode}: {shown}")
        }
    };
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let end = Duration::from_secs(u64::try_from(not_after.unix_seconds()).unwrap_or_default());
    if end < now + SOON {
        return Finding::note("TLS", what).by("the certificate ends soon, or has ended: renew it");
    }
    if mode == SslMode::VerifyFull {
        return Finding::fine("TLS", what);
    }
    Finding::note("TLS", what).by(
        "sslmode=verify-full&sslrootcert=... makes sure that nobody else than this server can read the connection",
    )
}

fn in_the_clear(mode: SslMode) -> Finding {
    match mode {
        SslMode::Disable => Finding::fine("TLS", "none, as sslmode=disable asks"),
        SslMode::Prefer | SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => Finding::note(
            "TLS",
            format!("none, although sslmode={mode} would have it: the server has not switched it on"),
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

    fn certificate() -> PeerCertificate {
        let made = authority_and_server(&["db.example.com", "127.0.0.1"]).expect("a certificate");
        let der = CertificateDer::from_pem_slice(made.cert_pem.as_bytes()).expect("PEM");
        PeerCertificate::from_der(&der).expect("a certificate")
    }

    #[test]
    fn names_issuer_and_end_are_shown() {
        let certificate = certificate();
        let what = finding(SslMode::VerifyFull, Some(&certificate), SystemTime::now()).what;
        for part in [
            "certificate of db.example.com, 127.0.0.1, issued by \"CN=",
            ", valid until 20",
            " UTC",
        ] {
            assert!(what.contains(part), "{what}");
        }
    }

    #[test]
    fn only_a_verified_name_is_fine() {
        let certificate = certificate();
        let mark = |mode| finding(mode, Some(&certificate), SystemTime::now()).mark;
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
        let certificate = certificate();
        let end = UNIX_EPOCH
            + Duration::from_secs(
                certificate
                    .not_after
                    .unix_seconds()
                    .try_into()
                    .expect("after 1970"),
            );
        let mark = |now| finding(SslMode::VerifyFull, Some(&certificate), now).mark;
        assert_eq!(mark(end - SOON - Duration::from_secs(1)), Mark::Fine);
        assert_eq!(mark(end - SOON + Duration::from_secs(1)), Mark::Note);
    }
}
