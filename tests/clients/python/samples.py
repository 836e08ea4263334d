"""Values of the basic types, with the server's name of each."""

import datetime
import decimal
import uuid

VALUES = [
    ("int2", -(2**15)),
    ("int4", 2**31 - 1),
    ("int8", -(2**63)),
    ("float4", 1.5),
    ("float8", 0.1),
    ("float8", float("-inf")),
    ("numeric", decimal.Decimal("-12345678901234567890.01234567890")),
    ("text", "quote ' backslash \\ elephant \U0001f418"),
    ("text", ""),
    ("bytea", bytes(range(256))),
    ("bool", True),
    ("date", datetime.date(2024, 2, 29)),
    ("time", datetime.time(23, 59, 59, 999999)),
    ("timestamp", datetime.datetime(1999, 12, 31, 23, 59, 59, 1)),
    ("timestamptz", datetime.datetime(2024, 2, 29, 12, tzinfo=datetime.timezone.utc)),
    ("interval", datetime.timedelta(days=-3, seconds=7, microseconds=1)),
    ("uuid", uuid.UUID(int=7)),
    ("int4[]", [1, None, 3]),
    ("text[]", ["a", 'b "c"', None, "NULL"]),
    ("text", None),
]

JSON = {"a": [1, {"b": None}], "é": "\U0001f418"}
