# rawfork: real fork(2) for Go. `make help` lists the targets.

GO        ?= go
CC        ?= cc
GO125     ?= go1.25.5
STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.7.0

# A test that hangs fails: no package needs half of this. lint has vetted already.
TIMEOUT   ?= 20m
FUZZTIME  ?= 30s
TEST       = $(GO) test -vet=off -timeout $(TIMEOUT)
# The packages whose code runs between fork and the child's end, and the tests
# of the contract. They are tested again in every way a program can be built.
CORE       = . ./child
# What reads the module's sources and documents finds the same in each of them, and so
# does what measures the kernel's limit on arguments. So do the tests of ForkExec's plan,
# where only Go is compiled otherwise: its child runs C.
SAME       = TestDependencies|TestDocumented|TestRooms|TestHooksStandInOneFile|TestSameOnEveryPlatform|TestForkExecArgMax
EACH       = -short -skip '^($(SAME))$$' $(CORE)
EACH_IN_GO = -short -skip '^($(SAME))$$|^TestForkExec' $(CORE)

export CC

.PHONY: help run test test-core lint vet fmt staticcheck c-warnings builds bench fuzz soak soak-forkall generate clean compiler bin/rawfork

help: ## this list
	@sed -n 's/^\([a-z0-9/-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 16

run: compiler ## the chapter on forking, live
	$(GO) run ./rawfork tour

bin/rawfork: compiler ## the command
	$(GO) build -o bin/rawfork ./rawfork

# Two at a time here too: what checks the sources waits for the disk and for itself.
test: compiler ## everything: lint, builds, all tests, the core's in every build mode
	@$(MAKE) --no-print-directory -j2 --output-sync=target lint builds
	$(TEST) ./...
	@$(MAKE) --no-print-directory test-core

# Each line of the matrix is one way to build or run a Go program. Two at a time: one
# is linked while another's children are waited for.
MATRIX = core-race core-probe core-one-p core-pie core-static core-musl core-unoptimised core-go125 core-fuzz

test-core: compiler ## the core's tests: race, one P, PIE, static, musl, unoptimised, Go 1.25; the plan's fuzz test
	@$(MAKE) --no-print-directory -j2 --output-sync=target $(MATRIX)

.PHONY: $(MATRIX)

core-race:
	$(TEST) -race $(EACH)
	$(TEST) -race -run 'TestCaveats/(guard|forkall)-race' ./rules
	RAWFORK_SOAK_FORKS=1 GORACE=atexit_sleep_ms=0 $(TEST) -race -run 'TestScenarios/(everything|sleep|exec|http)|TestContract/race' ./forkall

core-probe:
	$(TEST) -race -cover ./probe/probetest

core-one-p:
	GOMAXPROCS=1 $(TEST) -count=1 $(EACH)

core-pie:
	$(TEST) -buildmode=pie $(EACH_IN_GO)

core-static:
	$(TEST) -tags netgo,osusergo -ldflags '-extldflags -static' $(EACH) ./helper

core-musl:
	@if command -v musl-gcc >/dev/null; then \
		echo "CC=musl-gcc $(TEST) -short ./helper"; \
		CC=musl-gcc $(TEST) -ldflags '-linkmode external -extldflags -static' -short ./helper; \
	else \
		echo "not tested against musl: there is no musl-gcc (Debian's musl-tools)"; \
	fi

core-unoptimised:
	$(TEST) -gcflags=all='-N -l' $(EACH_IN_GO)

core-go125:
	@if GOTOOLCHAIN=$(GO125) $(GO) version >/dev/null 2>&1; then \
		echo "GOTOOLCHAIN=$(GO125) $(TEST) $(EACH) ./forkall"; \
		GOTOOLCHAIN=$(GO125) $(TEST) $(EACH) ./forkall && \
		GOTOOLCHAIN=$(GO125) $(TEST) -run TestPure ./child; \
	else \
		echo "not tested on $(GO125): the toolchain can't be fetched"; \
	fi

# A short run of what parses bytes that come from elsewhere; make fuzz has all of them. So
# many inputs, not so many seconds: at the end of a time go test may call the time itself
# a failure.
core-fuzz:
	$(GO) test -run '^$$' -fuzz '^FuzzPlan$$' -fuzztime 3000x ./internal/plan

bench: compiler ## the figures: docs/bench.txt, docs/*.svg, docs/compare.*, and those in README.md and docs/why.md
	$(GO) run ./bench -o docs/bench.txt -charts docs
	$(GO) run ./rawfork compare -o docs --fill README.md,docs/why.md

soak: compiler ## the long forms: 20,000 forks, each forbidden call 1,000 times, 10,000 children that die at once, of a reaper and of a server, 1,000 clients and 50,000 connections to a server, 100,000 requests to a helper
	RAWFORK_SOAK_FORKS=20000 $(GO) test -count=1 -timeout 60m -v -run 'TestHangMatrix|TestWrongForks' ./rules
	RAWFORK_LONG=1 $(GO) test -count=1 -timeout 60m -v -run 'TestGuardStops' .
	RAWFORK_SOAK_CLIENTS=1000 RAWFORK_SOAK_AT_ONCE=10000 RAWFORK_SOAK_CONNECTIONS=50000 $(GO) test -count=1 -timeout 60m -v -run 'TestLoad|TestManyAtOnce|TestMemoryFlat' ./serve
	RAWFORK_LONG=1 $(GO) test -race -count=1 -timeout 60m -v -run 'TestRaceDetector' .
	RAWFORK_SOAK_CHILDREN=10000 $(GO) test -count=1 -timeout 30m -v -run 'TestManyAtOnce' ./reap
	RAWFORK_SOAK_REQUESTS=100000 $(GO) test -count=1 -timeout 60m -v -run 'TestSoak' ./helper

# How many children: fewer show that the commands work.
SOAK_FORKALL      ?= 10000
SOAK_FORKALL_RACE ?= 240

soak-forkall: compiler ## 10,000 children with the whole runtime alive, and 240 with the race detector
	RAWFORK_SOAK_FORKS=$(SOAK_FORKALL) $(GO) test -count=1 -parallel 4 -timeout 180m -v -run 'TestScenarios|TestContract' ./forkall
	RAWFORK_SOAK_FORKS=$(SOAK_FORKALL_RACE) GORACE=atexit_sleep_ms=0 $(GO) test -race -count=1 -parallel 4 -timeout 60m -v -run 'TestScenarios|TestContract/race' ./forkall

# Each fuzz test of the module, one after the other.
fuzz: compiler ## every fuzz test for $(FUZZTIME)
	@for package in $$($(GO) list ./...); do \
		for name in $$($(GO) test -list '^Fuzz' $$package | grep '^Fuzz'); do \
			echo "$$package $$name"; \
			$(GO) test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) $$package || exit 1; \
		done; \
	done

generate: compiler ## RULES.md and CAVEATS.md, with this machine's figures
	$(GO) generate ./rules

lint: fmt vet staticcheck c-warnings ## gofmt, vet, staticcheck, the C compiler's warnings

fmt:
	@bad=$$(gofmt -l .); if [ -n "$$bad" ]; then echo "not formatted by gofmt:"; echo "$$bad"; exit 1; fi

vet: compiler
	$(GO) vet ./...

staticcheck: compiler
	$(GO) run $(STATICCHECK) ./...

# Every C file of the module but those that need a header of cgo's making, which are
# compiled with the same warnings by their package.
c-warnings: compiler
	@for f in $$(grep -L _cgo_export.h $$(find . -name '*.c')); do \
		echo "$(CC) -Wall -Wextra -Werror -fsyntax-only $$f"; \
		$(CC) -std=gnu11 -O2 -Wall -Wextra -Werror -fsyntax-only -I. -Iinternal/plan $$f || exit 1; \
	done

# Where there is no fork, everything still builds, tests included.
builds:
	CGO_ENABLED=0 $(GO) vet ./...
	CGO_ENABLED=0 GOOS=darwin $(GO) vet ./...
	CGO_ENABLED=0 GOARCH=arm64 $(GO) vet ./...

compiler:
	@command -v $(firstword $(CC)) >/dev/null || { \
		echo "rawfork needs a C compiler for libc's fork(): none found as '$(CC)' (on Debian: apt-get install gcc libc6-dev)" >&2; exit 1; }

clean: ## what make built
	rm -rf bin
