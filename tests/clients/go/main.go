// pgx: five ways to run a statement, batches that are pipelines, pipelines proper, COPY in binary, nested transactions.
package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

var modes = []pgx.QueryExecMode{
	pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeDescribeExec,
	pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol,
}

func main() {
	code := 0
	for _, s := range []scenario{
		{"statements in every mode", statements}, {"batches in every mode", batches}, {"pipelines", pipelines},
		{"transactions and savepoints", transactions}, {"contexts of requests", contexts}, {"copies", copies},
		{"prepared statements", prepared}, {"notifications and cancelling", notifications},
	} {
		if !s.attempt() {
			code = 1
		}
	}
	os.Exit(code)
}

func statements(ctx context.Context) {
	for _, mode := range modes {
		connection := connect(func(c *pgx.ConnConfig) { c.DefaultQueryExecMode = mode })
		for number := range 3 {
			got, err := rows(connection.Query(ctx, "INSERT INTO todo (task, done) VALUES ($1, $2) RETURNING id, task",
				fmt.Sprint(mode, " é ", number), number == 1))
			must(err)
			note(mode, got)
		}
		tag, err := connection.Exec(ctx, "UPDATE todo SET done = $1 WHERE id < $2", true, 3)
		must(err)
		note(tag)
		_, err = connection.Exec(ctx, "INSERT INTO todo (id) VALUES ($1)", 1)
		noteError(err)
		_, err = connection.Exec(ctx, "INSERT INTO todo VALUES ($1, mistake)", 9)
		noteError(err)
		tag, err = connection.Exec(ctx, "INSERT INTO todo (task) VALUES ('a'); DELETE FROM todo WHERE task = 'a'")
		note(tag)
		noteError(err)
		got, err := rows(connection.Query(ctx, "SELECT id, task, done FROM todo WHERE id <> $1 ORDER BY id", 4))
		note(got)
		noteError(err)
		must(connection.Close(ctx))
	}
}

func batches(ctx context.Context) {
	for _, mode := range modes {
		connection := connect(func(c *pgx.ConnConfig) { c.DefaultQueryExecMode = mode })
		batch := &pgx.Batch{}
		for number := range 20 {
			batch.Queue("INSERT INTO todo (task) VALUES ($1) RETURNING task", fmt.Sprint("b", number))
			batch.Queue("SELECT $1::int + 1", number)
		}
		results := connection.SendBatch(ctx, batch)
		for range batch.Len() {
			note(rows(results.Query()))
		}
		must(results.Close())
		failing := &pgx.Batch{}
		failing.Queue("INSERT INTO todo (task) VALUES ($1)", "undone")
		failing.Queue("INSERT INTO todo (id) VALUES ($1)", 1)
		failing.Queue("INSERT INTO todo (task) VALUES ($1)", "never")
		noteError(connection.SendBatch(ctx, failing).Close())
		note(rows(connection.Query(ctx, "SELECT count(*) FROM todo WHERE task IN ($1, $2)", "undone", "never")))
		block := &pgx.Batch{}
		block.Queue("BEGIN")
		block.Queue("UPDATE todo SET task = $1 WHERE id = 1", "block")
		block.Queue("ROLLBACK")
		block.Queue("UPDATE todo SET done = $1 WHERE id = 1", false)
		noteError(connection.SendBatch(ctx, block).Close())
		must(connection.Close(ctx))
	}
}

func pipelines(ctx context.Context) {
	connection := connect()
	pipeline := connection.PgConn().StartPipeline(ctx)
	insert := func(task string) {
		pipeline.SendQueryParams("INSERT INTO todo (task) VALUES ($1) RETURNING task", [][]byte{[]byte(task)}, nil, nil, nil)
	}
	pipeline.SendPrepare("named", "UPDATE todo SET done = $1 WHERE id = 1", nil)
	insert("one")
	pipeline.SendFlushRequest()
	pipeline.SendQueryPrepared("named", [][]byte{[]byte("true")}, nil, nil)
	must(pipeline.Sync())
	insert("two")
	pipeline.SendQueryParams("SELECT 1/0", nil, nil, nil, nil)
	insert("skipped")
	must(pipeline.Sync())
	insert("three")
	must(pipeline.Sync())
	for {
		result, err := pipeline.GetResults()
		if result == nil && err == nil {
			break
		}
		if err != nil {
			noteError(err)
			continue
		}
		switch result := result.(type) {
		case *pgconn.ResultReader:
			read := result.Read()
			note(read.Rows, read.CommandTag)
			noteError(read.Err)
		case *pgconn.StatementDescription:
			note(result.SQL, result.ParamOIDs)
		default:
			note(fmt.Sprintf("%T", result))
		}
	}
	noteError(pipeline.Close())
	note(rows(connection.Query(ctx, "SELECT task FROM todo WHERE task IN ('one', 'two', 'skipped', 'three') ORDER BY id")))
	must(connection.Close(ctx))
}

func transactions(ctx context.Context) {
	connection := connect()
	must(pgx.BeginFunc(ctx, connection, func(outer pgx.Tx) error {
		_, err := outer.Exec(ctx, "INSERT INTO todo (task) VALUES ($1)", "kept")
		must(err)
		noteError(pgx.BeginFunc(ctx, outer, func(inner pgx.Tx) error {
			_, err := inner.Exec(ctx, "INSERT INTO todo (task) VALUES ($1)", "undone")
			must(err)
			_, err = inner.Exec(ctx, "INSERT INTO todo (id) VALUES ($1)", 1)
			return err
		}))
		_, err = outer.Exec(ctx, "INSERT INTO todo (task) VALUES ($1)", "kept, too")
		return err
	}))
	noteError(pgx.BeginTxFunc(ctx, connection, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "UPDATE todo SET done = $1", true)
		return err
	}))
	tx, err := connection.Begin(ctx)
	must(err)
	_, err = tx.Exec(ctx, "SELECT 1/0")
	noteError(err)
	_, err = tx.Exec(ctx, "INSERT INTO todo (task) VALUES ('in a failed one')")
	noteError(err)
	noteError(tx.Commit(ctx))
	must(connection.Close(ctx))
}

func contexts(ctx context.Context) {
	pool := connectPool()
	defer pool.Close()
	for who := 1; who <= 4; who++ {
		value := fmt.Sprintf(`{"user_id":%d,"name":"Zoë"}`, who)
		must(pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
			batch := &pgx.Batch{}
			batch.Queue("SELECT set_config('bemi.context', $1, true)", value)
			batch.Queue("INSERT INTO todo (task, who) VALUES ($1, $2)", "local", who)
			batch.Queue("UPDATE todo SET who = $1 WHERE id = 1", who)
			return tx.SendBatch(ctx, batch).Close()
		}))
		connection, err := pool.Acquire(ctx)
		must(err)
		session := &pgx.Batch{}
		session.Queue("UPDATE todo SET who = NULL WHERE id = 1")
		session.Queue("SELECT set_config('bemi.context', concat('{\"user_id\":', $1::int + 10, '}'), false)", who)
		session.Queue("INSERT INTO todo (task, who) VALUES ($1, $2)", "computed", who+10)
		session.Queue("RESET bemi.context")
		session.Queue("INSERT INTO todo (task) VALUES ($1)", "after")
		must(connection.SendBatch(ctx, session).Close())
		_, err = connection.Exec(ctx, fmt.Sprintf(`/*Bemi {"user_id": %d} Bemi*/ INSERT INTO todo (task, who) VALUES ($1, $2)`, who), "comment", who)
		must(err)
		connection.Release()
	}
}

func copies(ctx context.Context) {
	connection := connect()
	columns := []string{"id", "task"}
	source := func(from, to int) pgx.CopyFromSource {
		next := from
		return pgx.CopyFromFunc(func() ([]any, error) {
			next++
			if next > to {
				return nil, nil
			}
			return []any{next, fmt.Sprint("copied ", next)}, nil
		})
	}
	note(connection.CopyFrom(ctx, pgx.Identifier{"todo"}, columns, source(50000, 53000)))
	_, err := connection.CopyFrom(ctx, pgx.Identifier{"todo"}, columns, source(0, 10))
	noteError(err)
	var out strings.Builder
	tag, err := connection.PgConn().CopyTo(ctx, &out, "COPY (SELECT id FROM todo WHERE id > 50000 ORDER BY id) TO STDOUT")
	note(tag, out.Len())
	noteError(err)
	tag, err = connection.PgConn().CopyFrom(ctx, strings.NewReader("60000\ttext\n"), "COPY todo (id, task) FROM STDIN")
	note(tag)
	noteError(err)
	tag, err = connection.Exec(ctx, "DELETE FROM todo WHERE id > $1", 50000)
	note(tag)
	noteError(err)
	must(connection.Close(ctx))
}

func prepared(ctx context.Context) {
	connection := connect()
	_, err := connection.Prepare(ctx, "put", "INSERT INTO todo (task) VALUES ($1) RETURNING task")
	must(err)
	list := "SELECT name, statement FROM pg_prepared_statements ORDER BY name"
	for range 3 {
		note(rows(connection.Query(ctx, "put", "x")))
		note(rows(connection.Query(ctx, list, pgx.QueryExecModeSimpleProtocol)))
		note(rows(connection.Query(ctx, list, pgx.QueryExecModeExec)))
	}
	must(connection.DeallocateAll(ctx))
	note(rows(connection.Query(ctx, "UPDATE todo SET done = $1 WHERE id = 2 RETURNING id", true)))
	must(connection.Deallocate(ctx, "never there"))
	note(rows(connection.Query(ctx, list, pgx.QueryExecModeSimpleProtocol)))
	must(connection.Close(ctx))
}

func notifications(ctx context.Context) {
	notices := []string{}
	connection := connect(func(c *pgx.ConnConfig) {
		c.OnNotice = func(_ *pgconn.PgConn, notice *pgconn.Notice) { notices = append(notices, notice.Message) }
	})
	_, err := connection.Exec(ctx, "LISTEN changed; INSERT INTO todo (task) VALUES ('x'); NOTIFY changed, 'payload'")
	must(err)
	heard, err := connection.WaitForNotification(ctx)
	must(err)
	note(heard.Channel, heard.Payload)
	_, err = connection.Exec(ctx, "DO $$ BEGIN RAISE WARNING 'careful'; END $$")
	must(err)
	note(notices)
	go func() {
		time.Sleep(300 * time.Millisecond)
		must(connection.PgConn().CancelRequest(ctx))
	}()
	_, err = connection.Exec(ctx, "INSERT INTO todo (task) SELECT pg_sleep($1)::text", 60)
	noteError(err)
	_, err = connection.Exec(ctx, "INSERT INTO todo (task) VALUES ($1)", "after")
	noteError(err)
	must(connection.Close(ctx))
}
