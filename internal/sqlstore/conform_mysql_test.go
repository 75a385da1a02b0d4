package sqlstore_test

import (
	"testing"
	"time"

	"github.com/holdfast-oms/holdfast/internal/conform"
	"github.com/holdfast-oms/holdfast/internal/testenv"
)

func TestMariaDBConforms(t *testing.T) { conform.Run(t, onMariaDB) }

func TestRandomCommandsDoWhatTheModelSaysOnMariaDB(t *testing.T) {
	t.Parallel()
	conform.RunModel(t, onMariaDB, 100, 100)
}

func onMariaDB(t *testing.T, clock func() time.Time) conform.Record {
	t.Helper()
	return openRecord(t, testenv.MariaDBURL(t), clock)
}
