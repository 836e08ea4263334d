//! Makes the certificates of the matrix: with rcgen, where every field can be set, and with openssl, after the recipes
//! of PostgreSQL's manual.

use std::path::Path;
use std::process::Command;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType, date_time_ymd,
};

/// A certificate as a server or client shows it: its chain, and its key.
#[derive(Clone)]
pub struct Identity {
    /// PEM: the holder's certificate first.
    pub chain: String,
    /// PEM, PKCS#8.
    pub key: String,
}

/// An authority of a test.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// Changes what a certificate would say by default.
pub type Change = fn(&mut CertificateParams);

/// For certificates that are as they should be.
pub const UNCHANGED: Change = |_| ();

impl Authority {
    pub fn new(name: &str, change: Change) -> Self {
        Self(CertifiedIssuer::self_signed(authority_params(name, change), key()).expect("an authority"))
    }

    pub fn intermediate(&self, name: &str, change: Change) -> Self {
        Self(
            CertifiedIssuer::signed_by(authority_params(name, change), key(), &self.0)
                .expect("an intermediate"),
        )
    }

    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// `names` as [`holder_params`] has them.
    pub fn issue(&self, common_name: &str, names: &[&str], change: Change) -> Identity {
        self.issue_for(key(), common_name, names, change)
    }

    pub fn issue_for(&self, key: KeyPair, common_name: &str, names: &[&str], change: Change) -> Identity {
        let params = holder_params(common_name, names, change);
        let certificate = params.signed_by(&key, &self.0).expect("a certificate");
        Identity {
            chain: certificate.pem(),
            key: key.serialize_pem(),
        }
    }
}

impl Identity {
    pub fn self_signed(common_name: &str, names: &[&str], change: Change) -> Self {
        let key = key();
        let certificate = holder_params(common_name, names, change)
            .self_signed(&key)
            .expect("a certificate");
        Self {
            chain: certificate.pem(),
            key: key.serialize_pem(),
        }
    }

    /// The same, sending `authority` along.
    pub fn with(mut self, authority: &Authority) -> Self {
        self.chain.push_str(&authority.pem());
        self
    }

    pub fn der(&self) -> Vec<u8> {
        let (_, pem) = x509_parser::pem::parse_x509_pem(self.chain.as_bytes()).expect("PEM");
        pem.contents
    }
}

fn key() -> KeyPair {
    KeyPair::generate().expect("a key")
}

fn authority_params(name: &str, change: Change) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.use_authority_key_identifier_extension = true;
    change(&mut params);
    params
}

/// A name that is an address becomes an `iPAddress`, unless `dns:` stands before it.
fn holder_params(common_name: &str, names: &[&str], change: Change) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, common_name);
    let alternative = names.iter().map(|name| match name.parse() {
        Ok(address) => SanType::IpAddress(address),
        Err(_) => SanType::DnsName(name.trim_start_matches("dns:").try_into().expect("ASCII")),
    });
    params.subject_alt_names = alternative.collect();
    params.use_authority_key_identifier_extension = true;
    change(&mut params);
    params
}

pub const EXPIRED: Change = |params| params.not_after = date_time_ymd(2020, 1, 1);
pub const NOT_YET_VALID: Change = |params| params.not_before = date_time_ymd(3000, 1, 1);
pub const IS_AUTHORITY: Change = |params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
pub const IS_NO_AUTHORITY: Change = |params| params.is_ca = IsCa::ExplicitNoCa;
pub const SAYS_NOTHING_OF_AUTHORITY: Change = |params| {
    params.is_ca = IsCa::NoCa;
    params.key_usages = Vec::new();
};
pub const ISSUES_TO_HOLDERS_ONLY: Change = |params| params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
pub const MAY_NOT_SIGN: Change = |params| params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
pub const FOR_CLIENTS: Change =
    |params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
pub const FOR_SERVERS: Change =
    |params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
pub const FOR_ANYTHING: Change = |params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::Any];
pub const SIGNS_CERTIFICATES_ONLY: Change = |params| params.key_usages = vec![KeyUsagePurpose::KeyCertSign];

/// Does not say which key of its issuer signed it, so that only the signature can tell.
pub const WITHOUT_KEY_IDENTIFIER: Change = |params| params.use_authority_key_identifier_extension = false;

/// A critical extension that nobody has heard of.
pub const HAS_UNKNOWN_CRITICAL_EXTENSION: Change = |params| {
    let mut extension = rcgen::CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 55555, 1], vec![5, 0]);
    extension.set_criticality(true);
    params.custom_extensions.push(extension);
};

/// An authority for `*.example` only.
pub const FOR_EXAMPLE_ONLY: Change = |params| {
    params.name_constraints = Some(rcgen::NameConstraints {
        permitted_subtrees: vec![rcgen::GeneralSubtree::DnsName("example".to_owned())],
        excluded_subtrees: Vec::new(),
    });
};

/// Runs openssl in `directory`; `arguments` are separated by spaces.
pub fn openssl(directory: &Path, arguments: &str) {
    let output = Command::new("openssl")
        .args(arguments.split(' '))
        .current_dir(directory)
        .output()
        .expect("openssl (package openssl) on PATH");
    assert!(
        output.status.success(),
        "openssl {arguments}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn read(directory: &Path, name: &str) -> String {
    std::fs::read_to_string(directory.join(name)).expect("a file that openssl made")
}

/// The manual's recipe for a certificate that signs itself ("Creating Certificates").
pub fn manual_self_signed(directory: &Path, name: &str) -> Identity {
    openssl(
        directory,
        &format!("req -new -x509 -days 365 -nodes -text -out server.crt -keyout server.key -subj /CN={name}"),
    );
    Identity {
        chain: read(directory, "server.crt"),
        key: read(directory, "server.key"),
    }
}

/// The manual's recipe for a root, an intermediate and a server certificate signed by it, the last of version 1.
/// The root's PEM, the intermediate's PEM, and the server's identity without the intermediate.
pub fn manual_chain(directory: &Path, name: &str) -> (String, String, Identity) {
    std::fs::write(
        directory.join("ca.cnf"),
        "[v3_ca]\nbasicConstraints=critical,CA:true\n",
    )
    .expect("a file");
    for (who, subject) in [
        ("root", "manual-root"),
        ("intermediate", "manual-intermediate"),
        ("leaf", name),
    ] {
        openssl(
            directory,
            &format!("req -new -nodes -text -out {who}.csr -keyout {who}.key -subj /CN={subject}"),
        );
    }
    openssl(
        directory,
        "x509 -req -in root.csr -text -days 3650 -extfile ca.cnf -extensions v3_ca -signkey root.key -out root.crt",
    );
    openssl(
        directory,
        "x509 -req -in intermediate.csr -text -days 1825 -extfile ca.cnf -extensions v3_ca -CA root.crt -CAkey root.key -CAcreateserial -out intermediate.crt",
    );
    openssl(
        directory,
        "x509 -req -in leaf.csr -text -days 365 -CA intermediate.crt -CAkey intermediate.key -CAcreateserial -out leaf.crt",
    );
    let leaf = Identity {
        chain: read(directory, "leaf.crt"),
        key: read(directory, "leaf.key"),
    };
    (
        read(directory, "root.crt"),
        read(directory, "intermediate.crt"),
        leaf,
    )
}

/// A certificate that signs itself, made with more arguments to `openssl req`.
pub fn self_signed_with(directory: &Path, arguments: &str) -> Identity {
    openssl(
        directory,
        &format!("req -new -x509 -days 365 -nodes -out server.crt -keyout server.key {arguments}"),
    );
    Identity {
        chain: read(directory, "server.crt"),
        key: read(directory, "server.key"),
    }
}
