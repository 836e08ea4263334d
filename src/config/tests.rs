use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::time::Duration;

use serde_json::json;

use super::keys::KEYS;
use super::*;

const URL: &str = "postgresql://bob:hunter2@db.example.com/app";

/// Loads from flags (`key=value`), variables and the text of `proxy.toml`.
fn load(
    flags: &[(&'static str, &str, &str)],
    variables: &[(&str, &str)],
    file: &str,
) -> Result<Config, String> {
    let sources = Sources {
        flags: flags
            .iter()
            .map(|(flag, key, value)| FlagValue {
                flag,
                key: (*key).into(),
                value: (*value).into(),
            })
            .collect(),
        environment: environment(variables),
        file: None,
        serves_clients: true,
    };
    Config::load(&sources, |_: &Path| Ok(file.to_owned())).map_err(|error| error.to_string())
}

fn environment(variables: &[(&str, &str)]) -> BTreeMap<String, String> {
    variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn url(text: &str) -> url::UpstreamUrl {
    text.parse().expect("a URL")
}

fn defaults() -> Config {
    Config::new(url(URL))
}

fn with_file(file: &str) -> Result<Config, String> {
    load(&[("--upstream", "upstream.url", URL)], &[], file)
}

#[track_caller]
fn assert_refused(result: Result<Config, String>, message: &str) {
    assert_eq!(result.expect_err("refused"), message);
}

#[test]
fn a_url_is_all_that_is_needed() {
    assert_eq!(with_file(""), Ok(defaults()));
}

#[test]
fn without_a_url_the_three_ways_to_give_one_are_named() {
    let error = load(&[], &[], "").expect_err("no server");
    for way in ["--upstream", "BEMI_UPSTREAM", "upstream.url in proxy.toml"] {
        assert!(error.contains(way), "{error}");
    }
}

#[test]
fn flags_are_stronger_than_variables_and_variables_than_the_file() {
    let file = "threads = 1\n[upstream]\nurl = 'postgresql://file/'\nconnect_timeout = '1s'";
    let variables = [
        ("BEMI_UPSTREAM", "postgresql://variable/"),
        ("BEMI_UPSTREAM_CONNECT_TIMEOUT", "2s"),
    ];
    let flags = [("--upstream", "upstream.url", "postgresql://flag/")];
    let config = load(&flags, &variables, file).expect("valid");
    assert_eq!(config.upstream.url, url("postgresql://flag/"));
    assert_eq!(config.upstream.connect_timeout, Duration::from_secs(2));
    assert_eq!(config.threads, 1);
}

#[test]
fn a_stronger_list_replaces_the_weaker_one() {
    let config = load(
        &[("--upstream", "upstream.url", URL)],
        &[("BEMI_INJECT_EXCLUDE", "c")],
        "[inject]\nexclude = ['a', 'b']",
    );
    let exclude = config.map(|config| config.inject.exclude);
    assert_eq!(exclude, Ok(vec!["c".parse().expect("a pattern")]));
}

#[test]
fn an_unknown_key_is_named_with_its_line_and_the_nearest_known_one() {
    assert_refused(
        with_file("threads = 2\n\n[upstream]\nconect_timeout = '1s'\n"),
        "proxy.toml:4: unknown key \"upstream.conect_timeout\"; the nearest known one is \"upstream.connect_timeout\"",
    );
    assert_refused(
        with_file("[upsteam]\npooler = 'none'"),
        "proxy.toml:2: unknown key \"upsteam.pooler\"; the nearest known one is \"upstream.pooler\"",
    );
    assert_refused(
        load(&[("--set", "max_connection", "1")], &[("BEMI_UPSTREAM", URL)], ""),
        "--set: unknown key \"max_connection\"; the nearest known one is \"limits.max_connections\"",
    );
    assert_refused(
        load(&[], &[("BEMI_UPSTREAM", URL), ("BEMI_LISTNE", "x")], ""),
        "BEMI_LISTNE: unknown variable; the nearest known one is BEMI_LISTEN",
    );
}

#[test]
fn a_section_may_be_empty_if_it_exists() {
    assert_eq!(with_file("[tls]\n[context.static]\n"), Ok(defaults()));
    assert!(
        with_file("[tsl]\n")
            .expect_err("unknown")
            .contains("unknown key \"tsl\"")
    );
    assert!(
        with_file("[tls.deeper]\n")
            .expect_err("unknown")
            .contains("unknown key \"tls.deeper\"")
    );
}

#[test]
fn a_wrong_value_is_named_with_its_source() {
    assert_refused(
        with_file("[shutdown]\ntimeout = 30"),
        "proxy.toml:2: shutdown.timeout: expected a duration with its unit, such as \"30s\", found a number",
    );
    assert_refused(
        load(
            &[("--upstream", "upstream.url", URL)],
            &[("BEMI_THREADS", "many")],
            "",
        ),
        "BEMI_THREADS: threads: expected a whole number, found \"many\"",
    );
    assert_refused(
        load(
            &[
                ("--upstream", "upstream.url", URL),
                ("--auth-mode", "auth.mode", "md5"),
            ],
            &[],
            "",
        ),
        "--auth-mode: auth.mode: expected one of passthrough, password, scram, found \"md5\"",
    );
    assert!(with_file("threads = -1").is_err());
    assert!(with_file("threads = 1.5").is_err());
    assert!(with_file("listen = '127.0.0.1:1'").is_err());
}

#[test]
fn all_that_is_wrong_is_told_at_once() {
    let error = with_file("threads = 'a'\nlisen = []\n[log]\nformat = 'xml'").expect_err("three problems");
    assert_eq!(error.lines().count(), 3, "{error}");
}

#[test]
fn what_is_no_toml_is_named_with_its_line_but_not_shown() {
    let error = with_file(&format!("threads = 1\n[upstream]\nurl = \"{URL}\n")).expect_err("an open string");
    assert!(error.starts_with("proxy.toml:3: not valid TOML: "), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
}

#[test]
fn a_file_that_was_asked_for_must_exist() {
    let missing = |_: &Path| Err(io::Error::from(io::ErrorKind::NotFound));
    let url = ("BEMI_UPSTREAM", URL);
    let by_flag = Sources {
        file: Some("a.toml".into()),
        environment: environment(&[url]),
        ..Sources::default()
    };
    let error = Config::load(&by_flag, missing).expect_err("missing").to_string();
    assert!(
        error.starts_with("--config: cannot read the configuration file a.toml: "),
        "{error}"
    );

    let by_variable = Sources {
        environment: environment(&[url, ("BEMI_CONFIG", "b.toml")]),
        ..Sources::default()
    };
    let error = Config::load(&by_variable, missing)
        .expect_err("missing")
        .to_string();
    assert!(
        error.starts_with("BEMI_CONFIG: cannot read the configuration file b.toml: "),
        "{error}"
    );

    let not_asked_for = Sources {
        environment: environment(&[url]),
        ..Sources::default()
    };
    assert_eq!(Config::load(&not_asked_for, missing), Ok(defaults()));
    let unreadable = |_: &Path| Err(io::Error::from(io::ErrorKind::PermissionDenied));
    assert!(Config::load(&not_asked_for, unreadable).is_err());
}

#[test]
fn static_context_is_any_table_that_json_can_hold() {
    let config = with_file("[context]\nstatic.a = 1\n[context.static.b]\nc = [true, 1.5, 'x']\nd = {}")
        .expect("valid");
    assert_eq!(
        json!(config.context.fixed),
        json!({"a": 1, "b": {"c": [true, 1.5, "x"], "d": {}}})
    );
    let from_variable = load(
        &[("--upstream", "upstream.url", URL)],
        &[("BEMI_CONTEXT_STATIC", r#"{"service": "billing"}"#)],
        "",
    );
    assert_eq!(
        from_variable.map(|c| json!(c.context.fixed)),
        Ok(json!({"service": "billing"}))
    );
    assert!(
        with_file("[context.static]\nday = 2026-01-01")
            .expect_err("a date")
            .contains("write it as a string")
    );
    assert!(
        with_file("[context.static]\nx = inf")
            .expect_err("inf")
            .contains("no number in JSON")
    );
    assert!(
        with_file("[context]\nstatic = 1")
            .expect_err("no table")
            .contains("expected a table")
    );
}

#[test]
fn settings_that_need_each_other_are_told_so() {
    for (file, key) in [
        ("[tls]\ncertificate = 'a'", "tls.certificate"),
        ("[tls]\nkey = 'a'", "tls.key"),
        ("[tls]\nclient_ca = 'a'", "tls.client_ca"),
        ("[tls]\nmode = 'require'", "tls.mode"),
        ("[auth]\nmode = 'password'", "auth.mode"),
        ("[auth]\nmode = 'scram'", "auth.mode"),
        ("[auth]\nusers_file = 'a'", "auth.users_file"),
    ] {
        let error = with_file(file).expect_err(file);
        assert!(error.starts_with(&format!("proxy.toml:2: {key}: ")), "{error}");
    }
    let whole =
        "[tls]\ncertificate = 'a'\nkey = 'b'\nclient_ca = 'c'\nmode = 'require'\n[auth]\nmode = 'password'";
    assert!(with_file(whole).is_ok());
    assert!(with_file("listen = ['unix:/run/bemi']\n[auth]\nmode = 'password'").is_ok());
}

#[test]
fn bounds_are_kept() {
    for file in [
        "listen = []",
        "[upstream]\nconnect_timeout = '0s'",
        "[context]\nmax_bytes = 1",
        "[comments]\naffix = ''",
        "[comments]\naffix = 'a b'",
        "[limits]\nhandshake_timeout = '0s'",
        "[limits]\nmax_connections = 0",
        "[limits]\nmax_inspected_message_bytes = 2147483648",
        "[limits]\ntcp_keepalive_idle = '10ms'",
        "[limits]\ntcp_keepalive_retries = 0",
    ] {
        assert!(with_file(file).is_err(), "{file}");
    }
    assert!(with_file("[limits]\ntcp_keepalive_idle = '0s'\ntcp_keepalive_retries = 0").is_ok());
}

#[test]
fn a_misspelt_log_level_does_not_silence_the_log() {
    let error = with_file("[log]\nlevel = 'inf'").expect_err("unknown");
    assert!(error.contains("the nearest known one is \"info\""), "{error}");
    assert!(with_file("[log]\nlevel = 'info,bemi::proxy=debgu'").is_err());
    assert!(with_file("[log]\nlevel = 'info,bemi::proxy=debug'").is_ok());
}

#[test]
fn the_password_is_in_no_debug_output_and_in_no_error() {
    let config = defaults();
    assert!(!format!("{config:?}").contains("hunter2"));
    assert!(!config.to_toml().contains("hunter2"));
    for (flag, key) in [
        ("--listen", "listen"),
        ("--set", "threads"),
        ("--set", URL),
        ("--pooler", "upstream.pooler"),
    ] {
        let error = load(&[(flag, key, URL)], &[], "").expect_err("wrong");
        assert!(!error.contains("hunter2"), "{error}");
    }
}

#[test]
fn variables_of_kubernetes_and_of_the_tests_are_no_settings() {
    let links = [
        ("BEMI_UPSTREAM", URL),
        ("BEMI_SERVICE_HOST", "10.0.0.1"),
        ("BEMI_SERVICE_PORT_POSTGRES", "6432"),
        ("BEMI_PORT", "tcp://10.0.0.1:6432"),
        ("BEMI_PROXY_PORT_6432_TCP_ADDR", "10.0.0.1"),
        ("BEMI_PG_BIN", "/usr/lib/postgresql/15/bin"),
    ];
    assert_eq!(load(&[], &links, ""), Ok(defaults()));
}

#[test]
fn every_key_has_a_variable_of_its_own() {
    let variables: Vec<String> = KEYS.iter().map(|key| key.variable()).collect();
    for (index, variable) in variables.iter().enumerate() {
        assert!(
            !variables.iter().skip(index + 1).any(|other| other == variable),
            "{variable}"
        );
    }
    assert!(
        variables
            .iter()
            .any(|variable| variable == "BEMI_INJECT_SQL_MAX_BYTES")
    );
    for key in KEYS {
        let shown = (key.show)(&defaults()).trim_matches('"').to_owned();
        let value = if shown.starts_with('[') || shown.starts_with('{') {
            String::new()
        } else {
            shown
        };
        let value = if key.path == "listen" {
            "127.0.0.1:6432".into()
        } else {
            value
        };
        let value = if key.path == "upstream.url" {
            URL.into()
        } else {
            value
        };
        let config = load(&[], &[("BEMI_UPSTREAM", URL), (&key.variable(), &value)], "");
        assert_eq!(config, Ok(defaults()), "{}", key.path);
    }
}

#[test]
fn what_is_printed_reads_back() {
    let mut config = Config::new(url("postgresql://db/app"));
    config.listen.push("unix:/run/bemi".parse().expect("an address"));
    config.inject.include = vec![r#"audit."My Table""#.parse().expect("a pattern")];
    config.context.facts = vec![Fact::User, Fact::ClientAddr];
    config
        .context
        .fixed
        .insert("a \"b\"".into(), json!({"c": [1, 2.5, true, "x\ny"]}));
    config.limits.tcp_keepalive_idle = Duration::from_millis(1_500);
    assert_eq!(load(&[], &[], &config.to_toml()), Ok(config));
}

#[test]
fn changed_keys_are_named() {
    let old = defaults();
    let mut new = old.clone();
    new.threads = 4;
    new.log.level = "debug".into();
    assert_eq!(old.changed_keys(&new), ["threads", "log.level"]);
    assert!(old.changed_keys(&old.clone()).is_empty());
}

#[test]
fn the_shipped_proxy_toml_holds_every_key_with_its_default() {
    let shipped = include_str!("../../proxy.toml");
    let config = load(&[("--upstream", "upstream.url", URL)], &[], shipped);
    assert_eq!(config, Ok(defaults()));

    let keys: Vec<String> = file::entries(Path::new("proxy.toml"), shipped)
        .expect("TOML")
        .into_iter()
        .map(|entry| entry.key)
        .collect();
    assert_eq!(keys, KEYS.iter().map(|key| key.path).collect::<Vec<_>>());
}

#[test]
fn a_table_without_a_schema_is_rather_audited_than_not() {
    let inject = |include: &str, exclude: &str| {
        let file = format!("[inject]\ninclude = {include}\nexclude = {exclude}");
        with_file(&file).expect("valid").inject
    };
    let all = inject("[]", "[]");
    assert!(all.wants_table(None, "todo") && all.wants_table(Some("audit"), "todo"));

    let some = inject("['public.todo', 'audit.*']", "[]");
    assert!(some.wants_table(Some("public"), "todo") && some.wants_table(None, "todo"));
    assert!(some.wants_table(Some("audit"), "log") && some.wants_table(None, "log"));
    assert!(!some.wants_table(Some("public"), "log"));

    let most = inject("[]", "['public.cache', 'sessions']");
    assert!(most.wants_table(None, "cache") && !most.wants_table(Some("public"), "cache"));
    assert!(!most.wants_table(None, "sessions") && !most.wants_table(Some("public"), "sessions"));

    let both = inject("['audit.*']", "['audit.raw']");
    assert!(both.wants_table(Some("audit"), "log") && !both.wants_table(Some("audit"), "raw"));
}
