//! Logs in on a connection that is ready for it, and judges what can be seen from inside.

use std::error::Error as _;
use std::time::Duration;

use tokio::time::timeout;

use super::queries::{self, QueryError};
use super::report::Finding;
use super::server::{self, ServerFacts};
use crate::client::log_in;
use crate::config::Config;
use crate::config::url::UpstreamUrl;
use crate::proxy::stream::Stream;

/// What `pg_stat_activity` shows while we look around.
const APPLICATION_NAME: &str = "bemi check";

/// Findings from inside a session on `stream`, which is connected and encrypted already.
pub(super) async fn look_around(stream: Stream, config: &Config) -> Vec<Finding> {
    let url = &config.upstream.url;
    if url.user.is_none() {
        let what = "the URL names no user, so login, wal_level, rights and tables were not looked at";
        return vec![Finding::note("login", what)];
    }
    match timeout(config.limits.handshake_timeout, facts(stream, url)).await {
        Ok(Ok(facts)) => server::findings(&facts, config.upstream.pooler, &config.inject),
        Ok(Err(error)) => vec![not_in(url, &error)],
        Err(_) => vec![too_slow(config.limits.handshake_timeout)],
    }
}

async fn facts(stream: Stream, url: &UpstreamUrl) -> Result<ServerFacts, QueryError> {
    queries::ask(&log_in(stream, url, APPLICATION_NAME).await?).await
}

fn not_in(url: &UpstreamUrl, error: &QueryError) -> Finding {
    let QueryError::Postgres(error) = error else {
        return Finding::mend("server", error.to_string());
    };
    if let Some(refusal) = error.as_db_error() {
        let what = format!(
            "{}: {} ({})",
            refusal.severity(),
            refusal.message(),
            refusal.code().code()
        );
        let finding = Finding::mend("login", what);
        return match refusal.hint() {
            Some(hint) => finding.by(hint),
            None => finding,
        };
    }
    if url.password.is_none()
        && error
            .source()
            .is_some_and(|source| source.to_string() == "password missing")
    {
        let what = "the server asks for a password and the URL has none, so wal_level, rights and tables were not looked at";
        return Finding::note("login", what);
    }
    let cause = error
        .source()
        .map(|source| format!(": {source}"))
        .unwrap_or_default();
    Finding::mend("login", format!("{error}{cause}"))
}

fn too_slow(patience: Duration) -> Finding {
    Finding::mend("login", format!("no answer within {} s", patience.as_secs_f64()))
}
