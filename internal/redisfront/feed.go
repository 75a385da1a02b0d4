package redisfront

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"github.com/holdfast-oms/holdfast/internal/checkout"
	"github.com/holdfast-oms/holdfast/internal/event"
)

// Limits of the feed.
const (
	feedPage  = 256 // events published at once
	feedMax   = 2 * time.Second
	feedLook  = 5 * time.Second        // between two looks when nobody wakes it: who relayed may have died before he published
	feedRetry = 500 * time.Millisecond // while Redis is away
)

// Log is the durable log of events.
type Log interface {
	Events(ctx context.Context, f checkout.EventFilter) ([]event.Event, error)
	LogEnd(ctx context.Context) (position int64, err error)
}

// Feed publishes every event, once it is in the log, on the channel holdfast:events, and hears on another that the log has grown.
// All processes publish, in the log's order, and what one has published no other does again; only a Redis that has lost its place
// may see some twice. Nothing rests on it: who wants every event reads the log.
type Feed struct {
	front *Front
	log   Log
	grown func() // called when the log has grown, wherever
	wake  chan struct{}

	place string // where the last published position is kept: of this record, and no other
	last  int64
}

// NewFeed makes a feed. It calls grown whenever the log has grown at any process.
func NewFeed(f *Front, log Log, grown func()) *Feed {
	return &Feed{front: f, log: log, grown: grown, wake: make(chan struct{}, 1)}
}

// Wake tells that the log has grown here. It never blocks.
func (d *Feed) Wake() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// Run publishes and listens until ctx ends.
func (d *Feed) Run(ctx context.Context) {
	var all sync.WaitGroup
	all.Go(func() { d.listen(ctx) })
	d.publish(ctx)
	all.Wait()
}

func (d *Feed) listen(ctx context.Context) {
	for ctx.Err() == nil {
		if c := d.front.connected(); c != nil {
			_ = c.Receive(ctx, c.B().Subscribe().Channel(grownChannel).Build(), func(rueidis.PubSubMessage) { d.grown() }) // it is called again
		}
		select {
		case <-ctx.Done():
		case <-time.After(feedRetry):
		}
	}
}

func (d *Feed) publish(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.wake:
		case <-timer.C:
		}
		more, err := d.publishPage(ctx)
		switch {
		case more && err == nil:
			d.Wake()
		case err != nil:
			timer.Reset(feedRetry)
		default:
			timer.Reset(feedLook)
		}
	}
}

// publishPage publishes a page of the log. more: there may be another.
func (d *Feed) publishPage(ctx context.Context) (more bool, err error) {
	c := d.front.connected()
	if c == nil {
		return false, errNoServer
	}
	ctx, cancel := context.WithTimeout(ctx, feedMax)
	defer cancel()
	if d.place == "" {
		if err := d.find(ctx, c); err != nil {
			return false, err
		}
	}
	if d.unheard(ctx, c) {
		return d.skip(ctx, c)
	}
	events, err := d.log.Events(ctx, checkout.EventFilter{After: d.last, Anew: true, Limit: feedPage})
	if err != nil || len(events) == 0 {
		return false, err
	}
	args := []string{eventsChannel, grownChannel}
	for i := range events {
		args = append(args, strconv.FormatInt(events[i].Position, 10), string(events[i].AppendCloudEvent(nil)))
	}
	return len(events) == feedPage, d.send(ctx, c, args)
}

func (d *Feed) send(ctx context.Context, c rueidis.Client, args []string) error {
	last, err := runAll(ctx, c, []run{{&publishScript, []string{d.place}, args}})[0].AsInt64()
	if err == nil {
		d.last = last
	}
	return err
}

// find looks where the processes before have come to. A place behind the end of the log is that of a record that was restored since.
func (d *Feed) find(ctx context.Context, c rueidis.Client) error {
	name, err := d.front.record.SharedSecret(ctx, "feed", randomName(16))
	if err != nil {
		return err
	}
	end, err := d.log.LogEnd(ctx)
	if err != nil {
		return err
	}
	place := fmt.Sprintf("holdfast:published:{%s}", name)
	last, err := c.Do(ctx, c.B().Get().Key(place).Build()).AsInt64()
	switch {
	case rueidis.IsRedisNil(err):
		last = end
	case err != nil:
		return err
	case last > end:
		last = end
		if err := c.Do(ctx, c.B().Del().Key(place).Build()).Error(); err != nil {
			return err
		}
	}
	d.place, d.last = place, last
	return nil
}

// unheard reports whether certainly nobody hears the events: neither on the channel, nor by a pattern, nor at a replica, of which the
// server does not know. On a cluster one server does not know either.
func (d *Feed) unheard(ctx context.Context, c rueidis.Client) bool {
	if c.Mode() == rueidis.ClientModeCluster {
		return false
	}
	said := c.DoMulti(ctx, c.B().PubsubNumsub().Channel(eventsChannel).Build(), c.B().PubsubNumpat().Build(),
		c.B().Info().Section("replication").Build())
	channel, err := said[0].ToArray()
	if err != nil || len(channel) != 2 {
		return false
	}
	onChannel, err1 := channel[1].AsInt64()
	byPattern, err2 := said[1].AsInt64()
	info, err3 := said[2].ToString()
	return errors.Join(err1, err2, err3) == nil && onChannel == 0 && byPattern == 0 && parseInfo(info)["connected_slaves"] == "0"
}

// skip goes to the end of the log, and tells only that it has grown: the events need not be read. heard: somebody began to listen before
// the end was known, so they must be.
func (d *Feed) skip(ctx context.Context, c rueidis.Client) (heard bool, err error) {
	end, err := d.log.LogEnd(ctx)
	if err != nil || end <= d.last {
		return false, err
	}
	if !d.unheard(ctx, c) {
		return true, nil
	}
	return false, d.send(ctx, c, []string{eventsChannel, grownChannel, strconv.FormatInt(end, 10), ""})
}
