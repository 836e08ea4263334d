//! The table of keys: the one place that ties a name to a field.

use super::settings::Config;
use super::value::{Raw, Setting, fill};

/// A key of the configuration.
pub(super) struct Key {
    /// Its name in the file: `section.key`, or `key` outside of sections.
    pub path: &'static str,
    /// Reads a value into its field.
    pub set: fn(&mut Config, &Raw) -> Result<(), String>,
    /// Whether the field is the same in both.
    pub same: fn(&Config, &Config) -> bool,
    /// The field's value as TOML.
    pub show: fn(&Config) -> String,
}

impl Key {
    /// The variable of the environment: `BEMI_` and the path. The URL, which everyone sets, is just `BEMI_UPSTREAM`.
    pub fn variable(&self) -> String {
        match self.path {
            "upstream.url" => "BEMI_UPSTREAM".into(),
            path => format!("BEMI_{}", path.replace('.', "_").to_ascii_uppercase()),
        }
    }
}

/// The key of that name.
pub(super) fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}

macro_rules! key {
    ($path:literal, $($field:ident).+) => {
        Key {
            path: $path,
            set: |config, raw| fill(&mut config.$($field).+, raw),
            same: |one, other| one.$($field).+ == other.$($field).+,
            show: |config| config.$($field).+.show(),
        }
    };
}

/// Every key, in the order of `proxy.toml`.
pub(super) const KEYS: &[Key] = &[
    key!("listen", listen),
    key!("threads", threads),
    key!("upstream.url", upstream.url),
    key!("upstream.pooler", upstream.pooler),
    key!("upstream.connect_timeout", upstream.connect_timeout),
    key!("tls.certificate", tls.certificate),
    key!("tls.key", tls.key),
    key!("tls.client_ca", tls.client_ca),
    key!("tls.mode", tls.mode),
    key!("auth.mode", auth.mode),
    key!("auth.users_file", auth.users_file),
    key!("context.facts", context.facts),
    key!("context.max_bytes", context.max_bytes),
    key!("context.static", context.fixed),
    key!("comments.affix", comments.affix),
    key!("comments.sqlcommenter", comments.sqlcommenter),
    key!("comments.marginalia", comments.marginalia),
    key!("comments.reuse", comments.reuse),
    key!("inject.include", inject.include),
    key!("inject.exclude", inject.exclude),
    key!("inject.functions", inject.functions),
    key!("inject.sql", inject.sql),
    key!("inject.sql_max_bytes", inject.sql_max_bytes),
    key!("limits.handshake_timeout", limits.handshake_timeout),
    key!("limits.max_connections", limits.max_connections),
    key!("limits.max_startup_packet_bytes", limits.max_startup_packet_bytes),
    key!("limits.max_auth_message_bytes", limits.max_auth_message_bytes),
    key!("limits.max_scram_iterations", limits.max_scram_iterations),
    key!(
        "limits.max_inspected_message_bytes",
        limits.max_inspected_message_bytes
    ),
    key!("limits.statement_cache_entries", limits.statement_cache_entries),
    key!("limits.statement_cache_bytes", limits.statement_cache_bytes),
    key!("limits.max_pending_replies", limits.max_pending_replies),
    key!("limits.buffer_bytes", limits.buffer_bytes),
    key!("limits.tcp_keepalive_idle", limits.tcp_keepalive_idle),
    key!("limits.tcp_keepalive_interval", limits.tcp_keepalive_interval),
    key!("limits.tcp_keepalive_retries", limits.tcp_keepalive_retries),
    key!("shutdown.timeout", shutdown.timeout),
    key!("track.destination", track.destination),
    key!("track.schema", track.schema),
    key!("track.slot", track.slot),
    key!("track.publication", track.publication),
    key!("track.tables", track.tables),
    key!("track.exclude", track.exclude),
    key!("track.partitions_via_root", track.partitions_via_root),
    key!("track.ignore_columns", track.ignore_columns),
    key!("track.redact", track.redact),
    key!("track.redact_context", track.redact_context),
    key!("track.redact_key", track.redact_key),
    key!("track.retention", track.retention),
    key!("track.partition_by", track.partition_by),
    key!("track.memory_limit_bytes", track.memory_limit_bytes),
    key!("track.max_context_bytes", track.max_context_bytes),
    key!("track.flush_interval", track.flush_interval),
    key!("track.status_interval", track.status_interval),
    key!("track.report_interval", track.report_interval),
    key!("track.tables_interval", track.tables_interval),
    key!("track.max_backoff", track.max_backoff),
    key!("log.level", log.level),
    key!("log.format", log.format),
];
