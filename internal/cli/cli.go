// Package cli is the command line: commands that run a desk, look after its record, or call one that runs.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"unicode"

	"github.com/alecthomas/kong"

	"github.com/holdfast-oms/holdfast/bench"
	"github.com/holdfast-oms/holdfast/internal/config"
)

// How a command ends. One that a signal ended gives 128 and the signal's number, as in a shell.
const (
	exitOK     = 0
	exitFailed = 1 // it was tried and did not work out; an audit found something
	exitUsage  = 2 // it could not be tried: a wrong flag, a wrong setting; an audit could not be run
	exitSignal = 128
)

// Main runs the command line of this process and gives its exit code.
func Main(args []string, stdout, stderr io.Writer) int {
	p := Program{Args: args, Environ: config.Environ(), Stdout: stdout, Stderr: stderr}
	return p.Run(context.Background())
}

// Program is one run of the command line.
type Program struct {
	Args    []string // without the program's name
	Environ []string // as os.Environ gives it
	Folder  string   // where holdfast.yaml is looked for; "": the working folder
	Stdout  io.Writer
	Stderr  io.Writer

	exit func(int) // of a second signal; os.Exit unless a test looks on
}

// Run carries the command out and gives the exit code. An error is one line on Stderr, or one for each wrong setting.
func (p *Program) Run(ctx context.Context) int {
	ctx, done := p.untilSignal(ctx)
	defer done()
	err := p.run(ctx)
	var by stopped
	if errors.Is(err, context.Canceled) && errors.As(context.Cause(ctx), &by) {
		fmt.Fprintln(p.Stderr, "holdfast: stopped before the end")
		return by.exitCode()
	}
	if err != nil {
		fmt.Fprintln(p.Stderr, "holdfast: "+shown(err.Error()))
	}
	return exitCode(err)
}

func (p *Program) run(ctx context.Context) error {
	g := newGrammar()
	answered := false // kong has printed help or the version, and there is nothing left to do
	stdout := p.Stdout
	args := p.Args
	switch {
	case len(args) == 0:
		args, stdout = []string{"--help"}, p.Stderr
	case args[0] == "help":
		args = append(args[1:len(args):len(args)], "--help")
	}
	parser, err := kong.New(g,
		kong.Name("holdfast"),
		kong.Description("The order desk behind a shop that sells scarce things to many people at once.\n\n"+
			"The exit code is 0 when all is well, 1 when it was tried and did not work out, 2 when it could not be tried (a wrong flag or "+
			"setting), and 128 and the signal's number when a signal ended it."),
		kong.Writers(stdout, p.Stderr),
		kong.Exit(func(int) { answered = true }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, FlagsLast: true, NoExpandSubcommands: true, WrapUpperBound: 110}),
		kong.PostBuild(func(k *kong.Kong) error {
			k.Model.HelpFlag.Help = "Show this help."
			return nil
		}),
		kong.ExplicitGroups(groups()),
		kong.Vars{"version": version().line()},
		kong.BindTo(ctx, (*context.Context)(nil)),
	)
	if err != nil {
		return err
	}
	command, err := parser.Parse(args)
	switch {
	case answered && len(p.Args) == 0:
		return failure{exitUsage, errors.New("a command is missing")}
	case answered:
		return nil
	case err != nil:
		return failure{exitUsage, errors.New(oneLine(err.Error()))}
	}
	return command.Run(&invocation{Program: p, grammar: g})
}

// failure is an error that decides the exit code.
type failure struct {
	code int
	error
}

func (f failure) Unwrap() error { return f.error }

func exitCode(err error) int {
	var f failure
	var settings config.Errors
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &f):
		return f.code
	case errors.As(err, &settings), errors.Is(err, bench.ErrOptions):
		return exitUsage
	default:
		return exitFailed
	}
}

// invocation is what a command is given.
type invocation struct {
	*Program
	grammar *grammar
}

// settings loads the settings, with the flags that the command has for some of them.
func (in *invocation) settings(flags settings) (config.Config, []config.Value, error) {
	return config.Load(config.Sources{Flags: flags.given(), Environ: in.Environ, File: in.grammar.ConfigFile, Folder: in.Folder})
}

// stopped is why a command's context ended: a signal.
type stopped struct{ syscall.Signal }

func (s stopped) Error() string { return s.Signal.String() }

func (s stopped) exitCode() int { return exitSignal + int(s.Signal) }

// orStopped is what went wrong, told as being stopped when a signal was the reason: databases and connections have their own
// words for it.
func orStopped(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// shown keeps a text from telling the terminal what to do. It may go over lines.
func shown(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsGraphic(r) || r == '\n' {
			return r
		}
		if unicode.IsSpace(r) {
			return ' '
		}
		return -1
	}, text)
}

// oneLine keeps a message that came from elsewhere on its line, besides.
func oneLine(text string) string { return strings.Join(strings.Fields(shown(text)), " ") }

// line makes a text of ours with texts in it that came from elsewhere, from the desk or from who typed them: each stays in its place.
func line(format string, of ...any) string {
	for i, v := range of {
		switch v := v.(type) {
		case string:
			of[i] = oneLine(v)
		case error:
			of[i] = oneLine(v.Error())
		}
	}
	return fmt.Sprintf(format, of...)
}

// say writes a line. All that a command prints about things is made by line, or is JSON.
func say(w io.Writer, format string, of ...any) { fmt.Fprint(w, line(format, of...)) }

func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
