/* Prints what libpq sees, scenario by scenario. */
#ifndef TRANSCRIPT_H
#define TRANSCRIPT_H

#include <libpq-fe.h>

/* Ends the suite: it is wrong itself. */
_Noreturn void give_up(const char *what, const char *why);

/* A new session; `more` is put behind what the environment says, and may be "". It may be a failed one. */
PGconn *try_connect(const char *more);

/* As try_connect, but it has to succeed. */
PGconn *connect_now(void);

/* Prints status, tag, rows and error of a result, and frees it. */
void show(PGresult *result);

/* Runs a simple query, and shows all of its results. */
void query(PGconn *session, const char *sql);

/* As query, shows nothing, and has to succeed. */
void run(PGconn *session, const char *sql);

/* A statement with parameters in text, in the extended protocol. */
void with_parameters(PGconn *session, const char *sql, int count, const char *const *values);

/* Runs a statement whose first column of its only row is a number. */
long number(PGresult *result);

#endif
