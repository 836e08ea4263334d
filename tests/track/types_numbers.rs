//! Numbers keep every digit.

use crate::round_trip::{all_come_back, json_of};
use crate::tracker::is_at_least;

#[tokio::test]
async fn integers_and_booleans_come_back() {
    all_come_back(
        "",
        &[
            ("boolean", &["true", "false"]),
            ("int2", &["0", "-32768", "32767", "-1"]),
            ("int4", &["0", "-2147483648", "2147483647"]),
            (
                "int8",
                &[
                    "0",
                    "-9223372036854775808",
                    "9223372036854775807",
                    "9007199254740993",
                ],
            ),
            ("oid", &["0", "4294967295", "2147483648"]),
            (
                "money",
                &[
                    "'$0.00'",
                    "'-$92,233,720,368,547,758.08'",
                    "92233720368547758.07",
                    "1234.56",
                ],
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn numerics_come_back_with_every_digit() {
    all_come_back(
        "",
        &[
            (
                "numeric",
                &[
                    "'NaN'",
                    "'Infinity'",
                    "'-Infinity'",
                    "0",
                    "0.00",
                    "-0.00",
                    "1e-20",
                    "-1.10",
                    "123456789012345678901234567890.123456789012345678901234567890",
                    "1e1000",
                    "1e-16383",
                    "repeat('9', 131072)::numeric",
                    "('-0.' || repeat('1234567890', 1638))::numeric",
                    "(repeat('8', 131072) || '.' || repeat('7', 16383))::numeric",
                ],
            ),
            ("numeric(10, 4)", &["1", "-0.0001", "999999.9999", "'NaN'"]),
            ("numeric(1000, 0)", &["repeat('7', 1000)::numeric"]),
        ],
    )
    .await;
}

#[tokio::test]
async fn numerics_with_a_negative_scale_come_back() {
    if is_at_least(15) {
        all_come_back(
            "",
            &[
                ("numeric(3, -6)", &["123456789", "-999000000"]),
                ("numeric(3, 6)", &["0.000123"]),
            ],
        )
        .await;
    }
}

#[tokio::test]
async fn floats_come_back_to_the_last_bit() {
    all_come_back(
        "",
        &[
            (
                "float4",
                &[
                    "'NaN'",
                    "'Infinity'",
                    "'-Infinity'",
                    "'-0'",
                    "0",
                    "'1e-45'",
                    "'1.1754944e-38'",
                    "'3.4028235e+38'",
                    "'-3.4028235e+38'",
                    "'16777217'",
                    "'0.1'",
                    "'1e20'",
                    "'1.5'",
                ],
            ),
            (
                "float8",
                &[
                    "'NaN'",
                    "'Infinity'",
                    "'-Infinity'",
                    "'-0'",
                    "0",
                    "'5e-324'",
                    "'-5e-324'",
                    "'2.2250738585072014e-308'",
                    "'2.225073858507201e-308'",
                    "'1e308'",
                    "'1.7976931348623157e+308'",
                    "'-1.7976931348623157e+308'",
                    "0.1::float8 + 0.2::float8",
                    "'123456789012345680000'",
                    "'1e15'",
                    "'1e16'",
                    "'1e-5'",
                ],
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn numbers_are_numbers_in_json_and_booleans_booleans() {
    json_of(
        "",
        &[
            ("boolean", "true", "true"),
            ("boolean", "false", "false"),
            ("int2", "-32768", "-32768"),
            ("int8", "9223372036854775807", "9223372036854775807"),
            ("oid", "4294967295", "4294967295"),
            ("numeric", "0.00", "0.00"),
            (
                "numeric",
                "123456789012345678901234567890.10",
                "123456789012345678901234567890.10",
            ),
            ("numeric", "'NaN'", r#""NaN""#),
            ("numeric", "'-Infinity'", r#""-Infinity""#),
            ("float8", "0.1", "0.1"),
            ("float8", "'-0'", r#""-0""#),
            ("float8", "1e20", "100000000000000000000"),
            ("float4", "'Infinity'", r#""Infinity""#),
            ("money", "'$1,234.50'", r#""$1,234.50""#),
            ("int4", "NULL", "null"),
        ],
    )
    .await;
}
