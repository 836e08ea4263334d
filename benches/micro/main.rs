//! What the pure parts cost, without a socket or a server: `make bench-micro`, `ARGS=session` for one group.
//!
//! Figures with a throughput are for so many bytes of a stream or text; the others for one transaction, statement or payload.

mod talk;

use std::hint::black_box;

use bemi::context::{Context, payload};
use bemi::session::{Verdict, VerdictCache};
use bemi::sql::cache::Limits;
use bemi::sql::{Dialect, Rules, analyze, is_plain_select};
use bemi::wire::frame::{Header, write_frame};
use bemi::wire::{backend, frontend};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use talk::{Script, Talk};

/// What the relay reads at once, by default.
const CHUNK: usize = 64 << 10;

const CONTEXT: &str = r#"{"user_id":187234,"endpoint":"/todo","method":"POST"}"#;

const SELECT: &str =
    "SELECT id, task, is_completed FROM todo WHERE id = $1 AND owner = $2 ORDER BY id LIMIT 10";

const INSERT: &str =
    r#"INSERT INTO "public"."todo" ("task","is_completed","owner") VALUES ($1,$2,$3) RETURNING "id""#;

/// As ORMs write them.
const JOINS: &str = r#"
    SELECT "t0"."id", "t0"."task", "t1"."name", count(*) FILTER (WHERE "t2"."done") AS "done"
    FROM "public"."todo" AS "t0"
    LEFT JOIN "public"."owner" AS "t1" ON ("t1"."id") = ("t0"."owner_id")
    LEFT JOIN LATERAL (SELECT "s"."done" FROM "public"."step" AS "s" WHERE "s"."todo_id" = "t0"."id") AS "t2" ON true
    WHERE ("t0"."owner_id" = $1 AND "t0"."created_at" >= $2 AND "t0"."task" NOT LIKE 'it''s%' AND 1=1)
    GROUP BY 1, 2, 3 ORDER BY "t0"."id" ASC OFFSET $3 LIMIT $4"#;

fn frames(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("frames");
    let row = |bytes: usize| {
        let mut out = Vec::new();
        write_frame(&mut out, backend::tag::DATA_ROW, |body| {
            body.extend_from_slice(&1u16.to_be_bytes());
            body.extend_from_slice(&(bytes as u32).to_be_bytes());
            body.resize(body.len() + bytes, b'x');
        });
        out
    };
    for bytes in [20, 100, 1000] {
        let chunk = row(bytes).repeat(CHUNK / (bytes + 11));
        group.throughput(Throughput::Bytes(chunk.len() as u64));
        group.bench_function(format!("headers only, rows of {bytes} bytes"), |b| {
            b.iter(|| {
                let mut rest = &chunk[..];
                while let Ok(Some(header)) = Header::read(rest) {
                    rest = &rest[header.frame_len..];
                }
                rest.len()
            });
        });
        group.bench_function(format!("a result, rows of {bytes} bytes"), |b| {
            let mut talk = Talk::new(None);
            talk.client(&talk::message(|out| {
                frontend::write_query(out, b"SELECT task FROM todo")
            }));
            b.iter(|| talk.server(black_box(&chunk)));
        });
    }
    let mut data = Vec::new();
    write_frame(&mut data, frontend::tag::COPY_DATA, |body| body.resize(100, b'x'));
    let chunk = data.repeat(CHUNK / data.len());
    group.throughput(Throughput::Bytes(chunk.len() as u64));
    group.bench_function("COPY data of the client, 100 bytes each", |b| {
        let mut talk = Talk::new(None);
        talk.client(&talk::message(|out| {
            frontend::write_query(out, b"COPY todo FROM STDIN")
        }));
        talk.server(&talk::message(|out| {
            write_frame(out, backend::tag::COPY_IN_RESPONSE, |body| {
                body.extend_from_slice(&[0, 0, 0])
            });
        }));
        b.iter(|| talk.client(black_box(&chunk)));
    });
    group.finish();
}

fn lexer(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("lexer");
    let rules = Rules::default();
    let literal = format!("INSERT INTO log (task) VALUES ('{}')", "x".repeat(1 << 20));
    let rows = format!(
        "INSERT INTO log (task) VALUES {}",
        vec!["(E'a\\n1'), ('it''s')"; 50_000].join(", ")
    );
    let texts = [
        ("select", SELECT),
        ("insert", INSERT),
        ("select with joins", JOINS),
        ("insert, one literal of 1 MB", &literal),
        ("insert, 100,000 rows in 1 MB", &rows),
    ];
    for (name, text) in texts {
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function(name, |b| {
            b.iter(|| analyze(black_box(text.as_bytes()), Dialect::default(), &rules));
        });
    }
    group.finish();
}

fn comments(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("comments");
    let rules = Rules::default();
    let texts = [
        ("none", INSERT.to_owned()),
        ("Bemi", format!("{INSERT} /*Bemi {CONTEXT} Bemi*/")),
        (
            "sqlcommenter",
            format!(
                "{INSERT} /*controller='todo',route='%2Ftodo',traceparent='00-5bd66ef5095369c7b0d1f8f4bd33716a-c532cb4098ac3dd2-01'*/"
            ),
        ),
    ];
    for (name, text) in texts {
        group.bench_function(name, |b| {
            b.iter(|| Verdict::new(black_box(text.as_bytes()), Dialect::default(), &rules));
        });
    }
    group.finish();
}

fn cache(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("cache");
    let cache = VerdictCache::new(Rules::default(), Limits::default());
    for (name, text) in [("hit, insert", INSERT), ("hit, select with joins", JOINS)] {
        group.bench_function(name, |b| {
            b.iter(|| cache.get(black_box(text.as_bytes()), Dialect::default()))
        });
    }
    let rules = Rules::default();
    for (name, text) in [
        (
            "not asked, select by key",
            "SELECT task FROM todo WHERE id = 4711",
        ),
        ("not asked, select", SELECT),
        ("not asked, select with joins", JOINS),
    ] {
        group.bench_function(name, |b| {
            b.iter(|| is_plain_select(black_box(text.as_bytes()), Dialect::default(), &rules))
        });
    }
    group.bench_function("miss, insert", |b| {
        let mut number = 0u64;
        b.iter(|| {
            number += 1;
            cache.get(format!("{INSERT} -- {number}").as_bytes(), Dialect::default())
        });
    });
    group.finish();
}

fn session(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("session");
    let insert = "INSERT INTO todo (task) VALUES ('Sleep') RETURNING id";
    let select = "SELECT task FROM todo WHERE id = 4711";
    let said = Some(CONTEXT);
    let scripts = [
        ("select, prepared", Script::prepared(SELECT, false), None),
        ("select, prepared, context", Script::prepared(SELECT, false), said),
        ("select, simple", Script::simple(select, false), None),
        ("insert, prepared", Script::prepared(INSERT, false), None),
        ("insert, prepared, context", Script::prepared(INSERT, true), said),
        ("insert, simple", Script::simple(insert, false), None),
        ("insert, simple, context", Script::simple(insert, true), said),
    ];
    for (name, script, context) in scripts {
        group.bench_function(name, |b| {
            let mut talk = Talk::new(context);
            talk.rehearse(&script);
            b.iter(|| talk.run(&script));
        });
    }
    group.finish();
}

fn payloads(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("payload");
    let context = |text: &str| {
        Context::parse(text, 1 << 20)
            .expect("an object")
            .expect("a context")
    };
    let said = context(CONTEXT);
    let comment = context(r#"{"controller":"todo","user_id":5}"#);
    let mut sql = Vec::new();
    bemi::context::write_json_string(&mut sql, INSERT);
    group.bench_function("parse a context", |b| {
        b.iter(|| Context::parse(black_box(CONTEXT), 1 << 20))
    });
    group.bench_function("build, one layer", |b| {
        b.iter(|| payload::build(black_box(&[None, Some(&said)]), Some(&sql)));
    });
    group.bench_function("build, two layers", |b| {
        b.iter(|| payload::build(black_box(&[None, Some(&said), Some(&comment)]), Some(&sql)));
    });
    group.finish();
}

criterion_group!(benches, frames, lexer, comments, cache, session, payloads);
criterion_main!(benches);
