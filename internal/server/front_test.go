package server_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/holdfast-oms/holdfast/api"
	"github.com/holdfast-oms/holdfast/internal/testenv"
)

func TestADeskIsReadyWithoutItsRedisAndSaysSo(t *testing.T) {
	redis := testenv.StartRedis(t, testenv.Options{})
	cfg := ofItsOwn(t)
	cfg.RedisURL = redis.URL()
	log := &testenv.Log{}
	s := run(t, cfg, log)
	says := func(want func(api.Health) bool) {
		t.Helper()
		var h api.Health
		defer func() {
			if t.Failed() {
				t.Logf("it says %+v", h)
			}
		}()
		testenv.Until(t, untilMax, "it says how it is", func() bool {
			answer, err := http.Get(s.URL() + "/readyz")
			if err != nil {
				t.Fatal(err)
			}
			defer answer.Body.Close()
			h = api.Health{}
			if err := json.NewDecoder(answer.Body).Decode(&h); err != nil || answer.StatusCode != http.StatusOK {
				t.Fatalf("got %s, %v", answer.Status, err)
			}
			return want(h)
		})
	}
	whole := func(h api.Health) bool { return h.Status == "ready" && h.Degraded == nil }
	without := func(h api.Health) bool {
		return h.Status == "degraded" && len(h.Degraded) == 1 && strings.HasPrefix(h.Degraded[0], "redis: ")
	}
	says(whole)
	redis.Kill()
	says(without)
	redis.Start()
	says(whole)
	if text := log.String(); strings.Count(text, "redis is not used") != 1 || strings.Contains(text, "not on the list of fields") {
		t.Errorf("want one line about each change, with fields that are on the list:\n%s", text)
	}
}
