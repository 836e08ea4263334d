/* libpq itself: synchronous and asynchronous calls, pipeline mode, single-row mode, COPY, cancel requests. */

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "transcript.h"

static void attempt(const char *how, const char *root, const char *more)
{
    char all[1000];
    PGconn *session;

    snprintf(all, sizeof all, "%s%s %s", how, root, more);
    session = try_connect(all);
    if (PQstatus(session) == CONNECTION_OK)
        printf("in, tls %d, password %d\n", PQsslInUse(session), PQconnectionUsedPassword(session));
    else
        printf("%s", PQerrorMessage(session));
    PQfinish(session);
}

static void passwords(void)
{
    const char *root = getenv("BEMI_ROOT_CERT"), *wrong = getenv("BEMI_WRONG_ROOT_CERT");
    const char *verified = "sslmode=verify-full sslrootcert=";

    attempt("", "", "");
    attempt("", "", "password=wrong");
    attempt("", "", "user=nobody");
    attempt("", "", "dbname=nowhere");
    attempt("channel_binding=require", "", "");
    attempt("sslmode=require", "", "");
    attempt(verified, root, "");
    attempt(verified, root, "channel_binding=require");
    attempt(verified, root, "channel_binding=disable");
    attempt(verified, root, "password=wrong");
    attempt(verified, wrong, "");
}

static void values_in_text_and_binary(void)
{
    static const char *const types[][2] = {
        {"int2", "-32768"}, {"int4", "2147483647"}, {"int8", "-9223372036854775808"}, {"float4", "1.5"},
        {"float8", "-Infinity"}, {"numeric", "-12345678901234567890.01234567890"}, {"text", "it's \\ \xf0\x9f\x90\x98"},
        {"bytea", "\\x00ff27"}, {"bool", "t"}, {"date", "2024-02-29"}, {"time", "23:59:59.999999"},
        {"timestamptz", "2024-02-29 12:00:00+00"}, {"interval", "-3 days 00:00:07"},
        {"uuid", "00000000-0000-0000-0000-000000000007"}, {"json", "{\"a\": [1, null]}"}, {"jsonb", "{\"a\": [1, null]}"},
        {"int4[]", "{1,NULL,3}"}, {"text", NULL},
    };
    PGconn *session = connect_now();

    for (size_t at = 0; at < sizeof types / sizeof *types; at++) {
        char sql[100];
        PGresult *binary;

        snprintf(sql, sizeof sql, "SELECT $1::%s AS %s", types[at][0], at == 16 ? "list" : "value");
        with_parameters(session, sql, 1, &types[at][1]);
        binary = PQexecParams(session, sql, 1, NULL, &types[at][1], NULL, NULL, 1);
        for (int byte = 0; byte < PQgetlength(binary, 0, 0); byte++)
            printf("%02x", (unsigned char) PQgetvalue(binary, 0, 0)[byte]);
        printf("\n");
        PQclear(binary);
    }
    PQfinish(session);
}

static void a_thousand_times(void)
{
    PGconn *session = connect_now();
    long written = 0, read = 0;

    show(PQprepare(session, "put", "INSERT INTO todo (task) VALUES ($1) RETURNING length(task)", 0, NULL));
    show(PQprepare(session, "read", "SELECT length($1)", 0, NULL));
    show(PQdescribePrepared(session, "put"));
    for (int times = 0; times < 1000; times++) {
        char task[20];
        const char *values[] = {task};

        snprintf(task, sizeof task, "row %d", times);
        written += number(PQexecPrepared(session, "put", 1, values, NULL, NULL, 0));
        read += number(PQexecPrepared(session, "read", 1, values, NULL, NULL, 0));
    }
    printf("%ld %ld\n", written, read);
    run(session, "DELETE FROM todo WHERE task LIKE 'row %'");
    show(PQprepare(session, "put", "SELECT 1", 0, NULL));
    query(session, "DEALLOCATE put");
    show(PQexecPrepared(session, "put", 0, NULL, NULL, NULL, 0));
    PQfinish(session);
}

static void commits_and_savepoints(void)
{
    PGconn *session = connect_now();

    query(session, "BEGIN; INSERT INTO todo (task) VALUES ('kept'); SAVEPOINT one");
    query(session, "INSERT INTO todo (id) VALUES (1)");
    query(session, "INSERT INTO todo (task) VALUES ('in a failed one')");
    printf("%d\n", PQtransactionStatus(session));
    query(session, "ROLLBACK TO one; INSERT INTO todo (task) VALUES ('kept, too'); RELEASE one");
    query(session, "COMMIT AND CHAIN");
    query(session, "UPDATE todo SET task = 'undone'");
    query(session, "ROLLBACK");
    query(session, "INSERT INTO todo (task) VALUES ('implicit'); SELECT 1/0");
    query(session, "SELECT task FROM todo ORDER BY id");
    PQfinish(session);
}

static void insert(PGconn *session, const char *id)
{
    const char *values[] = {id};

    if (!PQsendQueryParams(session, "INSERT INTO todo (id, task) VALUES ($1, 'piped') RETURNING id", 1, NULL, values, NULL, NULL, 0))
        give_up("pipeline", PQerrorMessage(session));
}

static void pipelines(void)
{
    static const char *const ids[] = {"20001", "20002", "20001", "20003"};
    PGconn *session = connect_now();
    int syncs = 0;

    if (!PQenterPipelineMode(session))
        give_up("pipeline", PQerrorMessage(session));
    for (int at = 0; at < 4; at++)
        insert(session, ids[at]);
    PQpipelineSync(session);
    PQsendPrepare(session, "piped", "UPDATE todo SET done = true WHERE id = $1", 0, NULL);
    PQsendQueryPrepared(session, "piped", 1, ids, NULL, NULL, 0);
    PQsendDescribePrepared(session, "piped");
    insert(session, "20004");
    PQpipelineSync(session);
    insert(session, "20005");
    PQsendFlushRequest(session);
    insert(session, "20006");
    PQpipelineSync(session);
    while (syncs < 3) {
        PGresult *result = PQgetResult(session);
        syncs += PQresultStatus(result) == PGRES_PIPELINE_SYNC;
        show(result);
    }
    printf("%d\n", PQexitPipelineMode(session));
    query(session, "SELECT id, done FROM todo WHERE id > 20000 ORDER BY id");
    run(session, "DELETE FROM todo WHERE id > 20000");
    PQfinish(session);
}

static void put(PGconn *session, const char *sql, int rows, const char *problem)
{
    PGresult *result = PQexec(session, sql);

    if (PQresultStatus(result) != PGRES_COPY_IN)
        give_up(sql, PQerrorMessage(session));
    PQclear(result);
    for (int row = 0; row < rows; row++) {
        char line[40];
        int length = snprintf(line, sizeof line, "%d\tcopied %d\n", 30001 + row, row);

        if (PQputCopyData(session, line, length) != 1)
            give_up(sql, PQerrorMessage(session));
    }
    PQputCopyEnd(session, problem);
    while ((result = PQgetResult(session)) != NULL)
        show(result);
}

static void copies(void)
{
    PGconn *session = connect_now();
    char *data;
    int length;
    long bytes = 0;

    put(session, "COPY todo (id, task) FROM STDIN", 5000, NULL);
    put(session, "COPY todo (id, task) FROM STDIN", 1, NULL);
    put(session, "COPY todo (id, task) FROM STDIN", 0, "given up");
    put(session, "INSERT INTO todo (task) VALUES ('before'); COPY todo (id, task) FROM STDIN; SELECT 1", 0, NULL);
    PQclear(PQexec(session, "COPY (SELECT id, task FROM todo WHERE id > 30000 ORDER BY id) TO STDOUT"));
    while ((length = PQgetCopyData(session, &data, 0)) > 0) {
        bytes += length;
        PQfreemem(data);
    }
    show(PQgetResult(session));
    printf("%ld\n", bytes);
    PQclear(PQgetResult(session));
    run(session, "DELETE FROM todo WHERE id > 30000");
    PQfinish(session);
}

static void notifications(void)
{
    PGconn *session = connect_now();
    struct pollfd readable = {.fd = PQsocket(session), .events = POLLIN};
    PGnotify *heard = NULL;

    query(session, "LISTEN changed; DO $$ BEGIN RAISE WARNING 'careful'; END $$");
    query(session, "INSERT INTO todo (task) VALUES ('x'); NOTIFY changed, 'one'; NOTIFY changed, 'two'");
    for (int left = 2; left > 0;) {
        if ((heard = PQnotifies(session)) == NULL && poll(&readable, 1, 5000) == 1)
            PQconsumeInput(session);
        else if (heard == NULL)
            give_up("notify", "nothing came");
        else {
            printf("%s %s %d\n", heard->relname, heard->extra, heard->be_pid == PQbackendPID(session));
            PQfreemem(heard);
            left--;
        }
    }
    PQfinish(session);
}

/* What is cancelled before it sleeps goes on. */
static void *cancel_once_asleep(void *cancel)
{
    const char *asleep =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'";
    char problem[256];
    PGconn *other = connect_now();

    while (number(PQexec(other, asleep)) == 0)
        usleep(20 * 1000);
    PQfinish(other);
    if (!PQcancel(cancel, problem, sizeof problem))
        give_up("cancel", problem);
    return NULL;
}

static void cancelling(void)
{
    PGconn *session = connect_now();
    PGcancel *cancel = PQgetCancel(session);
    const char *values[] = {"60"};

    for (int extended = 0; extended < 2; extended++) {
        pthread_t thread;

        pthread_create(&thread, NULL, cancel_once_asleep, cancel);
        if (extended)
            with_parameters(session, "INSERT INTO todo (task) SELECT pg_sleep($1)::text", 1, values);
        else
            query(session, "INSERT INTO todo (task) SELECT pg_sleep(60)::text");
        pthread_join(thread, NULL);
    }
    query(session, "INSERT INTO todo (task) VALUES ('after')");
    PQfreeCancel(cancel);
    PQfinish(session);
}

static void errors_in_both_protocols(void)
{
    static const char *const statements[] = {
        "INSERT INTO todo (id) VALUES (1)", "INSERT INTO todo VALUES (9, 'é', mistake)", "UPDATE todo SET",
        "UPDATE todo SET id = 1 / (id - id)", "INSERT INTO nowhere VALUES (1)", "", "DELETE FROM todo WHERE id = 'x'",
    };
    PGconn *session = connect_now();

    for (size_t at = 0; at < sizeof statements / sizeof *statements; at++) {
        query(session, statements[at]);
        with_parameters(session, statements[at], 0, NULL);
    }
    query(session, "SELECT 1; INSERT INTO todo (task) VALUES ('undone'); INSERT INTO todo VALUES (9, mistake)");
    query(session, "INSERT INTO todo (task) VALUES ('undone'); SELECT mistake; UPDATE todo SET done = true");
    with_parameters(session, "SELECT 1; SELECT 2", 0, NULL);
    with_parameters(session, "INSERT INTO todo (id) VALUES ($1)", 0, NULL);
    PQfinish(session);
}

static void single_rows(void)
{
    PGconn *session = connect_now();
    PGresult *result;
    long rows = 0, sum = 0;

    PQsendQuery(session, "SELECT n, 'row ' || n FROM generate_series(1, 100000) AS n");
    PQsetSingleRowMode(session);
    while ((result = PQgetResult(session)) != NULL && PQresultStatus(result) == PGRES_SINGLE_TUPLE) {
        rows++;
        sum += number(result);
    }
    show(result);
    PQclear(PQgetResult(session));
    printf("%ld %ld\n", rows, sum);
    PQfinish(session);
}

static void contexts(void)
{
    PGconn *session = connect_now();

    for (int who = 1; who < 5; who++) {
        char context[60], id[20], sql[300];
        const char *values[] = {context}, *inserted[] = {id};

        snprintf(context, sizeof context, "{\"user_id\": %d}", who);
        snprintf(id, sizeof id, "%d", who);
        run(session, "BEGIN");
        with_parameters(session, "SELECT set_config('bemi.context', $1, true)", 1, values);
        with_parameters(session, "INSERT INTO todo (task, who) VALUES ('set_config', $1)", 1, inserted);
        run(session, "COMMIT");
        run(session, "INSERT INTO todo (task) VALUES ('of the session')");
        snprintf(sql, sizeof sql, "BEGIN; SET LOCAL bemi.context = '%s'; INSERT INTO todo (task, who) VALUES ('local', %d); COMMIT", context, who);
        query(session, sql);
        snprintf(sql, sizeof sql, "INSERT INTO todo (task, who) VALUES ('comment', $1) /*Bemi %s Bemi*/", context);
        with_parameters(session, sql, 1, inserted);
        snprintf(sql, sizeof sql, "SET bemi.context = '%s'", context);
        run(session, sql);
        query(session, "SHOW bemi.context");
        with_parameters(session, "INSERT INTO todo (task, who) VALUES ('set', $1)", 1, inserted);
        run(session, "RESET bemi.context");
    }
    PQfinish(session);
}

int main(void)
{
    static const struct {
        const char *heading;
        void (*scenario)(void);
    } all[] = {
        {"connect: passwords in the clear and over tls", passwords},
        {"types: values in text and binary", values_in_text_and_binary},
        {"prepared: one statement a thousand times", a_thousand_times},
        {"transaction: commits and savepoints", commits_and_savepoints},
        {"pipeline: pipeline mode", pipelines},
        {"copy: copies in and out", copies},
        {"notify: notifications and notices", notifications},
        {"cancel: a write is cancelled by another thread", cancelling},
        {"errors: in both protocols", errors_in_both_protocols},
        {"stream: single-row mode", single_rows},
        {"context: contexts of requests", contexts},
    };

    printf("! libpq %d.%d\n", PQlibVersion() / 10000, PQlibVersion() % 10000);
    for (size_t at = 0; at < sizeof all / sizeof *all; at++) {
        printf("# %s\n", all[at].heading);
        all[at].scenario();
    }
    return 0;
}
