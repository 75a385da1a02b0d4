package e2e

import (
	"fmt"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/holdfast-oms/holdfast/api"
	"github.com/holdfast-oms/holdfast/internal/testenv"
)

// where is what a desk stands on: the kind of its record, and how many processes serve it.
type where struct {
	record    string
	database  func(*testing.T) string // the URL of an empty one
	processes int
}

// onFile is a desk as it is without any setting.
var onFile = where{"SQLite", database, 1}

// onServers are desks whose record is a server, of one process and of three.
var onServers = []where{
	{"PostgreSQL", onPostgres, 1},
	{"PostgreSQL", onPostgres, 3},
	{"MariaDB", onMariaDB, 1},
	{"MariaDB", onMariaDB, 3},
}

func onPostgres(t *testing.T) string { t.Helper(); return testenv.PostgresURL(t) }
func onMariaDB(t *testing.T) string  { t.Helper(); return testenv.MariaDBURL(t) }

// everywhere runs a test on every record, and behind every number of processes, some of them side by side: processes that start and
// heal leave the machine to others.
func everywhere(t *testing.T, test func(*testing.T, where)) {
	t.Helper()
	t.Parallel()
	for _, w := range slices.Concat([]where{onFile}, onServers) {
		t.Run(w.String(), func(t *testing.T) {
			t.Parallel()
			test(t, w)
		})
	}
}

func (w where) String() string { return fmt.Sprintf("%s, %d", w.record, w.processes) }

// usual is the program that watches itself for races, where the machine has the time for it.
func (w where) usual() setup {
	if w.processes > 1 {
		return shipped
	}
	return usual()
}

// fleet is one desk, served by some processes over one database. Each request goes to the next of them.
type fleet struct {
	*desk
	t        *testing.T
	setup    setup
	database string
	flags    []string
	servers  []*server
}

// fleet are the processes of a desk, none of which runs yet.
func (w where) fleet(t *testing.T, s setup, database string, flags ...string) *fleet {
	t.Helper()
	return &fleet{t: t, setup: s, database: database, flags: flags, servers: make([]*server, w.processes)}
}

// serve starts all processes and waits until each is ready.
func (w where) serve(t *testing.T, s setup, database string, flags ...string) *fleet {
	t.Helper()
	f := w.fleet(t, s, database, flags...)
	f.up()
	return f
}

// up starts those processes that do not run, at the same time, as a deployment does, and waits until each is ready.
func (f *fleet) up() {
	f.t.Helper()
	begun := make([]*program, len(f.servers))
	for i, s := range f.servers {
		if s == nil || s.ended() {
			begun[i] = f.setup.begin(f.t, f.database, f.flags...)
		}
	}
	addresses := make([]string, len(f.servers))
	for i, p := range begun {
		if p != nil {
			f.servers[i] = p.mustServe()
		}
		addresses[i] = f.servers[i].url
	}
	f.desk = newDesk(f.t, addresses...)
}

// product puts a product on sale, and lets every process know of its stock: a process that has seen it without may say that there is
// none, for a second.
func (f *fleet) product(id string, units int64, change func(*api.PutProduct)) {
	f.t.Helper()
	f.desk.product(id, units, change)
	if len(f.servers) > 1 {
		pass(healing)
	}
}

// stop ends all processes as an operator does, kill as a power cut does.
func (f *fleet) stop() {
	f.t.Helper()
	for _, s := range f.servers {
		s.stop()
	}
}

func (f *fleet) kill() {
	for _, s := range f.servers {
		s.kill()
	}
}

// turns is whose turn it is among several addresses.
type turns struct {
	addresses []string
	next      *atomic.Uint64
}

func (x turns) address() string {
	return x.addresses[x.next.Add(1)%uint64(len(x.addresses))]
}
