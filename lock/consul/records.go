package consul

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"

	"leaderrun/lock"
)

// Holder implements lock.Locker. A record that says held counts only as long as
// its owner has the lock.
func (l *locker) Holder(ctx context.Context) (lock.Holder, error) {
	key, stored, err := l.store.readPlaces(ctx, l.keys)
	if err != nil {
		return lock.Holder{}, fmt.Errorf("read holder: %w", err)
	}
	rec, err := decodeRecord(l.keys.record(), stored)
	if err != nil {
		return lock.Holder{}, err
	}
	if !rec.heldBy(key.session) {
		return lock.Holder{}, nil
	}
	h := rec.Holder
	h.Token, h.TTL = rec.Token, rec.TTL
	return h, nil
}

// Get implements lock.Records.
func (l *locker) Get(ctx context.Context, key string) ([]byte, error) {
	pairs, err := l.store.read(ctx, l.keys.value(key))
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", key, err)
	}
	if pairs[0].CreateIndex == 0 {
		return nil, nil
	}
	if pairs[0].Value == nil {
		return []byte{}, nil // there is one, and it is empty
	}
	return pairs[0].Value, nil
}

// A question is a request as it is stored. Consul takes the same value once more
// for no change and wakes nobody.
type question struct {
	lock.Request
	ID string `json:"id"`
}

// Ask implements lock.Records.
func (l *locker) Ask(ctx context.Context, r lock.Request) error {
	value, err := json.Marshal(question{r, rand.Text()})
	if err != nil {
		return fmt.Errorf("ask: %w", err)
	}
	if _, err := l.store.txn(ctx, l.store.opPut(l.keys.requests(), value)); err != nil {
		return fmt.Errorf("ask: %w", err)
	}
	return nil
}
