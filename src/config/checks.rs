//! What makes a configuration whole: bounds, and settings that need each other.

use std::collections::BTreeMap;
use std::time::Duration;

use super::ListenAddress;
use super::nearest::nearest;
use super::origin::{Origin, Problem};
use super::redact::Redaction;
use super::settings::{AuthMode, ClientTlsMode, Config};
use super::url::ChannelBinding;

/// The levels of `log.level`, as tracing names them.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// Below this there is no room for buffers and one large row.
const MIN_TRACK_MEMORY: usize = 64 << 20;

/// Everything that is wrong with `config`, each with the origin of the key that it is about.
pub(super) fn problems(
    config: &Config,
    origins: &BTreeMap<String, Origin>,
    serves_clients: bool,
) -> Vec<Problem> {
    let auth = if serves_clients { auth(config) } else { Vec::new() };
    [
        required(config),
        tls(config),
        auth,
        comments(config),
        bounds(config),
        track(config),
        log(config),
    ]
    .into_iter()
    .flatten()
    .map(|(key, message)| Problem {
        origin: origins.get(key).cloned(),
        key: key.into(),
        message,
    })
    .collect()
}

/// A key and what is wrong with it.
type Finding = (&'static str, String);

fn finding(wrong: bool, key: &'static str, message: &str) -> Option<Finding> {
    wrong.then(|| (key, message.to_owned()))
}

fn required(config: &Config) -> Vec<Finding> {
    let no_url = "no server: give the application's DATABASE_URL as --upstream (bemi track: --source), as BEMI_UPSTREAM or \
                  as upstream.url in proxy.toml";
    [
        finding(config.upstream.url.hosts.is_empty(), "upstream.url", no_url),
        finding(config.listen.is_empty(), "listen", "needs at least one address"),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn tls(config: &Config) -> Vec<Finding> {
    let tls = &config.tls;
    let plain = tls.certificate.is_none();
    [
        finding(plain && tls.key.is_some(), "tls.key", "needs tls.certificate"),
        finding(!plain && tls.key.is_none(), "tls.certificate", "needs tls.key"),
        finding(
            plain && tls.client_ca.is_some(),
            "tls.client_ca",
            "needs tls.certificate and tls.key",
        ),
        finding(
            plain && tls.mode == ClientTlsMode::Require,
            "tls.mode",
            "\"require\" needs tls.certificate and tls.key",
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn auth(config: &Config) -> Vec<Finding> {
    let binds = config.upstream.url.channel_binding == ChannelBinding::Require;
    let reaches_over_tcp = config
        .listen
        .iter()
        .any(|address| matches!(address, ListenAddress::Tcp { .. }));
    let in_the_clear = config.tls.certificate.is_none() && reaches_over_tcp;
    [
        finding(
            config.auth.mode == AuthMode::Passthrough && binds,
            "upstream.url",
            "channel_binding=require cannot be met with auth.mode \"passthrough\", where the client's TLS ends at the \
             proxy: set auth.mode to \"scram\" or \"password\", or take the parameter out of the URL and rely on \
             sslmode=verify-full",
        ),
        finding(
            config.auth.mode == AuthMode::Password && in_the_clear,
            "auth.mode",
            "\"password\" asks clients for their password over TLS only: set tls.certificate and tls.key",
        ),
        finding(
            config.auth.mode == AuthMode::Scram && config.auth.users_file.is_none(),
            "auth.mode",
            "\"scram\" needs auth.users_file",
        ),
        finding(
            config.auth.mode != AuthMode::Scram && config.auth.users_file.is_some(),
            "auth.users_file",
            "is read with auth.mode = \"scram\" only",
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn comments(config: &Config) -> Vec<Finding> {
    let affix = &config.comments.affix;
    let is_word = !affix.is_empty()
        && affix
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    finding(
        !is_word,
        "comments.affix",
        "expected ASCII letters, digits and _, at least one",
    )
    .into_iter()
    .collect()
}

fn bounds(config: &Config) -> Vec<Finding> {
    let limits = &config.limits;
    let at_least = [
        ("limits.max_connections", limits.max_connections, 1),
        // The shortest startup packet has a length and a version.
        (
            "limits.max_startup_packet_bytes",
            limits.max_startup_packet_bytes,
            8,
        ),
        // A SCRAM exchange with the longest nonces and salts in use needs a few hundred.
        (
            "limits.max_auth_message_bytes",
            limits.max_auth_message_bytes,
            1_024,
        ),
        (
            "limits.max_inspected_message_bytes",
            limits.max_inspected_message_bytes,
            1_024,
        ),
        // The server sends replies on when 8 KiB are full, and the shortest has 5 bytes: below 1,639 it might wait for
        // the Sync that its client is not read for.
        ("limits.max_pending_replies", limits.max_pending_replies, 4_096),
        ("limits.buffer_bytes", limits.buffer_bytes, 1_024),
        ("context.max_bytes", config.context.max_bytes, 2),
    ];
    let small = at_least
        .into_iter()
        .filter(|(_, value, least)| value < least)
        .map(|(key, value, least)| (key, format!("must be at least {least}, found {value}")));
    // The longest length that a message can state.
    let longest = i32::MAX as usize;
    let large = [
        ("limits.max_startup_packet_bytes", limits.max_startup_packet_bytes),
        ("limits.max_auth_message_bytes", limits.max_auth_message_bytes),
        (
            "limits.max_inspected_message_bytes",
            limits.max_inspected_message_bytes,
        ),
        ("limits.buffer_bytes", limits.buffer_bytes),
        ("context.max_bytes", config.context.max_bytes),
    ]
    .into_iter()
    .filter(move |(_, value)| *value > longest)
    .map(move |(key, value)| (key, format!("must be at most {longest}, found {value}")));
    small.chain(large).chain(times(config)).collect()
}

fn times(config: &Config) -> Vec<Finding> {
    let limits = &config.limits;
    let probes = !limits.tcp_keepalive_idle.is_zero();
    let second = Duration::from_secs(1);
    [
        finding(
            config.upstream.connect_timeout.is_zero(),
            "upstream.connect_timeout",
            "must not be 0",
        ),
        finding(
            limits.handshake_timeout.is_zero(),
            "limits.handshake_timeout",
            "must not be 0",
        ),
        finding(
            probes && limits.tcp_keepalive_idle < second,
            "limits.tcp_keepalive_idle",
            "must be at least 1s, or 0s for no probes",
        ),
        finding(
            probes && limits.tcp_keepalive_interval < second,
            "limits.tcp_keepalive_interval",
            "must be at least 1s",
        ),
        finding(
            probes && limits.tcp_keepalive_retries == 0,
            "limits.tcp_keepalive_retries",
            "must be at least 1",
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn track(config: &Config) -> Vec<Finding> {
    let track = &config.track;
    let hashes = track.redact.iter().any(|rule| rule.redaction == Redaction::Hash)
        || track
            .redact_context
            .iter()
            .any(|rule| rule.redaction == Redaction::Hash);
    let plain_slot = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    let intervals = [
        ("track.flush_interval", track.flush_interval),
        ("track.status_interval", track.status_interval),
        ("track.report_interval", track.report_interval),
        ("track.tables_interval", track.tables_interval),
        ("track.max_backoff", track.max_backoff),
    ];
    let zero = intervals
        .into_iter()
        .filter_map(|(key, interval)| finding(interval.is_zero(), key, "must not be 0"));
    [
        finding(
            hashes && track.redact_key.is_none(),
            "track.redact_key",
            "\"hash\" needs a secret, without which anybody could try values until one fits: set BEMI_TRACK_REDACT_KEY",
        ),
        // `ReplicationSlotValidateName`, slot.c.
        finding(
            !(1..64).contains(&track.slot.len()) || !track.slot.bytes().all(plain_slot),
            "track.slot",
            "expected lower case letters, digits and _, at most 63",
        ),
        finding(track.schema.is_empty(), "track.schema", "must not be empty"),
        finding(track.publication.is_empty(), "track.publication", "must not be empty"),
        finding(
            track.memory_limit_bytes < MIN_TRACK_MEMORY,
            "track.memory_limit_bytes",
            "must be at least 67108864 (64 MiB)",
        ),
        finding(
            !(1_024..=16 << 20).contains(&track.max_context_bytes),
            "track.max_context_bytes",
            "must be between 1024 and 16777216",
        ),
    ]
    .into_iter()
    .flatten()
    .chain(zero)
    .collect()
}

/// tracing's own parser takes a misspelt level for the name of a module, and the log falls silent.
fn log(config: &Config) -> Vec<Finding> {
    let wrong = config.log.level.split(',').map(str::trim).find_map(|directive| {
        let level = directive.rsplit_once('=').map_or(directive, |(_, level)| level);
        (!LEVELS.contains(&level)).then_some(level)
    });
    let Some(wrong) = wrong else { return Vec::new() };
    let near = nearest(wrong, LEVELS).unwrap_or_default();
    let message = format!(
        "unknown level; the nearest known one is \"{near}\" (all: {})",
        LEVELS.join(", ")
    );
    vec![("log.level", message)]
}
