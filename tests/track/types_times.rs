//! Dates, times and stretches of time.

use crate::round_trip::{all_come_back, json_of};
use crate::tracker::is_at_least;

#[tokio::test]
async fn dates_and_times_come_back() {
    all_come_back(
        "",
        &[
            (
                "date",
                &[
                    "'2026-11-24'",
                    "'infinity'",
                    "'-infinity'",
                    "'4713-01-01 BC'",
                    "'0001-12-31 BC'",
                    "'0001-01-01'",
                    "'10000-01-01'",
                    "'5874897-12-31'",
                    "'2000-02-29'",
                    "'1582-10-10'",
                ],
            ),
            (
                "time",
                &["'00:00:00'", "'24:00:00'", "'23:59:59.999999'", "'12:34:56.7'"],
            ),
            ("time(0)", &["'12:34:56'"]),
            (
                "timetz",
                &[
                    "'00:00:00+00'",
                    "'24:00:00-15:59'",
                    "'23:59:59.999999+15:59:59'",
                    "'12:00:00+05:45'",
                    "'01:02:03-03:30'",
                    "'12:00:00-00:53:28'",
                ],
            ),
            (
                "timestamp",
                &[
                    "'2026-11-24 10:00:00'",
                    "'2026-11-24 10:00:00.000001'",
                    "'infinity'",
                    "'-infinity'",
                    "'4713-11-24 00:00:00 BC'",
                    "'0044-03-15 12:00:00.5 BC'",
                    "'0001-01-01 00:00:00'",
                    "'9999-12-31 23:59:59.999999'",
                    "'10000-01-01 00:00:00'",
                    "'123456-07-08 09:10:11.12'",
                    "'294276-12-31 23:59:59.999999'",
                ],
            ),
            ("timestamp(0)", &["'2026-11-24 10:00:00'"]),
            (
                "timestamptz",
                &[
                    "'2026-11-24 10:00:00+00'",
                    "'2026-11-24 10:00:00.1+05:45'",
                    "'infinity'",
                    "'-infinity'",
                    "'4713-11-24 00:00:00+00 BC'",
                    "'0044-03-15 12:00:00-15:59:59 BC'",
                    "'0001-01-01 00:00:00+00'",
                    "'10000-01-01 00:00:00+15:59:59'",
                    "'294276-12-31 23:59:59.999999+00'",
                    "'1883-11-18 10:00:00 America/New_York'",
                    "'2026-03-29 02:30:00 Europe/Berlin'",
                ],
            ),
            ("timestamptz(3)", &["'2026-11-24 10:00:00.123+00'"]),
        ],
    )
    .await;
}

#[tokio::test]
async fn intervals_of_all_sorts_come_back() {
    let mut values = vec![
        "'0'",
        "'1 year'",
        "'-1 year 2 mons'",
        "'1 year -2 mons 3 days -04:05:06.789'",
        "'-1 year -2 mons +3 days -04:05:06'",
        "'1 mon -1 day'",
        "'-00:00:00.000001'",
        "'1 day -00:00:01'",
        "'-1 day 00:00:01.5'",
        "'100 days'",
        "'1000:00:00'",
        "'-2147483648 days'",
        "'2147483647 days'",
        "'178000000 years'",
        "'-178000000 years'",
        "'P1Y2M3DT4H5M6.7S'",
        "'2 weeks'",
        "make_interval(secs => -0.5)",
    ];
    if is_at_least(15) {
        values.push("interval '9223372036854775807 microseconds'");
    }
    if is_at_least(17) {
        values.extend(["'infinity'", "'-infinity'"]);
    }
    all_come_back(
        "",
        &[
            ("interval", &values),
            ("interval day to second(2)", &["'1 day 2:03:04.05'"]),
        ],
    )
    .await;
}

#[tokio::test]
async fn times_are_iso_8601_in_json() {
    json_of(
        "",
        &[
            ("date", "'2026-11-24'", r#""2026-11-24""#),
            (
                "timestamp",
                "'2026-11-24 10:00:00.5'",
                r#""2026-11-24T10:00:00.5""#,
            ),
            (
                "timestamptz",
                "'2026-11-24 10:00:00+02'",
                r#""2026-11-24T08:00:00+00:00""#,
            ),
            ("timestamptz", "'infinity'", r#""infinity""#),
            (
                "interval",
                "'1 year 2 mons 3 days 04:05:06.7'",
                r#""P1Y2M3DT4H5M6.7S""#,
            ),
            (
                "timestamptz[]",
                "ARRAY['2026-11-24 10:00:00+00'::timestamptz, NULL]",
                r#"["2026-11-24T10:00:00+00:00", null]"#,
            ),
        ],
    )
    .await;
}

/// Settings of the database must not show: what is stored would depend on them.
#[tokio::test]
async fn a_database_with_settings_of_its_own_makes_no_other_json() {
    let settings = "DO $$ BEGIN
        EXECUTE format('ALTER DATABASE %I SET timezone = ''Asia/Kathmandu''', current_database());
        EXECUTE format('ALTER DATABASE %I SET datestyle = ''SQL, DMY''', current_database());
        EXECUTE format('ALTER DATABASE %I SET intervalstyle = ''sql_standard''', current_database());
        EXECUTE format('ALTER DATABASE %I SET bytea_output = ''escape''', current_database());
        EXECUTE format('ALTER DATABASE %I SET extra_float_digits = -5', current_database());
        EXECUTE format('ALTER DATABASE %I SET client_encoding = ''LATIN1''', current_database());
        EXECUTE format('ALTER DATABASE %I SET standard_conforming_strings = off', current_database());
      END $$";
    json_of(
        settings,
        &[
            ("date", "'2026-11-24'::date", r#""2026-11-24""#),
            (
                "timestamptz",
                "timestamptz '2026-11-24T10:00:00+00:00'",
                r#""2026-11-24T10:00:00+00:00""#,
            ),
            ("interval", "interval 'P-1DT2H'", r#""P-1DT2H""#),
            ("bytea", r"decode('00ff', 'hex')", r#""\\x00ff""#),
            ("float8", "0.1::float8 + 0.2::float8", "0.30000000000000004"),
            ("text", "'\u{20AC}'", r#""\u20ac""#),
        ],
    )
    .await;
}
