.DEFAULT_GOAL := help
SHELL := /bin/bash

LINT := go tool -modfile=tools/lint/go.mod golangci-lint
# What the tests need on Debian; elsewhere "services" names it.
DEBIAN := redis-server postgresql chromium fonts-noto-cjk curl prometheus
PROVE ?= 60s
# SQLite here is C that was translated to Go. To watch it for races makes the tests several times slower and finds nothing of ours.
RACE := -race -gcflags=modernc.org/...=-race=false

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# Built first, because "go run" ends with an error when the demo is stopped with Ctrl-C.
demo: ## start the whole city on this machine, with fake money; Ctrl-C stops it
	@echo "Building the demo. The first time Go downloads and compiles for some minutes; then it is quick."
	@go build -o bin/demo ./cmd/demo
	@exec bin/demo

# With CI=true a service that is still missing fails its tests; otherwise they are skipped and say so.
test: services ## prove it: unit, conformance, real Redis and Postgres, a real browser
	go test $(RACE) -timeout 25m -p 2 ./...

race: ## only the races: as test, without installing anything, and twice
	go test $(RACE) -timeout 50m -p 2 -count 2 ./...

# Debian starts the Prometheus that it installs, on 9090, where the demo's ops listener is. Only its programs are wanted.
services:
	@have() { command -v "$$1" >/dev/null; }; \
	if have curl && have redis-server && have promtool && { have initdb || compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null; } && \
	   { have chromium || have chromium-browser || have google-chrome; } && \
	   { have fc-list && fc-list :lang=zh-tw | grep -q .; }; then exit 0; fi; \
	root=; [ "$$(id -u)" = 0 ] || root='sudo -n'; theirs=; { have prometheus || have promtool; } && theirs=yes; \
	if have apt-get && { [ -z "$$root" ] || sudo -n true 2>/dev/null; }; then \
	  $$root apt-get update -qq && DEBIAN_FRONTEND=noninteractive $$root apt-get install -y -qq --no-install-recommends $(DEBIAN) fontconfig >/dev/null || echo "Not everything could be installed; the tests say what they miss."; \
	  [ -n "$$theirs" ] || { $$root systemctl disable --now prometheus || $$root service prometheus stop; } >/dev/null 2>&1 || true; \
	else echo "Some tests need redis-server, postgresql, chromium, curl, prometheus and a Traditional Chinese font (Debian: apt-get install $(DEBIAN)). Install them, or those tests are skipped (with CI=true they fail)."; fi

lint: ## static checks; the first run builds the linter, which takes minutes
	$(LINT) run

fmt: ## format the code
	gofmt -w .

vet:
	@bad=$$(gofmt -l .); [ -z "$$bad" ] || { echo "not formatted, run make fmt: $$bad"; exit 1; }
	go vet ./...

check: vet lint test ## everything that has to hold before a change lands

bench: ## measure; asserts nothing
	go test -run '^$$' -bench . -benchmem -p 1 ./...

prove: ## the long proofs: every fuzz target for PROVE (60s), a million changed callbacks per scheme, faults by the thousand, property tests with 100,000 cases
	@set -e; for p in $$(go list ./...); do for f in $$(go test -list '^Fuzz' $$p | grep '^Fuzz' || true); do \
	  echo "== $$p $$f"; go test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(PROVE) $$p; done; done
	MUTATIONS=1000000 go test -v -run TestMutatedCallbacks -timeout 2h ./providers/...
	HANG=60s go test -v -run TestOneOfSixHangs -timeout 30m ./cmd/internal/app
	CALLS=2000 go test -v -run TestBlackHoledRedis -timeout 30m ./cmd/internal/app
	DROPPED=1000 go test -v -run 'WithoutAnswers|AllCallbacksLost' -timeout 30m -p 1 ./router ./cmd/internal/app
	RELOADS=12 RELOAD_EVERY=5s go test -v -run TestReloadUnderLoad -timeout 30m ./cmd/gateway
	CONVERGE=100000 MACHINE=20000 REFUNDS=10000 go test -run 'TestStoreConverges|TestMachine|TestRefundSchedules' -timeout 12h ./orders/sqlstore
	go test -timeout 3h -p 1 $$(go list -f '{{.ImportPath}} {{.TestImports}} {{.XTestImports}}' ./... | awk '/pgregory.net\/rapid/ { print $$1 }') -rapid.checks=100000

# nomsgpack leaves out gin's MessagePack codec, which no page or call of ours speaks: 6 MB less.
build: ## build bin/gateway, stripped
	CGO_ENABLED=0 go build -trimpath -tags nomsgpack -ldflags '-s -w' -o bin/gateway ./cmd/gateway

figures: build ## print binary size, time to the banner, time to ready, idle memory
	@set -e; dir=$$(mktemp -d); go build -o $$dir/demo ./cmd/demo; start=$$(date +%s%N); \
	$$dir/demo -json -data $$dir >$$dir/out & demo=$$!; trap "kill $$demo; wait $$demo; rm -rf $$dir" EXIT; \
	until [ -s $$dir/out ]; do :; done; banner=$$(date +%s%N); ops=$$(sed 's/.*"ops":"\([^"]*\)".*/\1/' $$dir/out); \
	until curl -fs $$ops/readyz >/dev/null; do :; done; ready=$$(date +%s%N); sleep 2; \
	echo "binary, stripped: $$(( $$(stat -c %s bin/gateway) / 1000000 )) MB"; \
	echo "start to banner:  $$(( (banner - start) / 1000000 )) ms"; echo "start to ready:   $$(( (ready - start) / 1000000 )) ms"; \
	echo "idle memory:      $$(( $$(awk '/VmRSS/ { print $$2 }' /proc/$$demo/status) / 1000 )) MB, the whole city in one process"

clean: ## remove what was built and the demo's data
	rm -rf bin demo-data

.NOTPARALLEL:
.PHONY: help demo test race services lint fmt vet check bench prove build figures clean
