//! The log: tracing events to standard error, as text or as one JSON object per line.
//!
//! At `info` and above an event holds no SQL, no parameters and no secrets; that is a rule for who writes
//! events, not something a filter here could mend.

use std::io::{self, IsTerminal};

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, fmt, reload};

use crate::config::{Log, LogFormat};

/// Why the log could not be started, or its level not be changed.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The text of `log.level` means nothing to tracing.
    #[error("log.level: {0}")]
    Level(#[from] tracing_subscriber::filter::ParseError),
    /// Something else in this process logs already.
    #[error("the log is running already")]
    Started(#[from] tracing_subscriber::util::TryInitError),
    /// The subscriber is gone.
    #[error("the log's level can no longer be changed: {0}")]
    Reload(#[from] reload::Error),
}

/// The running log.
pub struct Logging {
    level: reload::Handle<EnvFilter, Registry>,
}

impl Logging {
    /// Starts writing events of all threads to standard error.
    ///
    /// # Errors
    /// When the level means nothing, or a log is running already.
    pub fn start(log: &Log) -> Result<Self, LoggingError> {
        let (filter, level) = reload::Layer::new(EnvFilter::try_new(&log.level)?);
        let registry = tracing_subscriber::registry().with(filter);
        match log.format {
            LogFormat::Text => registry
                .with(
                    fmt::layer()
                        .with_writer(io::stderr)
                        .with_ansi(wants_colour(&io::stderr())),
                )
                .try_init()?,
            LogFormat::Json => {
                registry
                    .with(fmt::layer().json().flatten_event(true).with_writer(io::stderr))
                    .try_init()?;
            }
        }
        Ok(Self { level })
    }

    /// Changes `log.level` while running.
    ///
    /// # Errors
    /// When the level means nothing; the old one then stays.
    pub fn set_level(&self, level: &str) -> Result<(), LoggingError> {
        Ok(self.level.reload(EnvFilter::try_new(level)?)?)
    }
}

/// Colours are for people at a terminal who have not said otherwise (<https://no-color.org>).
pub fn wants_colour(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
