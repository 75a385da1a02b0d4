package bench

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/holdfast-oms/holdfast/internal/testenv"
)

// Every scenario that goes by its duration runs on every database, and what it checks at its end holds: Run fails when it does not.
func TestScenariosRunOnEachDatabase(t *testing.T) {
	executable, err := holdfast()
	if err != nil {
		t.Fatal(err)
	}
	for _, on := range []struct {
		title string
		url   func(*testing.T) string
	}{
		{onSQLite.title, func(*testing.T) string { return "" }},
		{onPostgres.title, func(t *testing.T) string { t.Helper(); return testenv.StartPostgres(t, testenv.Options{}).AdminURL() }},
		{onMySQL.title, func(t *testing.T) string { t.Helper(); return testenv.StartMariaDB(t, testenv.Options{}).AdminURL() }},
	} {
		t.Run(on.title, func(t *testing.T) {
			url := on.url(t)
			for _, scenario := range []string{"flash-sale", "catalogue", "read", "sold-out", historyScenario} {
				o := Options{
					Scenario: scenario, DatabaseURL: url, Executable: executable, Connections: 16, Rounds: 1, Orders: 3000,
				}
				result := runBriefly(t, o, answered).Results[0]
				if result.PerSecond == 0 || result.Answers.Unexpected+result.Answers.Broken > 0 {
					t.Errorf("%s: got %+v, want answers and nothing else", scenario, result)
				}
				if scenario == historyScenario && (result.Plans == "" || result.values(figureSlowestList) == nil) {
					t.Errorf("history: got %+v, want lists with their plans", result)
				}
			}
		})
	}
}

// With Redis in front each server begins with an empty one, and the figures say how many orders passed it by.
func TestScenariosRunWithRedisInFront(t *testing.T) {
	executable, err := holdfast()
	if err != nil {
		t.Fatal(err)
	}
	o := Options{
		DatabaseURL: testenv.StartPostgres(t, testenv.Options{}).AdminURL(), RedisURL: testenv.StartRedis(t, testenv.Options{}).URL(),
		Executable: executable, Connections: 16, Units: 100,
	}
	for _, o.Scenario = range []string{mixedScenario, stormScenario} {
		report := runBriefly(t, o, func(r *Result) bool { return r.Answers.Done > 0 && r.Answers.OutOfStock > 0 })
		result := report.Results[0]
		if result.Answers.Done == 0 || result.Answers.OutOfStock == 0 || result.Answers.Unexpected+result.Answers.Broken > 0 {
			t.Errorf("%s: got %+v, want orders, refusals and nothing else", o.Scenario, result)
		}
		if !result.Redis || report.Machine.Redis == "" || result.values(figurePassedBy) == nil {
			t.Errorf("%s: got %+v on %+v, want it to say that Redis was there", o.Scenario, result, report.Machine)
		}
	}
}

// holdfast builds the binary once; TestMain throws it away.
var holdfast = sync.OnceValues(func() (string, error) {
	binary := filepath.Join(built, "holdfast")
	if out, err := exec.Command("go", "build", "-o", binary, "../cmd/holdfast").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	return binary, nil
})
