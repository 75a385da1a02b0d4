package redisfront_test

import (
	"net/url"
	"slices"
	"testing"

	"github.com/holdfast-oms/holdfast/internal/testenv"
)

// The user that the documents tell of does for a desk that finds its master by sentinels, and for its look at them.
func TestSentinelsNameTheMaster(t *testing.T) {
	t.Parallel()
	group := testenv.StartRedisSentinels(t, testenv.Options{})
	always, more := documentedUser(t)
	servers := []*testenv.Server{group.Master, group.Replica}
	address := asDesk(t, group.URL(), servers, always, more)
	for _, s := range group.Sentinels {
		do(t, direct(t, s.URL()), documentedSentinelUser(t)...)
	}
	r := newRecord()
	r.put("sku-1", 1, nil)
	p := working(t, r, strict(address))
	if err := p.Admit(t.Context(), "u-1", want("sku-1", 2)); err == nil {
		t.Error("two of one were admitted")
	}
	before := r.epoch()
	group.Master.Kill()
	testenv.Until(t, patience, "the other server is filled", func() bool { return r.epoch() != before && p.front.State().Working })
	if err := p.Admit(t.Context(), "u-1", want("sku-1", 2)); err == nil {
		t.Error("two of one were admitted after the failover")
	}
	if got := hash(t, direct(t, group.Replica.URL()), "inventory:{sku-1}"); got["quantity"] != "1" || got["epoch"] != r.epoch() {
		t.Errorf("the new master holds %v, want quantity 1 in epoch %s", got, r.epoch())
	}
	countDownAndGive(t, address)
	for _, s := range append(slices.Clone(group.Sentinels), group.Replica) {
		notRefused(t, s)
	}
}

// A sentinel that neither answers nor ends is passed over: the others know the master, too.
func TestASentinelThatHangsIsPassedOver(t *testing.T) {
	t.Parallel()
	group := testenv.StartRedisSentinels(t, testenv.Options{})
	hanging := group.Sentinels[0]
	u, err := url.Parse(group.URL())
	if err != nil || u.Host != hanging.Addr() {
		t.Fatalf("the first sentinel of %s is not %s: %v", u.Redacted(), hanging.Addr(), err)
	}
	r := newRecord()
	before := working(t, r, strict(group.URL()))
	hanging.Pause()
	t.Cleanup(hanging.Resume)
	working(t, r, strict(group.URL()))
	epoch := r.epoch()
	group.Master.Kill()
	testenv.Until(t, patience, "the failover is seen by who listened to the sentinel that hangs", func() bool {
		return r.epoch() != epoch && before.front.State().Working
	})
}
