//! Thousands of connections: all at once, and then idle.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};

use crate::Plan;
use crate::figures::{cpu_time, memory, quantile};
use crate::raw::startup;
use crate::stage::{Options, Stage, Way};
use crate::table::Table;

const CONNECTIONS: usize = 5_000;

/// For one connection to be served. The server forks a process for each.
const PATIENCE: Duration = Duration::from_secs(120);

/// What nobody writes any more is given back by then.
const SETTLING: Duration = Duration::from_secs(3);

/// SSLRequest (manual, "Message Formats").
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

type Connection = Box<dyn Duplex>;

pub fn crowd(_: &Plan) -> Vec<Table> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let about = "They all connect at the same moment, and stay. Times until the first ReadyForQuery. Memory: resident, gained once all are idle.";
    let head = [
        "clients",
        "way",
        "served",
        "p50, ms",
        "p99, ms",
        "longest, ms",
        "CPU, us each",
        "memory, KB each",
    ];
    let mut table = Table::new(format!("{CONNECTIONS} connections"), about, &head);
    for is_tls in [false, true] {
        let options = Options {
            client_tls: is_tls,
            server_tls: is_tls,
            connections: CONNECTIONS + 50,
            ..Options::default()
        };
        let stage = Stage::set(&options);
        for way in &stage.ways {
            let mut cells = vec![
                if is_tls { "TLS, both legs" } else { "plain text" }.to_owned(),
                way.name.to_owned(),
            ];
            cells.extend(runtime.block_on(arrive(way, is_tls.then(|| connector(&stage.authority)))));
            table.row(cells);
            stage.wait_until_quiet();
        }
    }
    vec![table]
}

/// Connects all, and counts.
async fn arrive(way: &Way, connector: Option<TlsConnector>) -> Vec<String> {
    let memory_before = way.pid.map(|pid| memory(pid).0);
    let cpu_before = way.pid.map(cpu_time);
    let mut arriving = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let (port, connector) = (way.port, connector.clone());
        arriving.spawn(async move {
            let begin = Instant::now();
            let connection = tokio::time::timeout(PATIENCE, open(port, connector)).await;
            let connection = connection
                .map_err(|_| "too late".to_owned())
                .and_then(|opened| opened.map_err(|error| error.to_string()));
            connection.map(|connection| (connection, begin.elapsed()))
        });
    }
    let (mut connections, mut times, mut refusals) = (Vec::new(), Vec::new(), Vec::new());
    while let Some(arrived) = arriving.join_next().await {
        match arrived.expect("no panic") {
            Ok((connection, time)) => {
                connections.push(connection);
                times.push(time.as_secs_f64() * 1e3);
            }
            Err(error) => refusals.push(error),
        }
    }
    if let Some(first) = refusals.first() {
        eprintln!(
            "    {}: {} refused, one of them: {first}",
            way.name,
            refusals.len()
        );
    }
    sleep(SETTLING).await;
    let each = |total: f64| format!("{:.1}", total / connections.len().max(1) as f64);
    let memory = way
        .pid
        .zip(memory_before)
        .map(|(pid, before)| memory(pid).0.saturating_sub(before));
    let cpu = way
        .pid
        .zip(cpu_before)
        .map(|(pid, before)| cpu_time(pid) - before);
    times.sort_by(f64::total_cmp);
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let cells = vec![
        connections.len().to_string(),
        format!("{:.0}", quantile(&times, 0.5)),
        format!("{:.0}", quantile(&times, 0.99)),
        format!("{:.0}", quantile(&times, 1.0)),
        or_none(cpu.map(|cpu| each(cpu.as_secs_f64() * 1e6))),
        or_none(memory.map(|bytes| each(bytes as f64 / 1024.0))),
    ];
    drop(connections);
    cells
}

/// Connects, with TLS or without, and logs in.
async fn open(port: u16, connector: Option<TlsConnector>) -> std::io::Result<Connection> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let mut connection: Connection = match connector {
        None => Box::new(stream),
        Some(connector) => {
            stream.write_all(&SSL_REQUEST).await?;
            if stream.read_u8().await? != b'S' {
                return Err(std::io::Error::other("no TLS"));
            }
            let name = ServerName::try_from("localhost").map_err(std::io::Error::other)?;
            Box::new(connector.connect(name, stream).await?)
        }
    };
    connection.write_all(&startup("")).await?;
    loop {
        let kind = connection.read_u8().await?;
        let length = connection.read_u32().await?;
        let mut body = vec![0; length.saturating_sub(4) as usize];
        connection.read_exact(&mut body).await?;
        match kind {
            b'Z' => return Ok(connection),
            b'E' => return Err(std::io::Error::other(String::from_utf8_lossy(&body).into_owned())),
            _ => {}
        }
    }
}

fn connector(authority: &str) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    let root = CertificateDer::from_pem_slice(authority.as_bytes()).expect("a certificate");
    roots.add(root).expect("a root");
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}
