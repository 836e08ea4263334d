import com.google.gson.Gson;
import com.google.gson.JsonObject;
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import com.zaxxer.hikari.HikariConfig;
import com.zaxxer.hikari.HikariDataSource;
import java.io.IOException;
import java.io.InputStreamReader;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.sql.Connection;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Executors;

/**
 * A to-do list with plain JDBC. Every row change carries who asked for it, and by which request: see {@link Transactions}.
 *
 * <pre>mvn compile && JDBC_DATABASE_URL=jdbc:postgresql://... java -cp 'target/classes:target/dependency/*' App</pre>
 */
public final class App {
    private record Todo(int id, String task, boolean done, Integer author) {}

    private static final class NotFound extends RuntimeException {}

    private static final Gson GSON = new Gson();

    private final Transactions transactions;

    private App(Transactions transactions) {
        this.transactions = transactions;
    }

    public static void main(String[] arguments) throws IOException {
        HikariConfig config = new HikariConfig();
        config.setJdbcUrl(System.getenv("JDBC_DATABASE_URL"));
        config.setMaximumPoolSize(Integer.parseInt(System.getenv().getOrDefault("POOL_SIZE", "10")));
        App app = new App(new Transactions(new HikariDataSource(config)));

        int port = Integer.parseInt(System.getenv().getOrDefault("PORT", "3000"));
        HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", port), 0);
        server.setExecutor(Executors.newFixedThreadPool(20));
        server.createContext("/todos", app::handle);
        server.start();
    }

    /** What a filter or an interceptor would do: a thread answers one request after the other, so it is cleared in the end. */
    private void handle(HttpExchange exchange) throws IOException {
        Map<String, Object> context = new HashMap<>();
        context.put("endpoint", exchange.getRequestURI().getPath());
        context.put("method", exchange.getRequestMethod());
        if (user(exchange) != null) {
            context.put("user_id", user(exchange));
        }
        Transactions.CURRENT.set(context);
        try {
            answer(exchange, 200, route(exchange));
        } catch (NotFound failure) {
            answer(exchange, 404, Map.of("error", "no such todo"));
        } catch (SQLException failure) {
            answer(exchange, 500, Map.of("error", failure.getMessage()));
        } finally {
            Transactions.CURRENT.remove();
            exchange.close();
        }
    }

    /** Your authentication goes here. */
    private static Integer user(HttpExchange exchange) {
        String user = exchange.getRequestHeaders().getFirst("X-User-Id");
        return user == null ? null : Integer.valueOf(user);
    }

    // From here on nothing knows of contexts.

    private Object route(HttpExchange exchange) throws IOException, SQLException {
        String path = exchange.getRequestURI().getPath();
        JsonObject body = GSON.fromJson(
                new InputStreamReader(exchange.getRequestBody(), StandardCharsets.UTF_8), JsonObject.class);
        Integer author = user(exchange);
        return switch (exchange.getRequestMethod() + " " + path.replaceFirst("[0-9]+$", "ID")) {
            case "POST /todos" -> transactions.run(db -> insert(db, body.get("task").getAsString(), author));
            case "POST /todos/import" -> transactions.run(db -> {
                List<Todo> todos = new ArrayList<>(); // all of them, or none
                for (var task : body.getAsJsonArray("tasks")) {
                    todos.add(insert(db, task.getAsString(), author));
                }
                return todos;
            });
            case "PATCH /todos/ID" -> transactions.run(db ->
                    one(db, "UPDATE todo SET done = ? WHERE id = ? RETURNING *", body.get("done").getAsBoolean(), id(path)));
            case "DELETE /todos/ID" -> transactions.run(db ->
                    one(db, "DELETE FROM todo WHERE id = ? RETURNING *", id(path)));
            default -> throw new NotFound();
        };
    }

    private static Todo insert(Connection db, String task, Integer author) throws SQLException {
        return one(db, "INSERT INTO todo (task, author) VALUES (?, ?) RETURNING *", task, author);
    }

    private static Todo one(Connection db, String sql, Object... values) throws SQLException {
        try (PreparedStatement statement = db.prepareStatement(sql)) {
            for (int index = 0; index < values.length; index++) {
                statement.setObject(index + 1, values[index]);
            }
            ResultSet row = statement.executeQuery();
            if (!row.next()) {
                throw new NotFound();
            }
            return new Todo(row.getInt("id"), row.getString("task"), row.getBoolean("done"),
                    row.getObject("author", Integer.class));
        }
    }

    private static int id(String path) {
        return Integer.parseInt(path.substring(path.lastIndexOf('/') + 1));
    }

    private static void answer(HttpExchange exchange, int status, Object body) throws IOException {
        byte[] bytes = GSON.toJson(body).getBytes(StandardCharsets.UTF_8);
        exchange.getResponseHeaders().set("Content-Type", "application/json");
        exchange.sendResponseHeaders(status, bytes.length);
        exchange.getResponseBody().write(bytes);
    }
}
