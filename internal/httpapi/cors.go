package httpapi

import (
	"net/http"
	"time"

	"github.com/rs/cors"
)

// corsMaxAge is how long a browser need not ask again.
const corsMaxAge = 10 * time.Minute

// newCORS says to browsers that pages of some origins may call the API, and what they may send and read. Credentials of the
// browser's own (cookies) are nothing to us, so they are not asked for.
func newCORS(origins []string) *cors.Cors {
	if len(origins) == 0 {
		return nil
	}
	return cors.New(cors.Options{
		AllowedOrigins: origins,
		AllowedMethods: []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete},
		AllowedHeaders: []string{"Authorization", "Content-Type", "Idempotency-Key", "Last-Event-ID", "X-Request-Id"},
		ExposedHeaders: []string{"X-Request-Id", "Retry-After", "Idempotency-Replayed"},
		MaxAge:         int(corsMaxAge / time.Second),
	})
}

// preflight reports whether a browser asks what it may, before it sends what a page wants.
func preflight(r *http.Request) bool {
	return r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != ""
}
