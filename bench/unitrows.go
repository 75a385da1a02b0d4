package bench

import (
	"context"
	"database/sql"
)

// unitRows keeps stock as one row per unit that is free. Whoever takes units skips those that others are taking, so that nobody
// waits for a row: the other known answer to a hot product. Units are found by the primary key and deleted from it, as shops
// that run this at scale do: an index beside it would be locked and written, too.
type unitRows struct{ *rival }

const (
	sqlFreeUnits = `SELECT unit_id FROM free_units WHERE product_id = ? ORDER BY unit_id LIMIT ? FOR UPDATE SKIP LOCKED`
	sqlTakeUnit  = `DELETE FROM free_units WHERE product_id = ? AND unit_id = ?`
	sqlHeldUnit  = `INSERT INTO held_units (order_no, product_id, unit_id) VALUES (?, ?, ?)`
)

func newUnitRows(s *rival) stockKeeper { return &unitRows{s} }

func (k *unitRows) statements() []string { return []string{sqlFreeUnits, sqlTakeUnit, sqlHeldUnit} }

func (k *unitRows) take(tx *rivalTx, line lineShape, number, _ int64) error {
	rows, err := tx.rows(sqlFreeUnits, line.ProductID, line.Quantity)
	if err != nil {
		return err
	}
	units, err := scanUnits(rows)
	if err != nil {
		return err
	}
	if int64(len(units)) < line.Quantity {
		return errOutOfStock
	}
	for _, unit := range units {
		tx.run(sqlTakeUnit, line.ProductID, unit)
		tx.run(sqlHeldUnit, number, line.ProductID, unit)
	}
	return nil
}

func scanUnits(rows *sql.Rows) (units []int64, err error) {
	defer rows.Close()
	for rows.Next() {
		var unit int64
		if err := rows.Scan(&unit); err != nil {
			return nil, err
		}
		units = append(units, unit)
	}
	return units, rows.Err()
}

// add puts units on a product's shelf, once and seriesMax at most: they are numbered from 1.
func (k *unitRows) add(ctx context.Context, product string, units int64) error {
	return k.exec(ctx, `INSERT INTO free_units (product_id, unit_id) SELECT ?, i FROM `+k.dialect.series, product, min(units, seriesMax))
}

func (k *unitRows) level(ctx context.Context, product string) (level stockLevel, err error) {
	err = k.row(ctx, `SELECT (SELECT count(*) FROM free_units WHERE product_id = ?), (SELECT count(*) FROM held_units WHERE product_id = ?)`,
		product, product).Scan(&level.Available, &level.Held)
	level.Received = level.Available + level.Held
	return level, err
}
