// Command vault-server is a real Vault core with the engines that leafgate talks to (kv, pki, approle, kubernetes), for
// tests and measurements. It prints one line of JSON when it is ready: the address, the root token and the unseal key.
//
//	vault-server [-listen 127.0.0.1:0] [-data DIR] [-tls-cert FILE -tls-key FILE]
//
// Without -data everything is kept in memory. With it, the folder survives restarts; the unseal key and the root token
// are kept beside the data, which no production server would do.
package main

import (
	"context"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	log "github.com/hashicorp/go-hclog"
	kubernetes "github.com/hashicorp/vault-plugin-auth-kubernetes"
	kv "github.com/hashicorp/vault-plugin-secrets-kv"
	"github.com/hashicorp/vault/builtin/credential/approle"
	"github.com/hashicorp/vault/builtin/logical/pki"
	"github.com/hashicorp/vault/helper/namespace"
	vaulthttp "github.com/hashicorp/vault/http"
	"github.com/hashicorp/vault/internalshared/configutil"
	"github.com/hashicorp/vault/sdk/helper/consts"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/hashicorp/vault/sdk/physical"
	"github.com/hashicorp/vault/sdk/physical/file"
	"github.com/hashicorp/vault/sdk/physical/inmem"
	"github.com/hashicorp/vault/vault"
)

// keys open a server's data again.
type keys struct {
	UnsealKey string `json:"unseal_key"`
	RootToken string `json:"root_token"`
}

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "address to listen on")
	data := flag.String("data", "", "folder of the file back end; in memory without it")
	certFile := flag.String("tls-cert", "", "certificate chain; plain HTTP without it")
	keyFile := flag.String("tls-key", "", "key of the certificate")
	flag.Parse()
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, os.Interrupt, syscall.SIGTERM)
	if err := run(*listen, *data, *certFile, *keyFile, ended); err != nil {
		fmt.Fprintln(os.Stderr, "vault-server:", err)
		os.Exit(1)
	}
}

func run(listen, data, certFile, keyFile string, ended <-chan os.Signal) error {
	logger := log.New(&log.LoggerOptions{Level: log.Warn, Output: os.Stderr})
	core, err := newCore(data, logger)
	if err != nil {
		return err
	}
	opened, err := open(core, data)
	if err != nil {
		return err
	}
	listener, scheme, err := bind(listen, certFile, keyFile)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: vaulthttp.Handler.Handler(&vault.HandlerProperties{
		Core:           core,
		ListenerConfig: &configutil.Listener{},
	})}
	ready := map[string]string{
		"address":    scheme + "://" + listener.Addr().String(),
		"root_token": opened.RootToken,
		"unseal_key": opened.UnsealKey,
	}
	if err := json.NewEncoder(os.Stdout).Encode(ready); err != nil {
		return err
	}
	go func() {
		<-ended
		_ = server.Close()
	}()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return core.Shutdown()
}

func newCore(data string, logger log.Logger) (*vault.Core, error) {
	storage, kind, err := newStorage(data, logger)
	if err != nil {
		return nil, err
	}
	return vault.NewCore(&vault.CoreConfig{
		Physical:           storage,
		StorageType:        kind,
		BuiltinRegistry:    engines{},
		LogicalBackends:    map[string]logical.Factory{"kv": kv.Factory, "pki": pki.Factory},
		CredentialBackends: map[string]logical.Factory{"approle": approle.Factory, "kubernetes": kubernetes.Factory},
		DisableMlock:       true,
		Logger:             logger,
	})
}

func newStorage(data string, logger log.Logger) (physical.Backend, string, error) {
	if data == "" {
		storage, err := inmem.NewInmem(nil, logger)
		return storage, "inmem", err
	}
	storage, err := file.NewFileBackend(map[string]string{"path": filepath.Join(data, "store")}, logger)
	return storage, "file", err
}

// open initialises new storage, or unseals what an earlier run left.
func open(core *vault.Core, data string) (keys, error) {
	ctx := namespace.RootContext(context.Background())
	kept := filepath.Join(data, "keys.json")
	initialized, err := core.Initialized(ctx)
	if err != nil {
		return keys{}, err
	}
	var opened keys
	if initialized {
		text, err := os.ReadFile(kept)
		if err != nil {
			return keys{}, err
		}
		if err := json.Unmarshal(text, &opened); err != nil {
			return keys{}, err
		}
	} else if opened, err = initialize(ctx, core); err != nil {
		return keys{}, err
	} else if data != "" {
		text, err := json.Marshal(opened)
		if err != nil {
			return keys{}, err
		}
		if err := os.WriteFile(kept, text, 0o600); err != nil {
			return keys{}, err
		}
	}
	share, err := hex.DecodeString(opened.UnsealKey)
	if err != nil {
		return keys{}, err
	}
	if unsealed, err := core.Unseal(share); err != nil {
		return keys{}, err
	} else if !unsealed {
		return keys{}, errors.New("the core stays sealed")
	}
	return opened, nil
}

func initialize(ctx context.Context, core *vault.Core) (keys, error) {
	one := &vault.SealConfig{SecretShares: 1, SecretThreshold: 1}
	made, err := core.Initialize(ctx, &vault.InitParams{BarrierConfig: one, RecoveryConfig: one})
	if err != nil {
		return keys{}, err
	}
	return keys{UnsealKey: hex.EncodeToString(made.SecretShares[0]), RootToken: made.RootToken}, nil
}

func bind(listen, certFile, keyFile string) (net.Listener, string, error) {
	listener, err := net.Listen("tcp", listen)
	if err != nil || certFile == "" {
		return listener, "http", err
	}
	certificate, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, "", err
	}
	config := &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
	return tls.NewListener(listener, config), "https", nil
}

// engines names what this server can mount: the core asks before it mounts anything.
type engines struct{}

var builtin = map[consts.PluginType]map[string]logical.Factory{
	consts.PluginTypeSecrets:    {"kv": kv.Factory, "pki": pki.Factory},
	consts.PluginTypeCredential: {"approle": approle.Factory, "kubernetes": kubernetes.Factory},
}

func (engines) Contains(name string, kind consts.PluginType) bool {
	_, known := builtin[kind][name]
	return known
}

func (engines) Get(name string, kind consts.PluginType) (func() (any, error), bool) {
	factory, known := builtin[kind][name]
	if !known {
		return nil, false
	}
	return func() (any, error) { return logical.Factory(factory), nil }, true
}

func (engines) Keys(kind consts.PluginType) []string {
	var names []string
	for name := range builtin[kind] {
		names = append(names, name)
	}
	return names
}

func (engines) DeprecationStatus(name string, kind consts.PluginType) (consts.DeprecationStatus, bool) {
	_, known := builtin[kind][name]
	return consts.Supported, known
}

func (engines) IsBuiltinEntPlugin(string, consts.PluginType) bool { return false }
