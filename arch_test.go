package holdfast_test

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
)

// Packages are named here without the module and without "internal/". "x/..." is x and everything below it.
const (
	ground  = "money fault limits ratelimit wire failpoint planted "
	nouns   = ground + "product stock order payment user event audit apikey "
	road    = nouns + "ledger "
	desk    = road + "checkout feed "
	outward = "sqlstore/... redisfront/... inproc/... rabbitbus/... stocksync/... webhook/... provider/... "
	inward  = "httpapi/... console/... worker/... "
)

// arrows is the map of the house, bottom to top: what each package may import of this module, and why no more.
var arrows = []arrow{
	{"money", "", "money is arithmetic: it needs nobody"},
	{"fault", "", "a fault is what everybody above can return, so it knows none of them"},
	{"limits", "", "limits are numbers and the checks of text against them"},
	{"ratelimit", "", "how often something may happen is numbers and their text: who keeps them and who asks stands above"},
	{"wire", "money", "how a value is written as JSON is below what the values mean"},
	{"failpoint/...", "", "a fail point may stand anywhere, so it knows no place"},
	{"planted", "", "a mistake made on purpose may stand anywhere, so it knows no place"},

	{"product", ground, nounsWhy},
	{"user", ground, nounsWhy},
	{"event", ground, "an event carries its object as bytes, so it need not know what it tells of"},
	{"apikey", ground + "user", nounsWhy},
	{"audit", ground, "the shape of a report, for those who make it and those who show it"},
	{"stock", ground + "product", nounsWhy},
	{"order", ground + "product user", nounsWhy},
	{"payment", ground + "order", nounsWhy},

	{"ledger", nouns, "the rules are pure and the ports are the ledger's own: who stores and who asks stands above it"},
	{"checkout", road, "checkout goes around the ledger by ports, so that any store and any front can stand behind them"},
	{"feed", nouns + "checkout", "the feed reads the log by checkout's port and knows neither who stores it nor who is listening"},

	{"sqlstore/...", desk, outwardWhy},
	{"redisfront/...", desk, outwardWhy},
	{"inproc/...", desk, outwardWhy},
	{"rabbitbus/...", desk, outwardWhy},
	{"stocksync/...", desk, outwardWhy},
	{"webhook/...", desk, outwardWhy},
	{"provider/...", desk, outwardWhy},

	{"httpapi/...", desk + "api", inwardWhy},
	{"console/...", desk, inwardWhy},
	{"worker/...", desk, inwardWhy},

	{"config", ground, "settings are read by server and cli and handed down as values, so config needs nobody"},
	{"telemetry", desk, "telemetry counts what the desk tells it and starts nothing"},
	{"server", desk + outward + inward + "config telemetry", "server puts the process together; nobody else does, and it takes no commands from a terminal"},

	{"api", "", "the public shapes stand alone: a client must not bring the server with it"},
	{"client", "api", "the client is what a merchant imports: the public shapes and nothing internal"},
	{"bench/...", ground + "api client", "the load generator measures from outside, as a client does"},
	{"cli/...", nouns + "server config telemetry api client bench/...", "a command speaks HTTP or starts the server; what stands behind the server is the server's business"},
	{"cmd/holdfast", "cli/...", "main hands over to the command line and does nothing else"},

	{"cmd/stack", "testenv/...", "it starts other people's servers as tests do, and the real binary beside them: it needs nothing of ours inside"},

	{"testenv/...", ground, "testenv starts other people's servers and knows nothing of ours"},
	{"conform/...", desk + "testenv/...", "a suite tests a port, so it knows the port and never one backend"},
	{"sim", desk + "inproc/... worker/...", "the simulation runs the real desk, fronts and loops over a record of its own: nothing else is let in"},
	{"e2e", "api client testenv/...", "the real binary is driven from outside"},
	{".", "", "the root holds documents and this test"},
}

const (
	nounsWhy   = "nouns are pure and know only the nouns they are made of; what happens between them is the ledger's"
	outwardWhy = "a technology is one of several behind a port: it knows the desk, never another technology nor who calls"
	inwardWhy  = "those who ask know the desk; which technology answers is put together in server"
)

// technologies names the only packages that may speak them. Test files may speak to anything.
var technologies = []technology{
	{"database/sql/...", "sqlstore/... bench/...", sqlWhy},
	{"modernc.org/sqlite/...", "sqlstore/... bench/...", sqlWhy},
	{"github.com/go-sql-driver/mysql/...", "sqlstore/... bench/...", sqlWhy},
	{"github.com/jackc/pgx/v5/...", "sqlstore/... bench/... stocksync/...", sqlWhy + "; stocksync holds the replication connection"},
	{"github.com/pressly/goose/v3/...", "sqlstore/...", sqlWhy},
	{"github.com/huandu/go-sqlbuilder/...", "sqlstore/...", sqlWhy},
	{"github.com/jackc/pglogrepl/...", "stocksync/...", "change capture lives in one place"},
	{"github.com/go-mysql-org/go-mysql/...", "stocksync/...", "change capture lives in one place"},
	{"github.com/redis/rueidis/...", "redisfront/...", "Redis may be gone: only its front may notice"},
	{"github.com/rabbitmq/amqp091-go/...", "rabbitbus/...", "RabbitMQ may be gone: only its bus may notice"},
}

const sqlWhy = "only sqlstore speaks SQL, so that one place knows the databases; bench writes the rows of its rival by itself"

// pure names what the nouns and the ledger never import, so that a test can run a rule a million times.
var (
	pure    = "money fault limits ratelimit wire product stock order payment user event audit apikey ledger"
	impure  = []string{"os/...", "net", "net/http/...", "database/sql/..."}
	pureWhy = "nouns and ledger are rules over loaded rows: no files, no network, no database"
)

// nameless are names that say nothing of what a package provides.
var nameless = strings.Fields("utils util common helpers helper types base misc")

func TestImportsFollowTheArrows(t *testing.T) {
	files := readSources(t, os.DirFS("."))
	if len(files) < 2 {
		t.Fatalf("read %d Go files: the test did not see the house", len(files))
	}
	for _, b := range broken(files) {
		t.Error(b)
	}
}

func TestEveryPackageNamedInTheMapHasItsRow(t *testing.T) {
	for _, a := range arrows {
		for _, name := range strings.Fields(a.may) {
			if !slices.ContainsFunc(arrows, func(b arrow) bool { return covers(b.pkg, name) }) {
				t.Errorf("%s may import %s, which has no row", a.pkg, name)
			}
		}
		if a.why == "" {
			t.Errorf("%s has no reason", a.pkg)
		}
	}
}

// A checker that finds nothing may be blind, so here is a house with one broken arrow at a time.
func TestTheCheckerSeesABrokenArrow(t *testing.T) {
	const ours = module + "/internal/"
	for _, c := range []struct{ story, file, imports, want string }{
		{"down is fine", "internal/server/a.go", ours + "sqlstore", ""},
		{"a noun may use money", "internal/order/a.go", ours + "money", ""},
		{"anyone may fail on purpose", "internal/sqlstore/a.go", ours + "failpoint", ""},
		{"a provider may use what providers share", "internal/provider/stripe/a.go", ours + "provider", ""},
		{"a test may use anything", "internal/ledger/a_test.go", ours + "sqlstore", ""},
		{"a fail point ends its process", "internal/failpoint/a.go", "os", ""},
		{"a library that is nobody's", "internal/httpapi/a.go", "github.com/danielgtaylor/huma/v2", ""},
		{"the store speaks SQL", "internal/sqlstore/a.go", "database/sql", ""},
		{"the rival speaks SQL", "bench/a.go", "database/sql", ""},

		{"up", "internal/ledger/a.go", ours + "checkout", "the rules are pure"},
		{"from noun to road", "internal/stock/a.go", ours + "ledger", nounsWhy},
		{"from technology to technology", "internal/sqlstore/a.go", ours + "redisfront", outwardWhy},
		{"from provider to provider", "internal/provider/stripe/a.go", ours + "provider/alipay", outwardWhy},
		{"from door to door", "internal/console/a.go", ours + "httpapi", inwardWhy},
		{"from door to technology", "internal/httpapi/a.go", ours + "sqlstore", inwardWhy},
		{"settings read below the server", "internal/worker/a.go", ours + "config", inwardWhy},
		{"internals in the public shapes", "api/a.go", ours + "order", "a client must not bring the server"},
		{"a suite outside tests", "internal/server/a.go", ours + "conform", "server puts the process together"},
		{"the server below the command line", "internal/server/a.go", ours + "cli", "takes no commands"},
		{"main past the command line", "cmd/holdfast/a.go", ours + "server", "main hands over"},
		{"SQL in the ledger", "internal/ledger/a.go", "database/sql", pureWhy},
		{"SQL at the door", "internal/httpapi/a.go", "database/sql/driver", sqlWhy},
		{"a driver in the server", "internal/server/a.go", "modernc.org/sqlite", sqlWhy},
		{"Redis at the desk", "internal/checkout/a.go", "github.com/redis/rueidis/rueidislock", "Redis may be gone"},
		{"RabbitMQ in a worker", "internal/worker/a.go", "github.com/rabbitmq/amqp091-go", "RabbitMQ may be gone"},
		{"files in a noun", "internal/money/a.go", "os", pureWhy},
		{"the network in a noun", "internal/event/a.go", "net/http", pureWhy},
		{"a package off the map", "internal/stuff/a.go", "fmt", "has no row"},
		{"a name that says nothing", "internal/httpapi/utils/a.go", "fmt", "says nothing"},
	} {
		t.Run(c.story, func(t *testing.T) {
			source := fmt.Sprintf("package a\n\nimport _ %q\n", c.imports)
			got := broken(readSources(t, fstest.MapFS{c.file: {Data: []byte(source)}}))
			switch {
			case c.want == "" && len(got) > 0:
				t.Errorf("%s importing %s: got %q, want it allowed", c.file, c.imports, got)
			case c.want != "" && !strings.Contains(strings.Join(got, "\n"), c.want):
				t.Errorf("%s importing %s: got %q, want a finding that says %q", c.file, c.imports, got, c.want)
			}
		})
	}
}

type arrow struct{ pkg, may, why string }

type technology struct{ imports, only, why string }

const module = "github.com/holdfast-oms/holdfast"

// source is one Go file outside the tests.
type source struct {
	path    string
	pkg     string // as in the tables
	name    string // of its package clause
	imports []string
}

// readSources parses the files themselves, so that every build tag and system counts. Nested modules are other houses.
func readSources(t *testing.T, root fs.FS) []source {
	t.Helper()
	var files []source
	err := fs.WalkDir(root, ".", func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && p != ".":
			return skipped(root, p)
		case d.IsDir() || path.Ext(p) != ".go":
			return nil
		}
		text, err := fs.ReadFile(root, p)
		if err != nil {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), p, text, parser.ImportsOnly)
		if err != nil {
			return err
		}
		s := source{path: p, pkg: short(path.Dir(p)), name: f.Name.Name}
		if !strings.HasSuffix(p, "_test.go") {
			for _, i := range f.Imports {
				name, _ := strconv.Unquote(i.Path.Value) // the parser has read it already
				s.imports = append(s.imports, name)
			}
		}
		files = append(files, s)
		return nil
	})
	if err != nil {
		t.Fatalf("read the sources: %v", err)
	}
	return files
}

// skipped answers fs.SkipDir for the folders that the go command does not look into either.
func skipped(root fs.FS, dir string) error {
	base := path.Base(dir)
	if strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") || base == "testdata" {
		return fs.SkipDir
	}
	if _, err := fs.Stat(root, path.Join(dir, "go.mod")); err == nil {
		return fs.SkipDir
	}
	return nil
}

// broken answers one finding for everything that the tables do not allow.
func broken(files []source) []string {
	var found []string
	for _, f := range files {
		found = append(found, brokenNames(f)...)
		row := slices.IndexFunc(arrows, func(a arrow) bool { return covers(a.pkg, f.pkg) })
		if row < 0 {
			found = append(found, fmt.Sprintf("%s: package %s has no row in arch_test.go: say there what it may import, and why", f.path, f.pkg))
			continue
		}
		for _, imported := range f.imports {
			if inner, ours := strings.CutPrefix(imported, module+"/"); ours {
				a := arrows[row]
				if to := short(inner); !related(f.pkg, to) && !listed(a.may, to) {
					found = append(found, fmt.Sprintf("%s imports %s\n\twhy not: %s\n\t%s may import: %s", f.path, to, a.why, a.pkg, either(a.may)))
				}
				continue
			}
			found = append(found, brokenTechnology(f, imported)...)
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

func brokenNames(f source) []string {
	for _, name := range []string{path.Base(f.pkg), f.name} {
		if slices.Contains(nameless, name) {
			return []string{fmt.Sprintf("%s: a package named %s says nothing of what it provides", f.path, name)}
		}
	}
	return nil
}

func brokenTechnology(f source, imported string) []string {
	if listed(pure, f.pkg) && slices.ContainsFunc(impure, func(pattern string) bool { return covers(pattern, imported) }) {
		return []string{fmt.Sprintf("%s imports %s\n\twhy not: %s", f.path, imported, pureWhy)}
	}
	for _, tech := range technologies {
		if covers(tech.imports, imported) && !listed(tech.only, f.pkg) {
			return []string{fmt.Sprintf("%s imports %s\n\twhy not: %s\n\tonly these may: %s", f.path, imported, tech.why, tech.only)}
		}
	}
	return nil
}

// related reports whether one package is a folder inside the other: a family shares what its parent offers.
func related(a, b string) bool { return strings.HasPrefix(a, b+"/") || strings.HasPrefix(b, a+"/") }

func listed(patterns, pkg string) bool {
	return slices.ContainsFunc(strings.Fields(patterns), func(pattern string) bool { return covers(pattern, pkg) })
}

// covers reports whether a pattern, "x" or "x/...", means a package; a pattern covers itself.
func covers(pattern, pkg string) bool {
	tree, whole := strings.CutSuffix(pattern, "/...")
	return pattern == pkg || tree == pkg || whole && strings.HasPrefix(pkg, tree+"/")
}

func short(dir string) string { return strings.TrimPrefix(dir, "internal/") }

func either(may string) string {
	if may == "" {
		return "nothing of this module"
	}
	return may
}
