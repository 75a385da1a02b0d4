# `make` alone lists what there is. Everything but Go itself is fetched when it is first needed.

GO     ?= go
BIN    := bin/holdfast
TOOLS  := .tools/bin

# Pinned: a new version here is installed at the next use.
GOFUMPT_VERSION       := v0.12.0
GOLANGCI_LINT_VERSION := v2.15.0
GOVULNCHECK_VERSION   := v1.1.4

# What `make generate` writes. `make check` proves it fresh.
GENERATED := api/openapi.json docs/errors.md docs/events.md docs/metrics.md docs/settings.md docs/states.md

# How often `make chaos` kills the server, how many worlds it simulates and how many orders rivals place on each server, and how long `make fuzz` stays with one target.
N        ?= 300
ORDERS   ?= 100000
SEEDS    ?= 100000
FUZZTIME ?= 30s

.DEFAULT_GOAL := help
MAKEFLAGS     += --no-print-directory

.PHONY: help
help: ## Show this list
	@echo 'Holdfast, the order desk behind a shop. What make can do:'
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

## The program

.PHONY: build
build: ## Build bin/holdfast, one static binary
	CGO_ENABLED=0 $(GO) build -trimpath -o $(BIN) ./cmd/holdfast

.PHONY: run
run: build ## Start an order desk with sample products and say where to go
	$(BIN) serve --demo

DB_STACK    = $(or $(DB),mariadb)
STACK_FLAGS = -db $(DB_STACK) $(if $(WORKERS),-workers $(WORKERS)) $(if $(filter 1,$(REDIS)),-redis) $(if $(filter 1,$(FRESH)),-fresh) \
	$(if $(STACK),-folder '$(STACK)')

# Where the servers cannot be had from packages and a container engine runs, that is where they run. Their password is made once.
.PHONY: stack
stack: ## The same on MariaDB (DB=postgres): WORKERS=3 processes, REDIS=1 with Redis, FRESH=1 without old data
	@if $(MAKE) has-$(DB_STACK) $(if $(filter 1,$(REDIS)),has-redis); then \
		$(MAKE) build && $(GO) build -o bin/stack ./cmd/stack && exec bin/stack $(STACK_FLAGS); \
	elif docker compose version >/dev/null 2>&1 && docker info >/dev/null 2>&1; then \
		echo 'A container engine runs: starting deploy/compose.yaml in it.'; \
		password=.stack/compose.env; mkdir -p .stack; \
		[ -s $$password ] || (umask 077; echo "DB_PASSWORD=$$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')" >$$password) || exit 1; \
		$(if $(filter 1,$(REDIS)),REDIS_HOST=redis) exec docker compose --env-file $$password -f deploy/compose.yaml --profile $(DB_STACK) \
			$(if $(filter 1,$(REDIS)),--profile redis) up --build; \
	else \
		exit 1; \
	fi

# On servers of its own, which end with it.
BENCH_ON = $(GO) test ./bench -run '^$$' -benchtime 1x -timeout 4h -count 1 -bench.binary "$$PWD/$(BIN)" -bench.redis-url '$(REDIS_URL)'

.PHONY: bench
bench: build $(if $(DB),has-$(DB)) $(if $(filter 1,$(REDIS)),has-redis) ## Measure Holdfast beside its floor and its rivals (DB=postgres, DB=mariadb: on a server of its own; with REDIS=1; SCENARIO=history)
ifeq ($(DB),)
	$(BIN) bench $(or $(SCENARIO),--suite)
else
	$(BENCH_ON) -bench Holdfast -bench.on $(DB) $(if $(filter 1,$(REDIS)),-bench.redis) -bench.scenario '$(SCENARIO)' \
		$(if $(DURATION),-bench.duration $(DURATION)) $(if $(ROUNDS),-bench.rounds $(ROUNDS))
endif

.PHONY: bench-countdown
bench-countdown: build $(BIN)-asynq has-$(or $(DB),postgres) has-redis ## Compare what counts down, and asynq, on servers of its own (PENDING, DUE, WITHIN; REDIS_URL=redis://…: on that one)
	$(BENCH_ON) -bench Countdowns -bench.on $(or $(DB),postgres) -bench.asynq "$$PWD/$(BIN)-asynq" \
		-bench.pending $(PENDING) -bench.due $(DUE) -bench.within $(WITHIN)

PENDING ?= 1000000
DUE ?= 100000
WITHIN ?= 60s

$(BIN)-asynq: bench/asynq/main.go bench/asynq/go.mod
	cd bench/asynq && CGO_ENABLED=0 $(GO) build -trimpath -o $(abspath $@) .

## Tests

# Make reads what a target needs as soon as it comes to it: this stands before those who need it.
SERVERS := has-postgres has-mariadb has-redis has-rabbitmq

# Our code is watched by the race detector, SQLite's translated C is not: watching it makes the model test three times as long. Nor are the
# thousands of functions that spell Redis' commands, nor what reads flags and patterns. The end-to-end tests build the program with the same flags.
OTHERS := -gcflags='modernc.org/sqlite/lib=-race=false -d=checkptr=0' -gcflags='modernc.org/libc=-race=false -d=checkptr=0' \
	-gcflags='modernc.org/memory=-race=false -d=checkptr=0' -gcflags='modernc.org/sqlite=-d=checkptr=0' \
	-gcflags='github.com/redis/rueidis/internal/cmds=-race=false -d=checkptr=0' \
	-gcflags='github.com/alecthomas/kong=-race=false -d=checkptr=0' -gcflags='regexp=-race=false -d=checkptr=0'

# A process that watches itself stays for a second when it is done, for reports that others may be about to make. What a debugger needs is not
# compiled, neither here nor in the programs that tests build.
LIGHT := GORACE=atexit_sleep_ms=50 GOFLAGS='$(strip $(shell $(GO) env GOFLAGS) -gcflags=all=-dwarf=false)'

# Tests often wait for servers and processes that start, end or heal: more of them run than there are processors, if those are few.
AT_ONCE := $(shell n=$$(getconf _NPROCESSORS_ONLN 2>/dev/null) && [ "$$n" -gt 3 ] && echo $$n || echo 3)

# The thousand worlds and the thousand sequences of the model run unwatched, which takes a quarter of the time: a few of each are watched before.
.PHONY: test
test: has-compiler $(SERVERS) has-browser ## Vet and run every test under the race detector
	$(LIGHT) CGO_ENABLED=1 $(GO) test -race -vet=all $(OTHERS) -p $(AT_ONCE) -parallel $(AT_ONCE) -timeout 25m \
		./e2e ./internal/sqlstore ./internal/redisfront ./... # the longest first, so that none is left alone
	$(LIGHT) $(GO) test -vet=off -run 'Whatever|DoWhatTheModelSays$$' ./internal/sqlstore ./internal/sim
	$(LIGHT) $(GO) test -vet=off -tags planted -run Planted ./internal/sim

.PHONY: chaos
chaos: has-compiler $(SERVERS) ## Kill the server N times under load (N=300), run SEEDS simulated worlds (SEEDS=100000), let rivals place ORDERS (ORDERS=100000)
	GOGC=400 $(GO) test -tags failpoint -timeout 6h -count=1 -v -run Whatever ./internal/sim -sim.seeds=$(SEEDS)
	$(GO) test -timeout 3h -count=1 -v -run NeverWaitInACircle ./internal/sqlstore -rivals.orders=$(ORDERS)
	CGO_ENABLED=1 $(GO) test -race $(OTHERS) -timeout 3h -count=1 -run Chaos ./e2e -parallel 1 -chaos.n=$(N) -chaos.pause=1s -chaos.back=15s -chaos.rest=0
	CGO_ENABLED=1 $(GO) test -race $(OTHERS) -timeout 3h -count=1 -run Faults ./internal/redisfront -parallel 1 -faults.n=20 -faults.pause=1s -faults.back=15s
	CGO_ENABLED=1 $(GO) test -race $(OTHERS) -timeout 1h -count=1 -v -run NoNumberIsUsedTwice ./internal/redisfront -numbers.n=1000000

# What is left out plants with a variable that MySQL has not, and starts servers with one that MySQL takes only when it is installed.
.PHONY: test-mysql
test-mysql: has-redis ## Run the tests of MariaDB on the MySQL 8 or later that is installed here instead (mysqld and mysql)
	HOLDFAST_TEST_MYSQL=1 $(GO) test -count=1 -timeout 1h ./internal/sqlstore -run 'MariaDB|MySQL' \
		-skip 'EachCheckFindsWhatBreaksItOnMariaDB|MariaDBSessionsSetThemselvesUp'
	HOLDFAST_TEST_MYSQL=1 $(GO) test -count=1 -timeout 1h ./e2e -run '$(ON_SERVERS)/MariaDB'

ON_SERVERS := ^(TestChaosAProcess|TestAThousandUnits|TestChaosKillNine|TestOneUserOn|TestOrdersOfTwo|TestPayMeetsExpire|TestSixtyFour|TestTheLastUnit|TestTheSame|TestWhatOneProcess).*

# One target after the other, each with the whole machine. A fuzz_test.go runs without the other tests of its package (but with
# fuzz_*_test.go): they link the database, whose every branch would be counted at every try, ten times slower. Making an input
# shorter that reached something new is bounded: it would take all of the time. Now and then go test ends with "context deadline
# exceeded" when its workers are slow to stop at the end, and has found nothing: such a target has a second try.
.PHONY: fuzz
fuzz: ## Feed nonsense to everything that parses strangers' bytes (FUZZTIME=30s each)
	@log=$$(mktemp); trap 'rm -f "$$log"' EXIT; \
	for file in $$(grep -rl --include='*_test.go' '^func Fuzz' . | sort); do \
		for target in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' $$file); do \
			dir=$$(dirname $$file); what=.; printf '%-34s %-30s ' "$$target" "$$dir"; \
			if [ "$$(basename $$file)" = fuzz_test.go ]; then \
				what="$$($(GO) list -f '{{join .GoFiles " "}}' $$dir) $$(cd $$dir && ls fuzz_*test.go)"; \
			fi; \
			for try in 1 2; do \
				(cd $$dir && $(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 100x $$what) >"$$log" 2>&1 && break; \
				if [ $$try = 2 ] || grep -q 'Failing input written' "$$log" || ! grep -q 'context deadline exceeded' "$$log"; then \
					echo failed; cat "$$log"; \
					echo "$$target found something. Its input, if one was written, is in $$dir/testdata/fuzz: keep it, it runs with the tests." >&2; exit 1; \
				fi; \
			done; \
			sed -n 's/.*execs: \([0-9]*\) .*/\1/p' "$$log" | tail -n 1 | sed "s/\$$/ executions/"; \
		done; \
	done

# What tests and the stack need besides Go: how to see whether it is there, and its packages. On Debian and Ubuntu root can have them at once. No
# server is started by that: they start their own.
NEED_compiler := a C compiler with its headers, for the race detector
HAS_compiler   = printf '\#include <stdlib.h>\n' | $$($(GO) env CC) -fsyntax-only -x c -
APT_compiler  := gcc libc6-dev
ELSE_compiler := Ubuntu: the same; Fedora: dnf install gcc; Alpine: apk add build-base

# Asked for its version, because Ubuntu's package is nothing but a script that asks for a snap.
NEED_browser := Chromium, for the pages
HAS_browser  := for name in chromium google-chrome google-chrome-stable chromium-browser; do $$name --version && exit; done; false
APT_browser  := chromium
ELSE_browser := Ubuntu, which has Chromium as a snap only: Google Chrome from its maker; Fedora: dnf install chromium; Alpine: apk add chromium

NEED_postgres := PostgreSQL
HAS_postgres  := ls /usr/lib/postgresql/*/bin/postgres || command -v postgres
APT_postgres  := postgresql
UNIT_postgres := postgresql
ELSE_postgres := Ubuntu: the same; Fedora: dnf install postgresql-server; Alpine: apk add postgresql

NEED_mariadb := MariaDB and ps
HAS_mariadb  := PATH="$$PATH:/usr/sbin" command -v mariadbd && command -v ps
APT_mariadb  := mariadb-server procps
UNIT_mariadb := mariadb
ELSE_mariadb := Ubuntu: the same; Fedora: dnf install mariadb-server; Alpine: apk add mariadb mariadb-client procps

NEED_redis := Redis
HAS_redis  := command -v redis-server
APT_redis  := redis-server
UNIT_redis := redis-server
ELSE_redis := Ubuntu: the same; Fedora: dnf install redis; Alpine: apk add redis

NEED_rabbitmq := RabbitMQ
HAS_rabbitmq  := PATH="$$PATH:/usr/sbin" command -v rabbitmq-server
APT_rabbitmq  := rabbitmq-server
UNIT_rabbitmq := rabbitmq-server
ELSE_rabbitmq := Ubuntu: the same; Fedora: dnf install rabbitmq-server; Alpine: apk add rabbitmq-server

# A package's service is kept from starting now by policy-rc.d, as in an image that is being built, and at the next boot by disabling it.
.PHONY: has-compiler has-browser $(SERVERS)
has-compiler has-browser $(SERVERS): has-%:
	@($(HAS_$*)) >/dev/null 2>&1 && exit 0; \
	how='Install it (Debian: apt-get install $(APT_$*); $(ELSE_$*)) and run make again.'; \
	if [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then \
		echo 'Missing: $(NEED_$*).' "$$how" >&2; exit 1; \
	fi; \
	echo 'Missing: $(NEED_$*). Installing $(APT_$*).'; \
	log=$$(mktemp); policy=/usr/sbin/policy-rc.d; mine=; \
	trap 'rm -f $$log $$mine' EXIT; trap 'exit 1' HUP INT TERM; \
	if [ ! -e $$policy ]; then mine=$$policy; printf '#!/bin/sh\nexit 101\n' >$$policy; chmod +x $$policy; fi; \
	export DEBIAN_FRONTEND=noninteractive; \
	apt='apt-get -qq -o DPkg::Lock::Timeout=300'; \
	install="$$apt install -y --no-install-recommends $(APT_$*)"; \
	{ $$install || { $$apt update && $$install; }; } >$$log 2>&1; \
	($(HAS_$*)) >/dev/null 2>&1 || { cat $$log >&2; echo '$(APT_$*) could not be installed.' "$$how" >&2; exit 1; }; \
	if [ -n '$(UNIT_$*)' ] && command -v systemctl >/dev/null; then systemctl disable --quiet $(UNIT_$*) >/dev/null 2>&1 || :; fi

## Before a commit

CHECKS := check-format check-vet check-lint check-arch check-generated check-vulnerable check-fuzz

.PHONY: check
check: $(CHECKS) ## Format, vet, lint, arrows, generated files, vulnerabilities, fuzz targets
	@echo 'All checked.'

.PHONY: fmt
fmt: ## Format the code
	$(call install,gofumpt,mvdan.cc/gofumpt,$(GOFUMPT_VERSION))
	$(TOOLS)/gofumpt -w .

.PHONY: generate
generate: ## Write again what is written from the code
	$(GO) generate ./...

.PHONY: clean
clean: ## Remove what was built; the tools and your databases stay
	rm -rf bin dist coverage* *.out *.prof *.test

.PHONY: check-format
check-format:
	@echo '== format'
	$(call install,gofumpt,mvdan.cc/gofumpt,$(GOFUMPT_VERSION))
	@files="$$(gofmt -l . && $(TOOLS)/gofumpt -l .)" || exit 1; \
	if [ -n "$$files" ]; then \
		echo "$$files" | sort -u; \
		echo 'Not formatted: run make fmt.' >&2; exit 1; \
	fi

.PHONY: check-vet
check-vet:
	@echo '== vet'
	@$(GO) vet ./...

.PHONY: check-lint
check-lint:
	@echo '== lint'
	$(call install,golangci-lint,github.com/golangci/golangci-lint/v2/cmd/golangci-lint,$(GOLANGCI_LINT_VERSION))
	@$(TOOLS)/golangci-lint run ./...

.PHONY: check-arch
check-arch:
	@echo '== arrows'
	@$(GO) test -count=1 .

# Compares with what stood there before, so that it holds with and without uncommitted work.
.PHONY: check-generated
check-generated:
	@echo '== generated files'
	@before=$$(mktemp -d); trap 'rm -rf "$$before"' EXIT; stale=; \
	for f in $(GENERATED); do \
		mkdir -p "$$before/$$(dirname $$f)"; \
		if [ -e $$f ]; then cp $$f "$$before/$$f"; fi; \
	done; \
	$(MAKE) generate || exit 1; \
	for f in $(GENERATED); do \
		if [ ! -e $$f ]; then continue; fi; \
		[ -e "$$before/$$f" ] || : >"$$before/$$f"; \
		diff -u "$$before/$$f" $$f || stale="$$stale $$f"; \
	done; \
	if [ -n "$$stale" ]; then \
		echo "Stale, and written again just now:$$stale. Look at the difference and commit it." >&2; exit 1; \
	fi

# govulncheck answers 3 for a finding; for a database out of reach it answers 1 and says that it was fetching.
.PHONY: check-vulnerable
check-vulnerable:
	@echo '== vulnerabilities'
	$(call install,govulncheck,golang.org/x/vuln/cmd/govulncheck,$(GOVULNCHECK_VERSION))
	@out=$$($(TOOLS)/govulncheck ./... 2>&1) && code=0 || code=$$?; \
	echo "$$out"; \
	if [ $$code = 1 ] && echo "$$out" | grep -q 'fetching vulnerabilities'; then \
		echo 'The vulnerability database is out of reach: NOT scanned, going on.' >&2; exit 0; \
	fi; \
	exit $$code

# Last, because it takes longest: every fuzz target for FUZZTIME.
.PHONY: check-fuzz
check-fuzz:
	@echo '== fuzz targets, $(FUZZTIME) each'
	@$(MAKE) fuzz

# $(call install,name,package,version) puts a tool into .tools/bin, again when its version or that of Go has changed.
define install
@stamp="$(3) $$($(GO) env GOVERSION)"; \
	if [ ! -x $(TOOLS)/$(1) ] || [ "$$(cat $(TOOLS)/.$(1) 2>/dev/null)" != "$$stamp" ]; then \
		echo "Installing $(1) $(3)"; \
		CGO_ENABLED=0 GOBIN="$$PWD/$(TOOLS)" $(GO) install $(2)@$(3) && echo "$$stamp" >$(TOOLS)/.$(1); \
	fi
endef
