//! What encryption costs, beside what the cipher alone does.

use std::process::Command;

use crate::Plan;
use crate::comparison::Comparison;
use crate::load::{SELECT, stage};
use crate::pgbench::Load;
use crate::raw::Session;
use crate::stage::{Options, Stage};
use crate::table::Table;

/// What both sides here agree on in TLS 1.3, as OpenSSL names it.
const CIPHER: &str = "aes-256-gcm";

/// The longest record, in bytes (RFC 8446, 5.1).
const RECORD: u64 = 16 << 10;

const ROWS: &str = "SELECT * FROM todo LIMIT 1000;\n";

pub fn tls(plan: &Plan) -> Vec<Table> {
    let about = "Directly: as the client speaks. With the server by TLS, to whoever stands in front of it.";
    let mut comparison = Comparison::new("TLS", about);
    let about = "CPU of bemi for a transaction, in us, beside that of the same relay in plain text and what `openssl speed` takes for the \
                 same records with the same cipher.";
    let head = ["load", "way", "CPU, us", "plain text + cipher, us", "of that"];
    let mut costs = Table::new("TLS: what it may cost", about, &head);
    let mut plain = Vec::new();
    for (name, client_tls, server_tls) in [
        ("plain text", false, false),
        ("server by TLS", false, true),
        ("client by TLS", true, false),
        ("both by TLS", true, true),
    ] {
        let stage = stage(
            plan,
            &Options {
                client_tls,
                server_tls,
                ..Options::default()
            },
        );
        for (at, (what, script)) in [("one row", SELECT), ("1,000 rows", ROWS)]
            .into_iter()
            .enumerate()
        {
            let load = Load {
                is_secret: client_tls,
                ..Load::new(8, "prepared", script)
            };
            let cpu = comparison
                .run(plan, &stage, &format!("{what}, {name}"), &load)
                .cpu;
            let legs = u8::from(client_tls) + u8::from(server_tls);
            if legs == 0 {
                plain.push(cpu);
            } else {
                let expected = plain[at] + f64::from(legs) * cipher_cost(&stage, script);
                costs.row(vec![
                    what.to_owned(),
                    name.to_owned(),
                    format!("{cpu:.1}"),
                    format!("{expected:.1}"),
                    format!("{:.0}%", 100.0 * cpu / expected),
                ]);
            }
        }
    }
    let mut tables = comparison.tables();
    tables.push(costs);
    tables
}

/// What the cipher takes for one transaction of this script on one leg, in microseconds.
fn cipher_cost(stage: &Stage, script: &str) -> f64 {
    let statement = script.lines().last().expect("a statement").replace(":id", "1");
    let mut session = Session::open(stage.cluster.port(), "").expect("a session");
    let reply = session.query(&statement).expect("an answer");
    let whole = (reply / RECORD) as f64 * microseconds(RECORD);
    microseconds(statement.len() as u64) + whole + microseconds(reply % RECORD)
}

/// What the cipher takes for a record of so many bytes.
fn microseconds(bytes: u64) -> f64 {
    let output = Command::new("openssl")
        .args([
            "speed", "-mr", "-elapsed", "-seconds", "1", "-evp", CIPHER, "-bytes",
        ])
        .arg(bytes.max(1).to_string())
        .output()
        .expect("openssl");
    let text = String::from_utf8_lossy(&output.stdout);
    // `+F:number:name:bytes a second`
    let rate = text
        .lines()
        .find_map(|line| line.strip_prefix("+F:")?.rsplit(':').next()?.parse::<f64>().ok());
    bytes as f64 * 1e6 / rate.expect("openssl's figure")
}
