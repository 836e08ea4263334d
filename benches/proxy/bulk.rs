//! A lot at once: COPY both ways, a large result, and who is faster than the other side.

use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::Plan;
use crate::figures::{cpu_time, median, memory};
use crate::raw::Session;
use crate::stage::{Options, Stage, Way};
use crate::table::Table;

/// Rows of the table `big`, of about 1,000 bytes each: 1 GB.
const ROWS: usize = 1_000_000;

/// Sent in one CopyData message, in rows.
const ROWS_A_MESSAGE: usize = 64;

/// How long one side sleeps while the other goes on.
const STALL: Duration = Duration::from_secs(3);

/// Returns how many bytes it moved.
type Task<'a> = &'a dyn Fn(&mut Session) -> u64;

/// Of one run.
struct Figure {
    megabytes_a_second: f64,
    /// Milliseconds for a gigabyte.
    cpu: f64,
}

pub fn bulk(plan: &Plan) -> Vec<Table> {
    let stage = Stage::set(&Options::default());
    stage.sql(&format!(
        "CREATE UNLOGGED TABLE big AS SELECT n AS id, repeat('x', 990) AS text FROM generate_series(1, {ROWS}) n"
    ));
    stage.sql("CREATE UNLOGGED TABLE narrow AS SELECT n AS id, 'task ' || n AS task FROM generate_series(1, 1000000) n");
    stage.sql("CREATE UNLOGGED TABLE sink (id int, text text)");
    stage.sql("VACUUM ANALYZE big, narrow");
    let about = "One connection. CPU: of the process in between, for each gigabyte.";
    let head = ["what", "way", "MB/s", "of direct", "of HAProxy", "CPU, ms/GB"];
    let mut table = Table::new("Bulk", about, &head);
    let row = format!("1\t{}\n", "x".repeat(990));
    let rows = row.repeat(ROWS_A_MESSAGE);
    // First: whatever has been large before would hide what it gains.
    let stuck = stalls(&stage, rows.as_bytes());
    let tasks: [(&str, Task); 3] = [
        ("COPY TO STDOUT, 1 GB", &|session| {
            session.query("COPY big TO STDOUT").expect("the copy")
        }),
        ("COPY FROM STDIN, 1 GB", &|session| {
            session.query("TRUNCATE sink").expect("an empty table");
            session
                .copy_in("COPY sink FROM STDIN", rows.as_bytes(), ROWS / ROWS_A_MESSAGE)
                .expect("the copy")
        }),
        ("SELECT of 1,000,000 rows", &|session| {
            session.query("SELECT * FROM narrow").expect("the rows")
        }),
    ];
    for (what, task) in tasks {
        let mut figures: Vec<Vec<Figure>> = stage.ways.iter().map(|_| Vec::new()).collect();
        for _ in 0..plan.rounds {
            for (way, figures) in stage.ways.iter().zip(&mut figures) {
                figures.push(measure(way, task));
            }
        }
        let rate =
            |figures: &[Figure]| median(figures.iter().map(|figure| figure.megabytes_a_second).collect());
        let haproxy = stage
            .ways
            .iter()
            .position(|way| way.name == "HAProxy")
            .expect("HAProxy");
        let (direct, haproxy) = (rate(&figures[0]), rate(&figures[haproxy]));
        for (way, figures) in stage.ways.iter().zip(&figures) {
            let cpu = median(figures.iter().map(|figure| figure.cpu).collect());
            table.row(vec![
                what.to_owned(),
                way.name.to_owned(),
                format!("{:.0}", rate(figures)),
                format!("{:.0}%", 100.0 * rate(figures) / direct),
                format!("{:.0}%", 100.0 * rate(figures) / haproxy),
                way.pid.map_or_else(|| "-".to_owned(), |_| format!("{cpu:.0}")),
            ]);
        }
    }
    vec![table, stuck]
}

fn measure(way: &Way, task: Task) -> Figure {
    let mut session = Session::open(way.port, "").expect("a session");
    let before = way.pid.map(cpu_time);
    let begin = Instant::now();
    let bytes = task(&mut session) as f64;
    let seconds = begin.elapsed().as_secs_f64();
    let cpu = way
        .pid
        .zip(before)
        .map_or(Duration::ZERO, |(pid, before)| cpu_time(pid) - before);
    Figure {
        megabytes_a_second: bytes / 1e6 / seconds,
        cpu: cpu.as_secs_f64() * 1e12 / bytes,
    }
}

/// What a process in between holds while one side waits.
fn stalls(stage: &Stage, rows: &[u8]) -> Table {
    let about = "Resident memory that the process in between gains while one connection is stuck half way through 1 GB.";
    let mut table = Table::new("Back-pressure", about, &["who is slow", "way", "gained, KB"]);
    stage.sql(
        "CREATE TABLE slow (id int, text text);
         CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.1); RETURN NULL; END';
         CREATE TRIGGER slow BEFORE INSERT ON slow FOR EACH ROW EXECUTE FUNCTION slow()",
    );
    for way in stage.ways.iter().filter(|way| way.pid.is_some()) {
        let pid = way.pid.expect("a process");
        let mut session = Session::open(way.port, "").expect("a session");
        let before = memory(pid).0;
        session.send("COPY big TO STDOUT").expect("a query");
        sleep(STALL);
        let gained = memory(pid).0.saturating_sub(before);
        table.row(vec![
            "the client".to_owned(),
            way.name.to_owned(),
            (gained / 1024).to_string(),
        ]);
    }
    for way in stage.ways.iter().filter(|way| way.pid.is_some()) {
        let pid = way.pid.expect("a process");
        let mut session = Session::open(way.port, "").expect("a session");
        let before = memory(pid).0;
        session
            .stream()
            .set_write_timeout(Some(STALL))
            .expect("a timeout");
        // It fails when the way is full.
        _ = session.copy_in("COPY slow FROM STDIN", rows, ROWS);
        let gained = memory(pid).0.saturating_sub(before);
        table.row(vec![
            "the server".to_owned(),
            way.name.to_owned(),
            (gained / 1024).to_string(),
        ]);
    }
    table
}
