package server

import (
	"net"
	"testing"
	"time"
)

// The connections beyond the limit wait outside until one of those inside ends: they cost the process nothing.
func TestConnectionsBeyondTheLimitWait(t *testing.T) {
	const most = 3
	outer, err := listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := limitConnections(outer, most)
	in := make(chan net.Conn)
	ended := make(chan error)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				ended <- err
				return
			}
			in <- c
		}
	}()
	for range 2 * most {
		c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", outer.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
	}
	var inside []net.Conn
	for range most {
		inside = append(inside, <-in)
	}
	for range most {
		select {
		case <-in:
			t.Fatalf("more than %d connections are inside", most)
		case <-time.After(20 * time.Millisecond):
		}
		first := inside[0]
		_ = first.Close()
		_ = first.Close() // twice is once
		inside = append(inside[1:], <-in)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; err == nil {
		t.Error("closed, and it goes on accepting")
	}
	for _, c := range inside {
		_ = c.Close()
	}
}
