//! The server of these tests, with a user of every kind, and psql.

use std::collections::HashMap;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use bemi::demo::cluster::{Cluster, ClusterOptions, ServerTls};
use bemi::tls::generate::{Generated, authority_and_server};
use tokio::process::Command;
use tokio::sync::OnceCell;

use crate::front::Files;

const HBA: &str = "
local all all trust
host all postgres all trust
host all md5 all md5
host all md5_with_scram_secret all md5
host all clear all password
host all clear_with_md5_hash all password
host all trusted all trust
host all rejected all reject
host all all all scram-sha-256
";

const ROLES: &str = r#"
SET password_encryption = 'scram-sha-256';
CREATE ROLE scram LOGIN PASSWORD 'pencil';
CREATE ROLE md5_with_scram_secret LOGIN PASSWORD 'pencil';
CREATE ROLE clear LOGIN PASSWORD 'pencil';
CREATE ROLE trusted LOGIN PASSWORD 'pencil';
CREATE ROLE rejected LOGIN PASSWORD 'pencil';
CREATE ROLE no_password LOGIN;
CREATE ROLE expired LOGIN PASSWORD 'pencil' VALID UNTIL '2000-01-01';
CREATE ROLE no_login NOLOGIN PASSWORD 'pencil';
CREATE ROLE unicode LOGIN PASSWORD U&'pen\00A0cil';
CREATE ROLE hyphen LOGIN PASSWORD U&'\00AD';
CREATE ROLE bell LOGIN PASSWORD E'pen\x07cil';
CREATE ROLE "Mixed ""Case""" LOGIN PASSWORD 'p"w;#\ ';
CREATE ROLE slow LOGIN PASSWORD 'SCRAM-SHA-256$200000:MDEyMzQ1Njc4OWFiY2RlZg==$hYPdnwc9oAaGf2FemsOa5BRUVyZR+jKZQuGACkzo9bs=:0oduMibdUA9dfP00jUKB7AM3cfcEj9AMPf97a7QwWLw=';
SET password_encryption = 'md5';
CREATE ROLE md5 LOGIN PASSWORD 'pencil';
CREATE ROLE clear_with_md5_hash LOGIN PASSWORD 'pencil';
"#;

type Login = (String, Option<String>, bool);

pub struct TestServer {
    cluster: Cluster,
    direct: Mutex<HashMap<Login, Arc<OnceCell<Seen>>>>,
    pub certificates: Generated,
    /// The same, on disk.
    pub files: Files,
}

/// What a user of psql sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub success: bool,
    pub stdout: String,
    /// Without the port, the one thing that may differ.
    pub stderr: String,
}

/// The server that all tests of this binary share.
pub async fn server() -> &'static TestServer {
    static SERVER: OnceCell<TestServer> = OnceCell::const_new();
    SERVER
        .get_or_init(|| async {
            let server = tokio::task::spawn_blocking(TestServer::start).await.unwrap();
            server.psql_as_superuser(ROLES).await;
            server
        })
        .await
}

impl TestServer {
    fn start() -> Self {
        let certificates = authority_and_server(&["localhost", "127.0.0.1"]).unwrap();
        let options = ClusterOptions {
            hba: Some(HBA.to_owned()),
            tls: Some(ServerTls {
                cert_pem: certificates.cert_pem.clone(),
                key_pem: certificates.key_pem.clone(),
                client_ca_pem: None,
            }),
            ..ClusterOptions::default()
        };
        let cluster = Cluster::start(&options).unwrap();
        let files = Files::write(&certificates);
        Self {
            cluster,
            files,
            direct: Mutex::default(),
            certificates,
        }
    }

    pub fn port(&self) -> u16 {
        self.cluster.port()
    }

    pub async fn psql(&self, port: u16, user: &str, password: Option<&str>, tls: bool) -> Seen {
        self.psql_with(port, user, password, tls, "").await
    }

    /// What psql says without a proxy; asked once for each case.
    pub async fn direct(&self, user: &str, password: Option<&str>, tls: bool) -> Seen {
        let key = (user.to_owned(), password.map(str::to_owned), tls);
        let answer = self.direct.lock().unwrap().entry(key).or_default().clone();
        answer
            .get_or_init(|| self.psql(self.port(), user, password, tls))
            .await
            .clone()
    }

    /// `more` are further connection parameters.
    pub async fn psql_with(
        &self,
        port: u16,
        user: &str,
        password: Option<&str>,
        tls: bool,
        more: &str,
    ) -> Seen {
        let sslmode = if tls { "require" } else { "disable" };
        let user = user.replace('\\', "\\\\").replace('\'', "\\'");
        let connection = format!(
            "host=127.0.0.1 port={port} dbname=postgres user='{user}' sslmode={sslmode} gssencmode=disable {more}"
        );
        let mut psql = Command::new("psql");
        psql.args([
            "-X",
            "-w",
            "-A",
            "-t",
            "-d",
            &connection,
            "-c",
            "SELECT current_user || ' logged in'",
        ])
        .env_remove("PGPASSWORD")
        .env("PGPASSFILE", "/dev/null")
        .env("PGCLIENTENCODING", "UTF8")
        .stdin(Stdio::null());
        if let Some(password) = password {
            psql.env("PGPASSWORD", password);
        }
        let output = psql.output().await.expect("psql");
        Seen {
            success: output.status.success(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr)
                .unwrap()
                .replace(&format!("port {port} "), ""),
        }
    }

    /// `rolpassword` of `user`.
    pub async fn stored_secret(&self, user: &str) -> String {
        let query = format!("SELECT rolpassword FROM pg_authid WHERE rolname = '{user}'");
        self.psql_as_superuser(&query).await.trim().to_owned()
    }

    async fn psql_as_superuser(&self, commands: &str) -> String {
        let connection = format!(
            "host=127.0.0.1 port={} dbname=postgres user=postgres",
            self.port()
        );
        let output = Command::new("psql")
            .args([
                "-X",
                "-w",
                "-q",
                "-A",
                "-t",
                "-v",
                "ON_ERROR_STOP=1",
                "-d",
                &connection,
                "-c",
                commands,
            ])
            .output()
            .await
            .expect("psql");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }
}
