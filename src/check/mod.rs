//! `bemi check`: is the server ready for the proxy, and what to run where it is not. And `bemi health`: does a
//! proxy answer.
//!
//! ```text
//! session      logs in as the URL says
//! queries      asks that session         -> ServerFacts
//! server       ServerFacts               -> findings      PURE
//! certificate  the server's certificate  -> a finding     PURE
//! report       findings                  -> text          PURE
//! health       one byte from a proxy
//! ```

pub mod certificate;
pub mod health;
pub mod queries;
pub mod report;
pub mod server;
mod session;

use std::path::Path;
use std::time::SystemTime;

use crate::config::Config;
use crate::proxy::stream::{Keepalive, Socket, Stream};
use crate::proxy::upstream::Upstream;
use crate::tls::certificate::PeerCertificate;
use crate::tls::upstream::UpstreamTls;
use report::{Finding, Report};

#[cfg(test)]
mod tests;

/// Looks at the server that `config` names, connecting to it just as the proxy does. `home` is where
/// `.postgresql/root.crt` and the like are looked for.
pub async fn run(config: &Config, home: Option<&Path>) -> Report {
    let mut report = Report::default();
    report.extend(left_out(config));
    match UpstreamTls::build(&config.upstream.url, home) {
        Ok(tls) => {
            report.extend(tls.warnings().iter().map(|warning| Finding::note("TLS", warning)));
            report.extend(connect_and_look(config, tls).await);
        }
        Err(error) => report.extend([Finding::mend("TLS", error.to_string())]),
    }
    report
}

fn left_out(config: &Config) -> Option<Finding> {
    let ignored = &config.upstream.url.ignored;
    let what = format!("the proxy has no use for {}", ignored.join(", "));
    (!ignored.is_empty()).then(|| Finding::note("URL", what))
}

async fn connect_and_look(config: &Config, tls: UpstreamTls) -> Vec<Finding> {
    let url = &config.upstream.url;
    let upstream = Upstream::new(url, tls, Keepalive::default(), config.upstream.connect_timeout);
    let stream = match upstream.connect().await {
        Ok(connected) => connected.stream,
        Err(error) => return vec![Finding::mend("server", error.to_string())],
    };
    let hosts: Vec<String> = url.hosts.iter().map(ToString::to_string).collect();
    let mut found = vec![
        Finding::fine("server", format!("{} answers", hosts.join(" or "))),
        encryption(&stream, config),
    ];
    found.extend(session::look_around(stream, config).await);
    found
}

fn encryption(stream: &Stream, config: &Config) -> Finding {
    if matches!(stream, Stream::Plain(Socket::Unix(_))) {
        return Finding::fine("TLS", "none, as on every unix socket");
    }
    match stream
        .peer_certificate()
        .map(PeerCertificate::from_der)
        .transpose()
    {
        Ok(peer) => certificate::finding(config.upstream.url.tls.mode, peer.as_ref(), SystemTime::now()),
        Err(error) => Finding::note("TLS", error.to_string()),
    }
}
