package client

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

// Bounds of a stream's messages.
const (
	lineBytesMax = 1 << 20 // an order of 100 lines with its metadata is a tenth of it
	dataBytesMax = 4 << 20
)

var (
	errLine = errors.New("a line of the stream is too long")
	errData = errors.New("a message of the stream is too long")
	errText = errors.New("the stream is not UTF-8")
)

// sseMessage is one message of a stream. id is the last that was seen, in this message or before it.
type sseMessage struct {
	event string
	id    string
	data  []byte
}

// sseReader reads the event stream format of the HTML standard (section 9.2.6), which says of each case below what is right.
type sseReader struct {
	r       *bufio.Reader
	begun   bool
	afterCR bool // a line feed that follows belongs to the line end before it
	line    []byte
	data    []byte
	id      string // the last that was seen; also of blocks without data
	mark    string // the last of a block without data
}

func newSSEReader(r io.Reader) *sseReader { return &sseReader{r: bufio.NewReader(r)} }

// next gives the next message. What stands in it is valid until the call after. A message that was not ended by an empty line
// was cut, and is not one.
func (s *sseReader) next() (sseMessage, error) {
	var event string
	id := s.id
	s.data = s.data[:0]
	lines := 0 // of data
	for {
		line, err := s.readLine()
		if err != nil {
			return sseMessage{}, err
		}
		if len(line) == 0 {
			if lines == 0 {
				if id != s.id {
					s.mark = id
				}
				s.id, event = id, ""
				continue
			}
			s.id = id
			return sseMessage{event: event, id: id, data: s.data[:len(s.data)-1]}, nil
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(name) { // "" is a comment, and what is not known is none of our business
		case "event":
			event = string(value)
		case "id":
			if bytes.IndexByte(value, 0) < 0 {
				id = string(value)
			}
		case "data":
			lines++
			if len(s.data)+len(value) > dataBytesMax {
				return sseMessage{}, errData
			}
			s.data = append(append(s.data, value...), '\n')
		}
	}
}

// readLine gives a line without its end, which is a line feed, a carriage return, or both. It waits for nothing that stands
// behind a carriage return: that may take its time.
func (s *sseReader) readLine() ([]byte, error) {
	s.line = s.line[:0]
	for {
		c, err := s.r.ReadByte()
		if err != nil {
			return nil, err
		}
		after := s.afterCR
		s.afterCR = c == '\r'
		switch {
		case c == '\n' && after:
			continue
		case c == '\n' || c == '\r':
			return s.text()
		case len(s.line) == lineBytesMax:
			return nil, errLine
		}
		s.line = append(s.line, c)
	}
}

func (s *sseReader) text() ([]byte, error) {
	if !s.begun {
		s.begun = true
		s.line = bytes.TrimPrefix(s.line, []byte("\ufeff"))
	}
	if !utf8.Valid(s.line) {
		return nil, errText
	}
	return s.line, nil
}

// foreign is a stream that is not a desk's: to open it again would not help.
type foreign struct{ error }

func (f foreign) Unwrap() error { return f.error }

func foreignf(format string, args ...any) error { return foreign{fmt.Errorf(format, args...)} }
