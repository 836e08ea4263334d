// Package transcript prints what a driver sees, scenario by scenario, and what it does not have.
package transcript

import (
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"time"
)

// Context is what the sessions start with, or nothing.
var Context = os.Getenv("BEMI_CONTEXT")

// Reuses is how often a statement that is prepared once is used.
const Reuses = 1000

// Streamed has 100,000 rows.
const Streamed = "SELECT n, md5(n::text) AS digest FROM generate_series(1, 100000) AS n"

// Asleep has a row once somebody sleeps in this database: what is cancelled earlier goes on.
const Asleep = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'"

// Kinds has a column of each type.
const Kinds = `CREATE TABLE kinds (id int PRIMARY KEY, i2 int2, i4 int4, i8 int8, f4 float4, f8 float8, n numeric, t text, bytes bytea,
	b bool, d date, ti time, ts timestamp, tz timestamptz, iv interval, u uuid, j json, jb jsonb, ints int[], texts text[])`

// PutKinds has a parameter for each column.
const PutKinds = `INSERT INTO kinds VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20) RETURNING *`

// Values are those of all columns of Kinds but the first and the arrays, at the end of which come `arrays`.
func Values(arrays ...any) []any {
	all := make([]byte, 256)
	for index := range all {
		all[index] = byte(index)
	}
	at := time.Date(2024, 2, 29, 23, 59, 59, 999999000, time.UTC)
	return append([]any{
		int16(-32768), int32(2147483647), int64(-9223372036854775808), float32(1.5), -1e-300,
		"123456789012345678901234567890.000100", "quote ' backslash \\ elephant \U0001f418", all, true,
		at.Truncate(24 * time.Hour), "23:59:59.999999", at, at, "1 year 2 days 03:04:05.678",
		"00000000-0000-0000-0000-000000000007", `{"a": [1, {"b": null}]}`, `{"z": "é", "a": [1.50, false]}`,
	}, arrays...)
}

// Checksum adds up rows of Streamed.
type Checksum struct{ Rows, Sum int64 }

// Add takes in a row.
func (c *Checksum) Add(number int64, digest string) {
	part, err := strconv.ParseInt(digest[:4], 16, 64)
	Must(err)
	c.Rows++
	c.Sum += number + part
}

// Note prints what was seen.
func Note(values ...any) {
	for _, value := range values {
		fmt.Printf("%q ", fmt.Sprint(value))
	}
	fmt.Println()
}

// NoteUntrusted prints that the error is about the certificate, if it is.
func NoteUntrusted(err error) bool {
	var untrusted *tls.CertificateVerificationError
	found := errors.As(err, &untrusted)
	if found {
		Note("the certificate is not trusted")
	}
	return found
}

// Must ends the scenario where an error means that the suite itself is wrong.
func Must(err error) {
	if err != nil {
		panic(err)
	}
}

// Scenario is what a driver does, named `feature: sentence`.
type Scenario struct {
	Name string
	Run  func()
}

// Main runs the scenarios of a driver and ends the program; its exit code says whether all of them came to their end.
// `lacks` has pairs: a feature that the driver does not have, and why.
func Main(driver, module string, lacks [][2]string, scenarios []Scenario) {
	fmt.Println("!", driver, version(module))
	for _, lack := range lacks {
		fmt.Printf("- %s: %s\n", lack[0], lack[1])
	}
	code := 0
	for _, scenario := range scenarios {
		if !scenario.attempt() {
			code = 1
		}
	}
	os.Exit(code)
}

// version is that of a module in this program.
func version(module string) string {
	build, _ := debug.ReadBuildInfo()
	for _, dependency := range build.Deps {
		if dependency.Path == module {
			return dependency.Version
		}
	}
	panic(module + " is no part of this program")
}

func (s Scenario) attempt() (done bool) {
	defer func() {
		if problem := recover(); problem != nil {
			fmt.Println("FAILED")
			fmt.Fprintln(os.Stderr, s.Name, problem)
		}
	}()
	fmt.Println("#", s.Name)
	s.Run()
	return true
}
