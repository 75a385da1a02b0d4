package sqlstore

import (
	"context"
	"embed"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"
)

//go:embed migrations/sqlite/*.sql
var migrations embed.FS

// Migration is one step of the schema and whether the record has taken it.
type Migration struct {
	Version int64
	Name    string
	Applied bool
}

func (s *Store) migrator() (*goose.Provider, error) {
	folder, err := fs.Sub(migrations, "migrations/sqlite")
	if err != nil {
		return nil, err
	}
	return goose.NewProvider(goose.DialectSQLite3, s.write, folder)
}

// Migrate brings the schema up to date and gives the number of steps taken.
func (s *Store) Migrate(ctx context.Context) (int, error) {
	m, err := s.migrator()
	if err != nil {
		return 0, fmt.Errorf("migrate: %w", err)
	}
	done, err := m.Up(ctx)
	if err != nil {
		return len(done), fmt.Errorf("migrate: %w", err)
	}
	return len(done), nil
}

// Migrations lists every step this binary knows.
func (s *Store) Migrations(ctx context.Context) ([]Migration, error) {
	m, err := s.migrator()
	if err != nil {
		return nil, fmt.Errorf("migrations: %w", err)
	}
	status, err := m.Status(ctx)
	if err != nil {
		return nil, fmt.Errorf("migrations: %w", err)
	}
	list := make([]Migration, len(status))
	for i, st := range status {
		list[i] = Migration{st.Source.Version, st.Source.Path, st.State == goose.StateApplied}
	}
	return list, nil
}
