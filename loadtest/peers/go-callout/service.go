package main

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
)

const (
	authSubject = "$SYS.REQ.USER.AUTH"
	queueGroup  = "go-callout"
	// Requests wait here while every worker is busy; nats.go drops what
	// exceeds it.
	queueLength = 4096
)

type service struct {
	issuer    nkeys.KeyPair
	issuerKey string     // the public half
	box       *sealedBox // nil: plain text
	devices   map[string]device
	domain    *compiledDomain
	chains    *chainCache
	servers   *serverDirectory
	log       *slog.Logger
	metrics   *metrics
}

// serve answers authorization requests until ctx ends.
func (s *service) serve(ctx context.Context, nc *nats.Conn, workers int) error {
	requests := make(chan *nats.Msg, queueLength)
	subscription, err := nc.ChanQueueSubscribe(authSubject, queueGroup, requests)
	if err != nil {
		return fmt.Errorf("subscribe %s: %w", authSubject, err)
	}

	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for msg := range requests {
				s.answer(ctx, msg)
			}
		})
	}

	<-ctx.Done()
	err = subscription.Unsubscribe()
	if flushErr := nc.FlushTimeout(2 * time.Second); err == nil {
		err = flushErr
	}
	nc.Close()
	close(requests)
	wg.Wait()
	return err
}

func (s *service) answer(ctx context.Context, msg *nats.Msg) {
	started := time.Now()
	d := s.decide(ctx, msg, started)
	if d.reply != nil {
		if err := msg.Respond(d.reply); err != nil {
			s.log.Error("answer not sent", "error", err)
		}
	}
	elapsed := time.Since(started)
	s.metrics.record(d, elapsed)
	s.logDecision(ctx, d, elapsed)
}

func (s *service) logDecision(ctx context.Context, d decision, elapsed time.Duration) {
	if d.reason == "" {
		s.log.LogAttrs(ctx, slog.LevelInfo, "decision allowed",
			slog.String("device", d.device),
			slog.String("policy", policyName),
			slog.String("server", d.server),
			slog.Uint64("cid", d.clientID),
			slog.String("serial", d.serial),
			slog.Int64("micros", elapsed.Microseconds()))
		return
	}
	s.log.LogAttrs(ctx, slog.LevelWarn, "decision denied",
		slog.String("reason", d.reason),
		slog.String("device", d.device),
		slog.String("server", d.server),
		slog.Uint64("cid", d.clientID),
		slog.String("serial", d.serial),
		slog.Int64("micros", elapsed.Microseconds()),
		slog.Any("error", d.err))
}
