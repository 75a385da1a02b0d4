package sqlstore

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-sql-driver/mysql"

	"github.com/holdfast-oms/holdfast/internal/fault"
	"github.com/holdfast-oms/holdfast/internal/ledger"
)

// Error numbers of MySQL (https://dev.mysql.com/doc/mysql-errors/8.0/en/server-error-reference.html) and MariaDB
// (https://mariadb.com/kb/en/mariadb-error-code-reference/). Those from 4000 on mean different things on the two, those used
// here do not collide.
var mysqlKinds = func() map[uint16]mysqlKind {
	kinds := map[uint16]mysqlKind{}
	for kind, numbers := range map[mysqlKind][]uint16{
		mysqlDuplicate: {1022, 1062, 1586},
		// A deadlock, a lock not got in time (which by itself ends the statement only), a record changed since the snapshot, a table
		// that was altered meanwhile, a statement to be prepared anew, and a group that chose another transaction at its commit.
		mysqlRetry: {1020, 1205, 1213, 1412, 1615, 3101},
		// A subquery with more than one row, see wrote.
		mysqlChanged: {1242},
		// A CHECK (3819 MySQL, 4025 MariaDB); NULL, a packet too large, out of range, cut off, wrong text, too long, arithmetic out of range.
		mysqlRefused: {1048, 1153, 1264, 1265, 1292, 1366, 1406, 1690, 3819, 4025},
		// The disk is full, or so is a table; an error of the storage; a statement that took too long (1969 MariaDB, 3024 MySQL) or
		// was ended by an operator.
		mysqlUnavailable: {3, 14, 1021, 1026, 1030, 1114, 1180, 1317, 1969, 3024},
		// The server takes no writes: --read-only, a transaction or an engine that only reads. It has become a replica, and
		// another is the primary.
		mysqlReadOnly: {1290, 1792, 1836},
		// No connection, or no more of it: too many, not welcome, shutting down, cut for being idle, ended by an operator, a node of
		// a cluster that is not ready, a packet that did not arrive.
		mysqlBroken: {
			1040, 1042, 1043, 1044, 1045, 1047, 1049, 1053, 1129, 1130, 1152, 1158, 1159, 1160, 1161, 1184, 1203, 1226, 1243,
			1927, 2006, 2013, 4031,
		},
	} {
		for _, n := range numbers {
			kinds[n] = kind
		}
	}
	return kinds
}()

type mysqlKind int

const (
	mysqlOther mysqlKind = iota
	mysqlDuplicate
	mysqlRetry
	mysqlChanged
	mysqlRefused
	mysqlUnavailable
	mysqlReadOnly
	mysqlBroken
)

func mysqlKindOf(err error) mysqlKind {
	var e *mysql.MySQLError
	if errors.As(err, &e) {
		return mysqlKinds[e.Number]
	}
	for _, broken := range []error{mysql.ErrInvalidConn, mysql.ErrMalformPkt, mysql.ErrPktSync, mysql.ErrBusyBuffer} {
		if errors.Is(err, broken) {
			return mysqlBroken
		}
	}
	if errors.Is(err, mysql.ErrPktTooLarge) {
		return mysqlRefused
	}
	return mysqlOther
}

// breaksMySQL reports whether a connection that said this is not to be used again.
func breaksMySQL(err error) bool {
	kind := mysqlKindOf(err)
	return kind == mysqlBroken || kind == mysqlReadOnly || lost(err) || errors.Is(err, context.Canceled)
}

// classifyMySQL turns a driver's or a server's error into what the ledger knows of, or into the fault of a record that cannot be
// used now, keeping the original in the chain.
func classifyMySQL(err error) error {
	switch mysqlKindOf(err) {
	case mysqlDuplicate:
		return fmt.Errorf("%w: %w", ledger.ErrDuplicate, err)
	case mysqlRetry:
		return fmt.Errorf("%w: %w", ledger.ErrRetry, err)
	case mysqlChanged:
		return fmt.Errorf("%w: %w", errChanged, err)
	case mysqlRefused:
		return fmt.Errorf("%w: %w", ledger.ErrRefused, err)
	case mysqlUnavailable, mysqlReadOnly, mysqlBroken:
		return fault.ErrUnavailable.Because(err)
	case mysqlOther:
	}
	return err
}
