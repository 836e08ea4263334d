#include "transcript.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Noreturn void give_up(const char *what, const char *why)
{
    printf("FAILED\n");
    fflush(stdout);
    fprintf(stderr, "%s: %s\n", what, why);
    exit(1);
}

PGconn *try_connect(const char *more)
{
    const char *context = getenv("BEMI_CONTEXT");
    char options[300] = "", all[2000];

    if (context != NULL && *context != '\0')
        snprintf(options, sizeof options, "options='-c bemi.context=%s'", context);
    snprintf(all, sizeof all, "%s %s", options, more);
    return PQconnectdb(all);
}

static void show_notice(void *unused, const PGresult *notice)
{
    (void) unused;
    printf("notice %s", PQresultErrorMessage(notice));
}

PGconn *connect_now(void)
{
    PGconn *session = try_connect("");

    if (PQstatus(session) != CONNECTION_OK)
        give_up("connect", PQerrorMessage(session));
    PQsetNoticeReceiver(session, show_notice, NULL);
    return session;
}

static void show_error(const PGresult *result)
{
    static const int fields[] = {
        PG_DIAG_SEVERITY_NONLOCALIZED, PG_DIAG_SQLSTATE, PG_DIAG_MESSAGE_PRIMARY, PG_DIAG_MESSAGE_DETAIL,
        PG_DIAG_MESSAGE_HINT, PG_DIAG_STATEMENT_POSITION, PG_DIAG_CONTEXT, PG_DIAG_TABLE_NAME, PG_DIAG_CONSTRAINT_NAME,
    };

    for (size_t at = 0; at < sizeof fields / sizeof *fields; at++) {
        const char *value = PQresultErrorField(result, fields[at]);
        printf(" %c=%s", fields[at], value == NULL ? "-" : value);
    }
    printf("\n%s", PQresultErrorMessage(result));
}

void show(PGresult *result)
{
    if (result == NULL) {
        printf("nothing\n");
        return;
    }
    printf("%s %s", PQresStatus(PQresultStatus(result)), PQcmdStatus(result));
    if (PQresultStatus(result) == PGRES_FATAL_ERROR)
        show_error(result);
    for (int row = 0; row < PQntuples(result); row++) {
        for (int column = 0; column < PQnfields(result); column++) {
            const char *value = PQgetisnull(result, row, column) ? "NULL" : PQgetvalue(result, row, column);
            printf("%s%s:%u=%s", column == 0 ? "\n  " : " | ", PQfname(result, column), PQftype(result, column), value);
        }
    }
    printf("\n");
    PQclear(result);
}

void query(PGconn *session, const char *sql)
{
    PGresult *result;

    if (!PQsendQuery(session, sql))
        give_up(sql, PQerrorMessage(session));
    while ((result = PQgetResult(session)) != NULL)
        show(result);
}

void run(PGconn *session, const char *sql)
{
    PGresult *result = PQexec(session, sql);

    if (PQresultStatus(result) != PGRES_COMMAND_OK && PQresultStatus(result) != PGRES_TUPLES_OK)
        give_up(sql, PQerrorMessage(session));
    PQclear(result);
}

void with_parameters(PGconn *session, const char *sql, int count, const char *const *values)
{
    show(PQexecParams(session, sql, count, NULL, values, NULL, NULL, 0));
}

long number(PGresult *result)
{
    long found;

    if (PQresultStatus(result) != PGRES_TUPLES_OK && PQresultStatus(result) != PGRES_SINGLE_TUPLE)
        give_up("a number", PQresultErrorMessage(result));
    found = atol(PQgetvalue(result, 0, 0));
    PQclear(result);
    return found;
}
