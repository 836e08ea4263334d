//! One configuration with everything it names read and ready: what a reload replaces as a whole.

use std::path::PathBuf;
use std::sync::Arc;

use super::stream::Keepalive;
use super::upstream::Upstream;
use super::users_file::{self, UsersFileError};
use crate::auth::{ChannelBindingPolicy, MockNonce, Mode, Users};
use crate::config::url::ChannelBinding;
use crate::config::{AuthMode, ClientTls as ClientTlsConfig, Config};
use crate::session::{Policy, VerdictCache};
use crate::sql::cache;
use crate::tls::TlsError;
use crate::tls::client_side::{ClientCertificates, ClientTls, ClientTlsFiles};
use crate::tls::upstream::UpstreamTls;

/// A configuration in use.
#[derive(Debug)]
pub(super) struct Generation {
    pub config: Config,
    pub upstream: Arc<Upstream>,
    pub channel_binding: ChannelBindingPolicy,
    pub keepalive: Keepalive,
    pub client_tls: Option<ClientTls>,
    pub users: Option<Arc<Users>>,
    pub policy: Arc<Policy>,
    pub verdicts: Arc<VerdictCache>,
}

/// What the configuration names cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum GenerationError {
    /// Certificates towards the server.
    #[error("upstream.url: {0}")]
    UpstreamTls(TlsError),
    /// Certificates towards clients.
    #[error("[tls]: {0}")]
    ClientTls(TlsError),
    /// The users file.
    #[error("auth.users_file: {0}")]
    Users(#[from] UsersFileError),
}

impl Generation {
    /// Reads all files. Blocks: for the start and for reloads.
    pub fn build(config: Config, mock_nonce: MockNonce) -> Result<Self, GenerationError> {
        let url = &config.upstream.url;
        if !url.ignored.is_empty() {
            tracing::info!(
                parameters = url.ignored.join(", "),
                "parameters of upstream.url that mean nothing here"
            );
        }
        let home = std::env::var_os("HOME").map(PathBuf::from);
        let tls = UpstreamTls::build(url, home.as_deref()).map_err(GenerationError::UpstreamTls)?;
        tls.warnings()
            .iter()
            .for_each(|warning| tracing::warn!("{warning}"));
        let keepalive = Keepalive {
            enabled: !config.limits.tcp_keepalive_idle.is_zero(),
            idle: config.limits.tcp_keepalive_idle,
            interval: config.limits.tcp_keepalive_interval,
            count: config.limits.tcp_keepalive_retries,
            user_timeout: None,
        };
        let policy = Policy::new(&config);
        let cached = cache::Limits {
            entries: config.limits.statement_cache_entries,
            bytes: config.limits.statement_cache_bytes,
            ..cache::Limits::default()
        };
        let verdicts = VerdictCache::new(policy.rules.clone(), cached);
        Ok(Self {
            upstream: Upstream::new(url, tls, keepalive, config.upstream.connect_timeout),
            channel_binding: match url.channel_binding {
                ChannelBinding::Disable => ChannelBindingPolicy::Disable,
                ChannelBinding::Prefer => ChannelBindingPolicy::Prefer,
                ChannelBinding::Require => ChannelBindingPolicy::Require,
            },
            keepalive,
            client_tls: client_tls(&config.tls)?,
            users: users(&config, mock_nonce)?,
            policy: Arc::new(policy),
            verdicts: Arc::new(verdicts),
            config,
        })
    }

    /// Who checks passwords.
    pub fn auth_mode(&self) -> Mode {
        match self.config.auth.mode {
            AuthMode::Passthrough => Mode::Passthrough,
            AuthMode::Password => Mode::Password,
            AuthMode::Scram => Mode::Scram,
        }
    }
}

fn client_tls(config: &ClientTlsConfig) -> Result<Option<ClientTls>, GenerationError> {
    let (Some(certificate), Some(key)) = (config.certificate.clone(), config.key.clone()) else {
        return Ok(None);
    };
    let client_certificates = match config.client_ca.clone() {
        Some(authorities) => ClientCertificates::Required(authorities),
        None => ClientCertificates::NotAsked,
    };
    let files = ClientTlsFiles {
        certificate,
        key,
        client_certificates,
    };
    ClientTls::build(&files)
        .map(Some)
        .map_err(GenerationError::ClientTls)
}

fn users(config: &Config, mock_nonce: MockNonce) -> Result<Option<Arc<Users>>, GenerationError> {
    let (AuthMode::Scram, Some(path)) = (config.auth.mode, &config.auth.users_file) else {
        return Ok(None);
    };
    let file = users_file::read(path, mock_nonce)?;
    file.warnings
        .iter()
        .for_each(|warning| tracing::warn!("{warning}"));
    Ok(Some(Arc::new(file.users)))
}
