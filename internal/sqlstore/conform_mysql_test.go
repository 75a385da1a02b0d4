package sqlstore_test

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-oms/holdfast/internal/audit"
	"github.com/holdfast-oms/holdfast/internal/conform"
	"github.com/holdfast-oms/holdfast/internal/sqlstore"
	"github.com/holdfast-oms/holdfast/internal/testenv"
)

func TestMariaDBConforms(t *testing.T) { conform.Run(t, onMariaDB) }

func TestRandomCommandsDoWhatTheModelSaysOnMariaDB(t *testing.T) {
	t.Parallel()
	conform.RunModel(t, onMariaDB, 100, 20)
}

func onMariaDB(t *testing.T, clock func() time.Time) conform.Record {
	t.Helper()
	return openRecord(t, testenv.MariaDBURL(t), clock)
}

// A table without its keys, for plants that need one, is a temporary one in front of it: dropping a table would end the transaction.
var (
	rebuiltTable = regexp.MustCompile(`CREATE TABLE rebuilt AS SELECT \* FROM (\w+); DROP TABLE \w+; ALTER TABLE rebuilt RENAME TO \w+`)
	inFront      = `CREATE TEMPORARY TABLE rebuilt AS SELECT * FROM $1; CREATE TEMPORARY TABLE $1 AS SELECT * FROM rebuilt`
)

// The same violations as on SQLite are found, and no others.
func TestEachCheckFindsWhatBreaksItOnMariaDB(t *testing.T) {
	t.Parallel()
	url := testenv.MariaDBURL(t)
	v, err := live(url)
	if err != nil {
		t.Fatal(err)
	}
	audited := func(t *testing.T, plant string) audit.Report {
		t.Helper()
		s, err := sqlstore.Open(t.Context(), url, sqlstore.Options{Clock: func() time.Time { return v.now }}) // for its session ends with it
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close() //nolint:errcheck // a test
		plant = rebuiltTable.ReplaceAllString(v.fill(plant), inFront)
		plant = strings.NewReplacer(
			"randomblob(16)", "LEFT(UNHEX(SHA2(RAND(), 256)), 16)",
			"DROP INDEX outbox_subject", strings.ReplaceAll(inFront, "$1", "outbox"),
		).Replace(plant)
		statements := []string{`SET check_constraint_checks = 0`}
		for statement := range strings.SplitSeq(plant, ";") {
			if strings.TrimSpace(statement) != "" {
				statements = append(statements, statement)
			}
		}
		report, err := s.AuditAfter(t.Context(), sqlstore.AuditOptions{}, statements...)
		if err != nil {
			t.Fatal(err)
		}
		return report
	}
	if report := audited(t, `DO 0`); !report.Clean {
		t.Fatalf("a clean record: %v", offenders(report))
	}
	findsEach(t, v, audited)
}

func TestMariaDBCommitWhoseAnswerIsLostCountsOnce(t *testing.T) {
	t.Parallel()
	losesAnswers(t, testenv.StartMariaDB(t, testenv.Options{}))
}

func TestMariaDBThatIsSilentIsNoticedInFiveSeconds(t *testing.T) {
	t.Parallel()
	fallsSilent(t, testenv.StartMariaDB(t, testenv.Options{}))
}

func TestMariaDBThatWasKilledIsUsedAgainWithoutARestart(t *testing.T) {
	t.Parallel()
	isKilled(t, testenv.StartMariaDB(t, testenv.Options{}))
}
