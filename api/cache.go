package api

// CacheWarmed says what became of a warm-up.
type CacheWarmed struct {
	Products int `json:"products" doc:"Products that Redis holds now, of those that were looked at."`
	Loaded   int `json:"loaded" doc:"Of those, the ones it did not hold before."`
}
