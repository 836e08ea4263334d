// pgx: five ways to run a statement, batches that are pipelines, pipelines proper, COPY in binary, nested transactions.
package main

import (
	"context"
	"fmt"
	"strings"

	"bemi/clients/transcript"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

var modes = []pgx.QueryExecMode{
	pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeDescribeExec,
	pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol,
}

// background is for calls that nothing ends early.
var background = context.Background()

func main() {
	transcript.Main("pgx", "github.com/jackc/pgx/v5", nil, []transcript.Scenario{
		{Name: "connect: with a password, and over TLS", Run: connections},
		{Name: "types: parameters there and back, in every mode", Run: types},
		{Name: "prepared: again and again", Run: reuses},
		{Name: "prepared: what the server lists", Run: prepared},
		{Name: "transaction: committed, rolled back, and back to a savepoint", Run: transactions},
		{Name: "pipeline: batches in every mode", Run: batches},
		{Name: "pipeline: of the connection itself", Run: pipelines},
		{Name: "copy: in and out", Run: copies},
		{Name: "notify: a notification and a notice", Run: notifications},
		{Name: "cancel: a sleeping SELECT, and a write", Run: cancelling},
		{Name: "errors: of statements in every mode", Run: statements},
		{Name: "stream: many rows, and a cursor", Run: streams},
		{Name: "context: of requests", Run: contexts},
	})
}

func connections() {
	for _, settings := range []string{"", "password=wrong", "dbname=nowhere", overTLS("localhost", "BEMI_ROOT_CERT"),
		overTLS("127.0.0.1", "BEMI_ROOT_CERT"), overTLS("localhost", "BEMI_WRONG_ROOT_CERT"),
		overTLS("localhost", "BEMI_ROOT_CERT") + " password=wrong"} {
		connection, err := tryToConnect(settings)
		noteError(err)
		if err == nil {
			note(rows(connection.Query(background, "SELECT session_user::text")))
			must(connection.Close(background))
		}
	}
}

func types() {
	connection := connect()
	_, err := connection.Exec(background, transcript.Kinds)
	must(err)
	must(connection.Close(background))
	one, minus := int32(1), int32(-3)
	quoted, accented := `a,"b"`, "é"
	values := transcript.Values([]*int32{&one, nil, &minus}, []*string{&quoted, nil, &accented})
	for index, mode := range modes {
		connection := connect(func(c *pgx.ConnConfig) { c.DefaultQueryExecMode = mode })
		note(mode)
		note(rows(connection.Query(background, transcript.PutKinds, append([]any{index}, values...)...)))
		note(rows(connection.Query(background, transcript.PutKinds, append([]any{index + 10}, make([]any, len(values))...)...)))
		note(rows(connection.Query(background, "UPDATE kinds SET t = repeat($1, 200000) WHERE id = $2 RETURNING length(t)", "long ", index)))
		must(connection.Close(background))
	}
}

func reuses() {
	connection := connect()
	_, err := connection.Prepare(background, "put", "INSERT INTO todo (task, done) VALUES ($1, $2) RETURNING id")
	must(err)
	sum := 0
	for number := range transcript.Reuses {
		var id int
		var task string
		must(connection.QueryRow(background, "put", fmt.Sprint("p", number), number%2 == 0).Scan(&id))
		must(connection.QueryRow(background, "SELECT task FROM todo WHERE id = $1", id).Scan(&task))
		if task == fmt.Sprint("p", number) {
			sum += id
		}
	}
	note(sum)
	must(connection.Close(background))
}

func statements() {
	for _, mode := range modes {
		connection := connect(func(c *pgx.ConnConfig) { c.DefaultQueryExecMode = mode })
		for number := range 3 {
			got, err := rows(connection.Query(background, "INSERT INTO todo (task, done) VALUES ($1, $2) RETURNING id, task",
				fmt.Sprint(mode, " é ", number), number == 1))
			must(err)
			note(mode, got)
		}
		tag, err := connection.Exec(background, "UPDATE todo SET done = $1 WHERE id < $2", true, 3)
		must(err)
		note(tag)
		_, err = connection.Exec(background, "INSERT INTO todo (id) VALUES ($1)", 1)
		noteError(err)
		_, err = connection.Exec(background, "INSERT INTO todo VALUES ($1, mistake)", 9)
		noteError(err)
		tag, err = connection.Exec(background, "INSERT INTO todo (task) VALUES ('a'); DELETE FROM todo WHERE task = 'a'")
		note(tag)
		noteError(err)
		got, err := rows(connection.Query(background, "SELECT id, task, done FROM todo WHERE id <> $1 ORDER BY id LIMIT 7", 4))
		note(got)
		noteError(err)
		_, err = connection.Exec(background, "/* é */ UPDATE todo SET done = true; DELETE FROM todo WHERE 'é' = mistake")
		noteError(err)
		_, err = connection.Exec(background, "INSERT INTO todo (id) VALUES ($1::text::int)", "no number")
		noteError(err)
		must(connection.Close(background))
	}
}

func batches() {
	for _, mode := range modes {
		connection := connect(func(c *pgx.ConnConfig) { c.DefaultQueryExecMode = mode })
		batch := &pgx.Batch{}
		for number := range 20 {
			batch.Queue("INSERT INTO todo (task) VALUES ($1) RETURNING task", fmt.Sprint("b", number))
			batch.Queue("SELECT $1::int + 1", number)
		}
		results := connection.SendBatch(background, batch)
		for range batch.Len() {
			note(rows(results.Query()))
		}
		must(results.Close())
		failing := &pgx.Batch{}
		failing.Queue("INSERT INTO todo (task) VALUES ($1)", "undone")
		failing.Queue("INSERT INTO todo (id) VALUES ($1)", 1)
		failing.Queue("INSERT INTO todo (task) VALUES ($1)", "never")
		noteError(connection.SendBatch(background, failing).Close())
		note(rows(connection.Query(background, "SELECT count(*) FROM todo WHERE task IN ($1, $2)", "undone", "never")))
		block := &pgx.Batch{}
		block.Queue("BEGIN")
		block.Queue("UPDATE todo SET task = $1 WHERE id = 1", "block")
		block.Queue("ROLLBACK")
		block.Queue("UPDATE todo SET done = $1 WHERE id = 1", false)
		noteError(connection.SendBatch(background, block).Close())
		must(connection.Close(background))
	}
}

func pipelines() {
	connection := connect()
	pipeline := connection.PgConn().StartPipeline(background)
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
	note(rows(connection.Query(background, "SELECT task FROM todo WHERE task IN ('one', 'two', 'skipped', 'three') ORDER BY id")))
	must(connection.Close(background))
}

func transactions() {
	connection := connect()
	must(pgx.BeginFunc(background, connection, func(outer pgx.Tx) error {
		_, err := outer.Exec(background, "INSERT INTO todo (task) VALUES ($1)", "kept")
		must(err)
		noteError(pgx.BeginFunc(background, outer, func(inner pgx.Tx) error {
			_, err := inner.Exec(background, "INSERT INTO todo (task) VALUES ($1)", "undone")
			must(err)
			_, err = inner.Exec(background, "INSERT INTO todo (id) VALUES ($1)", 1)
			return err
		}))
		_, err = outer.Exec(background, "INSERT INTO todo (task) VALUES ($1)", "kept, too")
		return err
	}))
	noteError(pgx.BeginTxFunc(background, connection, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		_, err := tx.Exec(background, "UPDATE todo SET done = $1", true)
		return err
	}))
	tx, err := connection.Begin(background)
	must(err)
	_, err = tx.Exec(background, "SELECT 1/0")
	noteError(err)
	_, err = tx.Exec(background, "INSERT INTO todo (task) VALUES ('in a failed one')")
	noteError(err)
	noteError(tx.Commit(background))
	must(connection.Close(background))
}

func contexts() {
	pool := connectPool()
	defer pool.Close()
	for who := 1; who <= 4; who++ {
		value := fmt.Sprintf(`{"user_id":%d,"name":"Zoë"}`, who)
		must(pgx.BeginFunc(background, pool, func(tx pgx.Tx) error {
			batch := &pgx.Batch{}
			batch.Queue("SELECT set_config('bemi.context', $1, true)", value)
			batch.Queue("INSERT INTO todo (task, who) VALUES ($1, $2)", "local", who)
			batch.Queue("UPDATE todo SET who = $1 WHERE id = 1", who)
			return tx.SendBatch(background, batch).Close()
		}))
		must(pgx.BeginFunc(background, pool, func(tx pgx.Tx) error {
			_, err := tx.Exec(background, fmt.Sprintf(`SET LOCAL bemi.context = '{"user_id": %d}'`, who+20))
			must(err)
			_, err = tx.Exec(background, "INSERT INTO todo (task, who) VALUES ($1, $2)", "SET LOCAL", who+20)
			return err
		}))
		connection, err := pool.Acquire(background)
		must(err)
		session := &pgx.Batch{}
		session.Queue("UPDATE todo SET who = NULL WHERE id = 1")
		session.Queue("SELECT set_config('bemi.context', concat('{\"user_id\":', $1::int + 10, '}'), false)", who)
		session.Queue("INSERT INTO todo (task, who) VALUES ($1, $2)", "computed", who+10)
		session.Queue("RESET bemi.context")
		session.Queue("INSERT INTO todo (task) VALUES ($1)", "after")
		must(connection.SendBatch(background, session).Close())
		_, err = connection.Exec(background, fmt.Sprintf(`/*Bemi {"user_id": %d} Bemi*/ INSERT INTO todo (task, who) VALUES ($1, $2)`, who), "comment", who)
		must(err)
		connection.Release()
	}
}

func copies() {
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
	note(connection.CopyFrom(background, pgx.Identifier{"todo"}, columns, source(50000, 53000)))
	_, err := connection.CopyFrom(background, pgx.Identifier{"todo"}, columns, source(0, 10))
	noteError(err)
	var out strings.Builder
	tag, err := connection.PgConn().CopyTo(background, &out, "COPY (SELECT id FROM todo WHERE id > 50000 ORDER BY id) TO STDOUT")
	note(tag, out.Len())
	noteError(err)
	tag, err = connection.PgConn().CopyFrom(background, strings.NewReader("60000\ttext\n"), "COPY todo (id, task) FROM STDIN")
	note(tag)
	noteError(err)
	tag, err = connection.Exec(background, "DELETE FROM todo WHERE id > $1", 50000)
	note(tag)
	noteError(err)
	must(connection.Close(background))
}

func prepared() {
	connection := connect()
	_, err := connection.Prepare(background, "put", "INSERT INTO todo (task) VALUES ($1) RETURNING task")
	must(err)
	list := "SELECT name, statement FROM pg_prepared_statements ORDER BY name"
	for range 3 {
		note(rows(connection.Query(background, "put", "x")))
		note(rows(connection.Query(background, list, pgx.QueryExecModeSimpleProtocol)))
		note(rows(connection.Query(background, list, pgx.QueryExecModeExec)))
	}
	must(connection.DeallocateAll(background))
	note(rows(connection.Query(background, "UPDATE todo SET done = $1 WHERE id = 2 RETURNING id", true)))
	must(connection.Deallocate(background, "never there"))
	note(rows(connection.Query(background, list, pgx.QueryExecModeSimpleProtocol)))
	must(connection.Close(background))
}

func notifications() {
	notices := []string{}
	connection := connect(func(c *pgx.ConnConfig) {
		c.OnNotice = func(_ *pgconn.PgConn, notice *pgconn.Notice) { notices = append(notices, notice.Message) }
	})
	_, err := connection.Exec(background, "LISTEN changed; INSERT INTO todo (task) VALUES ('x'); NOTIFY changed, 'payload'")
	must(err)
	heard, err := connection.WaitForNotification(background)
	must(err)
	note(heard.Channel, heard.Payload)
	_, err = connection.Exec(background, "DO $$ BEGIN RAISE WARNING 'careful'; END $$")
	must(err)
	note(notices)
	must(connection.Close(background))
}

func cancelling() {
	connection := connect()
	for _, sql := range []string{"SELECT pg_sleep($1)::text", "INSERT INTO todo (task) SELECT pg_sleep($1)::text"} {
		cancelled := make(chan struct{})
		go func() {
			defer close(cancelled)
			other := connect()
			for found := 0; found == 0; {
				asleep, err := rows(other.Query(background, transcript.Asleep))
				must(err)
				found = len(asleep)
			}
			must(other.Close(background))
			must(connection.PgConn().CancelRequest(background))
		}()
		_, err := connection.Exec(background, sql, 60)
		noteError(err)
		// Until the server closes, its signal may still be on the way, to whatever runs then.
		<-cancelled
	}
	_, err := connection.Exec(background, "INSERT INTO todo (task) VALUES ($1)", "after")
	noteError(err)
	must(connection.Close(background))
}

func streams() {
	connection := connect()
	read := func(result pgx.Rows, sum *transcript.Checksum) {
		var number int64
		var digest string
		_, err := pgx.ForEachRow(result, []any{&number, &digest}, func() error {
			sum.Add(number, digest)
			return nil
		})
		must(err)
	}
	var whole, fetched transcript.Checksum
	result, err := connection.Query(background, transcript.Streamed)
	must(err)
	read(result, &whole)
	must(pgx.BeginFunc(background, connection, func(tx pgx.Tx) error {
		_, err := tx.Exec(background, "DECLARE many CURSOR FOR "+transcript.Streamed)
		must(err)
		for before := int64(-1); before < fetched.Rows; {
			before = fetched.Rows
			result, err := tx.Query(background, "FETCH 1000 FROM many")
			must(err)
			read(result, &fetched)
		}
		return nil
	}))
	note(whole, fetched)
	must(connection.Close(background))
}
