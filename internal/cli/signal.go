package cli

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// untilSignal gives a context that the first SIGINT or SIGTERM ends: whatever runs then comes to a proper end. A second one
// ends the process at once. done must be called when the command is over.
func (p *Program) untilSignal(parent context.Context) (ctx context.Context, done func()) {
	exit := p.exit
	if exit == nil {
		exit = os.Exit
	}
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	ctx, cancel := context.WithCancelCause(parent)
	over := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		for first := true; ; first = false {
			var s stopped
			select {
			case received := <-signals:
				s.Signal, _ = received.(syscall.Signal) // there are no others
			case <-over:
				return
			}
			if !first {
				fmt.Fprintln(p.Stderr, "holdfast: stopped at once")
				exit(s.exitCode())
				return
			}
			if terminal(p.Stderr) { // elsewhere it is one more line in somebody's log
				fmt.Fprintln(p.Stderr, "holdfast: stopping; once more stops at once")
			}
			cancel(s)
		}
	})
	return ctx, func() {
		signal.Stop(signals)
		close(over)
		watching.Wait()
		cancel(nil)
	}
}
