# make run and make test do all the set-up; make help lists the rest.
.DEFAULT_GOAL := help
SHELL := /bin/bash
JOBS ?= $(shell nproc)
ARGS ?=
# CUDA=no: without CUDA also where a card is. ARCHS: CUDA architectures of `make cuda` and `make dist`. TESTS=1: tests in the folder of `make dist`.
export CUDA ARCHS TESTS

.PHONY: help setup build run test tests check format bench cuda dist soak fresh asan tsan clean

help: ## this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort | expand -t 12

setup: ## install missing Debian packages (sudo only if not root)
	@tools/setup

build: setup ## build the program: build/redline (with CUDA where a card is; CUDA=no: without)
	@tools/build cpu

run: build ## measure this machine: every experiment, one report (ARGS="--full" for more)
	@build/redline run $(ARGS)

tests: setup ## build the program and its tests
	@tools/build release

test: tests ## run the tests (at most 5 minutes on 2 cores after the build)
	@ctest --test-dir build --output-on-failure -j $(JOBS) $(ARGS)

check: tests ## format, layering, self-contained headers, documentation
	@tools/check

format: ## format all C++ and CUDA sources
	@git ls-files '*.h' '*.cpp' '*.cu' '*.cuh' | xargs clang-format -i

bench: build ## prefill and decode rates beside what the machine reaches
	@tools/bench/bench $(ARGS)

cuda: setup ## build with CUDA, no card needed: build/cuda/redline (ARCHS=120a for one architecture)
	@tools/build cuda

dist: setup ## a folder to copy to other machines: dist/ (ARCHS=90a for one architecture, TESTS=1 with the tests for a card)
	@tools/dist

soak: tests ## long tests by hand: soak, fuzz, kill sweeps; keeps its log in docs/results/
	@tools/soak/soak $(ARGS)

# Long under sanitizers, and made of kernels and an engine that other tests try: Levels/Variants on the cases meant for it.
LONG := EveryVariantAgreesWithTheOracle|TheOracleOfLongSequences|AnotherProgramFindsTheSameFigures|LogitsOfAFileAreTheGoldenOnes|DemoText|DemoFormats
asan: setup ## the unit tests under address and undefined-behaviour sanitizers (ALL=1: long ones, experiments and the program too)
	@tools/build asan $(if $(ALL),,unit_tests) && ctest --test-dir build/asan --output-on-failure -j $(JOBS) $(if $(ALL),,-L unit -E '$(LONG)') $(ARGS)

tsan: setup ## the tests of threads under the thread sanitizer
	@tools/build tsan unit_tests && ctest --test-dir build/tsan --output-on-failure -R 'ThreadPool|Linear|Attention' $(ARGS)

fresh: ## run make run and make test in an empty Debian root, with and without network (needs root)
	@tools/fresh

clean: ## remove everything built
	@rm -rf build dist
