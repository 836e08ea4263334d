//! The certificate verifiers that rustls asks: of the server for the upstream leg, of clients for the other.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, OtherError, RootCertStore, SignatureScheme,
};

use super::certificate::{CertificateNames, MalformedCertificate, parse};
use super::chain::{Accepted, ChainError, Judge, Usage};
use super::host_name::{self, NameError};
use super::signature::{check_tls12, check_tls13};
use super::trust::TrustStore;

/// Why the peer's certificate was refused. rustls carries it through to the error of the handshake, where
/// [`refusal`] finds it again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateRefused {
    /// Nobody trusted stands behind it.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// It is for another host.
    #[error(transparent)]
    Name(#[from] NameError),
}

/// Finds the reason behind a failed handshake, if it was the peer's certificate.
pub fn refusal(error: &rustls::Error) -> Option<&CertificateRefused> {
    match error {
        rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(inner))) => inner.downcast_ref(),
        _ => None,
    }
}

impl From<CertificateRefused> for rustls::Error {
    fn from(refused: CertificateRefused) -> Self {
        CertificateError::Other(OtherError(Arc::new(refused))).into()
    }
}

/// Judges the server's certificate as libpq would.
#[derive(Debug)]
pub(super) struct ServerVerifier {
    /// `None`: any certificate will do, as in `sslmode=require` without root certificates.
    pub(super) store: Option<Arc<TrustStore>>,
    /// The name to look for in the certificate, with `sslmode=verify-full`.
    pub(super) name: Option<String>,
    pub(super) provider: Arc<CryptoProvider>,
}

/// Judges the certificates of clients.
#[derive(Debug)]
pub(super) struct ClientVerifier {
    pub(super) store: Arc<TrustStore>,
    pub(super) hints: Vec<DistinguishedName>,
    pub(super) is_mandatory: bool,
    pub(super) provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        presented: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if let Some(store) = &self.store {
            verify_chain(store, Usage::Server, certificate, presented, now, &self.provider)?;
        }
        if let Some(name) = &self.name {
            let names = CertificateNames::of(&parse_or_refuse(certificate)?);
            host_name::check(name, &names).map_err(CertificateRefused::from)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let parsed = parse_or_refuse(certificate)?;
        check_tls12(
            message,
            parsed.public_key(),
            signature,
            algorithms(&self.provider),
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let parsed = parse_or_refuse(certificate)?;
        check_tls13(
            message,
            parsed.public_key(),
            signature,
            algorithms(&self.provider),
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        algorithms(&self.provider).supported_schemes()
    }
}

impl ClientCertVerifier for ClientVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.is_mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        presented: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        verify_chain(
            &self.store,
            Usage::Client,
            certificate,
            presented,
            now,
            &self.provider,
        )?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let parsed = parse_or_refuse(certificate)?;
        check_tls12(
            message,
            parsed.public_key(),
            signature,
            algorithms(&self.provider),
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let parsed = parse_or_refuse(certificate)?;
        check_tls13(
            message,
            parsed.public_key(),
            signature,
            algorithms(&self.provider),
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        algorithms(&self.provider).supported_schemes()
    }
}

fn algorithms(provider: &CryptoProvider) -> WebPkiSupportedAlgorithms {
    provider.signature_verification_algorithms
}

fn parse_or_refuse<'a>(
    certificate: &'a CertificateDer<'_>,
) -> Result<x509_parser::prelude::X509Certificate<'a>, rustls::Error> {
    let refuse = |malformed: MalformedCertificate| CertificateRefused::Chain(malformed.into()).into();
    parse(certificate).map_err(refuse)
}

fn verify_chain(
    store: &TrustStore,
    usage: Usage,
    certificate: &CertificateDer<'_>,
    presented: &[CertificateDer<'_>],
    now: UnixTime,
    provider: &Arc<CryptoProvider>,
) -> Result<(), rustls::Error> {
    // Beyond the year 292 billion there is no time to compare with.
    let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let judge = Judge {
        store,
        usage,
        now: seconds,
        algorithms: algorithms(provider),
    };
    let accepted = judge
        .accept(certificate, presented)
        .map_err(CertificateRefused::from)?;
    if accepted.has_name_constraints {
        verify_name_constraints(accepted, usage, certificate, presented, now, provider)?;
    }
    Ok(())
}

/// A common name escapes webpki's eyes, so that a certificate under constraints has to have alternative names.
fn verify_name_constraints(
    accepted: Accepted,
    usage: Usage,
    certificate: &CertificateDer<'_>,
    presented: &[CertificateDer<'_>],
    now: UnixTime,
    provider: &Arc<CryptoProvider>,
) -> Result<(), rustls::Error> {
    let parsed = parse_or_refuse(certificate)?;
    let refuse = |reason: String| {
        CertificateRefused::Chain(ChainError::NameConstraints {
            subject: parsed.subject().to_string(),
            reason,
        })
    };
    if usage == Usage::Server && CertificateNames::of(&parsed).alternative.is_empty() {
        return Err(refuse("it has no subject alternative names".to_owned()).into());
    }
    let refuse_error = |error: rustls::Error| rustls::Error::from(refuse(error.to_string()));
    let mut roots = RootCertStore::empty();
    roots.add(accepted.root.into()).map_err(refuse_error)?;
    match usage {
        Usage::Server => {
            let certificate = ParsedCertificate::try_from(certificate).map_err(refuse_error)?;
            let algorithms = algorithms(provider).all;
            verify_server_cert_signed_by_trust_anchor(&certificate, &roots, presented, now, algorithms)
                .map_err(refuse_error)
        }
        Usage::Client => {
            let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
            let verifier = builder.build().map_err(|error| refuse(error.to_string()))?;
            verifier
                .verify_client_cert(certificate, presented, now)
                .map(|_| ())
                .map_err(refuse_error)
        }
    }
}
