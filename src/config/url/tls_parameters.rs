//! The TLS part of a connection string, with libpq's rules about what goes together.

use std::path::PathBuf;

use super::error::UrlError;
use super::{RootCertificates, SslMode, SslNegotiation, TlsParameters, TlsVersion};

/// What was written, before the rules that tie the parameters together.
#[derive(Default)]
pub(super) struct TlsPairs {
    mode: Option<SslMode>,
    rest: TlsParameters,
}

impl TlsPairs {
    /// Takes the key if it is about TLS. An empty value is the default, as in libpq.
    pub(super) fn take(&mut self, key: &str, value: &str) -> Result<bool, UrlError> {
        let tls = &mut self.rest;
        let file = || (!value.is_empty()).then(|| PathBuf::from(value));
        match key {
            "sslmode" => self.mode = mode(key, value)?,
            "sslnegotiation" => tls.negotiation = negotiation(key, value)?,
            "sslrootcert" => {
                tls.root_certificates = match value {
                    "" => RootCertificates::Default,
                    "system" => RootCertificates::System,
                    path => RootCertificates::File(PathBuf::from(path)),
                }
            }
            "sslcert" => tls.certificate = file(),
            "sslkey" => tls.key = file(),
            "sslcertmode" => tls.send_certificate = send_certificate(key, value)?,
            "sslsni" => tls.sni = sni(key, value)?,
            "ssl_min_protocol_version" => tls.min_version = version(key, value)?.unwrap_or(TlsVersion::V1_2),
            "ssl_max_protocol_version" => tls.max_version = maximum_version(key, value)?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// `sslrootcert=system` and `sslnegotiation=direct` want a strong mode (libpq, `pqConnectOptions2`): the first because
/// anybody can get a certificate of a public authority for some name, the second because it leaves no way to ask.
pub(super) fn interpret(pairs: TlsPairs) -> Result<TlsParameters, UrlError> {
    let mut tls = pairs.rest;
    let trusts_system = tls.root_certificates == RootCertificates::System;
    let default = if trusts_system {
        SslMode::VerifyFull
    } else {
        SslMode::Prefer
    };
    tls.mode = pairs.mode.unwrap_or(default);

    let weak = |with, remedy| {
        Err(UrlError::WeakMode {
            mode: tls.mode,
            with,
            remedy,
        })
    };
    if trusts_system && tls.mode < SslMode::VerifyFull {
        return weak("sslrootcert=system", "sslmode=verify-full");
    }
    if tls.negotiation == SslNegotiation::Direct && tls.mode < SslMode::Require {
        return weak(
            "sslnegotiation=direct",
            "sslmode=require, verify-ca or verify-full",
        );
    }
    if tls.min_version > tls.max_version {
        return Err(UrlError::Value {
            parameter: "ssl_min_protocol_version".to_owned(),
            value: "TLSv1.3".to_owned(),
            expected: "it must not be above ssl_max_protocol_version",
        });
    }
    Ok(tls)
}

fn mode(key: &str, value: &str) -> Result<Option<SslMode>, UrlError> {
    Ok(Some(match value {
        "" => return Ok(None),
        "disable" => SslMode::Disable,
        "allow" | "prefer" => SslMode::Prefer,
        "require" => SslMode::Require,
        "verify-ca" => SslMode::VerifyCa,
        "verify-full" => SslMode::VerifyFull,
        "no-verify" => {
            return Err(UrlError::value(
                key,
                value,
                "write sslmode=require, which does not verify the certificate",
            ));
        }
        _ => {
            return Err(UrlError::value(
                key,
                value,
                "write disable, allow, prefer, require, verify-ca or verify-full",
            ));
        }
    }))
}

fn negotiation(key: &str, value: &str) -> Result<SslNegotiation, UrlError> {
    match value {
        "" | "postgres" => Ok(SslNegotiation::Postgres),
        "direct" => Ok(SslNegotiation::Direct),
        _ => Err(UrlError::value(key, value, "write postgres or direct")),
    }
}

fn send_certificate(key: &str, value: &str) -> Result<bool, UrlError> {
    match value {
        "disable" => Ok(false),
        "" | "allow" => Ok(true),
        "require" => Err(UrlError::Unsupported {
            parameter: "sslcertmode=require".to_owned(),
            reason: "write sslcertmode=allow, and clientcert=verify-full into the server's pg_hba.conf",
        }),
        _ => Err(UrlError::value(key, value, "write disable or allow")),
    }
}

fn sni(key: &str, value: &str) -> Result<bool, UrlError> {
    match value {
        "" | "1" => Ok(true),
        "0" => Ok(false),
        _ => Err(UrlError::value(key, value, "write 1 (on) or 0 (off)")),
    }
}

fn version(key: &str, value: &str) -> Result<Option<TlsVersion>, UrlError> {
    const EXPECTED: &str = "write TLSv1.2 or TLSv1.3";
    Ok(Some(match value.to_ascii_lowercase().as_str() {
        "" => return Ok(None),
        "tlsv1" | "tlsv1.1" | "tlsv1.2" => TlsVersion::V1_2,
        "tlsv1.3" => TlsVersion::V1_3,
        _ => return Err(UrlError::value(key, value, EXPECTED)),
    }))
}

fn maximum_version(key: &str, value: &str) -> Result<TlsVersion, UrlError> {
    if matches!(value.to_ascii_lowercase().as_str(), "tlsv1" | "tlsv1.1") {
        return Err(UrlError::value(
            key,
            value,
            "TLS 1.2 is the oldest that is spoken: write TLSv1.2 or TLSv1.3",
        ));
    }
    Ok(version(key, value)?.unwrap_or(TlsVersion::V1_3))
}
