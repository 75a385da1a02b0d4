package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"runtime"
	"sync"
	"time"

	"github.com/holdfast-oms/holdfast/internal/telemetry"
)

// How much is noted for the profiles of waiting, while there is somebody to look at them: both cost well under a hundredth.
const (
	blockProfileEvery = time.Millisecond // of waiting, on the average
	mutexProfileOneIn = 100              // contended locks
)

// admin serves profiles to the operator, and nothing else: health and metrics are with the API. There is no page for the
// command line, which pprof would show: a secret may stand there.
type admin struct {
	server *http.Server
	log    *slog.Logger
	serves sync.WaitGroup
}

// startAdmin listens at an address for those who want profiles; "" is nobody, and no admin.
func startAdmin(ctx context.Context, address string, log *slog.Logger) (*admin, error) {
	if address == "" {
		return nil, nil //nolint:nilnil // off is how it is meant to be
	}
	l, err := listen(ctx, address)
	if err != nil {
		return nil, fmt.Errorf("listen for admin: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", http.NotFound)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	a := &admin{log: log, server: &http.Server{
		Handler: mux, ReadHeaderTimeout: readHeaderTimeout, ReadTimeout: readTimeout, IdleTimeout: idleTimeout,
		MaxHeaderBytes: headerBytesMax, ErrorLog: telemetry.ConnectionLog(log),
	}}
	runtime.SetBlockProfileRate(int(blockProfileEvery))
	runtime.SetMutexProfileFraction(mutexProfileOneIn)
	a.serves.Go(func() {
		if err := a.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			log.Error("profiles end: their listener failed", "err", err)
		}
	})
	log.Info("profiles", "url", "http://"+l.Addr().String()+"/debug/pprof/")
	if !loopback(l.Addr()) {
		log.Warn("profiles can be read from other machines: they show what the process does, and a dump shows what it holds")
	}
	return a, nil
}

func loopback(at net.Addr) bool {
	ap, err := netip.ParseAddrPort(at.String())
	return err == nil && ap.Addr().Unmap().IsLoopback()
}

// stop lets a profile that is being taken end, as long as ctx lasts.
func (a *admin) stop(ctx context.Context) {
	if err := a.server.Shutdown(ctx); err != nil {
		_ = a.server.Close()
	}
	a.serves.Wait()
	runtime.SetBlockProfileRate(0)
	runtime.SetMutexProfileFraction(0)
}
