//! Types that users make, and those of extensions.

use crate::round_trip::{all_come_back, json_of};
use crate::support;
use crate::tracker::cluster;

const MADE: &str = "
    CREATE TYPE mood AS ENUM ('sad', 'it''s \"ok\"', 'a,b', 'x\\y', '\u{1F600}', '', 'NULL');
    CREATE TYPE pair AS (a int, b text);
    CREATE TYPE nested AS (p pair, m mood, n numeric[], j jsonb, t timestamptz);
    CREATE DOMAIN positive AS int CHECK (value > 0);
    CREATE DOMAIN very_positive AS positive CHECK (value > 1);
    CREATE DOMAIN flag AS boolean;
    CREATE DOMAIN amount AS numeric(12, 2);
    CREATE DOMAIN moment AS timestamptz;
    CREATE DOMAIN label AS text COLLATE \"C\";
    CREATE DOMAIN feeling AS mood;
    CREATE DOMAIN couple AS pair;
    CREATE DOMAIN document AS jsonb;
    CREATE DOMAIN numbers AS int[];
    CREATE DOMAIN more_numbers AS numbers;
    CREATE DOMAIN labels AS label[];
    CREATE DOMAIN stretch AS int4range";

#[tokio::test]
async fn enums_domains_and_composites_come_back() {
    let moods = [
        "'sad'",
        "'it''s \"ok\"'",
        "'a,b'",
        r"E'x\\y'",
        "'\u{1F600}'",
        "''",
        "'NULL'",
    ];
    all_come_back(
        MADE,
        &[
            ("mood", &moods),
            (
                "mood[]",
                &[
                    "ARRAY['sad', 'it''s \"ok\"', 'a,b', E'x\\\\y', '', 'NULL', NULL]::mood[]",
                    "'{{sad},{\"\"}}'",
                ],
            ),
            ("feeling", &moods),
            ("feeling[]", &["ARRAY['sad', 'a,b', NULL]::feeling[]"]),
            (
                "pair",
                &[
                    "(1, 'a,b')",
                    "(NULL, NULL)",
                    "(NULL, '')",
                    r#"(-1, E'"\\(){}\n''')"#,
                    "(1, ' ')",
                ],
            ),
            (
                "pair[]",
                &["ARRAY[(1, 'a,\"b'), NULL, (NULL, NULL)]::pair[]", "'{}'"],
            ),
            ("couple", &["(1, 'a')::pair"]),
            ("couple[]", &["ARRAY[(1, 'a,b')::pair::couple]"]),
            (
                "nested",
                &[
                    "((1, 'x'), 'a,b', '{0.00,NaN}', '{\"k\": [1, \"v\"]}', '2026-11-24 10:00:00+00')",
                    "(NULL, NULL, '{}', NULL, 'infinity')",
                    "((NULL, E'\\\\\"'), 'it''s \"ok\"', '[0:0]={1}', '\"s\"', NULL)",
                ],
            ),
            (
                "nested[]",
                &["ARRAY[((1, 'x'), 'a,b', '{0.00}', '{\"k\": 1}', NULL)::nested]"],
            ),
            ("positive", &["1", "2147483647"]),
            ("very_positive", &["2"]),
            ("positive[]", &["'{1,NULL,2}'"]),
            ("flag", &["true"]),
            ("flag[]", &["'{t,f,NULL}'"]),
            ("amount", &["1", "'NaN'"]),
            ("amount[]", &["'{1,2.5}'"]),
            ("moment", &["'2026-11-24 10:00:00+00'", "'infinity'"]),
            ("moment[]", &["'{\"2026-11-24 10:00:00+00\"}'"]),
            ("label", &["'x'"]),
            ("document", &["'{\"a\": [1]}'", "'\"s\"'"]),
            ("document[]", &["ARRAY['{\"a\": [1]}', '\"s\"']::document[]"]),
            ("stretch", &["'[1,5)'"]),
        ],
    )
    .await;
}

#[tokio::test]
async fn domains_over_arrays_come_back_and_arrays_of_them() {
    all_come_back(
        MADE,
        &[
            ("numbers", &["'{1,NULL,2}'", "'{{1},{2}}'", "'[0:1]={1,2}'"]),
            ("more_numbers", &["'{1,2}'"]),
            ("labels", &["'{a,\"b c\"}'"]),
            (
                "numbers[]",
                &[
                    r#"'{"{1,2}","{3}",NULL}'"#,
                    "'{\"{}\"}'",
                    r#"'{"{{1,2},{3,4}}"}'"#,
                ],
            ),
            ("more_numbers[]", &[r#"'{"{1,2}","{3,4}"}'"#]),
        ],
    )
    .await;
}

#[tokio::test]
async fn what_users_make_is_in_json_what_it_is_made_of() {
    json_of(
        MADE,
        &[
            ("mood", "'a,b'", r#""a,b""#),
            ("mood[]", "ARRAY['sad', NULL]::mood[]", r#"["sad", null]"#),
            ("pair", "(1, 'a')", r#""(1,a)""#),
            ("very_positive", "2", "2"),
            ("flag", "true", "true"),
            ("amount", "1", "1.00"),
            (
                "moment",
                "'2026-11-24 10:00:00+00'",
                r#""2026-11-24T10:00:00+00:00""#,
            ),
            ("more_numbers", "'{1,2}'", "[1, 2]"),
            ("positive[]", "'{1,2}'", "[1, 2]"),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_table_as_a_type_comes_back() {
    all_come_back(
        "CREATE TABLE inner_table (a int, b text[], c date); ALTER TABLE inner_table DROP COLUMN c",
        &[
            ("inner_table", &["(1, '{a,\"b c\"}')"]),
            ("inner_table[]", &["ARRAY[(1, '{\"x\"}')::inner_table, NULL]"]),
        ],
    )
    .await;
}

#[tokio::test]
async fn xml_comes_back_where_the_server_has_it() {
    let client = support::connect(cluster().port(), "postgres").await;
    if client.batch_execute("SELECT xml '<a/>'").await.is_err() {
        return;
    }
    let values = [
        "'<a b=\"1\">x &amp; y</a>'",
        "'text only'",
        "'<a>\u{1F600}</a>'",
        "'<a/><b/>'",
        "''",
    ];
    all_come_back(
        "",
        &[("xml", &values), ("xml[]", &["ARRAY['<a>1</a>'::xml, NULL]"])],
    )
    .await;
}

#[tokio::test]
async fn types_of_extensions_come_back() {
    let client = support::connect(cluster().port(), "postgres").await;
    for (extension, types) in [
        (
            "hstore",
            &[
                ("hstore", &["''", r#"'a=>1, "b c"=>NULL, "q\"\\"=>"x,y=>"'"#][..]),
                ("hstore[]", &[r#"ARRAY['a=>"1,2"'::hstore]"#][..]),
            ][..],
        ),
        (
            "citext",
            &[
                ("citext", &["'MiXed'", "''"][..]),
                ("citext[]", &["'{A,\"b c\"}'"][..]),
            ][..],
        ),
        (
            "ltree",
            &[
                ("ltree", &["'Top.Science'", "''"][..]),
                ("lquery", &["'Top.*{1,2}.a|b@'"][..]),
            ][..],
        ),
        ("cube", &[("cube", &["'(1,2),(3,4)'"][..])][..]),
        ("isn", &[("isbn13", &["'978-0-393-04002-9'"][..])][..]),
        ("seg", &[("seg", &["'1.50 .. 2'"][..])][..]),
        ("intarray", &[("query_int", &["'1&(2|3)'"][..])][..]),
    ] {
        let has_it = "SELECT count(*) FROM pg_available_extensions WHERE name = $1";
        if client
            .query_one(has_it, &[&extension])
            .await
            .expect("extensions")
            .get::<_, i64>(0)
            > 0
        {
            all_come_back(&format!("CREATE EXTENSION {extension}"), types).await;
        }
    }
}
