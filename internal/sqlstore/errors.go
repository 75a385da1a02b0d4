package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"net"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"
	sqlite "modernc.org/sqlite"

	"github.com/holdfast-oms/holdfast/internal/fault"
)

// classify turns a driver's error into what the ledger knows of, or into the fault of a record that cannot be used now, keeping
// the original in the chain. What it does not know it leaves as it is.
func classify(err error) error {
	var lite *sqlite.Error
	var postgres *pgconn.PgError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &lite):
		return classifySQLite(lite, err)
	case errors.As(err, &postgres):
		return classifyPostgres(postgres, err)
	case errors.Is(err, context.Canceled): // whoever asked has left
		return err
	case mysqlKindOf(err) != mysqlOther:
		return classifyMySQL(err)
	case lost(err):
		return fault.ErrUnavailable.Because(err)
	}
	return err
}

// lost reports whether a server was not reached, not heard of in time, or heard of no more.
func lost(err error) bool {
	var network net.Error
	var connecting *pgconn.ConnectError
	return errors.As(err, &network) || errors.As(err, &connecting) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone) ||
		errors.Is(err, context.DeadlineExceeded)
}

// breaksSession reports whether a connection to a server that said this is not to be used again: it is lost, or the server is about
// to end it, or it leads to a server that only reads by now, or has statements that were prepared for tables as they were before.
func breaksSession(err error) bool {
	var postgres *pgconn.PgError
	if errors.As(err, &postgres) {
		return postgres.SeverityUnlocalized != "ERROR" || postgres.Code == "25006" || postgres.Code == "0A000"
	}
	return lost(err) || errors.Is(err, context.Canceled)
}
