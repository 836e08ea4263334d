//! What context costs: writes without it, with it, and with the same message written by the client itself.

use crate::Plan;
use crate::comparison::{Run, cells_of, middle, share, spread, take_turns};
use crate::load::{INSERT, by_name, stage};
use crate::pgbench::{Figure, Load};
use crate::stage::{Options, Stage};
use crate::table::Table;

/// A hundred rows at once.
const MANY: &str = "INSERT INTO log (task) SELECT 'Sleep' FROM generate_series(1, 100);\n";

/// What bemi writes for [`INSERT`] with the context of [`Load`], written by the client itself.
const MESSAGE: &str = r#"SELECT pg_logical_emit_message(true, '_bemi', '{"user_id":187234,"endpoint":"/todo","method":"POST","SQL":"INSERT INTO log (task) VALUES (''Sleep'');"}')"#;

/// One line of a table: its name, which way, and what is run there.
type Line = (&'static str, &'static str, Load);

/// A table, and what the last of its lines is to reach.
struct Group {
    title: &'static str,
    lines: Vec<Line>,
    yardstick: Yardstick,
}

/// What it is, and how it follows from the rates of all lines in one round.
type Yardstick = (&'static str, fn(&[f64]) -> f64);

pub fn context(plan: &Plan) -> Vec<Table> {
    let stage = stage(plan, &Options::default());
    let about = "The last line of each table before, of its yardstick in the same round: the middle, the lowest and the highest of \
                 all rounds, which are nearly twice as many here.";
    let head = ["what", "yardstick", "of it", "of all rounds"];
    let mut reached = Table::new("Context: beside its yardstick", about, &head);
    let mut tables = Vec::new();
    for group in groups() {
        let figures = run(plan, &stage, &group);
        tables.push(table(&stage, &group, &figures));
        let (what, yardstick) = group.yardstick;
        let rounds = 0..figures[0].len();
        let shares = rounds.map(|round| {
            let rates: Vec<f64> = figures.iter().map(|line| line[round].rate).collect();
            rates[rates.len() - 1] / yardstick(&rates)
        });
        let mut cells = vec![group.title.to_owned(), what.to_owned()];
        cells.extend(spread(shares.collect()));
        reached.row(cells);
    }
    tables.push(reached);
    tables
}

/// The figures of each line, one for each round. There are twice as many as elsewhere: what is read from them follows
/// from up to four runs, each with its noise.
fn run(plan: &Plan, stage: &Stage, group: &Group) -> Vec<Vec<Figure>> {
    let plan = Plan {
        rounds: 2 * plan.rounds - 1,
        ..*plan
    };
    let lines = group.lines.iter();
    let runs: Vec<Run> = lines.map(|(_, way, load)| (by_name(stage, way), load)).collect();
    take_turns(&plan, stage, &runs)
}

fn table(stage: &Stage, group: &Group, figures: &[Vec<Figure>]) -> Table {
    let (_, _, load) = &group.lines[0];
    let title = format!("Context: {}, {} clients", group.title, load.clients);
    let about = "The yardstick for context is a client that writes the same message itself.";
    let head = [
        "what",
        "way",
        "transactions/s",
        "of the first",
        "p50, ms",
        "p99, ms",
        "CPU, us",
    ];
    let mut table = Table::new(title, about, &head);
    for ((what, way, _), line) in group.lines.iter().zip(figures) {
        let mut cells = vec![(*what).to_owned(), (*way).to_owned()];
        let share = share(line, &figures[0]);
        cells.extend(cells_of(&middle(line), share, by_name(stage, way)));
        table.row(cells);
    }
    table
}

fn groups() -> Vec<Group> {
    let pipeline = format!("\\startpipeline\n{MESSAGE};\n{INSERT}\\endpipeline\n");
    let at_once = format!("{MESSAGE}\\;\n{INSERT}");
    vec![
        one_insert(
            "insert, prepared",
            "prepared",
            "message by the client, in a pipeline",
            &pipeline,
        ),
        one_insert(
            "insert, simple",
            "simple",
            "message by the client, in the same query",
            &at_once,
        ),
        many_rows(),
        one_transaction(),
    ]
}

/// A hundred rows by one insert, and the same with a trigger.
fn many_rows() -> Group {
    let rows = format!("\\startpipeline\n{MESSAGE};\n{MANY}\\endpipeline\n");
    let commented = r#"INSERT INTO audited (task) SELECT 'Sleep' FROM generate_series(1, 100) /*Bemi {"user_id":187234,"endpoint":"/todo","method":"POST"} Bemi*/;"#;
    Group {
        title: "100 rows an insert",
        lines: vec![
            ("no context", "direct", Load::new(8, "prepared", MANY)),
            (
                "message by the client, in a pipeline",
                "direct",
                Load::new(8, "prepared", &rows),
            ),
            (
                "trigger for each row, reads a comment",
                "direct",
                Load::new(8, "prepared", commented),
            ),
            ("context", "bemi", with(Load::new(8, "prepared", MANY))),
        ],
        yardstick: ("the trigger", |rates| rates[2]),
    }
}

/// Many inserts that are the same.
fn one_transaction() -> Group {
    let thousand = format!("BEGIN;\n{}COMMIT;\n", INSERT.repeat(1000));
    let load = || Load::new(2, "prepared", &thousand);
    Group {
        title: "1,000 inserts in a transaction",
        lines: vec![
            ("no context", "direct", load()),
            ("no context", "bemi", load()),
            ("context", "bemi", with(load())),
        ],
        yardstick: ("bemi, no context", |rates| rates[1]),
    }
}

/// One insert a transaction in this protocol, and the script that writes the message as well.
fn one_insert(title: &'static str, protocol: &'static str, what: &'static str, both: &str) -> Group {
    let insert = || Load::new(8, protocol, INSERT);
    let lines = vec![
        ("no context", "direct", insert()),
        (what, "direct", Load::new(8, protocol, both)),
        ("no context", "bemi", insert()),
        ("no context", "PgBouncer", insert()),
        ("context", "bemi", with(insert())),
    ];
    Group {
        title,
        lines,
        yardstick: (
            "PgBouncer, no context, less what the message costs directly",
            |rates| {
                let [alone, message, pooler] = [rates[0], rates[1], rates[3]];
                pooler * message / alone
            },
        ),
    }
}

/// The same, with a context.
fn with(load: Load) -> Load {
    Load {
        context: true,
        ..load
    }
}
