//! Flags over environment over `proxy.toml` over defaults.
//!
//! Each source becomes a list of (key, origin, value); they are applied from the weakest to the strongest,
//! so that the last one to set a key wins. A value replaces the weaker one whole: lists and tables do not
//! add up, because what is to be removed could then not be said. A wrong value is an error even where a
//! stronger source overrides it; it would be one the day that source is gone.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::checks;
use super::file::{self, Entry};
use super::keys::{self, KEYS};
use super::nearest::nearest;
use super::origin::{ConfigError, Origin, Problem};
use super::settings::{Config, no_url};
use super::value::{Raw, found};

/// The file that is read without being asked for, if it exists.
const DEFAULT_FILE: &str = "proxy.toml";
/// The variable that names the file.
const FILE_VARIABLE: &str = "BEMI_CONFIG";
/// What all our variables begin with.
const PREFIX: &str = "BEMI_";
/// Variables that are no settings: where the demo and the tests find PostgreSQL, and what steers the tests.
const NOT_SETTINGS: [&str; 3] = ["BEMI_PG_", "BEMI_TEST_", "BEMI_REQUIRE_"];

/// What the user said, kept for reading it all again at SIGHUP. No `Debug`: it may hold a password.
#[derive(Clone, Default)]
pub struct Sources {
    /// Settings on the command line, in their order there.
    pub flags: Vec<FlagValue>,
    /// The environment; variables that do not begin with `BEMI_` are ignored.
    pub environment: BTreeMap<String, String>,
    /// `--config`.
    pub file: Option<PathBuf>,
    /// Whether clients are served: what only has to do with them is checked then.
    pub serves_clients: bool,
}

/// One setting on the command line. No `Debug`: it may hold a password.
#[derive(Clone)]
pub struct FlagValue {
    /// The flag as the user writes it: `--upstream`.
    pub flag: &'static str,
    /// The key it sets: `upstream.url`.
    pub key: String,
    /// Its value.
    pub value: String,
}

/// A value for a key and where it came from.
struct Assignment {
    key: String,
    origin: Origin,
    raw: Raw,
}

impl Config {
    /// Reads and checks the configuration; `read_file` gives the text of a file.
    ///
    /// # Errors
    /// Everything that is wrong with any source, and what does not fit together.
    pub fn load(
        sources: &Sources,
        read_file: impl Fn(&Path) -> io::Result<String>,
    ) -> Result<Self, ConfigError> {
        let mut problems = Vec::new();
        let assignments = from_file(sources, read_file, &mut problems)
            .into_iter()
            .chain(from_environment(&sources.environment, &mut problems))
            .chain(from_flags(&sources.flags, &mut problems));
        let mut config = Self::new(no_url());
        let mut origins = BTreeMap::new();
        for Assignment { key, origin, raw } in assignments.collect::<Vec<_>>() {
            match apply(&mut config, &key, &raw) {
                Ok(()) => drop(origins.insert(key, origin)),
                Err(message) => problems.push(Problem {
                    origin: Some(origin),
                    key,
                    message,
                }),
            }
        }
        // What does not fit together is told only about values that are right each by itself.
        if problems.is_empty() {
            problems = checks::problems(&config, &origins, sources.serves_clients);
        }
        if problems.is_empty() {
            Ok(config)
        } else {
            Err(ConfigError { problems })
        }
    }

    /// Every key and its value, as a `proxy.toml`; only the URL is shown in short, without password and most parameters.
    pub fn to_toml(&self) -> String {
        KEYS.iter()
            .map(|key| format!("{} = {}\n", key.path, (key.show)(self)))
            .collect()
    }

    /// The keys whose values differ between the two.
    pub fn changed_keys(&self, other: &Self) -> Vec<&'static str> {
        KEYS.iter()
            .filter(|key| !(key.same)(self, other))
            .map(|key| key.path)
            .collect()
    }
}

fn apply(config: &mut Config, key: &str, raw: &Raw) -> Result<(), String> {
    match keys::find(key) {
        Some(known) => (known.set)(config, raw),
        None => Err("unknown key".into()),
    }
}

fn from_file(
    sources: &Sources,
    read_file: impl Fn(&Path) -> io::Result<String>,
    problems: &mut Vec<Problem>,
) -> Vec<Assignment> {
    let asked_for = file_asked_for(sources);
    let path = asked_for
        .as_ref()
        .map_or(Path::new(DEFAULT_FILE), |(path, _)| path);
    let text = match read_file(path) {
        Ok(text) => text,
        Err(error) if asked_for.is_none() && error.kind() == io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => {
            let message = format!("cannot read the configuration file {}: {error}", path.display());
            problems.push(Problem {
                origin: asked_for.map(|(_, origin)| origin),
                key: String::new(),
                message,
            });
            return Vec::new();
        }
    };
    match file::entries(path, &text) {
        Ok(entries) => entries
            .into_iter()
            .filter_map(|entry| from_entry(entry, problems))
            .collect(),
        Err(problem) => {
            problems.push(problem);
            Vec::new()
        }
    }
}

fn file_asked_for(sources: &Sources) -> Option<(PathBuf, Origin)> {
    if let Some(path) = &sources.file {
        return Some((path.clone(), Origin::Flag("--config".into())));
    }
    let path = sources
        .environment
        .get(FILE_VARIABLE)
        .filter(|path| !path.is_empty())?;
    Some((path.into(), Origin::Variable(FILE_VARIABLE.into())))
}

fn from_entry(entry: Entry, problems: &mut Vec<Problem>) -> Option<Assignment> {
    let Entry { key, origin, value } = entry;
    if keys::find(&key).is_none() {
        let is_empty_section = value == Ok(Value::Object(Default::default())) && is_section(&key);
        if !is_empty_section {
            problems.push(unknown_key(origin, &key));
        }
        return None;
    }
    match value {
        Ok(value) => Some(Assignment {
            key,
            origin,
            raw: Raw::Typed(value),
        }),
        Err(message) => {
            problems.push(Problem {
                origin: Some(origin),
                key,
                message,
            });
            None
        }
    }
}

fn is_section(name: &str) -> bool {
    KEYS.iter().any(|key| {
        key.path
            .split_once('.')
            .is_some_and(|(section, _)| section == name)
    })
}

fn unknown_key(origin: Origin, key: &str) -> Problem {
    let near = nearest(key, KEYS.iter().map(|key| key.path)).unwrap_or_default();
    Problem {
        origin: Some(origin),
        key: String::new(),
        message: format!("unknown key {}; the nearest known one is \"{near}\"", found(key)),
    }
}

fn from_environment(environment: &BTreeMap<String, String>, problems: &mut Vec<Problem>) -> Vec<Assignment> {
    let ours = environment.iter().filter(|(name, _)| {
        let is_other = NOT_SETTINGS.iter().any(|prefix| name.starts_with(prefix)) || *name == FILE_VARIABLE;
        name.starts_with(PREFIX) && !is_other && !is_service_link(name)
    });
    let mut found = Vec::new();
    for (name, value) in ours {
        match KEYS.iter().find(|key| key.variable() == *name) {
            Some(key) => found.push(Assignment {
                key: key.path.into(),
                origin: Origin::Variable(name.clone()),
                raw: Raw::Text(value.clone()),
            }),
            None => problems.push(unknown_variable(name)),
        }
    }
    found
}

/// Kubernetes tells every container of a namespace about a service named `bemi` or `bemi-...` in variables
/// such as `BEMI_SERVICE_HOST` and `BEMI_PORT_6432_TCP`. They are not addressed to us.
fn is_service_link(name: &str) -> bool {
    name.ends_with("_PORT")
        || ["_PORT_", "_SERVICE_HOST", "_SERVICE_PORT"]
            .iter()
            .any(|part| name.contains(part))
}

fn unknown_variable(name: &str) -> Problem {
    let variables: Vec<String> = KEYS
        .iter()
        .map(|key| key.variable())
        .chain([FILE_VARIABLE.into()])
        .collect();
    let near = nearest(name, variables.iter().map(String::as_str)).unwrap_or_default();
    Problem {
        origin: Some(Origin::Variable(name.into())),
        key: String::new(),
        message: format!("unknown variable; the nearest known one is {near}"),
    }
}

fn from_flags(flags: &[FlagValue], problems: &mut Vec<Problem>) -> Vec<Assignment> {
    let mut found = Vec::new();
    for FlagValue { flag, key, value } in flags {
        let origin = Origin::Flag((*flag).into());
        if keys::find(key).is_some() {
            found.push(Assignment {
                key: key.clone(),
                origin,
                raw: Raw::Text(value.clone()),
            });
        } else {
            problems.push(unknown_key(origin, key));
        }
    }
    found
}
