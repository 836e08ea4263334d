//! What context costs: writes without it, with it, and with the same message written by the client itself.

use crate::Plan;
use crate::figures::median;
use crate::load::{INSERT, by_name, cells_of, in_each_round, middle, share, stage};
use crate::pgbench::{Figure, Load};
use crate::stage::Options;
use crate::table::Table;

/// A hundred rows at once.
const MANY: &str = "INSERT INTO log (task) SELECT 'Sleep' FROM generate_series(1, 100);\n";

/// What bemi writes for [`INSERT`] with the context of [`Load`], written by the client itself.
const MESSAGE: &str = r#"SELECT pg_logical_emit_message(true, '_bemi', '{"user_id":187234,"endpoint":"/todo","method":"POST","SQL":"INSERT INTO log (task) VALUES (''Sleep'');"}')"#;

/// One line of a table: its name, which way, and what is run there.
type Line = (&'static str, &'static str, Load);

/// A table: its title, how many clients, and its lines.
type Group = (&'static str, usize, Vec<Line>);

pub fn context(plan: &Plan) -> Vec<Table> {
    let stage = stage(&Options::default());
    let mut tables = Vec::new();
    for (title, clients, lines) in groups() {
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
        let mut table = Table::new(format!("Context: {title}, {clients} clients"), about, &head);
        let mut figures: Vec<Vec<Figure>> = vec![Vec::new(); lines.len()];
        for _ in 0..plan.rounds {
            for ((_, way, load), figures) in lines.iter().zip(&mut figures) {
                stage.wait_until_quiet();
                figures.push(load.run(&stage.pgbench, by_name(&stage, way), plan.seconds));
            }
            stage.sql("TRUNCATE log, audited");
        }
        for ((what, way, _), line) in lines.iter().zip(&figures) {
            let mut cells = vec![(*what).to_owned(), (*way).to_owned()];
            cells.extend(cells_of(
                &middle(line),
                share(line, &figures[0]),
                by_name(&stage, way),
            ));
            table.row(cells);
        }
        if let Some(pooler) = lines.iter().position(|(_, way, _)| *way == "PgBouncer") {
            let rounds = [0, 1, pooler].map(|line| figures[line].as_slice());
            let less = |[alone, message, pooler]: [f64; 3]| pooler * message / alone;
            let rate = median(in_each_round(rounds, less));
            let share = median(in_each_round(rounds, |rates| less(rates) / rates[0]));
            let mut cells = vec![
                "no context, less what the message costs directly".to_owned(),
                "PgBouncer".to_owned(),
            ];
            cells.extend([format!("{rate:.0}"), format!("{:.0}%", 100.0 * share)]);
            cells.resize(head.len(), "-".to_owned());
            table.row(cells);
        }
        tables.push(table);
    }
    tables
}

fn groups() -> Vec<Group> {
    let pipeline = format!("\\startpipeline\n{MESSAGE};\n{INSERT}\\endpipeline\n");
    let at_once = format!("{MESSAGE}\\;\n{INSERT}");
    let rows = format!("\\startpipeline\n{MESSAGE};\n{MANY}\\endpipeline\n");
    let commented = r#"INSERT INTO audited (task) SELECT 'Sleep' FROM generate_series(1, 100) /*Bemi {"user_id":187234,"endpoint":"/todo","method":"POST"} Bemi*/;"#;
    let thousand = format!("BEGIN;\n{}COMMIT;\n", INSERT.repeat(1000));
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
        (
            "100 rows an insert",
            8,
            vec![
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
        ),
        (
            "1,000 inserts in a transaction",
            2,
            vec![
                ("no context", "direct", Load::new(2, "prepared", &thousand)),
                ("no context", "bemi", Load::new(2, "prepared", &thousand)),
                ("context", "bemi", with(Load::new(2, "prepared", &thousand))),
            ],
        ),
    ]
}

/// One insert a transaction in this protocol, and the script that writes the message as well.
fn one_insert(title: &'static str, protocol: &'static str, what: &'static str, both: &str) -> Group {
    let insert = || Load::new(8, protocol, INSERT);
    let lines = vec![
        ("no context", "direct", insert()),
        (what, "direct", Load::new(8, protocol, both)),
        ("no context", "PgBouncer", insert()),
        ("no context", "bemi", insert()),
        ("context", "bemi", with(insert())),
    ];
    (title, 8, lines)
}

/// The same, with a context.
fn with(load: Load) -> Load {
    Load {
        context: true,
        ..load
    }
}
