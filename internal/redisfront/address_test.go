package redisfront_test

import (
	"crypto/tls"
	"net"
	"testing"
	"time"

	"github.com/holdfast-oms/holdfast/internal/redisfront"
)

// nameAsked listens for TLS and gives the name whose certificate the first client wants to see; "" is none.
func nameAsked(t *testing.T) (port string, name <-chan string) {
	t.Helper()
	asked := make(chan string, 1)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		select {
		case asked <- hello.ServerName:
		default:
		}
		return nil, net.ErrClosed
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				_ = conn.(*tls.Conn).Handshake() //nolint:errcheck,forcetypeassert // it fails
				conn.Close()
			}()
		}
	}()
	_, port, err = net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port, asked
}

// Each of several servers has a certificate of its own: it is asked for the name that it was given in the address, not for the first.
func TestEachServerIsAskedForItsOwnCertificate(t *testing.T) {
	first, _ := nameAsked(t)
	second, name := nameAsked(t)
	begin(t, newRecord(), redisfront.Options{Address: "rediss://127.0.0.1:" + first + "?addr=localhost:" + second + "&master_set=m"})
	select {
	case got := <-name:
		if got != "localhost" {
			t.Errorf("it was asked for the certificate of %q, want localhost", got)
		}
	case <-time.After(patience):
		t.Error("nobody came")
	}
}
