package e2e

import (
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/holdfast-oms/holdfast/api"
	"github.com/holdfast-oms/holdfast/internal/testenv"
)

// front is what stands in front of a record; the zero value is nothing.
type front struct {
	name  string
	start func(*testing.T) (address string, env []string)
}

var (
	oneRedis = front{"Redis", func(t *testing.T) (string, []string) {
		t.Helper()
		return testenv.StartRedis(t, testenv.Options{}).URL(), nil
	}}
	aCluster = front{"a cluster", func(t *testing.T) (string, []string) {
		t.Helper()
		return testenv.StartRedisCluster(t, testenv.Options{}).URL(), nil
	}}
	// overTLS is Redis as strangers would have to break into it: with a certificate that an authority of the house has signed, and a user
	// who may do what the desk has to.
	overTLS = front{"Redis over TLS, a user of its own", func(t *testing.T) (string, []string) {
		t.Helper()
		r := testenv.StartRedisTLS(t, testenv.Options{})
		asAdmin := []string{"--cacert", r.Authority, "-u", r.URL()}
		for _, line := range documentedUser(t) {
			redis(t, append(asAdmin, strings.Fields(line)...)...)
		}
		t.Cleanup(func() {
			if refused := redis(t, append(asAdmin, "ACL", "LOG")...); refused != "" {
				t.Errorf("the documented user was refused:\n%s", refused)
			}
		})
		return strings.Replace(r.URL(), userOf(r.URL()), "desk:"+documentedPassword, 1), []string{"SSL_CERT_FILE=" + r.Authority}
	}}
)

const documentedPassword = "password"

// documentedUser are the lines for the desk's user as docs/operate.md has them.
func documentedUser(t *testing.T) (lines []string) {
	t.Helper()
	text, err := os.ReadFile("../docs/operate.md")
	if err != nil {
		t.Fatal(err)
	}
	lines = regexp.MustCompile(`(?m)^ACL SETUSER desk .*(\n {4}.*)*`).FindAllString(string(text), -1)
	if len(lines) == 0 || !strings.Contains(lines[0], " >"+documentedPassword+" ") {
		t.Fatalf("docs/operate.md has no user for the desk: %q", lines)
	}
	return lines
}

// userOf is the user and the password of an address.
func userOf(address string) string {
	_, rest, _ := strings.Cut(address, "://")
	user, _, _ := strings.Cut(rest, "@")
	return user
}

// redis says something to a Redis by its own client.
func redis(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("redis-cli", append([]string{"--no-auth-warning", "-e"}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("redis-cli: %v: %s", err, out)
	}
	return strings.TrimSpace(string(out))
}

// What a process says of what stands in front of it.
const (
	working  = "working"
	degraded = "degraded"
)

// front is what the process says: on the page for whoever sends requests here, and in its metrics.
func (s *server) front() string {
	s.desk.t.Helper()
	var h api.Health
	ready := s.ask("GET", "/readyz", nil)
	read(s.desk.t, ready.body, &h)
	uses := s.metric("holdfast_redis_working")
	switch told := len(h.Degraded) == 1 && strings.HasPrefix(h.Degraded[0], "redis: "); {
	case ready.status == http.StatusOK && h.Status == "ready" && h.Degraded == nil && uses == 1:
		return working
	case ready.status == http.StatusOK && h.Status == degraded && told && uses == 0:
		return degraded
	default:
		return string(ready.body) // it changes just now, or is wrong
	}
}
