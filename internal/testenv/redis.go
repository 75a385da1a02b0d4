package testenv

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// redis is Redis 6 or later, with its append-only file.
type redis struct{}

func (redis) name() string         { return "Redis" }
func (redis) admin() string        { return "default" }
func (redis) stop() syscall.Signal { return syscall.SIGTERM }
func (redis) settle(*Server) error { return nil }
func (redis) url(s *Server, _, _ string) string {
	return fmt.Sprintf("redis://default:%s@%s/0", s.password, s.Addr())
}

// prepare writes down the password, which a command line would show to everybody.
func (redis) prepare(s *Server) error {
	return os.WriteFile(filepath.Join(s.folder, "redis.conf"), []byte("requirepass "+s.password+"\n"), 0o644)
}

func (redis) command(s *Server) (command, error) {
	binary, err := lookPath("redis-server", "Redis", "redis-server")
	settings := map[string]string{
		"bind":        "127.0.0.1",
		"port":        strconv.Itoa(s.port),
		"appendonly":  "yes",
		"appendfsync": "everysec",
		"save":        "",
	}
	maps.Copy(settings, s.settings)
	args := []string{"redis.conf"}
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		args = append(args, "--"+name, settings[name])
	}
	return command{binary: binary, args: args}, err
}

func (e redis) ask(s *Server) error {
	return e.greet(s, func(say string, n int) (string, error) { return exchange(s.Addr(), say, n) })
}

// greet answers nil when the server answers a greeting.
func (redis) greet(s *Server, exchange func(say string, n int) (string, error)) error {
	const want = "+OK\r\n+PONG\r\n"
	got, err := exchange("AUTH "+s.password+"\r\nPING\r\n", len(want))
	if err == nil && got != want {
		err = fmt.Errorf("to PING it said %q", strings.TrimSpace(got)) // it may still be loading its data
	}
	return err
}
