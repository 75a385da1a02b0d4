package redisfront

import (
	"encoding/hex"
	"strconv"
	"strings"

	"github.com/holdfast-oms/holdfast/internal/apikey"
	"github.com/holdfast-oms/holdfast/internal/order"
	"github.com/holdfast-oms/holdfast/internal/product"
	"github.com/holdfast-oms/holdfast/internal/user"
)

// Every key and channel is named here. Each key of one product carries the product as its hash tag, and no script or command
// names keys of two tags: so everything runs on a cluster.
const (
	epochKey      = "holdfast:epoch"  // hash: which epoch is open, and on which servers it was built
	eventsChannel = "holdfast:events" // every event, as CloudEvents JSON
	grownChannel  = "holdfast:log"    // how far the log has come
	lockPrefix    = "holdfast:lock"   // of the locks' keys
)

// inventoryKey is the hash of a product: product_id, quantity, version and what the gate needs beside them.
func inventoryKey(id product.ID) string { return "inventory:{" + tag(id) + "}" }

// limitsKey is the hash of the users who were just refused more of a product.
func limitsKey(id product.ID) string { return "limits:{" + tag(id) + "}" }

// lessKey says that a user has less of a product than he had just now, so that he may have more.
func lessKey(id product.ID, by user.ID) string { return limitsKey(id) + ":" + string(by) }

// marksKey is one shard of the used keys that an epoch knows.
func marksKey(epoch string, shard int) string {
	return "used:{" + epoch + ":" + strconv.Itoa(shard) + "}"
}

// batchesKey is the hash of how many batches have marked keys in an epoch, and of the desks.
func batchesKey(epoch string) string { return "used:{" + epoch + ":batches}" }

// lastKeys are that, and the list of the keys of the last ones.
func lastKeys(epoch string) []string {
	return []string{batchesKey(epoch), batchesKey(epoch) + ":keys"}
}

// orderKey, userKey, productKey and paymentKey are the hashes of what was read, in an epoch: of another's nobody reads.
func orderKey(epoch string, no order.Number) string { return "order:{" + no.String() + "}:" + epoch }

func userKey(epoch string, id user.ID) string {
	return "user:{" + tagged.Replace(string(id)) + "}:" + epoch
}

func productKey(epoch string, id product.ID) string { return "product:{" + tag(id) + "}:" + epoch }

func paymentKey(epoch, id string) string { return "payment:{" + tagged.Replace(id) + "}:" + epoch }

// quotaKey says when a quota is whole again.
func quotaKey(key string) string { return "quota:{" + tagged.Replace(key) + "}" }

// endedKey says that a session was ended; it is named by the hash of its token, as in the record.
func endedKey(session apikey.Hash) string {
	return "holdfast:ended:{" + hex.EncodeToString(session[:]) + "}"
}

// countdownKey is a shard of a record's deadlines, or one of them.
func countdownKey(record, part string) string { return "countdown:{" + record + ":" + part + "}" }

// claimKey says which process ends an order that is due.
func claimKey(record, no string) string { return countdownKey(record, no) + ":claimed" }

// numbersKey is the list of the granted blocks of a day.
func numbersKey(epoch string, day order.Day) string {
	return "numbers:{" + epoch + ":" + strconv.FormatInt(int64(day), 10) + "}"
}

// heldKey is what the processes hold of a day's numbers.
func heldKey(epoch string, day order.Day) string { return numbersKey(epoch, day) + ":held" }

// tag makes a product id fit to stand in braces: of most it is the id itself.
func tag(id product.ID) string { return tagged.Replace(string(id)) }

var tagged = strings.NewReplacer("%", "%25", "{", "%7B", "}", "%7D")
