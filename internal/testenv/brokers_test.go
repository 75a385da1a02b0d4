package testenv_test

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"syscall"
	"testing"

	"github.com/holdfast-oms/holdfast/internal/testenv"
)

func TestRedisKeepsItsDataThroughAKill(t *testing.T) {
	s := testenv.StartRedis(t, testenv.Options{Settings: map[string]string{"appendfsync": "always"}})
	if got := say(t, s, "SET order 7"); got != "+OK" {
		t.Fatalf("SET: got %q, want +OK", got)
	}
	s.Kill()
	s.Start()
	if got := say(t, s, "GET order"); got != "$1" {
		t.Errorf("GET after the kill: got %q, want $1", got)
	}
}

func TestRabbitMQComesBackAfterAKill(t *testing.T) {
	s := testenv.StartRabbitMQ(t, testenv.Options{})
	greet(t, s)
	s.Kill()
	s.Start()
	greet(t, s)
	s.Stop()
	if _, err := net.Dial("tcp", s.Addr()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("connecting to the stopped server: got %v, want it refused", err)
	}
}

// say sends a command to Redis and gives the first line of the answer.
func say(t *testing.T, s *testenv.Server, command string) string {
	t.Helper()
	u, err := url.Parse(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	password, _ := u.User.Password()
	conn, err := net.Dial("tcp", u.Host)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "AUTH %s\r\n%s\r\n", password, command)
	lines := bufio.NewReader(conn)
	for range 2 {
		command, err = lines.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
	}
	return strings.TrimSpace(command)
}

// greet says hello in AMQP 0-9-1; the server's name is in the properties of its answer.
func greet(t *testing.T, s *testenv.Server) {
	t.Helper()
	conn, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "AMQP\x00\x00\x09\x01")
	answer := make([]byte, 4096)
	n, err := conn.Read(answer)
	if err != nil || !strings.Contains(string(answer[:n]), "RabbitMQ") {
		t.Errorf("greeting of RabbitMQ: got %q, %v, want its name", answer[:n], err)
	}
}
