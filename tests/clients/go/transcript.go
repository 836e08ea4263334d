package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// sessionContext is what the sessions start with, or nothing.
var sessionContext = os.Getenv("BEMI_CONTEXT")

// note prints what was seen.
func note(values ...any) {
	for _, value := range values {
		fmt.Printf("%q ", fmt.Sprint(value))
	}
	fmt.Println()
}

// noteError prints what is the same from run to run in an error.
func noteError(err error) {
	var server *pgconn.PgError
	switch {
	case err == nil:
		note("no error")
	case errors.As(err, &server):
		note(server.Severity, server.Code, server.Message, server.Detail, server.Position, server.Where, server.ConstraintName)
	default:
		note(err)
	}
}

// must ends the scenario where an error means that the suite itself is wrong.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

// connect starts a session; its context is a parameter of its own in the startup packet.
func connect(adjust ...func(*pgx.ConnConfig)) *pgx.Conn {
	config, err := pgx.ParseConfig("")
	must(err)
	if sessionContext != "" {
		config.RuntimeParams["bemi.context"] = sessionContext
	}
	for _, change := range adjust {
		change(config)
	}
	connection, err := pgx.ConnectConfig(context.Background(), config)
	must(err)
	return connection
}

func connectPool() *pgxpool.Pool {
	config, err := pgxpool.ParseConfig("pool_max_conns=2")
	must(err)
	if sessionContext != "" {
		config.ConnConfig.RuntimeParams["bemi.context"] = sessionContext
	}
	pool, err := pgxpool.NewWithConfig(context.Background(), config)
	must(err)
	return pool
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

type scenario struct {
	name string
	run  func(context.Context)
}

// run runs a scenario and says whether it came to its end.
func (s scenario) attempt() (done bool) {
	defer func() {
		if problem := recover(); problem != nil {
			fmt.Println("FAILED")
			fmt.Fprintln(os.Stderr, s.name, problem)
		}
	}()
	fmt.Println("#", s.name)
	s.run(context.Background())
	return true
}
