//! Certificates whose names are right or wrong.

use super::{Case, NAME, Strongest, case};
use crate::pki::{Authority, UNCHANGED};

/// What is tried, common name, alternative names, host asked for, verdict.
type NameCase = (
    &'static str,
    &'static str,
    &'static [&'static str],
    &'static str,
    Strongest,
);

pub fn names() -> Vec<Case> {
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
