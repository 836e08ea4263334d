//! `bemi track` from its first session to its last: what fails is tried again, with back-off, unless only an operator can
//! mend it.

use std::io::IsTerminal;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::endpoints::Endpoints;
use super::error::{Remedy, TrackError};
use super::report::Stats;
use super::rules::Rules;
use super::session::{Ended, Session, Shared};
use crate::config::Config;
use crate::logging::write_live_line;
use crate::replication::Timestamp;

/// The first wait. A server that was killed needs a moment to clear up.
const MIN_BACKOFF: Duration = Duration::from_millis(200);

/// A session that lived so long was not in vain: the next wait is the first again.
const GOOD_SESSION: Duration = Duration::from_secs(30);

/// How often a live line on a terminal is written anew.
const LIVE_INTERVAL: Duration = Duration::from_secs(1);

/// What `bemi track` can be told besides the configuration.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Go on behind a gap, and write it down.
    pub accept_gap: bool,
}

/// Tracks until `stop` is true.
///
/// # Errors
/// [`TrackError`], where trying again cannot help.
pub async fn run(
    config: Config,
    home: Option<&Path>,
    options: Options,
    mut stop: watch::Receiver<bool>,
) -> Result<(), TrackError> {
    let endpoints = Endpoints::new(&config, home)?;
    let stats = Arc::new(Stats::default());
    let shared = Shared {
        rules: Arc::new(Rules::from(&config.track)),
        stats: Arc::clone(&stats),
        accept_gap: AtomicBool::new(options.accept_gap),
        config,
    };
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        source = %shared.config.upstream.url,
        slot = shared.config.track.slot,
        "started"
    );
    let reporting = tokio::spawn(report(stats, shared.config.track.report_interval));
    let ended = sessions(&shared, &endpoints, &mut stop).await;
    reporting.abort();
    if ended.is_ok() {
        tracing::info!(changes = shared.stats.changes(), "stopped");
    }
    ended
}

async fn sessions(
    shared: &Shared,
    endpoints: &Endpoints,
    stop: &mut watch::Receiver<bool>,
) -> Result<(), TrackError> {
    let mut backoff = MIN_BACKOFF;
    loop {
        let began = Instant::now();
        let error = match session(shared, endpoints, stop).await {
            Ok(Ended::Stopped) => return Ok(()),
            Err(error) if error.remedy() == Remedy::Operator => return Err(error),
            Err(error) => error,
        };
        if began.elapsed() >= GOOD_SESSION {
            backoff = MIN_BACKOFF;
        }
        tracing::warn!(
            retry_in_ms = u64::try_from(backoff.as_millis()).unwrap_or(u64::MAX),
            "{error}"
        );
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => return Ok(()),
            () = sleep(backoff) => {}
        }
        backoff = (backoff * 2).min(shared.config.track.max_backoff);
    }
}

async fn session(
    shared: &Shared,
    endpoints: &Endpoints,
    stop: &mut watch::Receiver<bool>,
) -> Result<Ended, TrackError> {
    let session = tokio::select! {
        biased;
        _ = stop.wait_for(|stop| *stop) => return Ok(Ended::Stopped),
        session = Session::open(shared, endpoints) => session?,
    };
    session.stream(shared, endpoints, stop).await
}

/// A live line on a terminal, lines in the log otherwise.
async fn report(stats: Arc<Stats>, report_interval: Duration) {
    let is_live = std::io::stdout().is_terminal();
    let mut ticks = interval(if is_live { LIVE_INTERVAL } else { report_interval });
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut before, mut at) = (stats.changes(), Instant::now());
    loop {
        ticks.tick().await;
        if at.elapsed() < Duration::from_millis(500) {
            continue;
        }
        let line = stats.line(before, at.elapsed(), Timestamp::of(SystemTime::now()));
        (before, at) = (line.changes, Instant::now());
        if is_live {
            // A terminal that is gone is no reason to stop.
            _ = write_live_line(&line.to_string());
        } else {
            tracing::info!("{line}");
        }
    }
}
