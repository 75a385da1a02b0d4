package bench

import (
	"errors"
	"testing"

	"github.com/holdfast-oms/holdfast/internal/testenv"
)

func TestARedisThatIsInUseIsLeftAlone(t *testing.T) {
	r := &runner{o: Options{RedisURL: testenv.StartRedis(t, testenv.Options{}).URL()}}
	if err := r.claimRedis(t.Context()); err != nil {
		t.Fatalf("an empty one: got %v", err)
	}
	empty, err := r.redisMemory(t.Context())
	if err != nil || empty == 0 {
		t.Fatalf("its memory: got %d, %v", empty, err)
	}
	c, err := r.dialRedis(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.tell("SET", "cart:7", "somebody's"); err != nil {
		t.Fatal(err)
	}
	if err := Run(t.Context(), Options{Scenario: "echo", RedisURL: r.o.RedisURL}, nil, nil); !errors.Is(err, errRedisInUse) {
		t.Errorf("one with a key: got %v, want %v", err, errRedisInUse)
	}
	if kept, err := c.ask("EXISTS", "cart:7"); err != nil || kept != ":1" {
		t.Errorf("the key: got %q, %v, want it to be there", kept, err)
	}
	if err := r.emptyRedis(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := r.claimRedis(t.Context()); err != nil {
		t.Errorf("emptied: got %v", err)
	}
}

// The servers know more kinds of address. Of one that is understood in another way here, another database would be emptied.
func TestOnlyOnePlainRedisIsEmptied(t *testing.T) {
	for _, c := range []struct {
		address string
		usable  bool
	}{
		{"redis://localhost", true},
		{"redis://user:word@127.0.0.1:6380/3", true},
		{"valkey://[::1]:6379", true},
		{"rediss://localhost:6379", false},
		{"unix:///run/redis.sock", false},
		{"redis://localhost?db=3", false},
		{"redis://s1:26379?addr=s2:26379&master_set=m", false},
		{"redis://localhost/3/4", false},
		{"redis://localhost/three", false},
		{"redis://:6379", false},
		{"localhost:6379", false},
	} {
		err := Options{Scenario: "flash-sale", RedisURL: c.address}.Validate()
		if (err == nil) != c.usable || err != nil && !errors.Is(err, ErrOptions) {
			t.Errorf("%s: got %v, want it to be usable: %t", c.address, err, c.usable)
		}
	}
}
