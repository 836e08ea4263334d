//! Certificates for the runs with TLS: one that signs itself, for whoever answers on 127.0.0.1.

use rcgen::{CertificateParams, KeyPair};

/// A certificate and its key, PEM. It is its own root.
#[derive(Clone)]
pub struct Certificate {
    pub cert: String,
    pub key: String,
}

impl Certificate {
    pub fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let params =
            CertificateParams::new(vec!["127.0.0.1".to_owned(), "localhost".to_owned()]).expect("names");
        let cert = params.self_signed(&key).expect("a certificate");
        Self {
            cert: cert.pem(),
            key: key.serialize_pem(),
        }
    }
}
