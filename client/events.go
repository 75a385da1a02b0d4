package client

import (
	"context"
	"iter"
	"net/url"
	"strings"

	"github.com/holdfast-oms/holdfast/api"
)

// EventFilter chooses events of the log. The zero value of each field is any.
type EventFilter struct {
	Types   []string
	OrderNo string
}

func (f EventFilter) query() url.Values {
	query := url.Values{}
	set(query, "types", strings.Join(f.Types, ","))
	set(query, "order_no", f.OrderNo)
	return query
}

// ListEvents gives the events of the log from its beginning to where it ends now, in its order. An error is the last thing it
// gives.
func (c *Client) ListEvents(ctx context.Context, f EventFilter) iter.Seq2[api.Event, error] {
	return list[api.Event](ctx, c, "listEvents", path("events"), f.query())
}

// ReadEvents gives the page of the log after a cursor; "" is the beginning. Its NextCursor is always there: kept beside what was
// done with the events, it goes on where a program left off, with the same filter. An empty page means that there is nothing
// new yet.
func (c *Client) ReadEvents(ctx context.Context, f EventFilter, cursor string) (api.Page[api.Event], error) {
	query := f.query()
	set(query, "cursor", cursor)
	set(query, "limit", "200")
	return get[api.Page[api.Event]](ctx, c, "listEvents", path("events"), query)
}
