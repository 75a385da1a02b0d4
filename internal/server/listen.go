package server

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
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
