package bench

import (
	"errors"
	"fmt"
	"net/http"
	"testing"
)

func TestMissingAndExtraOrdersAreFound(t *testing.T) {
	for _, c := range []struct {
		story      string
		stock      string
		unanswered int64
		want       bool
	}{
		{"all there", `{"received":10,"available":7,"held":2,"sold":1}`, 0, true},
		{"one is missing", `{"received":10,"available":8,"held":2,"sold":0}`, 0, false},
		{"one nobody knows of", `{"received":10,"available":6,"held":4,"sold":0}`, 0, false},
		{"one whose answer was lost", `{"received":10,"available":6,"held":4,"sold":0}`, 1, true},
		{"two where one answer was lost", `{"received":10,"available":5,"held":5,"sold":0}`, 1, false},
		{"stock that does not add up", `{"received":10,"available":8,"held":3,"sold":0}`, 0, false},
		{"oversold", `{"received":2,"available":-1,"held":3,"sold":0}`, 0, false},
	} {
		t.Run(c.story, func(t *testing.T) {
			sale := testSale(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, c.stock) }))
			sale.acknowledged, sale.unanswered = []uint64{1, 2, 3}, c.unanswered
			got, err := sale.checkUnits(t.Context())
			if err != nil || got.OK != c.want {
				t.Errorf("got %t (%s), %v, want %t", got.OK, got.Detail, err, c.want)
			}
		})
	}
}

func TestANumberGivenTwiceIsFound(t *testing.T) {
	if check := (&sale{acknowledged: []uint64{3, 1, 2}}).checkNumbers(); !check.OK {
		t.Errorf("three different numbers: got %s", check.Detail)
	}
	if check := (&sale{acknowledged: []uint64{3, 1, 3}}).checkNumbers(); check.OK {
		t.Error("the same number on two orders passes the check")
	}
}

func TestAnAuditThatIsNotCleanFailsTheRun(t *testing.T) {
	stand := testStand(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"clean":false,"checks":[{"id":"V1","name":"conservation","violations":2,"samples":["sku-1"]}]}`)
	}))
	check, err := checkAudit(t.Context(), stand.shop)
	if err != nil || check.OK {
		t.Fatalf("got %+v, %v, want a check that failed", check, err)
	}
	report := Report{Results: []*Result{{Scenario: "flash-sale", Checks: []Check{check}}}}
	if err := report.failed(); !errors.Is(err, ErrChecks) {
		t.Errorf("got %v, want %v", err, ErrChecks)
	}
}

func TestSoldAllMeansNoMoreAndNoLess(t *testing.T) {
	for _, c := range []struct {
		placed        int
		units, buyers int64
		want          bool
	}{
		{1000, 1000, 5000, true},
		{999, 1000, 5000, false},
		{1001, 1000, 5000, false},
		{500, 1000, 500, true},
		{999, 1000, 0, true},
		{1001, 1000, 0, false},
	} {
		got := checkSoldAll(&sale{acknowledged: make([]uint64, c.placed)}, c.units, c.buyers)
		if got.OK != c.want {
			t.Errorf("%d placed of %d units by %d buyers: got %t, want %t", c.placed, c.units, c.buyers, got.OK, c.want)
		}
	}
}
