# certsync: `make` builds, `make demo` shows it, `make test` proves it, `make install` installs it.
#   V=1 shows the commands · SANITIZE=1 builds with AddressSanitizer and UBSan · DESTDIR and PREFIX as usual

CC ?= cc
PKG_CONFIG ?= pkg-config
PREFIX ?= /usr
SYSCONFDIR ?= /etc
LIBEXEC ?= $(PREFIX)/lib/certsync
MANDIR ?= $(PREFIX)/share/man
UNITDIR ?= $(PREFIX)/lib/systemd/system
BASH_COMPLETIONS ?= $(PREFIX)/share/bash-completion/completions
ZSH_COMPLETIONS ?= $(PREFIX)/share/zsh/vendor-completions
FISH_COMPLETIONS ?= $(PREFIX)/share/fish/vendor_completions.d
VERSION := 0.1.0

B := build$(if $(SANITIZE),/sanitize)
$(if $(V),,.SILENT:)

CFLAGS ?= -O2 -g
CPPFLAGS += -D_GNU_SOURCE -DCERTSYNC_VERSION='"$(VERSION)"' -I.
CFLAGS += -std=c11 -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wdate-time \
	-Wformat=2 -Wpointer-arith -fPIE -fstack-protector-strong -fno-strict-aliasing
LDFLAGS += -pie -Wl,-z,relro,-z,now -Wl,--as-needed
ifdef SANITIZE
CFLAGS += -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
LDFLAGS += -fsanitize=address,undefined
CPPFLAGS += -include tests/analysis/sanitize.h
endif
ifdef COVERAGE
# Clang's counters in a mapped file, so that they stay whatever ends a program, and atomic, since many count in one; gcc does the warnings.
CFLAGS += -O1 -w -fprofile-instr-generate=$(abspath $(B))/counters/%m%c -fcoverage-mapping -mllvm -runtime-counter-relocation -fprofile-update=atomic
CPPFLAGS += -DCONFINE_ALSO='"$(abspath $(B))/counters"'
LDFLAGS += -fprofile-instr-generate
endif
ifdef LIBFUZZER
CFLAGS += -fsanitize=fuzzer-no-link -w
endif
# What hardens, where the compiler has it (cf-protection is x86's, and clang zeroes variables from version 16 on), and no path of this
# directory in what is built; not where something looks for what this would hide. FORTIFY_SOURCE wants optimisation, and -Wp to take the
# place of what a distribution has given. The C library's start files may lack the mark of the shadow stack, which the linker then
# withholds from all, though they do nothing against it; whether they begin with a landing place for indirect jumps is theirs to say.
ifeq ($(SANITIZE)$(COVERAGE)$(VALGRIND),)
has = $(shell $(CC) -Werror $(1) -S -o - -x c /dev/null >/dev/null 2>&1 && echo '$(1)')
HARDEN := $(foreach f,-fstack-clash-protection -fcf-protection=full -ftrivial-auto-var-init=zero,$(call has,$(f)))
FORTIFY := -Wp,-U_FORTIFY_SOURCE,-D_FORTIFY_SOURCE=$(if $(call has,-O2 -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3 -include stdio.h),3,2)
HARDEN += $(if $(filter-out -O0,$(lastword $(filter -O%,$(CFLAGS)))),$(FORTIFY))
CFLAGS += $(HARDEN) -grecord-gcc-switches '-ffile-prefix-map=$(CURDIR)=.'
LDFLAGS += -Wl,-z,noexecstack,-z,separate-code $(if $(filter -fcf-protection=full,$(HARDEN)),-z shstk)
endif

# A program is its folder and what it takes from the archives; what each may link is SECURITY.md's business, too.
pkg = $(shell $(PKG_CONFIG) --$(1) $(2))
CRYPTO := libcrypto
TLS := libssl libcrypto
PACKAGES := libssl libcrypto libcjson libevent libcurl libssh ldns
sources = $(sort $(wildcard $(1)/*.c $(1)/*/*.c $(1)/*/*/*.c))
objects = $(patsubst %.c,$(B)/obj/%.o,$(1))

certsync_DIR := hub/daemon hub/cli
certsync_PKG := $(TLS) libcjson libevent
certsync-keys_DIR := hub/keys
certsync-keys_PKG := $(CRYPTO)
certsync-worker_DIR := hub/worker
certsync-worker_PKG := $(TLS) libcjson libevent libcurl ldns
certsync-gate_DIR := hub/gate
certsync-hub-root_DIR := hub/root
certsync-hub-root_LIBS := -linotifytools
certsync-agent_DIR := agent/daemon agent/cli
certsync-agent_PKG := $(TLS) libcjson libevent
certsync-agent-root_DIR := agent/root
certsync-agent-root_PKG := $(CRYPTO)
certsync-link_DIR := agent/link
certsync-link_PKG := libssh

PROGRAMS := certsync certsync-keys certsync-worker certsync-gate certsync-hub-root certsync-agent certsync-agent-root certsync-link
# One of them, master, is run by those that are scripts.
HOOKS := $(patsubst hooks/%,%,$(filter-out %.c %.h,$(wildcard hooks/*))) haproxy master
ARCHIVES := $(B)/libhub.a $(B)/libagent.a $(B)/libcertsync.a
ALL_SRC := $(call sources,lib) $(call sources,hub) $(call sources,agent) $(call sources,hooks)
UNIT := $(patsubst tests/unit/%.c,$(B)/unit/%,$(wildcard tests/unit/test_*.c))

.PHONY: all bench deps demo demo-stop test unit e2e fuzz install clean
all: $(PROGRAMS:%=$(B)/bin/%) $(HOOKS:%=$(B)/bin/hooks/%)

$(B)/obj/%.o: %.c Makefile
	mkdir -p $(@D)
	echo "  CC    $<"
	$(CC) $(CPPFLAGS) $(call pkg,cflags,$(PACKAGES)) $(CFLAGS) -MMD -MP -c -o $@ $<

$(B)/libhub.a: $(call objects,$(call sources,hub/common))
$(B)/libagent.a: $(call objects,$(call sources,agent/common))
$(B)/libcertsync.a: $(call objects,$(call sources,lib))
$(ARCHIVES):
	rm -f $@
	$(AR) rcsD $@ $^

define program
$(B)/bin/$(1): $$(call objects,$$(foreach d,$$($(1)_DIR),$$(call sources,$$(d)))) $(ARCHIVES)
	mkdir -p $$(@D)
	echo "  LINK  $(1)"
	$$(CC) $$(CFLAGS) $$(LDFLAGS) -o $$@ $$^ $$(if $$($(1)_PKG),$$(call pkg,libs,$$($(1)_PKG))) $$($(1)_LIBS)
endef
$(foreach p,$(PROGRAMS),$(eval $(call program,$(p))))

$(B)/bin/hooks/haproxy: $(call objects,hooks/haproxy.c hooks/overlap.c hooks/runtime.c) $(B)/libcertsync.a
	mkdir -p $(@D)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(call pkg,libs,$(CRYPTO))
$(B)/bin/hooks/master: $(B)/obj/hooks/master.o $(B)/libcertsync.a
	mkdir -p $(@D)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^
$(B)/bin/hooks/%: hooks/%
	mkdir -p $(@D)
	install -m 755 $< $@

# A unit test links every module that has no main, so that it can reach what it tests. What speaks to libinotifytools is left out.
MAINS := $(wildcard hub/*/main.c agent/*/main.c) hooks/haproxy.c hooks/master.c
UNIT_OBJ := $(call objects,$(filter-out $(MAINS) lib/% hub/root/watch.c,$(ALL_SRC)))
$(B)/libunits.a: $(UNIT_OBJ)
	rm -f $@
	$(AR) rcsD $@ $^
$(B)/unit/%: $(B)/obj/tests/unit/%.o $(B)/libunits.a $(B)/libcertsync.a
	mkdir -p $(@D)
	echo "  LINK  $*"
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $< $(B)/libunits.a $(B)/libcertsync.a \
		$(call pkg,libs,cmocka $(TLS) libcjson libevent libcurl ldns)

# What end-to-end stories use beside the programs.
$(B)/tests/%.so: tests/%.c
	mkdir -p $(@D)
	echo "  LINK  $*.so"
	$(CC) -D_GNU_SOURCE -std=c11 -Wall -Wextra -Werror -O2 -fPIC -shared -o $@ $<
TOOLS := $(patsubst %.c,$(B)/%,$(wildcard tests/*_tool.c))
$(B)/tests/%: $(B)/obj/tests/%.o $(B)/libunits.a $(B)/libcertsync.a
	mkdir -p $(@D)
	echo "  LINK  $*"
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(call pkg,libs,$(TLS) libcjson libevent libcurl ldns)

# The machinery that kills, fails and cuts the power. The checker shares no code with what it checks.
CRASH := $(patsubst %.c,$(B)/%,$(wildcard tests/crash/*_tool.c))
crash_OBJ = $(patsubst %,$(B)/obj/tests/crash/%.o,$(1))
$(B)/tests/crash/trace_tool: $(call crash_OBJ,trace_tool record)
$(B)/tests/crash/check_tool: $(call crash_OBJ,check_tool check)
$(B)/tests/crash/after_tool: $(call crash_OBJ,after_tool check story story_join) $(B)/libunits.a $(B)/libcertsync.a
$(B)/tests/crash/story_tool: $(call crash_OBJ,story_tool story story_join) $(B)/libunits.a $(B)/libcertsync.a
$(B)/tests/crash/power_tool: $(call crash_OBJ,power_tool disk check story story_join) $(B)/libunits.a $(B)/libcertsync.a
$(CRASH):
	mkdir -p $(@D)
	echo "  LINK  crash/$(@F)"
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(call pkg,libs,$(TLS) libcjson libevent libcurl ldns)

# Each measures beside the alternatives, prints a table and leaves the same in $(B)/bench.json. Half an hour; make bench PART="fleet check"
# or tests/bench/NAME, each with numbers of its own behind it, for less. fleet, idle and storm need root.
PART ?= issue check fleet idle store reload storm
bench: deps
	$(MAKE) --no-print-directory all $(TOOLS)
	rm -rf $(B)/bench && mkdir -p $(B)/bench
	for b in $(PART); do \
		CERTSYNC_BENCH='$(abspath $(B))/bench' CERTSYNC_BIN='$(abspath $(B))/bin' tests/bench/$$b || exit 1; done
	jq -s . $(B)/bench/*.json >$(B)/bench.json

# Fuzz targets: with replay.c each runs the inputs of its corpus, as part of `unit`; with libFuzzer, `make fuzz`.
FUZZ_NAMES := $(filter-out replay,$(patsubst tests/fuzz/%.c,%,$(wildcard tests/fuzz/*.c)))
FUZZ := $(FUZZ_NAMES:%=$(B)/fuzz/%)
FUZZ_MAIN := $(if $(LIBFUZZER),-fsanitize=fuzzer,$(B)/obj/tests/fuzz/replay.o)
$(FUZZ): $(B)/fuzz/%: $(B)/obj/tests/fuzz/%.o $(B)/obj/tests/fuzz/replay.o $(B)/libunits.a $(B)/libcertsync.a
	mkdir -p $(@D)
	echo "  LINK  fuzz/$*"
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $< $(FUZZ_MAIN) $(B)/libunits.a $(B)/libcertsync.a \
		$(call pkg,libs,$(TLS) libcjson libevent libcurl ldns)

# The product's objects with a stub before each function of another library that they call, so that it can fail: tests/fault/step.h.
FAULT := $(B)/tests/fault
FAULT_NAMES := disk_tool $(FUZZ_NAMES:%=corpus_%)
$(FAULT)/renamed: tests/fault/stubs tests/fault/returns $(B)/libunits.a $(B)/libcertsync.a $(B)/obj/agent/link/main.o
	mkdir -p $(@D)
	tests/fault/stubs $(@D) $(filter-out tests/%,$^)
$(FAULT)/lib%.a: $(B)/lib%.a $(FAULT)/renamed
	objcopy --redefine-syms=$(FAULT)/renamed $< $@
$(FAULT)/%.o: $(B)/obj/tests/fuzz/%.o $(FAULT)/renamed
	objcopy --redefine-syms=$(FAULT)/renamed $< $@
$(FAULT)/stubs.o: $(FAULT)/renamed
	$(CC) -c -o $@ $(FAULT)/stubs.S
fault_MAIN := $(B)/obj/tests/fault/run.o $(B)/obj/tests/fault/step.o $(FAULT)/stubs.o
fault_LIBS := $(FAULT)/libunits.a $(FAULT)/libcertsync.a
$(FAULT)/disk_tool: $(B)/obj/tests/fault/disk_tool.o $(call crash_OBJ,check story story_join) $(fault_MAIN) $(fault_LIBS)
$(FAULT)/corpus_%: $(B)/obj/tests/fault/corpus.o $(FAULT)/%.o $(fault_MAIN) $(fault_LIBS)
	echo "  LINK  fault/$(@F)"
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(call pkg,libs,$(TLS) libcjson libevent libcurl ldns libssh)
$(FAULT)/disk_tool:
	echo "  LINK  fault/$(@F)"
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(call pkg,libs,$(TLS) libcjson libevent libcurl ldns libssh)

unit: all $(UNIT) $(FUZZ)
	for t in $(UNIT); do echo "$$t"; $$t || exit 1; done
	for t in $(FUZZ_NAMES); do $(B)/fuzz/$$t tests/fuzz/corpus/$$t || exit 1; done

# make fuzz TIME=60 [RUNS=1000000] [FAST=1] [TARGETS="frame chain"]: that many seconds for each target, or executions, under ASan and
# UBSan; FAST leaves OpenSSL's own allocations out. Needs the Debian packages clang and libclang-rt-dev. What it finds new stays in
# $(B)/libfuzzer/corpus; what breaks a target, in $(B)/libfuzzer.
TIME ?= 60
RUNS ?= -1
fuzz:
	command -v clang >/dev/null || { echo 'make fuzz needs clang: apt-get install clang libclang-rt-dev' >&2; exit 1; }
	$(MAKE) --no-print-directory B=$(B)/libfuzzer CC=clang SANITIZE=1 LIBFUZZER=1 fuzz-targets
	TIME='$(TIME)' RUNS='$(RUNS)' $(if $(FAST),FAST=1) tests/fuzz/campaign $(B)/libfuzzer $(or $(TARGETS),$(FUZZ_NAMES))
.PHONY: fuzz-targets
fuzz-targets: $(FUZZ)

# These install what is missing first (as root; else they say how), so what is built is built by a make of its own.
deps:
	packaging/install-packages tests
demo:
	MAKE='$(MAKE)' KEEP='$(KEEP)' examples/demo/demo.sh
demo-stop:
	examples/demo/demo.sh stop
test: deps
	$(MAKE) --no-print-directory lint
	$(MAKE) --no-print-directory unit
	$(MAKE) --no-print-directory e2e
# make coverage [STORIES="tests/e2e/rogue/refusals.t …"]: lines and branches that the unit tests, the corpora and these stories reach; without
# STORIES all of them, but for those that install the packages; STORIES=none for none. What was missed is in $(B)/coverage/missed.
.PHONY: coverage tools
tools: $(TOOLS) $(CRASH) $(B)/tests/fault_at.so $(B)/tests/reach.so
coverage:
	tests/analysis/coverage $(B)/coverage '$(MAKE)' $(STORIES)
# lint is part of test; analyse looks longer, along paths, too.
# make valgrind [STORIES="tests/e2e/rogue/refusals.t …"]: these stories, or all that can bear it, with the programs under valgrind.
.PHONY: valgrind
valgrind: deps
	$(MAKE) --no-print-directory B=$(B)/memcheck VALGRIND=1 all tools
	tests/analysis/valgrind $(B)/memcheck $(STORIES)
.PHONY: lint analyse
lint analyse: export OBJECTS := $(B)/obj
lint analyse: all
lint:
	tests/analysis/run quick
analyse:
	tests/analysis/run full
# Four stories at a time, since most of their time is waiting for servers; those on the topology, of which there is one, one after the other
# among them. What a story cannot bear it says itself, in a line "# Not with a sanitizer: why.", "# Not under valgrind: why." or
# "# Not for coverage: why.".
ALL_STORIES := $(sort $(wildcard tests/e2e/*/*.t))
TOPOLOGY_STORIES = $(shell grep -l '^topology_begin' $(ALL_STORIES))
STORIES_RUN = $(filter-out $(if $(SANITIZE),$(shell grep -l '^# Not with a sanitizer: ' $(ALL_STORIES))),$(ALL_STORIES))
.PHONY: stories
ifdef SANITIZE
# Some stories load a library before the sanitizer's.
stories: export ASAN_OPTIONS = verify_asan_link_order=0
endif
stories: export CERTSYNC_BIN := $(abspath $(B))/bin
stories: export CERTSYNC_DEB := $(abspath $(B))/deb
stories: export CERTSYNC_FAILED = $(abspath $(B))/e2e.failed
stories: export CERTSYNC_NOT_RUN = $(abspath $(B))/e2e.not-run
# The system that fresh machines begin with is made once in each run.
stories: export CERTSYNC_BASE = $(abspath $(B))/e2e.base.tar
# Whatever is waited for ends the wait; a slow machine gets five times as long.
stories: export CERTSYNC_PATIENCE ?= 5
stories: export HARNESS_RULESFILE = $(abspath $(B))/e2e.rules
stories:
	: >$$CERTSYNC_FAILED
	: >$$CERTSYNC_NOT_RUN
	rm -f $$CERTSYNC_BASE
	printf '%s\n' 'par:' '  - seq:' $(TOPOLOGY_STORIES:%='    - %') '  - par: **' >$$HARNESS_RULESFILE
	$(if $(SANITIZE),grep '^# Not with a sanitizer: ' $(ALL_STORIES) | sed 's/:# Not with a sanitizer: /: /; s/^/not run: /')
	prove -j 4 --timer --exec tests/e2e/lib/story $(STORIES_RUN) || { cat $$CERTSYNC_FAILED; exit 1; }
	sed 's/^/not run: /' $$CERTSYNC_NOT_RUN
# The long runs: minutes to an hour.
.PHONY: crash fault
crash fault: export CERTSYNC_BIN := $(abspath $(B))/bin
crash: all $(TOOLS) $(CRASH)
	tests/crash/crash
	tests/crash/programs --kills 60
fault: all $(CRASH) $(B)/tests/clock_shift.so
	tests/fault/fault
	prove tests/fault/machine
# Of whatever library they are; under the sanitizers, beside that the runs judge little.
.PHONY: fault-calls fault-programs
fault-calls:
	$(MAKE) --no-print-directory B=$(B)/sanitize SANITIZE=1 fault-programs
	mkdir -p $(B)/sanitize/bin
	CERTSYNC_BIN='$(abspath $(B))/sanitize/bin' tests/fault/calls
fault-programs: $(CRASH) $(FAULT_NAMES:%=$(FAULT)/%)
# make swaps: a thousand renewals at HAProxy, Postfix, Dovecot and nginx under 50,000 handshakes each; half an hour where nothing else runs.
.PHONY: swaps
swaps: all $(TOOLS)
	CERTSYNC_BENCH='$(abspath $(B))/bench' CERTSYNC_BIN='$(abspath $(B))/bin' tests/bench/swaps
# make matrix [SUITE="trixie forky"] [STORIES="unit tests/e2e/services/nginx.t …"] [JOBS=2] [FRESH=1]: on other releases of Debian; tests/matrix.
SUITE ?= trixie
.PHONY: matrix
matrix:
	FRESH='$(FRESH)' JOBS='$(JOBS)' tests/matrix '$(SUITE)' '$(abspath $(B))/matrix' $(STORIES)
# make load [AGENTS=2000] [MINUTES=60]: so many agents held so long, one in twenty hostile; some minutes more until all are there, and 8 GiB.
# In CI AGENTS=300 MINUTES=5. Figures are left in $(B)/bench/load.json.
AGENTS ?= 2000
MINUTES ?= 60
.PHONY: load
load: deps
	$(MAKE) --no-print-directory all
	CERTSYNC_BENCH='$(abspath $(B))/bench' CERTSYNC_BIN='$(abspath $(B))/bin' tests/load/load $(AGENTS) $(MINUTES)
# Stories that wait for clocks, or judge many configurations: half an hour.
.PHONY: slow
slow: export CERTSYNC_BIN := $(abspath $(B))/bin
slow: all deps
	prove -j 2 --timer tests/slow/*.t
e2e: all $(TOOLS) $(CRASH) $(B)/tests/fault_at.so $(B)/tests/reach.so deb
	$(MAKE) --no-print-directory stories

install: all
	install -d $(DESTDIR)$(LIBEXEC)/hooks $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/sbin
	install -m 755 $(PROGRAMS:%=$(B)/bin/%) $(DESTDIR)$(LIBEXEC)
	install -m 755 $(HOOKS:%=$(B)/bin/hooks/%) $(DESTDIR)$(LIBEXEC)/hooks
	ln -sf ../lib/certsync/certsync $(DESTDIR)$(PREFIX)/bin/certsync
	ln -sf ../lib/certsync/certsync-agent $(DESTDIR)$(PREFIX)/bin/certsync-agent
	ln -sf ../lib/certsync/certsync-hub-root $(DESTDIR)$(PREFIX)/sbin/certsync-hub-root
	ln -sf ../lib/certsync/certsync-agent-root $(DESTDIR)$(PREFIX)/sbin/certsync-agent-root
	for section in 1 5 7; do install -D -m 644 -t $(DESTDIR)$(MANDIR)/man$$section man/*.$$section || exit 1; done
	install -d $(DESTDIR)$(MANDIR)/man8
	ln -sf ../man1/certsync-agent.1 $(DESTDIR)$(MANDIR)/man8/certsync-agent-root.8
	ln -sf ../man1/certsync.1 $(DESTDIR)$(MANDIR)/man8/certsync-hub-root.8
	install -D -m 644 -t $(DESTDIR)$(UNITDIR) examples/systemd/*.service
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/lib/sysusers.d examples/systemd/sysusers.d/*.conf
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/lib/tmpfiles.d examples/systemd/tmpfiles.d/*.conf
	install -D -m 644 completions/certsync.bash $(DESTDIR)$(BASH_COMPLETIONS)/certsync
	ln -sf certsync $(DESTDIR)$(BASH_COMPLETIONS)/certsync-agent
	install -D -m 644 completions/_certsync $(DESTDIR)$(ZSH_COMPLETIONS)/_certsync
	install -D -m 644 completions/certsync.fish $(DESTDIR)$(FISH_COMPLETIONS)/certsync.fish
	ln -sf certsync.fish $(DESTDIR)$(FISH_COMPLETIONS)/certsync-agent.fish

# certsync-hub and certsync-agent for Debian, in $(B)/deb, from a copy of the sources without anything that was built.
.PHONY: deb
deb: deps
	rm -rf $(B)/deb
	mkdir -p $(B)/deb/source
	tar -cf - --exclude=./.git --exclude='./build*' . | tar -xf - -C $(B)/deb/source
	cd $(B)/deb/source && env -u MAKEFLAGS -u MAKELEVEL -u MFLAGS -u SANITIZE -u LIBFUZZER -u COVERAGE -u CFLAGS -u DESTDIR \
		dpkg-buildpackage --build=binary --no-sign -j"$$(nproc)"
	rm -rf $(B)/deb/source
	lintian --fail-on error,warning $(B)/deb/certsync_*.changes

# Sources, sums and the list of what is linked, in $(B)/dist; the same bits from a checkout and from what was unpacked of it.
.PHONY: dist
dist: all
	packaging/dist $(B)/dist $(VERSION) $(B)/bin

clean:
	rm -rf build

-include $(shell find $(B) -path '$(B)/matrix' -prune -o -name '*.d' -type f -print 2>/dev/null)
