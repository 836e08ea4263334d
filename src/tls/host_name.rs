//! Whether a certificate was made for the host that was asked for.
//!
//! Problem: `sslmode=verify-full` has to come to the verdict libpq comes to, and rustls would not: it never looks at the common name.
//!
//! Mechanism: the rules of libpq, version 15 and newer (`fe-secure-openssl.c`:
//! `pgtls_verify_peer_name_matches_certificate_guts`; `fe-secure-common.c`: `pq_verify_peer_name_matches_certificate_name`, `_ip`,
//! `wildcard_certificate_match`):
//! - any alternative name that matches decides, also a `dNSName` that spells an address;
//! - the common name counts unless there is an alternative name of the host's own kind (address or name);
//! - `*.` stands for exactly one whole label at the left;
//! - a zero byte in a name that is looked at, or an address of odd length, refuses the certificate.

use std::net::Ipv6Addr;

use super::certificate::{AlternativeName, CertificateNames};

/// Why a certificate is not the host's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// It is for somebody else.
    #[error(
        "the server's certificate is not for '{host}' but for {names}: connect by a name it has, or have one issued \
         for '{host}'"
    )]
    Mismatch {
        /// The name asked for.
        host: String,
        /// The names it has.
        names: String,
    },
    /// A name with a zero byte inside, or an address that is neither 4 nor 16 bytes.
    #[error("the server's certificate has a name that cannot be one ({names}): have it issued again")]
    Broken {
        /// The names it has.
        names: String,
    },
}

enum Match {
    Yes,
    No,
    Broken,
}

/// Checks that one of the certificate's names is `host`, which is the text from the URL: a name or an address.
///
/// # Errors
/// [`NameError`] when none is.
pub(super) fn check(host: &str, names: &CertificateNames) -> Result<(), NameError> {
    match compare_all(host, names) {
        Match::Yes => Ok(()),
        Match::No => Err(NameError::Mismatch {
            host: host.to_owned(),
            names: names.to_string(),
        }),
        Match::Broken => Err(NameError::Broken {
            names: names.to_string(),
        }),
    }
}

fn compare_all(host: &str, names: &CertificateNames) -> Match {
    for name in &names.alternative {
        let verdict = match name {
            AlternativeName::Dns(name) => compare_name(host, name),
            AlternativeName::Ip(address) => compare_address(host, address),
        };
        match verdict {
            Match::No => {}
            Match::Yes | Match::Broken => return verdict,
        }
    }
    let host_is_address = parse_ipv4(host).is_some() || host.parse::<Ipv6Addr>().is_ok();
    let same_kind = |name: &AlternativeName| matches!(name, AlternativeName::Ip(_)) == host_is_address;
    match &names.common_name {
        Some(name) if !names.alternative.iter().any(same_kind) => compare_name(host, name),
        _ => Match::No,
    }
}

fn compare_name(host: &str, name: &[u8]) -> Match {
    if name.contains(&0) {
        return Match::Broken;
    }
    let host = host.as_bytes();
    if name.eq_ignore_ascii_case(host) || matches_wildcard(name, host) {
        Match::Yes
    } else {
        Match::No
    }
}

/// `*.example.com` matches `db.example.com`, neither `a.db.example.com` nor `example.com`.
fn matches_wildcard(pattern: &[u8], host: &[u8]) -> bool {
    let Some(suffix) = pattern
        .strip_prefix(b"*")
        .filter(|suffix| suffix.len() > 1 && suffix.starts_with(b"."))
    else {
        return false;
    };
    let Some((label, rest)) = host
        .len()
        .checked_sub(suffix.len())
        .and_then(|at| host.split_at_checked(at))
    else {
        return false;
    };
    !label.is_empty() && !label.contains(&b'.') && rest.eq_ignore_ascii_case(suffix)
}

fn compare_address(host: &str, address: &[u8]) -> Match {
    let is_the_host = match address.len() {
        4 => parse_ipv4(host).is_some_and(|parsed| parsed == *address),
        16 => host
            .parse::<Ipv6Addr>()
            .is_ok_and(|parsed| parsed.octets() == *address),
        _ => return Match::Broken,
    };
    if is_the_host { Match::Yes } else { Match::No }
}

/// Reads every notation that `inet_aton` knows, as libpq does on purpose: one to four numbers, decimal, octal (`0177`)
/// or hexadecimal (`0x7f`), the last of which fills the bytes that are left.
fn parse_ipv4(host: &str) -> Option<[u8; 4]> {
    let numbers = host.split('.').map(parse_number).collect::<Option<Vec<u32>>>()?;
    let (last, leading) = numbers.split_last()?;
    let mut bytes = [0; 4];
    for (byte, number) in bytes.iter_mut().zip(leading) {
        *byte = u8::try_from(*number).ok()?;
    }
    let free = 4usize.checked_sub(leading.len()).filter(|free| *free > 0)?;
    let last = last.to_be_bytes();
    let (overflow, tail) = last.split_at_checked(4 - free)?;
    if overflow.iter().any(|byte| *byte != 0) {
        return None;
    }
    for (byte, value) in bytes.iter_mut().skip(leading.len()).zip(tail) {
        *byte = *value;
    }
    Some(bytes)
}

fn parse_number(text: &str) -> Option<u32> {
    let hexadecimal = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    let (digits, radix) = match (hexadecimal, text.strip_prefix('0')) {
        (Some(digits), _) => (digits, 16),
        (None, Some(digits)) if !digits.is_empty() => (digits, 8),
        (None, _) => (text, 10),
    };
    if digits.starts_with('+') {
        None
    } else {
        u32::from_str_radix(digits, radix).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(alternative: &[&str], common_name: &str) -> CertificateNames {
        let alternative = alternative
            .iter()
            .map(|name| match name.parse::<std::net::IpAddr>() {
                Ok(std::net::IpAddr::V4(address)) => AlternativeName::Ip(address.octets().to_vec()),
                Ok(std::net::IpAddr::V6(address)) => AlternativeName::Ip(address.octets().to_vec()),
                Err(_) => AlternativeName::Dns(name.trim_start_matches("dns:").as_bytes().to_vec()),
            });
        let common_name = (!common_name.is_empty()).then(|| common_name.as_bytes().to_vec());
        CertificateNames {
            alternative: alternative.collect(),
            common_name,
        }
    }

    fn matches(host: &str, alternative: &[&str], common_name: &str) -> bool {
        check(host, &names(alternative, common_name)).is_ok()
    }

    #[test]
    fn names_are_compared_without_regard_to_case() {
        assert!(matches("DB.example", &["db.EXAMPLE"], ""));
        assert!(!matches("db.example", &["db.example.com", "xdb.example"], ""));
    }

    #[test]
    fn a_wildcard_stands_for_one_whole_label_at_the_left() {
        assert!(matches("db.example.com", &["*.example.com"], ""));
        assert!(matches("db.example.com", &[], "*.EXAMPLE.com"));
        for host in [
            "a.db.example.com",
            "example.com",
            ".example.com",
            "dbexample.com",
            "*",
        ] {
            assert!(!matches(host, &["*.example.com"], ""), "{host}");
        }
        for pattern in ["*", "*.", "d*.example.com", "db.*.com", "*db.example.com"] {
            assert!(!matches("db.example.com", &[pattern], ""), "{pattern}");
        }
    }

    #[test]
    fn the_common_name_counts_only_without_an_alternative_name_of_the_hosts_kind() {
        assert!(matches("db", &[], "db"));
        assert!(!matches("db", &["other"], "db"));
        assert!(matches("db", &["10.0.0.1"], "db"));
        assert!(matches("10.0.0.1", &["other"], "10.0.0.1"));
        assert!(!matches("10.0.0.1", &["10.0.0.2"], "10.0.0.1"));
    }

    #[test]
    fn an_address_matches_its_bytes_and_a_name_that_spells_it() {
        assert!(matches("10.0.0.1", &["10.0.0.1"], ""));
        assert!(matches("10.0.0.1", &["dns:10.0.0.1"], ""));
        assert!(matches("::1", &["::1"], ""));
        assert!(matches("0:0::1", &["::1"], ""));
        assert!(!matches("::1", &["0.0.0.1"], ""));
        assert!(!matches("db", &["10.0.0.1"], ""));
    }

    #[test]
    fn old_notations_of_addresses_are_read_as_inet_aton_reads_them() {
        let loopback = Some([127, 0, 0, 1]);
        for text in [
            "127.0.0.1",
            "127.1",
            "127.0.1",
            "2130706433",
            "0x7f.1",
            "0177.0.0.01",
            "0x7F000001",
        ] {
            assert_eq!(parse_ipv4(text), loopback, "{text}");
        }
        for text in [
            "",
            ".",
            "127.0.0.0.1",
            "256.1",
            "127.0.0.256",
            "1.2.3.x",
            "0x",
            "08.1",
            "+1",
            "1.2.65536",
        ] {
            assert_eq!(parse_ipv4(text), None, "{text}");
        }
        assert_eq!(parse_ipv4("1.2.65535"), Some([1, 2, 255, 255]));
        assert_eq!(parse_ipv4("0"), Some([0, 0, 0, 0]));
    }

    #[test]
    fn a_zero_byte_in_a_name_refuses_the_certificate() {
        let names = names(&["db.example\0.evil.example", "db.example"], "");
        assert!(matches!(
            check("db.example", &names),
            Err(NameError::Broken { .. })
        ));
    }

    #[test]
    fn an_address_of_odd_length_refuses_the_certificate() {
        let alternative = vec![
            AlternativeName::Ip(vec![127, 0, 0]),
            AlternativeName::Dns(b"db".to_vec()),
        ];
        let names = CertificateNames {
            alternative,
            common_name: None,
        };
        assert!(matches!(check("db", &names), Err(NameError::Broken { .. })));
    }

    #[test]
    fn the_error_tells_the_name_asked_for_and_the_names_there_are() {
        let error = check("db", &names(&["a.example", "10.0.0.1"], "c"))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("not for 'db' but for a.example, 10.0.0.1:"),
            "{error}"
        );
        let error = check("db", &names(&[], "c.example")).unwrap_err().to_string();
        assert!(error.contains("but for c.example:"), "{error}");
        let error = check("db", &names(&[], "")).unwrap_err().to_string();
        assert!(error.contains("but for no name at all:"), "{error}");
    }
}
