package ratelimit_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/holdfast-oms/holdfast/internal/ratelimit"
)

var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

func TestABurstGoesThroughAtOnceAndThenTheRateCounts(t *testing.T) {
	q := ratelimit.Quota{Count: 5, Per: 10 * time.Second, Burst: 3}
	var full int64
	take := func(at time.Duration, cost int) ratelimit.Decision {
		var d ratelimit.Decision
		full, d = q.Take(full, noon.Add(at), cost)
		return d
	}
	for i, want := range []ratelimit.Decision{
		{Allowed: true, Remaining: 2, Reset: 2 * time.Second},
		{Allowed: true, Remaining: 1, Reset: 4 * time.Second},
		{Allowed: true, Remaining: 0, Reset: 6 * time.Second},
		{Remaining: 0, RetryAfter: 2 * time.Second, Reset: 6 * time.Second},
		{Remaining: 0, RetryAfter: 2 * time.Second, Reset: 6 * time.Second},
	} {
		if got := take(0, 1); got != want {
			t.Errorf("request %d: got %+v, want %+v", i+1, got, want)
		}
	}
	if got, want := take(2*time.Second-time.Microsecond, 1), (ratelimit.Decision{RetryAfter: time.Microsecond, Reset: 4*time.Second + time.Microsecond}); got != want {
		t.Errorf("a moment too early: got %+v, want %+v", got, want)
	}
	if got := take(2*time.Second, 1); !got.Allowed {
		t.Errorf("when it was told to come back: got %+v, want it allowed", got)
	}
	if got := take(time.Hour, 3); !got.Allowed || got.Remaining != 0 {
		t.Errorf("all of it after a long time: got %+v, want it allowed and no more", got)
	}
	if got := take(2*time.Hour, 4); got.Allowed || got.RetryAfter != 0 || got.Remaining != 3 {
		t.Errorf("more than there ever is: got %+v, want it refused without a time", got)
	}
}

// A key whose moment lies far ahead, because a clock was, is not kept out for as long.
func TestNobodyWaitsLongerThanTheWindow(t *testing.T) {
	q := ratelimit.Quota{Count: 1, Per: time.Second, Burst: 2}
	if _, d := q.Take(noon.AddDate(1, 0, 0).UnixMicro(), noon, 1); d.Allowed || d.RetryAfter != time.Second {
		t.Errorf("got %+v, want a second to wait", d)
	}
}

// Over any time, no more than the burst and what grew back since goes through; and who comes when he was told to is let in.
func TestNoMoreThanTheQuotaGoesThrough(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := ratelimit.Quota{
			Count: rapid.IntRange(1, 50).Draw(t, "count"), Burst: rapid.IntRange(1, 20).Draw(t, "burst"),
			Per: time.Duration(rapid.IntRange(1, 60).Draw(t, "seconds")) * time.Second,
		}
		var full int64
		var taken int
		now := noon
		for range rapid.IntRange(1, 200).Draw(t, "requests") {
			now = now.Add(time.Duration(rapid.IntRange(0, 2_000_000).Draw(t, "wait")) * time.Microsecond)
			cost := rapid.IntRange(1, q.Burst).Draw(t, "cost")
			next, d := q.Take(full, now, cost)
			if !d.Allowed {
				if next != full {
					t.Fatalf("a refusal cost something: %d to %d", full, next)
				}
				if _, again := q.Take(full, now.Add(d.RetryAfter), cost); !again.Allowed {
					t.Fatalf("%+v, and after that time %+v", d, again)
				}
				if _, early := q.Take(full, now.Add(d.RetryAfter-time.Microsecond), cost); early.Allowed {
					t.Fatalf("%+v, and a moment before that time %+v", d, early)
				}
				continue
			}
			full, taken = next, taken+cost
			if most := q.Burst + int(now.Sub(noon)/q.Every()); taken > most {
				t.Fatalf("%d went through in %s, want %d at most", taken, now.Sub(noon), most)
			}
		}
	})
}

func TestRulesAreReadAndWrittenAlike(t *testing.T) {
	for text, want := range map[string]string{
		"":                                    "",
		"POST /v1/orders user 5/10s burst 10": "",
		"* key 1000/s":                        "",
		"*  key  1000/1s":                     "* key 1000/s",
		"* address 60/1m burst 60;GET /v1/orders/{order_no} user 1/5s": "* address 60/m; GET /v1/orders/{order_no} user 1/5s",
		"* address 10/s; * address 100/m":                              "* address 10/s; * address 100/m",
		"* user 90/1m30s":                                              "",
		"* user 24/24h":                                                "",
	} {
		rules, wrong := ratelimit.Parse(text)
		got := ""
		for i := range rules {
			if i > 0 {
				got += "; "
			}
			got += rules[i].String()
		}
		if want == "" {
			want = text
		}
		if wrong != "" || got != want {
			t.Errorf("%q is read as %q (%s), want %q", text, got, wrong, want)
		}
	}
}

func TestWhatIsWrongWithARuleIsSaid(t *testing.T) {
	const form = "must be a route, a subject and a rate, such as POST /v1/orders user 5/10s burst 10"
	for text, want := range map[string]string{
		";":                              "has nothing between two semicolons, or behind the last",
		"* key 1/s;":                     "has nothing between two semicolons, or behind the last",
		"key 5/s":                        form + "; * stands for every route",
		"/v1/orders key 5/s":             form + "; * stands for every route",
		"POST":                           form + "; * stands for every route",
		"*":                              form,
		"* key":                          form,
		"* key 5/s 10":                   form,
		"* key 5/s bursts 10":            form,
		"* ip 5/s":                       "must count by address, key or user",
		"* key 5":                        "must have a rate such as 5/10s or 1000/s",
		"* key 0/s":                      "has a rate whose count must be a whole number, 1 to 1000000",
		"* key +5/s":                     "has a rate whose count must be a whole number, 1 to 1000000",
		"* key 1.5/s":                    "has a rate whose count must be a whole number, 1 to 1000000",
		"* key 5/1.5s":                   "must have a rate over whole seconds, 1s to 24h, such as 5/10s or 1000/s",
		"* key 5/100ms":                  "must have a rate over whole seconds, 1s to 24h, such as 5/10s or 1000/s",
		"* key 5/48h":                    "must have a rate over whole seconds, 1s to 24h, such as 5/10s or 1000/s",
		"* key 5/":                       "must have a rate over whole seconds, 1s to 24h, such as 5/10s or 1000/s",
		"* key 5/day":                    "must have a rate over whole seconds, 1s to 24h, such as 5/10s or 1000/s",
		"* key 5/s burst 0":              "has a burst that must be a whole number, 1 to 1000000",
		"* key 1/2h":                     "lets less than one an hour pass",
		"* key 1/h burst 25":             "has a burst that takes longer than 24h to grow back",
		"* key 5/s; * ip 1/s":            `"* ip 1/s" must count by address, key or user`,
		"* key 5/s; * key 9/1s burst 20": "limits * key 1s twice",
	} {
		if _, wrong := ratelimit.Parse(text); wrong != want {
			t.Errorf("%q: got %q, want %q", text, wrong, want)
		}
	}
	long := "* key 1/1s"
	for i := 2; i <= ratelimit.RulesMax+1; i++ {
		long += "; * key 1/" + (time.Duration(i) * time.Second).String()
	}
	if _, wrong := ratelimit.Parse(long); wrong != "has more than 32 rules" {
		t.Errorf("33 rules: got %q", wrong)
	}
}
