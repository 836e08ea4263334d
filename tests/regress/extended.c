/*
 * Loaded into psql and isolationtester ahead of libpq: whatever they send as a simple Query goes out as Parse, Bind,
 * Execute and Sync instead.
 */
#include <libpq-fe.h>

int
PQsendQuery(PGconn *connection, const char *query)
{
    return PQsendQueryParams(connection, query, 0, NULL, NULL, NULL, NULL, 0);
}
