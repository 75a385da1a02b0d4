package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

const (
	rivalShutdown      = 5 * time.Second
	rivalHeaderTimeout = 10 * time.Second
)

// ServeEcho serves the floor until ctx ends: no order can be taken over HTTP and JSON for less than a plain net/http handler
// needs to decode one and encode one. It prints where it listens to out.
func ServeEcho(ctx context.Context, addr string, out io.Writer) error {
	return serveRival(ctx, addr, out, echoRoutes())
}

func echoRoutes() http.Handler {
	routes := http.NewServeMux()
	routes.HandleFunc("POST /v1/orders", echoOrder)
	return routes
}

func echoOrder(w http.ResponseWriter, r *http.Request) {
	var in placeShape
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	now := time.Now()
	order := orderShape{
		OrderNo: "202611200000042", UserID: in.UserID, Status: "pending",
		Total: moneyShape{Currency: currency}, CreatedAt: wireTime(now), PayBy: wireTime(now.Add(longPayWindow)),
		SecondsLeft: int64(longPayWindow.Seconds()), Version: 1, Metadata: map[string]any{},
	}
	for _, line := range in.Lines {
		unit := moneyShape{Amount: price, Currency: currency}
		order.Lines = append(order.Lines, lineShape{ProductID: line.ProductID, Title: "Ticket", Quantity: line.Quantity, UnitPrice: unit})
		order.Total.Amount += price * line.Quantity
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusCreated)
	_ = json.NewEncoder(w).Encode(order) // whoever went away does not need it
}

func serveRival(ctx context.Context, addr string, out io.Writer, handler http.Handler) error {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: rivalHeaderTimeout}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	fmt.Fprintf(out, "listening on http://%s\n", listener.Addr())
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	shutdown, cancel := context.WithTimeout(context.WithoutCancel(ctx), rivalShutdown)
	defer cancel()
	err = server.Shutdown(shutdown)
	if ended := <-ended; !errors.Is(ended, http.ErrServerClosed) {
		err = errors.Join(err, ended)
	}
	return err
}

// echo is the same orders as in a flash sale, to the floor.
func (r *runner) echo(ctx context.Context) (*Result, error) {
	return r.onRival(ctx, "echo", 0, func(ctx context.Context, s *stand) (*Result, error) {
		r.progress.stage("echo")
		sale := &sale{stand: s, products: []string{"bench-" + r.id + "-00000"}}
		l := r.newLoad(s)
		m, err := sale.place(ctx, l.load, nil)
		if err != nil {
			return nil, err
		}
		result := l.result("echo", m, done, ordersCounted)
		result.Checks = []Check{sale.checkAnswers("answers")}
		return result, nil
	})
}
