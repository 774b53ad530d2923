# Every target works on a fresh Debian 12 as root with git and make: it installs what it needs through `deps`.
# NO_INSTALL=1 only prints what is missing.
.DEFAULT_GOAL := help
.PHONY: help deps deps-test deps-bench deps-image preflight build run stop test test-rust test-python test-vm deb image lab-vm bench soak lint licences fuzz evasions captures clean
VENV := .venv
PY := $(VENV)/bin/python
FUZZ_SECONDS ?= 60
SOAK_S ?= 3600
TEST_JOBS ?= 2

help: ## Show this help
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

deps: ## Install Debian packages, Rust, the virtual environment (NO_INSTALL=1: only say what is missing)
	@tools/deps

deps-test:
	@tools/deps test

deps-bench:
	@tools/deps bench

deps-image:
	@tools/deps image

preflight: ## Name what this machine lacks: root, kernel modules, ports, memory, disk
	@tools/preflight

build: deps ## Build the engine into the virtual environment; .venv/bin/sekisho is the command
	@echo "sekisho: building the engine (the first time takes two to five minutes)"
	@cd engine && . ../tools/rust-env && mkdir -p target && PIP_QUIET=1 $(TRAINED) ../$(VENV)/bin/maturin develop --release --locked --quiet -m python/Cargo.toml >target/build.log 2>&1 || { cat target/build.log; exit 1; }
	@grep '^sekisho:' engine/target/build.log || true

run: build preflight ## Start manager, lab and appliance, send attacks, show what was stopped; leaves it running
	@$(VENV)/bin/sekisho demo up

stop: ## Take down all that `make run` started, whatever state it is in
	@test -x $(VENV)/bin/sekisho || { echo "sekisho: nothing was built here, so nothing runs"; exit 0; }; $(VENV)/bin/sekisho demo down

test: deps-test build test-rust test-python ## Run every test: Rust, Python, and with root the namespace tests

test-rust: deps
	@cd engine && . ../tools/rust-env && cargo test --locked --quiet --workspace --exclude sekisho-python

# Two at a time, a file to each: most tests of namespaces wait, for processes to start and for time to pass.
test-python: build
	@$(PY) -m pytest -n $(TEST_JOBS) --dist loadfile --no-loadscope-reorder -m "not alone"
	@$(PY) -m pytest -m alone

deb: deps-image deps ## Build the Debian packages in dist/ (VERSION=… instead of debian/changelog's)
	@echo "sekisho: building the packages (the first time five to ten minutes)"
	@mkdir -p dist && debian/rules clean >dist/deb.log 2>&1 && debian/rules binary $(if $(VERSION),VERSION=$(VERSION)) >>dist/deb.log 2>&1 || { tail -30 dist/deb.log; exit 1; }
	@ls dist/*.deb

image: deb ## Build the appliance's disk image, box, bill of materials and checksums in dist/image/ (as root)
	@SOURCE_DATE_EPOCH=$$(dpkg-parsechangelog -STimestamp) $(PY) -m image.build dist/image "$$(ls -t dist/sekisho_*.deb | head -1)"

test-vm: build $(if $(SHORT),,image) ## Run the tests in emulated machines: the disk image, nft-bridge on Debian's kernel, libvirt (many minutes; SHORT=1: those that take ten)
	@tools/deps $(if $(SHORT),lab,vm) && $(PY) -m tests.vm.image
	@SEKISHO_TEST_VM=$(if $(SHORT),short,all) $(PY) -m pytest -v tests/vm

lab-vm: build ## Bring the lab of vagrant/ up with libvirt alone; then vagrant/lab attack, vagrant/lab down
	@tools/deps lab
	@test -e dist/image/sekisho.qcow2 || $(MAKE) --no-print-directory image
	@vagrant/lab up --libvirt

bench: TRAINED := ../tools/trained
bench: deps-bench build ## Measure beside Suricata; tables, rows and plots in bench/results/ (CORPORA=FOLDER, BENCH='--only inline')
	@$(PY) -m bench $(BENCH)

soak: deps-test build ## Traffic, attacks, reloads and kills at random for SOAK_S seconds (3600; 600 is the short form), as root
	@$(PY) -m tests.soak --seconds $(SOAK_S) $(if $(SEED),--seed $(SEED))

lint: build ## Format check, clippy (the fuzz targets too), ruff, mypy
	@cd engine && cargo fmt --check && cargo clippy --locked --workspace --all-targets -- -D warnings
	@cd engine && cargo clippy --locked --manifest-path fuzz/Cargo.toml -- -D warnings
	@$(VENV)/bin/ruff check . && $(VENV)/bin/mypy appliance manager_api host_helper bench image vagrant

licences: deps ## Fail on a dependency whose licence is not on the list
	@$(PY) tools/licences.py

fuzz: deps-test ## Fuzz every parser for FUZZ_SECONDS each (60); FUZZ_TARGETS='app:tls packets' only those
	@tools/fuzz $(FUZZ_SECONDS) $(FUZZ_TARGETS)

evasions: deps-test build ## Play every permutation of the network evasions against a Linux guest (as root)
	@SEKISHO_EVASIONS=all $(PY) -m pytest -q tests/netns/evasion

captures: deps-test build ## Speak every captured attack again between live guests, with steering on (as root)
	@SEKISHO_CAPTURES=all $(PY) -m pytest -s -q tests/netns/test_steering_captures.py

clean: ## Remove what was built
	rm -rf engine/target engine/fuzz/target $(VENV) appliance/_engine*.so
