import com.google.gson.Gson;
import java.sql.Connection;
import java.sql.PreparedStatement;
import java.sql.SQLException;
import java.util.Map;
import javax.sql.DataSource;

/**
 * Runs work in a transaction that carries the context of the request of this thread, as a TransactionTemplate of Spring would.
 *
 * <p>The setting belongs to the transaction and ends with it, committed or not: the next one that gets the connection from the
 * pool finds nothing, also when this one fails.
 */
final class Transactions {
    interface Work<T> {
        T run(Connection connection) throws SQLException;
    }

    /** What is known of the request that this thread answers. */
    static final ThreadLocal<Map<String, Object>> CURRENT = ThreadLocal.withInitial(Map::of);

    private static final Gson GSON = new Gson();

    private final DataSource pool;

    Transactions(DataSource pool) {
        this.pool = pool;
    }

    <T> T run(Work<T> work) throws SQLException {
        try (Connection connection = pool.getConnection()) {
            connection.setAutoCommit(false);
            try {
                setContext(connection);
                T result = work.run(connection);
                connection.commit();
                return result;
            } catch (SQLException | RuntimeException failure) {
                connection.rollback();
                throw failure;
            }
        }
    }

    private static void setContext(Connection connection) throws SQLException {
        String sql = "SELECT set_config('bemi.context', ?, true)";
        try (PreparedStatement statement = connection.prepareStatement(sql)) {
            statement.setString(1, GSON.toJson(CURRENT.get()));
            statement.execute();
        }
    }
}
