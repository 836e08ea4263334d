import java.io.StringReader;
import java.io.StringWriter;
import java.sql.CallableStatement;
import java.sql.Connection;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Savepoint;
import java.sql.Statement;
import java.sql.Types;
import org.postgresql.PGConnection;
import org.postgresql.PGNotification;
import org.postgresql.copy.CopyManager;
import org.postgresql.largeobject.LargeObject;
import org.postgresql.largeobject.LargeObjectManager;

/** What sessions do: transactions, copies, notifications, streams, and the contexts of their requests. */
final class Sessions {
    /** Has a row once somebody sleeps in this database: what is cancelled earlier goes on. */
    private static final String ASLEEP =
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'";

    private final Transcript transcript;

    Sessions(Transcript transcript) {
        this.transcript = transcript;
    }

    void connections() throws Exception {
        String host = System.getenv("PGHOST");
        String database = System.getenv("PGDATABASE");
        String authority = "sslrootcert=" + System.getenv("BEMI_ROOT_CERT");
        String stranger = "sslrootcert=" + System.getenv("BEMI_WRONG_ROOT_CERT");
        whoAmI(host, database);
        Transcript.refused(() -> whoAmI(host, database, "password=wrong"));
        Transcript.refused(() -> whoAmI(host, "nowhere"));
        whoAmI("localhost", database, "sslmode=verify-full", authority);
        whoAmI("127.0.0.1", database, "sslmode=verify-full", authority);
        Transcript.refused(() -> whoAmI(host, database, "sslmode=verify-full", authority, "password=wrong"));
        Transcript.refused(() -> whoAmI(host, database, "sslmode=verify-full", stranger));
    }

    private void whoAmI(String host, String database, String... properties) throws SQLException {
        try (Connection connection = transcript.connectTo(host, database, properties);
                Statement statement = connection.createStatement()) {
            Transcript.note(Transcript.rows(statement.executeQuery("SELECT session_user::text")));
        }
    }

    void transactions(String autosave) throws Exception {
        try (Connection connection = transcript.connect("autosave=" + autosave);
                PreparedStatement insert = connection.prepareStatement("INSERT INTO todo (task, done) VALUES (?, ?)");
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
            Transcript.note(Transcript.rows(statement.executeQuery("SELECT count(*) FROM todo WHERE task LIKE 'kept%'")));
            connection.commit();
        }
    }

    void streams() throws Exception {
        try (Connection connection = transcript.connect("defaultRowFetchSize=1000");
                Statement statement = connection.createStatement()) {
            connection.setAutoCommit(false);
            long rows = 0;
            long sum = 0;
            try (ResultSet many = statement.executeQuery("SELECT n, md5(n::text) AS digest FROM generate_series(1, 100000) AS n")) {
                while (many.next()) {
                    rows++;
                    sum += many.getInt(1) + Integer.parseInt(many.getString(2).substring(0, 4), 16);
                }
            }
            Transcript.note(rows, sum);
            statement.setFetchSize(7);
            String insert = "INSERT INTO todo (task) SELECT 'f' || n FROM generate_series(1, 30) AS n RETURNING id";
            Transcript.note(Transcript.rows(statement.executeQuery(insert)).size());
            try (ResultSet left = statement.executeQuery("SELECT n FROM generate_series(1, 100) AS n")) {
                left.next();
            }
            statement.executeUpdate("DELETE FROM todo WHERE task LIKE 'f%'");
            connection.commit();
        }
    }

    void contexts() throws Exception {
        try (Connection connection = transcript.connect();
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
                statement.execute("SET LOCAL bemi.context = '{\"user_id\": " + (who + 10) + "}'");
                insert.setInt(2, who + 10);
                insert.executeUpdate();
                connection.commit();
                insert.setInt(2, who);
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

    void copies() throws Exception {
        try (Connection connection = transcript.connect(); Statement statement = connection.createStatement()) {
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

    void functions() throws Exception {
        try (Connection connection = transcript.connect(); Statement statement = connection.createStatement()) {
            // In simple mode the driver leaves the place of the result among the arguments.
            Transcript.refused(() -> {
                try (CallableStatement call = connection.prepareCall("{? = call upper(?)}")) {
                    call.registerOutParameter(1, Types.VARCHAR);
                    call.setString(2, "called");
                    call.execute();
                    Transcript.note(call.getString(1));
                }
            });
            connection.setAutoCommit(false);
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

    void notifications() throws Exception {
        try (Connection connection = transcript.connect(); Statement statement = connection.createStatement()) {
            statement.execute("LISTEN changed");
            statement.execute("INSERT INTO todo (task) VALUES ('x'); NOTIFY changed, 'payload'; DROP TABLE IF EXISTS nowhere");
            Transcript.note(statement.getWarnings());
            for (PGNotification heard : connection.unwrap(PGConnection.class).getNotifications(5000)) {
                Transcript.note(heard.getName(), heard.getParameter());
            }
        }
    }

    void cancelling() throws Exception {
        try (Connection connection = transcript.connect(); Statement statement = connection.createStatement()) {
            statement.setQueryTimeout(1);
            Transcript.refused(() -> statement.execute("SELECT pg_sleep(60)"));
            statement.setQueryTimeout(0);
            Thread canceller = new Thread(() -> {
                try (Connection other = transcript.connect(); Statement watch = other.createStatement()) {
                    while (Transcript.rows(watch.executeQuery(ASLEEP)).isEmpty()) {
                        Thread.onSpinWait();
                    }
                    statement.cancel();
                } catch (SQLException problem) {
                    throw new IllegalStateException(problem);
                }
            });
            canceller.start();
            Transcript.refused(() -> statement.executeUpdate("INSERT INTO todo (task) SELECT pg_sleep(60)::text"));
            canceller.join();
            Transcript.note(statement.executeUpdate("INSERT INTO todo (task) VALUES ('after')"));
        }
    }
}
