//! Gives the keys of a connection string their meaning.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::error::{UrlError, shown};
use super::tls_parameters::{self, TlsPairs};
use super::{
    ChannelBinding, DEFAULT_HOSTS, DEFAULT_PORT, Host, KeepaliveParameters, Password, TlsParameters,
    UpstreamUrl,
};

/// Lists as they were written; they make sense only together.
#[derive(Default)]
struct HostLists {
    host: Option<String>,
    hostaddr: Option<String>,
    port: Option<String>,
}

/// Reads the pairs in order: of two values for one key the last one counts, as in libpq.
pub(super) fn interpret(pairs: Vec<(String, String)>) -> Result<UpstreamUrl, UrlError> {
    let mut url = nothing_said();
    let mut hosts = HostLists::default();
    let mut tls = TlsPairs::default();
    let mut session_attributes = None;
    for (key, value) in pairs {
        match key.as_str() {
            "host" => hosts.host = non_empty(value),
            "hostaddr" => hosts.hostaddr = non_empty(value),
            "port" => hosts.port = non_empty(value),
            "user" => url.user = non_empty(value),
            "password" => url.password = non_empty(value).map(Password::new),
            "dbname" => url.dbname = non_empty(value),
            "application_name" => url.application_name = non_empty(value),
            "options" => url.options = non_empty(value),
            "connect_timeout" => url.connect_timeout = seconds(&key, &value)?,
            "channel_binding" => url.channel_binding = channel_binding(&key, &value)?,
            "target_session_attrs" => session_attributes = non_empty(value),
            "gssencmode" => refuse_gss(&key, &value)?,
            key if keepalive(&mut url.keepalive, key, &value)? => {}
            key if tls.take(key, &value)? => {}
            _ => refuse_or_ignore(key, &mut url.ignored)?,
        }
    }
    url.hosts = hosts.into_hosts()?;
    url.tls = tls_parameters::interpret(tls)?;
    session_attributes.map_or(Ok(()), |wanted| target_session_attrs(wanted, &mut url))?;
    Ok(url)
}

fn nothing_said() -> UpstreamUrl {
    UpstreamUrl {
        hosts: Vec::new(),
        user: None,
        password: None,
        dbname: None,
        tls: TlsParameters::default(),
        channel_binding: ChannelBinding::Prefer,
        connect_timeout: None,
        keepalive: KeepaliveParameters::default(),
        application_name: None,
        options: None,
        ignored: Vec::new(),
    }
}

/// libpq takes an empty value as not given.
fn non_empty(value: String) -> Option<String> {
    (!value.is_empty()).then_some(value)
}

/// The other keys: those that change where the connection goes or whom it trusts are errors, all else is somebody
/// else's.
fn refuse_or_ignore(key: String, ignored: &mut Vec<String>) -> Result<(), UrlError> {
    let reason = match key.as_str() {
        "service" | "servicefile" => "write the host, port and user of the service into the URL",
        "requirepeer" => "check the owner of the socket's directory instead",
        "sslpassword" => {
            "write the key without a passphrase (openssl pkey -in KEY -out PLAIN_KEY) and name that in sslkey"
        }
        "sslcrl" | "sslcrldir" => {
            "certificate revocation lists are not read; leave it out to connect without them"
        }
        "sslaccept" | "sslidentity" | "sslfactory" | "sslhostnameverifier" => {
            "write sslmode=verify-full&sslrootcert=FILE (and sslcert, sslkey), as libpq has them"
        }
        "sslcompression" | "sslkeylogfile" => "",
        key if key.starts_with("ssl") => {
            "no such TLS parameter is known; see sslmode, sslrootcert, sslcert, sslkey"
        }
        _ => "",
    };
    if reason.is_empty() {
        ignored.push(key);
        Ok(())
    } else {
        Err(UrlError::Unsupported {
            parameter: shown(&key),
            reason,
        })
    }
}

impl HostLists {
    fn into_hosts(self) -> Result<Vec<Host>, UrlError> {
        let addresses = self
            .hostaddr
            .as_deref()
            .map(|list| list.split(',').collect::<Vec<_>>());
        let names: Vec<&str> = match (&self.host, &addresses) {
            (Some(list), _) => list.split(',').collect(),
            (None, Some(addresses)) => vec![""; addresses.len()],
            (None, None) => DEFAULT_HOSTS.split(',').collect(),
        };
        let addresses = addresses.unwrap_or_else(|| vec![""; names.len()]);
        if addresses.len() != names.len() {
            return Err(UrlError::Count {
                parameter: "hostaddr",
                given: addresses.len(),
                hosts: names.len(),
            });
        }
        let ports = ports(self.port.as_deref().unwrap_or_default(), names.len())?;
        let lists = names.into_iter().zip(addresses).zip(ports);
        lists
            .map(|((name, address), port)| host(name, address, port))
            .collect()
    }
}

/// One port for all hosts, or one for each; an empty one is the default.
fn ports(list: &str, hosts: usize) -> Result<Vec<u16>, UrlError> {
    let ports = list.split(',').map(port).collect::<Result<Vec<_>, _>>()?;
    match ports.as_slice() {
        [single] => Ok(vec![*single; hosts]),
        _ if ports.len() == hosts => Ok(ports),
        _ => Err(UrlError::Count {
            parameter: "port",
            given: ports.len(),
            hosts,
        }),
    }
}

fn port(text: &str) -> Result<u16, UrlError> {
    match text.trim() {
        "" => Ok(DEFAULT_PORT),
        digits => match digits.parse() {
            Ok(port) if port != 0 => Ok(port),
            _ => Err(UrlError::Port { port: shown(digits) }),
        },
    }
}

fn host(name: &str, address: &str, port: u16) -> Result<Host, UrlError> {
    if let Some(abstract_name) = name.strip_prefix('@') {
        return Err(UrlError::Unsupported {
            parameter: format!("host=@{}", shown(abstract_name)),
            reason: "abstract sockets cannot be reached; write the directory of a socket file",
        });
    }
    if address.is_empty() && name.starts_with('/') {
        return Ok(Host::Unix {
            directory: PathBuf::from(name),
            port,
        });
    }
    let parsed = match address {
        "" => None,
        text => Some(text.parse::<IpAddr>().map_err(|_| {
            UrlError::value("hostaddr", text, "write an IP address; a name belongs into host")
        })?),
    };
    let name = match (name, parsed) {
        ("", None) => Some("localhost".to_owned()),
        ("", Some(_)) => None,
        (name, _) => Some(name.to_owned()),
    };
    Ok(Host::Tcp {
        name,
        address: parsed,
        port,
    })
}

fn seconds(key: &str, value: &str) -> Result<Option<Duration>, UrlError> {
    let number = integer(key, value, "write a number of seconds")?;
    Ok(u64::try_from(number)
        .ok()
        .filter(|seconds| *seconds > 0)
        .map(Duration::from_secs))
}

fn integer(key: &str, value: &str, expected: &'static str) -> Result<i64, UrlError> {
    if value.is_empty() {
        Ok(0)
    } else {
        value
            .trim()
            .parse()
            .map_err(|_| UrlError::value(key, value, expected))
    }
}

/// Takes the key if it is about keepalive; as in libpq, zero means the system's default.
fn keepalive(keepalive: &mut KeepaliveParameters, key: &str, value: &str) -> Result<bool, UrlError> {
    match key {
        "keepalives" => keepalive.enabled = Some(integer(key, value, "write 1 (on) or 0 (off)")? != 0),
        "keepalives_idle" => keepalive.idle = seconds(key, value)?,
        "keepalives_interval" => keepalive.interval = seconds(key, value)?,
        "keepalives_count" => {
            let count = integer(key, value, "write a number of probes")?;
            keepalive.count = u32::try_from(count).ok().filter(|count| *count > 0);
        }
        "tcp_user_timeout" => {
            let milliseconds = integer(key, value, "write a number of milliseconds")?;
            keepalive.user_timeout = u64::try_from(milliseconds)
                .ok()
                .filter(|limit| *limit > 0)
                .map(Duration::from_millis);
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn channel_binding(key: &str, value: &str) -> Result<ChannelBinding, UrlError> {
    match value {
        "disable" => Ok(ChannelBinding::Disable),
        "" | "prefer" => Ok(ChannelBinding::Prefer),
        "require" => Ok(ChannelBinding::Require),
        _ => Err(UrlError::value(key, value, "write disable, prefer or require")),
    }
}

fn refuse_gss(key: &str, value: &str) -> Result<(), UrlError> {
    if value == "require" {
        let reason = "GSSAPI encryption is not spoken; use TLS (sslmode=verify-full)";
        return Err(UrlError::Unsupported {
            parameter: format!("{key}=require"),
            reason,
        });
    }
    Ok(())
}

/// Which of several servers is the primary can be told only after a login, and the login is the client's: choosing is
/// refused. With one host there is nothing to choose (a write on a standby fails with the server's own error), so the
/// parameter is only ignored.
fn target_session_attrs(wanted: String, url: &mut UpstreamUrl) -> Result<(), UrlError> {
    if wanted == "any" {
        return Ok(());
    }
    if url.hosts.len() == 1 {
        url.ignored.push("target_session_attrs".to_owned());
        return Ok(());
    }
    Err(UrlError::Unsupported {
        parameter: format!("target_session_attrs={}", shown(&wanted)),
        reason: "name only the server to connect to, or an address that always leads to the primary",
    })
}
