package bench

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strconv"
)

const (
	buyers   = 10_000_000 // the people who may come; each order is by any of them
	price    = 1999
	currency = "CNY"
	digits   = "0123456789abcdef"
)

// buyer places one order after another, each of one unit, by another person and with a key of its own. The request is made
// once; only what differs is written over. Keys are random, because those of real clients are: on most databases an index
// on rising keys would be several times cheaper, and the figures would flatter.
type buyer struct {
	random   *rand.PCG
	wire     []byte
	key      []byte // parts of wire
	user     []byte
	product  []byte
	products []string
	people   uint64
	choose   func() int // which of products; any of them when nil

	acknowledged []uint64 // the number of every order answered 201
}

// newBuyer makes a buyer of products whose ids are all of the same length.
func newBuyer(s *shop, products []string) *buyer {
	const key, user = "00000000000000000000000000000000", "u-00000000"
	body := fmt.Sprintf(`{"user_id":%q,"lines":[{"product_id":%q,"quantity":1}]}`, user, products[0])
	b := &buyer{
		random:   rand.NewPCG(rand.Uint64(), rand.Uint64()),
		wire:     s.post("/v1/orders", body, "Idempotency-Key: "+key),
		products: products,
		people:   buyers,
	}
	b.key = part(b.wire, key)
	b.user = part(b.wire, user)[2:]
	b.product = part(b.wire, products[0])
	return b
}

// part is where text stands in wire.
func part(wire []byte, text string) []byte {
	at := bytes.Index(wire, []byte(text))
	return wire[at : at+len(text)]
}

func (b *buyer) request() []byte {
	writeHex(b.key[:16], b.random.Uint64())
	writeHex(b.key[16:], b.random.Uint64())
	n := b.random.Uint64()
	person := n >> 32 % b.people
	for i := len(b.user) - 1; i >= 0; i-- {
		b.user[i] = digits[person%10]
		person /= 10
	}
	switch {
	case b.choose != nil:
		copy(b.product, b.products[b.choose()])
	case len(b.products) > 1:
		copy(b.product, b.products[uint32(n)%uint32(len(b.products))])
	}
	return b.wire
}

func writeHex(into []byte, n uint64) {
	for i := range into {
		into[i] = digits[n>>(i*4)&15]
	}
}

func (b *buyer) judge(status int, body []byte) outcome {
	if status == 201 {
		number, ok := orderNumber(body)
		if !ok {
			return unexpected
		}
		b.acknowledged = append(b.acknowledged, number)
		return done
	}
	return refusal(status, body)
}

func refusal(status int, body []byte) outcome {
	switch {
	case status == 409 && bytes.Contains(body, []byte(`"out_of_stock"`)):
		return outOfStock
	case status == 503 || status == 429:
		return overloaded
	default:
		return unexpected
	}
}

// orderNumber finds the number of the order in a body: yyyymmdd and 7 digits, more when a day needs them.
func orderNumber(body []byte) (uint64, bool) {
	const name = `"order_no":`
	at := bytes.Index(body, []byte(name))
	if at < 0 {
		return 0, false
	}
	rest := bytes.TrimLeft(body[at+len(name):], " ")
	if len(rest) == 0 || rest[0] != '"' {
		return 0, false
	}
	rest = rest[1:]
	end := bytes.IndexByte(rest, '"')
	if end < 15 || end > 18 {
		return 0, false
	}
	number, err := strconv.ParseUint(string(rest[:end]), 10, 64)
	return number, err == nil
}
