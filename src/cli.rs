//! The command line. Everything a flag can say is a key of the configuration, so a flag is only another
//! way to write one; `--set` reaches those that have no flag of their own.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::config::{FlagValue, Sources};

/// Puts application context into PostgreSQL's write-ahead log, from between application and server.
#[derive(Parser)]
#[command(
    name = "bemi",
    version,
    about,
    arg_required_else_help = true,
    disable_help_subcommand = true
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What `bemi` can do.
#[derive(Subcommand)]
pub enum Command {
    /// Run the proxy
    Proxy(ProxyArgs),
    /// Say whether the server is ready for the proxy, and what to run where it is not
    Check(CheckArgs),
    /// Ask whether a proxy answers: exit code 0 if so, for health checks of containers
    Health(HealthArgs),
    /// Follow the write-ahead log, and store every row change with its context in the table `changes`
    Track(TrackArgs),
    /// Show it at work on a throw-away PostgreSQL
    Demo(DemoArgs),
}

/// `bemi proxy`
#[derive(Args)]
pub struct ProxyArgs {
    #[command(flatten)]
    common: CommonArgs,
    #[command(flatten)]
    serving: ServingArgs,
    /// Print the configuration that these flags, the environment and the file amount to, and exit
    #[arg(long)]
    pub print_config: bool,
}

/// `bemi check`
#[derive(Args)]
pub struct CheckArgs {
    #[command(flatten)]
    common: CommonArgs,
}

/// `bemi health`
#[derive(Args)]
pub struct HealthArgs {
    /// host:port or unix:/directory[:port] of the proxy; without it, the first one that the configuration listens on
    pub address: Option<String>,
    /// Configuration file [default: ./proxy.toml, if it exists] [env: BEMI_CONFIG]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// `bemi track`
#[derive(Args)]
pub struct TrackArgs {
    #[command(flatten)]
    common: CommonArgs,
    /// The database to follow: the server itself, no pooler; the same as --upstream [env: BEMI_UPSTREAM]
    #[arg(long, value_name = "URL", conflicts_with = "upstream")]
    source: Option<String>,
    /// The database with the table changes [default: the source] [env: BEMI_TRACK_DESTINATION]
    #[arg(long, value_name = "URL")]
    destination: Option<String>,
    /// The schema of the table changes [default: public] [env: BEMI_TRACK_SCHEMA]
    #[arg(long, value_name = "NAME")]
    schema: Option<String>,
    /// The replication slot [default: bemi] [env: BEMI_TRACK_SLOT]
    #[arg(long, value_name = "NAME")]
    slot: Option<String>,
    /// The publication [default: bemi] [env: BEMI_TRACK_PUBLICATION]
    #[arg(long, value_name = "NAME")]
    publication: Option<String>,
    /// Tables to follow, as todo, public.todo, audit.*; parted by commas or repeated [default: all] [env: BEMI_TRACK_TABLES]
    #[arg(long, value_name = "PATTERN")]
    tables: Vec<String>,
    /// Tables not to follow [env: BEMI_TRACK_EXCLUDE]
    #[arg(long, value_name = "PATTERN")]
    exclude: Vec<String>,
    /// How long changes are kept: off, or days such as 90d [default: off] [env: BEMI_TRACK_RETENTION]
    #[arg(long, value_name = "DAYS")]
    retention: Option<String>,
    /// Where changes are missing, go on behind the gap, and write it down in changes_gaps
    #[arg(long)]
    pub accept_gap: bool,
    /// Print the statements that set everything up, for whoever has the rights to run them, and exit
    #[arg(long, conflicts_with_all = ["accept_gap", "teardown"])]
    pub print_setup: bool,
    /// Remove the replication slot and the publication, after asking; the table changes stays
    #[arg(long, conflicts_with = "accept_gap")]
    pub teardown: bool,
    /// Do not ask
    #[arg(long, requires = "teardown")]
    pub yes: bool,
    /// Print the configuration that these flags, the environment and the file amount to, and exit
    #[arg(long)]
    pub print_config: bool,
}

/// `bemi demo`
#[derive(Args)]
pub struct DemoArgs {
    /// Stay up afterwards, and print the URL to connect to
    #[arg(long)]
    pub keep: bool,
    /// Run on this server instead, in a schema of its own that is dropped at the end
    #[arg(long, value_name = "URL")]
    pub upstream: Option<String>,
}

/// What every command that reads the configuration takes.
#[derive(Args)]
struct CommonArgs {
    /// Configuration file [default: ./proxy.toml, if it exists] [env: BEMI_CONFIG]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The application's own DATABASE_URL; as a flag it shows in the list of processes [env: BEMI_UPSTREAM]
    #[arg(long, value_name = "URL")]
    upstream: Option<String>,
    /// What is behind the proxy: none or transaction [env: BEMI_UPSTREAM_POOLER]
    #[arg(long, value_name = "POOLER")]
    pooler: Option<String>,
    /// off, error, warn, info, debug, trace, or a list such as info,bemi::proxy=debug [env: BEMI_LOG_LEVEL]
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
    /// text or json [env: BEMI_LOG_FORMAT]
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
    /// Any other key of proxy.toml, as in --set limits.max_connections=100; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_and_value)]
    assignments: Vec<(String, String)>,
}

/// What only a command that serves clients takes.
#[derive(Args)]
struct ServingArgs {
    /// host:port or unix:/directory[:port]; may be repeated [default: 127.0.0.1:6432] [env: BEMI_LISTEN]
    #[arg(long, value_name = "ADDRESS")]
    listen: Vec<String>,
    /// Worker threads; 0 for one per core [env: BEMI_THREADS]
    #[arg(long, value_name = "COUNT")]
    threads: Option<String>,
    /// PEM file with the certificate that clients are shown [env: BEMI_TLS_CERTIFICATE]
    #[arg(long, value_name = "FILE")]
    tls_certificate: Option<String>,
    /// PEM file with its private key [env: BEMI_TLS_KEY]
    #[arg(long, value_name = "FILE")]
    tls_key: Option<String>,
    /// PEM file with the authorities of client certificates, which are then required [env: BEMI_TLS_CLIENT_CA]
    #[arg(long, value_name = "FILE")]
    tls_client_ca: Option<String>,
    /// prefer or require [env: BEMI_TLS_MODE]
    #[arg(long, value_name = "MODE")]
    tls_mode: Option<String>,
    /// passthrough, password or scram [env: BEMI_AUTH_MODE]
    #[arg(long, value_name = "MODE")]
    auth_mode: Option<String>,
    /// Users and their passwords or SCRAM verifiers, for --auth-mode scram [env: BEMI_AUTH_USERS_FILE]
    #[arg(long, value_name = "FILE")]
    users_file: Option<String>,
}

fn key_and_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) => Ok((key.trim().into(), value.into())),
        None => Err("expected KEY=VALUE".into()),
    }
}

type Environment = std::collections::BTreeMap<String, String>;

impl ProxyArgs {
    /// What these flags and the environment say.
    pub fn sources(&self, environment: Environment) -> Sources {
        let mut sources = self.common.sources(environment);
        sources.flags.splice(0..0, self.serving.flags());
        sources
    }
}

impl CheckArgs {
    /// What these flags and the environment say.
    pub fn sources(&self, environment: Environment) -> Sources {
        self.common.sources(environment)
    }
}

impl TrackArgs {
    /// What these flags and the environment say.
    pub fn sources(&self, environment: Environment) -> Sources {
        let list = |items: &[String]| (!items.is_empty()).then(|| items.join(","));
        let named = [
            flag("--source", "upstream.url", &self.source),
            flag("--destination", "track.destination", &self.destination),
            flag("--schema", "track.schema", &self.schema),
            flag("--slot", "track.slot", &self.slot),
            flag("--publication", "track.publication", &self.publication),
            flag("--tables", "track.tables", &list(&self.tables)),
            flag("--exclude", "track.exclude", &list(&self.exclude)),
            flag("--retention", "track.retention", &self.retention),
        ];
        let mut sources = self.common.sources(environment);
        sources.flags.splice(0..0, named.into_iter().flatten());
        sources.serves_clients = false;
        sources
    }
}

impl HealthArgs {
    /// What these flags and the environment say.
    pub fn sources(&self, environment: Environment) -> Sources {
        Sources {
            flags: Vec::new(),
            environment,
            file: self.config.clone(),
            serves_clients: true,
        }
    }
}

impl CommonArgs {
    /// `--set` comes last, so that it wins over a flag of its own.
    fn sources(&self, environment: Environment) -> Sources {
        let named = [
            flag("--upstream", "upstream.url", &self.upstream),
            flag("--pooler", "upstream.pooler", &self.pooler),
            flag("--log-level", "log.level", &self.log_level),
            flag("--log-format", "log.format", &self.log_format),
        ];
        let set = self.assignments.iter().map(|(key, value)| FlagValue {
            flag: "--set",
            key: key.clone(),
            value: value.clone(),
        });
        Sources {
            flags: named.into_iter().flatten().chain(set).collect(),
            environment,
            file: self.config.clone(),
            serves_clients: true,
        }
    }
}

impl ServingArgs {
    fn flags(&self) -> Vec<FlagValue> {
        let listen = (!self.listen.is_empty()).then(|| self.listen.join(","));
        [
            flag("--listen", "listen", &listen),
            flag("--threads", "threads", &self.threads),
            flag("--tls-certificate", "tls.certificate", &self.tls_certificate),
            flag("--tls-key", "tls.key", &self.tls_key),
            flag("--tls-client-ca", "tls.client_ca", &self.tls_client_ca),
            flag("--tls-mode", "tls.mode", &self.tls_mode),
            flag("--auth-mode", "auth.mode", &self.auth_mode),
            flag("--users-file", "auth.users_file", &self.users_file),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

fn flag(flag: &'static str, key: &str, value: &Option<String>) -> Option<FlagValue> {
    value.as_ref().map(|value| FlagValue {
        flag,
        key: key.into(),
        value: value.clone(),
    })
}

/// `text` without what stands between `://` and `@`: clap repeats an argument it cannot place, and a URL
/// where none is expected may hold a password.
pub fn without_credentials(text: &str) -> String {
    let mut shown = String::new();
    let mut rest = text;
    while let Some((before, url)) = rest.split_once("://") {
        shown.push_str(before);
        shown.push_str("://");
        let end = url
            .find(|c: char| c.is_whitespace() || matches!(c, '\'' | '"' | '`'))
            .unwrap_or(url.len());
        rest = match url.get(..end).and_then(|word| word.rfind('@')) {
            Some(at) => {
                shown.push_str("...");
                url.get(at..).unwrap_or_default()
            }
            None => url,
        };
    }
    shown + rest
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::config::{Config, Problem};

    fn load(arguments: &[&str]) -> Result<Config, Vec<Problem>> {
        let all = ["bemi", "proxy"].iter().chain(arguments);
        let Command::Proxy(args) = Cli::try_parse_from(all).expect("valid arguments").command else {
            panic!("another command");
        };
        Config::load(&args.sources(Environment::new()), |_| Ok(String::new())).map_err(|error| error.problems)
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_flag_sets_its_key() {
        let arguments = "--upstream postgresql://db/app --pooler transaction --log-level debug --log-format json \
             --listen 127.0.0.1:1 --listen unix:/run/bemi:2 --threads 3 --tls-certificate a --tls-key b --tls-client-ca c \
             --tls-mode require --auth-mode scram --users-file d --set limits.max_connections=5";
        let config = load(&arguments.split_whitespace().collect::<Vec<_>>()).expect("valid");
        let changed = config.changed_keys(&Config::new("postgresql://other".parse().expect("a URL")));
        let expected = [
            "listen",
            "threads",
            "upstream.url",
            "upstream.pooler",
            "tls.certificate",
            "tls.key",
            "tls.client_ca",
            "tls.mode",
            "auth.mode",
            "auth.users_file",
            "limits.max_connections",
            "log.level",
            "log.format",
        ];
        assert_eq!(changed, expected);
        assert_eq!(config.listen.len(), 2);
    }

    #[test]
    fn a_wrong_flag_is_named_as_it_was_written() {
        let problems = load(&["--upstream", "postgresql://db/app", "--auth-mode", "x"]).expect_err("wrong");
        assert!(
            problems
                .iter()
                .all(|problem| problem.to_string().starts_with("--auth-mode: ")),
            "{problems:?}"
        );
    }

    #[test]
    fn credentials_are_cut_out_of_what_clap_says() {
        assert_eq!(
            without_credentials(
                "unexpected argument 'postgresql://bob:p@ss@db:5432/app' found, see http://x/"
            ),
            "unexpected argument 'postgresql://...@db:5432/app' found, see http://x/"
        );
        assert_eq!(without_credentials("nothing here"), "nothing here");
    }
}
