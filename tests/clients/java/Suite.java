import java.io.StringReader;
import java.io.StringWriter;
import java.sql.Connection;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.Savepoint;
import java.sql.Statement;
import java.sql.Types;
import java.util.Arrays;
import org.postgresql.PGConnection;
import org.postgresql.PGNotification;
import org.postgresql.copy.CopyManager;
import org.postgresql.largeobject.LargeObject;
import org.postgresql.largeobject.LargeObjectManager;

/** pgjdbc: four query modes, server-side statements after a threshold, batches, automatic savepoints, fetch sizes. */
final class Suite {
    private static final String INSERT = "INSERT INTO todo (task, done) VALUES (?, ?)";

    private Suite() {}

    public static void main(String[] arguments) {
        Transcript transcript = new Transcript();
        for (String mode : new String[] {"simple", "extended", "extendedForPrepared", "extendedCacheEverything"}) {
            transcript.scenario("statements in mode " + mode, () -> statements(mode));
            transcript.scenario("batches in mode " + mode, () -> batches("preferQueryMode=" + mode));
        }
        transcript.scenario("batches that the driver rewrites", () -> batches("reWriteBatchedInserts=true"));
        transcript.scenario("statements on the server at once", () -> batches("prepareThreshold=-1"));
        for (String autosave : new String[] {"never", "conservative", "always"}) {
            transcript.scenario("transactions with autosave " + autosave, () -> transactions(autosave));
        }
        transcript.scenario("fetch sizes", Suite::fetchSizes);
        transcript.scenario("contexts of requests", Suite::contexts);
        transcript.scenario("copies", Suite::copies);
        transcript.scenario("function calls and large objects", Suite::functions);
        transcript.scenario("notifications and cancelling", Suite::notifications);
        transcript.end();
    }

    private static void statements(String mode) throws Exception {
        try (Connection connection = Transcript.connect("preferQueryMode=" + mode);
                Statement statement = connection.createStatement();
                PreparedStatement insert = connection.prepareStatement(INSERT, new String[] {"id"})) {
            // The driver prepares on the server from the fifth execution on.
            for (int number = 0; number < 8; number++) {
                insert.setString(1, mode + " é " + number);
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
            Transcript.note(Transcript.rows(statement.executeQuery("SELECT id, task, done FROM todo ORDER BY id")));
            Transcript.note(Transcript.rows(statement.executeQuery("SELECT name, statement FROM pg_prepared_statements ORDER BY name")));
            insert.setString(1, "after the list");
            insert.setNull(2, Types.BOOLEAN);
            Transcript.note(insert.executeUpdate());
        }
    }

    private static void batches(String property) throws Exception {
        try (Connection connection = Transcript.connect(property);
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

    private static void transactions(String autosave) throws Exception {
        try (Connection connection = Transcript.connect("autosave=" + autosave);
                PreparedStatement insert = connection.prepareStatement(INSERT);
                Statement statement = connection.createStatement()) {
            connection.setAutoCommit(false);
            for (int number = 0; number < 7; number++) {
                insert.setString(1, "kept " + number);
                insert.setBoolean(2, true);
                insert.executeUpdate();
            }
            Savepoint mine = connection.setSavepoint("mine");
            Transcript.refused(() -> statement.executeUpdate("INSERT INTO todo (id) VALUES (1)"));
            Transcript.refused(() -> Transcript.note(statement.executeUpdate("INSERT INTO todo (task) VALUES ('with autosave')")));
            connection.rollback(mine);
            insert.executeUpdate();
            connection.commit();
            statement.executeUpdate("UPDATE todo SET task = 'undone'");
            connection.rollback();
            connection.setReadOnly(true);
            Transcript.refused(insert::executeUpdate);
            connection.rollback();
            connection.setReadOnly(false);
            connection.setTransactionIsolation(Connection.TRANSACTION_SERIALIZABLE);
            // A plan that no longer fits its result: with autosave the driver rolls back and tries again.
            try (PreparedStatement all = connection.prepareStatement("UPDATE todo SET done = false WHERE id = 1 RETURNING *")) {
                for (int number = 0; number < 7; number++) {
                    Transcript.rows(all.executeQuery());
                }
                statement.execute("ALTER TABLE todo ADD COLUMN extra int");
                Transcript.refused(() -> Transcript.note(Transcript.rows(all.executeQuery())));
                connection.rollback();
            }
            Transcript.note(Transcript.rows(statement.executeQuery("SELECT count(*) FROM todo WHERE task LIKE 'kept%'")));
            connection.commit();
        }
    }

    private static void fetchSizes() throws Exception {
        try (Connection connection = Transcript.connect("defaultRowFetchSize=7");
                Statement statement = connection.createStatement()) {
            connection.setAutoCommit(false);
            Transcript.note(Transcript.rows(statement.executeQuery("SELECT n FROM generate_series(1, 100) AS n")).size());
            String insert = "INSERT INTO todo (task) SELECT 'f' || n FROM generate_series(1, 30) AS n RETURNING id";
            Transcript.note(Transcript.rows(statement.executeQuery(insert)).size());
            try (ResultSet left = statement.executeQuery("SELECT n FROM generate_series(1, 100) AS n")) {
                left.next();
            }
            statement.executeUpdate("DELETE FROM todo WHERE task LIKE 'f%'");
            connection.commit();
        }
    }

    private static void contexts() throws Exception {
        try (Connection connection = Transcript.connect("prepareThreshold=2");
                PreparedStatement set = connection.prepareStatement("SELECT set_config('bemi.context', ?, ?)");
                PreparedStatement insert = connection.prepareStatement("INSERT INTO todo (task, who) VALUES (?, ?)");
                Statement statement = connection.createStatement()) {
            for (int who = 1; who <= 6; who++) {
                String context = "{\"user_id\":" + who + ",\"name\":\"Zoë\"}";
                connection.setAutoCommit(false);
                set.setString(1, context);
                set.setBoolean(2, true);
                Transcript.rows(set.executeQuery());
                for (int row = 0; row < 3; row++) {
                    insert.setString(1, "local");
                    insert.setInt(2, who);
                    insert.addBatch();
                }
                insert.executeBatch();
                connection.commit();
                connection.setAutoCommit(true);
                statement.executeUpdate("INSERT INTO todo (task) VALUES ('outside')");
                set.setBoolean(2, false);
                Transcript.rows(set.executeQuery());
                insert.executeUpdate();
                statement.execute("RESET bemi.context; UPDATE todo SET who = NULL WHERE id = 1");
                statement.executeUpdate("/*Bemi {\"user_id\": " + who + "} Bemi*/ UPDATE todo SET who = " + who + " WHERE id = 1");
            }
        }
    }

    private static void copies() throws Exception {
        try (Connection connection = Transcript.connect(); Statement statement = connection.createStatement()) {
            CopyManager copy = connection.unwrap(PGConnection.class).getCopyAPI();
            StringBuilder rows = new StringBuilder();
            for (int id = 70_000; id < 73_000; id++) {
                rows.append(id).append("\ttask\n");
            }
            Transcript.note(copy.copyIn("COPY todo (id, task) FROM STDIN", new StringReader(rows.toString())));
            Transcript.refused(() -> copy.copyIn("COPY todo (id, task) FROM STDIN", new StringReader("1\tx\n")));
            StringWriter out = new StringWriter();
            Transcript.note(copy.copyOut("COPY (SELECT * FROM todo WHERE id >= 70000) TO STDOUT", out), out.toString().length());
            Transcript.note(statement.executeUpdate("DELETE FROM todo WHERE id >= 70000"));
        }
    }

    private static void functions() throws Exception {
        try (Connection connection = Transcript.connect(); Statement statement = connection.createStatement()) {
            connection.setAutoCommit(false);
            try (var call = connection.prepareCall("{? = call upper(?)}")) {
                call.registerOutParameter(1, Types.VARCHAR);
                call.setString(2, "called");
                call.execute();
                Transcript.note(call.getString(1));
            }
            // These are messages of the type FunctionCall.
            LargeObjectManager manager = connection.unwrap(PGConnection.class).getLargeObjectAPI();
            long oid = manager.createLO();
            try (LargeObject large = manager.open(oid)) {
                statement.executeUpdate("INSERT INTO todo (task) VALUES ('between function calls')");
                large.write(new byte[100_000]);
                large.seek(0);
                Transcript.note(large.read(200_000).length);
            }
            manager.delete(oid);
            Transcript.refused(() -> manager.open(1).read(1));
            connection.rollback();
            statement.executeUpdate("INSERT INTO todo (task) VALUES ('after')");
            connection.commit();
        }
    }

    private static void notifications() throws Exception {
        try (Connection connection = Transcript.connect(); Statement statement = connection.createStatement()) {
            statement.execute("LISTEN changed");
            statement.execute("INSERT INTO todo (task) VALUES ('x'); NOTIFY changed, 'payload'; DROP TABLE IF EXISTS nowhere");
            Transcript.note(statement.getWarnings());
            for (PGNotification heard : connection.unwrap(PGConnection.class).getNotifications(5000)) {
                Transcript.note(heard.getName(), heard.getParameter());
            }
            statement.setQueryTimeout(1);
            Transcript.refused(() -> statement.executeUpdate("INSERT INTO todo (task) SELECT pg_sleep(60)::text"));
            statement.setQueryTimeout(0);
            Transcript.note(statement.executeUpdate("INSERT INTO todo (task) VALUES ('after')"));
        }
    }
}
