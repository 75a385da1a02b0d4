package telemetry

// Metric is one line of the catalogue: what is counted, what it means, and when somebody should look.
type Metric struct {
	Name   string
	Kind   Kind
	Labels []Label
	Help   string
	Alarm  string // "": none of its own

	buckets []float64
}

// Kind is how a metric moves.
type Kind string

// The kinds.
const (
	Counter   Kind = "counter"   // only rises
	Gauge     Kind = "gauge"     // as it is now
	Histogram Kind = "histogram" // a distribution
)

// Label is one dimension of a metric. Whatever is not one of its values counts as Other, so that nobody outside decides how many
// series there are.
type Label struct {
	Name   string
	Values []string // nil: Means says what bounds it
	Means  string
}

// Other is the value of a label that has none of its own.
const Other = "other"

// Buckets in seconds: from a tenth of a millisecond for what is in memory to seconds for what is stuck.
var (
	fast = []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}
	lag  = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300}
)

// The labels.
var (
	routeLabel  = Label{Name: "route", Means: "a pattern of the route table, or / when none matched"}
	methodLabel = Label{Name: "method", Values: []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE"}}
	classLabel  = Label{Name: "status", Values: []string{"1xx", "2xx", "3xx", "4xx", "5xx"}}
	codeLabel   = Label{Name: "code", Means: "the code of a fault; given_up where the caller left first"}
	limitLabel  = Label{Name: "by", Values: []string{"address", "key", "user"}}
	holdLabel   = Label{Name: "as", Values: []string{"paid", "cancelled", "expired"}}
	laneLabel   = Label{Name: "lane", Values: []string{"open", "settle"}}
	stageLabel  = Label{Name: "stage", Values: []string{"begin", "load", "decide", "save", "commit"}}
	driverLabel = Label{Name: "driver", Values: []string{"inproc", "redis", "keyspace", "sql"}}
	stmtLabel   = Label{Name: "kind", Values: []string{"select", "insert", "update", "delete", "transaction", "audit"}}
)

// Catalogue is every metric of the desk. Nothing is registered that is not here.
func Catalogue() []Metric {
	return []Metric{
		// Requests.
		{
			Name: "holdfast_http_requests_total", Kind: Counter, Labels: []Label{routeLabel, methodLabel, classLabel},
			Help:  "Requests answered, by route, method and class of status.",
			Alarm: "5xx are more than 1 % of all for 5 minutes",
		},
		{
			Name: "holdfast_http_request_duration_seconds", Kind: Histogram, Labels: []Label{routeLabel, methodLabel}, buckets: fast,
			Help:  "Time from a request's header to its answer, by route and method.",
			Alarm: "the 99th percentile of POST /v1/orders stays above 1 s",
		},
		{
			Name: "holdfast_http_problems_total", Kind: Counter, Labels: []Label{codeLabel},
			Help:  "Answers that told of a problem, by its code.",
			Alarm: "internal rises at all; unavailable rises for a minute; bad_signature rises fast",
		},
		{
			Name: "holdfast_http_panics_total", Kind: Counter,
			Help:  "Requests whose handler panicked.",
			Alarm: "it rises at all: a mistake in the program; the log has the stack",
		},
		{
			Name: "holdfast_http_limited_total", Kind: Counter, Labels: []Label{limitLabel},
			Help:  "Requests refused because a limit was used up, by what it counts.",
			Alarm: "key rises: a program of your own is limited; address or user rises fast: bots, or limits that are too tight",
		},
		{Name: "holdfast_limiter_keys", Kind: Gauge, Help: "Addresses, keys and users whose quotas are remembered in this process, up to 200 000."},
		{Name: "holdfast_http_requests_in_flight", Kind: Gauge, Help: "Requests being answered now."},
		{
			Name: "holdfast_streams_open", Kind: Gauge, Help: "Streams that are open now.",
			Alarm: "close to holdfast_streams_limit: the next ones are refused",
		},
		{Name: "holdfast_streams_limit", Kind: Gauge, Help: "How many streams may be open."},
		{
			Name: "holdfast_page_streams_open", Kind: Gauge, Help: "Streams of cashier pages that are open now; they are counted apart.",
			Alarm: "at holdfast_page_streams_limit: the next pages are told only by their own countdown",
		},
		{Name: "holdfast_page_streams_limit", Kind: Gauge, Help: "How many streams of pages may be open."},
		{Name: "holdfast_streams_slow_total", Kind: Counter, Help: "Streams ended because their readers were too slow."},
		{
			Name: "holdfast_http_connections", Kind: Gauge, Help: "Connections that are open now.",
			Alarm: "close to holdfast_http_connections_limit: the next ones wait in the kernel",
		},
		{Name: "holdfast_http_connections_limit", Kind: Gauge, Help: "Connections that may be open at a time."},
		{Name: "holdfast_http_lists_running", Kind: Gauge, Help: "Lists that run now; each holds a turn."},
		{Name: "holdfast_http_lists_limit", Kind: Gauge, Help: "Lists that may run at a time; others wait a moment, then are refused."},
		{
			Name: "holdfast_keyring_keys", Kind: Gauge, Labels: []Label{{Name: "state", Values: []string{"known", "unknown"}}},
			Help: "API keys remembered for a moment: good ones and made-up ones.",
		},
		{
			Name: "holdfast_keyring_lookups_total", Kind: Counter, Help: "Times the record was asked for an API key.",
			Alarm: "hundreds a second: somebody is trying keys",
		},

		{Name: "holdfast_sessions_remembered", Kind: Gauge, Help: "Buyers' sessions remembered for a moment."},
		{
			Name: "holdfast_session_lookups_total", Kind: Counter, Help: "Times the record was asked for a session: about one per session in use and second.",
		},

		// Orders.
		{Name: "holdfast_orders_placed_total", Kind: Counter, Help: "Orders placed."},
		{
			Name: "holdfast_orders_replayed_total", Kind: Counter,
			Help: "Requests for an order that an earlier request with the same key had placed.",
		},
		{
			Name: "holdfast_orders_refused_total", Kind: Counter,
			Labels: []Label{{Name: "by", Values: []string{"gate", "ledger"}}, codeLabel},
			Help:   "Orders refused: by the gate without SQL or by the ledger, and why.",
			Alarm:  "overloaded rises: more is wanted than one desk can do",
		},
		{
			Name: "holdfast_holds_ended_total", Kind: Counter, Labels: []Label{holdLabel},
			Help:  "Pending orders that ended, and how.",
			Alarm: "expired are most of them during a sale: stock is held and not paid for",
		},
		{
			Name: "holdfast_user_paid_ratio", Kind: Histogram, buckets: []float64{0, .25, .5, .75, .99, 1},
			Help: "Of a user's newest orders that were paid or expired, the share that was paid, looked at each time one is. Users who never pay are in " +
				"the bucket 0. Told while a guard is on.",
			Alarm: "the bucket 0 grows faster than all others: bots, or buyers who cannot pay",
		},
		{
			Name: "holdfast_users_cooling_down_total", Kind: Counter,
			Help: "Times a user had left too many orders to expire and has to wait; each is told as user.cooling_down.",
		},
		{Name: "holdfast_gate_products", Kind: Gauge, Help: "Products the gate knows."},
		{
			Name: "holdfast_gate_probes_total", Kind: Counter,
			Help: "Times the gate asked the record whether a refusal still holds: about one per sold-out product and second.",
		},
		{
			Name: "holdfast_gate_marks_ready", Kind: Gauge,
			Help:  "1 once all used idempotency keys are marked; until then a refusal of the gate costs a look at the record.",
			Alarm: "0 for more than 5 minutes",
		},
		{
			Name: "holdfast_gate_key_looks_total", Kind: Counter,
			Help: "Times the record was asked whether keys were used that the gate was about to refuse, many keys at a time; only where several processes may share the record.",
		},
		{
			Name: "holdfast_order_cache_lookups_total", Kind: Counter, Labels: []Label{{Name: "result", Values: []string{"hit", "miss"}}},
			Help: "Orders looked for in memory; none where several processes may share the record.",
		},
		{Name: "holdfast_order_cache_orders", Kind: Gauge, Help: "Orders kept in memory, about."},

		// The ledger.
		{
			Name: "holdfast_ledger_waiting", Kind: Gauge, Labels: []Label{laneLabel}, Help: "Commands waiting in a lane.",
			Alarm: "at holdfast_ledger_waiting_limit: open is refusing orders, settle is refusing payments",
		},
		{Name: "holdfast_ledger_waiting_limit", Kind: Gauge, Labels: []Label{laneLabel}, Help: "Commands that may wait in a lane."},
		{Name: "holdfast_ledger_commands_total", Kind: Counter, Labels: []Label{laneLabel}, Help: "Commands that went into a batch, by lane."},
		{
			Name: "holdfast_ledger_abandoned_total", Kind: Counter,
			Help:  "Commands not carried out because their caller had left or they had waited too long.",
			Alarm: "it rises for minutes: the queue is longer than clients are patient",
		},
		{
			Name: "holdfast_ledger_wait_seconds", Kind: Histogram, buckets: fast,
			Help: "How long the command that waited longest had waited when its batch began.",
		},
		{
			Name: "holdfast_ledger_batch_commands", Kind: Histogram, buckets: []float64{1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024},
			Help: "Commands that shared one transaction.",
		},
		{
			Name: "holdfast_ledger_batch_duration_seconds", Kind: Histogram, Labels: []Label{stageLabel}, buckets: fast,
			Help:  "Time of a batch in each of its stages, its reruns included. On a server what is written goes with the commit, and its time counts there.",
			Alarm: "the 99th percentile of commit stays above 250 ms: the disk is slow",
		},
		{
			Name: "holdfast_ledger_reruns_total", Kind: Counter, Help: "Times a batch was run again because the database asked for it.",
			Alarm: "it rises steadily on SQLite, where one process writes",
		},
		{
			Name: "holdfast_ledger_in_doubt_total", Kind: Counter, Help: "Batches with a commit that gave no answer, resolved by their id.",
			Alarm: "it rises: the database or the way to it breaks off",
		},
		{
			Name: "holdfast_ledger_batch_failures_total", Kind: Counter, Help: "Batches that failed or were split.",
			Alarm: "it rises for a minute: the record cannot be written, or a command breaks its batch",
		},

		// Deadlines.
		{
			Name: "holdfast_expiry_lag_seconds", Kind: Histogram, Labels: []Label{driverLabel}, buckets: lag,
			Help:  "Time from pay_by to the commit that expired the order, by who named it: a countdown, or sql, the look at the record.",
			Alarm: "the 99th percentile is above 5 s",
		},
		{Name: "holdfast_countdown_deadlines", Kind: Gauge, Help: "Deadlines in memory."},
		{
			Name: "holdfast_redis_countdown_lost_total", Kind: Counter,
			Help: "Deadlines that were not told to Redis; the record knows them.",
		},
		{
			Name: "holdfast_redis_number_blocks_total", Kind: Counter,
			Help: "Blocks of order numbers that this process took from Redis; the others it takes from the record.",
		},
		{
			Name: "holdfast_redis_limiter_fell_back_total", Kind: Counter,
			Help: "Looks at a quota that this process decided by what it knows itself, because Redis was away.",
		},
		{
			Name: "holdfast_expirer_paused", Kind: Gauge, Help: "1 while expiry stands still because the wall clock jumped.",
			Alarm: "1: look at the machine's clock",
		},
		{
			Name: "holdfast_reminder_lag_seconds", Kind: Histogram, buckets: lag,
			Help: "Time from when an order's reminder was due to its commit.",
		},

		// Events.
		{Name: "holdfast_outbox_waiting", Kind: Gauge, Help: "Events that are not in the log yet, counted up to 100 000."},
		{
			Name: "holdfast_outbox_oldest_seconds", Kind: Gauge, Help: "Age of the oldest event that is not in the log yet; 0 when none waits.",
			Alarm: "above 10 s: the relay stands still or cannot keep up",
		},
		{Name: "holdfast_relay_events_total", Kind: Counter, Help: "Events moved from the outbox into the log."},
		{
			Name: "holdfast_relay_lag_seconds", Kind: Histogram, buckets: lag,
			Help: "Time from the first commit after the relay's last turn to the end of the turn that put its events into the log.",
		},

		// Redis.
		{Name: "holdfast_redis_configured", Kind: Gauge, Help: "1 when there is to be a Redis in front of the record."},
		{Name: "holdfast_redis_connected", Kind: Gauge, Help: "1 while Redis answers."},
		{
			Name: "holdfast_redis_working", Kind: Gauge, Help: "1 while Redis answers and what it holds is believed.",
			Alarm: "0 for more than a minute while holdfast_redis_configured is 1: each process does with its own memory",
		},
		{
			Name: "holdfast_redis_failures_total", Kind: Counter, Help: "Times Redis did not do in time what it was asked.",
			Alarm: "it rises steadily: Redis is slow or overloaded",
		},
		{
			Name: "holdfast_redis_rebuilds_total", Kind: Counter, Help: "Times this process filled Redis anew from the record.",
			Alarm: "more than a few an hour: Redis loses its data, or some process cannot reach it",
		},
		{
			Name: "holdfast_redis_gate_total", Kind: Counter,
			Labels: []Label{{Name: "what", Values: []string{"asked", "refused", "probed", "fell_back"}}},
			Help:   "Lines of orders that Redis was asked about and refused, refusals that the record was asked about, and orders looked at without Redis.",
		},
		{
			Name: "holdfast_redis_news_lost_total", Kind: Counter,
			Help: "Products whose change was not carried to Redis; the next one, or a probe, makes up for it.",
		},
		{
			Name: "holdfast_redis_cache_reads_total", Kind: Counter,
			Labels: []Label{
				{Name: "kind", Values: []string{"order", "user", "product", "payment"}},
				{Name: "from", Values: []string{"near", "far", "shared", "record"}},
			},
			Help: "Values read: what this process had and Redis said is still so (near), what Redis had (far), what another reader of this process who " +
				"had just come looked up (shared), and what was read in the record. The hit ratio is all but record over all. An order comes with its payments; of " +
				"payments it counts looks at which order one is for.",
			Alarm: "record is most of all for minutes: Redis is away, or holdfast_redis_cache_lost_total rises",
		},
		{
			Name: "holdfast_redis_cache_warmed_total", Kind: Counter,
			Help: "Products that this process loaded into Redis before anybody asked for them.",
		},
		{
			Name: "holdfast_redis_cache_lost_total", Kind: Counter,
			Help: "Orders, users and products whose change was not carried to Redis; they are read in the record until they are filled in again.",
		},

		// The record.
		{
			Name: "holdfast_sql_statements_total", Kind: Counter, Labels: []Label{stmtLabel},
			Help: "SQL statements run, by kind; all of an audit are of the kind audit.",
		},
		{Name: "holdfast_sql_readers_in_use", Kind: Gauge, Help: "Reading connections in use."},
		{Name: "holdfast_sql_readers_limit", Kind: Gauge, Help: "Reading connections that may be open."},
		{
			Name: "holdfast_sql_reader_waits_total", Kind: Counter, Help: "Times a look waited for a reading connection.",
			Alarm: "it rises fast: lists or audits hold all readers",
		},
		{Name: "holdfast_sql_reader_wait_seconds_total", Kind: Counter, Help: "Time spent waiting for a reading connection."},
		{Name: "holdfast_sql_writers_in_use", Kind: Gauge, Help: "Writing connections in use; on SQLite there is one."},
		{Name: "holdfast_sql_writers_limit", Kind: Gauge, Help: "Writing connections that may be open."},
		{
			Name: "holdfast_sql_writer_waits_total", Kind: Counter, Help: "Times a transaction waited for a writing connection of a server; 0 on SQLite.",
			Alarm: "it rises: transactions take long, or connections break off",
		},
		{Name: "holdfast_sql_writer_wait_seconds_total", Kind: Counter, Help: "Time spent waiting for a writing connection of a server."},
		{
			Name: "holdfast_record_degraded", Kind: Gauge, Help: "1 while the database's settings may lose what it has committed.",
			Alarm: "1: set what the log names",
		},
		{
			Name: "holdfast_sqlite_file_bytes", Kind: Gauge, Labels: []Label{{Name: "file", Values: []string{"database", "wal"}}},
			Help:  "Size of the database's files.",
			Alarm: "wal above 1 GB: a reader that never ends keeps it from being copied back; database near the disk's size",
		},
		{
			Name: "holdfast_sqlite_checkpoints_total", Kind: Counter,
			Help: "Times the write-ahead log began anew after it had been copied into the database, in the life of its file.",
		},
		{
			Name: "holdfast_janitor_removed_total", Kind: Counter, Labels: []Label{{Name: "what", Values: janitorWhat}},
			Help: "Rows thrown away because nobody needs them any more.",
		},

		// The auditor.
		{
			Name: "holdfast_auditor_last_look_timestamp_seconds", Kind: Gauge,
			Help:  "When the auditor last looked, in seconds since 1970; 0: not yet.",
			Alarm: "more than a minute ago: nobody watches the numbers",
		},
		{Name: "holdfast_auditor_look_seconds", Kind: Histogram, buckets: fast, Help: "Time of one look of the auditor."},
		{
			Name: "holdfast_auditor_violations_total", Kind: Counter, Labels: []Label{{Name: "check", Values: auditorChecks}},
			Help:  "What the auditor found that does not add up, by check; it counts again as long as it is so.",
			Alarm: "it rises at all: the log says what it is",
		},
		{
			Name: "holdfast_auditor_behind_seconds", Kind: Gauge,
			Help:  "Age of the oldest event whose order the auditor has not looked at; 0 when there is none.",
			Alarm: "above an hour: more happens than it can look at",
		},
		{
			Name: "holdfast_products_quarantined", Kind: Gauge, Help: "Products whose sale is stopped because their numbers do not add up.",
			Alarm: "above 0 the sale of a product is stopped: look, and release it",
		},

		// The process.
		{Name: "holdfast_build_info", Kind: Gauge, Labels: []Label{{Name: "version", Means: "of the program"}}, Help: "Always 1; the version is the label."},
		{
			Name: "holdfast_ready", Kind: Gauge, Help: "1 from the start until the desk is being stopped.",
			Alarm: "0, or nothing is scraped at all",
		},
		{
			Name: "holdfast_log_lines_total", Kind: Counter, Labels: []Label{{Name: "level", Values: []string{"warn", "error"}}},
			Help:  "Things worth a warning or an error, whether their line was written or left out.",
			Alarm: "error rises: read the log",
		},
		{
			Name: "holdfast_log_suppressed_total", Kind: Counter,
			Help: "Log lines left out because the same message had come too often.",
		},
		{
			Name: "holdfast_trace_spans_total", Kind: Counter, Labels: []Label{{Name: "result", Values: []string{"ended", "sent", "failed"}}},
			Help:  "Spans of traces: ended, sent to the collector, and lost because it did not take them. The rest waits or was dropped.",
			Alarm: "failed rises: the collector is away; nothing else suffers",
		},
	}
}

// auditorChecks are the invariants that the auditor looks at.
var auditorChecks = []string{"V1", "V2", "V4", "V5", "V6", "V7", "V8", "V9", "V10"}

// janitorWhat is what the janitor throws away.
var janitorWhat = []string{"ledger_batch", "idempotency_key", "event", "number_day", "api_key", "session", "buyer"}
