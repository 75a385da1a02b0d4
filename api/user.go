package api

import "time"

// User is what the shop told of a buyer.
type User struct {
	UserID    string    `json:"user_id"`
	Name      *string   `json:"name"`
	Phone     *string   `json:"phone"`
	Email     *string   `json:"email"`
	Address   *string   `json:"address"`
	Metadata  Metadata  `json:"metadata"`
	Version   int64     `json:"version"`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
}

// PutUser creates a user or changes him. What is left out stays as it is, null clears it.
type PutUser struct {
	Name     Optional[string]   `json:"name,omitzero" maxLength:"200"`
	Phone    Optional[string]   `json:"phone,omitzero" maxLength:"50"`
	Email    Optional[string]   `json:"email,omitzero" maxLength:"320"`
	Address  Optional[string]   `json:"address,omitzero" maxLength:"2000"`
	Metadata Optional[Metadata] `json:"metadata,omitzero" nullable:"true" doc:"Replaced as a whole; up to 4 kB as compact JSON."`
}
