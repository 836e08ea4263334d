import java.math.BigDecimal;
import java.sql.Connection;
import java.sql.PreparedStatement;
import java.sql.SQLException;
import java.sql.Statement;
import java.sql.Types;
import java.time.LocalDateTime;
import java.time.ZoneOffset;
import java.util.Arrays;
import java.util.UUID;
import org.postgresql.util.PGInterval;
import org.postgresql.util.PGobject;

/** What single statements and batches of them do. */
final class Statements {
    private static final String INSERT = "INSERT INTO todo (task, done) VALUES (?, ?)";
    private static final String KINDS = "CREATE TABLE kinds (id int PRIMARY KEY, i2 int2, i4 int4, i8 int8, f4 float4, f8 float8, n numeric, t text,"
        + " bytes bytea, b bool, d date, ti time, ts timestamp, tz timestamptz, iv interval, u uuid, j json, jb jsonb, ints int[], texts text[])";
    private static final String RAISE =
        "DO $$ BEGIN RAISE EXCEPTION 'mine' USING DETAIL = 'a detail', HINT = 'a hint', ERRCODE = 'ZZ999'; END $$";

    private final Transcript transcript;

    Statements(Transcript transcript) {
        this.transcript = transcript;
    }

    void types() throws Exception {
        try (Connection connection = transcript.connect();
                Statement statement = connection.createStatement()) {
            statement.execute(KINDS);
            String places = "?" + ", ?".repeat(19);
            LocalDateTime at = LocalDateTime.of(2024, 2, 29, 23, 59, 59, 999_999_000);
            Object[] values = {
                (short) -32768, 2147483647, Long.MIN_VALUE, 1.5f, -1e-300, new BigDecimal("123456789012345678901234567890.000100"),
                "quote ' backslash \\ elephant \uD83D\uDC18", everyByte(), true, at.toLocalDate(), at.toLocalTime(), at,
                at.atOffset(ZoneOffset.UTC), new PGInterval("1 year 2 days 03:04:05.678"), new UUID(0, 7),
                json("json", "{\"a\": [1, {\"b\": null}]}"), json("jsonb", "{\"z\": \"é\", \"a\": [1.50, false]}"),
                connection.createArrayOf("int4", new Integer[] {1, null, -3}),
                connection.createArrayOf("text", new String[] {"a,\"b\"", null, "", "é"}),
            };
            try (PreparedStatement insert = connection.prepareStatement("INSERT INTO kinds VALUES (" + places + ") RETURNING *");
                    PreparedStatement read = connection.prepareStatement("SELECT * FROM kinds WHERE u = ? AND i8 < ? ORDER BY id");
                    PreparedStatement grow = connection.prepareStatement("UPDATE kinds SET t = repeat(?, ?) WHERE id = ?")) {
                for (int id = 1; id <= 6; id++) {
                    insert.setInt(1, id);
                    for (int column = 0; column < values.length; column++) {
                        insert.setObject(column + 2, id == 3 ? null : values[column]);
                    }
                    Transcript.note(Transcript.rows(insert.executeQuery()));
                }
                read.setObject(1, values[14]);
                read.setLong(2, 0);
                Transcript.note(Transcript.rows(read.executeQuery()));
                grow.setString(1, "long ");
                grow.setInt(2, 200_000);
                grow.setInt(3, 1);
                Transcript.note(grow.executeUpdate());
            }
        }
    }

    private static byte[] everyByte() {
        byte[] bytes = new byte[256];
        for (int index = 0; index < bytes.length; index++) {
            bytes[index] = (byte) index;
        }
        return bytes;
    }

    private static PGobject json(String type, String text) throws SQLException {
        PGobject object = new PGobject();
        object.setType(type);
        object.setValue(text);
        return object;
    }

    void reuses() throws Exception {
        try (Connection connection = transcript.connect();
                Statement statement = connection.createStatement();
                PreparedStatement insert = connection.prepareStatement(INSERT + " RETURNING id");
                PreparedStatement select = connection.prepareStatement("SELECT task FROM todo WHERE id = ?")) {
            int sum = 0;
            for (int number = 0; number < 1000; number++) {
                insert.setString(1, "p" + number);
                insert.setBoolean(2, number % 2 == 0);
                int id = (Integer) Transcript.rows(insert.executeQuery()).get(0).get(0);
                select.setInt(1, id);
                sum += Transcript.rows(select.executeQuery()).get(0).get(0).equals("p" + number) ? id : 0;
            }
            Transcript.note(sum);
            Transcript.note(Transcript.rows(statement.executeQuery("SELECT name, statement FROM pg_prepared_statements ORDER BY name")));
            Transcript.note(Transcript.rows(insert.executeQuery()));
            Transcript.note(statement.executeUpdate("DELETE FROM todo WHERE id > 5"));
        }
    }

    /** A plan that no longer fits its result: with autosave the driver rolls back and tries again. */
    void alteredTable() throws Exception {
        for (String autosave : new String[] {"never", "conservative", "always"}) {
            try (Connection connection = transcript.connect("autosave=" + autosave);
                    Statement statement = connection.createStatement();
                    PreparedStatement all = connection.prepareStatement("UPDATE todo SET done = false WHERE id = 1 RETURNING *")) {
                connection.setAutoCommit(false);
                for (int number = 0; number < 7; number++) {
                    Transcript.rows(all.executeQuery());
                }
                statement.execute("ALTER TABLE todo ADD COLUMN extra int");
                Transcript.refused(() -> Transcript.note(Transcript.rows(all.executeQuery())));
                connection.rollback();
            }
        }
    }

    void batches(String... properties) throws Exception {
        try (Connection connection = transcript.connect(properties);
                PreparedStatement insert = connection.prepareStatement(INSERT);
                Statement statement = connection.createStatement()) {
            for (boolean autocommit : new boolean[] {true, false}) {
                connection.setAutoCommit(autocommit);
                for (int number = 0; number < 300; number++) {
                    insert.setString(1, "b" + number);
                    insert.setBoolean(2, false);
                    insert.addBatch();
                }
                Transcript.note(Arrays.toString(insert.executeBatch()));
                statement.addBatch("UPDATE todo SET done = true WHERE task = 'b1'");
                statement.addBatch("DELETE FROM todo WHERE task LIKE 'b2%'");
                Transcript.note(Arrays.toString(statement.executeBatch()));
                statement.addBatch("INSERT INTO todo (task) VALUES ('ahead')");
                statement.addBatch("INSERT INTO todo (id) VALUES (1)");
                statement.addBatch("INSERT INTO todo (task) VALUES ('behind')");
                Transcript.refused(statement::executeBatch);
                if (!autocommit) {
                    connection.rollback();
                }
                statement.clearBatch();
                Transcript.note(Transcript.rows(statement.executeQuery("SELECT count(*), min(task), max(task) FROM todo")));
                statement.executeUpdate("DELETE FROM todo WHERE id > 5");
            }
            connection.commit();
        }
    }

    void errors(String... properties) throws Exception {
        try (Connection connection = transcript.connect(properties);
                Statement statement = connection.createStatement();
                PreparedStatement insert = connection.prepareStatement(INSERT, new String[] {"id"})) {
            for (int number = 0; number < 8; number++) {
                insert.setString(1, "é " + number);
                insert.setBoolean(2, number % 2 == 0);
                int count = insert.executeUpdate();
                Transcript.note(count, Transcript.rows(insert.getGeneratedKeys()));
            }
            statement.execute("INSERT INTO todo (task) VALUES ('a'); UPDATE todo SET done = true WHERE id < 4; SELECT 7");
            do {
                Transcript.note(statement.getUpdateCount());
            } while (statement.getMoreResults() || statement.getUpdateCount() != -1);
            Transcript.refused(() -> statement.executeUpdate("INSERT INTO todo (id) VALUES (1)"));
            Transcript.refused(() -> statement.executeUpdate("SELECT 1; INSERT INTO todo VALUES (9, mistake)"));
            Transcript.refused(() -> statement.executeUpdate("INSERT INTO todo VALUES (9, mistake)"));
            Transcript.refused(() -> statement.executeUpdate("/* é */ UPDATE todo SET done = true; DELETE FROM todo WHERE 'é' = mistake"));
            Transcript.refused(() -> statement.executeUpdate(RAISE));
            try (PreparedStatement number = connection.prepareStatement("INSERT INTO todo (id) VALUES (?::text::int)")) {
                number.setString(1, "no number");
                Transcript.refused(number::executeUpdate);
                number.setString(1, "1");
                Transcript.refused(number::executeUpdate);
            }
            Transcript.note(Transcript.rows(statement.executeQuery("SELECT id, task, done FROM todo ORDER BY id LIMIT 7")));
            Transcript.note(Transcript.rows(statement.executeQuery("SELECT name, statement FROM pg_prepared_statements ORDER BY name")));
            insert.setString(1, "after the list");
            insert.setNull(2, Types.BOOLEAN);
            Transcript.note(insert.executeUpdate());
        }
    }
}
