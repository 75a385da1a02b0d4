package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	sqlite "modernc.org/sqlite"
)

const (
	backupPages    = 2048 // copied between two looks at whether to go on: 8 MB
	backupProgress = 10   // steps that are told; the last is the check
)

// Backup copies the record as it is at one moment into a new file, with SQLite's own online backup, and gives the copy's size.
// It reads one snapshot: whoever serves the record goes on writing, and does not make the copy start again. The copy is written
// under another name beside its own, brought to the disk and checked; only then it gets its name, which nothing may have yet.
func (s *Store) Backup(ctx context.Context, file string, progress func(done, total int, about string)) (bytes int64, err error) {
	if s.dialect.backup != "" {
		return 0, errors.New(s.dialect.backup)
	}
	fail := func(err error) (int64, error) { return 0, fmt.Errorf("back up to %s: %w", file, err) }
	if _, err := os.Lstat(file); !errors.Is(err, fs.ErrNotExist) {
		if err == nil {
			err = errors.New("there is something already; it is left as it is")
		}
		return fail(err)
	}
	if err := checkFolder(file); err != nil {
		return fail(err)
	}
	unfinished, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+".unfinished-*") // its owner's only
	if err != nil {
		return fail(err)
	}
	name := unfinished.Name()
	_ = unfinished.Close()
	defer func() {
		for _, left := range []string{name, name + "-wal", name + "-shm", name + "-journal"} {
			_ = os.Remove(left)
		}
	}()
	if err := s.copyPages(ctx, name, progress); err != nil {
		return fail(classify(err))
	}
	progress(backupProgress-1, backupProgress, "checking")
	if err := checkCopy(ctx, name); err != nil {
		return fail(err)
	}
	if bytes, err = settle(name, file); err != nil {
		return fail(err)
	}
	return bytes, nil
}

// copyPages copies the database's pages, inside a transaction that holds the snapshot.
func (s *Store) copyPages(ctx context.Context, into string, progress func(done, total int, about string)) (err error) {
	snap, err := s.snapshot(ctx, s.dialect.snapshot)
	if err != nil {
		return err
	}
	defer snap.end()
	return snap.conn.Raw(func(driverConn any) error {
		source, ok := driverConn.(interface {
			NewBackup(into string) (*sqlite.Backup, error)
		})
		if !ok {
			return errors.New("only a record of SQLite is copied by its own file")
		}
		backup, err := source.NewBackup(sqliteDSN(into, "synchronous(FULL)"))
		if err != nil {
			return err
		}
		told := -1
		for more := true; more; {
			if err = ctx.Err(); err != nil {
				break
			}
			if more, err = backup.Step(backupPages); err != nil {
				break
			}
			if total := backup.PageCount(); more && total > 0 {
				if done := (total - backup.Remaining()) * (backupProgress - 1) / total; done > told {
					told = done
					progress(done, backupProgress, "copying")
				}
			}
		}
		return errors.Join(err, backup.Finish())
	})
}

// checkCopy opens the copy as a desk would, and has SQLite look at every page of it.
func checkCopy(ctx context.Context, name string) error {
	db, err := sql.Open("sqlite", sqliteDSN(name, "query_only(1)"))
	if err != nil {
		return err
	}
	defer db.Close() //nolint:errcheck // nothing was written
	var said string
	if err := db.QueryRowContext(ctx, `PRAGMA integrity_check(1)`).Scan(&said); err != nil {
		return fmt.Errorf("check the copy: %w", classify(err))
	}
	if said != "ok" {
		return fmt.Errorf("the copy is damaged, and so may be the record: %s", said)
	}
	return nil
}

// settle brings the copy to the disk and gives it its name, unless somebody has taken it by now.
func settle(name, file string) (bytes int64, err error) {
	if bytes, err = syncFile(name); err != nil {
		return 0, err
	}
	if err := os.Link(name, file); errors.Is(err, fs.ErrExist) {
		return 0, errors.New("something has come there by now; it is left as it is")
	} else if err != nil { // a file system without links
		if _, taken := os.Lstat(file); !errors.Is(taken, fs.ErrNotExist) {
			return 0, errors.New("something has come there by now; it is left as it is")
		}
		if err := os.Rename(name, file); err != nil {
			return 0, err
		}
	}
	if _, err := syncFile(filepath.Dir(file)); err != nil {
		return 0, fmt.Errorf("bring its name to the disk: %w", err)
	}
	return bytes, nil
}

func syncFile(name string) (bytes int64, err error) {
	f, err := os.Open(name)
	if err != nil {
		return 0, err
	}
	info, err := f.Stat()
	if err == nil {
		bytes, err = info.Size(), f.Sync()
	}
	return bytes, errors.Join(err, f.Close())
}
