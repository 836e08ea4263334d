//! The URI form: `postgresql://user:password@host:port,host:port/dbname?key=value&...`, taken apart as
//! `conninfo_uri_parse_options` in libpq's `fe-connect.c` does, into the keys and values of the keyword form.

use percent_encoding::percent_decode_str;

use super::error::{UrlError, shown};

/// Schemes of the same URL: libpq's two, and those of PostGIS adapters.
const SCHEMES: [&str; 3] = ["postgresql", "postgres", "postgis"];

/// What follows `postgresql://`, or `None` where there is no scheme at all.
///
/// `jdbc:postgresql://` and `postgresql+driver://` (SQLAlchemy) are the same to us.
pub(super) fn without_scheme(text: &str) -> Result<Option<&str>, UrlError> {
    let Some((scheme, rest)) = text.split_once("://") else {
        return Ok(None);
    };
    if scheme.contains(|c: char| c == '=' || c.is_whitespace()) {
        return Ok(None);
    }
    let name = scheme.strip_prefix("jdbc:").unwrap_or(scheme);
    let name = name.split_once('+').map_or(name, |(name, _driver)| name);
    if SCHEMES.iter().any(|known| known.eq_ignore_ascii_case(name)) {
        Ok(Some(rest))
    } else {
        Err(UrlError::Scheme {
            scheme: scheme.to_owned(),
        })
    }
}

/// Takes apart what follows the scheme.
pub(super) fn parse(rest: &str) -> Result<Vec<(String, String)>, UrlError> {
    let mut pairs = Vec::new();
    let (before_query, query) = rest
        .split_once('?')
        .map_or((rest, None), |(head, query)| (head, Some(query)));
    let (authority, dbname) = before_query
        .split_once('/')
        .map_or((before_query, None), |(head, name)| (head, Some(name)));

    let hosts = match authority.split_once('@') {
        Some((credentials, hosts)) => {
            user_and_password(credentials, &mut pairs)?;
            hosts
        }
        None => authority,
    };
    if hosts.contains('@') {
        return Err(UrlError::UnescapedAt);
    }
    hosts_and_ports(hosts, &mut pairs)?;
    if let Some(name) = dbname.filter(|name| !name.is_empty()) {
        pairs.push(("dbname".to_owned(), decode(name, "database name")?));
    }
    for parameter in query
        .unwrap_or_default()
        .split('&')
        .filter(|parameter| !parameter.is_empty())
    {
        pairs.push(query_parameter(parameter)?);
    }
    Ok(pairs)
}

fn user_and_password(credentials: &str, pairs: &mut Vec<(String, String)>) -> Result<(), UrlError> {
    let (user, password) = credentials
        .split_once(':')
        .map_or((credentials, None), |(user, password)| (user, Some(password)));
    if !user.is_empty() {
        pairs.push(("user".to_owned(), decode(user, "user name")?));
    }
    if let Some(password) = password.filter(|password| !password.is_empty()) {
        pairs.push(("password".to_owned(), decode(password, "password")?));
    }
    Ok(())
}

/// Splits `h1:5432,[::1]:5433,h3` into a list of hosts and a list of ports, as `host` and `port` of the keyword form.
fn hosts_and_ports(text: &str, pairs: &mut Vec<(String, String)>) -> Result<(), UrlError> {
    let mut hosts = Vec::new();
    let mut ports = Vec::new();
    for part in text.split(',') {
        let (host, port) = host_and_port(part)?;
        hosts.push(decode(host, "host")?);
        ports.push(port);
    }
    if hosts.iter().any(|host| !host.is_empty()) {
        pairs.push(("host".to_owned(), hosts.join(",")));
    }
    if ports.iter().any(|port| !port.is_empty()) {
        pairs.push(("port".to_owned(), ports.join(",")));
    }
    Ok(())
}

fn host_and_port(part: &str) -> Result<(&str, &str), UrlError> {
    let Some(bracketed) = part.strip_prefix('[') else {
        return Ok(part.rsplit_once(':').unwrap_or((part, "")));
    };
    let (host, rest) = bracketed.split_once(']').ok_or(UrlError::Brackets)?;
    match rest.strip_prefix(':') {
        Some(port) => Ok((host, port)),
        None if rest.is_empty() => Ok((host, "")),
        None => Err(UrlError::BehindBrackets {
            text: rest.to_owned(),
        }),
    }
}

/// Only the first `=` separates: `options=-c bemi.context={...}` may hold more of them, which libpq wants as `%3D`, but
/// other drivers do not.
fn query_parameter(parameter: &str) -> Result<(String, String), UrlError> {
    let (key, value) = parameter.split_once('=').ok_or_else(|| UrlError::MissingValue {
        key: shown(parameter),
    })?;
    let key = decode(key, "name of a parameter")?;
    let value = decode(value, "value of a parameter")?;
    // JDBC's spelling, which libpq translates as well.
    if key == "ssl" && value == "true" {
        return Ok(("sslmode".to_owned(), "require".to_owned()));
    }
    Ok((key, value))
}

fn decode(text: &str, part: &'static str) -> Result<String, UrlError> {
    let error = UrlError::PercentEncoding { part };
    let digits_follow = |tail: &str| tail.bytes().take(2).filter(u8::is_ascii_hexdigit).count() == 2;
    if !text.split('%').skip(1).all(digits_follow) {
        return Err(error);
    }
    match percent_decode_str(text).decode_utf8() {
        Ok(decoded) if !decoded.contains('\0') => Ok(decoded.into_owned()),
        _ => Err(error),
    }
}
