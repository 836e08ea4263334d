//! Loads of small transactions.

use crate::Plan;
use crate::comparison::Comparison;
use crate::pair;
use crate::pgbench::{Load, Script};
use crate::stage::{Options, Stage, Way};
use crate::table::Table;

/// How many clients at once.
pub const CLIENTS: [usize; 4] = [1, 8, 64, 500];

/// Of each of [`TABLES`].
pub const SELECT: &str = "\\set id random(1, 100000)\nSELECT task FROM todo WHERE id = :id;\n";
pub const INSERT: &str = "INSERT INTO log (task) VALUES ('Sleep');\n";

const TABLES: &str = "
    CREATE TABLE todo (id int PRIMARY KEY, task text);
    INSERT INTO todo SELECT n, 'task ' || n FROM generate_series(1, 100000) n;
    CREATE TABLE log (id bigint GENERATED ALWAYS AS IDENTITY, task text);
    CREATE TABLE audited (id bigint GENERATED ALWAYS AS IDENTITY, task text);
    CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM pg_logical_emit_message(true, '_bemi', substring(current_query() FROM '/\\*Bemi (.*) Bemi\\*/'));
        RETURN NULL;
    END $$;
    CREATE TRIGGER audit AFTER INSERT ON audited FOR EACH ROW EXECUTE FUNCTION audit();
    VACUUM ANALYZE";

pub fn select(plan: &Plan) -> Vec<Table> {
    let about = "One row by its key. CPU: user and system time of the process in between, a transaction.";
    let mut comparison = Comparison::new("Reads", about);
    let stage = stage(plan, &Options::default());
    for protocol in ["prepared", "simple"] {
        for &clients in plan.clients {
            let load = Load::new(clients, protocol, SELECT);
            comparison.run(plan, &stage, &format!("select, {protocol}"), &load);
        }
    }
    comparison.tables()
}

pub fn write(plan: &Plan) -> Vec<Table> {
    let about = "Without context. TPC-B is pgbench's own, scale 50.";
    let mut comparison = Comparison::new("Writes", about);
    let stage = bare_stage(&Options::default());
    initialize(&stage);
    if plan.is_pair {
        pair::copy_database(&stage);
    }
    for &clients in plan.clients {
        let load = Load::new(clients, "prepared", INSERT);
        comparison.run(plan, &stage, "insert, prepared", &load);
    }
    for &clients in plan.clients {
        let mut load = Load::new(clients, "prepared", "");
        load.script = Script::Builtin("tpcb-like");
        comparison.run(plan, &stage, "TPC-B, prepared", &load);
        stage.sql("TRUNCATE pgbench_history");
    }
    comparison.tables()
}

fn initialize(stage: &Stage) {
    let output = std::process::Command::new(&stage.pgbench)
        .args(["-i", "-q", "-s", "50", "-h"])
        .arg(stage.cluster.socket_dir())
        .args([
            "-p",
            &stage.cluster.port().to_string(),
            "-U",
            "postgres",
            "postgres",
        ])
        .output()
        .expect("pgbench");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

pub fn connect(plan: &Plan) -> Vec<Table> {
    let about = "A connection, a select, and its end, 8 clients at once.";
    let mut comparison = Comparison::new("Connections", about);
    let mut load = Load::new(8, "simple", SELECT);
    load.reconnects = true;
    comparison.run(
        plan,
        &stage(plan, &Options::default()),
        "plain text, trust",
        &load,
    );
    load.is_secret = true;
    let options = Options {
        client_tls: true,
        password: true,
        ..Options::default()
    };
    comparison.run(plan, &stage(plan, &options), "TLS by the client, SCRAM", &load);
    comparison.tables()
}

/// The server with its tables, twice for a pair, and the ways.
pub fn stage(plan: &Plan, options: &Options) -> Stage {
    let stage = bare_stage(options);
    if plan.is_pair {
        pair::copy_database(&stage);
    }
    stage
}

fn bare_stage(options: &Options) -> Stage {
    let stage = Stage::set(&Options {
        connections: 520,
        ..*options
    });
    stage.sql(&TABLES.replace("VACUUM ANALYZE", ""));
    stage.sql("VACUUM ANALYZE");
    stage
}

pub fn by_name<'a>(stage: &'a Stage, name: &str) -> &'a Way {
    stage.ways.iter().find(|way| way.name == name).expect("the way")
}
