package server_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-oms/holdfast/api"
	"github.com/holdfast-oms/holdfast/internal/config"
	"github.com/holdfast-oms/holdfast/internal/server"
	"github.com/holdfast-oms/holdfast/internal/testenv"
)

func TestADeskIsReadyWithoutItsRedisAndSaysSo(t *testing.T) {
	redis := testenv.StartRedis(t, testenv.Options{})
	cfg := config.Default()
	cfg.Listen, cfg.DatabaseURL, cfg.RedisURL = "127.0.0.1:0", "sqlite:"+filepath.Join(t.TempDir(), "desk.db"), redis.URL()
	log := &lockedBuffer{}
	s, err := server.Start(t.Context(), cfg, server.Options{Stdout: io.Discard, Stderr: log})
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve() }()
	t.Cleanup(func() {
		if err := s.Stop(context.Background()); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	says := func(want func(api.Health) bool) {
		t.Helper()
		var h api.Health
		for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) { //nolint:forbidigo // another process' doing
			answer, err := http.Get(s.URL() + "/readyz")
			if err != nil {
				t.Fatal(err)
			}
			h = api.Health{}
			err = json.NewDecoder(answer.Body).Decode(&h)
			_ = answer.Body.Close()
			if err != nil || answer.StatusCode != http.StatusOK {
				t.Fatalf("got %s, %v", answer.Status, err)
			}
			if want(h) {
				return
			}
		}
		t.Fatalf("it still says %+v", h)
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
