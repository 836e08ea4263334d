//! Loads of small transactions.

use crate::Plan;
use crate::figures::median;
use crate::pgbench::{Figure, Load, Script};
use crate::stage::{Options, Stage, Way};
use crate::table::Table;

/// How many clients at once.
const CLIENTS: [usize; 4] = [1, 8, 64, 500];

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

/// The columns of most tables here.
pub const HEAD: [&str; 8] = [
    "load",
    "clients",
    "way",
    "transactions/s",
    "of direct",
    "p50, ms",
    "p99, ms",
    "CPU, us",
];

pub fn select(plan: &Plan) -> Vec<Table> {
    let about = "One row by its key. CPU: user and system time of the process in between, a transaction.";
    let mut table = Table::new("Reads", about, &HEAD);
    let stage = stage(&Options::default());
    for protocol in ["prepared", "simple"] {
        for clients in CLIENTS {
            let load = Load::new(clients, protocol, SELECT);
            compare(&mut table, plan, &stage, &format!("select, {protocol}"), &load);
        }
    }
    vec![table]
}

pub fn write(plan: &Plan) -> Vec<Table> {
    let about = "Without context. TPC-B is pgbench's own, scale 50.";
    let mut table = Table::new("Writes", about, &HEAD);
    let stage = stage(&Options::default());
    initialize(&stage);
    for clients in CLIENTS {
        let load = Load::new(clients, "prepared", INSERT);
        compare(&mut table, plan, &stage, "insert, prepared", &load);
        stage.sql("TRUNCATE log");
    }
    for clients in CLIENTS {
        let mut load = Load::new(clients, "prepared", "");
        load.script = Script::Builtin("tpcb-like");
        compare(&mut table, plan, &stage, "TPC-B, prepared", &load);
        stage.sql("TRUNCATE pgbench_history");
    }
    vec![table]
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
    let mut table = Table::new("Connections", about, &HEAD);
    let mut load = Load::new(8, "simple", SELECT);
    load.reconnects = true;
    compare(
        &mut table,
        plan,
        &stage(&Options::default()),
        "plain text, trust",
        &load,
    );
    load.is_secret = true;
    let options = Options {
        client_tls: true,
        password: true,
        ..Options::default()
    };
    compare(
        &mut table,
        plan,
        &stage(&options),
        "TLS by the client, SCRAM",
        &load,
    );
    vec![table]
}

/// The server with its tables, and the ways.
pub fn stage(options: &Options) -> Stage {
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

/// Each way has its turn in each round. Returns the medians of each.
pub fn compare(table: &mut Table, plan: &Plan, stage: &Stage, name: &str, load: &Load) -> Vec<Figure> {
    let mut figures: Vec<Vec<Figure>> = vec![Vec::new(); stage.ways.len()];
    for _ in 0..plan.rounds {
        for (way, figures) in stage.ways.iter().zip(&mut figures) {
            stage.wait_until_quiet();
            figures.push(load.run(&stage.pgbench, way, plan.seconds));
        }
    }
    let medians: Vec<Figure> = figures.iter().map(|figures| middle(figures)).collect();
    for ((way, figure), line) in stage.ways.iter().zip(&medians).zip(&figures) {
        let mut cells = vec![name.to_owned(), load.clients.to_string(), way.name.to_owned()];
        cells.extend(cells_of(figure, share(line, &figures[0]), way));
        table.row(cells);
    }
    medians
}

/// The medians of each value.
pub fn middle(figures: &[Figure]) -> Figure {
    let of = |value: fn(&Figure) -> f64| median(figures.iter().map(value).collect());
    Figure {
        rate: of(|figure| figure.rate),
        p50: of(|figure| figure.p50),
        p99: of(|figure| figure.p99),
        cpu: of(|figure| figure.cpu),
    }
}

/// What follows from the rates of one round, for each of them: what slows the machine down for some seconds is in all of
/// a round, more or less.
pub fn in_each_round<const N: usize>(lines: [&[Figure]; N], of: impl Fn([f64; N]) -> f64) -> Vec<f64> {
    let rounds = lines.map(<[Figure]>::len).into_iter().min().unwrap_or(0);
    (0..rounds)
        .map(|round| of(lines.map(|line| line[round].rate)))
        .collect()
}

/// A line's rate as a share of another's, in the middle of all rounds.
pub fn share(line: &[Figure], of: &[Figure]) -> f64 {
    median(in_each_round([line, of], |[line, of]| line / of))
}

/// The figures' columns; `share` is the rate's of what it is compared with.
pub fn cells_of(figure: &Figure, share: f64, way: &Way) -> Vec<String> {
    let digits = usize::from(figure.rate < 100.0);
    vec![
        format!("{:.digits$}", figure.rate),
        format!("{:.0}%", 100.0 * share),
        format!("{:.2}", figure.p50 / 1000.0),
        format!("{:.2}", figure.p99 / 1000.0),
        way.pid
            .map_or_else(|| "-".to_owned(), |_| format!("{:.1}", figure.cpu)),
    ]
}
