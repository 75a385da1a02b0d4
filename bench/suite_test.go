package bench

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestRatiosAreTakenRoundByRound(t *testing.T) {
	// The machine was half as fast in the second round: the ratio does not mind.
	of := []*Result{{PerSecond: 20_000}, {PerSecond: 10_000}, {PerSecond: 21_000}}
	to := []*Result{{PerSecond: 50_000}, {PerSecond: 25_000}, {PerSecond: 50_000}}
	bar := barOf("a ÷ b", "", ratios(of, to), false, 0.4, nil)
	if bar.Measured != 0.4 || bar.Min != 0.4 || bar.Max != 0.42 || !bar.Met {
		t.Errorf("got %+v, want 0.4 with 0.4 to 0.42, met", bar)
	}
}

func TestBarsAreMetFromTheRightSide(t *testing.T) {
	for _, c := range []struct {
		measured float64
		atMost   bool
		want     bool
	}{
		{80, true, true},
		{80.1, true, false},
		{10, true, true},
		{80, false, true},
		{79.9, false, false},
		{90, false, true},
	} {
		if got := barOf("x", "", []float64{c.measured}, c.atMost, 80, nil); got.Met != c.want {
			t.Errorf("%v, at most %t: got %t, want %t", c.measured, c.atMost, got.Met, c.want)
		}
	}
}

func TestTheSuiteWithRedisTellsWhatTheGateCostsAndGives(t *testing.T) {
	o := Options{DatabaseURL: "postgres://localhost/orders", RedisURL: "redis://localhost", ServeFlags: []string{"--batch-max=64"}}
	speeds := map[string]float64{
		"echo": 50_000, "flash-sale": 16_000, saleWithoutRedis: 20_000, rowLockScenario: 1000, "catalogue": 16_000, "read": 40_000,
		mixedScenario: 35_000, mixedWithoutGate: 14_000, stormScenario: 45_000,
	}
	rounds := map[string][]*Result{}
	for _, run := range suiteRuns(&o) {
		changed := o
		run.change(&changed)
		if without := changed.RedisURL == ""; without != (run.name == saleWithoutRedis) {
			t.Errorf("%s: it runs without Redis: %t", run.name, without)
		}
		if off := slices.Contains(changed.ServeFlags, "--gate=off"); off != (run.name == mixedWithoutGate) || changed.ServeFlags[0] != o.ServeFlags[0] {
			t.Errorf("%s: it runs with %v", run.name, changed.ServeFlags)
		}
		result := &Result{Scenario: run.scenario, PerSecond: speeds[run.name]}
		if run.name == stormScenario {
			result.figure(figureStatements, 11.5, "/s")
			result.figure(figureStatementsIdle, 11, "/s")
		}
		rounds[run.name] = []*Result{result}
	}
	rounds[steadySale] = []*Result{{Scenario: "flash-sale"}}
	lag := &Result{Scenario: "expiry-lag", Redis: true}
	lag.figure(figureLagP99, 60, "ms")
	got := map[string]Bar{}
	for _, bar := range (&runner{o: o}).bars(rounds, lag) {
		got[bar.Name] = bar
	}
	for name, want := range map[string]Bar{
		"flash-sale ÷ flash-sale without Redis": {Measured: 0.8, Bar: 0.75, Met: true},
		"mixed ÷ echo":                          {Measured: 0.7, Bar: 0.6, Met: true},
		"mixed ÷ mixed with the gate off":       {Measured: 2.5, Bar: 1.5, Met: true},
		"read ÷ echo":                           {Measured: 0.8, Bar: 0.7, Met: true},
		"storm ÷ echo":                          {Measured: 0.9, Bar: 0.6, Met: true},
		"storm, SQL statements beyond idle":     {Measured: 0.5, Bar: 1, Met: true},
		figureLagP99:                            {Measured: 60, Bar: 50},
	} {
		if bar := got[name]; bar.Measured != want.Measured || bar.Bar != want.Bar || bar.Met != want.Met {
			t.Errorf("%s: got %+v, want %+v", name, bar, want)
		}
	}
}

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{9, 1, 2}, 2}, {[]float64{4, 1, 3, 2}, 2.5}} {
		if got := median(c.values); got != c.want {
			t.Errorf("%v: got %v, want %v", c.values, got, c.want)
		}
	}
}

func TestOptionsThatMakeNoSenseAreRefused(t *testing.T) {
	for _, o := range []Options{
		{},
		{Suite: true, Scenario: "echo"},
		{Scenario: "echo", URL: "http://localhost:8080", APIKey: "k"},
		{Scenario: "read", URL: "http://localhost:8080"},
		{Scenario: "read", Connections: -1},
		{Scenario: "read", Connections: connectionsMax + 1},
		{Scenario: "flash-sale", Rate: 10, Buyers: 10},
		{Scenario: "read", Output: "xml"},
		{Scenario: "read", DatabaseURL: "oracle://localhost/orders"},
		{Scenario: "read", DatabaseURL: "sqlite:orders.db"},
		{Scenario: "unit-rows"},
		{Scenario: "unit-rows", URL: "http://localhost:8080", APIKey: "k", DatabaseURL: "postgres://localhost/orders"},
		{Scenario: "read", URL: "http://localhost:8080", APIKey: "k", RedisURL: "redis://localhost"},
		{Suite: true, RedisURL: "redis://localhost"},
		{Scenario: "expiry-lag", RedisURL: "redis://localhost", Asynq: "asynq"},
		{Scenario: "expiry-lag", Countdowns: []string{"inproc"}, Asynq: "asynq"},
	} {
		if err := o.Validate(); !errors.Is(err, ErrOptions) {
			t.Errorf("%+v: got %v, want %v", o, err, ErrOptions)
		}
	}
	if err := Run(t.Context(), Options{Scenario: "nothing"}, nil, nil); err == nil || !strings.Contains(err.Error(), "nothing") {
		t.Errorf("an unknown scenario: got %v", err)
	}
}

func TestNumbersAreWrittenForPeople(t *testing.T) {
	for _, c := range []struct {
		value     float64
		thousands string
		number    string
	}{
		{0, "0", "0"},
		{7, "7", "7"},
		{0.196, "0", "0.20"},
		{12.34, "12", "12.3"},
		{999, "999", "999"},
		{1000, "1 000", "1 000"},
		{61234.7, "61 235", "61 235"},
		{1234567, "1 234 567", "1 234 567"},
		{-1500, "-1 500", "-1 500"},
	} {
		if got := thousands(c.value); got != c.thousands {
			t.Errorf("thousands of %v: got %q, want %q", c.value, got, c.thousands)
		}
		if got := number(c.value); got != c.number {
			t.Errorf("number of %v: got %q, want %q", c.value, got, c.number)
		}
	}
}
