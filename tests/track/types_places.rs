//! Networks, shapes, ranges, and the types of the server itself.

use crate::round_trip::{all_come_back, json_of};

#[tokio::test]
async fn networks_and_uuids_come_back() {
    all_come_back(
        "",
        &[
            (
                "uuid",
                &[
                    "'00000000-0000-0000-0000-000000000000'",
                    "'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'",
                ],
            ),
            (
                "inet",
                &[
                    "'192.168.0.1'",
                    "'192.168.0.1/24'",
                    "'::1'",
                    "'2001:db8::/32'",
                    "'::ffff:1.2.3.4/128'",
                    "'0.0.0.0/0'",
                ],
            ),
            (
                "cidr",
                &["'192.168.0.0/24'", "'10/8'", "'2001:db8::/32'", "'::/0'"],
            ),
            ("macaddr", &["'08:00:2b:01:02:03'", "'ff-ff-ff-ff-ff-ff'"]),
            ("macaddr8", &["'08:00:2b:01:02:03:04:05'", "'08002b:010203'"]),
        ],
    )
    .await;
}

#[tokio::test]
async fn shapes_come_back() {
    all_come_back(
        "",
        &[
            (
                "point",
                &["'(0,0)'", "'(-1.5,1e300)'", "'(NaN,Infinity)'", "'(-0,5e-324)'"],
            ),
            ("line", &["'{1,-1,0}'", "'{0,2,3.5}'"]),
            ("lseg", &["'[(1,2),(3,4)]'"]),
            ("box", &["'(3,4),(1,2)'", "'(Infinity,1),(-Infinity,0)'"]),
            ("path", &["'((0,0),(1,1),(2,0))'", "'[(0,0),(1,1)]'"]),
            ("polygon", &["'((0,0),(1,1),(2,0))'", "'((5,5))'"]),
            ("circle", &["'<(1,2),3>'", "'<(0,0),0>'"]),
        ],
    )
    .await;
}

#[tokio::test]
async fn ranges_and_multiranges_come_back() {
    all_come_back(
        "CREATE TYPE textrange AS RANGE (subtype = text)",
        &[
            (
                "int4range",
                &[
                    "'empty'",
                    "'[1,10)'",
                    "'(,)'",
                    "'[5,)'",
                    "'(,5]'",
                    "'[-2147483648,2147483647)'",
                ],
            ),
            ("int8range", &["'[1,9223372036854775807)'"]),
            ("numrange", &["'[0.00,1.10]'", "'(-Infinity,NaN)'", "'empty'"]),
            (
                "daterange",
                &[
                    "'[2026-01-01,infinity)'",
                    "'(,0044-03-15 BC]'",
                    "'[10000-01-01,)'",
                ],
            ),
            (
                "tsrange",
                &["'[2026-01-01 10:00,2026-01-01 11:00]'", "'[-infinity,infinity]'"],
            ),
            ("tstzrange", &["'[2026-01-01 10:00+05:45,)'"]),
            (
                "textrange",
                &[
                    r#"'["a,b","c\"d")'"#,
                    r"textrange('(', E'\\')",
                    "textrange('', 'null')",
                    r"textrange(E'\n', 'x')",
                ],
            ),
            ("int4multirange", &["'{}'", "'{[1,2),[5,7)}'", "'{(,)}'"]),
            ("nummultirange", &["'{[0.0,1.0],(5,)}'"]),
            ("tsmultirange", &["'{[2026-01-01 10:00,2026-01-01 11:00]}'"]),
            ("textmultirange", &[r#"'{["a,b","c\"d")}'"#]),
        ],
    )
    .await;
}

#[tokio::test]
async fn types_of_search_come_back() {
    all_come_back(
        "",
        &[
            (
                "tsvector",
                &[
                    "''",
                    r"'a:1A b''c:2,3 ''quo ted''' ",
                    "to_tsvector('english', 'The quick brown foxes jumped')",
                    r#"$$'back\\slash' '"'$$"#,
                ],
            ),
            ("tsquery", &["''", "'a & !b | (c <2> d:*A)'", "'''quo ted'''"]),
            ("jsonpath", &["'$.a[*] ? (@.b > 1)'", r#"'$."a b"'"#]),
        ],
    )
    .await;
}

#[tokio::test]
async fn types_of_the_server_itself_come_back() {
    all_come_back(
        "",
        &[
            ("regclass", &["'pg_class'", "'t0'", "0"]),
            (
                "regtype",
                &["'int4'", "'text[]'", "'timestamp with time zone'", "'\"char\"'"],
            ),
            ("regproc", &["'now'"]),
            ("regprocedure", &["'sum(int4)'"]),
            ("regoper", &["'pg_catalog.||/'"]),
            ("regoperator", &["'+(int4,int4)'"]),
            ("regrole", &["'postgres'"]),
            ("regnamespace", &["'pg_catalog'"]),
            ("regcollation", &["'\"C\"'"]),
            ("regconfig", &["'english'"]),
            ("regdictionary", &["'simple'"]),
            ("pg_lsn", &["'0/0'", "'FFFFFFFF/FFFFFFFF'", "'16/B374D848'"]),
            ("xid", &["'0'", "'4294967295'"]),
            ("xid8", &["'18446744073709551615'"]),
            ("cid", &["'4294967295'"]),
            ("tid", &["'(0,1)'", "'(4294967295,65535)'"]),
            ("pg_snapshot", &["'10:20:10,14,15'"]),
            ("txid_snapshot", &["'10:20:'"]),
            ("int2vector", &["''", "'1'", "'1 -2 3'"]),
            ("oidvector", &["''", "'1 4294967295'"]),
            ("aclitem", &["'postgres=arwd/postgres'"]),
        ],
    )
    .await;
}

#[tokio::test]
async fn they_are_strings_in_json() {
    json_of(
        "",
        &[
            ("point", "'(1,2)'", r#""(1,2)""#),
            ("int4range", "'[1,2]'", r#""[1,3)""#),
            ("inet", "'10.0.0.1/8'", r#""10.0.0.1/8""#),
            ("int2vector", "'1 2'", r#""1 2""#),
            ("pg_lsn", "'16/B374D848'", r#""16/B374D848""#),
            ("xid", "'7'", r#""7""#),
            ("regclass", "'pg_class'", r#""pg_class""#),
        ],
    )
    .await;
}
