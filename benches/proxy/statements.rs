//! Long statements, each with a text of its own.

use std::time::Instant;

use crate::Plan;
use crate::figures::{cpu_time, median, memory};
use crate::raw::Session;
use crate::stage::{Options, Stage};
use crate::table::Table;

/// Lengths, in kilobytes.
const LENGTHS: [usize; 4] = [256, 512, 1024, 4096];

/// Bytes sent in all, for each length.
const TOTAL: usize = 64 << 20;

const CONTEXT: &str = r#"{"user_id":187234}"#;

/// How a statement of this many bytes is made; no two are the same.
type Text = fn(usize, usize) -> String;

pub fn statements(plan: &Plan) -> Vec<Table> {
    let about = "Inserts with context, each text sent once. CPU: of the proxy, for each megabyte of text; it must not grow with the length.";
    let head = [
        "text",
        "KB",
        "way",
        "ms a statement",
        "CPU, ms/MB",
        "memory at its peak, MB",
    ];
    let mut table = Table::new("Long statements", about, &head);
    let texts: [(&str, Text); 2] = [
        ("one literal", |number, bytes| {
            format!("INSERT INTO log (task) VALUES ('{number} {}')", "x".repeat(bytes))
        }),
        ("many rows", |number, bytes| {
            let row = format!("(E'task\\n{number}'), ('it''s')");
            format!(
                "INSERT INTO log (task) VALUES {}",
                vec![row.as_str(); bytes / (row.len() + 2)].join(", ")
            )
        }),
    ];
    let stage = Stage::set(&Options::default());
    stage.sql("CREATE UNLOGGED TABLE log (task text)");
    let ways: Vec<_> = stage
        .ways
        .iter()
        .filter(|way| ["direct", "bemi"].contains(&way.name))
        .collect();
    for (name, text) in texts {
        for kilobytes in LENGTHS {
            let count = (TOTAL / (kilobytes << 10)).max(8);
            for way in &ways {
                let mut times = Vec::new();
                let mut cpu = Vec::new();
                for round in 0..plan.rounds {
                    let texts: Vec<String> = (0..count)
                        .map(|n| text(round * count + n, kilobytes << 10))
                        .collect();
                    let mut session = Session::open(way.port, CONTEXT).expect("a session");
                    let before = way.pid.map(cpu_time);
                    let begin = Instant::now();
                    for text in &texts {
                        session.query(text).expect("an insert");
                    }
                    times.push(begin.elapsed().as_secs_f64() * 1e3 / count as f64);
                    if let Some((pid, before)) = way.pid.zip(before) {
                        let megabytes = texts.iter().map(String::len).sum::<usize>() as f64 / 1e6;
                        cpu.push((cpu_time(pid) - before).as_secs_f64() * 1e3 / megabytes);
                    }
                    stage.sql("TRUNCATE log");
                }
                let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
                table.row(vec![
                    name.to_owned(),
                    kilobytes.to_string(),
                    way.name.to_owned(),
                    format!("{:.2}", median(times)),
                    or_none(way.pid.map(|_| format!("{:.2}", median(cpu.clone())))),
                    or_none(way.pid.map(|pid| (memory(pid).1 >> 20).to_string())),
                ]);
            }
        }
    }
    vec![table]
}
