package httpapi

import (
	"net/http"
	"strconv"
)

// warmCache loads the products before anybody asks for them.
func (s *Server) warmCache(x *exchange) error {
	w, err := s.desk.Warm(x.ctx)
	if err != nil {
		return err
	}
	x.out = strconv.AppendInt(append(x.out[:0], `{"products":`...), int64(w.Products), 10)
	x.out = strconv.AppendInt(append(x.out, `,"loaded":`...), int64(w.Loaded), 10)
	x.json(http.StatusOK, append(x.out, '}'))
	return nil
}
