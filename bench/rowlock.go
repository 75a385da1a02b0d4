package bench

import (
	"context"
	"database/sql"
	"errors"
)

// stockRows keeps stock in one row per product, guarded and locked by its UPDATE: what a shop's own code does.
type stockRows struct {
	*rival
	hold string
}

const (
	sqlAddEntry = `INSERT INTO stock_ledger (product_id, version, kind, available, held, sold, order_no, at)
	    VALUES (?, ?, 'held', ?, ?, 0, ?, ?)`
	// The version that was written comes back with the answer in both: asking for it would hold the row for another round trip.
	sqlHold = `UPDATE stock SET held = held + ?, version = version + 1
	    WHERE product_id = ? AND available >= ? RETURNING version`
	sqlHoldMySQL = `UPDATE stock SET held = held + ?, version = LAST_INSERT_ID(version + 1)
	    WHERE product_id = ? AND available >= ?`
)

func newStockRows(s *rival) stockKeeper {
	if s.dialect.returning {
		return &stockRows{s, sqlHold}
	}
	return &stockRows{s, sqlHoldMySQL}
}

func (k *stockRows) statements() []string { return []string{k.hold, sqlAddEntry} }

func (k *stockRows) take(tx *rivalTx, line lineShape, number, now int64) error {
	version, err := k.lower(tx, line)
	if err != nil {
		return err
	}
	tx.run(sqlAddEntry, line.ProductID, version, -line.Quantity, line.Quantity, number, now)
	return nil
}

// lower takes the units and gives the row's new version.
func (k *stockRows) lower(tx *rivalTx, line lineShape) (version int64, err error) {
	if k.dialect.returning {
		err = tx.row(k.hold, line.Quantity, line.ProductID, line.Quantity).Scan(&version)
		if errors.Is(err, sql.ErrNoRows) {
			return 0, errOutOfStock
		}
		return version, err
	}
	result, err := tx.exec(k.hold, line.Quantity, line.ProductID, line.Quantity)
	if err != nil {
		return 0, err
	}
	if rows, err := result.RowsAffected(); err != nil || rows == 0 {
		return 0, errors.Join(err, errOutOfStock)
	}
	return result.LastInsertId()
}

func (k *stockRows) add(ctx context.Context, product string, units int64) error {
	return k.exec(ctx, `UPDATE stock SET received = received + ?, version = version + 1 WHERE product_id = ?`, units, product)
}

func (k *stockRows) level(ctx context.Context, product string) (level stockLevel, err error) {
	err = k.row(ctx, `SELECT received, available, held, sold FROM stock WHERE product_id = ?`, product).
		Scan(&level.Received, &level.Available, &level.Held, &level.Sold)
	return level, err
}
