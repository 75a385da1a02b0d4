package bench

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

func TestABuyerWhoIsNotGivenHisAnswerAgainFailsTheRun(t *testing.T) {
	for _, c := range []struct {
		story string
		again string
		code  int
		want  string
	}{
		{"the same", `{"order_no":"202611200000042"}`, 201, ""},
		{"another order", `{"order_no":"202611200000043"}`, 201, "he was answered 201"},
		{"refused", `{"code":"out_of_stock"}`, 409, "he was answered 409"},
	} {
		t.Run(c.story, func(t *testing.T) {
			var orders atomic.Int64
			stand := testStand(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch {
				case r.Method == http.MethodGet:
					fmt.Fprint(w, `{"received":1,"available":0,"held":1,"sold":0}`)
				case orders.Add(1) == 1:
					w.WriteHeader(http.StatusCreated)
					fmt.Fprint(w, `{"order_no":"202611200000042"}`)
				default:
					w.WriteHeader(c.code)
					fmt.Fprint(w, c.again)
				}
			}))
			u, err := newUnlucky(t.Context(), stand.shop, []string{"bench-1"})
			if err != nil {
				t.Fatal(err)
			}
			defer u.Close()
			u.err = u.asksAgain(t.Context(), stand.shop, "bench-1")
			if check := u.check(); check.OK != (c.want == "") || !strings.Contains(check.Detail, c.want) {
				t.Errorf("got %+v, want %q", check, c.want)
			}
		})
	}
}
