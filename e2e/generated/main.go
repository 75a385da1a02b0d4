// Command generated takes the tour with a client that oapi-codegen makes of the OpenAPI document. Its package desk does not lie
// here: the test beside it generates it anew, into a copy of this folder.
package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/holdfast-oms/holdfast/e2e/generated/desk"
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := tour(ctx, os.Getenv("HOLDFAST_URL"), os.Getenv("HOLDFAST_API_KEY")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// tour is what the README's does.
func tour(ctx context.Context, address, key string) error {
	c, err := desk.NewClientWithResponses(address, desk.WithRequestEditorFn(func(_ context.Context, r *http.Request) error {
		r.Header.Set("Authorization", "Bearer "+key)
		return nil
	}))
	if err != nil {
		return err
	}
	title, window := "Ticket 票", "10m"
	product, err := c.PutProductWithResponse(ctx, "sku-generated", desk.PutProductJSONRequestBody{
		Title: &title, PayWindow: &window, Price: &desk.Money{Amount: 9900, Currency: "CNY"},
	})
	if err != nil || product.JSON201 == nil {
		return fmt.Errorf("put product: %v, %s", err, product.Body)
	}
	stock, err := c.AdjustStockWithResponse(ctx, "sku-generated", desk.AdjustStockJSONRequestBody{Delta: 10})
	if err != nil || stock.JSON201 == nil || stock.JSON201.Available != 10 {
		return fmt.Errorf("adjust stock: %v, %s", err, stock.Body)
	}
	metadata := map[string]any{"channel": "web"}
	wish := desk.PlaceOrderJSONRequestBody{
		UserId: "u-generated", Lines: []desk.PlaceLine{{ProductId: "sku-generated", Quantity: 2}}, Metadata: &metadata,
	}
	placed, err := c.PlaceOrderWithResponse(ctx, &desk.PlaceOrderParams{IdempotencyKey: "generated"}, wish)
	if err != nil || placed.JSON201 == nil || placed.JSON201.Status != "pending" || placed.JSON201.Total.Amount != 19800 {
		return fmt.Errorf("place: %v, %s", err, placed.Body)
	}
	no := placed.JSON201.OrderNo
	fmt.Println("placed", no)

	wish.Lines[0].Quantity = 9
	refused, err := c.PlaceOrderWithResponse(ctx, &desk.PlaceOrderParams{IdempotencyKey: "too-many"}, wish)
	if err != nil || refused.ApplicationproblemJSON409 == nil || refused.ApplicationproblemJSON409.Code != "out_of_stock" {
		return fmt.Errorf("place too many: %v, %s", err, refused.Body)
	}
	fmt.Println("refused", refused.ApplicationproblemJSON409.Code)

	payment, err := c.CreatePaymentWithResponse(ctx, no, desk.CreatePaymentJSONRequestBody{Provider: "sandbox"})
	if err != nil || payment.JSON201 == nil || payment.JSON201.PayUrl == nil {
		return fmt.Errorf("pay: %v, %s", err, payment.Body)
	}
	form := strings.NewReader(url.Values{"action": {"pay"}}.Encode())
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, *payment.JSON201.PayUrl, form)
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	cashier, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	_ = cashier.Body.Close()

	fulfilled, err := c.FulfilOrderWithResponse(ctx, no, desk.FulfilOrderJSONRequestBody{})
	if err != nil || fulfilled.JSON200 == nil || fulfilled.JSON200.Status != "fulfilled" || fulfilled.JSON200.PaidAt == nil {
		return fmt.Errorf("fulfil: %v, %s", err, fulfilled.Body)
	}
	fmt.Println("fulfilled", no)
	if err := story(ctx, c, no); err != nil {
		return err
	}
	audit, err := c.RunAuditWithResponse(ctx)
	if err != nil || audit.JSON200 == nil || !audit.JSON200.Clean {
		return fmt.Errorf("audit: %v, %s", err, audit.Body)
	}
	fmt.Println("clean")
	return nil
}

// story waits for the order's events in the log.
func story(ctx context.Context, c *desk.ClientWithResponses, no string) error {
	for {
		events, err := c.ListEventsWithResponse(ctx, &desk.ListEventsParams{OrderNo: &no})
		if err != nil || events.JSON200 == nil {
			return fmt.Errorf("events: %v", err)
		}
		var types []string
		for _, e := range events.JSON200.Data {
			types = append(types, e.Type)
		}
		if len(types) == 3 {
			fmt.Println(strings.Join(types, " "))
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("events: got %v", types)
		case <-time.After(50 * time.Millisecond):
		}
	}
}
