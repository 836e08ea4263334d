//! What the proxy costs: pgbench directly, through the proxy, and through the proxy with a context in force.
//!
//! `cargo bench --bench throughput [-- SECONDS [ROUNDS]]` prints a table. The proxy runs in this process, pgbench and
//! the server do not, so this process's CPU time is the proxy's. The ways take turns, round by round, so that a noisy
//! machine is noisy for all of them; medians and ratios are what to look at, not single figures.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use bemi::config::Config;
use bemi::demo::cluster::{Cluster, ClusterOptions};
use bemi::proxy::Proxy;

/// How clients reach the server.
const WAYS: [&str; 3] = ["direct", "proxy", "proxy, context"];

struct Workload {
    name: &'static str,
    script: &'static str,
    protocol: &'static str,
}

const WORKLOADS: [Workload; 6] = [
    Workload {
        name: "select by key, prepared",
        script: "\\set id random(1, 100000)\nSELECT task FROM todo WHERE id = :id;\n",
        protocol: "prepared",
    },
    Workload {
        name: "select by key, simple",
        script: "\\set id random(1, 100000)\nSELECT task FROM todo WHERE id = :id;\n",
        protocol: "simple",
    },
    Workload {
        name: "insert, prepared",
        script: "INSERT INTO log (task) VALUES ('Sleep');\n",
        protocol: "prepared",
    },
    Workload {
        name: "insert, simple",
        script: "INSERT INTO log (task) VALUES ('Sleep');\n",
        protocol: "simple",
    },
    Workload {
        name: "100 rows per insert",
        script: "INSERT INTO log (task) SELECT 'Sleep' FROM generate_series(1, 100);\n",
        protocol: "prepared",
    },
    Workload {
        name: "select 1,000 rows",
        script: "SELECT * FROM todo LIMIT 1000;\n",
        protocol: "prepared",
    },
];

/// One run: transactions per second, and CPU time of the proxy per transaction in microseconds.
#[derive(Clone, Copy)]
struct Figure {
    rate: f64,
    cpu_us: f64,
}

fn main() {
    let mut numbers = std::env::args()
        .skip(1)
        .filter_map(|argument| argument.parse::<u64>().ok());
    let seconds = numbers.next().unwrap_or(5);
    let rounds = numbers.next().unwrap_or(3);
    let cluster = Cluster::start(&ClusterOptions::default()).expect("a throw-away server");
    // Servers bundled without their clients leave pgbench to the PATH.
    let beside = cluster.bin_dir().join("pgbench");
    let pgbench = if beside.exists() {
        beside
    } else {
        PathBuf::from("pgbench")
    };
    let schema = "CREATE TABLE todo (id int PRIMARY KEY, task text);
                  INSERT INTO todo SELECT n, 'task ' || n FROM generate_series(1, 100000) n;
                  CREATE TABLE log (id bigint GENERATED ALWAYS AS IDENTITY, task text); ANALYZE";
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(run_sql(&cluster, schema));
    let port = runtime.block_on(start_proxy(&cluster));
    let directory = tempfile::tempdir().expect("a directory");

    println!(
        "{seconds} s a run, medians of {rounds} rounds, 8 clients; rates as ratio to direct, CPU of the proxy per transaction"
    );
    println!(
        "{:<26} {:>12} {:>16} {:>12} {:>16} {:>12}",
        "workload", WAYS[0], WAYS[1], "CPU", WAYS[2], "CPU"
    );
    for workload in &WORKLOADS {
        let script = directory.path().join("script.sql");
        fs::write(&script, workload.script).expect("the script");
        let mut figures: [Vec<Figure>; 3] = Default::default();
        for _ in 0..rounds {
            for (way, figures) in figures.iter_mut().enumerate() {
                let port = if way == 0 { cluster.port() } else { port };
                let run = Run {
                    pgbench: &pgbench,
                    port,
                    script: &script,
                    protocol: workload.protocol,
                    seconds,
                };
                figures.push(run.measure(way == 2));
            }
        }
        let [direct, plain, context] = figures.map(median);
        println!(
            "{:<26} {:>10.0}/s {:>15.0}% {:>9.1} us {:>15.0}% {:>9.1} us",
            workload.name,
            direct.rate,
            100.0 * plain.rate / direct.rate,
            plain.cpu_us,
            100.0 * context.rate / direct.rate,
            context.cpu_us,
        );
    }
}

async fn run_sql(cluster: &Cluster, sql: &str) {
    let (client, connection) = tokio_postgres::connect(&cluster.url("postgres", &[]), tokio_postgres::NoTls)
        .await
        .expect("a connection");
    tokio::spawn(connection);
    client.batch_execute(sql).await.expect("the schema");
}

async fn start_proxy(cluster: &Cluster) -> u16 {
    let url = format!("postgresql://127.0.0.1:{}/?sslmode=disable", cluster.port());
    let mut config = Config::new(url.parse().expect("a URL"));
    config.listen = vec!["127.0.0.1:0".parse().expect("an address")];
    let proxy = Proxy::bind(config).await.expect("a proxy");
    let port = proxy.local_addresses()[0].port();
    tokio::spawn(proxy.run());
    port
}

struct Run<'a> {
    pgbench: &'a PathBuf,
    port: u16,
    script: &'a Path,
    protocol: &'a str,
    seconds: u64,
}

impl Run<'_> {
    fn measure(&self, with_context: bool) -> Figure {
        let before = cpu_time();
        let output = Command::new(self.pgbench)
            .args([
                "-n",
                "-h",
                "127.0.0.1",
                "-U",
                "postgres",
                "-c",
                "8",
                "-j",
                "1",
                "-M",
                self.protocol,
            ])
            .args([
                "-p",
                &self.port.to_string(),
                "-T",
                &self.seconds.to_string(),
                "-f",
            ])
            .arg(self.script)
            .arg("postgres")
            .env(
                "PGOPTIONS",
                if with_context {
                    r#"-c bemi.context={"user_id":187234,"endpoint":"/todo"}"#
                } else {
                    ""
                },
            )
            .output()
            .expect("pgbench");
        let cpu = cpu_time() - before;
        let text = String::from_utf8(output.stdout).expect("text");
        let number = |label: &str| -> f64 {
            let line = text.lines().find_map(|line| line.strip_prefix(label));
            let word = line.and_then(|rest| rest.split([' ', '/']).find(|word| !word.is_empty()));
            word.and_then(|word| word.parse().ok())
                .unwrap_or_else(|| panic!("no {label} in {text}"))
        };
        Figure {
            rate: number("tps = "),
            cpu_us: cpu.as_secs_f64() * 1e6 / number("number of transactions actually processed:"),
        }
    }
}

fn median(mut figures: Vec<Figure>) -> Figure {
    figures.sort_by(|a, b| a.rate.total_cmp(&b.rate));
    figures[figures.len() / 2]
}

/// User and system time of this process so far (`/proc/self/stat`, in ticks of 10 ms).
fn cpu_time() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").expect("procfs");
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .expect("fields")
        .split_whitespace()
        .collect();
    let ticks: u64 = [fields[11], fields[12]]
        .iter()
        .map(|ticks| ticks.parse::<u64>().expect("a number"))
        .sum();
    Duration::from_millis(ticks * 10)
}
