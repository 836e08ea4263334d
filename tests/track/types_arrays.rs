//! Arrays of everything.

use crate::round_trip::{all_come_back, json_of};

#[tokio::test]
async fn arrays_come_back_in_every_form() {
    let texts = [
        "'{}'",
        r#"ARRAY['', 'NULL', 'null', NULL, 'a"b', E'a\\b', 'a,b', '{a}', '}', ' ', E'\n\t\r\x01', 'ü', U&'\+01F600', ';']"#,
        "ARRAY[ARRAY['a', NULL], ARRAY['{', '}']]",
        r"'[3:4]={a,\\}'",
        "ARRAY[repeat('x', 100000), '']",
    ];
    all_come_back(
        "",
        &[
            (
                "int4[]",
                &[
                    "'{}'",
                    "'{1}'",
                    "'{1,NULL,-3}'",
                    "'{{1,2},{3,4}}'",
                    "'{{NULL},{NULL}}'",
                    "'{{{{{{1}}}}}}'",
                    "'[0:1]={1,2}'",
                    "'[-1:0][2:3]={{1,2},{3,4}}'",
                    "(SELECT array_agg(number) FROM generate_series(1, 20000) number)",
                ],
            ),
            ("text[]", &texts),
            ("varchar(100000)[]", &texts),
            ("char(2)[]", &["'{a,\"\",NULL}'"]),
            ("name[]", &["'{a,\"b c\"}'"]),
            ("\"char\"[]", &["'{a,\"\",\"{\"}'"]),
            ("bool[]", &["'{t,f,NULL}'", "'{{t},{f}}'"]),
            ("int8[]", &["'{9223372036854775807,-9223372036854775808}'"]),
            ("numeric[]", &["'{0.00,NaN,-Infinity,1e-20,NULL}'"]),
            ("float4[]", &["'{-0,NaN,1e-45,3.4028235e+38}'"]),
            (
                "float8[]",
                &[
                    "'{-0,NaN,Infinity,5e-324,1.7976931348623157e+308}'",
                    "'{{0.1},{-0}}'",
                ],
            ),
            ("oid[]", &["'{0,4294967295}'"]),
            ("money[]", &["ARRAY['$1,234.50'::money, NULL]"]),
        ],
    )
    .await;
}

#[tokio::test]
async fn arrays_of_times_bytes_and_shapes_come_back() {
    all_come_back(
        "CREATE TYPE textrange AS RANGE (subtype = text)",
        &[
            ("date[]", &["'{2026-11-24,infinity,\"0044-03-15 BC\",NULL}'"]),
            ("time[]", &["'{24:00:00,10:00:00.5}'"]),
            ("timetz[]", &["'{10:00:00+05:45}'"]),
            ("timestamp[]", &["'{\"2026-11-24 10:00:00.5\",infinity,\"0044-03-15 12:00:00 BC\",\"10000-01-01 00:00:00\",NULL}'"]),
            ("timestamptz[]", &["'{\"2026-11-24 10:00:00+02\",-infinity}'", "'{{\"2026-11-24 10:00:00+02\"},{NULL}}'"]),
            ("interval[]", &["'{\"1 year -2 days\",\"-00:00:01\"}'"]),
            ("bytea[]", &[r"ARRAY['\x00ff'::bytea, '', '\x5c22', NULL]"]),
            ("bit(3)[]", &["'{101,000}'"]),
            ("varbit[]", &["ARRAY[B'', B'1']"]),
            ("uuid[]", &["'{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}'"]),
            ("inet[]", &["'{10.0.0.1/8,::1}'"]),
            ("macaddr[]", &["'{08:00:2b:01:02:03}'"]),
            ("point[]", &["'{\"(1,2)\",NULL,\"(-0,NaN)\"}'"]),
            ("box[]", &["'{(3,4),(1,2);(1,1),(0,0)}'", "'{(3,4),(1,2);NULL}'", "'{{(3,4),(1,2)};{(1,1),(0,0)}}'", "'{}'"]),
            ("path[]", &["ARRAY['((0,0),(1,1))'::path, '[(0,0)]']"]),
            ("circle[]", &["ARRAY['<(1,2),3>'::circle]"]),
            ("int4range[]", &["ARRAY['[1,2)'::int4range, 'empty', NULL]"]),
            ("int4multirange[]", &["ARRAY['{[1,2),[5,6)}'::int4multirange]"]),
            ("textrange[]", &[r#"ARRAY[textrange('a,b', 'c"d'), textrange(E'\\', NULL)]"#]),
            ("tsvector[]", &["ARRAY['a:1 ''b c'''::tsvector]"]),
            ("pg_lsn[]", &["'{0/0,16/B374D848}'"]),
            ("int2vector[]", &["ARRAY['1 2'::int2vector]"]),
        ],
    )
    .await;
}

#[tokio::test]
async fn an_array_is_an_array_in_json_where_json_can_say_it() {
    json_of(
        "",
        &[
            ("int4[]", "'{1,NULL,-3}'", "[1, null, -3]"),
            ("int4[]", "'{{1,2},{3,4}}'", "[[1, 2], [3, 4]]"),
            ("int4[]", "'{}'", "[]"),
            ("int4[]", "'[0:1]={1,2}'", r#""[0:1]={1,2}""#),
            (
                "text[]",
                r#"ARRAY['a"b', E'\\', NULL, 'NULL', '']"#,
                r#"["a\"b", "\\", null, "NULL", ""]"#,
            ),
            ("bool[]", "'{t,f}'", "[true, false]"),
            ("numeric[]", "'{0.00,NaN}'", r#"[0.00, "NaN"]"#),
            (
                "box[]",
                "'{(3,4),(1,2);(1,1),(0,0)}'",
                r#"["(3,4),(1,2)", "(1,1),(0,0)"]"#,
            ),
            (
                "timestamp[]",
                "'{\"2026-11-24 10:00:00\"}'",
                r#"["2026-11-24T10:00:00"]"#,
            ),
            ("bytea[]", r"ARRAY['\x00ff'::bytea]", r#"["\\x00ff"]"#),
        ],
    )
    .await;
}
