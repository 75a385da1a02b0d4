package bench

import (
	"bytes"
	"math/rand/v2"
	"strconv"
)

// reader reads orders again and again: each time any of those it knows.
type reader struct {
	random   *rand.PCG
	requests [][]byte
	numbers  [][]byte
	asked    int
}

func newReader(s *shop, orders []uint64) *reader {
	r := &reader{random: rand.NewPCG(rand.Uint64(), rand.Uint64())}
	for _, order := range orders {
		number := strconv.FormatUint(order, 10)
		r.numbers = append(r.numbers, []byte(`"`+number+`"`))
		r.requests = append(r.requests, s.get("/v1/orders/"+number))
	}
	return r
}

func (r *reader) request() []byte {
	r.asked = int(r.random.Uint64() % uint64(len(r.requests)))
	return r.requests[r.asked]
}

func (r *reader) judge(status int, body []byte) outcome {
	if status == 200 && bytes.Contains(body, r.numbers[r.asked]) {
		return done
	}
	return refusal(status, body)
}
