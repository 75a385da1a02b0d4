// Package server puts the process together: which record, which accelerators, which loops, started and stopped in order.
package server

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/holdfast-oms/holdfast/internal/apikey"
	"github.com/holdfast-oms/holdfast/internal/audit"
	"github.com/holdfast-oms/holdfast/internal/checkout"
	"github.com/holdfast-oms/holdfast/internal/config"
	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/redisfront"
	"github.com/holdfast-oms/holdfast/internal/sqlstore"
)

// adminKeyID names the key that the operator has from the start. The others are made with it.
const adminKeyID = "admin"

// record is the store as checkout wants it.
type record struct {
	*sqlstore.Store
}

// Audit runs all checks with the default leniency.
func (r record) Audit(ctx context.Context) (audit.Report, error) {
	return r.Store.Audit(ctx, sqlstore.AuditOptions{})
}

var _ checkout.Record = record{}

// adminKey makes sure that somebody can come in: the operator's own key when he set one, else a key made at the first start.
// It gives the key when it was made now: it is shown once and never again.
func adminKey(ctx context.Context, store *sqlstore.Store, configured string, now time.Time) (made string, err error) {
	key := &apikey.Key{ID: adminKeyID, Name: "admin", Scopes: []apikey.Scope{apikey.Admin}, CreatedAt: now}
	if configured != "" {
		key.Hash = apikey.HashOf(configured)
		return "", store.SetKey(ctx, key)
	}
	known, err := store.HasKeys(ctx)
	if err != nil || known {
		return "", err
	}
	_, made = apikey.Make()
	key.Hash = apikey.HashOf(made)
	if err := store.AddKey(ctx, key); errors.Is(err, ledger.ErrDuplicate) {
		return "", nil // another process that starts beside this one has made it, and shows it
	} else if err != nil {
		return "", err
	}
	return made, nil
}

// sandboxSecret gives the secret that signs the sandbox's notices: the operator's, else one that is made at the first start and
// shared by all processes of this record.
func sandboxSecret(ctx context.Context, store *sqlstore.Store, configured string) ([]byte, error) {
	if configured != "" {
		return []byte(configured), nil
	}
	secret, err := sharedSecret(ctx, store, "sandbox_secret")
	return []byte(secret), err
}

func sharedSecret(ctx context.Context, store *sqlstore.Store, name string) (string, error) {
	random := make([]byte, 32)
	_, _ = rand.Read(random)
	return store.SharedSecret(ctx, name, hex.EncodeToString(random))
}

// degraded is whether a database that may lose what it has committed is served all the same.
func degraded(cfg config.Config) bool { return cfg.Durability == config.DurabilityDegraded }

// Migration is one step of the schema.
type Migration = sqlstore.Migration

// Migrate brings the record's schema up to date, or, when dry, only looks, also beside a running desk. It gives the steps and
// which of them the record has taken.
func Migrate(ctx context.Context, cfg config.Config, dry bool) ([]Migration, error) {
	store, err := sqlstore.Open(ctx, cfg.DatabaseURL, sqlstore.Options{ReadOnly: dry, Degraded: true}) // it commits nothing of the shop's
	if dry && errors.Is(err, fs.ErrNotExist) {
		store, err = sqlstore.Open(ctx, "sqlite::memory:", sqlstore.Options{}) // a record that is not there has taken none
	}
	if err != nil {
		return nil, err
	}
	defer store.Close() //nolint:errcheck // everything is committed
	if !dry {
		if _, err := store.Migrate(ctx); err != nil {
			return nil, err
		}
	}
	return store.Migrations(ctx)
}

// Audit runs all checks on the record, beside whoever serves it.
func Audit(ctx context.Context, cfg config.Config, progress func(done, total int, name string)) (audit.Report, error) {
	store, err := sqlstore.Open(ctx, cfg.DatabaseURL, sqlstore.Options{ReadOnly: true, Degraded: true})
	if err != nil {
		return audit.Report{}, err
	}
	defer store.Close() //nolint:errcheck // nothing was written
	report, err := store.Audit(ctx, sqlstore.AuditOptions{Progress: progress})
	if err != nil {
		return audit.Report{}, fmt.Errorf("audit: %w", err)
	}
	return report, nil
}

// Plan is how the database would find what a look asks for.
type Plan = sqlstore.Plan

// Plans asks the database how it would find what lists ask for, beside whoever serves the record.
func Plans(ctx context.Context, databaseURL string) ([]Plan, error) {
	store, err := sqlstore.Open(ctx, databaseURL, sqlstore.Options{ReadOnly: true})
	if err != nil {
		return nil, err
	}
	defer store.Close() //nolint:errcheck // nothing was written
	return store.Plans(ctx)
}

// Look is one look of an auditor.
type Look = audit.Look

// LookAlong goes along with the record as an auditor does, beside whoever serves it, until ctx ends, and tells each look. It rests only
// when it has seen all that there is, and stops no sale.
func LookAlong(ctx context.Context, databaseURL string, each func(Look) error) error {
	store, err := sqlstore.Open(ctx, databaseURL, sqlstore.Options{ReadOnly: true})
	if err != nil {
		return err
	}
	defer store.Close() //nolint:errcheck // nothing was written
	for window := store.Window(); ; {
		look, err := window.Look(ctx, nil)
		if err != nil {
			return err
		}
		if err := each(look); err != nil {
			return err
		}
		if look.More {
			continue
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(lookAlongRest):
		}
	}
}

// lookAlongRest is between two looks that have seen all there is.
const lookAlongRest = 20 * time.Millisecond

// Rebuild fills Redis anew from the record, beside the desks that use it, and gives the number of products.
func Rebuild(ctx context.Context, cfg config.Config, progress func(products int)) (products int, err error) {
	if cfg.RedisURL == "" {
		return 0, errors.New("redis_url is not set: there is nothing to rebuild")
	}
	store, err := sqlstore.Open(ctx, cfg.DatabaseURL, sqlstore.Options{Degraded: degraded(cfg)})
	if err != nil {
		return 0, err
	}
	defer store.Close() //nolint:errcheck // everything is committed
	products, err = redisfront.Rebuild(ctx, store, redisfront.Options{Address: cfg.RedisURL, Alone: alone(cfg)}, progress)
	if err != nil {
		return products, fmt.Errorf("rebuild: %w", err)
	}
	return products, nil
}

// Backup copies the record into a new file, beside whoever serves it, and gives the size of the copy.
func Backup(ctx context.Context, cfg config.Config, file string, progress func(done, total int, about string)) (bytes int64, err error) {
	store, err := sqlstore.Open(ctx, cfg.DatabaseURL, sqlstore.Options{ReadOnly: true, Degraded: true})
	if err != nil {
		return 0, err
	}
	defer store.Close() //nolint:errcheck // nothing was written
	return store.Backup(ctx, file, progress)
}
