package ratelimit

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Subject is whose requests a rule counts together.
type Subject string

// The subjects, in the order in which their rules are asked: what costs least to know first.
const (
	ByAddress Subject = "address" // the client's
	ByKey     Subject = "key"     // the API key
	ByUser    Subject = "user"    // whose session it is, or for whom an order is placed
)

// Subjects lists the subjects.
func Subjects() []Subject { return []Subject{ByAddress, ByKey, ByUser} }

// Rule limits the requests of one route, or of all, by subject.
type Rule struct {
	Method, Pattern string // both "": every route
	By              Subject
	Quota
}

// The bounds of rules.
const (
	RulesMax = 32
	countMax = 1_000_000
	perMin   = time.Second
	perMax   = 24 * time.Hour
	burstMax = 1_000_000
	everyMax = time.Hour // for one more: who has to wait for longer is better told by something else
)

// Everywhere stands for every route.
const Everywhere = "*"

// Route is the rule's route as it is written.
func (r *Rule) Route() string {
	if r.Pattern == "" {
		return Everywhere
	}
	return r.Method + " " + r.Pattern
}

// Name tells a rule from every other.
func (r *Rule) Name() string { return r.Route() + " " + string(r.By) + " " + short(r.Per) }

// String is the rule as it is written.
func (r *Rule) String() string {
	per := short(r.Per)
	if len(per) == len("1s") {
		per = strings.TrimPrefix(per, "1")
	}
	text := fmt.Sprintf("%s %s %d/%s", r.Route(), r.By, r.Count, per)
	if r.Burst != r.Count {
		text += fmt.Sprintf(" burst %d", r.Burst)
	}
	return text
}

// Parse reads rules, separated by semicolons: "POST /v1/orders user 5/10s burst 10; * key 1000/s". It says what is wrong with the
// first that cannot be read, or "".
func Parse(text string) (rules []Rule, wrong string) {
	for part := range strings.SplitSeq(text, ";") {
		words := strings.Fields(part)
		if len(words) == 0 {
			if strings.TrimSpace(text) == "" {
				return nil, ""
			}
			return nil, "has nothing between two semicolons, or behind the last"
		}
		r, wrong := parse(words)
		if wrong != "" && strings.Contains(text, ";") {
			wrong = fmt.Sprintf("%q %s", strings.Join(words, " "), wrong) // which of them
		}
		if wrong != "" {
			return nil, wrong
		}
		if slices.ContainsFunc(rules, func(other Rule) bool { return other.Name() == r.Name() }) {
			return nil, fmt.Sprintf("limits %s twice", r.Name())
		}
		if rules = append(rules, r); len(rules) > RulesMax {
			return nil, fmt.Sprintf("has more than %d rules", RulesMax)
		}
	}
	return rules, ""
}

const form = "must be a route, a subject and a rate, such as POST /v1/orders user 5/10s burst 10"

func parse(words []string) (r Rule, wrong string) {
	if words[0] == Everywhere {
		words = words[1:]
	} else {
		if len(words) < 2 || !strings.HasPrefix(words[1], "/") {
			return r, form + "; * stands for every route"
		}
		r.Method, r.Pattern, words = words[0], words[1], words[2:]
	}
	if len(words) != 2 && (len(words) != 4 || words[2] != "burst") {
		return r, form
	}
	if r.By = Subject(words[0]); !slices.Contains(Subjects(), r.By) {
		return r, "must count by address, key or user"
	}
	if r.Count, r.Per, wrong = rate(words[1]); wrong != "" {
		return r, wrong
	}
	r.Burst = r.Count
	if len(words) == 4 {
		if r.Burst, wrong = whole(words[3], burstMax); wrong != "" {
			return r, "has a burst that " + wrong
		}
	}
	if r.Per/time.Duration(r.Count) > everyMax {
		return r, "lets less than one an hour pass"
	}
	if r.Window() > perMax {
		return r, fmt.Sprintf("has a burst that takes longer than %s to grow back", short(perMax))
	}
	return r, ""
}

// rate reads "5/10s", or "1000/s" for 1000 in one second.
func rate(text string) (count int, per time.Duration, wrong string) {
	before, behind, ok := strings.Cut(text, "/")
	if !ok {
		return 0, 0, "must have a rate such as 5/10s or 1000/s"
	}
	if count, wrong = whole(before, countMax); wrong != "" {
		return 0, 0, "has a rate whose count " + wrong
	}
	if behind != "" && (behind[0] < '0' || behind[0] > '9') {
		behind = "1" + behind
	}
	per, err := time.ParseDuration(behind)
	if err != nil || per < perMin || per > perMax || per%time.Second != 0 {
		return 0, 0, fmt.Sprintf("must have a rate over whole seconds, %s to %s, such as 5/10s or 1000/s", short(perMin), short(perMax))
	}
	return count, per, ""
}

func whole(text string, most int) (n int, wrong string) {
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > most || text[0] == '+' {
		return 0, fmt.Sprintf("must be a whole number, 1 to %d", most)
	}
	return n, ""
}

// short is a duration without the zeros at its end: 1m, not 1m0s.
func short(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
