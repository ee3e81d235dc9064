# The front door. `make demo` and `make test` do all set-up themselves; `make help` lists the rest.

BOARD  ?= local
HOST   ?=
BUNDLE ?= build/demo/bundle

# Where this is set, each of the many processes that tests start would compile all that it imports anew.
unexport PYTHONDONTWRITEBYTECODE

VENV       := .venv
EDGESPARSE := $(VENV)/bin/edgesparse
BOARD_ARGS := --board $(BOARD) $(if $(HOST),--host $(HOST))

# The newest usable Python, python3 itself first. uv, where it is installed, is used for speed; venv and pip serve as well.
USABLE := import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11 python3.10; do \
	$$python -c '$(USABLE)' 2>/dev/null && command -v $$python && break; done)
UV     ?= $(shell command -v uv)

.DEFAULT_GOAL := help
.PHONY: help setup kernels demo lab deploy bench report test test-faults check bench-agent bench-sampling bench-many bench-kernels bench-peers board board-stop bench-arm lock clean
.DELETE_ON_ERROR:

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## (.*)/make \1|\2/' | awk -F '|' '{ printf "%-18s %s\n", $$1, $$2 }'

setup: kernels  ## .venv with everything in it, as locked, and the kernels

kernels: $(VENV)/.ready  ## compile the sparse kernels for x86_64, aarch64 and armv7l; what has not changed stays
	@$(VENV)/bin/python kernels/build_libraries.py

$(VENV)/.ready: pyproject.toml uv.lock requirements.lock
	@test -n "$(PYTHON)" || { echo "edgesparse needs Python 3.10 to 3.13, found $$(python3 --version 2>&1 || echo none)." \
		"Install one: sudo apt install python3 python3-venv" >&2; exit 1; }
ifneq ($(UV),)
	$(UV) sync --frozen --all-groups --python $(PYTHON)
else
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "$(PYTHON) has no venv module." \
		"Install it: sudo apt install $$($(PYTHON) -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --disable-pip-version-check --progress-bar off --no-deps \
		--ignore-requires-python --requirement requirements.lock
	$(VENV)/bin/python -m pip install --disable-pip-version-check --progress-bar off --no-deps --editable .
endif
	@touch $@

demo: setup  ## the whole path on this machine: train, prune four ways, convert, deploy, measure, compare
	$(EDGESPARSE) demo --out build/demo

lab: setup  ## the hands-on: six patterns of zeros on one CNN, in bytes, accuracy and latency, and a page about it
	$(EDGESPARSE) lab --out build/lab $(BOARD_ARGS)

# The bundle of the demo is made where it is missing; any other has to be there.
build/demo/bundle: | setup
	$(EDGESPARSE) demo --out build/demo --bundle-only

deploy: setup | $(filter build/demo/bundle,$(BUNDLE))  ## push BUNDLE to BOARD (HOST=user@address), check parity there
	$(EDGESPARSE) deploy $(BUNDLE) $(BOARD_ARGS)

bench: setup | $(filter build/demo/bundle,$(BUNDLE))  ## measure BUNDLE on BOARD and stream the readings back
	$(EDGESPARSE) bench $(BUNDLE) $(BOARD_ARGS)

report: setup  ## show the last comparison, and write it as a page, build/report.html
	$(EDGESPARSE) report --last --html build/report.html

# ARGS="-k report" takes some of them; ARGS="--reruns 2" tries again what failed.
test: setup sshd  ## all tests
	$(VENV)/bin/python -m pytest $(ARGS)

test-faults: setup sshd  ## what happens when links, agents, disks and boards fail; ends with the table of it
	$(VENV)/bin/python -m pytest tests/faults $(ARGS)

# The tests of the SSH transport start a real OpenSSH server of their own on a loopback port.
.PHONY: sshd
sshd:
	@test -x /usr/sbin/sshd || { sudo=$$(test "$$(id -u)" = 0 || echo sudo); set -x; \
		$$sudo apt-get install --yes --no-install-recommends openssh-server \
		|| { $$sudo apt-get update && $$sudo apt-get install --yes --no-install-recommends openssh-server; }; }

check: setup  ## ruff, mypy --strict, lock files
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

bench-agent: setup | build/demo/bundle  ## what measuring costs: the agent's latency over a bare loop's, interleaved
	$(VENV)/bin/python -m tests.bench_agent

bench-sampling: setup | build/demo/bundle  ## what reading power sensors costs: latency beside it over latency without, and CPU
	$(VENV)/bin/python -m tests.bench_sampling

# ARGS="--json" prints one JSON document; ARGS="--help" says what else there is: models, patterns, isa, threads, parts.
bench-many: setup sshd  ## 32 boards at once, real SSH servers on this machine, against OpenSSH's scp
	$(VENV)/bin/python -m tests.bench_many

bench-kernels: setup  ## the kernels alone, and whole models against XNNPACK dense and sparse
	@$(MAKE) --silent --no-print-directory -C kernels build/host/es_bench >&2
	@$(VENV)/bin/python -m kernels.bench.suite --delegate "$$($(EDGESPARSE) kernels path)" $(ARGS)

bench-peers: setup  ## the same networks under onnxruntime and OpenVINO, in an environment of their own
	@$(VENV)/bin/python -m kernels.bench.peers --delegate "$$($(EDGESPARSE) kernels path)" $(ARGS)

EMULATED = $(if $(filter virt-%,$(BOARD)),--type $(BOARD))

# KEEP=1 goes on with the disk as it was left, COUNT=1 counts instructions, NETWORK=1 lets the board reach the network.
board: setup  ## boot an emulated ARM board, virt-aarch64 or virt-armv7; the first time its image is built, in minutes
	$(EDGESPARSE) virt start $(EMULATED) $(if $(KEEP),--keep) $(if $(COUNT),--count-instructions) $(if $(NETWORK),--network)

board-stop: | setup  ## power the emulated board off
	$(EDGESPARSE) virt stop $(EMULATED)

# ARGS="--json" prints one JSON document; ARGS="--help" says what else there is: models, patterns.
bench-arm: setup  ## instructions of an inference on the emulated ARM64 board: XNNPACK dense, XNNPACK sparse, csr
	@$(VENV)/bin/python -m kernels.bench.arm $(ARGS)

lock:  ## renew uv.lock and requirements.lock (needs uv)
	uv lock
	uv export --quiet --frozen --all-groups --no-emit-project --no-hashes --no-annotate --no-header -o requirements.lock

clean:  ## remove .venv and what was built
	rm -rf $(VENV) build kernels/build
