//! The certificates that are trusted, from `sslrootcert` or the operating system, ready to be searched by name.

use std::collections::HashMap;

use rustls::DistinguishedName;
use rustls::pki_types::CertificateDer;
use x509_parser::asn1_rs::{Any, FromDer};

use super::certificate::{MalformedCertificate, parse};

/// Certificates by the raw bytes of their subject's name.
#[derive(Debug, Default)]
pub(super) struct TrustStore {
    by_subject: HashMap<Vec<u8>, Vec<CertificateDer<'static>>>,
}

impl TrustStore {
    /// Files them.
    ///
    /// # Errors
    /// [`MalformedCertificate`] when one of them cannot be read.
    pub(super) fn new(
        certificates: impl IntoIterator<Item = CertificateDer<'static>>,
    ) -> Result<Self, MalformedCertificate> {
        let mut by_subject: HashMap<Vec<u8>, Vec<CertificateDer<'static>>> = HashMap::new();
        for der in certificates {
            let subject = parse(&der)?.subject().as_raw().to_vec();
            by_subject.entry(subject).or_default().push(der);
        }
        Ok(Self { by_subject })
    }

    pub(super) fn named(&self, subject: &[u8]) -> &[CertificateDer<'static>] {
        self.by_subject.get(subject).map_or(&[], Vec::as_slice)
    }

    pub(super) fn contains(&self, subject: &[u8], der: &[u8]) -> bool {
        self.named(subject).iter().any(|trusted| trusted.as_ref() == der)
    }

    /// The names, for a server to tell clients whose certificates it takes.
    pub(super) fn subjects(&self) -> Vec<DistinguishedName> {
        let content = |name: &Vec<u8>| {
            let (_, sequence) = Any::from_der(name).ok()?;
            Some(DistinguishedName::in_sequence(sequence.data))
        };
        self.by_subject.keys().filter_map(content).collect()
    }
}
