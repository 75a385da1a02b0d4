package bench

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

// runner runs scenarios, each on a server of its own unless there is one already.
type runner struct {
	o          Options
	executable string
	progress   *progress
	products   int            // made so far
	id         string         // of this run, part of every product's id: a running server may have seen others
	pools      map[string]int // of a suite: the best one of each rival
}

func newRunner(o Options, stderr io.Writer) (*runner, error) {
	r := &runner{o: o.withDefaults(), executable: o.Executable, progress: newProgress(stderr), id: randomHex(4)}
	if r.executable != "" || o.URL != "" {
		return r, nil
	}
	var err error
	r.executable, err = os.Executable()
	return r, err
}

func randomHex(bytes int) string {
	b := make([]byte, bytes)
	_, _ = rand.Read(b) // never fails: crypto/rand ends the program instead
	return hex.EncodeToString(b)
}

// stand is a server under test with what belongs to it.
type stand struct {
	shop     *shop
	process  *process     // nil: it was running already
	drop     func() error // removes its database, when it is on a server
	database string       // its URL; "": it was running already
	dir      string
	keep     bool
}

// work is what a scenario does with a server.
type work func(context.Context, *stand) (*Result, error)

// onHoldfast does work against a Holdfast server.
func (r *runner) onHoldfast(ctx context.Context, work work) (*Result, error) {
	if r.o.URL != "" {
		shop, err := newShop(r.o.URL, r.o.APIKey, r.o.SandboxSecret)
		if err != nil {
			return nil, err
		}
		return work(ctx, &stand{shop: shop})
	}
	return r.onServer(ctx, func(s *stand) error {
		database, err := r.newDatabase(ctx, s, "holdfast")
		if err != nil {
			return err
		}
		s.database = database
		return r.serve(ctx, s, database)
	}, func(ctx context.Context, s *stand) (*Result, error) {
		result, err := work(ctx, s)
		if err == nil && r.o.RedisURL != "" {
			result.Redis = true
			passed, _, err := s.shop.metric(ctx, redisFellBack)
			if err != nil {
				return nil, err
			}
			result.figure(figurePassedBy, passed, "")
		}
		return result, err
	})
}

// serve starts Holdfast on a database, with an empty Redis in front if there is to be one, and waits until it is ready.
func (r *runner) serve(ctx context.Context, s *stand, database string) error {
	key, secret := "bench_"+randomHex(20), randomHex(20)
	command := []string{"serve", "--listen", "127.0.0.1:0", "--database-url", database}
	if r.o.RedisURL != "" {
		if err := r.emptyRedis(ctx); err != nil {
			return err
		}
		command = append(command, "--redis-url", r.o.RedisURL)
	}
	if err := r.spawn(ctx, s, key, secret, append(command, r.o.ServeFlags...)...); err != nil {
		return err
	}
	if err := s.shop.ready(ctx, startTimeout); err != nil || r.o.RedisURL == "" {
		return err
	}
	return s.shop.frontWorks(ctx, startTimeout)
}

// onRival does work against one of the servers Holdfast is compared with, which are hidden modes of the same binary. Those with a
// pool have a database.
func (r *runner) onRival(ctx context.Context, scenario string, pool int, work work) (*Result, error) {
	return r.onServer(ctx, func(s *stand) error {
		command := []string{"bench", serveMode + scenario, "--listen", "127.0.0.1:0"}
		if pool > 0 {
			database, err := r.newDatabase(ctx, s, scenario)
			if err != nil {
				return err
			}
			command = append(command, "--database", database, "--pool", strconv.Itoa(pool))
		}
		return r.spawn(ctx, s, "", "", command...)
	}, work)
}

// onServer starts a server in a directory of its own, does the work, and cleans up.
func (r *runner) onServer(ctx context.Context, start func(*stand) error, work work) (result *Result, err error) {
	s, err := r.newStand()
	if err != nil {
		return nil, err
	}
	defer func() {
		err = errors.Join(err, s.close())
		if result != nil && s.process != nil {
			result.ServerCPU = s.process.cpu().Seconds()
		}
	}()
	if err := start(s); err != nil {
		return nil, err
	}
	return s.during(ctx, work)
}

func (r *runner) newStand() (*stand, error) {
	dir, err := os.MkdirTemp(r.o.Dir, "holdfast-bench-")
	return &stand{keep: r.o.Keep, dir: dir}, err
}

// during does the work while the server runs. When the server ends in between, so does the context of the work.
func (s *stand) during(ctx context.Context, work work) (*Result, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	process := s.process // of this work: a later one may have another
	go func() {
		select {
		case <-process.exited:
			cancel(fmt.Errorf("the server ended in the middle of it:\n%s", process.tail()))
		case <-ctx.Done():
		}
	}()
	return work(ctx, s)
}

func (r *runner) spawn(ctx context.Context, s *stand, key, secret string, command ...string) (err error) {
	env := append(environment(), "HOLDFAST_ADMIN_KEY="+key, "HOLDFAST_SANDBOX_SECRET="+secret)
	if s.process, err = startProcess(ctx, s.dir, "server.log", env, append([]string{r.executable}, command...)...); err != nil {
		return err
	}
	s.shop, err = newShop(s.process.address, key, secret)
	return err
}

// environment is this process' own without Holdfast's settings: those of the server under test are given to it by name.
func environment() []string {
	var env []string
	for _, variable := range os.Environ() { //nolint:forbidigo // not read but handed on
		if !strings.HasPrefix(variable, "HOLDFAST_") {
			env = append(env, variable)
		}
	}
	return env
}

func (s *stand) close() error {
	if s.process != nil {
		s.process.stop()
	}
	if s.keep {
		return nil
	}
	var err error
	if s.drop != nil {
		err = s.drop()
	}
	return errors.Join(err, os.RemoveAll(s.dir))
}

// meter is of the server; nil when it is not on this machine.
func (s *stand) meter() *meter {
	if s.process == nil {
		return nil
	}
	return meterOf(s.process.cmd.Process.Pid)
}
