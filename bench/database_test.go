package bench

import (
	"errors"
	"strings"
	"testing"

	"github.com/holdfast-oms/holdfast/internal/testenv"
)

// servers are those whose user may make databases, as an operator's can who measures.
var servers = []struct {
	on    *dialect
	start func(testing.TB, testenv.Options) *testenv.Server
	list  string // the databases on it
}{
	{onPostgres, testenv.StartPostgres, `SELECT datname FROM pg_database ORDER BY 1`},
	{onMySQL, testenv.StartMariaDB, `SELECT schema_name FROM information_schema.schemata ORDER BY 1`},
}

func TestARunOnAServerIsMeasuredAndLeavesNothingThere(t *testing.T) {
	for _, server := range servers {
		t.Run(server.on.title, func(t *testing.T) {
			url := server.start(t, testenv.Options{}).AdminURL()
			before := databases(t, url, server.list)
			for _, scenario := range []string{rowLockScenario, unitRowsScenario} {
				report := runBriefly(t, Options{Scenario: scenario, DatabaseURL: url, Connections: 8, Pool: 4}, answered)
				result := report.Results[0]
				if result.PerSecond == 0 || len(result.Checks) < 4 || report.Machine.Database == "" {
					t.Errorf("%s: got %+v on %+v, want orders, checks and the database's version", scenario, result, report.Machine)
				}
			}
			if after := databases(t, url, server.list); after != before {
				t.Errorf("databases were %s and are %s", before, after)
			}
		})
	}
}

func databases(t *testing.T, url, list string) string {
	t.Helper()
	db, _, err := openDatabase(t.Context(), url, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close() //nolint:errcheck // it was only looked at
	rows, err := db.QueryContext(t.Context(), list)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var names []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return strings.Join(names, " ")
}

// A URL may hold a password, so an error does not show it.
func TestAnUnreadableDatabaseURLIsNotShown(t *testing.T) {
	for _, url := range []string{"mysql://u:s3cret@h:port/d", "postgres://u:s3cret@h:port/d", "oracle://u:s3cret@h/d"} {
		err := Run(t.Context(), Options{Scenario: rowLockScenario, DatabaseURL: url, Dir: t.TempDir()}, nil, nil)
		if !errors.Is(err, ErrOptions) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: got %v, want one of the options refused, without the password", url, err)
		}
	}
}

func TestPlaceholdersAreTheDatabasesOwn(t *testing.T) {
	const text = `UPDATE t SET a = a + ? WHERE b = ? AND c >= ?`
	if got, want := onPostgres.placeholders(text), `UPDATE t SET a = a + $1 WHERE b = $2 AND c >= $3`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := onMySQL.placeholders(text); got != text {
		t.Errorf("got %s, want it as it is", got)
	}
}

// Only some users may have PostgreSQL write a checkpoint.
func TestWhatAUserMayNotAskForIsLeftToTheServer(t *testing.T) {
	db, d, err := openDatabase(t.Context(), testenv.PostgresURL(t), 1)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close() //nolint:errcheck // nothing was written
	if _, err := db.ExecContext(t.Context(), "CHECKPOINT"); err == nil {
		t.Fatal("this user may do everything: the test proves nothing")
	}
	if err := d.settled(t.Context(), db); err != nil {
		t.Error(err)
	}
	unheard := *d
	unheard.settle = []string{"NOBODY KNOWS THIS"}
	if err := unheard.settled(t.Context(), db); err == nil {
		t.Error("what the server does not understand was passed over, too")
	}
}
