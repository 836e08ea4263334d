//! A proxy that speaks TLS with its clients, and a client that does.

use std::sync::Arc;

use bemi::config::Config;
use bemi::tls::generate::{Generated, authority_and_server};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use super::proxy::{self, RunningProxy, background};

/// A proxy in front of the server that all share, and the certificate of its authority. The files are read at the start
/// and not needed then.
pub fn start_proxy(adjust: impl FnOnce(&mut Config)) -> (RunningProxy, Generated) {
    let files = tempfile::tempdir().expect("a directory");
    let generated = authority_and_server(&["localhost"]).expect("a certificate");
    let (certificate, key) = (files.path().join("tls.crt"), files.path().join("tls.key"));
    std::fs::write(&certificate, &generated.cert_pem).expect("a file");
    std::fs::write(&key, &generated.key_pem).expect("a file");
    let proxy = background().block_on(proxy::start_with(super::cluster(), |config| {
        config.tls.certificate = Some(certificate);
        config.tls.key = Some(key);
        adjust(config);
    }));
    (proxy, generated)
}

/// Our end of TLS with it, before the first byte.
pub fn client(authority: &Generated, alpn: &[&[u8]]) -> ClientConnection {
    let mut roots = RootCertStore::empty();
    let root = CertificateDer::from_pem_slice(authority.ca_pem.as_bytes()).expect("a certificate");
    roots.add(root).expect("a root");
    let mut config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    let name = ServerName::try_from("localhost").expect("a name");
    ClientConnection::new(Arc::new(config), name).expect("a client")
}
