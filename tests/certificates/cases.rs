//! The server certificates of the matrix, one by one.

mod chains;
mod names;

use std::path::Path;

use rcgen::{KeyPair, PKCS_ECDSA_P384_SHA384};

use crate::pki::{
    Authority, EXPIRED, FOR_CLIENTS, IS_NO_AUTHORITY, Identity, NOT_YET_VALID, UNCHANGED,
    WITHOUT_KEY_IDENTIFIER, manual_chain, manual_self_signed, self_signed_with,
};

/// The strongest mode in which psql accepts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strongest {
    VerifyFull,
    VerifyCa,
    /// None that looks at the certificate.
    Nothing,
}

/// A certificate that the server shows, what the client trusts, and by which name it calls.
pub struct Case {
    pub what: &'static str,
    pub server: Identity,
    /// PEM: `sslrootcert`.
    pub trusted: String,
    pub host: &'static str,
    pub strongest: Strongest,
}

const NAME: &str = "db.example";

fn case(
    what: &'static str,
    server: Identity,
    trusted: &str,
    host: &'static str,
    strongest: Strongest,
) -> Case {
    Case {
        what,
        server,
        trusted: trusted.to_owned(),
        host,
        strongest,
    }
}

pub fn all(directory: &Path) -> Vec<Case> {
    let mut cases = validity_and_authority();
    cases.extend(names::names());
    cases.extend(chains::chains());
    cases.extend(chains::purposes());
    cases.extend(chains::constraints());
    cases.extend(self_signed(directory));
    cases.extend(after_the_manual(directory));
    cases.extend(algorithms(directory));
    cases
}

fn validity_and_authority() -> Vec<Case> {
    use Strongest::*;
    let root = Authority::new("root", UNCHANGED);
    let other = Authority::new("other root", UNCHANGED);
    let namesake = Authority::new("root", UNCHANGED);
    let expired_root = Authority::new("expired root", EXPIRED);
    let both = format!("{}{}{}", other.pem(), namesake.pem(), root.pem());
    let issue = |change| root.issue(NAME, &[NAME], change);
    vec![
        case("good", issue(UNCHANGED), &root.pem(), NAME, VerifyFull),
        case(
            "good, among several roots, one of the same name",
            issue(UNCHANGED),
            &both,
            NAME,
            VerifyFull,
        ),
        case("expired", issue(EXPIRED), &root.pem(), NAME, Nothing),
        case("not yet valid", issue(NOT_YET_VALID), &root.pem(), NAME, Nothing),
        case(
            "of an unknown authority",
            issue(UNCHANGED),
            &other.pem(),
            NAME,
            Nothing,
        ),
        case(
            "of another authority of the same name",
            issue(UNCHANGED),
            &namesake.pem(),
            NAME,
            Nothing,
        ),
        case(
            "of another authority of the same name, key not named",
            issue(WITHOUT_KEY_IDENTIFIER),
            &namesake.pem(),
            NAME,
            Nothing,
        ),
        case(
            "of an expired authority",
            expired_root.issue(NAME, &[NAME], UNCHANGED),
            &expired_root.pem(),
            NAME,
            Nothing,
        ),
    ]
}

fn self_signed(directory: &Path) -> Vec<Case> {
    use Strongest::*;
    let root = Authority::new("root", UNCHANGED);
    let plain = Identity::self_signed(NAME, &[NAME], UNCHANGED);
    let no_authority = Identity::self_signed(NAME, &[NAME], IS_NO_AUTHORITY);
    let expired = Identity::self_signed(NAME, &[NAME], EXPIRED);
    let for_clients = Identity::self_signed(NAME, &[NAME], FOR_CLIENTS);
    let other = Identity::self_signed(NAME, &[NAME], UNCHANGED);
    let manual = manual_self_signed(directory, NAME);
    let own =
        |what, identity: &Identity, strongest| case(what, identity.clone(), &identity.chain, NAME, strongest);
    vec![
        own("after the manual, as its own root", &manual, VerifyFull),
        own("self-signed, as its own root", &plain, VerifyFull),
        own(
            "self-signed and no authority, as its own root",
            &no_authority,
            VerifyFull,
        ),
        own("self-signed and expired, as its own root", &expired, Nothing),
        own("self-signed for clients, as its own root", &for_clients, Nothing),
        case(
            "self-signed, not trusted",
            plain.clone(),
            &root.pem(),
            NAME,
            Nothing,
        ),
        case(
            "self-signed, another of the same name trusted",
            plain,
            &other.chain,
            NAME,
            Nothing,
        ),
        case(
            "after the manual, by another name",
            manual.clone(),
            &manual.chain,
            "other.example",
            VerifyCa,
        ),
    ]
}

fn after_the_manual(directory: &Path) -> Vec<Case> {
    use Strongest::*;
    let (root, intermediate, leaf) = manual_chain(directory, NAME);
    let sent = Identity {
        chain: format!("{}{intermediate}", leaf.chain),
        key: leaf.key.clone(),
    };
    vec![
        case("chain after the manual", sent, &root, NAME, VerifyFull),
        case(
            "chain after the manual, intermediate not sent",
            leaf.clone(),
            &root,
            NAME,
            Nothing,
        ),
        case(
            "issued by a certificate of version 1",
            leaf.clone(),
            &leaf.chain,
            NAME,
            Nothing,
        ),
    ]
}

fn algorithms(directory: &Path) -> Vec<Case> {
    use Strongest::*;
    let root = Authority::new("root", UNCHANGED);
    let p384 = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).expect("a key");
    let p384 = root.issue_for(p384, NAME, &[NAME], UNCHANGED);
    let own = |what, arguments: &str| {
        let identity = self_signed_with(directory, &format!("{arguments} -subj /CN={NAME}"));
        case(what, identity.clone(), &identity.chain, NAME, VerifyFull)
    };
    vec![
        case("ECDSA P-384", p384, &root.pem(), NAME, VerifyFull),
        own("Ed25519", "-newkey ed25519"),
        own("RSA with SHA-512", "-newkey rsa:2048 -sha512"),
        own("RSA with 3072 bits", "-newkey rsa:3072 -sha256"),
        own(
            "RSA-PSS",
            "-newkey rsa:2048 -sha256 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:32",
        ),
    ]
}
