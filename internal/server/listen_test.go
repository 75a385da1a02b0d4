package server

import (
	"errors"
	"io"
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

func TestAConnectionIsGivenOnWithItsFirstByte(t *testing.T) {
	outer, err := listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := onceHeard(outer, time.Hour)
	dial := func() net.Conn {
		t.Helper()
		c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", outer.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	silent, speaks := dial(), dial()
	if _, err := io.WriteString(speaks, "hello"); err != nil {
		t.Fatal(err)
	}
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	got := make([]byte, 5)
	if _, err := io.ReadFull(c, got); err != nil || string(got) != "hello" {
		t.Errorf("read %q, %v", got, err)
	}
	if c.RemoteAddr().String() != speaks.LocalAddr().String() {
		t.Errorf("the one that says nothing was given on: %v", c.RemoteAddr())
	}
	// What nobody has heard of ends with the listener.
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if n, err := silent.Read(got); n > 0 || err == nil {
		t.Errorf("read %d bytes, %v, want the end", n, err)
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("closed, and accepted: %v", err)
	}
	if err := l.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("closed twice: %v", err)
	}
}

func TestAConnectionThatSaysNothingIsLetGoInTheEnd(t *testing.T) {
	outer, err := listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	counting := limitConnections(outer, 1)
	l := onceHeard(counting, 10*time.Millisecond)
	defer func() { _ = l.Close() }()
	for range 3 { // each has the only place, and leaves it to the next
		c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", outer.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if n, err := c.Read(make([]byte, 1)); n > 0 || err == nil {
			t.Errorf("read %d bytes, %v, want the end", n, err)
		}
		_ = c.Close()
	}
}
