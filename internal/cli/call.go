package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/holdfast-oms/holdfast/api"
)

const (
	callTimeout = 30 * time.Second
	answerBytes = 4 << 20
)

// call asks a running desk for something: what is sent and what is answered are JSON, or nil.
type call func(ctx context.Context, method, path string, sent, answer any) error

// caller finds out which desk to call, and with which key.
func (in *invocation) caller() (call, error) {
	cfg, _, err := in.settings(in.grammar.Key.settings)
	if err != nil {
		return nil, err
	}
	if cfg.APIKey == "" {
		return nil, failure{exitUsage, errors.New("an API key is needed: set HOLDFAST_API_KEY")}
	}
	client := &http.Client{
		Timeout: callTimeout,
		// The key is for this desk only: it does not follow elsewhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return func(ctx context.Context, method, path string, sent, answer any) error {
		var body io.Reader
		if sent != nil {
			text, err := json.Marshal(sent)
			if err != nil {
				return err
			}
			body = bytes.NewReader(text)
		}
		r, err := http.NewRequestWithContext(ctx, method, cfg.URL+path, body)
		if err != nil {
			return err
		}
		r.Header.Set("Authorization", "Bearer "+cfg.APIKey)
		r.Header.Set("Accept", "application/json")
		if body != nil {
			r.Header.Set("Content-Type", "application/json")
		}
		resp, err := client.Do(r)
		if err != nil {
			return orStopped(ctx, fmt.Errorf("no answer from %s: %w", cfg.URL, withoutURL(err)))
		}
		defer resp.Body.Close()
		return read(resp, answer)
	}, nil
}

// read takes the answer, or says in one line what the desk had against it.
func read(resp *http.Response, answer any) error {
	text, err := io.ReadAll(io.LimitReader(resp.Body, answerBytes))
	if err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	if resp.StatusCode/100 == 2 {
		if err := json.Unmarshal(text, answer); err != nil {
			return errors.New("that is not a Holdfast desk: its answer cannot be read")
		}
		return nil
	}
	var problem api.Problem
	if json.Unmarshal(text, &problem) != nil || problem.Code == "" {
		return fmt.Errorf("that is not a Holdfast desk, or something stands before it: it answered %s", resp.Status)
	}
	said := oneLine(problem.Detail)
	for _, f := range problem.Errors {
		said += fmt.Sprintf(" (%s %s)", f.Field, f.Detail)
	}
	return fmt.Errorf("the desk refused: %s: %s", problem.Code, said)
}

// withoutURL leaves out what the message says anyway.
func withoutURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}
