package e2e

import (
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-oms/holdfast/api"
	"github.com/holdfast-oms/holdfast/internal/testenv"
)

// where is what a desk stands on: the kind of its record, how many processes serve it, and what stands in front of them.
type where struct {
	record    string
	database  func(*testing.T) string // the URL of an empty one
	processes int
	front     front
	flags     []string // that tell processes of what stands in front
	env       []string
}

// onFile is a desk as it is without any setting.
var onFile = where{record: "SQLite", database: database, processes: 1}

// onServers are desks whose record is a server, of one process and of three.
var onServers = []where{
	{record: "PostgreSQL", database: onPostgres, processes: 1},
	{record: "PostgreSQL", database: onPostgres, processes: 3},
	{record: "MariaDB", database: onMariaDB, processes: 1},
	{record: "MariaDB", database: onMariaDB, processes: 3},
}

// behindRedis are desks of three processes that know things together.
var (
	behindRedis    = where{record: "PostgreSQL", database: onPostgres, processes: 3, front: oneRedis}
	behindACluster = where{record: "PostgreSQL", database: onPostgres, processes: 3, front: aCluster}
	mariaDBToo     = where{record: "MariaDB", database: onMariaDB, processes: 3, front: oneRedis}
	overTheNet     = where{record: "PostgreSQL", database: onPostgres, processes: 3, front: overTLS}
)

// tours are where somebody is shown around.
var tours = []where{onFile, mariaDBToo, behindACluster, overTheNet}

func onPostgres(t *testing.T) string { t.Helper(); return testenv.PostgresURL(t) }
func onMariaDB(t *testing.T) string  { t.Helper(); return testenv.MariaDBURL(t) }

// everywhere runs a test on every record, behind every number of processes, with Redis in front, and at more places.
func everywhere(t *testing.T, test func(*testing.T, where), more ...where) {
	t.Helper()
	t.Parallel()
	at(t, slices.Concat([]where{onFile}, onServers, []where{behindRedis, behindACluster}, more), test)
}

// at runs a test at some places, some of them side by side: processes that start and heal leave the machine to others.
func at(t *testing.T, places []where, test func(*testing.T, where)) {
	t.Helper()
	for _, w := range places {
		t.Run(w.String(), func(t *testing.T) {
			t.Parallel()
			test(t, w.open(t))
		})
	}
}

func (w where) String() string {
	name := fmt.Sprintf("%s, %d", w.record, w.processes)
	if w.front.name != "" {
		name += ", " + w.front.name
	}
	return name
}

// open starts what stands in front.
func (w where) open(t *testing.T) where {
	t.Helper()
	if w.front.start != nil {
		var address string
		address, w.env = w.front.start(t)
		w.flags = []string{"--redis-url", address}
	}
	return w
}

// address is that of what stands in front.
func (w where) address() string { return w.flags[1] }

// alone is the same place with one process.
func (w where) alone() where {
	w.processes = 1
	return w
}

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
	front    front
}

// fleet are the processes of a desk, none of which runs yet.
func (w where) fleet(t *testing.T, s setup, database string, flags ...string) *fleet {
	t.Helper()
	s.env = slices.Concat(s.env, w.env)
	return &fleet{t: t, setup: s, database: database, flags: slices.Concat(w.flags, flags), servers: make([]*server, w.processes), front: w.front}
}

// serve starts all processes and waits until each is ready.
func (w where) serve(t *testing.T, s setup, database string, flags ...string) *fleet {
	t.Helper()
	f := w.fleet(t, s, database, flags...)
	f.up()
	return f
}

// up starts those processes that do not run, at the same time, as a deployment does, and waits until each is ready and believes what
// stands in front.
func (f *fleet) up() {
	f.t.Helper()
	begun := make([]*program, len(f.servers))
	for i, s := range f.servers {
		if s == nil || s.ended() {
			begun[i] = f.begin()
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
	if f.front.start != nil {
		f.believes(startMax)
	}
}

// begin starts a process and does not wait for it.
func (f *fleet) begin() *program {
	f.t.Helper()
	return f.setup.begin(f.t, f.database, f.flags...)
}

// believes waits until every process that runs believes what stands in front, and says so.
func (f *fleet) believes(limit time.Duration) {
	f.t.Helper()
	testenv.Until(f.t, limit, "Redis to be used", func() bool { return f.each(func(s *server) bool { return s.front() == working }) })
}

// each is whether all processes that run are so.
func (f *fleet) each(is func(*server) bool) bool {
	for _, s := range f.servers {
		if !s.ended() && !is(s) {
			return false
		}
	}
	return true
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
