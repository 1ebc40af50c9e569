package main

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
)

const identifyTimeout = time.Second

// serverDirectory asks the system account once about each server id: a server
// signs with the key that its own request names, so a valid signature alone
// proves nothing.
type serverDirectory struct {
	system *nats.Conn
	ids    sync.Map // server id → struct{}
}

func newServerDirectory(system *nats.Conn) *serverDirectory {
	return &serverDirectory{system: system}
}

func (s *serverDirectory) known(ctx context.Context, id string) error {
	if _, ok := s.ids.Load(id); ok {
		return nil
	}
	// Also keeps wildcards and dots of a forged id out of the subject.
	if !nkeys.IsValidPublicServerKey(id) {
		return fmt.Errorf("%q is not a server key", id)
	}
	ctx, cancel := context.WithTimeout(ctx, identifyTimeout)
	defer cancel()
	answer, err := s.system.RequestWithContext(ctx, "$SYS.REQ.SERVER."+id+".IDZ", nil)
	if err != nil {
		return fmt.Errorf("identify server %s: %w", id, err)
	}
	var identity struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal(answer.Data, &identity); err != nil {
		return fmt.Errorf("identify server %s: %w", id, err)
	}
	if identity.ID != id {
		return fmt.Errorf("server %s answered for %s", identity.ID, id)
	}
	s.ids.Store(id, struct{}{})
	return nil
}
