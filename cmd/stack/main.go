// Command stack runs Holdfast as a shop would: several processes over a database server of its own, and Redis in front of them.
// It is for trying things out and for developers; `make stack` is its command line.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strconv"
	"syscall"

	"github.com/holdfast-oms/holdfast/internal/testenv"
)

const (
	exitFailed = 1
	exitUsage  = 2

	desksMax = 32

	folderUsual = ".stack"
	folderElse  = "/var/tmp/holdfast-stack"
)

func main() {
	var s stack
	flag.StringVar(&s.database, "db", "mariadb", "the record: mariadb or postgres")
	flag.BoolVar(&s.redis, "redis", false, "start Redis, too, and tell the desk of it")
	flag.IntVar(&s.desks, "workers", 1, "how many Holdfast processes")
	flag.StringVar(&s.listen, "listen", "127.0.0.1:8080", "where the first of them listens; each of the others one port further. Port 0: all take free ones")
	flag.StringVar(&s.folder, "folder", "", "where data is kept between runs; if not said "+folderUsual+", or "+folderElse+" where root's servers do not get at that")
	flag.BoolVar(&s.fresh, "fresh", false, "throw away what the runs before have left there")
	flag.StringVar(&s.binary, "holdfast", "bin/holdfast", "the program")
	flag.Parse()
	s.out = os.Stdout
	if err := s.check(); err != nil {
		fmt.Fprintln(os.Stderr, "stack:", err)
		os.Exit(exitUsage)
	}
	ctx, restore := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, restore) // a second signal ends this process at once, and with it everything it has started
	if err := s.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "stack:", err)
		os.Exit(exitFailed)
	}
}

type stack struct {
	database string
	redis    bool
	desks    int
	listen   string
	folder   string
	fresh    bool
	binary   string
	out      io.Writer
}

func (s *stack) check() error {
	host, port, err := net.SplitHostPort(s.listen)
	if err != nil {
		return fmt.Errorf("-listen must be host:port: %w", err)
	}
	first, err := strconv.ParseUint(port, 10, 16)
	switch {
	case flag.NArg() > 0:
		return fmt.Errorf("%q is not understood; -h says what is", flag.Arg(0))
	case s.database != "mariadb" && s.database != "postgres":
		return fmt.Errorf("the database must be mariadb or postgres, not %q", s.database)
	case s.desks < 1 || s.desks > desksMax:
		return fmt.Errorf("1 to %d processes can be started, not %d", desksMax, s.desks)
	case err != nil || host == "":
		return fmt.Errorf("-listen must be host:port, not %q", s.listen)
	case first+uint64(s.desks) > 1<<16:
		return fmt.Errorf("there are not %d ports from %d on", s.desks, first)
	}
	return nil
}

// run starts everything, and stops it in the opposite order: once ctx ends, or when something fails.
func (s *stack) run(ctx context.Context) (err error) {
	kept, err := s.keep()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, kept.Close()) }()
	env, err := s.startServers(kept)
	if ctx.Err() != nil {
		return nil // Ctrl-C reaches the tools that prepare a server, too, and what they say of it is no error
	}
	if err != nil {
		return err
	}
	desks := &fleet{kept: kept, out: s.out}
	defer func() { err = errors.Join(err, desks.stop()) }()
	for i := range s.desks { // one after the other: the first makes the schema and puts the samples on sale
		if err := desks.start(ctx, s.binary, s.arguments(i), env); ctx.Err() != nil || err != nil {
			return err
		}
	}
	fmt.Fprintf(s.out, "\nEverything is up. Ctrl-C stops it; the data stays in %s.\n"+
		"FRESH=1 throws it away at the next start, and makes a new admin key.\n", s.folder)
	return desks.wait(ctx)
}

// keep takes the folder, empty if asked to.
func (s *stack) keep() (*testenv.Kept, error) {
	given := s.folder
	if given == "" {
		s.folder = folderUsual
	}
	kept, err := testenv.Keep(s.folder)
	if given == "" && errors.Is(err, testenv.ErrUnreachable) {
		s.folder = folderElse
		kept, err = testenv.Keep(s.folder)
	}
	if err != nil {
		return nil, err
	}
	if s.fresh {
		if err := kept.Clear(); err != nil {
			return nil, errors.Join(err, kept.Close())
		}
	}
	return kept, nil
}

// startServers starts what the desks stand on, and gives the settings that tell them of it.
func (s *stack) startServers(kept *testenv.Kept) (env []string, err error) {
	start := map[string]func(testenv.Options) (*testenv.Server, error){"mariadb": kept.MariaDB, "postgres": kept.Postgres}[s.database]
	if env, err = s.startServer(start, "HOLDFAST_DATABASE_URL"); err != nil || !s.redis {
		return env, err
	}
	more, err := s.startServer(kept.Redis, "HOLDFAST_REDIS_URL")
	return append(env, more...), err
}

func (s *stack) startServer(start func(testenv.Options) (*testenv.Server, error), setting string) (env []string, err error) {
	server, err := start(testenv.Options{})
	if err != nil {
		return nil, err
	}
	version, err := server.Version()
	fmt.Fprintf(s.out, "%s %s on %s\n  URL   %s\n  data  %s\n  log   %s\n",
		server.Name(), version, server.Addr(), server.URL(), server.Folder(), server.LogPath())
	return []string{setting + "=" + server.URL()}, err
}

// arguments of the i-th desk.
func (s *stack) arguments(i int) []string {
	host, port, _ := net.SplitHostPort(s.listen) // both were checked
	if n, _ := strconv.Atoi(port); n > 0 {
		port = strconv.Itoa(n + i)
	}
	args := []string{"serve", "--listen", net.JoinHostPort(host, port)}
	if i == 0 {
		args = append(args, "--demo")
	}
	return args
}
