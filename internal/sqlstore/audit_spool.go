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

// spoolPage is how many rows of a spool are looked at together.
const spoolPage = 500

// spool is a query's rows in a temporary file, for databases whose connection carries one answer at a time and has no cursors: each
// answer is read to its end, and then all of them side by side. The files are some 200 bytes for every order in the record.
type spool struct {
	file    *os.File
	from    *bufio.Reader
	columns int
	text    []byte // reused
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
	defer r.close()
	file, err := os.CreateTemp("", "holdfast-audit-*")
	if err != nil {
		return nil, fmt.Errorf("keep the rows of an audit: %w", err)
	}
	kept := &spool{file: file, columns: len(r.values)}
	if err := kept.fill(r); err != nil {
		kept.discard()
		return nil, fmt.Errorf("keep the rows of an audit: %w", err)
	}
	return &stream{more: kept.page, end: kept.discard}, nil
}

func (f *spool) fill(r *stream) error {
	to := bufio.NewWriterSize(f.file, 64<<10)
	var b []byte
	for {
		more, err := r.next()
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

// page gives the next rows, none at the end.
func (f *spool) page() (page [][]any, err error) {
	for len(page) < spoolPage {
		if _, err := f.from.Peek(1); errors.Is(err, io.EOF) {
			return page, nil
		}
		row := make([]any, f.columns)
		for i := range row {
			if row[i], err = f.value(); err != nil {
				return nil, fmt.Errorf("read the rows of an audit again: %w", err)
			}
		}
		page = append(page, row)
	}
	return page, nil
}

func (f *spool) value() (any, error) {
	what, err := f.from.ReadByte()
	if err != nil || what == spooledNull {
		return nil, err
	}
	n, err := binary.ReadVarint(f.from)
	if err != nil || what == spooledNumber {
		return n, err
	}
	if int64(cap(f.text)) < n {
		f.text = make([]byte, n)
	}
	_, err = io.ReadFull(f.from, f.text[:n])
	return string(f.text[:n]), err
}

func (f *spool) discard() {
	_ = f.file.Close()
	_ = os.Remove(f.file.Name())
}
