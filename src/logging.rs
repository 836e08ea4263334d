//! The log: tracing events to standard error, as text or as one JSON object per line.
//!
//! At `info` and above an event holds no SQL, no parameters and no secrets; that is a rule for who writes
//! events, not something a filter here could mend.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};

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
                        .with_writer(|| BesideLiveLine(io::stderr()))
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

/// Whether the last line of the terminal is a live one.
static HAS_LIVE_LINE: AtomicBool = AtomicBool::new(false);

/// Goes to the first column and takes away what is in the line (ECMA-48, "Erase in Line").
const CLEAR_LINE: &str = "\r\x1b[K";

/// Writes the live line of a terminal anew; an event of the log takes its place until the next time.
///
/// # Errors
/// When the terminal is gone.
pub fn write_live_line(line: &str) -> io::Result<()> {
    HAS_LIVE_LINE.store(true, Ordering::Relaxed);
    let mut terminal = io::stdout();
    write!(terminal, "{CLEAR_LINE}{line}")?;
    terminal.flush()
}

/// Where events go: an event is written whole, on a line of its own.
struct BesideLiveLine(io::Stderr);

impl Write for BesideLiveLine {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        if HAS_LIVE_LINE.swap(false, Ordering::Relaxed) {
            self.0.write_all(CLEAR_LINE.as_bytes())?;
        }
        self.0.write(event)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Colours are for people at a terminal who have not said otherwise (<https://no-color.org>).
pub fn wants_colour(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
