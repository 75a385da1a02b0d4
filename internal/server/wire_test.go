package server_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-oms/holdfast/api"
	"github.com/holdfast-oms/holdfast/internal/testenv"
)

// These are the real limits of a connection, over TCP: what a handler in a test cannot show. What waits for one waits side by
// side with the others, so that all of it together takes as long as the longest.

// running is a desk that serves, with everything that it has logged.
type running struct {
	address string
	key     string
	log     *testenv.Log
}

func serve(t *testing.T) running {
	t.Helper()
	r := running{key: chosenKey, log: &testenv.Log{}}
	t.Cleanup(func() { // when it has stopped
		if log := r.log.String(); strings.Contains(log, "panic") || strings.Contains(log, "internal error") {
			t.Errorf("something went wrong inside: %s", log)
		}
	})
	s := run(t, ofItsOwn(t), r.log)
	r.address = strings.TrimPrefix(s.URL(), "http://")
	return r
}

// patience is how long a test waits for what has to come: longer than any limit that it looks at.
const patience = 20 * time.Second

// client is one connection, spoken by hand.
type client struct {
	t *testing.T
	net.Conn
	in *bufio.Reader
}

func (r running) dial(t *testing.T) *client {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", r.address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	return &client{t, conn, bufio.NewReader(conn)}
}

func (c *client) say(text string) { _, _ = io.WriteString(c, text) }

// hear reads one answer; of a connection that ended instead it gives status 0.
func (c *client) hear(method string) (status int, body []byte) {
	c.t.Helper()
	response, err := http.ReadResponse(c.in, &http.Request{Method: method})
	if err != nil {
		return 0, nil
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusContinue {
		return response.StatusCode, nil
	}
	body, _ = io.ReadAll(response.Body)
	return response.StatusCode, body
}

// ends waits until the server hangs up, and says how long that took and what came before.
func (c *client) ends() (after time.Duration, said []byte) {
	c.t.Helper()
	begun := time.Now()
	said, err := io.ReadAll(c.in)
	var late net.Error
	if errors.As(err, &late) && late.Timeout() {
		c.t.Errorf("the server holds on to the connection for more than %s", patience)
	}
	return time.Since(begun), said
}

// drip sends a text byte by byte, until it is over or nobody listens any more.
func (c *client) drip(text string, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for i := range len(text) {
		<-tick.C
		if _, err := io.WriteString(c, text[i:i+1]); err != nil {
			return
		}
	}
}

func (r running) head(method, target string, more ...string) string {
	return method + " " + target + " HTTP/1.1\r\nHost: desk\r\nAuthorization: Bearer " + r.key + "\r\n" +
		strings.Join(append(more, ""), "\r\n") + "\r\n"
}

// user reads what the desk knows of a user; nothing is nil.
func (r running) user(t *testing.T, id string) *api.User {
	t.Helper()
	t.Helper()
	c := r.dial(t)
	c.say(r.head("GET", "/v1/users/"+id, "Connection: close"))
	status, body := c.hear("GET")
	if status == http.StatusNotFound {
		return nil
	}
	var u api.User
	if err := json.Unmarshal(body, &u); status != http.StatusOK || err != nil {
		t.Fatalf("GET user: %d %s", status, body)
	}
	return &u
}

const (
	li     = `{"name":"Li"}`
	within = 8 * time.Second // of the limits of a header and a body, 2 s and 5 s, on a busy machine
)

func TestSlowClientsAreCutOff(t *testing.T) {
	t.Parallel()
	r := serve(t)
	var all sync.WaitGroup // all at once: they only wait
	for _, c := range []struct {
		story  string
		least  time.Duration // not before: slow is not yet hostile
		status string        // of the answer, "" none
		talk   func(*client)
	}{
		{"a header that never ends, a byte at a time", time.Second, "", func(c *client) {
			c.drip("GET /healthz HTTP/1.1\r\nX-Slow: "+strings.Repeat("x", 200), 100*time.Millisecond)
		}},
		{"a header line at a time", time.Second, "", func(c *client) {
			c.say("GET /healthz HTTP/1.1\r\n")
			c.drip(strings.Repeat("A: b\r\n", 40), 50*time.Millisecond)
		}},
		{"a body, a byte a second", 3 * time.Second, "400", func(c *client) {
			c.say(r.head("PUT", "/v1/users/slow", "Content-Length: 13"))
			c.drip(li, time.Second)
		}},
		{"a body that stops", 3 * time.Second, "400", func(c *client) {
			c.say(r.head("PUT", "/v1/users/slow", "Content-Length: 13") + li[:12])
		}},
		{"chunks without end", 3 * time.Second, "400", func(c *client) {
			c.say(r.head("PUT", "/v1/users/slow", "Transfer-Encoding: chunked"))
			c.drip(strings.Repeat("1\r\n{\r\n", 20), 100*time.Millisecond)
		}},
		{"a chunk's size without end", 3 * time.Second, "400", func(c *client) {
			c.say(r.head("PUT", "/v1/users/slow", "Transfer-Encoding: chunked"))
			c.drip(strings.Repeat("0", 30), 500*time.Millisecond)
		}},
		{"a body that was asked for and never sent", 3 * time.Second, "100", func(c *client) {
			c.say(r.head("PUT", "/v1/users/slow", "Content-Length: 13", "Expect: 100-continue"))
		}},
		{"a body that nobody reads, a byte a second", 0, "200", func(c *client) {
			c.say(r.head("GET", "/healthz", "Content-Length: 13", "Connection: close"))
			c.drip(li, time.Second)
		}},
	} {
		conn := r.dial(t)
		all.Go(func() { c.talk(conn) })
		all.Go(func() {
			after, said := conn.ends()
			if after > within || after < c.least {
				t.Errorf("%s: cut off after %s, want between %s and %s", c.story, after, c.least, within)
			}
			line, _, _ := strings.Cut(string(said), "\r\n")
			if c.status == "" && line != "" && !strings.HasPrefix(line, "HTTP/1.1 40") || c.status != "" && !strings.HasPrefix(line, "HTTP/1.1 "+c.status) {
				t.Errorf("%s: told %q, want %q", c.story, line, c.status)
			}
			_ = conn.Close()
		})
	}
	all.Wait()
	if u := r.user(t, "slow"); u != nil {
		t.Errorf("half a request made %+v", u)
	}
}

func TestOddRequestsAreDefined(t *testing.T) {
	t.Parallel()
	r := serve(t)
	const problem = "application/problem+json"
	auth := "Authorization: Bearer " + r.key
	for _, c := range []struct {
		story, text string
		status      int
		kind        string // of the body: ours, or the one line of the server below us
	}{
		{"HTTP/1.0", "GET /healthz HTTP/1.0\r\n\r\n", 200, "application/json"},
		{"HTTP/1.0 with a body", "PUT /v1/users/old HTTP/1.0\r\n" + auth + "\r\nContent-Length: 13\r\n\r\n" + li, 201, "application/json"},
		{"HTTP/1.0, a body without a length", "PUT /v1/users/old HTTP/1.0\r\n" + auth + "\r\n\r\n" + li, 400, problem},
		{"HTTP/0.9", "GET /healthz\r\n\r\n", 400, "text/plain"},
		{"HTTP/1.2", "GET /healthz HTTP/1.2\r\nHost: desk\r\n\r\n", 200, "application/json"},
		{"HTTP/3.0", "GET /healthz HTTP/3.0\r\nHost: desk\r\n\r\n", 505, "text/plain"},
		{"HTTP/2 without asking", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 404, problem},
		{"HTTP/2 by upgrade", r.head("GET", "/healthz", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__"), 200, "application/json"},
		{"TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "text/plain"},
		{"no host", "GET /healthz HTTP/1.1\r\n\r\n", 400, "text/plain"},
		{"two hosts", "GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400, "text/plain"},
		{"an empty host", "GET /healthz HTTP/1.1\r\nHost:\r\n\r\n", 200, "application/json"},
		{"a host that is none", "GET /healthz HTTP/1.1\r\nHost: a b\r\n\r\n", 400, "text/plain"},
		{"somebody else's host", "GET /healthz HTTP/1.1\r\nHost: evil.example\r\n\r\n", 200, "application/json"},
		{"a whole URL", r.head("GET", "http://evil.example:99/healthz"), 200, "application/json"},
		{"a whole URL of another scheme", r.head("GET", "ftp://evil.example/healthz"), 200, "application/json"},
		{"an authority", r.head("CONNECT", "evil.example:443"), 404, problem},
		{"CONNECT to a path", r.head("CONNECT", "/healthz"), 405, problem},
		{"an asterisk", r.head("OPTIONS", "*"), 200, ""}, // RFC 9110, 9.3.7: a ping
		{"GET of an asterisk", r.head("GET", "*"), 404, problem},
		{"OPTIONS", r.head("OPTIONS", "/v1/orders"), 405, problem},
		{"TRACE", r.head("TRACE", "/v1/orders"), 405, problem},
		{"no slash", r.head("GET", "healthz"), 400, "text/plain"},
		{"a path that cannot be read", r.head("GET", "/v1/users/%zz"), 400, "text/plain"},
		{"a space in the path", r.head("GET", "/v1/users/a b"), 400, "text/plain"},
		{"a NUL in the path", r.head("GET", "/v1/users/a\x00b"), 400, "text/plain"},
		{"8 kB of path", r.head("GET", "/v1/users/"+strings.Repeat("x", 8<<10)), 404, problem},
		{"8 kB of query", r.head("GET", "/v1/users?"+strings.Repeat("x", 8<<10)), 404, problem},
		{"64 kB of path", r.head("GET", "/v1/users/"+strings.Repeat("x", 64<<10)), 431, "text/plain"},
		{"a method that is none", r.head("G\"T", "/healthz"), 400, "text/plain"},
		{"64 kB in one header", r.head("GET", "/healthz", "X-Long: "+strings.Repeat("x", 64<<10)), 431, "text/plain"},
		{"64 kB in many headers", r.head("GET", "/healthz", strings.TrimSuffix(strings.Repeat("X-Many: "+strings.Repeat("x", 50)+"\r\n", 1100), "\r\n")), 431, "text/plain"},
		{"a hundred headers", r.head("GET", "/healthz", strings.TrimSuffix(strings.Repeat("X-Many: x\r\n", 100), "\r\n")), 200, "application/json"},
		{"a header without a name", r.head("GET", "/healthz", ": x"), 400, "text/plain"},
		{"a space before the colon", r.head("GET", "/healthz", "Host : x"), 400, "text/plain"},
		{"a folded header", r.head("GET", "/healthz", "X-A: b", " c"), 200, "application/json"},
		{"a bare CR in a header", r.head("GET", "/healthz", "X-A: b\rX-B: c"), 400, "text/plain"},
		{"a NUL in a header", r.head("GET", "/healthz", "X-A: b\x00"), 400, "text/plain"},
		{"two keys", r.head("GET", "/v1/products", auth), 401, problem},
		{"expects something else", r.head("PUT", "/v1/users/odd", "Expect: 200-ok", "Content-Length: 13") + li, 417, ""},
		{"two lengths", r.head("PUT", "/v1/users/odd", "Content-Length: 13", "Content-Length: 14") + li, 400, "text/plain"},
		{"two lengths in one", r.head("PUT", "/v1/users/odd", "Content-Length: 13, 13") + li, 400, "text/plain"},
		{"a length with a sign", r.head("PUT", "/v1/users/odd", "Content-Length: +13") + li, 400, "text/plain"},
		{"a length beyond numbers", r.head("PUT", "/v1/users/odd", "Content-Length: 99999999999999999999") + li, 400, "text/plain"},
		{"8 EB announced", r.head("PUT", "/v1/users/odd", "Content-Length: 9223372036854775807"), 413, problem},
		{"chunked twice", r.head("PUT", "/v1/users/odd", "Transfer-Encoding: chunked, chunked") + "0\r\n\r\n", 501, "text/plain"},
		{"coded in transfer", r.head("PUT", "/v1/users/odd", "Transfer-Encoding: gzip") + li, 501, "text/plain"},
		{"chunks and a length", r.head("PUT", "/v1/users/odd", "Content-Length: 3", "Transfer-Encoding: chunked") + "2\r\n{x\r\n0\r\n\r\n", 400, problem},
		{"a chunk with a negative size", r.head("PUT", "/v1/users/odd", "Transfer-Encoding: chunked") + "-1\r\n{}\r\n0\r\n\r\n", 400, problem},
		{"a chunk beyond numbers", r.head("PUT", "/v1/users/odd", "Transfer-Encoding: chunked") + "ffffffffffffffffff\r\n{}\r\n", 400, problem},
		{"chunks that end in a line feed", r.head("PUT", "/v1/users/odd", "Transfer-Encoding: chunked") + "2\n{x\n0\n\n", 400, problem},
		{"a chunk without end of line", r.head("PUT", "/v1/users/odd", "Transfer-Encoding: chunked") + "2\r\n{}xx", 400, problem},
		{"1 MB in chunks", r.head("PUT", "/v1/users/odd", "Transfer-Encoding: chunked") + strings.Repeat("400\r\n"+strings.Repeat(" ", 1024)+"\r\n", 1024), 413, problem},
		{"chunks with 1 MB of extensions", r.head("PUT", "/v1/users/odd", "Transfer-Encoding: chunked") + "2;x=" + strings.Repeat("y", 1<<20) + "\r\n{}\r\n", 400, problem},
		{"trailers with a key", r.head("PUT", "/v1/users/odd", "Transfer-Encoding: chunked", "Trailer: Idempotency-Key") + "3\r\n{x}\r\n0\r\nIdempotency-Key: a\r\n\r\n", 400, problem},
	} {
		t.Run(c.story, func(t *testing.T) {
			conn := r.dial(t)
			go conn.say(c.text) // what is too large is not read to its end
			method, _, _ := strings.Cut(c.text, " ")
			response, err := http.ReadResponse(conn.in, &http.Request{Method: method})
			if err != nil {
				t.Fatalf("no answer: %v, want %d", err, c.status)
			}
			defer response.Body.Close()
			body, _ := io.ReadAll(response.Body)
			kind, _, _ := strings.Cut(response.Header.Get("Content-Type"), ";")
			if response.StatusCode != c.status || kind != c.kind {
				t.Errorf("got %d %s %q, want %d %s", response.StatusCode, kind, body, c.status, c.kind)
			}
		})
	}
	if u := r.user(t, "odd"); u != nil {
		t.Errorf("an odd request made %+v", u)
	}
}

// Requests that are sent without waiting are answered in their order; after one that cannot be read nothing more is taken from
// the connection, so that nobody's bytes are taken for another's request.
func TestPipelinedRequestsAreAnsweredInOrder(t *testing.T) {
	t.Parallel()
	r := serve(t)
	c := r.dial(t)
	const n = 50
	var text strings.Builder
	for i := range n {
		text.WriteString(r.head("PUT", "/v1/users/p-"+strconv.Itoa(i), "Content-Length: 13") + li)
	}
	text.WriteString(r.head("PUT", "/v1/users/p-x", "Content-Length: 5") + "{\"na\"")
	text.WriteString(r.head("PUT", "/v1/users/smuggler", "Content-Length: 13", "Transfer-Encoding: gzip") + li)
	text.WriteString(r.head("PUT", "/v1/users/after", "Content-Length: 13") + li)
	go c.say(text.String())
	for i := range n {
		status, body := c.hear("PUT")
		if want := fmt.Sprintf(`{"user_id":"p-%d",`, i); status != 201 || !strings.HasPrefix(string(body), want) {
			t.Fatalf("answer %d: got %d %s, want 201 %s…", i, status, body, want)
		}
	}
	if status, body := c.hear("PUT"); status != 400 {
		t.Errorf("a broken body in between: got %d %s, want 400", status, body)
	}
	if status, body := c.hear("PUT"); status != 501 {
		t.Errorf("a request that cannot be read: got %d %s, want 501", status, body)
	}
	if _, rest := c.ends(); len(rest) > 0 {
		t.Errorf("behind a request that cannot be read the server goes on: %q", rest)
	}
	for _, id := range []string{"p-x", "smuggler", "after"} {
		if u := r.user(t, id); u != nil {
			t.Errorf("%s was made: %+v", id, u)
		}
	}
}

// A client that hangs up in the middle leaves nothing; one that only stops sending is answered.
func TestClientsThatHangUp(t *testing.T) {
	t.Parallel()
	r := serve(t)
	whole := r.head("PUT", "/v1/users/cut", "Content-Length: 13") + li
	for i := 1; i < len(whole); i += 7 {
		c := r.dial(t)
		c.say(whole[:i])
		if tcp, ok := c.Conn.(*net.TCPConn); ok && i%2 == 0 {
			_ = tcp.SetLinger(0) // a reset
		}
		_ = c.Close()
	}
	if u := r.user(t, "cut"); u != nil {
		t.Errorf("a part of a request made %+v", u)
	}
	c := r.dial(t)
	c.say(r.head("PUT", "/v1/users/half", "Content-Length: 13") + li)
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		_ = tcp.CloseWrite()
	}
	// Half a hang-up may be a whole one: the server below us cannot tell. Then the client is told that nothing is known.
	if status, body := c.hear("PUT"); status != 201 && !(status == 503 && strings.Contains(string(body), "is not known")) {
		t.Errorf("a client that has said all and listens: got %d %s, want 201, or 503 for an unknown outcome", status, body)
	}
	c = r.dial(t)
	c.say(r.head("PUT", "/v1/users/short", "Content-Length: 14") + li)
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		_ = tcp.CloseWrite()
	}
	if status, body := c.hear("PUT"); status != 400 {
		t.Errorf("a client that has said too little and listens: got %d %s, want 400", status, body)
	}
}

// Hundreds that say nothing, or nothing more, do not keep anybody else from the desk. Those that began and do not go on are let go;
// those that have said nothing are as good as those that were used and are idle: who opened one ahead of need finds it open.
func TestIdleConnectionsAreBoundedInTime(t *testing.T) {
	t.Parallel()
	r := serve(t)
	const silent = 300
	conns := make([]*client, silent)
	for i := range conns {
		conns[i] = r.dial(t)
		if i%2 == 0 {
			conns[i].say("GET /healthz HTTP/1.1\r\n")
		}
	}
	c := r.dial(t)
	c.say(r.head("GET", "/readyz"))
	if status, body := c.hear("GET"); status != 200 {
		t.Fatalf("beside %d silent connections: got %d %s", silent, status, body)
	}
	for i, c := range conns {
		if i%2 != 0 {
			continue
		}
		if after, said := c.ends(); after > within {
			t.Fatalf("connection %d was let go after %s (%q), want within %s", i, after, said, within)
		}
	}
	for i, c := range conns {
		if i%2 == 0 {
			continue
		}
		c.say(r.head("PUT", "/v1/users/late", "Content-Length: 13") + li)
		if status, body := c.hear("PUT"); status != 200 && status != 201 {
			t.Fatalf("connection %d, used after the time of a header: got %d %s", i, status, body)
		}
	}
}
