package testenv

import (
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const (
	sentinels      = 3
	sentinelQuorum = 2
	sentinelDead   = 1000 // milliseconds of silence after which a sentinel takes a server for dead
	sentinelSet    = "holdfast"
)

// RedisSentinels is a master with a replica, and sentinels who put the replica in its place. All have one password.
type RedisSentinels struct {
	Master, Replica *Server
	Sentinels       []*Server
}

// StartRedisSentinels starts such a group of the test's own, empty, and waits until everybody in it knows of the others. It takes some
// seconds.
func StartRedisSentinels(tb testing.TB, o Options) *RedisSentinels {
	tb.Helper()
	password := rand.Text()
	g := &RedisSentinels{Master: startFor(tb, watched{password: password}, o)}
	g.Replica = startFor(tb, watched{password: password, master: g.Master}, o)
	whole := func(s *Server, ask, want string) {
		want = "+OK\r\n" + want
		var answer string
		met, err := waitFor(startMax, func() (met bool, err error) {
			answer, err = exchange(s.Addr(), "AUTH "+password+"\r\n"+ask+"\r\n", len(want))
			return answer == want, err
		})
		if err != nil || !met {
			tb.Fatalf("the sentinels do not come together: %s said %q to %s: %v", s.Addr(), answer, ask, err)
		}
	}
	whole(g.Master, "WAIT 1 100", ":1") // it tells the sentinels of its replica when they ask for the first time
	for range sentinels {
		g.Sentinels = append(g.Sentinels, startFor(tb, sentinel{password: password, master: g.Master}, Options{}))
	}
	for _, s := range g.Sentinels {
		whole(s, "SENTINEL REPLICAS "+sentinelSet, "*1")
		whole(s, "SENTINEL CKQUORUM "+sentinelSet, fmt.Sprintf("+OK %d usable", sentinels))
	}
	return g
}

// URL names the sentinels, who want the password, too.
func (g *RedisSentinels) URL() string {
	address := strings.TrimSuffix(g.Sentinels[0].URL(), "/0") + "?"
	for _, s := range g.Sentinels[1:] {
		address += "addr=" + s.Addr() + "&"
	}
	return address + "master_set=" + sentinelSet + "&sentinel_auth=same"
}

// watched is a Redis whose place sentinels give to others.
type watched struct {
	redis
	password string
	master   *Server // nil: it begins as one
}

func (e watched) prepare(s *Server) error {
	s.password = e.password
	text := fmt.Sprintf("requirepass %[1]s\nmasterauth %[1]s\nrepl-diskless-sync-delay 0\n", e.password)
	if e.master != nil {
		text += fmt.Sprintf("replicaof 127.0.0.1 %d\n", e.master.port)
	}
	return writeRewritable(filepath.Join(s.folder, "redis.conf"), text)
}

// sentinel is a Redis that watches others.
type sentinel struct {
	redis
	password string
	master   *Server
}

func (sentinel) name() string { return "Sentinel" }

func (e sentinel) prepare(s *Server) error {
	s.password = e.password
	return writeRewritable(filepath.Join(s.folder, "sentinel.conf"), fmt.Sprintf(`requirepass %[1]s
sentinel sentinel-pass %[1]s
sentinel monitor %[2]s 127.0.0.1 %[3]d %[4]d
sentinel auth-pass %[2]s %[1]s
sentinel down-after-milliseconds %[2]s %[5]d
sentinel failover-timeout %[2]s %[6]d
`, e.password, sentinelSet, e.master.port, sentinelQuorum, sentinelDead, 5*sentinelDead))
}

func (e sentinel) command(s *Server) (command, error) {
	c, err := e.redis.command(s)
	c.args = []string{"sentinel.conf", "--sentinel", "--bind", "127.0.0.1", "--port", strconv.Itoa(s.port)}
	return c, err
}

// writeRewritable writes a file that its server writes anew.
func writeRewritable(file, text string) error {
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return err
	}
	return own(file)
}
