//! A reload shows clients the new certificate; one that cannot be used changes nothing.

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use bemi::tls::generate::{Generated, authority_and_server};
use support::proxy;

/// Whether psql connects to the proxy and trusts the certificate it shows.
fn trusts(port: u16, authority: &Path) -> bool {
    let target = format!(
        "host=localhost hostaddr=127.0.0.1 port={port} user=postgres dbname=postgres sslmode=verify-full sslrootcert={}",
        authority.display()
    );
    let output = Command::new("psql")
        .args(["-X", "-w", "-c", "SELECT 1", &target])
        .output();
    output.expect("psql on PATH").status.success()
}

fn put(generated: &Generated, directory: &Path, authority: &str) {
    fs::write(directory.join("server.crt"), &generated.cert_pem).expect("the certificate");
    fs::write(directory.join("server.key"), &generated.key_pem).expect("the key");
    fs::write(directory.join(authority), &generated.ca_pem).expect("the authority");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_shows_the_new_certificate_and_a_bad_one_changes_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let place = |name: &str| directory.path().join(name);
    let [old, new] = [(); 2].map(|()| authority_and_server(&["localhost"]).expect("certificates"));
    put(&old, directory.path(), "old.crt");
    let proxy = proxy::start_with(support::cluster(), |config| {
        config.tls.certificate = Some(place("server.crt"));
        config.tls.key = Some(place("server.key"));
    })
    .await;
    assert!(trusts(proxy.port(), &place("old.crt")));

    put(&new, directory.path(), "new.crt");
    assert!(
        trusts(proxy.port(), &place("old.crt")),
        "nothing changes before the reload"
    );
    proxy.handle.reload(proxy.handle.config()).expect("a reload");
    assert!(trusts(proxy.port(), &place("new.crt")));
    assert!(!trusts(proxy.port(), &place("old.crt")));

    fs::write(place("server.crt"), "no certificate").expect("a bad file");
    let refused = proxy.handle.reload(proxy.handle.config()).expect_err("refused");
    assert!(refused.to_string().contains("server.crt"), "{refused}");
    assert!(
        trusts(proxy.port(), &place("new.crt")),
        "the old configuration stays"
    );
}
