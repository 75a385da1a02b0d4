package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-oms/holdfast/internal/checkout"
	"github.com/holdfast-oms/holdfast/internal/config"
	"github.com/holdfast-oms/holdfast/internal/fault"
	"github.com/holdfast-oms/holdfast/internal/feed"
	"github.com/holdfast-oms/holdfast/internal/httpapi"
	"github.com/holdfast-oms/holdfast/internal/inproc"
	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/order"
	"github.com/holdfast-oms/holdfast/internal/provider/sandbox"
	"github.com/holdfast-oms/holdfast/internal/sqlstore"
	"github.com/holdfast-oms/holdfast/internal/telemetry"
	"github.com/holdfast-oms/holdfast/internal/worker"
)

// Limits of a connection. A slow header or body is cut, from its first byte on; until then, and between two requests, a connection
// may be idle. An answer that takes long (an audit) asks for more by itself.
const (
	readHeaderTimeout = 2 * time.Second
	readTimeout       = 5 * time.Second
	writeTimeout      = 30 * time.Second
	idleTimeout       = 60 * time.Second
	headerBytesMax    = 16 << 10
	connectionsMax    = 10_000

	// stopWithin is how long a graceful stop may take after the drain delay; what is not done then is cut off.
	stopWithin    = 18 * time.Second
	requestsGrace = 10 * time.Second // of it, for requests under way
)

// Options of a run.
type Options struct {
	Demo    bool // put sample products on sale
	Stdout  io.Writer
	Stderr  io.Writer
	Version string
}

// Server is a running desk.
type Server struct {
	cfg     config.Config
	log     *slog.Logger
	version string

	store   *sqlstore.Store
	ledger  *ledger.Ledger
	desk    *checkout.Desk
	metrics *telemetry.Metrics
	tracer  *telemetry.Tracer // nil: nothing is traced
	front   *front            // nil: there is no Redis

	listener *limited
	api      *httpapi.Server
	http     *http.Server
	admin    *admin // nil: there is none
	ready    atomic.Bool

	stopLoops context.CancelFunc
	loops     sync.WaitGroup
}

// Run serves until ctx ends, then stops gracefully.
func Run(ctx context.Context, cfg config.Config, opt Options) error {
	s, err := Start(ctx, cfg, opt)
	if err != nil {
		return err
	}
	failed := make(chan error, 1)
	go func() { failed <- s.Serve() }()
	select {
	case err = <-failed:
	case <-ctx.Done():
		s.log.Info("stopping")
	}
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), cfg.DrainDelay+stopWithin)
	defer cancel()
	return errors.Join(err, s.Stop(stopping))
}

// Start opens the record, starts the ledger and the loops, and listens; Serve answers.
func Start(ctx context.Context, cfg config.Config, opt Options) (_ *Server, err error) {
	s := &Server{cfg: cfg, log: telemetry.Logger(opt.Stderr, cfg.LogFormat, cfg.LogLevel), version: opt.Version}
	defer func() {
		if err != nil {
			_ = s.Stop(ctx)
		}
	}()
	if err := httpapi.LimitsFit(cfg.Limits); err != nil {
		return nil, err
	}
	// The port first: it costs nothing to find out that it is taken.
	l, err := listen(ctx, cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	s.listener = limitConnections(l, connectionsMax)
	if s.admin, err = startAdmin(ctx, cfg.AdminListen, s.log); err != nil {
		return nil, err
	}
	if s.store, err = sqlstore.Open(ctx, cfg.DatabaseURL, sqlstore.Options{Degraded: degraded(cfg)}); err != nil {
		return nil, err
	}
	for _, weakness := range s.store.Weaknesses() {
		s.log.Error("the record may lose what it has committed", "setting", weakness)
	}
	if _, err = s.store.Migrate(ctx); err != nil {
		return nil, err
	}
	made, err := adminKey(ctx, s.store, cfg.AdminKey, time.Now())
	if err != nil {
		return nil, err
	}
	showKey(opt.Stdout, made) // at once: whatever fails from here on, it is not shown again
	if err := s.assemble(ctx); err != nil {
		return nil, err
	}
	if opt.Demo {
		if err := s.putSamples(ctx); err != nil {
			return nil, err
		}
	}
	s.ready.Store(true)
	s.greet(opt)
	return s, nil
}

// URL is where the desk listens.
func (s *Server) URL() string { return "http://" + s.listener.Addr().String() }

// assemble puts the parts together. Data flows one way: request → gate → ledger → record, and back from each commit to those
// who keep copies.
func (s *Server) assemble(ctx context.Context) error {
	clock := time.Now
	s.metrics = telemetry.New(s.version)
	if err := s.startTracer(ctx); err != nil {
		return err
	}
	written, err := s.store.LastWritten(ctx)
	if err != nil {
		return err
	}
	marks := inproc.NewKeyMarks(clock)
	gate := inproc.NewGate(s.store.Shelf, marks, clock)
	if err := s.openFront(gate, clock); err != nil {
		return err
	}
	var orders orderCache = inproc.NewOrders()
	own := inproc.NewCountdown()
	countdown := s.countdown(own)
	expiring := worker.ExpirerOptions{Clock: clock, Log: s.log, Observe: s.metrics.Expired}
	if s.store.Shared() {
		gate.Keys = inproc.NewKeyLooks(s.store.KeysUsed)
		marks.Ready() // they speak of this process only
		expiring.Pending = s.store.StillPending
		expiring.Self = rand.Uint64() //nolint:gosec // a name, not a secret
	}
	limiter := inproc.NewLimiter(clock)
	buyers := inproc.NewBuyers(clock)
	host, _ := os.Hostname()
	holder := fmt.Sprintf("%s:%d:%d", host, os.Getpid(), clock().UnixNano())
	numberer := s.numberer(holder)
	s.desk = &checkout.Desk{
		Record: record{s.store}, Gate: s.gate(gate), Buyers: buyers, Numbers: numberer, Clock: clock, Observe: s.metrics.Ordered,
	}
	if s.store.Shared() {
		orders = inproc.Uncached{}
		s.desk.Memory = s.front.remembers()
	}
	s.desk.Orders = orders
	hub := feed.NewHub(s.store, s.desk, s.log)
	s.front.tells(s.store, hub.Wake)
	relay := worker.NewRelay(s.store, holder, s.log, func(moved int) {
		s.relayed(moved)
		hub.Wake()
		s.front.logGrew()
	})

	s.ledger = ledger.New(s.store, ledger.Options{
		BatchMax: s.cfg.BatchMax, OpenMax: s.cfg.OpenQueue, OpenWait: s.cfg.OpenWait, SettleMax: s.cfg.SettleQueue,
		BlockSize: int64(s.cfg.NumberBlock), PayWindow: s.cfg.PayWindow, TimeZone: s.cfg.TimeZone, Log: s.log,
		Guards: ledger.Guards{
			UnpaidMax: s.cfg.UnpaidOrdersMax, LeftMax: s.cfg.CoolDownAfter, LeftWithin: s.cfg.CoolDownWithin, CoolDown: s.cfg.CoolDown,
			RepeatWithin: s.cfg.RepeatGuard,
		},
		Observe:  s.batch,
		Followed: s.followed(),
		Granted:  s.granted(numberer),
		Using:    gate.Using,
		Changing: s.front.changing,
		Doubted:  orders.Doubted,
		Applied: func(a *ledger.Applied) {
			gate.Applied(a)
			s.front.applied(a)
			s.front.remembered(a)
			buyers.Applied(a)
			orders.Applied(a)
			if countdown != nil {
				countdown.Applied(a)
			}
			if a.Events > 0 {
				s.metrics.Written(clock())
				relay.Wake()
			}
		},
	})
	s.desk.Ledger = s.ledger

	callbacks, pages, err := s.providers(ctx, clock, func(w http.ResponseWriter, r *http.Request, no order.Number, show func([]byte, *order.Order) []byte) {
		s.api.FollowOrder(w, r, no, show)
	})
	if err != nil {
		return err
	}
	cursorKey, err := sharedSecret(ctx, s.store, "cursor_key")
	if err != nil {
		return err
	}
	expirer := worker.NewExpirer(s.ledger, s.store, countdown, expiring)
	auditor := worker.NewAuditor(s.ledger, s.store.Window(), worker.AuditorOptions{Log: s.log, Observe: s.metrics.Audited})
	s.api = httpapi.New(s.desk, httpapi.Options{
		Log: s.log, Clock: clock, Ready: s.readiness, Degraded: s.degraded,
		Quarantined: func() int64 { return auditor.Last().Quarantined }, Metrics: s.metrics.Handler(), Observe: s.answered, Trace: s.trace(),
		Version: s.version, Callbacks: callbacks, Pages: pages, CursorKey: []byte(cursorKey),
		SessionIdle: s.cfg.SessionIdle, SessionMax: s.cfg.SessionMax, Ended: s.ended(),
		Limits: s.cfg.Limits, Limiter: s.front.limits(limiter), Proxies: httpapi.Proxies{Trusted: s.cfg.TrustedProxies, Header: s.cfg.ProxyHeader},
		Feed: hub, StreamsMax: s.cfg.StreamsMax, Origins: s.cfg.CORSOrigins,
		PublicURL: s.cfg.PublicAt(s.listener.Addr()),
	})
	s.http = &http.Server{
		Handler:           s.api,
		ReadHeaderTimeout: readHeaderTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout, IdleTimeout: idleTimeout,
		MaxHeaderBytes: headerBytesMax,
		ErrorLog:       telemetry.ConnectionLog(s.log),
	}
	s.http.RegisterOnShutdown(s.api.Drain)
	s.measure(parts{gate, marks, orders, own, limiter, expirer, hub, auditor})

	loops, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stopLoops = stop
	s.loops.Go(func() { s.front.run(loops, numberer) })
	s.loops.Go(func() { expirer.Run(loops) })
	s.loops.Go(func() { relay.Run(loops) })
	s.loops.Go(func() { hub.Run(loops) })
	if s.cfg.RemindBefore > 0 {
		reminder := worker.NewReminder(s.ledger, s.store, s.cfg.RemindBefore, clock, s.log)
		reminder.Observe = s.metrics.Reminded
		s.loops.Go(func() { reminder.Run(loops) })
	}
	janitor := worker.NewJanitor(s.store, worker.JanitorOptions{
		EventsKept: s.cfg.EventRetention, Written: written, Log: s.log, Observe: s.metrics.Removed,
	})
	s.loops.Go(func() { janitor.Run(loops) })
	s.loops.Go(func() { auditor.Run(loops) })
	if !s.store.Shared() {
		s.loops.Go(func() { worker.NewMarker(s.store, marks, clock, s.log).Run(loops) })
	}
	return nil
}

// orderCache is what remembers orders for this process, if anything may.
type orderCache interface {
	checkout.OrderCache
	Applied(a *ledger.Applied)
	Doubted(a *ledger.Applied)
	Counts() inproc.CacheCounts
}

// followOrder answers a page's request with a stream of one order.
type followOrder = func(w http.ResponseWriter, r *http.Request, no order.Number, show func(b []byte, o *order.Order) []byte)

func (s *Server) providers(ctx context.Context, clock func() time.Time, follow followOrder) ([]httpapi.CallbackProvider, map[string]http.Handler, error) {
	var callbacks []httpapi.CallbackProvider
	pages := map[string]http.Handler{}
	for _, name := range s.cfg.Providers {
		switch name {
		case "sandbox":
			secret, err := sandboxSecret(ctx, s.store, s.cfg.SandboxSecret)
			if err != nil {
				return nil, nil, err
			}
			p := sandbox.New(secret, s.cfg.PublicAt(s.listener.Addr()), s.desk, clock)
			p.Log, p.Follow = s.log, follow
			s.desk.Providers = append(s.desk.Providers, p)
			callbacks = append(callbacks, p)
			pages["/sandbox/"] = p.Pages()
			s.log.Warn("the sandbox provider is on: orders can be paid without money")
		default:
			return nil, nil, fmt.Errorf("there is no provider %q", name)
		}
	}
	return callbacks, pages, nil
}

// readiness is whether requests should be sent here.
func (s *Server) readiness(ctx context.Context) error {
	if !s.ready.Load() {
		return fault.ErrUnavailable.Detailf("The desk is starting or stopping.")
	}
	if _, err := s.store.Now(ctx); err != nil {
		return fault.ErrUnavailable.Detailf("The record does not answer.").Because(err)
	}
	return nil
}

// Serve answers requests until Stop.
func (s *Server) Serve() error {
	if err := s.http.Serve(onceHeard(s.listener, idleTimeout)); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve: %w", err)
	}
	return nil
}

// Stop ends the desk so that nothing acknowledged is lost and nobody waits for what will not come:
//
//  1. readiness says no, and for the drain delay everything goes on, so that load balancers can look away;
//  2. no new connections; requests under way are answered, streams are ended;
//  3. the loops stop: they are senders, and the ledger is their receiver;
//  4. the ledger decides what still waits;
//  5. the record is closed;
//  6. last, traces are sent and the profiles end, so that one can look at a stop that hangs.
func (s *Server) Stop(ctx context.Context) error {
	var failed []error
	served := s.ready.Swap(false)
	if served && s.cfg.DrainDelay > 0 {
		s.log.Info("draining", "for", s.cfg.DrainDelay.String())
		select {
		case <-time.After(s.cfg.DrainDelay):
		case <-ctx.Done():
		}
	}
	if s.http != nil {
		grace, cancel := context.WithTimeout(ctx, requestsGrace)
		if err := s.http.Shutdown(grace); err != nil {
			failed = append(failed, fmt.Errorf("requests cut off: %w", err))
			_ = s.http.Close()
		}
		cancel()
	}
	if s.api != nil {
		failed = append(failed, s.api.Close(ctx))
	}
	if s.listener != nil {
		_ = s.listener.Close()
	}
	if s.stopLoops != nil {
		s.stopLoops()
		s.loops.Wait()
	}
	if s.ledger != nil {
		if err := s.ledger.Close(ctx); err != nil {
			failed = append(failed, fmt.Errorf("ledger not drained: %w", err))
		}
	}
	if s.store != nil {
		if err := s.store.Close(); err != nil {
			failed = append(failed, fmt.Errorf("close record: %w", err))
		}
	}
	s.stopWatching(ctx)
	if err := errors.Join(failed...); err != nil {
		return err
	}
	if served {
		s.log.Info("stopped")
	}
	return nil
}
