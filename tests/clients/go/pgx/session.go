package main

import (
	"errors"
	"os"

	"bemi/clients/transcript"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

var (
	note = transcript.Note
	must = transcript.Must
)

// noteError prints what is the same from run to run in an error.
func noteError(err error) {
	var server *pgconn.PgError
	switch {
	case err == nil:
		note("no error")
	case transcript.NoteUntrusted(err):
	case errors.As(err, &server):
		note(server.Severity, server.Code, server.Message, server.Detail, server.Hint, server.Position, server.Where, server.ConstraintName)
	default:
		note(err)
	}
}

// tryToConnect starts a session; its context is a parameter of its own in the startup packet.
func tryToConnect(settings string, adjust ...func(*pgx.ConnConfig)) (*pgx.Conn, error) {
	config, err := pgx.ParseConfig(settings)
	must(err)
	if transcript.Context != "" {
		config.RuntimeParams["bemi.context"] = transcript.Context
	}
	for _, change := range adjust {
		change(config)
	}
	return pgx.ConnectConfig(background, config)
}

func connect(adjust ...func(*pgx.ConnConfig)) *pgx.Conn {
	connection, err := tryToConnect("", adjust...)
	must(err)
	return connection
}

// connectPool makes a pool whose sessions start with the context in their options.
func connectPool() *pgxpool.Pool {
	config, err := pgxpool.ParseConfig("pool_max_conns=2")
	must(err)
	if transcript.Context != "" {
		config.ConnConfig.RuntimeParams["options"] = "-c bemi.context=" + transcript.Context
	}
	pool, err := pgxpool.NewWithConfig(background, config)
	must(err)
	return pool
}

// overTLS are the settings of a session that verifies the server's certificate.
func overTLS(host, authority string) string {
	return "host=" + host + " sslmode=verify-full sslrootcert=" + os.Getenv(authority)
}

// rows reads all rows, each as a list of values, and the error at their end.
func rows(result pgx.Rows, err error) ([][]any, error) {
	if err != nil {
		return nil, err
	}
	defer result.Close()
	var all [][]any
	for result.Next() {
		values, err := result.Values()
		if err != nil {
			return all, err
		}
		all = append(all, values)
	}
	return all, result.Err()
}
