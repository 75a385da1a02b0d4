package client

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

// told reads a whole stream: each message as event|id|data.
func told(r io.Reader) (all []string, err error) {
	s := newSSEReader(r)
	for {
		m, err := s.next()
		if err != nil {
			return all, err
		}
		all = append(all, fmt.Sprintf("%s|%s|%s", m.event, m.id, m.data))
	}
}

func TestStreamsAreReadAsTheStandardSays(t *testing.T) {
	for _, c := range []struct {
		story, sent string
		want        []string
	}{
		{"a message", "event: a\nid: 1\ndata: x\n\n", []string{"a|1|x"}},
		{"no space, and one of two", "event:a\nid:1\ndata:  x\n\n", []string{"a|1| x"}},
		{"several lines of data", "data: x\ndata:\nid: 1\ndata: y\n\n", []string{"|1|x\n\ny"}},
		{"data that is empty is data", "id: 1\ndata\n\n", []string{"|1|"}},
		{"comments and unknown fields", ": keep\nretry: 10\nfoo: bar\nid: 1\ndata: x\n\n", []string{"|1|x"}},
		{"the last id stays", "id: 1\ndata: x\n\ndata: y\n\n", []string{"|1|x", "|1|y"}},
		{"an id without data counts", "id: 7\n\ndata: y\n\n", []string{"|7|y"}},
		{"an id with a zero byte does not", "id: 1\ndata: x\n\nid: 2\x00\ndata: y\n\n", []string{"|1|x", "|1|y"}},
		{"an event without data is forgotten", "event: a\n\nid: 1\ndata: x\n\n", []string{"|1|x"}},
		{"carriage returns", "event: a\rid: 1\rdata: x\r\rid: 2\r\ndata: y\r\n\r\n", []string{"a|1|x", "|2|y"}},
		{"a byte order mark", "\ufeffid: 1\ndata: x\n\n", []string{"|1|x"}},
		{"one only", "\ufeff\ufeffid: 1\ndata: x\n\n", []string{"||x"}},
		{"what was cut is no message", "id: 1\ndata: x\n\nid: 2\ndata: y\n", []string{"|1|x"}},
		{"nothing", "", nil},
	} {
		for how, r := range map[string]io.Reader{
			"whole": strings.NewReader(c.sent), "byte by byte": iotest.OneByteReader(strings.NewReader(c.sent)),
		} {
			if got, err := told(r); !slices.Equal(got, c.want) || !errors.Is(err, io.EOF) {
				t.Errorf("%s, %s: got %q and %v, want %q and the end", c.story, how, got, err, c.want)
			}
		}
	}
}

func TestAMessageThatEndsInACarriageReturnIsToldAtOnce(t *testing.T) {
	r, w := io.Pipe()
	t.Cleanup(func() { _ = w.Close() })
	go func() { _, _ = w.Write([]byte("id: 1\rdata: x\r\r")) }()
	if m, err := newSSEReader(r).next(); err != nil || string(m.data) != "x" {
		t.Errorf("got %q and %v, want x, without waiting for what follows", m.data, err)
	}
}

func TestStreamsAreBounded(t *testing.T) {
	long := strings.Repeat("x", lineBytesMax)
	for want, sent := range map[error]string{
		errLine: "data: " + long,
		errData: strings.Repeat("data: "+long[:len(long)-6]+"\n", dataBytesMax/len(long)+2),
		errText: "data: \xff\n",
	} {
		if _, err := told(strings.NewReader(sent)); !errors.Is(err, want) {
			t.Errorf("got %v, want %v", err, want)
		}
	}
}

// FuzzStream: whatever comes, and in whatever pieces, is read in the same way and within the bounds.
func FuzzStream(f *testing.F) {
	for _, seed := range []string{
		"event: order\nid: 12\ndata: {}\n\n", ": keep\nid: 13\n\n", "\ufeffdata\r\n\r\n", "data: a\rdata: b\r\r", "id: \x00\ndata: \xff\n\n", ":\n:\n\n\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, sent []byte) {
		whole, err := told(bytes.NewReader(sent))
		pieces, errPieces := told(iotest.OneByteReader(bytes.NewReader(sent)))
		if !slices.Equal(whole, pieces) || !errors.Is(errPieces, err) {
			t.Errorf("whole: %q, %v; in pieces: %q, %v", whole, err, pieces, errPieces)
		}
		if size := len(strings.Join(whole, "")); size > 3*len(sent)+len(whole)*len(sent) {
			t.Errorf("%d bytes became %d", len(sent), size)
		}
	})
}
