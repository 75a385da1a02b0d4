package client_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/holdfast-oms/holdfast/api"
	"github.com/holdfast-oms/holdfast/client"
	"github.com/holdfast-oms/holdfast/internal/config"
	"github.com/holdfast-oms/holdfast/internal/server"
)

const key = "the-admin-key-of-the-examples-0123456789"

// openDesk starts a desk of the example's own; a program would call one that runs. Tickets are on sale, and one poster.
func openDesk() (address string, end func()) {
	folder, err := os.MkdirTemp("", "holdfast-example-*")
	if err != nil {
		panic(err)
	}
	cfg := config.Default()
	cfg.Listen, cfg.DatabaseURL, cfg.AdminKey = "127.0.0.1:0", "sqlite:"+filepath.Join(folder, "holdfast.db"), key
	s, err := server.Start(context.Background(), cfg, server.Options{Demo: true, Stderr: io.Discard})
	if err != nil {
		panic(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve() }()
	return s.URL(), func() {
		if err := s.Stop(context.Background()); err != nil {
			panic(err)
		}
		if err := <-served; err != nil {
			panic(err)
		}
		_ = os.RemoveAll(folder)
	}
}

// openClient is for the examples that are about something else: a client of such a desk, made as Example shows.
func openClient() (desk *client.Client, end func()) {
	address, stop := openDesk()
	desk, err := client.New(address, key, client.Options{})
	if err != nil {
		panic(err)
	}
	return desk, func() {
		desk.Close()
		stop()
	}
}

func Example() {
	address, end := openDesk()
	defer end()
	ctx := context.Background()

	desk, err := client.New(address, key, client.Options{})
	if err != nil {
		panic(err)
	}
	defer desk.Close()

	wish := api.PlaceOrder{UserID: "u-7", Lines: []api.PlaceLine{{ProductID: "sku-ticket", Quantity: 2}}}
	placed, err := desk.PlaceOrder(ctx, "cart-4711", wish)
	if err != nil {
		panic(err)
	}
	fmt.Println(placed.Status, placed.Total.Amount, placed.Total.Currency)

	again, err := desk.PlaceOrder(ctx, "cart-4711", wish)
	if err != nil {
		panic(err)
	}
	fmt.Println("the same order:", again.OrderNo == placed.OrderNo, again.Replayed)

	stock, err := desk.GetStock(ctx, "sku-ticket")
	if err != nil {
		panic(err)
	}
	fmt.Println(stock.Available, "available,", stock.Held, "held")
	// Output:
	// pending 19800 CNY
	// the same order: true true
	// 98 available, 2 held
}

func ExampleClient_PlaceOrder_soldOut() {
	desk, end := openClient()
	defer end()

	wish := api.PlaceOrder{UserID: "u-7", Lines: []api.PlaceLine{{ProductID: "sku-poster", Quantity: 1}}}
	for range 2 {
		_, err := desk.PlaceOrder(context.Background(), "", wish)
		switch {
		case client.HasCode(err, api.CodeOutOfStock):
			fmt.Println("sold out")
		case err != nil:
			panic(err)
		default:
			fmt.Println("placed")
		}
	}
	// Output:
	// placed
	// sold out
}

func ExampleClient_CreatePayment() {
	desk, end := openClient()
	defer end()
	ctx := context.Background()
	placed, err := desk.PlaceOrder(ctx, "", api.PlaceOrder{UserID: "u-7", Lines: []api.PlaceLine{{ProductID: "sku-ticket", Quantity: 1}}})
	if err != nil {
		panic(err)
	}
	payment, err := desk.CreatePayment(ctx, placed.OrderNo, "sandbox")
	if err != nil {
		panic(err)
	}

	// The buyer is sent to payment.PayURL, and presses Pay there.
	resp, err := http.PostForm(*payment.PayURL, url.Values{"action": {"pay"}})
	if err != nil {
		panic(err)
	}
	_ = resp.Body.Close()

	order, err := desk.FulfilOrder(ctx, placed.OrderNo, "handed over")
	if err != nil {
		panic(err)
	}
	fmt.Println(order.Status)
	// Output: fulfilled
}

func ExampleClient_ListOrders() {
	desk, end := openClient()
	defer end()
	ctx := context.Background()
	for _, user := range []string{"u-1", "u-2", "u-1"} {
		_, err := desk.PlaceOrder(ctx, "", api.PlaceOrder{UserID: user, Lines: []api.PlaceLine{{ProductID: "sku-ticket", Quantity: 1}}})
		if err != nil {
			panic(err)
		}
	}
	for order, err := range desk.ListOrders(ctx, client.OrderFilter{UserID: "u-1", Status: api.OrderPending}) {
		if err != nil {
			panic(err)
		}
		fmt.Println(order.UserID, order.Status)
	}
	// Output:
	// u-1 pending
	// u-1 pending
}

// A program that reads the log keeps the cursor beside what it did with the events.
func ExampleClient_ReadEvents() {
	desk, end := openClient()
	defer end()
	ctx := context.Background()
	placed, err := desk.PlaceOrder(ctx, "", api.PlaceOrder{UserID: "u-1", Lines: []api.PlaceLine{{ProductID: "sku-ticket", Quantity: 1}}})
	if err != nil {
		panic(err)
	}
	if _, err := desk.CancelOrder(ctx, placed.OrderNo, "changed his mind"); err != nil {
		panic(err)
	}

	var told []string
	for cursor := ""; len(told) < 2; {
		page, err := desk.ReadEvents(ctx, client.EventFilter{OrderNo: placed.OrderNo}, cursor)
		if err != nil {
			panic(err)
		}
		for _, e := range page.Data {
			told = append(told, e.Type)
		}
		if cursor = *page.NextCursor; len(page.Data) == 0 {
			<-time.After(20 * time.Millisecond) // nothing new yet
		}
	}
	fmt.Println(strings.Join(told, ", "))
	// Output: order.placed, order.cancelled
}
