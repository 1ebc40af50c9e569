// Command go-callout is a NATS auth callout service on the public Go
// libraries (nats.go, nats-io/jwt, nkeys). It makes the same decision as
// leafgate-callout from the same facts, and exists to be measured beside it by
// leafgate-loadtest; it knows neither a registry nor revocation.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

type config struct {
	natsURL        string
	nkeySeedFile   string
	systemSeedFile string
	issuerSeedFile string
	xkeySeedFile   string
	devicesFile    string
	trust          trustDomain
	httpListen     string
	workers        int
	certCache      int
	expandKeys     bool
}

func main() {
	var cfg config
	flag.StringVar(&cfg.natsURL, "nats-url", nats.DefaultURL, "nats-server to serve")
	flag.StringVar(&cfg.nkeySeedFile, "nkey-seed-file", "", "seed of the user in the AUTH account")
	flag.StringVar(&cfg.systemSeedFile, "system-nkey-seed-file", "", "seed of the user in the system account")
	flag.StringVar(&cfg.issuerSeedFile, "issuer-seed-file", "", "seed of the account key that signs answers")
	flag.StringVar(&cfg.xkeySeedFile, "xkey-seed-file", "", "curve seed; without it requests are plain text")
	flag.StringVar(&cfg.devicesFile, "devices-file", "", "devices, one JSON object per line")
	flag.StringVar(&cfg.trust.issuerSPKI, "issuer-spki", "", "SHA-256 of the issuing CA's SubjectPublicKeyInfo, hex")
	flag.StringVar(&cfg.trust.cnPattern, "cn-pattern", "device-{id}.device.synadia.local", "common name of a device certificate")
	flag.StringVar(&cfg.httpListen, "http-listen", "127.0.0.1:0", "address of /metrics")
	flag.IntVar(&cfg.workers, "workers", runtime.GOMAXPROCS(0), "goroutines that decide")
	flag.IntVar(&cfg.certCache, "cert-cache", 100_000, "parsed certificate chains to keep; 0 parses every one anew")
	flag.BoolVar(&cfg.expandKeys, "expand-keys", true, "derive signing keys and xkey secrets once instead of at each use")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, cfg); err != nil {
		fmt.Fprintln(os.Stderr, "go-callout:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, cfg config) error {
	logger := slog.New(slog.NewJSONHandler(os.Stdout, nil))

	issuer, err := loadIssuer(cfg.issuerSeedFile, cfg.expandKeys)
	if err != nil {
		return fmt.Errorf("issuer key: %w", err)
	}
	issuerKey, err := issuer.PublicKey()
	if err != nil {
		return fmt.Errorf("issuer key: %w", err)
	}
	var box *sealedBox
	if cfg.xkeySeedFile != "" {
		if box, err = loadSealedBox(cfg.xkeySeedFile, cfg.expandKeys); err != nil {
			return fmt.Errorf("xkey: %w", err)
		}
	}
	devices, err := loadDevices(cfg.devicesFile)
	if err != nil {
		return fmt.Errorf("devices: %w", err)
	}
	domain, err := cfg.trust.compile()
	if err != nil {
		return err
	}

	system, err := connect(cfg.natsURL, cfg.systemSeedFile, "go-callout system", logger)
	if err != nil {
		return fmt.Errorf("system account: %w", err)
	}
	defer system.Close()
	auth, err := connect(cfg.natsURL, cfg.nkeySeedFile, "go-callout", logger)
	if err != nil {
		return fmt.Errorf("AUTH account: %w", err)
	}

	registry := prometheus.NewRegistry()
	s := &service{
		issuer:    issuer,
		issuerKey: issuerKey,
		box:       box,
		devices:   devices,
		domain:    domain,
		chains:    newChainCache(cfg.certCache),
		servers:   newServerDirectory(system),
		log:       logger,
		metrics:   newMetrics(registry),
	}
	if err := serveMetrics(ctx, cfg.httpListen, registry, logger); err != nil {
		return err
	}
	return s.serve(ctx, auth, cfg.workers)
}

func connect(url, seedFile, name string, logger *slog.Logger) (*nats.Conn, error) {
	nkey, err := nats.NkeyOptionFromSeed(seedFile)
	if err != nil {
		return nil, err
	}
	return nats.Connect(url, nkey, nats.Name(name), nats.MaxReconnects(-1),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				logger.Warn("nats disconnected", "connection", name, "error", err)
			}
		}),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			logger.Warn("nats error", "connection", name, "error", err)
		}))
}

func serveMetrics(ctx context.Context, listen string, registry *prometheus.Registry, logger *slog.Logger) error {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			logger.Error("metrics listener stopped", "error", err)
		}
	}()
	context.AfterFunc(ctx, func() { _ = server.Close() })
	return nil
}
