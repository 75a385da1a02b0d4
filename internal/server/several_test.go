package server_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-oms/holdfast/api"
	"github.com/holdfast-oms/holdfast/internal/config"
	"github.com/holdfast-oms/holdfast/internal/ratelimit"
	"github.com/holdfast-oms/holdfast/internal/testenv"
)

// several are desks over one record, and whoever calls them.
type several struct {
	*testing.T
	urls   []string
	client *http.Client
}

func startSeveral(t *testing.T, n int, change func(*config.Config)) *several {
	t.Helper()
	cfg := ofItsOwn(t)
	cfg.LogLevel = slog.LevelError
	change(&cfg)
	all := &several{T: t, client: &http.Client{Timeout: 20 * time.Second}}
	for range n {
		all.urls = append(all.urls, run(t, cfg, t.Output()).URL())
	}
	t.Cleanup(all.client.CloseIdleConnections)
	return all
}

// ask calls one of the desks and reads its answer into one.
func (s *several) ask(desk int, secret, method, path, body string, into any) (status int) {
	s.Helper()
	r, err := http.NewRequestWithContext(s.Context(), method, s.urls[desk]+path, strings.NewReader(body))
	if err != nil {
		s.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+secret)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if method == http.MethodPost && path == "/v1/orders" {
		r.Header.Set("Idempotency-Key", fmt.Sprint("k-", time.Now().UnixNano()))
	}
	a, err := s.client.Do(r)
	if err != nil {
		s.Fatal(err)
	}
	defer a.Body.Close()
	text, err := io.ReadAll(a.Body)
	if err != nil {
		s.Fatal(err)
	}
	if into != nil && a.StatusCode < 300 {
		if err := json.Unmarshal(text, into); err != nil {
			s.Fatal(err)
		}
	}
	return a.StatusCode
}

// says waits until all desks say that they are ready, or degraded.
func (s *several) says(status string) {
	s.Helper()
	for desk := range s.urls {
		testenv.Until(s.T, untilMax, fmt.Sprintf("desk %d is %s", desk, status), func() bool {
			var h api.Health
			return s.ask(desk, "", "GET", "/readyz", "", &h) == 200 && h.Status == status
		})
	}
}

func (s *several) login(desk int, user string) (made api.CreatedSession) {
	s.Helper()
	if got := s.ask(desk, chosenKey, "POST", "/v1/sessions", `{"user_id":"`+user+`"}`, &made); got != 201 {
		s.Fatalf("got %d for a new session", got)
	}
	return made
}

// Two desks over one database: what was ended at one is dead at the other when that is answered, with Redis, and without.
func TestASessionEndedAtOneDeskIsDeadAtAll(t *testing.T) {
	t.Parallel()
	for _, with := range []string{"Redis", "no Redis"} {
		t.Run(with, func(t *testing.T) {
			t.Parallel()
			tries := 2
			redis := ""
			if with == "Redis" {
				tries, redis = 40, testenv.StartRedis(t, testenv.Options{}).URL()
			}
			s := startSeveral(t, 2, func(c *config.Config) { c.DatabaseURL, c.RedisURL = testenv.PostgresURL(t), redis })
			if redis != "" {
				s.says("ready")
			}
			current := func(desk int, token string) int { return s.ask(desk, token, "GET", "/v1/sessions/current", "", nil) }
			for i := range tries {
				user := fmt.Sprint("u-", i)
				one, all := s.login(0, user), s.login(1, user)
				for desk := range 2 {
					if a, b := current(desk, one.Token), current(desk, all.Token); a != 200 || b != 200 {
						t.Fatalf("got %d and %d with new sessions", a, b)
					}
				}
				s.ask(0, one.Token, "DELETE", "/v1/sessions/current", "", nil)
				if a, b := current(1, one.Token), current(1, all.Token); a != 401 || b != 200 {
					t.Errorf("try %d: got %d and %d at the other desk, want the ended one dead and the other good", i, a, b)
				}
				s.ask(0, chosenKey, "DELETE", "/v1/users/"+user+"/sessions", "", nil)
				if got := current(1, all.Token); got != 401 {
					t.Errorf("try %d: got %d at the other desk with a session of a user who was logged out everywhere", i, got)
				}
			}
		})
	}
}

// A buyer's stream tells nothing more once his session was ended at another desk.
func TestAStreamEndsWithItsSession(t *testing.T) {
	t.Parallel()
	redis := testenv.StartRedis(t, testenv.Options{})
	s := startSeveral(t, 2, func(c *config.Config) { c.DatabaseURL, c.RedisURL = testenv.PostgresURL(t), redis.URL() })
	s.says("ready")
	s.offer()
	made := s.login(0, "u-1")
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.urls[1]+"/v1/users/u-1/stream", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+made.Token)
	a, err := s.client.Do(r)
	if err != nil || a.StatusCode != http.StatusOK {
		t.Fatalf("got %v, %v", a, err)
	}
	defer a.Body.Close()
	s.ask(0, made.Token, "DELETE", "/v1/sessions/current", "", nil)
	if got := s.order(0, chosenKey, "u-1"); got != 201 {
		t.Fatalf("got %d for an order", got)
	}
	told, err := io.ReadAll(a.Body)
	if err != nil || bytes.Contains(told, []byte("order.placed")) {
		t.Errorf("the stream told %q (%v) after its session was ended", told, err)
	}
}

func (s *several) offer() {
	s.Helper()
	s.ask(0, chosenKey, "PUT", "/v1/products/sku-1", `{"title":"Ticket","price":{"amount":9900,"currency":"CNY"}}`, nil)
	if got := s.ask(0, chosenKey, "POST", "/v1/products/sku-1/stock", `{"delta":1000}`, nil); got != 201 {
		s.Fatalf("got %d for a delivery", got)
	}
}

func (s *several) order(desk int, secret, user string) (status int) {
	s.Helper()
	return s.ask(desk, secret, "POST", "/v1/orders", `{"user_id":"`+user+`","lines":[{"product_id":"sku-1","quantity":1}]}`, nil)
}

// Two desks keep one limit together, each its own while Redis is dead, and one again when it is back.
func TestALimitHoldsOverAllDesks(t *testing.T) {
	t.Parallel()
	redis := testenv.StartRedis(t, testenv.Options{})
	s := startSeveral(t, 2, func(c *config.Config) {
		c.DatabaseURL, c.RedisURL = testenv.PostgresURL(t), redis.URL()
		c.Limits, _ = ratelimit.Parse("GET /v1/orders user 6/h; * key 100000/h; * address 100000/h")
	})
	s.says("ready")
	through := func(user string) (n [2]int) {
		token := s.login(0, user).Token
		for range 12 {
			for desk := range 2 {
				switch got := s.ask(desk, token, "GET", "/v1/orders", "", nil); got {
				case 200:
					n[desk]++
				case 429:
				default:
					s.Errorf("got %d", got)
				}
			}
		}
		return n
	}
	// A limit is not asked of Redis for longer than some milliseconds: on a busy machine a desk may decide now and then by itself.
	if n := through("u-1"); n[0]+n[1] < 6 || n[0]+n[1] > 8 {
		t.Errorf("%v requests went through the two desks, want 6 of both", n)
	}
	redis.Kill()
	s.says("degraded")
	if n := through("u-2"); n != [2]int{6, 6} {
		t.Errorf("%v requests went through without Redis, want 6 of each desk", n)
	}
	redis.Start()
	s.says("ready")
	if n := through("u-3"); n[0]+n[1] < 6 || n[0]+n[1] > 8 {
		t.Errorf("%v requests went through when Redis was back, want 6 of both", n)
	}
}

// A button pressed at two desks, each time under a new key, is one order; and a buyer who has paid at one desk may order at the other
// within a second of having been refused there.
func TestGuardsHoldOverAllDesks(t *testing.T) {
	t.Parallel()
	for kind, url := range map[string]func(testing.TB) string{"PostgreSQL": testenv.PostgresURL, "MariaDB": testenv.MariaDBURL} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			redis := testenv.StartRedis(t, testenv.Options{})
			s := startSeveral(t, 3, func(c *config.Config) {
				c.DatabaseURL, c.RedisURL = url(t), redis.URL()
				c.UnpaidOrdersMax, c.RepeatGuard = 3, time.Minute
			})
			s.says("ready")
			s.offer()
			answers := make(chan int, 48)
			began := time.Now()
			for i := range cap(answers) {
				go func() {
					status := s.order(i%3, chosenKey, "presses")
					for status == 409 && time.Since(began) < 3*time.Second { // a desk may not have heard of the delivery for a second
						time.Sleep(20 * time.Millisecond) //nolint:forbidigo // another process' doing
						status = s.order(i%3, chosenKey, "presses")
					}
					answers <- status
				}()
			}
			got := map[int]int{}
			for range cap(answers) {
				got[<-answers]++
			}
			if got[201] != 1 || got[429] != cap(answers)-1 {
				t.Errorf("one wish sent to three desks at once: got %v, want one 201 and else 429", got)
			}
			var placed []api.Order
			lines := func(quantity int) string {
				return fmt.Sprintf(`{"user_id":"holds","lines":[{"product_id":"sku-1","quantity":%d}]}`, quantity)
			}
			for i := range 3 {
				var o api.Order
				if got := s.ask(i, chosenKey, "POST", "/v1/orders", lines(i+1), &o); got != 201 {
					t.Fatalf("order %d: got %d", i, got)
				}
				placed = append(placed, o)
			}
			if got := s.ask(1, chosenKey, "POST", "/v1/orders", lines(9), nil); got != 429 {
				t.Errorf("one unpaid order too many: got %d, want 429", got)
			}
			if got := s.ask(0, chosenKey, "POST", "/v1/orders/"+placed[0].OrderNo+"/cancel", "", nil); got != 200 {
				t.Fatalf("got %d for a cancellation", got)
			}
			freed := time.Now()
			testenv.Until(s.T, untilMax, "he may order again where he was refused", func() bool {
				return s.ask(1, chosenKey, "POST", "/v1/orders", lines(10), nil) == 201
			})
			if late := time.Since(freed); late > 3*time.Second { // a second, and a busy machine
				t.Errorf("he was refused for %s after one of his orders had ended elsewhere", late)
			}
		})
	}
}
