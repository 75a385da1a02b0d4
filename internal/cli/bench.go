package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/holdfast-oms/holdfast/bench"
	"github.com/holdfast-oms/holdfast/internal/server"
)

// The servers that Holdfast is compared with are modes of this same program, so that the comparison needs nothing else.
const (
	serveEcho     = "serve-echo"
	serveRowLock  = "serve-row-lock"
	serveUnitRows = "serve-unit-rows"

	showPlans = "show-plans" // what history asks of the record that it made
	lookAlong = "look-along" // and who goes along with it, as an auditor does
)

type benchCommand struct {
	Scenario string `arg:"" optional:"" help:"What to run; see above."`
	Suite    bool   `help:"Run every comparison, interleaved, and print the ratios."`
	output

	Connections int           `placeholder:"256" help:"Connections of the load."`
	Duration    time.Duration `placeholder:"10s" help:"How long to measure, after a short warm-up; a run of the suite takes 4s, overload 1m."`
	Rate        float64       `placeholder:"N" help:"flash-sale, catalogue: so many orders a second, come what may, instead of as many as can be; streams: instead of 1000."`
	Units       int64         `placeholder:"N" help:"flash-sale: units for sale, instead of more than a run can sell; mixed, storm: instead of 1000."`
	Buyers      int64         `placeholder:"N" help:"flash-sale, mixed, storm: so many orders, however long they take."`
	Rounds      int           `placeholder:"3" help:"Rounds of history; the suite has 7."`
	Pool        int           `placeholder:"N" help:"row-lock, unit-rows: its connections to the database, instead of the best of 1, 4, 16 and 64."`
	Pending     int           `placeholder:"100000" help:"expiry-lag: orders that stay pending."`
	Due         int           `placeholder:"10000" help:"expiry-lag: orders that come due; then as many, 10 000 at most, in one second."`
	Orders      int           `placeholder:"5000000" help:"history: orders that there are already."`
	DueWithin   time.Duration `placeholder:"10s" help:"expiry-lag: in which the first of these come due."`
	Countdown   []string      `placeholder:"DRIVER" help:"expiry-lag: compare redis, keyspace, sql and inproc, each in a run of its own. May be given again."`
	Asynq       string        `placeholder:"FILE" help:"expiry-lag: the program of bench/asynq, to be compared with the countdowns."`
	Crowd       int           `placeholder:"8192" help:"overload: connections, about as many as the desk lets wait, or more."`
	Streams     int           `placeholder:"2000" help:"streams: open at a time."`

	URL           string `group:"running" placeholder:"URL" help:"Measure this desk instead of starting one for each run."`
	APIKey        string `group:"running" placeholder:"KEY" help:"Its API key, with every scope (HOLDFAST_API_KEY)."`
	SandboxSecret string `group:"running" placeholder:"SECRET" help:"Its sandbox secret; overload sends no notices without it (HOLDFAST_SANDBOX_SECRET)."`

	DatabaseURL string   `group:"own" placeholder:"URL" help:"Run on this server (postgres://…, mysql://…) instead of SQLite: each run makes a database of its own there and drops it; the one that is named stays as it is."`
	RedisURL    string   `group:"own" placeholder:"URL" help:"With this Redis in front. It has to be empty: each run empties it again."`
	ServeFlag   []string `group:"own" sep:"none" placeholder:"FLAG" help:"A further flag for it, such as --serve-flag=--batch-max=64. May be given again."`
	Executable  string   `group:"own" placeholder:"FILE" help:"The program to start, instead of this one."`
	Dir         string   `group:"own" placeholder:"FOLDER" help:"Where databases are made, instead of the folder for temporary files."`
	Keep        bool     `group:"own" help:"Leave databases and logs where they are."`

	Listen   string `hidden:"" default:"127.0.0.1:0" help:"serve-echo, serve-row-lock, serve-unit-rows: where to listen."`
	Database string `hidden:"" help:"serve-echo, serve-row-lock, serve-unit-rows: the URL of a new database."`
}

// Help is the longer text.
func (benchCommand) Help() string {
	var b strings.Builder
	b.WriteString("Each scenario starts a desk on a new database, unless it is given a running one, and shows progress while it runs. " +
		"After writing, it audits the record and counts what was acknowledged against what is there; the exit code is 1 when that does not agree.\n\n")
	for _, s := range bench.Scenarios() {
		fmt.Fprintf(&b, "    %-11s %s\n", s.Name, s.Help)
	}
	return b.String()
}

// Run measures, or serves one of the rivals.
func (c *benchCommand) Run(ctx context.Context, in *invocation) error {
	switch c.Scenario {
	case serveEcho:
		return bench.ServeEcho(ctx, c.Listen, in.Stdout)
	case serveRowLock, serveUnitRows:
		return bench.ServeRival(ctx, bench.RivalOptions{
			Scenario: strings.TrimPrefix(c.Scenario, "serve-"), Listen: c.Listen, Database: c.Database, Pool: c.Pool,
		}, in.Stdout)
	}
	switch c.Scenario {
	case showPlans:
		return c.showPlans(ctx, in.Stdout)
	case lookAlong:
		return c.lookAlong(ctx, in.Stdout)
	}
	if err := c.check(); err != nil {
		return failure{exitUsage, err}
	}
	options := bench.Options{
		Scenario: c.Scenario, Suite: c.Suite,
		URL: c.URL, APIKey: c.APIKey, SandboxSecret: c.SandboxSecret,
		Executable: c.Executable, DatabaseURL: c.DatabaseURL, ServeFlags: c.ServeFlag, Dir: c.Dir, Keep: c.Keep,
		Connections: c.Connections, Crowd: c.Crowd, Duration: c.Duration, Rate: c.Rate, Rounds: c.Rounds, Units: c.Units,
		Buyers: c.Buyers, Pool: c.Pool, Streams: c.Streams, Pending: c.Pending, Due: c.Due, DueWithin: c.DueWithin, Orders: c.Orders,
		Countdowns: c.Countdown, Asynq: c.Asynq, RedisURL: c.RedisURL, Output: c.Output,
	}
	if c.URL != "" {
		cfg, _, err := in.settings(settings{})
		if err != nil {
			return err
		}
		options.APIKey = first(c.APIKey, cfg.APIKey)
		options.SandboxSecret = first(c.SandboxSecret, cfg.SandboxSecret)
	}
	return orStopped(ctx, bench.Run(ctx, options, in.Stdout, in.Stderr))
}

func (c *benchCommand) showPlans(ctx context.Context, out io.Writer) error {
	plans, err := server.Plans(ctx, c.Database)
	if err != nil {
		return err
	}
	for _, p := range plans {
		fmt.Fprintf(out, "%s\n    %s\n", p.Look, strings.ReplaceAll(p.Steps, "\n", "\n    "))
	}
	return nil
}

// lookAlong tells each look on a line of its own until it is told to end.
func (c *benchCommand) lookAlong(ctx context.Context, out io.Writer) error {
	err := server.LookAlong(ctx, c.Database, func(l server.Look) error {
		_, err := fmt.Fprintf(out, `{"took_ms":%.3f,"entries":%d,"orders":%d,"products":%d,"compared":%t,"wrong":%d}`+"\n",
			float64(l.Took)/float64(time.Millisecond), l.Entries, l.Orders, l.Products, l.Compared, len(l.Wrong))
		return err
	})
	if ctx.Err() != nil {
		return nil //nolint:nilerr // it was told to end
	}
	return err
}

// check says what to run instead of a scenario that there is not.
func (c *benchCommand) check() error {
	var names []string
	for _, s := range bench.Scenarios() {
		if s.Name == c.Scenario {
			return nil
		}
		names = append(names, s.Name)
	}
	list := strings.Join(names, ", ")
	switch {
	case c.Scenario != "":
		return fmt.Errorf("there is no scenario %q; there are %s", c.Scenario, list)
	case !c.Suite:
		return errors.New("a scenario is missing: " + list + "; or --suite")
	}
	return nil
}

func first(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
