import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import javax.net.ssl.SSLException;
import org.postgresql.util.DriverInfo;
import org.postgresql.util.PSQLException;
import org.postgresql.util.ServerErrorMessage;

/** Prints what the driver sees, scenario by scenario. */
final class Transcript {
    interface Work {
        void run() throws Exception;
    }

    private final Map<String, String> everywhere;
    private boolean failed;

    /** Of a driver that is used with these properties. */
    Transcript(String driver, Map<String, String> everywhere) {
        this.everywhere = everywhere;
        System.out.println("! " + driver + " " + DriverInfo.DRIVER_VERSION);
    }

    /** A new session, with the context it starts with and these properties of the driver. */
    Connection connect(String... properties) throws SQLException {
        return connectTo(System.getenv("PGHOST"), System.getenv("PGDATABASE"), properties);
    }

    /** The same elsewhere. */
    Connection connectTo(String host, String database, String... properties) throws SQLException {
        Properties all = new Properties();
        all.putAll(everywhere);
        String context = System.getenv("BEMI_CONTEXT");
        if (context != null && !context.isEmpty()) {
            all.setProperty("options", "-c bemi.context=" + context);
        }
        all.setProperty("user", System.getenv("PGUSER"));
        all.setProperty("password", System.getenv("PGPASSWORD"));
        all.setProperty("sslmode", "disable");
        for (String property : properties) {
            String[] parts = property.split("=", 2);
            all.setProperty(parts[0], parts[1]);
        }
        return DriverManager.getConnection("jdbc:postgresql://" + host + ":" + System.getenv("PGPORT") + "/" + database, all);
    }

    static void note(Object... values) {
        List<String> shown = new ArrayList<>();
        for (Object value : values) {
            shown.add(String.valueOf(value).replace("\n", "\\n"));
        }
        System.out.println(shown);
    }

    /** Notes the error that the work ends with, and those behind it. */
    static void refused(Work work) throws Exception {
        try {
            work.run();
            note("no error");
        } catch (SQLException first) {
            for (SQLException error = first; error != null; error = error.getNextException()) {
                if (error.getCause() instanceof SSLException) {
                    note("the certificate is not trusted", error.getSQLState());
                    continue;
                }
                ServerErrorMessage server = error instanceof PSQLException ? ((PSQLException) error).getServerErrorMessage() : null;
                note(error.getClass().getSimpleName(), error.getSQLState(), error.getMessage(), server == null ? null : server.getPosition(),
                    server == null ? null : server.getDetail(), server == null ? null : server.getHint());
            }
        }
    }

    static List<List<Object>> rows(ResultSet result) throws SQLException {
        List<List<Object>> all = new ArrayList<>();
        while (result.next()) {
            List<Object> row = new ArrayList<>();
            for (int column = 1; column <= result.getMetaData().getColumnCount(); column++) {
                Object value = result.getObject(column);
                row.add(value instanceof byte[] ? HexFormat.of().formatHex((byte[]) value) : value);
            }
            all.add(row);
        }
        result.close();
        return all;
    }

    void scenario(String name, Work work) {
        System.out.println("# " + name);
        try {
            work.run();
        } catch (Exception problem) {
            failed = true;
            System.out.println("FAILED");
            System.err.println(name);
            problem.printStackTrace();
        }
    }

    void end() {
        System.out.flush();
        System.exit(failed ? 1 : 0);
    }
}
