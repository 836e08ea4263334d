//! Certificates that we show to a server which asks for them: psql and `Upstream::connect` get in, or do not, together.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use bemi::demo::cluster::ClusterOptions;

use crate::pki::{Authority, EXPIRED, FOR_SERVERS, Identity, UNCHANGED, openssl};
use crate::verdict::{connection_string, of_upstream, upstream};
use crate::{disagreement, server};

/// Files as `sslcert` and `sslkey` name them; psql wants the key for its owner only.
fn write(directory: &Path, name: &str, identity: &Identity) -> (PathBuf, PathBuf) {
    let (certificate, key) = (
        directory.join(format!("{name}.crt")),
        directory.join(format!("{name}.key")),
    );
    fs::write(&certificate, &identity.chain).expect("a certificate");
    fs::write(&key, &identity.key).expect("a key");
    protect(&key);
    (certificate, key)
}

fn protect(key: &Path) {
    fs::set_permissions(key, fs::Permissions::from_mode(0o600)).expect("permissions");
}

/// The key of `name` once more, as openssl writes it with `arguments`.
fn rewritten(directory: &Path, name: &str, suffix: &str, arguments: &str) -> PathBuf {
    let key = directory.join(format!("{name}.{suffix}"));
    openssl(
        directory,
        &format!("{arguments} -in {name}.key -out {name}.{suffix}"),
    );
    protect(&key);
    key
}

fn rsa_identity(directory: &Path, authority: &Path) -> Identity {
    let ca = authority.display();
    openssl(
        directory,
        "req -new -newkey rsa:2048 -nodes -out rsa.csr -keyout rsa.key -subj /CN=must_show_certificate",
    );
    openssl(
        directory,
        &format!(
            "x509 -req -in rsa.csr -days 365 -CA {ca}/ca.crt -CAkey {ca}/ca.key -CAcreateserial -out rsa.crt"
        ),
    );
    let read = |name: &str| fs::read_to_string(directory.join(name)).expect("a file that openssl made");
    Identity {
        chain: read("rsa.crt"),
        key: read("rsa.key"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn psql_and_upstream_agree_on_every_client_certificate() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path();
    let root = Authority::new("root", UNCHANGED);
    let other = Authority::new("other root", UNCHANGED);
    let sub = root.intermediate("intermediate", UNCHANGED);
    openssl(
        path,
        "req -new -x509 -nodes -newkey rsa:2048 -keyout ca.key -out ca.crt -subj /CN=manual-root",
    );
    let manual_root = fs::read_to_string(path.join("ca.crt")).expect("a certificate");
    let user = "must_show_certificate";
    let issue = |authority: &Authority, change| authority.issue(user, &[], change);

    let (good, good_key) = write(path, "good", &issue(&root, UNCHANGED));
    let (chained, chained_key) = write(path, "chained", &issue(&sub, UNCHANGED).with(&sub));
    let (short, short_key) = write(path, "short", &issue(&sub, UNCHANGED));
    let (stranger, stranger_key) = write(path, "stranger", &issue(&other, UNCHANGED));
    let (expired, expired_key) = write(path, "expired", &issue(&root, EXPIRED));
    let (servers, servers_key) = write(path, "servers", &issue(&root, FOR_SERVERS));
    let (rsa, rsa_key) = write(path, "rsa", &rsa_identity(path, path));
    let (nothing, no_key) = (path.join("nothing.crt"), path.join("nothing.key"));
    let sec1 = rewritten(path, "good", "sec1", "ec");
    let der = rewritten(path, "good", "der", "pkey -outform DER");
    let pkcs1 = rewritten(path, "rsa", "pkcs1", "rsa -traditional");

    let table = [
        ("right", &good, &good_key, true),
        ("key in SEC1", &good, &sec1, true),
        ("key in DER", &good, &der, true),
        ("version 1, RSA", &rsa, &rsa_key, true),
        ("key in PKCS#1", &rsa, &pkcs1, true),
        ("with its intermediate", &chained, &chained_key, true),
        ("without its intermediate", &short, &short_key, false),
        ("of an unknown authority", &stranger, &stranger_key, false),
        ("expired", &expired, &expired_key, false),
        ("for servers only", &servers, &servers_key, false),
        ("none", &nothing, &no_key, false),
        ("without its key", &good, &no_key, false),
        ("with the key of another", &good, &stranger_key, false),
    ];
    let authorities = format!("{}{manual_root}", root.pem());
    let cluster = server(
        &root.issue("db", &["db"], UNCHANGED),
        Some(authorities),
        ClusterOptions::default(),
    )
    .await;
    let port = cluster.port().to_string();
    for (what, certificate, key, expected) in table {
        for version in ["TLSv1.2", "TLSv1.3"] {
            let pairs = [
                ("host", "127.0.0.1"),
                ("port", &port),
                ("user", user),
                ("dbname", "postgres"),
                ("sslmode", "require"),
                ("sslcert", certificate.to_str().expect("a path")),
                ("sslkey", key.to_str().expect("a path")),
                ("ssl_min_protocol_version", version),
                ("ssl_max_protocol_version", version),
            ];
            let (psql, complaint) = disagreement(what, &connection_string(&pairs), path).await;
            assert_eq!(complaint, None);
            assert_eq!(psql.is_accepted(), expected, "{what}: {}", psql.reason());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_certificate_in_the_home_directory_is_shown_unless_sslcertmode_forbids() {
    let home = tempfile::tempdir().expect("a directory");
    let directory = home.path().join(".postgresql");
    fs::create_dir(&directory).expect("a directory");
    let root = Authority::new("root", UNCHANGED);
    write(
        &directory,
        "postgresql",
        &root.issue("must_show_certificate", &[], UNCHANGED),
    );
    let identity = root.issue("db", &["db"], UNCHANGED);
    let cluster = server(&identity, Some(root.pem()), ClusterOptions::default()).await;
    let port = cluster.port().to_string();
    let pairs = [
        ("host", "127.0.0.1"),
        ("port", &port),
        ("user", "must_show_certificate"),
        ("dbname", "postgres"),
        ("sslmode", "require"),
    ];
    let text = connection_string(&pairs);
    let (psql, complaint) = disagreement("from home", &text, home.path()).await;
    assert_eq!(complaint, None);
    assert!(psql.is_accepted(), "{}", psql.reason());
    let forbidden = of_upstream(&format!("{text} sslcertmode=disable"), home.path()).await;
    assert!(
        forbidden.reason().contains("valid client certificate"),
        "{forbidden:?}"
    );
}

#[test]
fn an_encrypted_key_is_refused_with_the_remedy() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path();
    let (certificate, _) = write(
        path,
        "good",
        &Authority::new("root", UNCHANGED).issue("u", &[], UNCHANGED),
    );
    let in_two_forms = [
        rewritten(path, "good", "pkcs8", "pkcs8 -topk8 -passout pass:secret"),
        rewritten(path, "good", "traditional", "ec -aes128 -passout pass:secret"),
    ];
    for key in in_two_forms {
        let pairs = [
            ("host", "h"),
            ("sslmode", "require"),
            ("sslcert", certificate.to_str().expect("a path")),
            ("sslkey", key.to_str().expect("a path")),
        ];
        let error = upstream(&connection_string(&pairs), path).expect_err("an encrypted key");
        assert!(
            error.contains("encrypted with a passphrase") && error.contains("openssl pkey -in"),
            "{error}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_of_the_generator_script_work_on_both_sides() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path();
    let generate = |arguments: &[&str]| {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/certs/generate.sh");
        let output = Command::new(script)
            .args(arguments)
            .env("OUT", path)
            .output()
            .expect("the script");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    };
    generate(&["server", "db.example", "127.0.0.1"]);
    generate(&["client", "must_show_certificate"]);
    let read = |name: &str| fs::read_to_string(path.join(name)).expect("a file of the script");
    let identity = Identity {
        chain: read("server.crt"),
        key: read("server.key"),
    };
    let cluster = server(&identity, Some(read("ca.crt")), ClusterOptions::default()).await;
    let port = cluster.port().to_string();
    let file = |name: &str| path.join(name).to_str().expect("a path").to_owned();
    for host in ["db.example", "127.0.0.1"] {
        let pairs = [
            ("host", host),
            ("hostaddr", "127.0.0.1"),
            ("port", &port),
            ("user", "must_show_certificate"),
            ("dbname", "postgres"),
            ("sslmode", "verify-full"),
            ("sslrootcert", &file("ca.crt")),
            ("sslcert", &file("must_show_certificate.crt")),
            ("sslkey", &file("must_show_certificate.key")),
        ];
        let (psql, complaint) = disagreement(host, &connection_string(&pairs), path).await;
        assert_eq!(complaint, None);
        assert!(psql.is_accepted(), "{host}: {}", psql.reason());
    }
}
