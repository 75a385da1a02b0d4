package server_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/holdfast-oms/holdfast/internal/config"
)

func TestWithTheGateOffTheRecordRefuses(t *testing.T) {
	for gate, judge := range map[string]string{config.GateAuto: "gate", config.GateOff: "ledger"} {
		t.Run(gate, func(t *testing.T) {
			cfg := ofItsOwn(t)
			cfg.Gate = gate
			s := run(t, cfg, io.Discard)
			call := func(method, path, body string) (int, string) {
				t.Helper()
				r, err := http.NewRequestWithContext(t.Context(), method, s.URL()+path, strings.NewReader(body))
				if err != nil {
					t.Fatal(err)
				}
				r.Header = http.Header{"Authorization": {"Bearer " + cfg.AdminKey}, "Content-Type": {"application/json"}, "Idempotency-Key": {"k-1"}}
				answer, err := http.DefaultClient.Do(r)
				if err != nil {
					t.Fatal(err)
				}
				defer answer.Body.Close()
				text, err := io.ReadAll(answer.Body)
				if err != nil {
					t.Fatal(err)
				}
				return answer.StatusCode, string(text)
			}
			if code, text := call("PUT", "/v1/products/gone", `{"title":"Gone","price":{"amount":1,"currency":"CNY"}}`); code != http.StatusCreated {
				t.Fatalf("the product: got %d %s", code, text)
			}
			const order = `{"user_id":"u-1","lines":[{"product_id":"gone","quantity":1}]}`
			if code, text := call("POST", "/v1/orders", order); code != http.StatusConflict || !strings.Contains(text, "out_of_stock") {
				t.Errorf("got %d %s, want out_of_stock", code, text)
			}
			_, metrics := call("GET", "/metrics", "")
			if want := `holdfast_orders_refused_total{by="` + judge + `",code="out_of_stock"} 1`; !strings.Contains(metrics, want) {
				t.Errorf("no %s in\n%s", want, metrics)
			}
		})
	}
}
