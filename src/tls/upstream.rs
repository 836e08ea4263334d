//! TLS towards the server, set up once from what the URL says, with libpq's rules (manual, "SSL Support" of libpq; `initialize_SSL` in `fe-secure-openssl.c`).
//!
//! Files are read here and nowhere else: what is wrong with them is known before the first client comes. A reload
//! builds a new [`UpstreamTls`] and keeps the old one if that fails.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::ServerName;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, SupportedProtocolVersion};

use super::ALPN_PROTOCOL;
use super::files::{TlsError, read_certified_key, read_trust_store, system_trust_store};
use super::trust::TrustStore;
use super::verifier::ServerVerifier;
use crate::config::url::{
    Host, RootCertificates, SslMode, SslNegotiation, TlsParameters, TlsVersion, UpstreamUrl,
};

/// What libpq looks for in `~/.postgresql`.
const ROOT_FILE: &str = "root.crt";
const REVOCATION_FILE: &str = "root.crl";
const CERTIFICATE_FILE: &str = "postgresql.crt";
const KEY_FILE: &str = "postgresql.key";

/// TLS for each host of the URL.
#[derive(Debug)]
pub struct UpstreamTls {
    mode: SslMode,
    negotiation: SslNegotiation,
    hosts: Vec<Option<HostTls>>,
    warnings: Vec<String>,
}

/// TLS for one host.
#[derive(Clone, Debug)]
pub(crate) struct HostTls {
    pub(crate) config: Arc<ClientConfig>,
    /// What rustls tells the server it was called by. The name that is verified is in the verifier.
    pub(crate) name: ServerName<'static>,
}

impl UpstreamTls {
    /// Reads the files that `url` names, and the defaults in `home` (`~/.postgresql/root.crt` and so on), where it is given.
    ///
    /// # Errors
    /// [`TlsError`] says which file cannot be used, or which one is missing, and what to do.
    pub fn build(url: &UpstreamUrl, home: Option<&Path>) -> Result<Self, TlsError> {
        let tls = &url.tls;
        let mut warnings = Vec::new();
        if tls.mode == SslMode::Disable || url.hosts.iter().all(|host| matches!(host, Host::Unix { .. })) {
            let hosts = vec![None; url.hosts.len()];
            return Ok(Self {
                mode: tls.mode,
                negotiation: tls.negotiation,
                hosts,
                warnings,
            });
        }
        let home = home.map(|home| home.join(".postgresql"));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let store = trust_store(tls, home.as_deref(), &mut warnings)?;
        let certified_key = client_certificate(tls, home.as_deref(), &provider, &mut warnings)?;
        let build_host = |host: &Host| match host {
            Host::Tcp { .. } => {
                host_tls(host, tls, store.as_ref(), certified_key.as_ref(), &provider).map(Some)
            }
            Host::Unix { .. } => Ok(None),
        };
        let hosts = url.hosts.iter().map(build_host).collect::<Result<_, _>>()?;
        Ok(Self {
            mode: tls.mode,
            negotiation: tls.negotiation,
            hosts,
            warnings,
        })
    }

    /// How much TLS is asked for.
    pub fn mode(&self) -> SslMode {
        self.mode
    }

    /// How TLS begins.
    pub fn negotiation(&self) -> SslNegotiation {
        self.negotiation
    }

    /// What was passed over because libpq does so too, one sentence each, for the log.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// TLS for the host of that place in the URL. `None`: in the clear.
    pub(crate) fn host(&self, index: usize) -> Option<&HostTls> {
        self.hosts.get(index).and_then(Option::as_ref)
    }
}

/// The root certificates to verify with. `None`: do not verify. As in libpq, a file that is there makes every mode
/// verify the chain, also `prefer` and `require`; one that is not matters only to the modes that always verify.
fn trust_store(
    tls: &TlsParameters,
    home: Option<&Path>,
    warnings: &mut Vec<String>,
) -> Result<Option<Arc<TrustStore>>, TlsError> {
    let path = match (&tls.root_certificates, home) {
        (RootCertificates::System, _) => return Ok(Some(Arc::new(system_trust_store()?))),
        (RootCertificates::File(path), _) => path.clone(),
        (RootCertificates::Default, Some(home)) => home.join(ROOT_FILE),
        (RootCertificates::Default, None) if tls.mode.always_verifies() => {
            return Err(TlsError::NoRootCertificatesNamed { mode: tls.mode });
        }
        (RootCertificates::Default, None) => return Ok(None),
    };
    if path.exists() {
        warn_of_revocation_list(home, warnings);
        return Ok(Some(Arc::new(read_trust_store(
            "file of root certificates",
            &path,
        )?)));
    }
    if tls.mode.always_verifies() {
        return Err(TlsError::NoRootCertificates { path });
    }
    if tls.root_certificates != RootCertificates::Default {
        warnings.push(format!(
            "sslrootcert {} does not exist: with sslmode={} the server's certificate is not verified",
            path.display(),
            tls.mode
        ));
    }
    Ok(None)
}

fn warn_of_revocation_list(home: Option<&Path>, warnings: &mut Vec<String>) {
    if let Some(list) = home
        .map(|home| home.join(REVOCATION_FILE))
        .filter(|list| list.exists())
    {
        warnings.push(format!(
            "{} is not read: revocation lists are not supported",
            list.display()
        ));
    }
}

/// The certificate to show to the server. As in libpq, none when its file is not there.
fn client_certificate(
    tls: &TlsParameters,
    home: Option<&Path>,
    provider: &CryptoProvider,
    warnings: &mut Vec<String>,
) -> Result<Option<Arc<CertifiedKey>>, TlsError> {
    let in_home = |name: &str| home.map(|home| home.join(name));
    let certificate = tls.certificate.clone().or_else(|| in_home(CERTIFICATE_FILE));
    let Some(certificate) = certificate.filter(|_| tls.send_certificate) else {
        return Ok(None);
    };
    if !certificate.exists() {
        if tls.certificate.is_some() {
            warnings.push(format!(
                "sslcert {} does not exist: no certificate is shown",
                certificate.display()
            ));
        }
        return Ok(None);
    }
    let key = tls
        .key
        .clone()
        .or_else(|| in_home(KEY_FILE))
        .unwrap_or_else(|| PathBuf::from(KEY_FILE));
    read_certified_key(&certificate, &key, provider).map(Some)
}

fn host_tls(
    host: &Host,
    tls: &TlsParameters,
    store: Option<&Arc<TrustStore>>,
    certified_key: Option<&Arc<CertifiedKey>>,
    provider: &Arc<CryptoProvider>,
) -> Result<HostTls, TlsError> {
    let name = host.name_to_verify();
    let verified_name = match (tls.mode, name) {
        (SslMode::VerifyFull, Some(name)) => Some(name.to_owned()),
        (SslMode::VerifyFull, None) => {
            return Err(TlsError::NoNameToVerify {
                address: host.to_string(),
            });
        }
        _ => None,
    };
    let verifier = ServerVerifier {
        store: store.cloned(),
        name: verified_name,
        provider: Arc::clone(provider),
    };
    let builder = ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(&versions(tls))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match certified_key {
        Some(key) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(key)))),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![ALPN_PROTOCOL.to_vec()];
    // The server resumes no sessions, and libpq asks for none; each connection verifies anew.
    config.resumption = Resumption::disabled();
    let sent_name = name
        .filter(|_| tls.sni)
        .and_then(|name| ServerName::try_from(name.to_owned()).ok());
    // rustls never sends an address.
    let nameless = || ServerName::from(std::net::IpAddr::from([0, 0, 0, 0]));
    Ok(HostTls {
        config: Arc::new(config),
        name: sent_name.unwrap_or_else(nameless),
    })
}

fn versions(tls: &TlsParameters) -> Vec<&'static SupportedProtocolVersion> {
    let all = [
        (TlsVersion::V1_3, &rustls::version::TLS13),
        (TlsVersion::V1_2, &rustls::version::TLS12),
    ];
    let asked_for = all
        .into_iter()
        .filter(|(version, _)| (tls.min_version..=tls.max_version).contains(version));
    asked_for.map(|(_, version)| version).collect()
}
