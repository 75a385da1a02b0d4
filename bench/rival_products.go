package bench

import (
	"encoding/json"
	"net/http"
	"time"
)

// What the rival needs besides orders, so that it can be set up and looked at like Holdfast.

func (s *rival) putProduct(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	var in struct {
		Title     string     `json:"title"`
		Price     moneyShape `json:"price"`
		PayWindow string     `json:"pay_window"`
	}
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, rivalBodyMax)).Decode(&in)
	window, errWindow := time.ParseDuration(in.PayWindow)
	if err != nil || errWindow != nil {
		writeCode(w, http.StatusBadRequest, "malformed_request")
		return
	}
	now := time.Now().UnixMilli()
	err = s.exec(r.Context(), `INSERT INTO products (product_id, title, price_amount, currency, max_per_user, pay_window_ms, active,
	    counts_users, version, created_at, updated_at) VALUES (?, ?, ?, ?, 0, ?, 1, 0, 1, ?, ?)`,
		id, in.Title, in.Price.Amount, in.Price.Currency, window.Milliseconds(), now, now)
	if err == nil {
		err = s.exec(r.Context(), `INSERT INTO stock (product_id, received, held, sold, version, events) VALUES (?, 0, 0, 0, 0, 0)`, id)
	}
	if err != nil {
		writeCode(w, http.StatusInternalServerError, err.Error())
		return
	}
	s.mu.Lock()
	s.products[id] = rivalProduct{title: in.Title, price: in.Price, payWindow: window}
	s.mu.Unlock()
	w.WriteHeader(http.StatusCreated)
}

func (s *rival) addStock(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Delta int64 `json:"delta"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, rivalBodyMax)).Decode(&in); err != nil {
		writeCode(w, http.StatusBadRequest, "malformed_request")
		return
	}
	if err := s.stock.add(r.Context(), r.PathValue("id"), in.Delta); err != nil {
		writeCode(w, http.StatusInternalServerError, err.Error())
		return
	}
	s.getStock(w, r)
}

func (s *rival) getStock(w http.ResponseWriter, r *http.Request) {
	level, err := s.stock.level(r.Context(), r.PathValue("id"))
	if err != nil {
		writeCode(w, http.StatusNotFound, "not_found")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(level)
}
