package testenv

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	chunkMax  = 64 << 10 // bytes read at once
	chunksMax = 64       // on their way in one direction
)

// Proxy stands between a client and a server and does what bad networks do. It understands no protocol: a request is what a client wrote
// at once, and an answer is what the server says next. So a match must not be asked about requests that are sent before the answers to
// earlier ones are there.
type Proxy struct {
	t    testing.TB
	addr string
	work sync.WaitGroup

	mu       sync.Mutex
	target   string
	closed   bool
	listener net.Listener // nil while it refuses
	links    map[*link]bool
	delay    time.Duration
	passing  chan struct{} // closed while bytes may pass
	traps    []*trap
}

// trap is what happens at a request, once.
type trap struct {
	match  func(request []byte) bool
	answer bool // it waits for the answer, and keeps it
	spring func(*link)
	sprung chan struct{}
}

// Saying matches the requests that contain a text, written in any case.
func Saying(text string) func(request []byte) bool {
	text = strings.ToLower(text)
	return func(request []byte) bool { return bytes.Contains(bytes.ToLower(request), []byte(text)) }
}

// NewProxy starts a proxy for a server at a host:port. It ends with the test.
func NewProxy(tb testing.TB, addr string) *Proxy {
	tb.Helper()
	port, held, err := reservePort()
	if err != nil {
		tb.Fatal(err)
	}
	p := &Proxy{
		t: tb, target: addr, addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)),
		links: map[*link]bool{}, passing: make(chan struct{}),
	}
	close(p.passing)
	tb.Cleanup(func() {
		p.close()
		held.Close()
	})
	if err := p.listen(); err != nil {
		tb.Fatal(err)
	}
	return p
}

// Addr is where clients find the proxy.
func (p *Proxy) Addr() string { return p.addr }

// Switch has new connections lead to another server, and resets those that there are.
func (p *Proxy) Switch(addr string) {
	p.mu.Lock()
	p.target = addr
	p.mu.Unlock()
	p.Cut()
}

// Delay lets everything come later by d, in each direction.
func (p *Proxy) Delay(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = d
}

// Cut resets all connections. New ones work.
func (p *Proxy) Cut() {
	p.mu.Lock()
	links := p.links
	p.links = map[*link]bool{}
	p.mu.Unlock()
	for l := range links {
		l.cut()
	}
}

// Refuse turns new connections away, as a server does that is not running. Those that there are stay.
func (p *Proxy) Refuse(on bool) {
	p.t.Helper()
	p.mu.Lock()
	listener := p.listener
	if on {
		p.listener = nil
	}
	p.mu.Unlock()
	switch {
	case on && listener != nil:
		listener.Close()
	case !on && listener == nil:
		if err := p.listen(); err != nil {
			p.t.Errorf("proxy: %v", err)
		}
	}
}

// Blackhole lets nothing pass in either direction. Connections stay, new ones get no further, and when it is off again everything comes
// late, as TCP sends it again: also a request whose client has long given up.
func (p *Proxy) Blackhole(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.passing:
		if on {
			p.passing = make(chan struct{})
		}
	default:
		if !on {
			close(p.passing)
		}
	}
}

// CutRequest resets the connection at the next request that matches, before the server sees it. Like its sisters below it works once and
// tells when it has.
func (p *Proxy) CutRequest(match func(request []byte) bool) (cut <-chan struct{}) {
	return p.set(&trap{match: match, spring: (*link).cut})
}

// BlackholeRequest begins a black hole at the next request that matches, before the server sees it. Blackhole(false) ends it, and the
// request arrives.
func (p *Proxy) BlackholeRequest(match func(request []byte) bool) (begun <-chan struct{}) {
	return p.set(&trap{match: match, spring: func(*link) { p.Blackhole(true) }})
}

// SwallowReply lets the next request that matches be executed, but its answer is lost and the connection reset.
func (p *Proxy) SwallowReply(match func(request []byte) bool) (swallowed <-chan struct{}) {
	return p.set(&trap{match: match, answer: true, spring: (*link).cut})
}

// BlackholeReply lets the next request that matches be executed, but before its answer passes a black hole begins.
func (p *Proxy) BlackholeReply(match func(request []byte) bool) (begun <-chan struct{}) {
	return p.set(&trap{match: match, answer: true, spring: func(*link) { p.Blackhole(true) }})
}

func (p *Proxy) set(tr *trap) <-chan struct{} {
	tr.sprung = make(chan struct{})
	p.mu.Lock()
	defer p.mu.Unlock()
	p.traps = append(p.traps, tr)
	return tr.sprung
}

// take gives the first trap that a request springs.
func (p *Proxy) take(request []byte) *trap {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, tr := range p.traps {
		if tr.match(request) {
			p.traps = append(p.traps[:i:i], p.traps[i+1:]...)
			return tr
		}
	}
	return nil
}

func (p *Proxy) listen() error {
	listener, err := net.Listen("tcp", p.addr) //nolint:noctx // it listens at once
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.listener = listener
	p.work.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return // it refuses
			}
			p.work.Go(func() { p.connect(conn.(*net.TCPConn)) }) //nolint:errcheck,forcetypeassert // a TCP listener accepts nothing else
		}
	})
	return nil
}

func (p *Proxy) connect(client *net.TCPConn) {
	l := &link{p: p, client: client, gone: make(chan struct{})}
	if !p.add(l) {
		l.cut()
		return
	}
	defer p.remove(l)
	if !l.pass() {
		return
	}
	p.mu.Lock()
	target := p.target
	p.mu.Unlock()
	server, err := dial(target)
	if err != nil {
		l.cut()
		return
	}
	if !l.join(server.(*net.TCPConn)) { //nolint:errcheck,forcetypeassert // so do those who dial TCP
		return
	}
	var both sync.WaitGroup
	both.Go(func() { l.carry(l.client, l.server, l.request) })
	both.Go(func() { l.carry(l.server, l.client, l.reply) })
	both.Wait()
	l.end()
}

func (p *Proxy) add(l *link) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.links[l] = true
	}
	return !p.closed
}

func (p *Proxy) remove(l *link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.links, l)
}

func (p *Proxy) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.Refuse(true)
	p.Cut()
	p.work.Wait()
}

// link is one connection through the proxy.
type link struct {
	p      *Proxy
	client *net.TCPConn
	server *net.TCPConn

	mu      sync.Mutex
	waiting *trap         // for the next answer
	gone    chan struct{} // closed when the connection is
}

// join takes the other half, unless the connection was cut in between.
func (l *link) join(server *net.TCPConn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.gone:
		_ = server.Close() // it was not used
		return false
	default:
		l.server = server
		return true
	}
}

// cut resets the connection on both sides. What is on its way is lost.
func (l *link) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, conn := range l.conns() {
		_ = conn.SetLinger(0) // closing sends a reset; a connection that is closed already needs none
	}
	l.close()
}

// end closes a connection whose sides have said all.
func (l *link) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.close()
}

func (l *link) close() {
	select {
	case <-l.gone:
		return
	default:
	}
	close(l.gone)
	for _, conn := range l.conns() {
		_ = conn.Close() // whatever was to be said is said
	}
}

func (l *link) conns() []*net.TCPConn {
	if l.server == nil {
		return []*net.TCPConn{l.client}
	}
	return []*net.TCPConn{l.client, l.server}
}

// pass waits until bytes may pass; not ok: the connection is gone.
func (l *link) pass() bool {
	for {
		l.p.mu.Lock()
		passing := l.p.passing
		l.p.mu.Unlock()
		select {
		case <-l.gone:
			return false
		case <-passing:
			return true
		}
	}
}

type chunk struct {
	said []byte
	due  time.Time
}

// carry moves bytes one way until their source ends or the connection is gone. see looks at each chunk before it goes on.
func (l *link) carry(from, to *net.TCPConn, see func([]byte)) {
	chunks := make(chan chunk, chunksMax)
	var writer sync.WaitGroup
	writer.Go(func() {
		for c := range chunks {
			if !l.until(c.due) || !l.pass() {
				continue
			}
			if _, err := to.Write(c.said); err != nil {
				l.cut()
			}
		}
		_ = to.CloseWrite() // the source has said all, and may still listen
	})
	defer writer.Wait()
	defer close(chunks)
	buf := make([]byte, chunkMax)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			see(buf[:n])
			l.p.mu.Lock()
			due := time.Now().Add(l.p.delay)
			l.p.mu.Unlock()
			chunks <- chunk{bytes.Clone(buf[:n]), due}
		}
		switch {
		case err == nil:
		case errors.Is(err, io.EOF):
			return
		default:
			l.cut()
			return
		}
	}
}

func (l *link) until(due time.Time) bool {
	early := time.NewTimer(time.Until(due))
	defer early.Stop()
	select {
	case <-l.gone:
		return false
	case <-early.C:
		return true
	}
}

// request sees what the client says.
func (l *link) request(said []byte) {
	tr := l.p.take(said)
	switch {
	case tr == nil:
	case tr.answer:
		l.mu.Lock()
		l.waiting = tr
		l.mu.Unlock()
	default:
		tr.spring(l)
		close(tr.sprung)
	}
}

// reply sees what the server says.
func (l *link) reply([]byte) {
	l.mu.Lock()
	tr := l.waiting
	l.waiting = nil
	l.mu.Unlock()
	if tr != nil {
		tr.spring(l)
		close(tr.sprung)
	}
}
