package testenv

import (
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	clusterMasters  = 3
	clusterReplicas = 1      // of each
	clusterDead     = "2000" // milliseconds of silence after which a node is taken for dead
)

// RedisCluster is three masters, and a replica of each.
type RedisCluster struct {
	Nodes []*Server
}

// StartRedisCluster starts a cluster of the test's own, empty, and waits until it serves every key.
func StartRedisCluster(tb testing.TB, o Options) *RedisCluster {
	tb.Helper()
	c := &RedisCluster{}
	password := rand.Text()
	var names []string // with the ports that they talk to each other by
	for range clusterMasters * (1 + clusterReplicas) {
		bus, held, err := reservePort()
		if err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(func() { held.Close() })
		n := startFor(tb, clusterNode{password: password, bus: bus}, o)
		c.Nodes, names = append(c.Nodes, n), append(names, fmt.Sprintf("%s@%d", n.Addr(), bus))
	}
	if err := c.join(names, password); err != nil {
		tb.Fatal(err)
	}
	return c
}

// URL names all nodes.
func (c *RedisCluster) URL() string {
	var others []string
	for _, n := range c.Nodes[1:] {
		others = append(others, "addr="+n.Addr())
	}
	return strings.TrimSuffix(c.Nodes[0].URL(), "/0") + "?" + strings.Join(others, "&")
}

func (c *RedisCluster) join(names []string, password string) error {
	cli, err := lookPath("redis-cli", "Redis", "redis-tools")
	if err != nil {
		return err
	}
	args := append([]string{"--cluster", "create"}, names...)
	args = append(args, "--cluster-replicas", fmt.Sprint(clusterReplicas), "--cluster-yes")
	if err := runClient("", []string{"REDISCLI_AUTH=" + password}, cli, args...); err != nil {
		return err
	}
	for _, n := range c.Nodes {
		var answer string
		met, err := waitFor(startMax, func() (bool, error) {
			answer, err = exchange(n.Addr(), "AUTH "+password+"\r\nCLUSTER INFO\r\n", len("+OK\r\n$000\r\ncluster_state:ok"))
			if err != nil || !strings.HasSuffix(answer, "cluster_state:ok") {
				return false, err
			}
			// A master has its replica; a replica says that it is none.
			answer, err = exchange(n.Addr(), "AUTH "+password+"\r\nWAIT 1 100\r\n", len("+OK\r\n:0"))
			return !strings.HasSuffix(answer, ":0"), err
		})
		if err != nil || !met {
			return fmt.Errorf("the cluster does not come together: %s said %q: %w", n.Addr(), answer, err)
		}
	}
	return nil
}

// clusterNode is a Redis 7 that joins others. All have one password.
type clusterNode struct {
	redis
	password string
	bus      int
}

func (e clusterNode) prepare(s *Server) error {
	s.password = e.password
	return os.WriteFile(filepath.Join(s.folder, "redis.conf"), fmt.Appendf(nil, `requirepass %[1]s
masterauth %[1]s
cluster-enabled yes
cluster-node-timeout %[2]s
cluster-port %[3]d
repl-diskless-sync-delay 0
`, e.password, clusterDead, e.bus), 0o644)
}
