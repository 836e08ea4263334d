//! TLS towards clients: what `ssl`, `ssl_cert_file`, `ssl_key_file` and `ssl_ca_file` are to the server.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoClientAuth, NoServerSessionStorage};
use rustls::sign::SingleCertAndKey;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::ALPN_PROTOCOL;
use super::certificate::PeerCertificate;
use super::channel_binding::end_point_hash;
use super::files::{TlsError, read_certified_key, read_trust_store};
use super::verifier::{ClientVerifier, refusal};

/// The files, and what is asked of clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientTlsFiles {
    /// Our certificate, and those between it and the root behind it, as PEM.
    pub certificate: PathBuf,
    /// Its private key: PKCS#8, PKCS#1 or SEC1, not encrypted.
    pub key: PathBuf,
    /// What is asked of clients.
    pub client_certificates: ClientCertificates,
}

/// Whether clients have to show a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientCertificates {
    /// They are not asked.
    NotAsked,
    /// They may; one that is shown has to be issued by an authority in this file.
    Optional(PathBuf),
    /// They must.
    Required(PathBuf),
}

/// How a client began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Negotiation {
    /// With an `SSLRequest`, which was answered with `S`.
    Requested,
    /// With TLS itself: then ALPN is a must, as the server has it (`ProcessSSLStartup` in `backend_startup.c`).
    Direct,
}

/// TLS towards clients, ready to accept. Cheap to clone; a reload builds a new one and swaps it.
///
/// Clients may resume sessions, unless certificates are asked of them, and save themselves and us the signatures. The server
/// resumes none (`be_tls_init` in `be-secure-openssl.c`): whoever asks for none, as libpq, sees no difference.
#[derive(Clone, Debug)]
pub struct ClientTls {
    config: Arc<ServerConfig>,
    certificate: Arc<PeerCertificate>,
    end_point_hash: Option<Arc<[u8]>>,
}

/// A client with whom TLS could not be agreed on. To be logged; there is no way to tell the client more than the TLS
/// alert already did.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// The handshake failed.
    #[error("TLS handshake with the client failed: {0}")]
    Handshake(String),
    /// The connection broke.
    #[error("the client left during the TLS handshake: {0}")]
    Lost(io::Error),
    /// TLS from the first byte, but not for PostgreSQL.
    #[error("the client began with TLS but did not name the protocol 'postgresql' in it (ALPN)")]
    NoAlpn,
}

impl ClientTls {
    /// Reads the files.
    ///
    /// # Errors
    /// [`TlsError`] says which file cannot be used and what to do.
    pub fn build(files: &ClientTlsFiles) -> Result<Self, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let certified_key = read_certified_key(&files.certificate, &files.key, &provider)?;
        let own = certified_key.end_entity_cert()?;
        let certificate = PeerCertificate::from_der(own).map_err(|error| TlsError::Malformed {
            what: "certificate",
            path: files.certificate.clone(),
            reason: error.to_string(),
        })?;
        let end_point_hash = end_point_hash(own).ok().map(Arc::from);

        let verifier: Arc<dyn ClientCertVerifier> = match &files.client_certificates {
            ClientCertificates::NotAsked => Arc::new(NoClientAuth),
            ClientCertificates::Optional(path) => client_verifier(path, false, &provider)?,
            ClientCertificates::Required(path) => client_verifier(path, true, &provider)?,
        };
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified_key)));
        // A client that offers other protocols only is refused, as by the server; one that offers none is not.
        config.alpn_protocols = vec![ALPN_PROTOCOL.to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        if files.client_certificates == ClientCertificates::NotAsked {
            // The state of a session is kept by the client, encrypted with a key of this process that a reload replaces.
            config.ticketer = rustls::crypto::ring::Ticketer::new()?;
        } else {
            // As the server has it (`be_tls_init`): a certificate that was taken back shall not live on in a ticket.
            config.send_tls13_tickets = 0;
        }
        Ok(Self {
            config: Arc::new(config),
            certificate: Arc::new(certificate),
            end_point_hash,
        })
    }

    /// Our own certificate, for a line in the log.
    pub fn certificate(&self) -> &PeerCertificate {
        &self.certificate
    }

    /// The `tls-server-end-point` hash of our own certificate: what SCRAM-SHA-256-PLUS with a client is bound to.
    /// `None`: the mechanism cannot be offered with this certificate.
    pub fn end_point_hash(&self) -> Option<&[u8]> {
        self.end_point_hash.as_deref()
    }

    /// Shakes hands with a client. The caller limits the time.
    ///
    /// With [`Negotiation::Requested`] nothing may have been read behind the `SSLRequest`: bytes that came with it in the
    /// clear would otherwise be taken for encrypted ones (CVE-2021-23214).
    ///
    /// # Errors
    /// [`AcceptError`], for the log.
    pub async fn accept<S>(&self, socket: S, negotiation: Negotiation) -> Result<TlsStream<S>, AcceptError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let acceptor = TlsAcceptor::from(Arc::clone(&self.config));
        let stream = acceptor.accept(socket).await.map_err(accept_error)?;
        if negotiation == Negotiation::Direct && stream.get_ref().1.alpn_protocol().is_none() {
            return Err(AcceptError::NoAlpn);
        }
        Ok(stream)
    }
}

fn client_verifier(
    path: &Path,
    is_mandatory: bool,
    provider: &Arc<rustls::crypto::CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let store = read_trust_store("file of authorities for client certificates", path)?;
    let hints = store.subjects();
    Ok(Arc::new(ClientVerifier {
        store: Arc::new(store),
        hints,
        is_mandatory,
        provider: Arc::clone(provider),
    }))
}

fn accept_error(error: io::Error) -> AcceptError {
    match error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>())
    {
        Some(tls) => {
            AcceptError::Handshake(refusal(tls).map_or_else(|| tls.to_string(), ToString::to_string))
        }
        None => AcceptError::Lost(error),
    }
}
