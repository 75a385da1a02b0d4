package sqlstore

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
)

// spool is a query's rows in a temporary file, for databases whose connection carries one answer at a time: each is read to its end,
// and then all of them side by side. The file is some 200 bytes for every order in the record.
type spool struct {
	file *os.File
	from *bufio.Reader
	text []byte // reused
}

// How a value is written: what it is, then a number or a length and its bytes.
const (
	spooledNull = iota
	spooledNumber
	spooledText
)

// streamSpooled reads rows as the database finds them into a file, to be streamed from there.
func streamSpooled(ctx context.Context, s *snapshot, query string) (*stream, error) {
	r, err := streamRows(ctx, s, query)
	if err != nil {
		return nil, err
	}
	defer r.rows.close()
	file, err := os.CreateTemp("", "holdfast-audit-*")
	if err != nil {
		return nil, fmt.Errorf("keep the rows of an audit: %w", err)
	}
	r.spool = &spool{file: file}
	if err := r.spool.fill(r); err != nil {
		r.spool.close()
		return nil, fmt.Errorf("keep the rows of an audit: %w", err)
	}
	return r, nil
}

func (f *spool) fill(r *stream) error {
	to := bufio.NewWriterSize(f.file, 64<<10)
	var b []byte
	for {
		more, err := r.fetch()
		if err != nil {
			return err
		}
		if !more {
			break
		}
		b = b[:0]
		for i, v := range r.values {
			if text, is := r.named(i); is {
				b = append(binary.AppendVarint(append(b, spooledText), int64(len(text))), text...)
			} else if v == nil {
				b = append(b, spooledNull)
			} else {
				b = binary.AppendVarint(append(b, spooledNumber), r.int(i))
			}
		}
		if _, err := to.Write(b); err != nil {
			return err
		}
	}
	if err := to.Flush(); err != nil {
		return err
	}
	_, err := f.file.Seek(0, io.SeekStart)
	f.from = bufio.NewReaderSize(f.file, 64<<10)
	return err
}

func (f *spool) next(values []any) (more bool, err error) {
	for i := range values {
		what, err := f.from.ReadByte()
		if err != nil {
			if i == 0 && errors.Is(err, io.EOF) {
				return false, nil
			}
			return false, err
		}
		values[i] = nil
		if what == spooledNull {
			continue
		}
		n, err := binary.ReadVarint(f.from)
		if err != nil {
			return false, err
		}
		if what == spooledNumber {
			values[i] = n
			continue
		}
		if int64(cap(f.text)) < n {
			f.text = make([]byte, n)
		}
		if _, err := io.ReadFull(f.from, f.text[:n]); err != nil {
			return false, err
		}
		values[i] = string(f.text[:n])
	}
	return true, nil
}

func (f *spool) close() {
	_ = f.file.Close()
	_ = os.Remove(f.file.Name())
}
