//! The same load by each way, and what follows from it.

use crate::Plan;
use crate::figures::median;
use crate::load::by_name;
use crate::pair;
use crate::pgbench::{Figure, Load};
use crate::stage::{Stage, Way};
use crate::table::Table;

/// The columns of the first table.
const HEAD: [&str; 8] = [
    "load",
    "clients",
    "way",
    "transactions/s",
    "of direct",
    "p50, ms",
    "p99, ms",
    "CPU, us",
];

/// The columns of the second.
const BESIDE: [&str; 6] = [
    "load",
    "clients",
    "transactions/s",
    "of all rounds",
    "CPU",
    "of all rounds",
];

/// Whose figures are set beside each other.
const PAIR: [&str; 2] = ["PgBouncer", "bemi"];

/// Two tables: all ways, and bemi beside PgBouncer.
pub struct Comparison {
    ways: Table,
    beside: Table,
}

impl Comparison {
    pub fn new(title: &str, about: &'static str) -> Self {
        let share = "bemi's figures, of PgBouncer's in the same round: the middle, the lowest and the highest of all rounds.";
        Self {
            ways: Table::new(title, about, &HEAD),
            beside: Table::new(format!("{title}: bemi beside PgBouncer"), share, &BESIDE),
        }
    }

    /// Each way has its turn in each round; of a pair, only those two, which change all the time. Returns the medians of bemi.
    pub fn run(&mut self, plan: &Plan, stage: &Stage, name: &str, load: &Load) -> Figure {
        let first = [name.to_owned(), load.clients.to_string()];
        let [theirs, ours] = if plan.is_pair {
            pair::take_turns(plan, stage, PAIR.map(|name| by_name(stage, name)), load)
        } else {
            let runs: Vec<Run> = stage.ways.iter().map(|way| (way, load)).collect();
            let lines = take_turns(plan, stage, &runs);
            for ((way, _), line) in runs.iter().zip(&lines) {
                let mut cells = [&first[..], &[way.name.to_owned()]].concat();
                cells.extend(cells_of(&middle(line), share(line, &lines[0]), way));
                self.ways.row(cells);
            }
            PAIR.map(|name| {
                let at = runs.iter().position(|(way, _)| way.name == name);
                lines[at.expect("it is among the ways")].clone()
            })
        };
        let mut cells = first.to_vec();
        cells.extend(spread(shares(&ours, &theirs, |figure| figure.rate)));
        cells.extend(spread(shares(&ours, &theirs, |figure| figure.cpu)));
        self.beside.row(cells);
        middle(&ours)
    }

    /// Those that have rows.
    pub fn tables(self) -> Vec<Table> {
        let tables = [self.ways, self.beside].into_iter();
        tables.filter(|table| !table.is_empty()).collect()
    }
}

/// One line of a table: by this way, this load.
pub type Run<'a> = (&'a Way, &'a Load);

/// The figures of each line, one for each round. Rounds go forwards and backwards in turns, as what comes later in a round
/// finds other caches and a longer log; and each finds the tables for inserts empty.
pub fn take_turns(plan: &Plan, stage: &Stage, runs: &[Run]) -> Vec<Vec<Figure>> {
    let mut figures = vec![Vec::new(); runs.len()];
    for round in 0..plan.rounds {
        let mut order: Vec<usize> = (0..runs.len()).collect();
        if !round.is_multiple_of(2) {
            order.reverse();
        }
        for at in order {
            let (way, load) = runs[at];
            stage.wait_until_quiet();
            figures[at].push(load.run(&stage.pgbench, way, plan.seconds));
        }
        stage.sql("TRUNCATE log, audited");
    }
    figures
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

/// A line's value as a share of another's in the same round: what slows the machine down for some seconds is in all of a
/// round, more or less.
fn shares(line: &[Figure], of: &[Figure], value: fn(&Figure) -> f64) -> Vec<f64> {
    let rounds = line.iter().zip(of);
    rounds.map(|(line, of)| value(line) / value(of)).collect()
}

/// A line's rate as a share of another's, in the middle of all rounds.
pub fn share(line: &[Figure], of: &[Figure]) -> f64 {
    median(shares(line, of, |figure| figure.rate))
}

/// Two columns: the middle of these shares, and the lowest and the highest.
pub fn spread(shares: Vec<f64>) -> [String; 2] {
    let lowest = shares.iter().copied().fold(f64::INFINITY, f64::min);
    let highest = shares.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    [
        format!("{:.0}%", 100.0 * median(shares)),
        format!("{:.0} to {:.0}%", 100.0 * lowest, 100.0 * highest),
    ]
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
