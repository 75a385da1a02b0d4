package bench

import (
	"fmt"
	"io"
	"os"
	"time"
)

const (
	progressOnTerminal = time.Second
	progressElsewhere  = 5 * time.Second // a log should stay readable
)

// progress tells people what is going on: one line that is written over on a terminal, now and then a line elsewhere. It
// is used by one goroutine at a time.
type progress struct {
	out      io.Writer
	terminal bool
	prefix   string // which round of a suite
	doing    string
	since    time.Time
	counts   outcome // what the rate is of
	last     int64
	lastAt   time.Time
}

func newProgress(out io.Writer) *progress {
	p := &progress{out: out}
	if file, ok := out.(*os.File); ok {
		info, err := file.Stat()
		p.terminal = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	return p
}

// silent is for a load that runs beside another one.
func silent() *progress { return newProgress(io.Discard) }

// stage begins something that takes a while, and says so.
func (p *progress) stage(format string, args ...any) {
	p.doing = p.prefix + fmt.Sprintf(format, args...)
	p.since, p.last, p.lastAt, p.counts = time.Now(), 0, time.Now(), done
	p.line(p.doing)
}

func (p *progress) ticks() *time.Ticker {
	if p.terminal {
		return time.NewTicker(progressOnTerminal)
	}
	return time.NewTicker(progressElsewhere)
}

// show tells how far a load is, from the tally of its present stretch.
func (p *progress) show(t *tally) {
	now, n := time.Now(), t.count(p.counts)
	if n < p.last {
		p.last = 0 // the warm-up is over
	}
	rate := float64(n-p.last) / now.Sub(p.lastAt).Seconds()
	p.last, p.lastAt = n, now
	text := fmt.Sprintf("%s: %3.0f s, %s/s, p99 %.1f ms", p.doing, now.Sub(p.since).Seconds(), thousands(rate),
		milliseconds(t.latency[p.counts].Quantile(0.99)))
	for o, name := range outcomeNames {
		if count := t.count(outcome(o)); count > 0 && outcome(o) != p.counts {
			text += fmt.Sprintf(", %s %s", thousands(float64(count)), name)
		}
	}
	p.line(text)
}

func (p *progress) line(text string) {
	if p.terminal {
		fmt.Fprintf(p.out, "\r\033[K%s", text)
		return
	}
	fmt.Fprintln(p.out, text)
}

// clear makes room for the result.
func (p *progress) clear() {
	if p.terminal {
		fmt.Fprint(p.out, "\r\033[K")
	}
}
