//! What a real server cannot show: the exact second, and chains built to cost time. The verdicts themselves are
//! compared with psql's in `tests/certificates`.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, Issuer, KeyPair, date_time_ymd,
};
use rustls::pki_types::CertificateDer;

use super::*;

const JANUARY_2026: i64 = 1_767_225_600;
const JANUARY_2027: i64 = 1_798_761_600;

fn params(name: &str, is_ca: IsCa) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(2026, 1, 1);
    params.not_after = date_time_ymd(2027, 1, 1);
    params.is_ca = is_ca;
    params
}

fn authority(name: &str, path_length: BasicConstraints) -> CertifiedIssuer<'static, KeyPair> {
    CertifiedIssuer::self_signed(params(name, IsCa::Ca(path_length)), KeyPair::generate().unwrap()).unwrap()
}

fn intermediate(name: &str, issuer: &Issuer<'_, KeyPair>) -> CertifiedIssuer<'static, KeyPair> {
    let params = params(name, IsCa::Ca(BasicConstraints::Unconstrained));
    CertifiedIssuer::signed_by(params, KeyPair::generate().unwrap(), issuer).unwrap()
}

fn leaf(issuer: &Issuer<'_, KeyPair>) -> CertificateDer<'static> {
    let key = KeyPair::generate().unwrap();
    params("leaf", IsCa::NoCa)
        .signed_by(&key, issuer)
        .unwrap()
        .der()
        .clone()
}

fn verdict(
    certificate: &[u8],
    presented: &[CertificateDer<'_>],
    trusted: &CertifiedIssuer<'_, KeyPair>,
    now: i64,
) -> Result<(), ChainError> {
    let store = TrustStore::new([trusted.der().clone()]).unwrap();
    let algorithms = rustls::crypto::ring::default_provider().signature_verification_algorithms;
    let judge = Judge {
        store: &store,
        usage: Usage::Server,
        now,
        algorithms,
    };
    judge.accept(certificate, presented).map(|_| ())
}

#[test]
fn a_certificate_is_valid_from_its_first_to_its_last_second() {
    let root = authority("root", BasicConstraints::Unconstrained);
    let leaf = leaf(&root);
    let at = |now| verdict(&leaf, &[], &root, now);
    assert!(matches!(
        at(JANUARY_2026 - 1),
        Err(ChainError::NotYetValid { .. })
    ));
    assert_eq!(at(JANUARY_2026), Ok(()));
    assert_eq!(at(JANUARY_2027), Ok(()));
    assert!(matches!(at(JANUARY_2027 + 1), Err(ChainError::Expired { .. })));
}

#[test]
fn the_path_length_of_a_root_counts() {
    let root = authority("root", BasicConstraints::Constrained(0));
    let sub = intermediate("intermediate", &root);
    let refused = verdict(&leaf(&sub), &[sub.der().clone()], &root, JANUARY_2026);
    assert!(
        matches!(refused, Err(ChainError::NoAuthority { .. })),
        "{refused:?}"
    );
    assert_eq!(verdict(&leaf(&root), &[], &root, JANUARY_2026), Ok(()));
}

#[test]
fn a_peer_that_sends_many_authorities_of_one_name_does_not_keep_us_busy() {
    // Each of them signs each other, so that without a bound the paths would be sixteen factorial.
    let key = KeyPair::generate().unwrap();
    let twin = |_| {
        let params = params("twin", IsCa::Ca(BasicConstraints::Unconstrained));
        params
            .signed_by(&key, &Issuer::from_params(&params, &key))
            .unwrap()
            .der()
            .clone()
    };
    let twins: Vec<CertificateDer<'static>> = (0..16).map(twin).collect();
    let twin_params = params("twin", IsCa::Ca(BasicConstraints::Unconstrained));
    let issuer = Issuer::from_params(&twin_params, &key);
    let holder = KeyPair::generate().unwrap();
    let leaf = params("leaf", IsCa::NoCa).signed_by(&holder, &issuer).unwrap();
    let root = authority("root", BasicConstraints::Unconstrained);
    let refused = verdict(leaf.der(), &twins, &root, JANUARY_2026);
    assert!(refused.is_err());
    let first_bytes: Vec<_> = twins.iter().map(|twin| twin.as_ref()).collect();
    assert!(
        first_bytes.windows(2).all(|pair| pair[0] != pair[1]),
        "twins differ"
    );
}

#[test]
fn a_changed_byte_anywhere_in_a_certificate_is_noticed() {
    let root = authority("root", BasicConstraints::Unconstrained);
    let leaf = leaf(&root);
    for index in 0..leaf.len() {
        let mut changed = leaf.to_vec();
        changed[index] ^= 1;
        assert!(
            verdict(&changed, &[], &root, JANUARY_2026).is_err(),
            "byte {index}"
        );
    }
    for end in 0..leaf.len() {
        assert!(
            verdict(&leaf[..end], &[], &root, JANUARY_2026).is_err(),
            "cut at {end}"
        );
    }
}

#[test]
fn a_needless_certificate_that_cannot_be_read_does_no_harm() {
    let root = authority("root", BasicConstraints::Unconstrained);
    let noise = CertificateDer::from(b"noise".to_vec());
    assert_eq!(verdict(&leaf(&root), &[noise], &root, JANUARY_2026), Ok(()));
}

#[test]
fn the_names_told_to_clients_are_those_of_the_certificates() {
    let root = authority("root", BasicConstraints::Unconstrained);
    let store = TrustStore::new([root.der().clone()]).unwrap();
    let parsed = parse(root.der()).unwrap();
    let subjects = store.subjects();
    assert_eq!(subjects.len(), 1);
    assert_eq!(subjects[0].as_ref(), parsed.subject().as_raw());
}
