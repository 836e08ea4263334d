package main

import (
	"context"
	"database/sql"
	"errors"
	"os"

	"bemi/clients/transcript"
	"github.com/lib/pq"
)

var (
	note = transcript.Note
	must = transcript.Must
)

// noteError prints what is the same from run to run in an error.
func noteError(err error) {
	var server *pq.Error
	switch {
	case err == nil:
		note("no error")
	case transcript.NoteUntrusted(err):
	case errors.As(err, &server):
		note(server.Severity, server.Code, server.Message, server.Detail, server.Hint, server.Position, server.Where, server.Constraint)
	default:
		note(err)
	}
}

// configure reads settings, over those of the environment; the context goes into the options of the session.
func configure(settings string) pq.Config {
	config, err := pq.NewConfig(settings)
	must(err)
	if transcript.Context != "" {
		config.Options = "-c bemi.context=" + transcript.Context
	}
	return config
}

// open makes a pool that keeps one session.
func open(settings string) *sql.DB {
	connector, err := pq.NewConnectorConfig(configure(settings))
	must(err)
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(1)
	return db
}

// with runs the work in each way that the driver has of sending parameters.
func with(work func(*sql.DB)) func() {
	return func() {
		for _, settings := range []string{"binary_parameters=no", "binary_parameters=yes"} {
			note(settings)
			db := open(settings)
			work(db)
			must(db.Close())
		}
	}
}

// overTLS are the settings of a session that verifies the server's certificate.
func overTLS(host, authority string) string {
	return "host=" + host + " sslmode=verify-full sslrootcert=" + os.Getenv(authority)
}

// rows reads all rows, each as a list of values, and the error at their end.
func rows(result *sql.Rows, err error) ([][]any, error) {
	if err != nil {
		return nil, err
	}
	defer result.Close()
	columns, err := result.Columns()
	must(err)
	var all [][]any
	for result.Next() {
		values := make([]any, len(columns))
		places := make([]any, len(columns))
		for index := range values {
			places[index] = &values[index]
		}
		must(result.Scan(places...))
		for index, value := range values {
			if text, ok := value.([]byte); ok {
				values[index] = string(text)
			}
		}
		all = append(all, values)
	}
	return all, result.Err()
}

// inTransaction commits what the work did, or rolls it back where it returns an error.
func inTransaction(db *sql.DB, options *sql.TxOptions, work func(*sql.Tx) error) error {
	tx, err := db.BeginTx(context.Background(), options)
	must(err)
	if err := work(tx); err != nil {
		must(tx.Rollback())
		return err
	}
	return tx.Commit()
}

// affected is how many rows a statement touched.
func affected(result sql.Result, err error) (int64, error) {
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}
