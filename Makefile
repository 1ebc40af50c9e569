# `make help` lists the targets. Everything that is fetched goes into .tools/ (git-ignored).

CARGO ?= cargo
# How much `make bench` measures: full or small.
SCALE ?= full
# How many times more faults `make chaos` provokes than `make test`.
CHAOS_SCALE ?= 20
GO_SOURCES = crates/nats-jwt/vectors/go loadtest/peers/go-callout
.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: nats-server ## show a device's life on real nats-servers
	@echo "building leafgate (the first time takes some minutes)"
	@$(CARGO) build --quiet --package leafgate --bins
	@target/debug/leafgate demo

.PHONY: test
test: test-tools ## format check, clippy with warnings as errors, all tests
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --quiet -- --deny warnings
	test -z "$$(gofmt -l $(GO_SOURCES))"
	shellcheck scripts/*.sh .ci/run
	cd loadtest/peers/go-callout && go vet ./... && go test ./...
	$(CARGO) test --workspace --quiet

.PHONY: fmt
fmt: ## format the code
	$(CARGO) fmt --all
	gofmt -w $(GO_SOURCES)

.PHONY: lint
lint: ## clippy, with warnings as errors
	$(CARGO) clippy --workspace --all-targets -- --deny warnings

.PHONY: bench
bench: RECORD = $(if $(filter full,$(SCALE)),--record docs/performance.md)
bench: nats-server ## measure decisions, issuing and a large registry, and write the figures to docs/performance.md
	@scripts/build-vault-server.sh
	$(CARGO) build --release --package leafgate --package leafgate-loadtest \
		--bin leafgate-callout --bin leafgate-registry --bin leafgate-loadtest
	target/release/leafgate-loadtest decide --scale $(SCALE) $(RECORD)
	target/release/leafgate-loadtest issue --scale $(SCALE) $(RECORD)
	target/release/leafgate-loadtest registry --scale $(SCALE) $(RECORD)

.PHONY: chaos
chaos: test-tools ## kill, stop and race everything at full scale, and write what came of it to docs/performance.md
	LEAFGATE_TEST_SCALE=$(CHAOS_SCALE) LEAFGATE_FIGURES=$(CURDIR)/docs/performance.md \
		$(CARGO) test --package leafgate --test e2e -- --test-threads 1 \
		races:: registry_faults:: replicas:: scripts::

.PHONY: nats-server
nats-server:
	@scripts/fetch-nats-server.sh

.PHONY: test-tools
test-tools:
	@scripts/fetch-nats-server.sh all
	@scripts/install-test-tools.sh
	@scripts/install-python-tool.sh pkilint
	@scripts/install-zlint.sh
	@scripts/install-python-tool.sh schemathesis
	@scripts/build-vault-server.sh
