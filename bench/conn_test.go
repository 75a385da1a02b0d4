package bench

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// connTo is a connection to a real server with this handler.
func connTo(t *testing.T, handler http.HandlerFunc) *conn {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	tcp, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tcp.Close() })
	return newConn(tcp)
}

func TestAnswersOfEveryFormAreRead(t *testing.T) {
	long := strings.Repeat("0123456789", 3000) // net/http sends it in chunks
	c := connTo(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/short":
			fmt.Fprint(w, "hello")
		case "/long":
			fmt.Fprint(w, long)
		case "/flushed":
			fmt.Fprint(w, "one ")
			_ = http.NewResponseController(w).Flush()
			fmt.Fprint(w, "two")
		case "/nothing":
			w.WriteHeader(http.StatusNoContent)
		case "/refused":
			http.Error(w, "no", http.StatusConflict)
		}
	})
	for _, want := range []struct {
		path   string
		status int
		body   string
	}{
		{"/short", 200, "hello"},
		{"/long", 200, long},
		{"/nothing", 204, ""},
		{"/flushed", 200, "one two"},
		{"/refused", 409, "no\n"},
		{"/short", 200, "hello"},
	} {
		status, body, err := c.exchange([]byte("GET " + want.path + " HTTP/1.1\r\nHost: test\r\n\r\n"))
		if err != nil || status != want.status || string(body) != want.body {
			t.Fatalf("%s: got %d, %d bytes, %v, want %d, %d bytes", want.path, status, len(body), err, want.status, len(want.body))
		}
	}
}

func TestAServerThatClosesIsNotAskedAgain(t *testing.T) {
	c := connTo(t, func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Connection", "close") })
	if _, _, err := c.exchange([]byte("GET / HTTP/1.1\r\nHost: test\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	if !c.closing {
		t.Error("the connection counts as open after Connection: close")
	}
}

func FuzzHeadOfAnAnswer(f *testing.F) {
	f.Add("HTTP/1.1 201 Created\r\nContent-Length: 12\r\n")
	f.Add("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nConnection: close\r\n")
	f.Add("HTTP/1.1 200")
	f.Add("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n")
	f.Fuzz(func(t *testing.T, text string) {
		h, err := parseHead([]byte(text))
		if err == nil && (h.status < 200 || h.length < 0 || h.length > answerBytesMax) {
			t.Errorf("%q: read as %+v", text, h)
		}
	})
}

func FuzzOrderNumber(f *testing.F) {
	f.Add(`{"order_no":"202611200000042","user_id":"u"}`)
	f.Add(`{"order_no": "202611200000042"}`)
	f.Add(`{"order_no":42}`)
	f.Add(`{"order_no":"`)
	f.Fuzz(func(t *testing.T, text string) {
		number, ok := orderNumber([]byte(text))
		if ok && !strings.Contains(text, fmt.Sprint(number)) {
			t.Errorf("%q: found %d", text, number)
		}
	})
}
