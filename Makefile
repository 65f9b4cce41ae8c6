# `make demo` shows what leaderrun does; `make test` installs what it needs.
# Both run on a machine with Go, Java and Debian's packages and nothing else.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
STORE ?= file
FUZZTIME ?= 10s
CHAOS ?= 3m
SEED ?=
# Two packages at once would take the processor from each other's deadlines.
TESTFLAGS ?= -p 1 -timeout 40m
# What `go build` would add from git only varies the binary, and fails where the
# checkout belongs to somebody else.
GOBUILD := CGO_ENABLED=0 go build -trimpath -buildvcs=false \
	-ldflags '-s -w -X leaderrun/cmd.version=$(VERSION)'

GOLANGCI_VERSION := v2.15.0
GOLANGCI := .cache/bin/golangci-lint-$(GOLANGCI_VERSION)
GORELEASER_VERSION := v2.15.1
GORELEASER := .cache/bin/goreleaser-$(GORELEASER_VERSION)
# A program that go built goes to its place last, as a whole.
GOINSTALL = GOBIN=$(CURDIR)/$@.tmp CGO_ENABLED=0 go install -trimpath $(1) && mv $@.tmp/* $@ && rmdir $@.tmp
# The tests on the binary gain nothing from the detector, which sees one process;
# the servers' own hold nothing that is shipped.
RACE = $$(go list ./... | grep -v -e /e2e -e /scripts -e /lock/consul -e /lock/zk)
# Nor do those of Consul and ZooKeeper that mostly wait for a server and measure for
# how long: the detector makes everything slow.
RACESKIP := ^Test(DroppedPackets|HeldConnection|ShortOutage|LongOutage|Expiry|Restart|Members|Agent.*|ServerIsTakenAway|ClusterLosesItsLeader|ClusterLeaderCutOff|FrozenThenIsolated|IsolatedServer)$$

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## bin/leaderrun
	@mkdir -p bin
	$(GOBUILD) -o bin/leaderrun .

.PHONY: docs
docs: ## the manual pages and completion scripts, in bin/docs
	go run -ldflags '-X leaderrun/cmd.version=$(VERSION)' ./scripts/docs bin/docs

.PHONY: package
package: $(GORELEASER) ## dist/: a .deb and an archive for each processor, and their checksums
	scripts/package $(GORELEASER) $(VERSION)

.PHONY: image
image: build ## the Docker image leaderrun, FROM scratch
	docker build -f deploy/Dockerfile -t leaderrun .

.PHONY: demo
demo: build ## two candidates, one job, two takeovers; STORE=etcd, consul, zookeeper
	@STORE=$(STORE) scripts/demo

.PHONY: test
test: install-tools ## every test, on real stores
	go build ./...
	go test $(TESTFLAGS) ./...

.PHONY: race
race: install-tools ## the tests of the packages under the race detector
	@scripts/packages gcc=gcc gcc=libc6-dev
	CGO_ENABLED=1 go test -race $(TESTFLAGS) $(RACE)
	CGO_ENABLED=1 go test -race $(TESTFLAGS) -skip '$(RACESKIP)' ./lock/consul ./lock/zk

.PHONY: fuzz
fuzz: ## every fuzz target for FUZZTIME, 10s each
	@grep -roP --include='*_test.go' '^func \KFuzz\w+' . | sort | while IFS=: read -r file target; do \
		echo "$$(dirname $$file) $$target"; \
		out=$$(go test "$$(dirname $$file)" -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -parallel 1 </dev/null 2>&1) \
			|| { echo "$$out"; exit 1; }; done

.PHONY: chaos
chaos: install-tools ## random faults on every store, two at a time, judged: CHAOS=1h for longer, SEED=N to see a run again
	LEADERRUN_TEST_CHAOS=$(CHAOS) LEADERRUN_TEST_SEED=$(SEED) go test ./e2e -run '^TestChaos$$' -count=1 -v -timeout 0 -parallel 2

.PHONY: chaos-mutants
chaos-mutants: install-tools ## the fault run, which has to fail, on builds with a bug in a deadline
	LEADERRUN_TEST_MUTANTS=25s go test ./e2e -run '^TestMutants$$' -count=1 -v

.PHONY: suspend
suspend: build ## an emulated machine is suspended past a deadline: what lives on after it wakes
	scripts/suspend

.PHONY: bench
bench: build install-tools ## handover, loss, memory, requests, crowds, beside consul lock, etcdctl lock and flock
	go run ./scripts/bench -bin bin/leaderrun $(BENCHFLAGS)

.PHONY: faults
faults: build install-tools ## what becomes of the command in a fault, beside consul lock, etcdctl lock and flock: three minutes
	go run ./scripts/bench -bin bin/leaderrun -n 3 -only term,takeover,stopped,silent,revoked -o .cache/faults.json

.PHONY: lint
lint: $(GOLANGCI) ## golangci-lint, and who may import what
	$(GOLANGCI) run ./...
	.ci/imports

.PHONY: vet
vet: ## go vet for linux, darwin and windows
	for os in linux darwin windows; do GOOS=$$os CGO_ENABLED=0 go vet ./...; done

.PHONY: fmt
fmt: $(GOLANGCI) ## write the code as lint wants it
	$(GOLANGCI) fmt ./...

.PHONY: install-tools
install-tools: install-zookeeper $(GORELEASER) ## what the tests need: Debian's packages, etcd and Consul in .cache/bin
	@scripts/packages ip=iproute2 iptables=iptables nsenter=util-linux \
		flock=util-linux ps=procps script=bsdutils pg_ctlcluster=postgresql psql=postgresql-client \
		cron=cron arping=iputils-arping haproxy=haproxy prometheus=prometheus promtool=prometheus \
		man=man-db lintian=lintian /usr/share/bash-completion/bash_completion=bash-completion \
		/lib/systemd/systemd=systemd busybox=busybox-static \
		$(if $(shell command -v docker),docker-compose=docker-compose)
	for store in etcd consul; do go run ./scripts/servers/run install $$store; done

.PHONY: install-zookeeper
install-zookeeper:
	@scripts/packages java=default-jre-headless /usr/share/java/zookeeper.jar=libzookeeper-java

$(GOLANGCI):
	$(call GOINSTALL,github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION))

.PHONY: goreleaser
goreleaser: $(GORELEASER)

$(GORELEASER):
	$(call GOINSTALL,github.com/goreleaser/goreleaser/v2@$(GORELEASER_VERSION))

.PHONY: clean
clean: ## remove bin and dist
	rm -rf bin dist

.PHONY: distclean
distclean: clean ## remove .cache too: the servers and tools built there
	rm -rf .cache
