//! What the proxy costs, beside its peers: the same load directly, through PgBouncer (session mode), through HAProxy (TCP
//! mode) and through `bemi proxy`, all on this machine.
//!
//! `make bench`, or `cargo bench --bench proxy -- [seconds=N] [rounds=N] [clients=N] [page] [pair] [GROUP...]`; the groups are those of
//! [`GROUPS`]. Each run takes `seconds`; the ways take turns, round by round, forwards and backwards, so that a noisy machine is
//! noisy for all of them, and medians are what is printed. Noise comes in spells of some seconds, so more rounds say more than longer
//! ones, as long as many transactions are in each. With `page` the tables go into `docs/benchmarks.md` as well; with `page` and a
//! group, those of the group only. With `pair` there are only PgBouncer and bemi in `select`, `write`, `connect` and `tls`, and they change
//! every half a second ([`pair`]): for what differs by little, and for machines with neighbours. It is printed only: the page has all
//! ways, each with the machine to itself.
//!
//! The peers are processes of their own, and the CPU time of each is read from `/proc/PID/stat`.

mod bulk;
mod comparison;
mod context;
mod crowd;
mod figures;
mod load;
mod page;
mod pair;
mod peers;
mod pgbench;
#[path = "../../tests/support/program.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod program;
mod raw;
mod stage;
mod statements;
mod table;
mod tls;

use stage::Stage;
use table::Table;

/// Asked for on the command line.
pub struct Plan {
    /// How long one run takes, in seconds; four times that where one transaction takes long ([`pgbench::Load`]).
    pub seconds: u64,
    /// How often each way has its turn.
    pub rounds: usize,
    /// How many clients at once, where that varies.
    pub clients: &'static [usize],
    /// Whether only PgBouncer and bemi have turns, where all ways are compared.
    pub is_pair: bool,
}

type Group = fn(&Plan) -> Vec<Table>;

/// What can be asked for, in the order of the page.
const GROUPS: [(&str, Group); 8] = [
    ("select", load::select),
    ("write", load::write),
    ("context", context::context),
    ("connect", load::connect),
    ("tls", tls::tls),
    ("bulk", bulk::bulk),
    ("statements", statements::statements),
    ("crowd", crowd::crowd),
];

fn main() {
    let mut plan = Plan {
        seconds: 2,
        rounds: 5,
        clients: &load::CLIENTS,
        is_pair: false,
    };
    let mut goes_into_page = false;
    let mut wanted = Vec::new();
    for word in std::env::args().skip(1) {
        match word.split_once('=') {
            Some(("seconds", number)) => plan.seconds = number.parse().expect("seconds=NUMBER"),
            Some(("rounds", number)) => plan.rounds = number.parse().expect("rounds=NUMBER"),
            Some(("clients", number)) => plan.clients = one_of(number.parse().expect("clients=NUMBER")),
            None if word == "page" => goes_into_page = true,
            None if word == "pair" => plan.is_pair = true,
            // Cargo adds this one.
            None if word == "--bench" => {}
            None if GROUPS.iter().any(|(name, _)| *name == word) => wanted.push(word),
            _ => panic!(
                "{word} is none of seconds=N, rounds=N, clients=N, page, pair, {:?}",
                GROUPS.map(|(name, _)| name)
            ),
        }
    }
    assert!(
        !goes_into_page || !plan.is_pair && plan.clients == load::CLIENTS,
        "neither pair nor clients goes with page, which has all ways by all numbers of clients"
    );
    let heading = format!(
        "{}\n`make bench` with runs of {} s, medians of {} rounds; shares are taken within a round.\n",
        Stage::describe(),
        plan.seconds,
        plan.rounds
    );
    println!("{heading}");
    let mut tables = Vec::new();
    for (name, group) in GROUPS {
        if wanted.is_empty() || wanted.iter().any(|word| word == name) {
            let those = group(&plan);
            those.iter().for_each(|table| println!("{table}"));
            tables.extend(those);
        }
    }
    match (goes_into_page, wanted.is_empty()) {
        (true, true) => page::replace_all(&heading, &tables),
        (true, false) => page::replace(&tables),
        (false, _) => {}
    }
}

fn one_of(clients: usize) -> &'static [usize] {
    let at = load::CLIENTS.iter().position(|number| *number == clients);
    let at = at.unwrap_or_else(|| panic!("clients is one of {:?}", load::CLIENTS));
    &load::CLIENTS[at..=at]
}
