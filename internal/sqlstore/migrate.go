package sqlstore

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"
)

//go:embed migrations/*/*.sql
var migrations embed.FS

// Migration is one step of the schema and whether the record has taken it.
type Migration struct {
	Version int64
	Name    string
	Applied bool
}

func (s *Store) migrator() (*goose.Provider, error) {
	folder, err := fs.Sub(migrations, "migrations/"+s.dialect.name)
	if err != nil {
		return nil, err
	}
	if s.dialect.locksMigrations == nil {
		return goose.NewProvider(s.dialect.goose, s.write, folder)
	}
	locked, err := s.dialect.locksMigrations()
	if err != nil {
		return nil, err
	}
	return goose.NewProvider(s.dialect.goose, s.patient, folder, locked)
}

// Migrate brings the schema up to date and gives the number of steps taken. Shards leased by a process that was killed are
// free again: with the file's lock it is certain that nobody holds them, and events need not wait for the leases to lapse.
func (s *Store) Migrate(ctx context.Context) (int, error) {
	m, err := s.migrator()
	if err != nil {
		return 0, fmt.Errorf("migrate: %w", err)
	}
	done, err := m.Up(ctx)
	if err != nil {
		return len(done), fmt.Errorf("migrate: %w", err)
	}
	if s.lock != nil {
		if _, err := s.exec(ctx, `UPDATE relay_leases SET until = 0`); err != nil {
			return len(done), fmt.Errorf("free shards: %w", err)
		}
	}
	return len(done), nil
}

// Migrations lists every step this binary knows, and which of them the record has taken. It only looks.
func (s *Store) Migrations(ctx context.Context) ([]Migration, error) {
	m, err := s.migrator()
	if err != nil {
		return nil, fmt.Errorf("migrations: %w", err)
	}
	taken := map[int64]bool{}
	var tables int
	err = s.queryRow(ctx, s.dialect.present, `goose_db_version`).Scan(&tables)
	if err == nil && tables > 0 {
		rows, e := s.query(ctx, `SELECT version_id FROM goose_db_version WHERE is_applied`)
		err = scan(rows, e, func(r *sql.Rows) error {
			var version int64
			err := r.Scan(&version)
			taken[version] = true
			return err
		})
	}
	if err != nil {
		return nil, fmt.Errorf("migrations: %w", classify(err))
	}
	var list []Migration
	for _, source := range m.ListSources() {
		list = append(list, Migration{source.Version, source.Path, taken[source.Version]})
	}
	return list, nil
}
