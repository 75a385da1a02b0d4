package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/order"
)

// What becomes of a claim.
const (
	jobClaimed = 0
	jobDone    = 1
)

// ClaimJob takes up the job of a day, which one of all processes does: the first, and after its claim has lapsed another, unless it
// was done. done: it is, and need not be asked for again. The time is the record's.
func (s *Store) ClaimJob(ctx context.Context, name string, day order.Day, holder string, lasts time.Duration) (claimed, done bool, err error) {
	now, err := s.Now(ctx)
	if err != nil {
		return false, false, err
	}
	until := ms(now.Add(lasts))
	_, err = s.exec(ctx, `INSERT INTO jobs (name, day, holder, until, state) VALUES (?, ?, ?, ?, ?)`, name, int64(day), holder, until, jobClaimed)
	if err == nil {
		return true, false, nil
	}
	if !errors.Is(err, ledger.ErrDuplicate) {
		return false, false, fmt.Errorf("claim job: %w", err)
	}
	taken, err := s.exec(ctx, `UPDATE jobs SET holder = ?, until = ? WHERE name = ? AND day = ? AND state = ? AND until < ?`,
		holder, until, name, int64(day), jobClaimed, ms(now))
	if err != nil || taken > 0 {
		return err == nil, false, err
	}
	var state int
	if err := s.queryRow(ctx, `SELECT state FROM jobs WHERE name = ? AND day = ?`, name, int64(day)).Scan(&state); err != nil {
		return false, false, fmt.Errorf("look at job: %w", classify(err))
	}
	return false, state == jobDone, nil
}

// FinishJob says that the job of a day was done by its holder.
func (s *Store) FinishJob(ctx context.Context, name string, day order.Day, holder string) error {
	_, err := s.exec(ctx, `UPDATE jobs SET state = ? WHERE name = ? AND day = ? AND holder = ?`, jobDone, name, int64(day), holder)
	if err != nil {
		return fmt.Errorf("finish job: %w", err)
	}
	return nil
}
