package client

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"net/url"
	"strconv"

	"github.com/holdfast-oms/holdfast/api"
)

const pageSize = 200 // the most that a desk gives at once

// list reads a list to its end, page after page, as it is asked for more.
func list[T any](ctx context.Context, c *Client, operation, path string, filter url.Values) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		query := maps.Clone(filter)
		if query == nil {
			query = url.Values{}
		}
		if !query.Has("limit") {
			query.Set("limit", strconv.Itoa(pageSize))
		}
		for {
			page, err := get[api.Page[T]](ctx, c, operation, path, query)
			if err == nil && page.NextCursor != nil && len(page.Data) > 0 && *page.NextCursor == query.Get("cursor") {
				err = fmt.Errorf("%s: %w", operation, ErrStuck)
			}
			if err != nil {
				var none T
				yield(none, err)
				return
			}
			for _, item := range page.Data {
				if !yield(item, nil) {
					return
				}
			}
			// A page may be empty before the end, when little of what was looked through is wanted; the log of events has no last
			// page, but an empty one that leaves the cursor where it is.
			if page.NextCursor == nil || len(page.Data) == 0 && *page.NextCursor == query.Get("cursor") {
				return
			}
			query.Set("cursor", *page.NextCursor)
		}
	}
}
