//! Logs in on a connection that is ready for it, and judges what can be seen from inside.

use std::error::Error as _;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_postgres::config::SslMode;
use tokio_postgres::{Client, NoTls};

use super::queries::{self, QueryError};
use super::report::Finding;
use super::server::{self, ServerFacts};
use crate::config::Config;
use crate::config::url::UpstreamUrl;

/// What `pg_stat_activity` shows while we look around.
const APPLICATION_NAME: &str = "bemi check";

/// Findings from inside a session on `stream`, which is connected and encrypted already.
pub(super) async fn look_around<S>(stream: S, config: &Config) -> Vec<Finding>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let url = &config.upstream.url;
    let Some(user) = &url.user else {
        let what = "the URL names no user, so login, wal_level, rights and tables were not looked at";
        return vec![Finding::note("login", what)];
    };
    match timeout(config.limits.handshake_timeout, facts(stream, url, user)).await {
        Ok(Ok(facts)) => server::findings(&facts, config.upstream.pooler, &config.inject),
        Ok(Err(error)) => vec![not_in(url, &error)],
        Err(_) => vec![too_slow(config.limits.handshake_timeout)],
    }
}

async fn facts<S>(stream: S, url: &UpstreamUrl, user: &str) -> Result<ServerFacts, QueryError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    queries::ask(&login(stream, url, user).await?).await
}

/// TLS is none of its business: the stream has it already, just as the proxy makes it.
async fn login<S>(stream: S, url: &UpstreamUrl, user: &str) -> Result<Client, tokio_postgres::Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut config = tokio_postgres::Config::new();
    config
        .user(user)
        .application_name(APPLICATION_NAME)
        .ssl_mode(SslMode::Disable);
    if let Some(dbname) = &url.dbname {
        config.dbname(dbname);
    }
    if let Some(password) = &url.password {
        config.password(password.reveal());
    }
    if let Some(options) = &url.options {
        config.options(options);
    }
    let (client, connection) = config.connect_raw(stream, NoTls).await?;
    // It ends with an error of its own only after the client has seen the same.
    tokio::spawn(async { drop(connection.await) });
    Ok(client)
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
