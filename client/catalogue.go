package client

import (
	"context"
	"iter"
	"net/http"

	"github.com/holdfast-oms/holdfast/api"
)

// PutProduct creates a product or changes it. What is left out stays as it is; a new product needs title and price.
func (c *Client) PutProduct(ctx context.Context, productID string, change api.PutProduct) (api.Product, error) {
	var p api.Product
	_, err := c.do(ctx, &call{
		operation: "putProduct", method: http.MethodPut, path: path("products", productID), sent: change, answer: &p, repeats: true,
	})
	return p, err
}

// GetProduct gives a product as it is.
func (c *Client) GetProduct(ctx context.Context, productID string) (api.Product, error) {
	return get[api.Product](ctx, c, "getProduct", path("products", productID), nil)
}

// ListProducts gives all products by their ids. An error is the last thing it gives.
func (c *Client) ListProducts(ctx context.Context) iter.Seq2[api.Product, error] {
	return list[api.Product](ctx, c, "listProducts", path("products"), nil)
}

// Adjusted is a stock after a delivery.
type Adjusted struct {
	api.Stock
	// Repeated says that a delivery with this ref had been counted before, so this one was not.
	Repeated bool
}

// ReleaseProduct lets a product be sold again whose sale the auditor has stopped.
func (c *Client) ReleaseProduct(ctx context.Context, productID string) (api.Product, error) {
	var p api.Product
	_, err := c.do(ctx, &call{operation: "releaseProduct", method: http.MethodPost, path: path("products", productID, "release"), answer: &p})
	return p, err
}

// AdjustStock takes a delivery in, or writes units off. A delivery with a Ref counts once, however often it is told; only such
// a call is repeated when its answer is lost.
func (c *Client) AdjustStock(ctx context.Context, productID string, delivery api.AdjustStock) (Adjusted, error) {
	var a Adjusted
	r, err := c.do(ctx, &call{
		operation: "adjustStock", method: http.MethodPost, path: path("products", productID, "stock"), sent: delivery, answer: &a.Stock,
		repeats: delivery.Ref != "",
	})
	a.Repeated = r.status == http.StatusOK
	return a, err
}

// GetStock gives a product's stock.
func (c *Client) GetStock(ctx context.Context, productID string) (api.Stock, error) {
	return get[api.Stock](ctx, c, "getStock", path("products", productID, "stock"), nil)
}

// PutUser creates a user or changes him. What is left out stays as it is.
func (c *Client) PutUser(ctx context.Context, userID string, change api.PutUser) (api.User, error) {
	var u api.User
	_, err := c.do(ctx, &call{
		operation: "putUser", method: http.MethodPut, path: path("users", userID), sent: change, answer: &u, repeats: true,
	})
	return u, err
}

// GetUser gives a user as the shop told of him.
func (c *Client) GetUser(ctx context.Context, userID string) (api.User, error) {
	return get[api.User](ctx, c, "getUser", path("users", userID), nil)
}
