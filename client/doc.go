// Package client is Holdfast for Go programs: every route of the desk's API, with typed answers and refusals.
//
//	desk, err := client.New("http://127.0.0.1:8080", os.Getenv("HOLDFAST_API_KEY"), client.Options{})
//	placed, err := desk.PlaceOrder(ctx, cartID, api.PlaceOrder{
//		UserID: "u-7", Lines: []api.PlaceLine{{ProductID: "sku-ticket", Quantity: 2}},
//	})
//	switch {
//	case client.HasCode(err, api.CodeOutOfStock):
//		// tell the buyer
//	case err != nil:
//		return err
//	}
//	for m, err := range desk.StreamOrder(ctx, placed.OrderNo, client.StreamOptions{}) {
//		// m.Type is order.paid, order.expired, …; m.Data is the order; break when it is what you waited for
//	}
//
// # Errors
//
// An [*Error] is a refusal: the desk answered no, with a code that never changes ([HasCode]). A [*NoAnswer] is silence: the desk
// was not reached, or its answer was lost.
//
// # Retries
//
// Where making a call twice does no more than making it once, it is made again when it was not answered, or answered 429, 502,
// 503 or 504: with waits that grow and vary, not before the desk's Retry-After, a limited number of times, and never beyond the
// context. These are all that read, PutProduct, PutUser, RevokeKey, AdjustStock with a Ref, and PlaceOrder, which keeps its
// idempotency key. All others are made again only when they were certainly not sent.
//
// # Lists and streams
//
// Lists are iterators that fetch pages as the loop goes on. Streams are iterators that end when the loop does; a connection that
// is cut is opened again behind the last message, so that none is missed and none comes twice. Keep [Message.Position] to go on
// after a restart.
package client
