// Package planted names known mistakes that a build with the tag `planted` can make on purpose, one at a time, so that the
// simulation proves that it would find them. Without the tag Bug is a constant no: the mistakes are not in the program.
package planted

// Mistake is one way of being wrong.
type Mistake string

// The mistakes. Each was made by somebody who kept a shop.
const (
	// AnsweredBeforeCommit tells the buyer before the transaction that makes it true is committed.
	AnsweredBeforeCommit Mistake = "answered_before_commit"
	// RenamedAfterDoubt runs a batch whose commit is in doubt again under another id.
	RenamedAfterDoubt Mistake = "renamed_after_doubt"
	// LimitLookedUpBefore counts a user's units outside the transaction that adds to them.
	LimitLookedUpBefore Mistake = "limit_looked_up_before"
	// LinesUnmerged checks two lines of one product apart.
	LinesUnmerged Mistake = "lines_unmerged"
	// KeyForgottenAtGate tells the gate's refusal to a buyer whose key was used.
	KeyForgottenAtGate Mistake = "key_forgotten_at_gate"
	// ExpiredByProcessClock lets the process that names an order decide that its time is over.
	ExpiredByProcessClock Mistake = "expired_by_process_clock"
	// ReleasedTwice gives the units of an order back each time somebody says that it is over.
	ReleasedTwice Mistake = "released_twice"
	// AmountUnchecked takes any amount of money for the price.
	AmountUnchecked Mistake = "amount_unchecked"
	// LateMoneyKept owes nothing back for an order that is over.
	LateMoneyKept Mistake = "late_money_kept"
	// LookForgotten trusts the countdown alone to name what is due.
	LookForgotten Mistake = "look_forgotten"
	// CursorRelay reads the outbox from the last id it has seen.
	CursorRelay Mistake = "cursor_relay"
	// WrittenUnconditionally reads rows without locking them and writes them whatever they have become.
	WrittenUnconditionally Mistake = "written_unconditionally"
	// LockedAnyhow locks rows in whatever order they come.
	LockedAnyhow Mistake = "locked_anyhow"
)

// Mistakes lists them all.
func Mistakes() []Mistake {
	return []Mistake{
		AnsweredBeforeCommit, RenamedAfterDoubt, LimitLookedUpBefore, LinesUnmerged, KeyForgottenAtGate, ExpiredByProcessClock,
		ReleasedTwice, AmountUnchecked, LateMoneyKept, LookForgotten, CursorRelay, WrittenUnconditionally,
		LockedAnyhow,
	}
}
