import java.util.Map;

/**
 * pgjdbc, in one of two ways: with statements that the server prepares at their first use and values that travel in binary, or with
 * nothing but the simple protocol.
 */
final class Suite {
    private Suite() {}

    public static void main(String[] arguments) {
        boolean simple = arguments.length > 0 && arguments[0].equals("simple");
        Map<String, String> properties = simple ? Map.of("preferQueryMode", "simple") : Map.of("prepareThreshold", "-1");
        Transcript transcript = new Transcript(simple ? "pgjdbc in simple mode" : "pgjdbc", properties);
        Statements statements = new Statements(transcript);
        Sessions sessions = new Sessions(transcript);
        transcript.scenario("connect: with a password, and over TLS", sessions::connections);
        transcript.scenario("types: parameters there and back", statements::types);
        transcript.scenario("prepared: an INSERT and a SELECT, again and again", statements::reuses);
        transcript.scenario("prepared: a plan that no longer fits", statements::alteredTable);
        for (String autosave : new String[] {"never", "conservative", "always"}) {
            transcript.scenario("transaction: with autosave " + autosave, () -> sessions.transactions(autosave));
        }
        transcript.scenario("transaction: function calls and large objects", sessions::functions);
        transcript.scenario("pipeline: batches", () -> statements.batches());
        transcript.scenario("pipeline: batches that the driver rewrites", () -> statements.batches("reWriteBatchedInserts=true"));
        if (!simple) {
            for (String mode : new String[] {"extended", "extendedForPrepared", "extendedCacheEverything"}) {
                String property = "preferQueryMode=" + mode;
                transcript.scenario("pipeline: batches in mode " + mode, () -> statements.batches(property, "prepareThreshold=5"));
                transcript.scenario("errors: in mode " + mode, () -> statements.errors(property, "prepareThreshold=5"));
            }
        }
        transcript.scenario("errors: of statements", () -> statements.errors());
        transcript.scenario("copy: in and out", sessions::copies);
        transcript.scenario("notify: notifications and warnings", sessions::notifications);
        transcript.scenario("cancel: a sleeping SELECT, and a write", sessions::cancelling);
        transcript.scenario("stream: many rows, by fetch size", sessions::streams);
        transcript.scenario("context: of requests", sessions::contexts);
        transcript.end();
    }
}
