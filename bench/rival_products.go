package bench

import (
	"encoding/json"
	"net/http"
	"time"
)

// What the rival needs besides orders, so that it can be set up and looked at like Holdfast.

func (s *rowLock) putProduct(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	var in struct {
		Title     string     `json:"title"`
		Price     moneyShape `json:"price"`
		PayWindow string     `json:"pay_window"`
	}
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, rowLockBodyMax)).Decode(&in)
	window, errWindow := time.ParseDuration(in.PayWindow)
	if err != nil || errWindow != nil {
		writeCode(w, http.StatusBadRequest, "malformed_request")
		return
	}
	now := time.Now().UnixMilli()
	_, err = s.db.ExecContext(r.Context(), `
	    INSERT INTO products (product_id, title, price_amount, currency, max_per_user, pay_window_ms, active, counts_users,
	        version, created_at, updated_at) VALUES (?, ?, ?, ?, 0, ?, 1, 0, 1, ?, ?);
	    INSERT INTO stock (product_id, received, held, sold, version, events) VALUES (?, 0, 0, 0, 0, 0)`,
		id, in.Title, in.Price.Amount, in.Price.Currency, window.Milliseconds(), now, now, id)
	if err != nil {
		writeCode(w, http.StatusInternalServerError, err.Error())
		return
	}
	s.mu.Lock()
	s.products[id] = rowLockProduct{title: in.Title, price: in.Price, payWindow: window}
	s.mu.Unlock()
	w.WriteHeader(http.StatusCreated)
}

func (s *rowLock) addStock(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Delta int64 `json:"delta"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, rowLockBodyMax)).Decode(&in); err != nil {
		writeCode(w, http.StatusBadRequest, "malformed_request")
		return
	}
	_, err := s.db.ExecContext(r.Context(), `UPDATE stock SET received = received + ?, version = version + 1 WHERE product_id = ?`,
		in.Delta, r.PathValue("id"))
	if err != nil {
		writeCode(w, http.StatusInternalServerError, err.Error())
		return
	}
	s.getStock(w, r)
}

func (s *rowLock) getStock(w http.ResponseWriter, r *http.Request) {
	var level stockLevel
	err := s.db.QueryRowContext(r.Context(), `SELECT received, available, held, sold FROM stock WHERE product_id = ?`,
		r.PathValue("id")).Scan(&level.Received, &level.Available, &level.Held, &level.Sold)
	if err != nil {
		writeCode(w, http.StatusNotFound, "not_found")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(level)
}
