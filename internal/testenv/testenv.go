// Package testenv gives tests the servers that Holdfast works with: private PostgreSQL, MariaDB, Redis and RabbitMQ on free ports of
// 127.0.0.1 in temporary folders, which can be killed, paused and started again, and a proxy that does what bad networks do.
// Whatever it starts ends with the test process, however that ends.
package testenv

import (
	"fmt"
	"sync"
	"testing"
)

// Options change how a server of a test's own is started.
type Options struct {
	// Settings are the server's own, by its own names, like "fsync": "off"; for RabbitMQ lines of its
	// rabbitmq.conf. What is not set here is as durable as Holdfast asks for.
	Settings map[string]string
}

// StartPostgres starts a PostgreSQL of the test's own. Its URL is that of an ordinary user who owns an empty database.
func StartPostgres(tb testing.TB, o Options) *Server {
	tb.Helper()
	return startFor(tb, postgres{}, o)
}

// StartMariaDB starts a MariaDB of the test's own. Its URL is that of an ordinary user who may do anything in an empty database.
func StartMariaDB(tb testing.TB, o Options) *Server {
	tb.Helper()
	return startFor(tb, mariadbOrMySQL(), o)
}

// StartRedis starts a Redis of the test's own, empty.
func StartRedis(tb testing.TB, o Options) *Server {
	tb.Helper()
	return startFor(tb, redis{}, o)
}

// StartRabbitMQ starts a RabbitMQ of the test's own, empty. It takes some seconds.
func StartRabbitMQ(tb testing.TB, o Options) *Server {
	tb.Helper()
	return startFor(tb, &rabbitmq{}, o)
}

// PostgresURL gives a new, empty database on a PostgreSQL that all tests of the process share. It is dropped when the test ends.
func PostgresURL(tb testing.TB) string {
	tb.Helper()
	return newDatabase(tb, sharedPostgres)
}

// MariaDBURL gives a new, empty database on a MariaDB that all tests of the process share. It is dropped when the test ends.
func MariaDBURL(tb testing.TB) string {
	tb.Helper()
	return newDatabase(tb, sharedMariaDB)
}

var (
	sharedPostgres = sync.OnceValues(func() (*Server, error) { return start(postgres{}, Options{}) })
	sharedMariaDB  = sync.OnceValues(func() (*Server, error) { return start(mariadbOrMySQL(), Options{}) })
)

// databases is an engine whose server holds many of them.
type databases interface {
	engine
	createDatabase(s *Server, name string) error
	dropDatabase(s *Server, name string) error
}

func newDatabase(tb testing.TB, shared func() (*Server, error)) string {
	tb.Helper()
	s, err := shared()
	if err != nil {
		tb.Fatal(err)
	}
	e, ok := s.engine.(databases)
	if !ok {
		tb.Fatalf("%s has no databases", s.engine.name())
	}
	name := fmt.Sprintf("%s_%d", owner, s.made.Add(1))
	if err := e.createDatabase(s, name); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := e.dropDatabase(s, name); err != nil {
			tb.Error(err)
		}
	})
	return s.engine.url(s, owner, name)
}
