import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.util.ArrayList;
import java.util.List;
import java.util.Properties;
import org.postgresql.util.PSQLException;
import org.postgresql.util.ServerErrorMessage;

/** Prints what the driver sees, scenario by scenario. */
final class Transcript {
    interface Work {
        void run() throws Exception;
    }

    private boolean failed;

    /** A new session, with the context it starts with and these properties of the driver. */
    static Connection connect(String... properties) throws SQLException {
        Properties all = new Properties();
        String context = System.getenv("BEMI_CONTEXT");
        if (context != null && !context.isEmpty()) {
            all.setProperty("options", "-c bemi.context=" + context);
        }
        all.setProperty("user", System.getenv("PGUSER"));
        all.setProperty("sslmode", "disable");
        for (String property : properties) {
            String[] parts = property.split("=", 2);
            all.setProperty(parts[0], parts[1]);
        }
        String place = System.getenv("PGHOST") + ":" + System.getenv("PGPORT") + "/" + System.getenv("PGDATABASE");
        return DriverManager.getConnection("jdbc:postgresql://" + place, all);
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
                ServerErrorMessage server = error instanceof PSQLException ? ((PSQLException) error).getServerErrorMessage() : null;
                note(error.getClass().getSimpleName(), error.getSQLState(), error.getMessage(), server == null ? null : server.getPosition());
            }
        }
    }

    static List<List<Object>> rows(ResultSet result) throws SQLException {
        List<List<Object>> all = new ArrayList<>();
        while (result.next()) {
            List<Object> row = new ArrayList<>();
            for (int column = 1; column <= result.getMetaData().getColumnCount(); column++) {
                row.add(result.getObject(column));
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
