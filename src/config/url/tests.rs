use super::*;

fn parse(text: &str) -> UpstreamUrl {
    UpstreamUrl::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn error(text: &str) -> UrlError {
    UpstreamUrl::parse(text).expect_err(text)
}

fn tcp(name: &str, port: u16) -> Host {
    Host::Tcp {
        name: Some(name.to_owned()),
        address: None,
        port,
    }
}

fn unix(directory: &str, port: u16) -> Host {
    Host::Unix {
        directory: directory.into(),
        port,
    }
}

#[test]
fn a_full_url_is_read_as_libpq_reads_it() {
    let url =
        parse("postgresql://app:p%40ss%2Fword@h1:5433,h2/shop?sslmode=verify-full&sslrootcert=./ca.crt");
    assert_eq!(url.hosts, [tcp("h1", 5433), tcp("h2", 5432)]);
    assert_eq!(url.user.as_deref(), Some("app"));
    assert_eq!(url.password.as_ref().map(Password::reveal), Some("p@ss/word"));
    assert_eq!(url.dbname.as_deref(), Some("shop"));
    assert_eq!(url.tls.mode, SslMode::VerifyFull);
    assert_eq!(
        url.tls.root_certificates,
        RootCertificates::File("./ca.crt".into())
    );
    assert!(url.ignored.is_empty());
}

#[test]
fn schemes_of_drivers_mean_the_same() {
    for scheme in [
        "postgres",
        "postgresql",
        "postgis",
        "postgresql+psycopg2",
        "postgres+asyncpg",
        "jdbc:postgresql",
    ] {
        assert_eq!(
            parse(&format!("{scheme}://h:1/d")).hosts,
            [tcp("h", 1)],
            "{scheme}"
        );
    }
    assert_eq!(
        error("mysql://u:secret@h/d"),
        UrlError::Scheme {
            scheme: "mysql".to_owned()
        }
    );
}

#[test]
fn a_socket_directory_may_stand_as_parameter_or_encoded_as_host() {
    let directory = [unix("/var/run/postgresql", 5432)];
    assert_eq!(
        parse("postgresql:///db?host=/var/run/postgresql").hosts,
        directory
    );
    assert_eq!(
        parse("postgresql://%2Fvar%2Frun%2Fpostgresql/db").hosts,
        directory
    );
    assert_eq!(
        parse("postgresql:///db?host=/tmp&port=6000").hosts,
        [unix("/tmp", 6000)]
    );
}

#[test]
fn no_host_means_the_usual_places() {
    let hosts = [
        unix("/var/run/postgresql", 5433),
        unix("/tmp", 5433),
        tcp("localhost", 5433),
    ];
    assert_eq!(parse("postgresql:///db?port=5433").hosts, hosts);
    assert_eq!(parse("dbname=db port=5433").hosts, hosts);
}

#[test]
fn ipv6_addresses_stand_in_brackets() {
    assert_eq!(
        parse("postgresql://u@[::1]:5433,[fe80::1]/d").hosts,
        [tcp("::1", 5433), tcp("fe80::1", 5432)]
    );
    assert_eq!(
        parse("postgresql://[::1]/").to_string(),
        "postgresql://[::1]:5432?sslmode=prefer"
    );
    assert_eq!(error("postgresql://[::1"), UrlError::Brackets);
    assert!(matches!(
        error("postgresql://[::1]5432/d"),
        UrlError::BehindBrackets { .. }
    ));
}

#[test]
fn keywords_with_quotes_and_escapes_are_read() {
    let url = parse(r"host = h1,h2 port=1,2 user='a b' password='it\'s \\' dbname=d\ b sslmode=require");
    assert_eq!(url.hosts, [tcp("h1", 1), tcp("h2", 2)]);
    assert_eq!(url.user.as_deref(), Some("a b"));
    assert_eq!(url.password.as_ref().map(Password::reveal), Some(r"it's \"));
    assert_eq!(url.dbname.as_deref(), Some("d b"));
    assert_eq!(url.tls.mode, SslMode::Require);
    assert_eq!(
        error("host='h"),
        UrlError::UnterminatedQuote {
            key: "host".to_owned()
        }
    );
    assert_eq!(
        error("host"),
        UrlError::MissingValue {
            key: "host".to_owned()
        }
    );
    assert_eq!(error("Pa55word!"), UrlError::NoUrl);
    assert_eq!(error(" "), UrlError::Empty);
    assert_eq!(parse("password=a://b host=h").hosts, [tcp("h", 5432)]);
}

#[test]
fn hostaddr_replaces_the_lookup_and_keeps_the_name() {
    let expected = Host::Tcp {
        name: Some("db.example".to_owned()),
        address: "10.0.0.1".parse().ok(),
        port: 5432,
    };
    let url = parse("host=db.example hostaddr=10.0.0.1");
    assert_eq!(url.hosts, [expected]);
    assert_eq!(url.hosts[0].name_to_verify(), Some("db.example"));
    let url = parse("hostaddr=10.0.0.1");
    assert_eq!(url.hosts[0].name_to_verify(), None);
    assert!(matches!(error("hostaddr=db.example"), UrlError::Value { .. }));
    assert_eq!(
        error("host=a,b hostaddr=10.0.0.1"),
        UrlError::Count {
            parameter: "hostaddr",
            given: 1,
            hosts: 2
        }
    );
}

#[test]
fn ports_are_one_for_all_or_one_for_each() {
    assert_eq!(parse("host=a,b port=7").hosts, [tcp("a", 7), tcp("b", 7)]);
    assert_eq!(parse("postgresql://a,b:7/").hosts, [tcp("a", 5432), tcp("b", 7)]);
    assert_eq!(
        error("host=a,b,c port=1,2"),
        UrlError::Count {
            parameter: "port",
            given: 2,
            hosts: 3
        }
    );
    for port in ["0", "65536", "x", "-1"] {
        assert_eq!(
            error(&format!("postgresql://h:{port}/")),
            UrlError::Port {
                port: port.to_owned()
            }
        );
    }
}

#[test]
fn an_unescaped_at_sign_in_a_password_is_explained() {
    assert_eq!(error("postgresql://u:p@ss@h/d"), UrlError::UnescapedAt);
    assert_eq!(
        error("postgresql://u:100%@h/d"),
        UrlError::PercentEncoding { part: "password" }
    );
    assert_eq!(
        error("postgresql://u:%00@h/d"),
        UrlError::PercentEncoding { part: "password" }
    );
    assert_eq!(
        error("postgresql://u:%ff@h/d"),
        UrlError::PercentEncoding { part: "password" }
    );
}

#[test]
fn no_error_shows_the_password() {
    let bad_urls = [
        "mysql://u:hunter2@h/d",
        "postgresql://u:hunter2@x@h/d",
        "postgresql://u:hunter2%@h/d",
        "postgresql://u:hunter2@h:0/d",
        "password=hunter2 host",
        "password='hunter2",
        "hunter2",
        "hunter2=1 2",
        "host=h password=hunter2 sslmode=strong",
        "postgresql://u@h/d?password=hunter2&sslpassword=hunter2",
        "postgresql://u@h/d?password=hunter2&x",
        "postgresql://h/d?postgresql://u:hunter2@h/d",
        "sslmode=postgresql://u:hunter2@h/d",
        "sslmode=://:hunter2@",
        "sslrootcert=system sslmode=postgresql://u:hunter2@h/d",
        "ssl_min_protocol_version=postgresql://u:hunter2@h/d",
        "channel_binding=postgresql://u:hunter2@h/d",
        "connect_timeout=postgresql://u:hunter2@h/d",
        "port=postgresql://u:hunter2@h/d",
        "hostaddr=postgresql://u:hunter2@h/d",
        "host=a,b,c port=1,postgresql://u,:hunter2@h",
        "host=@://u:hunter2@h",
        "host=a,b target_session_attrs=postgresql://u:hunter2@h",
    ];
    for url in bad_urls {
        let error = error(url);
        let text = format!("{error} {error:?}");
        assert!(!text.contains("hunter2"), "{text}");
    }
}

#[test]
fn neither_debug_nor_display_show_the_password() {
    let url = parse("postgresql://app:hunter2@h1,h2:5433/shop?sslmode=require");
    assert_eq!(
        url.to_string(),
        "postgresql://app@h1:5432,h2:5433/shop?sslmode=require"
    );
    assert!(!format!("{url:?}").contains("hunter2"));
}

#[test]
fn parameters_of_drivers_are_listed_not_refused() {
    let url = parse("postgresql://h/d?schema=public&connection_limit=5&pgbouncer=true&client_encoding=utf8");
    assert_eq!(
        url.ignored,
        ["schema", "connection_limit", "pgbouncer", "client_encoding"]
    );
}

#[test]
fn unknown_tls_parameters_are_refused() {
    let unsupported = [
        "sslmod=require",
        "sslaccept=strict",
        "sslfactory=x",
        "sslpassword=x",
        "sslcrl=x",
        "sslcertmode=require",
        "gssencmode=require",
        "service=x",
    ];
    for parameter in unsupported {
        let error = error(&format!("postgresql://h/d?{parameter}"));
        assert!(
            matches!(error, UrlError::Unsupported { .. }),
            "{parameter}: {error:?}"
        );
    }
    assert!(matches!(
        error("postgresql://h/d?sslmode=no-verify"),
        UrlError::Value { .. }
    ));
}

#[test]
fn every_sslmode_is_known_and_the_default_is_prefer() {
    let modes = [
        ("disable", SslMode::Disable),
        ("allow", SslMode::Prefer),
        ("prefer", SslMode::Prefer),
        ("require", SslMode::Require),
        ("verify-ca", SslMode::VerifyCa),
        ("verify-full", SslMode::VerifyFull),
        ("", SslMode::Prefer),
    ];
    for (text, mode) in modes {
        assert_eq!(parse(&format!("postgresql://h/d?sslmode={text}")).tls.mode, mode);
    }
    assert_eq!(parse("postgresql://h/d").tls, TlsParameters::default());
    assert_eq!(parse("postgresql://h/d?ssl=true").tls.mode, SslMode::Require);
}

#[test]
fn trusting_the_system_needs_verify_full() {
    assert_eq!(
        parse("postgresql://h/d?sslrootcert=system").tls.mode,
        SslMode::VerifyFull
    );
    for mode in ["disable", "prefer", "require", "verify-ca"] {
        let error = error(&format!("postgresql://h/d?sslmode={mode}&sslrootcert=system"));
        assert!(
            matches!(
                error,
                UrlError::WeakMode {
                    with: "sslrootcert=system",
                    ..
                }
            ),
            "{mode}"
        );
    }
}

#[test]
fn direct_negotiation_needs_require() {
    for mode in ["disable", "prefer"] {
        let error = error(&format!("postgresql://h/d?sslmode={mode}&sslnegotiation=direct"));
        assert!(
            matches!(
                error,
                UrlError::WeakMode {
                    with: "sslnegotiation=direct",
                    ..
                }
            ),
            "{mode}"
        );
    }
    let url = parse("postgresql://h/d?sslmode=require&sslnegotiation=direct");
    assert_eq!(url.tls.negotiation, SslNegotiation::Direct);
}

#[test]
fn the_remaining_parameters_are_read() {
    let url = parse(
        "postgresql://h/d?connect_timeout=7&keepalives=1&keepalives_idle=30&keepalives_interval=5&keepalives_count=3\
         &tcp_user_timeout=1500&channel_binding=require&application_name=a%20b&options=-c%20x=y&sslsni=0&sslcert=c\
         &sslkey=k&sslcertmode=disable&ssl_min_protocol_version=TLSv1.3&target_session_attrs=any",
    );
    assert_eq!(url.connect_timeout, Some(Duration::from_secs(7)));
    let keepalive = KeepaliveParameters {
        enabled: Some(true),
        idle: Some(Duration::from_secs(30)),
        interval: Some(Duration::from_secs(5)),
        count: Some(3),
        user_timeout: Some(Duration::from_millis(1500)),
    };
    assert_eq!(url.keepalive, keepalive);
    assert_eq!(url.channel_binding, ChannelBinding::Require);
    assert_eq!(url.application_name.as_deref(), Some("a b"));
    assert_eq!(url.options.as_deref(), Some("-c x=y"));
    assert_eq!(url.tls.certificate, Some("c".into()));
    assert_eq!(url.tls.key, Some("k".into()));
    assert_eq!(url.tls.min_version, TlsVersion::V1_3);
    assert!(!url.tls.sni && !url.tls.send_certificate);
    assert!(url.ignored.is_empty());
    assert_eq!(parse("host=h connect_timeout=0").connect_timeout, None);
    assert!(matches!(
        error("host=h connect_timeout=soon"),
        UrlError::Value { .. }
    ));
}

#[test]
fn versions_of_tls_that_leave_nothing_to_speak_are_refused() {
    assert!(matches!(
        error("host=h ssl_max_protocol_version=TLSv1.1"),
        UrlError::Value { .. }
    ));
    let both = "host=h ssl_min_protocol_version=TLSv1.3 ssl_max_protocol_version=TLSv1.2";
    assert!(matches!(error(both), UrlError::Value { .. }));
    assert_eq!(
        parse("host=h ssl_min_protocol_version=TLSv1").tls.min_version,
        TlsVersion::V1_2
    );
}

#[test]
fn choosing_the_primary_among_several_hosts_is_refused_and_of_one_ignored() {
    assert!(matches!(
        error("host=a,b target_session_attrs=read-write"),
        UrlError::Unsupported { .. }
    ));
    assert_eq!(
        parse("host=a target_session_attrs=read-write").ignored,
        ["target_session_attrs"]
    );
}

#[test]
fn of_two_values_the_last_one_counts() {
    assert_eq!(
        parse("postgresql://h/d?sslmode=disable&sslmode=verify-full")
            .tls
            .mode,
        SslMode::VerifyFull
    );
    assert_eq!(parse("postgresql://h/d?host=other").hosts, [tcp("other", 5432)]);
}
