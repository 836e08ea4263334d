//! Certificates whose authorities, or whose purposes, are right or wrong.

use super::{Case, NAME, Strongest, case};
use crate::pki::{
    Authority, EXPIRED, FOR_ANYTHING, FOR_CLIENTS, FOR_EXAMPLE_ONLY, FOR_SERVERS,
    HAS_UNKNOWN_CRITICAL_EXTENSION, IS_AUTHORITY, IS_NO_AUTHORITY, ISSUES_TO_HOLDERS_ONLY, MAY_NOT_SIGN,
    SAYS_NOTHING_OF_AUTHORITY, SIGNS_CERTIFICATES_ONLY, UNCHANGED,
};

pub fn chains() -> Vec<Case> {
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
    let short = root.intermediate("short intermediate", ISSUES_TO_HOLDERS_ONLY);
    let below_short = short.intermediate("below the short one", UNCHANGED);
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
            via(&below_short).with(&short),
            trusted,
            NAME,
            Nothing,
        ),
        case("path length not used up", via(&short), trusted, NAME, VerifyFull),
    ]
}

pub fn purposes() -> Vec<Case> {
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

pub fn constraints() -> Vec<Case> {
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
