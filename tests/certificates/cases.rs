//! The server certificates of the matrix, one by one.

use std::path::Path;

use rcgen::{KeyPair, PKCS_ECDSA_P384_SHA384};

use super::pki::*;

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
    cases.extend(names());
    cases.extend(chains());
    cases.extend(purposes());
    cases.extend(constraints());
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
            "of an expired authority",
            expired_root.issue(NAME, &[NAME], UNCHANGED),
            &expired_root.pem(),
            NAME,
            Nothing,
        ),
    ]
}

/// What is tried, common name, alternative names, host asked for, verdict.
type NameCase = (
    &'static str,
    &'static str,
    &'static [&'static str],
    &'static str,
    Strongest,
);

fn names() -> Vec<Case> {
    use Strongest::*;
    let root = Authority::new("root", UNCHANGED);
    let trusted = root.pem();
    let table: &[NameCase] = &[
        ("wrong name", "other.example", &["other.example"], NAME, VerifyCa),
        ("common name only", NAME, &[], NAME, VerifyFull),
        ("wrong common name only", "other.example", &[], NAME, VerifyCa),
        (
            "right common name beside a wrong alternative name",
            NAME,
            &["other.example"],
            NAME,
            VerifyCa,
        ),
        (
            "right common name beside an address",
            NAME,
            &["127.0.0.1"],
            NAME,
            VerifyFull,
        ),
        (
            "right alternative name after a wrong one",
            "x",
            &["other.example", NAME],
            NAME,
            VerifyFull,
        ),
        (
            "alternative name in other case",
            "x",
            &["DB.Example"],
            NAME,
            VerifyFull,
        ),
        ("wildcard", "x", &["*.example"], NAME, VerifyFull),
        ("wildcard in the common name", "*.example", &[], NAME, VerifyFull),
        (
            "wildcard for two labels",
            "x",
            &["*.example"],
            "a.db.example",
            VerifyCa,
        ),
        (
            "wildcard without a label",
            "x",
            &["*.example"],
            "example",
            VerifyCa,
        ),
        (
            "wildcard for part of a label",
            "x",
            &["d*.example"],
            NAME,
            VerifyCa,
        ),
        (
            "wildcard in the middle",
            "x",
            &["db.*.example"],
            "db.a.example",
            VerifyCa,
        ),
        ("wildcard alone", "x", &["*"], NAME, VerifyCa),
        ("address", "x", &["127.0.0.1"], "127.0.0.1", VerifyFull),
        (
            "address in an old notation",
            "x",
            &["127.0.0.1"],
            "127.1",
            VerifyFull,
        ),
        ("other address", "x", &["127.0.0.2"], "127.0.0.1", VerifyCa),
        (
            "address spelled as a name",
            "x",
            &["dns:127.0.0.1"],
            "127.0.0.1",
            VerifyFull,
        ),
        (
            "address in the common name",
            "127.0.0.1",
            &[],
            "127.0.0.1",
            VerifyFull,
        ),
        (
            "address in the common name beside a name",
            "127.0.0.1",
            &[NAME],
            "127.0.0.1",
            VerifyFull,
        ),
        (
            "address in the common name beside another",
            "127.0.0.1",
            &["10.0.0.1"],
            "127.0.0.1",
            VerifyCa,
        ),
        ("IPv6 address", "x", &["::1"], "::1", VerifyFull),
        (
            "IPv6 address, host in another notation",
            "x",
            &["::1"],
            "0:0:0::1",
            VerifyFull,
        ),
        ("name asked for by address", NAME, &[NAME], "127.0.0.1", VerifyCa),
    ];
    let issue = |&(what, common_name, names, host, strongest): &NameCase| {
        case(
            what,
            root.issue(common_name, names, UNCHANGED),
            &trusted,
            host,
            strongest,
        )
    };
    table.iter().map(issue).collect()
}

fn chains() -> Vec<Case> {
    use Strongest::*;
    let root = Authority::new("root", UNCHANGED);
    let sub = root.intermediate("intermediate", UNCHANGED);
    let sub_sub = sub.intermediate("second intermediate", UNCHANGED);
    let leaf = sub.issue(NAME, &[NAME], UNCHANGED);
    let deep = sub_sub.issue(NAME, &[NAME], UNCHANGED);
    let both = format!("{}{}", root.pem(), sub.pem());
    let only_sub = sub.pem();
    let expired = root.intermediate("expired intermediate", EXPIRED);
    let no_authority = root.intermediate("no authority", IS_NO_AUTHORITY);
    let silent = root.intermediate("says nothing", SAYS_NOTHING_OF_AUTHORITY);
    let may_not_sign = root.intermediate("may not sign", MAY_NOT_SIGN);
    let short = Authority::new("short root", ISSUES_TO_HOLDERS_ONLY);
    let below_short = short.intermediate("below a short root", UNCHANGED);
    let via = |authority: &Authority| authority.issue(NAME, &[NAME], UNCHANGED).with(authority);
    let trusted = &root.pem();
    vec![
        case(
            "intermediate sent",
            leaf.clone().with(&sub),
            trusted,
            NAME,
            VerifyFull,
        ),
        case("intermediate not sent", leaf.clone(), trusted, NAME, Nothing),
        case(
            "intermediate not sent but in the file",
            leaf.clone(),
            &both,
            NAME,
            VerifyFull,
        ),
        case(
            "only the intermediate in the file",
            leaf.clone(),
            &only_sub,
            NAME,
            Nothing,
        ),
        case(
            "only the intermediate in the file, sent too",
            leaf.clone().with(&sub),
            &only_sub,
            NAME,
            Nothing,
        ),
        case(
            "only the intermediate in the file, root sent",
            leaf.clone().with(&sub).with(&root),
            &only_sub,
            NAME,
            Nothing,
        ),
        case(
            "root sent along",
            leaf.with(&sub).with(&root),
            trusted,
            NAME,
            VerifyFull,
        ),
        case(
            "two intermediates",
            deep.clone().with(&sub_sub).with(&sub),
            trusted,
            NAME,
            VerifyFull,
        ),
        case(
            "two intermediates in the wrong order",
            deep.clone().with(&sub).with(&sub_sub),
            trusted,
            NAME,
            VerifyFull,
        ),
        case(
            "lower intermediate missing",
            deep.clone().with(&sub),
            trusted,
            NAME,
            Nothing,
        ),
        case(
            "upper intermediate missing",
            deep.with(&sub_sub),
            trusted,
            NAME,
            Nothing,
        ),
        case("expired intermediate", via(&expired), trusted, NAME, Nothing),
        case(
            "intermediate that is no authority",
            via(&no_authority),
            trusted,
            NAME,
            Nothing,
        ),
        case(
            "intermediate that does not say it is one",
            via(&silent),
            trusted,
            NAME,
            Nothing,
        ),
        case(
            "intermediate that may not sign",
            via(&may_not_sign),
            trusted,
            NAME,
            Nothing,
        ),
        case(
            "more intermediates than allowed",
            via(&below_short),
            &short.pem(),
            NAME,
            Nothing,
        ),
        case(
            "path length not used up",
            short.issue(NAME, &[NAME], UNCHANGED),
            &short.pem(),
            NAME,
            VerifyFull,
        ),
    ]
}

fn purposes() -> Vec<Case> {
    use Strongest::*;
    let root = Authority::new("root", UNCHANGED);
    let client_root = Authority::new("root for clients", FOR_CLIENTS);
    let trusted = &root.pem();
    let issue = |change| root.issue(NAME, &[NAME], change);
    vec![
        case("for servers", issue(FOR_SERVERS), trusted, NAME, VerifyFull),
        case("for clients only", issue(FOR_CLIENTS), trusted, NAME, Nothing),
        case("for any purpose", issue(FOR_ANYTHING), trusted, NAME, Nothing),
        case(
            "for signing certificates only",
            issue(SIGNS_CERTIFICATES_ONLY),
            trusted,
            NAME,
            Nothing,
        ),
        case(
            "an authority itself",
            issue(IS_AUTHORITY),
            trusted,
            NAME,
            VerifyFull,
        ),
        case(
            "of an authority for clients",
            client_root.issue(NAME, &[NAME], UNCHANGED),
            &client_root.pem(),
            NAME,
            Nothing,
        ),
        case(
            "with an unknown critical extension",
            issue(HAS_UNKNOWN_CRITICAL_EXTENSION),
            trusted,
            NAME,
            Nothing,
        ),
    ]
}

fn constraints() -> Vec<Case> {
    use Strongest::*;
    let root = Authority::new("constrained root", FOR_EXAMPLE_ONLY);
    let unconstrained = Authority::new("root", UNCHANGED);
    let sub = unconstrained.intermediate("constrained intermediate", FOR_EXAMPLE_ONLY);
    let elsewhere = "db.elsewhere";
    let trusted = &root.pem();
    let free = &unconstrained.pem();
    vec![
        case(
            "within constraints",
            root.issue("x", &[NAME], UNCHANGED),
            trusted,
            NAME,
            VerifyFull,
        ),
        case(
            "outside constraints",
            root.issue("x", &[elsewhere], UNCHANGED),
            trusted,
            elsewhere,
            Nothing,
        ),
        case(
            "constrained intermediate",
            sub.issue("x", &[NAME], UNCHANGED).with(&sub),
            free,
            NAME,
            VerifyFull,
        ),
        case(
            "outside constraints of an intermediate",
            sub.issue("x", &[elsewhere], UNCHANGED).with(&sub),
            free,
            elsewhere,
            Nothing,
        ),
        case(
            "common name outside constraints",
            root.issue(elsewhere, &[], UNCHANGED),
            trusted,
            elsewhere,
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
        own("RSA with 4096 bits", "-newkey rsa:4096 -sha256"),
        own(
            "RSA-PSS",
            "-newkey rsa:2048 -sha256 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:32",
        ),
    ]
}
