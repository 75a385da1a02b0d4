package sqlstore

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/stdlib"
)

// sendPostgres sends statements in a pipeline: each is planned and run, and sees what was committed, once the one before it has ended.
func sendPostgres(ctx context.Context, one *session, statements []statement) (answers int, err error) {
	err = one.conn.Raw(func(driverConn any) error {
		pg, ok := driverConn.(*stdlib.Conn)
		switch {
		case !ok:
			return fmt.Errorf("%T is no connection to PostgreSQL", driverConn)
		case pg.Conn().IsClosed():
			return driver.ErrBadConn
		}
		pipeline, err := fill(ctx, pg.Conn(), statements)
		if err != nil {
			return err
		}
		for _, st := range statements {
			if err := hear(pipeline, pg.Conn().TypeMap(), st); err != nil {
				_ = pipeline.Close() // what it would say was said
				return err
			}
			answers++
		}
		return pipeline.Close()
	})
	return answers, err
}

// fill sends statements. Those that have arguments or find rows are prepared, once for each connection.
func fill(ctx context.Context, conn *pgx.Conn, statements []statement) (*pgconn.Pipeline, error) {
	prepared := make([]*pgconn.StatementDescription, len(statements))
	for i, st := range statements {
		if st.args == nil && st.each == nil {
			continue
		}
		var err error
		if prepared[i], err = conn.Prepare(ctx, st.query, st.query); err != nil {
			return nil, fmt.Errorf("prepare: %w", err)
		}
	}
	pipeline := conn.PgConn().StartPipeline(ctx)
	args, _ := bindings.Get().(*binding) // nothing else is in it
	defer bindings.Put(args)
	unsent := 0
	for i, st := range statements {
		if prepared[i] == nil {
			pipeline.SendQueryParams(st.query, nil, nil, nil, nil)
			continue
		}
		if err := args.bind(conn.TypeMap(), prepared[i], st.args); err != nil {
			_ = pipeline.Close()
			return nil, fmt.Errorf("bind: %w", err)
		}
		if unsent += len(args.bytes); unsent > sendAhead {
			if err := pipeline.Flush(); err != nil {
				return nil, err
			}
			unsent = len(args.bytes)
		}
		conn.PgConn().Frontend().Send(roomFor(len(args.bytes)))
		pipeline.SendQueryStatement(prepared[i], args.values, args.formats, formatsOf(conn.TypeMap(), prepared[i]))
	}
	err := pipeline.Sync()
	return pipeline, err
}

// hear takes in the answer to a statement.
func hear(pipeline *pgconn.Pipeline, types *pgtype.Map, st statement) error {
	result, err := pipeline.GetResults()
	if err != nil {
		return err
	}
	answer, ok := result.(*pgconn.ResultReader)
	if !ok {
		return fmt.Errorf("the answer is a %T", result)
	}
	if st.each != nil {
		found := pgx.RowsFromResultReader(types, answer)
		defer found.Close()
		for found.Next() {
			if err := st.each(found); err != nil {
				return fmt.Errorf("scan: %w", err)
			}
		}
		return found.Err()
	}
	tag, err := answer.Close()
	switch {
	case err != nil:
		return err
	case st.tag != "" && tag.String() != st.tag:
		return fmt.Errorf("%w: %s", errTag, tag)
	case st.done != nil:
		st.done()
	}
	return nil
}

// sendAhead is how many bytes of statements come together before they are sent: the server works on them while the next are made.
const sendAhead = 16 << 10

// binding is the arguments of a statement as they are sent. The driver's own builder forgets its memory after every statement, and for
// the arrays of a batch it would grow again from nothing.
type binding struct {
	values  [][]byte
	formats []int16
	bytes   []byte // of all values; never nil, for then what is empty would be NULL
}

const (
	bindingMin = 16 << 10
	bindingMax = 1 << 20 // above it memory is not kept
)

var bindings = sync.Pool{New: func() any { return &binding{bytes: make([]byte, 0, bindingMin)} }}

// bind has the arguments of a statement stand in b, until it is called again.
func (b *binding) bind(types *pgtype.Map, to *pgconn.StatementDescription, args []any) error {
	if len(args) != len(to.ParamOIDs) {
		return fmt.Errorf("%d arguments for %d places", len(args), len(to.ParamOIDs))
	}
	if cap(b.bytes) > bindingMax {
		b.bytes = make([]byte, 0, bindingMin)
	}
	b.values, b.formats, b.bytes = b.values[:0], b.formats[:0], b.bytes[:0]
	for i, arg := range args {
		format := types.FormatCodeForOID(to.ParamOIDs[i])
		if _, isText := arg.(string); isText {
			format = pgx.TextFormatCode
		}
		from := len(b.bytes)
		all, err := types.Encode(to.ParamOIDs[i], format, arg, b.bytes)
		if err != nil {
			return err
		}
		b.formats = append(b.formats, format)
		if all == nil { // NULL
			b.values = append(b.values, nil)
			continue
		}
		b.bytes = all
		b.values = append(b.values, all[from:])
	}
	return nil
}

// formatsOf says how the columns that a statement finds are sent.
func formatsOf(types *pgtype.Map, by *pgconn.StatementDescription) []int16 {
	formats := make([]int16, len(by.Fields))
	for i := range by.Fields {
		formats[i] = types.FormatCodeForOID(by.Fields[i].DataTypeOID)
	}
	return formats
}

// roomFor is a message of no bytes. It makes room among what waits to be sent, once, for so many bytes of arguments and what stands
// around them; without it that memory grows by a quarter again and again.
type roomFor int

func (roomFor) Frontend() {}

func (roomFor) Decode([]byte) error { return errors.ErrUnsupported }

func (n roomFor) Encode(waiting []byte) ([]byte, error) {
	return slices.Grow(waiting, int(n)+1<<10), nil
}
