//! The server and the proxy in front of it, as in production: passwords, and TLS on both legs.

use std::fs;

use bemi::demo::cluster::{Cluster, ClusterOptions, ServerTls};
use tempfile::TempDir;

use crate::pki::{Authority, Identity, UNCHANGED};
use crate::support;
use crate::support::bemi_process::BemiProcess;

/// The role that suites log in as.
pub const USER: &str = "app";
pub const PASSWORD: &str = "secret-of-app";

/// The tests' own role needs no password; that of the suites needs one, with TLS or without.
const HBA: &str = "
local all all trust
host all postgres 127.0.0.1/32 trust
host all all 127.0.0.1/32 scram-sha-256
";

/// Clients bind their login to the proxy's certificate, it binds its own to the server's.
const PROXY: &[&str] = &[
    "--tls-certificate",
    "proxy.crt",
    "--tls-key",
    "proxy.key",
    "--auth-mode",
    "scram",
    "--users-file",
    "users.txt",
];

/// A server, a proxy, and the certificates of both.
pub struct Stage {
    pub cluster: Cluster,
    proxy: BemiProcess,
    files: TempDir,
}

impl Stage {
    pub async fn start() -> Self {
        let authority = Authority::new("root of both", UNCHANGED);
        let names = ["localhost", "127.0.0.1"];
        // Two certificates: a login bound to the one is worth nothing at the other.
        let (server, front) = (
            authority.issue("server", &names, UNCHANGED),
            authority.issue("proxy", &names, UNCHANGED),
        );
        let files = TempDir::new().expect("a directory");
        let write = |name: &str, text: &str| {
            fs::write(files.path().join(name), text).expect("a file");
        };
        write("root.crt", &authority.pem());
        write("wrong.crt", &Authority::new("a stranger", UNCHANGED).pem());
        write("proxy.crt", &front.chain);
        write("proxy.key", &front.key);
        write("users.txt", &format!("\"{USER}\" \"{PASSWORD}\"\n"));
        let cluster = Cluster::start(&options(server)).expect("a throw-away server");
        support::connect(cluster.port(), "postgres")
            .await
            .batch_execute(&format!("CREATE ROLE {USER} LOGIN PASSWORD '{PASSWORD}'"))
            .await
            .expect("a role");
        let upstream = cluster.url(
            "postgres",
            &[("sslmode", "verify-full"), ("sslrootcert", "root.crt")],
        );
        let proxy = BemiProcess::start(&upstream, files.path(), PROXY);
        Self {
            cluster,
            proxy,
            files,
        }
    }

    /// Where the proxy listens.
    pub fn proxy(&self) -> u16 {
        self.proxy.port()
    }

    /// Path of the certificate that signed both the server's and the proxy's.
    pub fn root(&self) -> String {
        self.path("root.crt")
    }

    /// Path of one that signed neither.
    pub fn wrong_root(&self) -> String {
        self.path("wrong.crt")
    }

    fn path(&self, name: &str) -> String {
        self.files.path().join(name).display().to_string()
    }
}

fn options(server: Identity) -> ClusterOptions {
    let options = ClusterOptions {
        hba: Some(HBA.to_owned()),
        tls: Some(ServerTls {
            cert_pem: server.chain,
            key_pem: server.key,
            client_ca_pem: None,
        }),
        ..ClusterOptions::default()
    };
    // A vacuum between two statements changes where rows lie, and with it the order in which one statement changes many.
    options.setting("autovacuum", "off")
}
