//! The end-point hash of a certificate is the one openssl computes with the hash RFC 5929 asks for.

use std::path::Path;
use std::process::Command;

use bemi::tls::channel_binding::{ChannelBindingError, end_point_hash};

use crate::pki::{Identity, openssl, self_signed_with};

fn digest_by_openssl(directory: &Path, hash: &str) -> Vec<u8> {
    openssl(directory, "x509 -in server.crt -outform DER -out server.der");
    let output = Command::new("openssl")
        .args(["dgst", hash, "-binary", "server.der"])
        .current_dir(directory)
        .output()
        .expect("openssl on PATH");
    assert!(output.status.success());
    output.stdout
}

#[test]
fn the_end_point_hash_is_the_one_of_the_signature_or_sha256() {
    let directory = tempfile::tempdir().expect("a directory");
    let table = [
        ("-newkey rsa:2048 -sha256", "-sha256"),
        ("-newkey rsa:2048 -sha384", "-sha384"),
        ("-newkey rsa:2048 -sha512", "-sha512"),
        ("-newkey rsa:2048 -sha1", "-sha256"),
        ("-newkey rsa:2048 -md5", "-sha256"),
        (
            "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -sha256",
            "-sha256",
        ),
        (
            "-newkey ec -pkeyopt ec_paramgen_curve:secp384r1 -sha384",
            "-sha384",
        ),
        (
            "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -sha1",
            "-sha256",
        ),
        ("-newkey rsa:2048 -sha384 -sigopt rsa_padding_mode:pss", "-sha384"),
    ];
    for (made_with, hash) in table {
        let identity = self_signed_with(directory.path(), &format!("{made_with} -subj /CN=x"));
        let expected = digest_by_openssl(directory.path(), hash);
        assert_eq!(end_point_hash(&identity.der()), Ok(expected), "{made_with}");
    }
}

#[test]
fn a_signature_without_a_hash_has_no_end_point_hash() {
    let directory = tempfile::tempdir().expect("a directory");
    let identity: Identity = self_signed_with(directory.path(), "-newkey ed25519 -subj /CN=x");
    assert!(matches!(
        end_point_hash(&identity.der()),
        Err(ChannelBindingError::NoHash { .. })
    ));
    assert!(matches!(
        end_point_hash(b"no certificate"),
        Err(ChannelBindingError::Malformed(_))
    ));
}
