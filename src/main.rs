//! The command line: read the configuration, start the log, do the one thing that was asked for.
//!
//! Exit codes: 0 done, 1 failed (or something must be mended), 2 wrong usage or configuration.

mod follow;
mod serve;

use std::collections::BTreeMap;
use std::io;
use std::process::ExitCode;

use bemi::check;
use bemi::cli::{CheckArgs, Cli, Command, DemoArgs, HealthArgs, ProxyArgs, TrackArgs, without_credentials};
use bemi::config::{Config, ListenAddress, Sources};
use bemi::demo;
use bemi::logging::{Logging, wants_colour};
use bemi::proxy::StartError;
use bemi::track::error::TrackError;
use clap::Parser;

/// Something went wrong while doing what was asked.
const FAILED: u8 = 1;
/// It could not even be asked: flags, environment or file are wrong.
const USAGE: u8 = 2;
/// The columns that the demo's report is laid out for: what every terminal has.
const DEMO_WIDTH: usize = 80;

fn main() -> ExitCode {
    let done = arguments().and_then(|cli| match cli.command {
        Command::Proxy(args) => proxy(&args),
        Command::Check(args) => check(&args),
        Command::Health(args) => health(&args),
        Command::Track(args) => track(&args),
        Command::Demo(args) => demo(&args),
    });
    done.unwrap_or_else(|failure| {
        eprint!("{}", failure.message);
        ExitCode::from(failure.code)
    })
}

/// Why the command ended early: what to print to standard error, and the exit code.
struct Failure {
    message: String,
    code: u8,
}

fn usage(message: impl std::fmt::Display) -> Failure {
    Failure {
        message: format!("bemi: {message}\n"),
        code: USAGE,
    }
}

fn failed(message: impl std::fmt::Display) -> Failure {
    Failure {
        message: format!("bemi: {message}\n"),
        code: FAILED,
    }
}

/// Help and version end here as well, with exit code 0.
fn arguments() -> Result<Cli, Failure> {
    Cli::try_parse().map_err(|error| {
        if !error.use_stderr() {
            error.exit();
        }
        Failure {
            message: without_credentials(&error.render().to_string()),
            code: USAGE,
        }
    })
}

fn environment() -> Result<BTreeMap<String, String>, Failure> {
    std::env::vars_os()
        .filter(|(name, _)| name.as_encoded_bytes().starts_with(b"BEMI_"))
        .map(|(name, value)| {
            let name = name
                .into_string()
                .map_err(|name| usage(format!("{} is no UTF-8", name.display())))?;
            let value = value
                .into_string()
                .map_err(|_| usage(format!("the value of {name} is no UTF-8")))?;
            Ok((name, value))
        })
        .collect()
}

fn load(sources: &Sources) -> Result<Config, Failure> {
    serve::load(sources).map_err(|error| usage(error.to_string().replace('\n', "\nbemi: ")))
}

fn proxy(args: &ProxyArgs) -> Result<ExitCode, Failure> {
    let sources = args.sources(environment()?);
    let config = load(&sources)?;
    if args.print_config {
        print!("{}", config.to_toml());
        return Ok(ExitCode::SUCCESS);
    }
    let logging = Logging::start(&config.log).map_err(usage)?;
    // One thread accepts; the connections are served on threads of their own.
    let served = one_thread()?.block_on(serve::serve(config, sources, logging));
    served.map(|()| ExitCode::SUCCESS).map_err(|error| match error {
        StartError::Generation(_) => usage(error),
        StartError::Listen(_) | StartError::System(_) => failed(error),
    })
}

fn check(args: &CheckArgs) -> Result<ExitCode, Failure> {
    let config = load(&args.sources(environment()?))?;
    let _logging = Logging::start(&config.log).map_err(usage)?;
    let report = one_thread()?.block_on(check::run(&config, std::env::home_dir().as_deref()));
    print!("{report}");
    Ok(if report.is_ready() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(FAILED)
    })
}

fn track(args: &TrackArgs) -> Result<ExitCode, Failure> {
    let config = load(&args.sources(environment()?))?;
    if args.print_config {
        print!("{}", config.to_toml());
        return Ok(ExitCode::SUCCESS);
    }
    let _logging = Logging::start(&config.log).map_err(usage)?;
    let outcome = one_thread()?.block_on(async {
        if args.print_setup {
            follow::print_setup(&config).await
        } else if args.teardown {
            follow::teardown(&config, args.yes).await
        } else {
            follow::follow(config, args.accept_gap).await
        }
    });
    outcome.map(|()| ExitCode::SUCCESS).map_err(|error| match error {
        TrackError::Configuration(_) => usage(error),
        other => failed(other),
    })
}

fn health(args: &HealthArgs) -> Result<ExitCode, Failure> {
    let address = match &args.address {
        Some(address) => address.parse().map_err(usage)?,
        None => first_address(&load(&args.sources(environment()?))?)?,
    };
    one_thread()?
        .block_on(check::health::probe(&address))
        .map_err(failed)?;
    Ok(ExitCode::SUCCESS)
}

fn first_address(config: &Config) -> Result<ListenAddress, Failure> {
    config
        .listen
        .first()
        .cloned()
        .ok_or_else(|| usage("listen: needs at least one address"))
}

fn demo(args: &DemoArgs) -> Result<ExitCode, Failure> {
    let options = demo::Options {
        keep: args.keep,
        upstream: args.upstream.clone(),
    };
    let output = &mut io::stdout();
    let style = demo::Style {
        color: wants_colour(output),
        width: DEMO_WIDTH,
    };
    one_thread()?
        .block_on(demo::run(&options, style, output, demo::start_proxy))
        .map_err(failed)?;
    Ok(ExitCode::SUCCESS)
}

fn one_thread() -> Result<tokio::runtime::Runtime, Failure> {
    let started: io::Result<_> = tokio::runtime::Builder::new_current_thread().enable_all().build();
    started.map_err(|error| failed(format!("cannot start the runtime: {error}")))
}
