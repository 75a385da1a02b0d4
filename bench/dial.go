package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

const (
	dialTimeout    = 10 * time.Second
	dialsAtOnce    = 64 // more overflow the listener's queue, and a lost SYN costs a second
	reconnectPause = 20 * time.Millisecond
)

var errCut = errors.New("the run is over")

func (r *round) dialAll(ctx context.Context) ([]*conn, error) {
	conns := make([]*conn, r.connections)
	failures := make([]error, dialsAtOnce)
	var group sync.WaitGroup
	for d := range dialsAtOnce {
		group.Go(func() {
			for i := d; i < len(conns) && failures[d] == nil; i += dialsAtOnce {
				conns[i], failures[d] = r.dial(ctx)
			}
		})
	}
	group.Wait()
	if err := errors.Join(failures...); err != nil {
		for c := range r.conns {
			c.Close()
		}
		return nil, fmt.Errorf("connect %d times: %w", r.connections, err)
	}
	return conns, nil
}

func (r *round) dial(ctx context.Context) (*conn, error) {
	dialer := net.Dialer{Timeout: dialTimeout}
	tcp, err := dialer.DialContext(ctx, "tcp", r.addr)
	if err != nil {
		return nil, err
	}
	c := newConn(tcp)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cut {
		c.Close()
		return nil, errCut
	}
	r.conns[c] = struct{}{}
	return c, nil
}

func (r *round) forget(c *conn) {
	c.Close()
	r.mu.Lock()
	delete(r.conns, c)
	r.mu.Unlock()
}

// reconnect tries once; whoever wanted to send has to see that nobody is there.
func (r *round) reconnect(timer *time.Timer) *conn {
	c, err := r.dial(context.Background())
	if err == nil {
		return c
	}
	r.tally.Load().strange.keep(err.Error())
	r.sleep(timer, reconnectPause)
	return nil
}
