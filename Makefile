# Holdline: everything is built, tested and run from here; `make help` lists the targets.
#
# One graph for all variants: build/VARIANT holds that variant's objects, libraries and programs, so
# that release, asan, tsan, fuzz and coverage stand side by side. Sources are found by place:
#   PROGRAM/**/*.c                   libPROGRAM.a, and PROGRAM/main.c the program itself
#   common/**/*.c                    libcommon.a, linked into everything
#   tests/unit/PROGRAM/**/test_*.c   one cmocka program each, linked with libPROGRAM.a
#   tests/fuzz/fuzz_NAME.c           one fuzzer each; a plain main unless VARIANT=fuzz
#   tests/bench/NAME/*.c             one program of the benchmarks each
#   tests/model/*.c                  one program, which answers what models written in Python ask
# The rest of tests/unit and tests/fuzz is shared by the tests.

VARIANT  ?= release
VARIANTS := release asan tsan fuzz coverage
PROGRAMS := proxy mapperd mapctl
PREFIX   ?= /usr/local
share     = $(DESTDIR)$(PREFIX)/share/holdline
man       = $(DESTDIR)$(PREFIX)/share/man/man8
# Debian's own: another python3 earlier in PATH does not see Debian's python3-* packages.
PYTHON   := /usr/bin/python3

ifeq ($(filter $(VARIANT),$(VARIANTS)),)
$(error VARIANT=$(VARIANT) is unknown; one of: $(VARIANTS))
endif

binary_proxy   := holdline-proxy
binary_mapperd := holdline-mapperd
binary_mapctl  := mapctl

# The proxy has no database client: that it does not even link one is part of the design.
libs_proxy   := -lssl -lcrypto -lev -lconfuse
libs_mapperd := -lpq -llmdb -lev -lconfuse -lcrypto
libs_mapctl  := -lpq -lcsv -lconfuse -ljansson -lmicrohttpd -lssl -lcrypto -lev
# mapctl check decides by the proxy's own code.
also_mapctl  := proxy
libs_common  := -lev -lconfuse -lcrypto
libs_all     := -lssl -lcrypto -lpq -lcsv -llmdb -lev -lconfuse -ljansson -lmicrohttpd

MAKEFLAGS += -j$(shell nproc)

# ---- Flags ---------------------------------------------------------------------------------------

WARNINGS := -Wall -Wextra -Wshadow -Wconversion -Wswitch-enum $(if $(filter 1,$(WERROR)),-Werror)
# libev's watchers are one object seen through several struct types: no aliasing by type.
CFLAGS_all := -std=gnu11 -D_GNU_SOURCE -g -pthread -fno-strict-aliasing -fno-common $(WARNINGS) \
              -I. -isystem /usr/include/postgresql
LDFLAGS_all := -pthread -Wl,--as-needed
SANITIZE   := address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer

cc_release  := gcc
cc_asan     := gcc
cc_tsan     := gcc
cc_fuzz     := clang
cc_coverage := gcc

packages_gcc   := packages-build
packages_clang := packages-test

# _FORTIFY_SOURCE weakens ASan, so it is for release alone.
# The sanitizers' reports need functions and lines, no more: -g1 takes a third off gcc's time. gold,
# which comes with binutils, links five times as fast as the linker that what is installed gets.
tested := -fuse-ld=gold
cflags_release  := -O2 -fPIE -fstack-protector-strong -fstack-clash-protection -D_FORTIFY_SOURCE=2
ldflags_release := -pie -Wl,-z,relro,-z,now
cflags_asan     := -O1 -g1 -fsanitize=$(SANITIZE)
ldflags_asan    := -fsanitize=$(SANITIZE) $(tested)
cflags_tsan     := -O1 -g1 -fsanitize=thread -fno-omit-frame-pointer
ldflags_tsan    := -fsanitize=thread $(tested)
cflags_fuzz     := -O1 -fsanitize=fuzzer-no-link,$(SANITIZE)
ldflags_fuzz    := -fsanitize=$(SANITIZE) $(tested)
cflags_coverage := -O0 --coverage
ldflags_coverage := --coverage

# Which build it is. Where git can't say (a tarball; root, in somebody else's folder), what was
# said last; a packager writes make VERSION=1.2.
VERSION := $(or $(shell git describe --tags --always --dirty 2>/dev/null),$(shell cat build/version 2>/dev/null),unknown)
versioned := proxy/main mapperd/main mapctl/command_line

# ---- Sources -------------------------------------------------------------------------------------

find_c = $(if $(strip $(1)),$(sort $(shell find $(1) -name '*.c' 2>/dev/null)))

src_common   := $(call find_c,common)
src_proxy    := $(filter-out proxy/main.c,$(call find_c,proxy))
src_mapperd  := $(filter-out mapperd/main.c,$(call find_c,mapperd))
src_mapctl   := $(filter-out mapctl/main.c,$(call find_c,mapctl))
# A program counts once it has its main.c.
runnable     := $(foreach p,$(PROGRAMS),$(if $(wildcard $(p)/main.c),$(p)))

binaries      = $(foreach p,$(runnable),build/$(1)/bin/$(binary_$(p)))

src_unit_all := $(call find_c,tests/unit)
src_unit     := $(foreach f,$(src_unit_all),$(if $(filter test_%,$(notdir $(f))),$(f)))
src_fuzz_all := $(call find_c,tests/fuzz)
src_fuzz     := $(foreach f,$(src_fuzz_all),$(if $(filter fuzz_%,$(notdir $(f))),$(f)))
replay_main  := tests/fuzz/replay_main.c
src_testlib  := $(filter-out $(src_unit) $(src_fuzz) $(replay_main),$(src_unit_all) $(src_fuzz_all))
# ThreadSanitizer has a say only in those that start threads: tests/collectors.py runs these alone.
src_unit_threads := $(if $(src_unit),$(shell grep -l pthread_create $(src_unit)))
src_bench    := $(call find_c,$(wildcard tests/bench/*/))
benches      := $(sort $(foreach f,$(src_bench),$(word 3,$(subst /, ,$(f)))))
src_model    := $(call find_c,tests/model)

sources := $(src_common) $(foreach p,$(PROGRAMS),$(src_$(p)) $(wildcard $(p)/main.c)) \
           $(src_unit) $(src_testlib) $(src_fuzz) $(wildcard $(replay_main)) $(src_bench) $(src_model)

# ---- Targets for people --------------------------------------------------------------------------

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SECONDARY:
.SUFFIXES:
.PHONY: all programs deps check test demo run lab lab-down lab-restart bench benches lint fuzz coverage \
        bare install schema clean help FORCE

## all: build the programs (VARIANT=release, asan, tsan, fuzz, coverage; WERROR=1)
all: programs

programs: programs-$(VARIANT)

## deps: install every Debian package that some target needs
deps:
	@packages/install build test demo bench

## check: the unit tests and fuzz seeds, in less than a minute
check: packages-build packages-test programs-asan units-asan fuzzers-asan
	@$(PYTHON) tests/run --quick $(if $(T),-k '$(T)')

## test: everything, with a count as the last line (T=pattern selects by name)
test: packages-build packages-test all benches programs-asan units-asan fuzzers-asan programs-tsan \
      units-tsan fuzzers-fuzz
	@$(PYTHON) tests/run $(if $(T),-k '$(T)')

## demo: two baresip phones register and call each other, on a private stack; ends by itself
demo: packages-build packages-demo all
	@$(PYTHON) -m tests.lab.demo

## run: the same stack in the foreground until Ctrl-C, its data in ./data (DATA=folder)
run: packages-build packages-demo all
	@exec $(PYTHON) -m tests.lab.run "$(or $(DATA),data)"

## lab: start a private stack in LAB=folder, in the background (WORKERS=n, VARIANT=…); see LAB/env
lab: packages-build packages-demo all
	@exec $(PYTHON) -m tests.lab up "$(need_lab)" --variant $(VARIANT) --workers $(or $(WORKERS),2)

## lab-down: stop the stack of LAB=folder
lab-down:
	@exec $(PYTHON) -m tests.lab down "$(need_lab)"

## lab-restart: restart ONLY=proxy or ONLY=mapperd of LAB=folder and write its env anew
lab-restart:
	@exec $(PYTHON) -m tests.lab restart "$(need_lab)" "$(need_only)"

## bench: measure against the peers (ONLY=name)
bench: packages-build packages-demo packages-bench all benches
	@tests/bench/run $(ONLY)

## coverage: lines and branches that the tests of the deciding code walk
coverage: packages-build packages-test units-coverage
	@tests/coverage/coverage

## lint: format, include direction, static analysis
lint: packages-build packages-test
	@tests/lint/lint

## fuzz: run one fuzzer for long (TARGET=name TIME=seconds)
fuzz: packages-build packages-test fuzzers-fuzz
	@$(PYTHON) tests/fuzz/run.py "$(or $(TARGET),all)" --seconds $(or $(TIME),60)

## bare: README's commands on a bare Debian 12 made by debootstrap (root; BARE="demo test")
bare: packages-bare
	@tests/bare/bare $(or $(BARE),demo test)

## install: programs, man pages, configuration samples and units into DESTDIR and PREFIX (/usr/local)
install: programs
	install -d $(DESTDIR)$(PREFIX)/bin $(share)/etc $(share)/migrations $(man)
	install -m 0755 $(call binaries,$(VARIANT)) $(DESTDIR)$(PREFIX)/bin
	cp -R etc/. $(share)/etc
	cp -R migrations/. $(share)/migrations
	for p in proxy mapperd; do \
	    build/$(VARIANT)/bin/holdline-$$p --help-man >$(man)/holdline-$$p.8 || exit; done

## schema: write schema/schema.sql and docs/schema.md anew from the migrations
schema: packages-build packages-demo
	migrations/dump-schema.sh

## clean: remove what was built
clean:
	rm -rf build compile_commands.json

## help: this list
help:
	@sed -n 's/^## \([a-z_.-]*\): /\1|/p' Makefile | \
	while IFS='|' read -r target text; do printf '  make %-22s %s\n' "$$target" "$$text"; done

need_lab  = $(or $(LAB),$(error say where: LAB=folder))
need_only = $(or $(ONLY),$(error say which: ONLY=proxy or ONLY=mapperd))

# ---- Packages ------------------------------------------------------------------------------------

# Asked each time: what is installed is the machine's state, not ours, and asking takes 20 ms.
.PHONY: $(addprefix packages-,build test demo bench bare)
packages-build packages-test packages-demo packages-bench packages-bare:
	@packages/install $(@:packages-%=%)
packages-test packages-demo: packages-build
packages-bench: packages-demo

# ---- Rules, once for each variant ----------------------------------------------------------------

# A stamp changes only when its content does: the flags of objects, the members of an archive.
write_stamp = @mkdir -p $(@D) && { printf '%s\n' '$(1)' | cmp -s - $@ || printf '%s\n' '$(1)' >$@; }

# $(call library,VARIANT,NAME)
define library
build/$(1)/lib/lib$(2).members: FORCE
	$$(call write_stamp,$(src_$(2)))
build/$(1)/lib/lib$(2).a: $(src_$(2):%.c=build/$(1)/obj/%.o) build/$(1)/lib/lib$(2).members
	@rm -f $$@
	@ar rcs $$@ $$(filter %.o,$$^)
endef

# $(call program,VARIANT,NAME)
define program
build/$(1)/bin/$(binary_$(2)): build/$(1)/obj/$(2)/main.o build/$(1)/lib/lib$(2).a \
        $(also_$(2):%=build/$(1)/lib/lib%.a) build/$(1)/lib/libcommon.a
	$$(call link,$(1)) $(libs_$(2))
endef

# $(call unit_test,VARIANT,SOURCE,PROGRAM)
define unit_test
build/$(1)/$(2:.c=): build/$(1)/obj/$(2:.c=.o) build/$(1)/lib/libtestlib.a \
        $(if $(filter $(3),$(PROGRAMS)),build/$(1)/lib/lib$(3).a) \
        $(also_$(3):%=build/$(1)/lib/lib%.a) build/$(1)/lib/libcommon.a
	$$(call link,$(1)) -lcmocka $(libs_$(3))
endef

# $(call fuzzer,VARIANT,SOURCE): every library, since its name does not say whose code it feeds
define fuzzer
build/$(1)/$(2:.c=): build/$(1)/obj/$(2:.c=.o) \
        $(if $(filter fuzz,$(1)),,build/$(1)/obj/$(replay_main:.c=.o)) build/$(1)/lib/libtestlib.a \
        $(PROGRAMS:%=build/$(1)/lib/lib%.a) build/$(1)/lib/libcommon.a
	$$(call link,$(1)) $(if $(filter fuzz,$(1)),-fsanitize=fuzzer) $(libs_all)
endef

# $(call bench_program,VARIANT,NAME)
bench_sources = $(filter tests/bench/$(1)/%,$(src_bench))
define bench_program
build/$(1)/bench/$(2): $(patsubst %.c,build/$(1)/obj/%.o,$(call bench_sources,$(2))) \
        build/$(1)/lib/libtestlib.a $(PROGRAMS:%=build/$(1)/lib/lib%.a) build/$(1)/lib/libcommon.a
	$$(call link,$(1)) $(libs_all) -lcmocka -lm
endef

# $(call model_program,VARIANT)
define model_program
build/$(1)/model/answers: $(src_model:%.c=build/$(1)/obj/%.o) build/$(1)/lib/libproxy.a \
        build/$(1)/lib/libcommon.a
	$$(call link,$(1)) $(libs_proxy)
endef

link = @mkdir -p $(@D) && echo '  LINK $@' && \
       $(cc_$(1)) $(LDFLAGS_all) $(ldflags_$(1)) $(LDFLAGS) -o $@ $(filter %.o %.a,$^)

define variant
build/$(1)/flags: FORCE
	$$(call write_stamp,$(cc_$(1)) $(CFLAGS_all) $(cflags_$(1)) $(CFLAGS) $(ldflags_$(1)) $(LDFLAGS))
build/$(1)/obj/%.o: %.c build/$(1)/flags | $(packages_$(cc_$(1)))
	@mkdir -p $$(@D)
	@echo '  CC   $$@'
	@$(cc_$(1)) $(CFLAGS_all) $(cflags_$(1)) $(CFLAGS) $$(version_define) -MMD -MP -c -o $$@ $$<
$(versioned:%=build/$(1)/obj/%.o): version_define = -DHOLDLINE_VERSION='"$(VERSION)"'
$(versioned:%=build/$(1)/obj/%.o): build/version
$(foreach l,common $(PROGRAMS) testlib,$(eval $(call library,$(1),$(l))))
$(foreach p,$(runnable),$(eval $(call program,$(1),$(p))))
$(foreach t,$(src_unit),$(eval $(call unit_test,$(1),$(t),$(word 3,$(subst /, ,$(t))))))
$(foreach f,$(src_fuzz),$(eval $(call fuzzer,$(1),$(f))))
$(foreach b,$(benches),$(eval $(call bench_program,$(1),$(b))))
$(eval $(call model_program,$(1)))
.PHONY: programs-$(1) units-$(1) fuzzers-$(1)
programs-$(1): $(call binaries,$(1)) $(foreach l,common $(PROGRAMS),build/$(1)/lib/lib$(l).a)
units-$(1): $(patsubst %.c,build/$(1)/%,$(if $(filter tsan,$(1)),$(src_unit_threads),$(src_unit))) \
        $(if $(filter tsan,$(1)),,build/$(1)/model/answers)
fuzzers-$(1): $(src_fuzz:%.c=build/$(1)/%)
-include $(sources:%.c=build/$(1)/obj/%.d)
endef

$(foreach v,$(VARIANTS),$(eval $(call variant,$(v))))

build/version: FORCE
	$(call write_stamp,$(VERSION))

benches: $(benches:%=build/release/bench/%)

## compile_commands.json: for editors and clang-tidy
comma := ,
compile_commands.json: Makefile FORCE
	@{ echo '['; sep=''; for file in $(sources); do \
	    printf '%s{"directory":"%s","file":"%s",\n "command":"clang %s -O1 -c %s"}' \
	        "$$sep" '$(CURDIR)' "$$file" '$(CFLAGS_all)' "$$file"; \
	    sep='$(comma)'; done; echo ']'; } >$@
