package sqlstore

import (
	"database/sql"
	"database/sql/driver"
	"errors"

	sqlite "modernc.org/sqlite"
)

// classify turns a driver's error into what the ledger knows of, or into the fault of a record that cannot be used now, keeping
// the original in the chain. What it has classified it leaves as it is.
func classify(err error) error {
	var lite *sqlite.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &lite):
		return classifySQLite(lite, err)
	case mysqlKindOf(err) != mysqlOther:
		return classifyMySQL(err)
	}
	return err
}

// breaks reports whether a connection that said this is not to be used again.
func breaks(err error) bool {
	kind := mysqlKindOf(err)
	return errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone) || kind == mysqlBroken || kind == mysqlReadOnly
}
