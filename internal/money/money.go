// Package money counts minor units of one currency in int64, and says so when they would overflow.
package money

import (
	"errors"
	"math/bits"
)

// ErrOverflow is returned when a sum or product does not fit an int64.
var ErrOverflow = errors.New("amount too large")

// ErrCurrencies is returned when two amounts of different currencies meet.
var ErrCurrencies = errors.New("amounts of different currencies")

// Money is an amount in minor units (cents, fen) of a currency, named by its ISO 4217 code.
type Money struct {
	Amount   int64  `json:"amount"`
	Currency string `json:"currency"`
}

// Times is the price of quantity units. Neither may be negative.
func (m Money) Times(quantity int64) (Money, error) {
	hi, lo := bits.Mul64(uint64(m.Amount), uint64(quantity)) //nolint:gosec // both are checked below
	if m.Amount < 0 || quantity < 0 || hi != 0 || lo > 1<<63-1 {
		return Money{}, ErrOverflow
	}
	return Money{Amount: int64(lo), Currency: m.Currency}, nil
}

// Plus adds two amounts of one currency, neither of them negative.
func (m Money) Plus(other Money) (Money, error) {
	if m.Currency != other.Currency {
		return Money{}, ErrCurrencies
	}
	sum := m.Amount + other.Amount
	if m.Amount < 0 || other.Amount < 0 || sum < 0 {
		return Money{}, ErrOverflow
	}
	return Money{Amount: sum, Currency: m.Currency}, nil
}

// ValidCurrency reports whether code has the form of an ISO 4217 code: three capital letters.
func ValidCurrency(code string) bool {
	if len(code) != 3 {
		return false
	}
	for i := range 3 {
		if code[i] < 'A' || code[i] > 'Z' {
			return false
		}
	}
	return true
}
