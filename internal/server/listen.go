package server

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

func listen(ctx context.Context, address string) (net.Listener, error) {
	config := net.ListenConfig{Control: dropDead}
	return config.Listen(ctx, "tcp", address)
}

// limitConnections accepts no more than n connections at a time: the next wait in the kernel's queue until one ends.
func limitConnections(l net.Listener, n int) *limited {
	return &limited{Listener: l, free: make(chan struct{}, n), closed: make(chan struct{})}
}

type limited struct {
	net.Listener
	free   chan struct{}
	once   sync.Once
	closed chan struct{}
	open   atomic.Int64 // connections
}

func (l *limited) Accept() (net.Conn, error) {
	select {
	case l.free <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.free
		return nil, err
	}
	l.open.Add(1)
	return &counted{Conn: c, done: func() {
		l.open.Add(-1)
		<-l.free
	}}, nil
}

func (l *limited) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

type counted struct {
	net.Conn
	once sync.Once
	done func()
}

func (c *counted) Close() error {
	c.once.Do(c.done)
	return c.Conn.Close()
}

// onceHeard gives connections on when their first byte is there, and closes those that say nothing for as long as most. net/http
// would give a new connection no longer than a header, while clients keep connections that they opened and did not need, browsers
// on purpose: a POST on one that is closed at that moment fails, and is not made again.
func onceHeard(l net.Listener, most time.Duration) *heard {
	h := &heard{Listener: l, most: most, next: make(chan accepted), closed: make(chan struct{}), silent: map[net.Conn]bool{}}
	h.running.Go(h.accept)
	return h
}

type heard struct {
	net.Listener
	most    time.Duration
	next    chan accepted
	once    sync.Once
	closed  chan struct{}
	running sync.WaitGroup

	mu     sync.Mutex
	silent map[net.Conn]bool // nil: closed
}

type accepted struct {
	net.Conn
	err error
}

func (h *heard) Accept() (net.Conn, error) {
	select {
	case a := <-h.next:
		return a.Conn, a.err
	case <-h.closed:
		return nil, net.ErrClosed
	}
}

// Close closes those connections too that nobody has heard of.
func (h *heard) Close() error {
	err := net.ErrClosed
	h.once.Do(func() {
		close(h.closed)
		err = h.Listener.Close()
		h.mu.Lock()
		for c := range h.silent {
			_ = c.Close()
		}
		h.silent = nil
		h.mu.Unlock()
		h.running.Wait()
	})
	return err
}

func (h *heard) accept() {
	for {
		c, err := h.Listener.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			h.give(accepted{err: err}) // net/http knows how long to wait
		default:
			h.running.Go(func() { h.hear(c) })
		}
	}
}

// hear waits for the first byte of a connection.
func (h *heard) hear(c net.Conn) {
	if !h.keep(c) {
		_ = c.Close()
		return
	}
	first := make([]byte, 1)
	_ = c.SetReadDeadline(time.Now().Add(h.most))
	n, _ := c.Read(first)
	_ = c.SetReadDeadline(time.Time{})
	h.drop(c)
	if n == 0 || !h.give(accepted{Conn: &begun{Conn: c, first: first}}) {
		_ = c.Close()
	}
}

func (h *heard) give(a accepted) bool {
	select {
	case h.next <- a:
		return true
	case <-h.closed:
		return false
	}
}

func (h *heard) keep(c net.Conn) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.silent != nil {
		h.silent[c] = true
	}
	return h.silent != nil
}

func (h *heard) drop(c net.Conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.silent, c)
}

// begun is a connection with its first byte read already. net/http reads it from one goroutine at a time.
type begun struct {
	net.Conn
	first []byte
}

func (c *begun) Read(b []byte) (int, error) {
	if len(c.first) == 0 || len(b) == 0 {
		return c.Conn.Read(b)
	}
	n := copy(b, c.first)
	c.first = c.first[n:]
	return n, nil
}
