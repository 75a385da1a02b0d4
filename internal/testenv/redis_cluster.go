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
func StartRedisCluster(t testing.TB, o Options) *RedisCluster {
	t.Helper()
	c := &RedisCluster{}
	e := clusterNode{password: rand.Text()}
	for range clusterMasters * (1 + clusterReplicas) {
		c.Nodes = append(c.Nodes, startFor(t, e, o))
	}
	if err := c.join(e.password); err != nil {
		t.Fatal(err)
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

func (c *RedisCluster) join(password string) error {
	cli, err := lookPath("redis-cli", "Redis", "redis-tools")
	if err != nil {
		return err
	}
	args := []string{"--cluster", "create"}
	for _, n := range c.Nodes {
		args = append(args, n.Addr())
	}
	args = append(args, "--cluster-replicas", fmt.Sprint(clusterReplicas), "--cluster-yes")
	if err := runClient("", []string{"REDISCLI_AUTH=" + password}, cli, args...); err != nil {
		return err
	}
	for _, n := range c.Nodes {
		var answer string
		met, err := waitFor(startMax, func() (bool, error) {
			answer, err = exchange(n.Addr(), "AUTH "+password+"\r\nCLUSTER INFO\r\n", len("+OK\r\n$000\r\ncluster_state:ok"))
			return strings.HasSuffix(answer, "cluster_state:ok"), err
		})
		if err != nil || !met {
			return fmt.Errorf("the cluster does not come together: %s said %q: %w", n.Addr(), answer, err)
		}
	}
	return nil
}

// clusterNode is a Redis that joins others. All have one password.
type clusterNode struct {
	redis
	password string
}

func (e clusterNode) prepare(s *Server) error {
	s.password = e.password
	return os.WriteFile(filepath.Join(s.folder, "redis.conf"), fmt.Appendf(nil, `requirepass %[1]s
masterauth %[1]s
cluster-enabled yes
cluster-node-timeout %[2]s
`, e.password, clusterDead), 0o644) //nolint:gosec // the folder is closed to others
}
