//! What a certificate says, for a person to read and for the other modules to decide on.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use x509_parser::prelude::{ASN1Time, FromDer, GeneralName, X509Certificate};

/// A certificate that is not one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the certificate cannot be read: {reason}")]
pub struct MalformedCertificate {
    /// What the parser said.
    reason: String,
}

/// The facts of a certificate that decide whether it is accepted: for `bemi check` and for errors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerCertificate {
    /// Distinguished name of the holder.
    pub subject: String,
    /// Distinguished name of the authority that signed it.
    pub issuer: String,
    /// The names it is valid for.
    pub names: CertificateNames,
    /// Valid from here on.
    pub not_before: CertificateTime,
    /// Valid up to and including this second.
    pub not_after: CertificateTime,
}

/// The names in a certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificateNames {
    /// Subject alternative names of the two kinds that matter, in their order.
    pub alternative: Vec<AlternativeName>,
    /// The first common name of the subject, as its bytes stand in the certificate.
    pub common_name: Option<Vec<u8>>,
}

/// A subject alternative name, as its bytes stand in the certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AlternativeName {
    /// `dNSName`
    Dns(Vec<u8>),
    /// `iPAddress`: 4 or 16 bytes, unless the certificate is broken.
    Ip(Vec<u8>),
}

/// A point in time as certificates have it: seconds since 1970-01-01 00:00:00 UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CertificateTime(ASN1Time);

impl PeerCertificate {
    /// Reads a certificate.
    ///
    /// # Errors
    /// [`MalformedCertificate`] when it is none.
    pub fn from_der(der: &[u8]) -> Result<Self, MalformedCertificate> {
        Ok(Self::of(&parse(der)?))
    }

    pub(super) fn of(certificate: &X509Certificate<'_>) -> Self {
        Self {
            subject: certificate.subject().to_string(),
            issuer: certificate.issuer().to_string(),
            names: CertificateNames::of(certificate),
            not_before: CertificateTime(certificate.validity().not_before),
            not_after: CertificateTime(certificate.validity().not_after),
        }
    }
}

/// Parses one certificate with nothing behind it.
pub(super) fn parse(der: &[u8]) -> Result<X509Certificate<'_>, MalformedCertificate> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        Ok(_) => Err(MalformedCertificate {
            reason: "there are bytes behind its end".to_owned(),
        }),
        Err(error) => Err(MalformedCertificate {
            reason: error.to_string(),
        }),
    }
}

impl CertificateNames {
    pub(super) fn of(certificate: &X509Certificate<'_>) -> Self {
        let alternative = match certificate.subject_alternative_name() {
            Ok(Some(extension)) => extension
                .value
                .general_names
                .iter()
                .filter_map(AlternativeName::of)
                .collect(),
            Ok(None) | Err(_) => Vec::new(),
        };
        let common_name = certificate.subject().iter_common_name().next();
        Self {
            alternative,
            common_name: common_name.map(|name| name.as_slice().to_vec()),
        }
    }
}

impl fmt::Display for CertificateNames {
    /// The names that count, as libpq weighs them: the common name only where there is no alternative name.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let alternative = self.alternative.iter().map(AlternativeName::to_string);
        let common = self
            .common_name
            .iter()
            .map(|name| name.escape_ascii().to_string());
        let names: Vec<String> = if self.alternative.is_empty() {
            common.collect()
        } else {
            alternative.collect()
        };
        if names.is_empty() {
            formatter.write_str("no name at all")
        } else {
            formatter.write_str(&names.join(", "))
        }
    }
}

impl AlternativeName {
    fn of(name: &GeneralName<'_>) -> Option<Self> {
        /// Tag of `dNSName` in `GeneralName` (RFC 5280, 4.2.1.6).
        const DNS_NAME: u32 = 2;
        match name {
            GeneralName::DNSName(name) => Some(Self::Dns(name.as_bytes().to_vec())),
            GeneralName::IPAddress(address) => Some(Self::Ip(address.to_vec())),
            // Not UTF-8: it matches nothing, but it is there, and keeps the common name from being asked.
            GeneralName::Invalid(tag, bytes) if tag.0 == DNS_NAME => Some(Self::Dns(bytes.to_vec())),
            _ => None,
        }
    }
}

impl fmt::Display for AlternativeName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => write!(formatter, "{}", name.escape_ascii()),
            Self::Ip(bytes) => {
                if let Ok(v4) = <[u8; 4]>::try_from(bytes.as_slice()) {
                    write!(formatter, "{}", Ipv4Addr::from(v4))
                } else if let Ok(v6) = <[u8; 16]>::try_from(bytes.as_slice()) {
                    write!(formatter, "{}", Ipv6Addr::from(v6))
                } else {
                    formatter.write_str("a broken IP address")
                }
            }
        }
    }
}

impl CertificateTime {
    /// Seconds since 1970-01-01 00:00:00 UTC.
    pub fn unix_seconds(self) -> i64 {
        self.0.timestamp()
    }

    pub(super) fn of(time: ASN1Time) -> Self {
        Self(time)
    }
}

impl fmt::Display for CertificateTime {
    /// `2027-01-31 23:59:59 UTC`
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = self.0.to_datetime();
        let (year, month, day) = time.to_calendar_date();
        let (hour, minute, second) = time.to_hms();
        write!(
            formatter,
            "{year:04}-{:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC",
            u8::from(month)
        )
    }
}
