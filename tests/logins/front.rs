//! The proxy of these tests, and TLS of a client that is not psql.

use std::io::Write;
use std::sync::Arc;

use bemi::config::AuthMode;
use bemi::tls::generate::Generated;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tempfile::{NamedTempFile, TempDir};
use tokio_rustls::TlsConnector;

use crate::server::TestServer;
use crate::support::proxy::{RunningProxy, start_in_front_of};

/// How a proxy logs in.
pub struct FrontOptions {
    pub mode: AuthMode,
    /// TLS towards the server.
    pub upstream_tls: bool,
    /// libpq's parameter, in the upstream URL.
    pub channel_binding: &'static str,
    pub max_scram_iterations: u32,
    /// Text of a users file; read in mode `scram`.
    pub users: String,
}

/// The port of the unix socket, which is part of a file name only.
pub const SOCKET_PORT: u16 = 6432;

/// A proxy that takes TLS from whoever asks, with the certificate that the server has too.
pub struct Front {
    proxy: RunningProxy,
    _users: NamedTempFile,
    sockets: TempDir,
}

impl Front {
    pub async fn start(server: &TestServer, options: FrontOptions) -> Self {
        let mut users = NamedTempFile::new().unwrap();
        users.write_all(options.users.as_bytes()).unwrap();
        let sslmode = if options.upstream_tls {
            "verify-full"
        } else {
            "disable"
        };
        let url = format!(
            "postgresql://127.0.0.1:{}/?sslmode={sslmode}&sslrootcert={}&channel_binding={}",
            server.port(),
            server.files.path("ca.crt"),
            options.channel_binding
        );
        let sockets = TempDir::new().unwrap();
        let socket = format!("unix:{}:{SOCKET_PORT}", sockets.path().display());
        let proxy = start_in_front_of(&url, |config| {
            config.listen.push(socket.parse().unwrap());
            config.tls.certificate = Some(server.files.path("server.crt").into());
            config.tls.key = Some(server.files.path("server.key").into());
            config.auth.mode = options.mode;
            config.auth.users_file = (options.mode == AuthMode::Scram).then(|| users.path().to_owned());
            config.limits.max_scram_iterations = options.max_scram_iterations;
        })
        .await;
        Self {
            proxy,
            _users: users,
            sockets,
        }
    }

    pub fn port(&self) -> u16 {
        self.proxy.port()
    }

    pub fn socket_directory(&self) -> std::path::Display<'_> {
        self.sockets.path().display()
    }
}

/// Certificates where a configuration can name them.
pub struct Files(TempDir);

impl Files {
    pub fn write(certificates: &Generated) -> Self {
        let files = Self(TempDir::new().unwrap());
        for (name, pem) in [
            ("ca.crt", &certificates.ca_pem),
            ("server.crt", &certificates.cert_pem),
            ("server.key", &certificates.key_pem),
        ] {
            std::fs::write(files.path(name), pem).unwrap();
        }
        files
    }

    pub fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }
}

pub fn connector(certificates: &Generated) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(certificates.ca_pem.as_bytes()).unwrap())
        .unwrap();
    let config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}
