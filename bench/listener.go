package bench

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

const (
	messageBytesMax = 16 << 10
	listenAgain     = 50 * time.Millisecond // after a stream broke
)

// listener follows one stream, and comes back to it where it was when it breaks.
type listener struct {
	shop  *shop
	path  string
	lag   *Histogram // from the commit's clock to here
	last  atomic.Int64
	begin int64   // where the first stream began; it and heard are for whoever has waited for run
	heard []int64 // positions

	opens chan struct{} // closed when the first stream is open
	once  sync.Once
	ends  atomic.Int64 // how often a stream ended that nobody cut

	mu   sync.Mutex
	conn net.Conn
	cuts int
}

func newListener(s *shop, path string, since int64, lag *Histogram) *listener {
	l := &listener{shop: s, path: path, lag: lag, opens: make(chan struct{})}
	l.last.Store(since)
	return l
}

// run listens until ctx ends.
func (l *listener) run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, l.hangUp)
	defer stop()
	for {
		cuts := l.cutSoFar()
		err := l.listen(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, errAnswer):
			return fmt.Errorf("%s: %w", l.path, err)
		case cuts == l.cutSoFar():
			l.ends.Add(1)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(listenAgain):
		}
	}
}

// cut breaks the stream as a lost network does.
func (l *listener) cut() {
	l.mu.Lock()
	l.cuts++
	l.mu.Unlock()
	l.hangUp()
}

func (l *listener) cutSoFar() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cuts
}

func (l *listener) hangUp() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn != nil {
		l.conn.Close()
	}
}

func (l *listener) listen(ctx context.Context) error {
	dialer := net.Dialer{Timeout: dialTimeout}
	c, err := dialer.DialContext(ctx, "tcp", l.shop.base.Host)
	if err != nil {
		return err
	}
	defer c.Close()
	l.mu.Lock()
	l.conn = c
	l.mu.Unlock()
	request := l.shop.requestHead("GET", l.path)
	if since := l.last.Load(); since >= 0 {
		request = fmt.Appendf(request, "Last-Event-ID: %d\r\n", since)
	}
	if _, err := c.Write(append(request, "\r\n"...)); err != nil {
		return err
	}
	answer, err := http.ReadResponse(bufio.NewReaderSize(c, 1<<10), nil)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%w: %s", errAnswer, answer.Status)
	}
	return l.read(bufio.NewReaderSize(answer.Body, messageBytesMax))
}

// read takes messages as they come. What a message says counts when it is whole.
func (l *listener) read(lines *bufio.Reader) error {
	id, name, whole, at := l.last.Load(), "", false, time.Time{}
	for {
		line, err := lines.ReadSlice('\n')
		if err != nil {
			return err
		}
		field, value, _ := bytes.Cut(line[:len(line)-1], []byte(": "))
		switch string(field) {
		case "id":
			if id, err = strconv.ParseInt(string(value), 10, 64); err != nil {
				return fmt.Errorf("%w: id %.40q", errAnswer, value)
			}
		case "event":
			name = string(value)
		case "data":
			whole, at = true, toldAt(value)
		case "":
			if len(line) > 1 {
				continue // a comment
			}
			l.take(id, name, whole, at)
			name, whole = "", false
		}
	}
}

func (l *listener) take(id int64, name string, whole bool, at time.Time) {
	l.last.Store(id)
	if whole && name != "order" { // which is how the order was, not what happened
		l.heard = append(l.heard, id)
		if l.lag != nil && !at.IsZero() {
			l.lag.Record(time.Since(at))
		}
	}
	if id >= 0 {
		l.once.Do(func() {
			l.begin = id
			close(l.opens)
		})
	}
}

// toldAt is the time by the database's clock, read just before the commit, of what a message tells.
func toldAt(data []byte) time.Time {
	for _, name := range []string{`"time":"`, `"closed_at":"`, `"created_at":"`} {
		if _, rest, found := bytes.Cut(data, []byte(name)); found {
			if end := bytes.IndexByte(rest, '"'); end > 0 {
				at, _ := time.Parse(time.RFC3339, string(rest[:end])) // the zero time is not counted
				return at
			}
		}
	}
	return time.Time{}
}
