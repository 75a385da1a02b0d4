package sqlstore

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pressly/goose/v3"

	"github.com/holdfast-oms/holdfast/internal/event"
)

// dialect is what one kind of database says or does in its own way. Queries are written once, beside the methods that run them,
// in the words that all know; where they have none in common, the text has a hole for a word from here.
type dialect struct {
	name  string // of its folder of migrations
	goose goose.Dialect

	lockMigrations, unlockMigrations string // whether the one lock of migrations was had, or given back; "": the file's lock is enough

	backup   string // how the record is copied, where Holdfast does not do it
	alone    bool   // one connection writes, in turns
	prepares bool   // statements are prepared once for each connection; else the driver keeps them, or needs none
	arrays   bool   // lists and rows are passed as arrays, one for each column

	begin    string               // opens a transaction that writes
	snapshot []string             // open a transaction that sees the record as it is at its first look, for reading whole tables
	window   []string             // the same for looks at few rows
	breaks   func(err error) bool // whether a connection that said this is not to be used again
	commit   func(ctx context.Context, t *tx) error
	claim    string // writes a batch's id, and when: NULL is now

	// spell puts a query that is written as SQLite would have it into the dialect's words; nil: it is as written.
	spell func(query string) string

	lock        string                    // at the end of a look whose rows are to stay as they are until the transaction ends
	join        string                    // joins two sources so that the left one comes first, where that has to be said
	indexedBy   func(index string) string // behind a table's name: how it is to be gone through
	everyStatus bool                      // the index on statuses holds pending orders too
	present     string                    // counts the tables of a name

	// orders is a source of rows by the name of orders: those of users, of numbers below one and from another on. It takes the
	// two numbers and then what the condition on the user takes; with stands before the query.
	orders func(user string) (with, source string)
	// ofUser is such a source of one user's orders, whom it names himself, and how they come newest first.
	ofUser func(id string, before, until int64) (with, source, newestFirst string, args []any)
	// numberText is an order's number as people see it.
	numberText string

	now    string                                                       // the database's clock in whole milliseconds; "": the clock is the process's own
	events func(ctx context.Context, t *tx, events []event.Event) error // writes events, under ids that rise for each subject, and that they wait
	stream func(ctx context.Context, s *snapshot, query string) (*stream, error)

	insert func(ctx context.Context, t *tx, ins *inserter, n int, row func(args []any, i int) []any) error
	update func(ctx context.Context, t *tx, up *updater, n int, row func(args []any, i int) []any) error

	// together runs statements that are all sent before the first is answered, up to one that fails, and tells how many did not; nil:
	// they are run one by one.
	together func(ctx context.Context, one *session, statements []statement) (answers int, err error)

	statementMax time.Duration // how long a statement may take, from sending it to its answer; 0: no limit
}

// spellings keeps texts as a dialect spells them. They are bounded in number, as prepared statements are.
type spellings struct{ by sync.Map }

func (s *spellings) of(d *dialect, query string) string {
	if d.spell == nil {
		return query
	}
	if text, ok := s.by.Load(query); ok {
		kept, _ := text.(string) // nothing else is kept
		return kept
	}
	text := d.spell(query)
	s.by.Store(query, text)
	return text
}

// numbered puts $1, $2, … in place of question marks. No query has one in a text of its own.
func numbered(query string) string {
	var b strings.Builder
	for n := 1; ; n++ {
		before, after, more := strings.Cut(query, "?")
		b.WriteString(before)
		if !more {
			return b.String()
		}
		b.WriteString("$" + strconv.Itoa(n))
		query = after
	}
}
