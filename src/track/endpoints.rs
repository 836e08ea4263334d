//! Where source and destination are, and sessions on them.

use std::path::Path;
use std::sync::Arc;

use tokio::time::timeout;
use tokio_postgres::Client;

use super::error::TrackError;
use crate::client;
use crate::config::Config;
use crate::config::url::UpstreamUrl;
use crate::proxy::stream::Keepalive;
use crate::proxy::upstream::Upstream;
use crate::replication::connection::ReplicationConnection;
use crate::tls::upstream::UpstreamTls;

/// What `pg_stat_activity` and `pg_stat_replication` show.
pub const APPLICATION_NAME: &str = "bemi track";

/// Of every session but the stream's, whatever the role is set to: making the slot and storing a large transaction take
/// as long as they take, and a session may have nothing to do for days.
const NO_TIMEOUTS: &str = "SET statement_timeout = 0; SET lock_timeout = 0; SET idle_session_timeout = 0; \
     SET idle_in_transaction_session_timeout = 0";

/// Source and destination, as the configuration names them.
#[derive(Debug)]
pub struct Endpoints {
    source: Arc<Upstream>,
    destination: Arc<Upstream>,
}

impl Endpoints {
    /// Reads the certificates. `home` is where `.postgresql/root.crt` and the like are looked for.
    ///
    /// # Errors
    /// When one of them cannot be used.
    pub fn new(config: &Config, home: Option<&Path>) -> Result<Self, TrackError> {
        let limits = &config.limits;
        let probing = !limits.tcp_keepalive_idle.is_zero();
        let probes = limits
            .tcp_keepalive_interval
            .saturating_mul(limits.tcp_keepalive_retries);
        let patience = limits.tcp_keepalive_idle.saturating_add(probes);
        let keepalive = Keepalive {
            enabled: probing,
            idle: limits.tcp_keepalive_idle,
            interval: limits.tcp_keepalive_interval,
            count: limits.tcp_keepalive_retries,
            // While something it has sent is on its way, a connection sends no probes.
            user_timeout: probing.then_some(patience),
        };
        let upstream = |url| {
            let tls = UpstreamTls::build(url, home)
                .map_err(|error| TrackError::Configuration(error.to_string()))?;
            Ok::<_, TrackError>(Upstream::new(
                url,
                tls,
                keepalive,
                config.upstream.connect_timeout,
            ))
        };
        Ok(Self {
            source: upstream(&config.upstream.url)?,
            destination: upstream(destination_url(config))?,
        })
    }

    /// An ordinary session on the source.
    ///
    /// # Errors
    /// [`TrackError`]
    pub async fn source(&self, config: &Config) -> Result<Client, TrackError> {
        let session = session_on(&self.source, &config.upstream.url, "source");
        in_time(config, "source", session).await
    }

    /// An ordinary session on the destination.
    ///
    /// # Errors
    /// [`TrackError`]
    pub async fn destination(&self, config: &Config) -> Result<Client, TrackError> {
        let session = session_on(&self.destination, destination_url(config), "destination");
        in_time(config, "destination", session).await
    }

    /// A replication connection to the source.
    ///
    /// # Errors
    /// [`TrackError`]
    pub async fn replication(&self, config: &Config) -> Result<ReplicationConnection, TrackError> {
        let url = &config.upstream.url;
        let connection =
            async { Ok(ReplicationConnection::connect(&self.source, url, APPLICATION_NAME).await?) };
        in_time(config, "source", connection).await
    }
}

/// A server that takes connections and then says nothing must not be waited for, for ever.
async fn in_time<T>(
    config: &Config,
    whose: &'static str,
    session: impl Future<Output = Result<T, TrackError>>,
) -> Result<T, TrackError> {
    let limit = config.limits.handshake_timeout;
    timeout(limit, session)
        .await
        .unwrap_or(Err(TrackError::Silent { whose, limit }))
}

async fn session_on(
    upstream: &Upstream,
    url: &UpstreamUrl,
    whose: &'static str,
) -> Result<Client, TrackError> {
    let failed = |error| TrackError::from_client(whose, error);
    let client = client::connect(upstream, url, APPLICATION_NAME)
        .await
        .map_err(failed)?;
    client
        .batch_execute(NO_TIMEOUTS)
        .await
        .map_err(|error| failed(error.into()))?;
    Ok(client)
}

/// Where `changes` is: another database, or the source itself.
fn destination_url(config: &Config) -> &UpstreamUrl {
    if config.track.destination.hosts.is_empty() {
        &config.upstream.url
    } else {
        &config.track.destination
    }
}

/// Whether both sessions are in the same database of the same server: no two servers start in the same microsecond.
pub(super) async fn is_same_database(source: &Client, destination: &Client) -> Result<bool, TrackError> {
    const WHERE: &str = "SELECT pg_catalog.pg_postmaster_start_time() || ' ' || oid FROM pg_catalog.pg_database \
         WHERE datname = pg_catalog.current_database()";
    let mut places: Vec<String> = Vec::new();
    for (client, whose) in [(source, "source"), (destination, "destination")] {
        let place = client.query_one(WHERE, &[]).await.and_then(|row| row.try_get(0));
        places.push(place.map_err(|error| TrackError::from_client(whose, error.into()))?);
    }
    Ok(places.first() == places.last())
}
