# Every target sets up what it needs on a machine with Python >= 3.11, git, make and a C compiler.
PYTHON ?= python3
VENV   := .venv
PY     := $(VENV)/bin/python
READY  := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help dev test lint format bench clients gpu-check cluster-up cluster-status record-api cluster-down e2e e2e-dev campaign-kill-nine campaign-crash campaign-fuzz campaign-kpa images release stubs lock clean

help: ## what each target does
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(READY): requirements/dev.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "knative-mig needs Python 3.11 or newer; try make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

dev: $(READY) ## the whole system on this machine, without a cluster or a GPU (ARGS='--gpus 1xH100-80GB'; --help)
	@$(PY) -m compileall -q knative_mig activator_hooks reconfigurer services
	@$(VENV)/bin/knative-mig dev $(ARGS)

# The tests of the core, and of the processes that are mostly core: coverage makes all others slower and shows no more,
# and those that are marked `no_cover`, which try the same lines thousands of times.
COVERING := tests/unit/core tests/unit/reconfigurer

# Of the other tests' time three fifths are waits: for processes that start, probes, leases. So there are more workers
# than two cores would keep busy.
WAITING := 6

# A test's processes would else compile our code anew, each of them, where nothing may be kept of it.
test: export PYTHONDONTWRITEBYTECODE =
# The workers have the cores: a thread of linear algebra more on each only waits for the others, and spins while it does.
test: export OPENBLAS_NUM_THREADS = 1
test: $(READY) ## unit, property and contract tests, with the branch coverage of the core
	$(PY) -m pytest $(COVERING) --numprocesses=auto --dist=worksteal --cov=knative_mig/core --cov-report=
	@echo "branch coverage of the core (the bar is 95 %):"
	$(PY) -m coverage report --include='knative_mig/core/*' --fail-under=95
	$(PY) -m pytest $(COVERING:%=--ignore=%) --numprocesses=$(WAITING) --dist=load --maxschedchunk=1

lint: $(READY) ## ruff, mypy strict, import contracts
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(VENV)/bin/lint-imports

format: $(READY) ## rewrite the code in the project's format
	$(PY) -m ruff format .
	$(PY) -m ruff check --fix .

bench: $(READY) ## every benchmark, with the figures that docs/benchmarks.md quotes; the last one boots the test cluster (root, Go)
	$(PY) -m bench.planner
	$(PY) -m bench.reconfigure
	$(PY) -m bench.planner_process
	$(PY) -m bench.serving
	$(PY) -m bench.dev
	$(PY) -m bench.coldstart

clients: $(READY) ## build the real kubectl and kn, which the tests of `dev` use where they are built (Go; minutes, once)
	$(PY) -m tests.dev.binaries

gpu-check: $(READY) ## read this machine's GPUs over NVML, check what was read and keep a capture; changes nothing
	$(PY) -m tests.contract.gpu_check

cluster-up: $(READY) ## boot a real Kubernetes + Knative here (root, Go; EVENTING=1 adds Knative Eventing)
	$(PY) -m tests.cluster.testbed up $(if $(EVENTING),--eventing)

cluster-status: $(READY) ## what of the test cluster is healthy, and why not
	$(PY) -m tests.cluster.testbed status

record-api: $(READY) ## write what the real API server answers to kubectl, kn and the Python library (cluster-up EVENTING=1 first)
	$(PY) -m tests.cluster.record_api

cluster-down: $(READY) ## remove everything that cluster-up made
	$(PY) -m tests.cluster.testbed down

e2e-dev: $(READY) ## the suite on `knative-mig dev`, with the real kn, kubectl, curl and openai (Go, once; E2E=pytest's words)
	$(PY) -m tests.dev_suite $(E2E)

e2e: $(READY) ## e2e-dev, then the suite on a real cluster that comes and goes with it (KEEP=1: stays; KIND=1: on kind; E2E=)
	$(if $(KIND)$(E2E),,$(PY) -m tests.dev_suite)
	$(PY) -m tests.cluster.e2e $(if $(KEEP),--keep) $(if $(KIND),--kind) $(E2E)

campaign-kill-nine: $(READY) ## kill -9 cluster-up at ROUNDS random moments (10): the next one works, cluster-down leaves nothing
	$(PY) -m tests.cluster.kill_nine --rounds $(or $(ROUNDS),10) --seed $(or $(SEED),1)

campaign-crash: $(READY) ## kill agent and planner before and after each of their calls, or at POINTS of them: the next one puts all right
	$(PY) -m tests.crash_campaign $(if $(POINTS),--points $(POINTS)) --seed $(or $(SEED),1) --jobs $(or $(JOBS),2)

campaign-fuzz: $(READY) ## send REQUESTS (100000) to the planner's event sink and the webhook, half of them a change from valid (SEED=)
	$(PY) -m tests.fuzz_campaign --requests $(or $(REQUESTS),100000) --seed $(or $(SEED),1)

campaign-kpa: $(READY) ## SERIES (2000) histories of a function, of 300 ticks and more, to our autoscaler and to Knative's own (Go; SEED=)
	$(PY) -m tests.kpa_campaign --series $(or $(SERIES),2000) --seed $(or $(SEED),1)

# Our image, and the one file that installs a release. Both need Docker with buildx and a registry that may be pushed to.
KUBECTL   ?= kubectl
PLATFORMS ?= linux/amd64
VERSION   ?= $(shell git describe --tags --always --dirty)
IMAGE      = $(REGISTRY)/knative-mig

images: ## build our image and push it: make images REGISTRY=registry.example/team (PLATFORMS=, VERSION=)
	@docker buildx version >/dev/null 2>&1 || { echo "make $@ needs Docker with buildx, which is not here" >&2; exit 1; }
	@test -n "$(REGISTRY)" || { echo "say where the image goes: make $@ REGISTRY=registry.example/team" >&2; exit 1; }
	@mkdir -p build
	docker buildx build --push --platform $(PLATFORMS) --tag $(IMAGE):$(VERSION) --metadata-file build/image.json .

release: images ## build/release.yaml: all that installs, with the image by its digest (REGISTRY= as above)
	@mkdir -p build/release
	@$(PYTHON) -c 'import json; print(json.load(open("build/image.json"))["containerimage.digest"])' > build/release/digest
	@printf '%s\n' 'resources: [../../config/overlays/nvidia]' 'images:' '  - name: knative-mig' \
	  "    newName: $(IMAGE)" "    digest: $$(cat build/release/digest)" > build/release/kustomization.yaml
	$(KUBECTL) kustomize build/release > build/release.yaml
	@echo "build/release.yaml installs $(IMAGE)@$$(cat build/release/digest)"

LOCK := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
  --no-annotate --no-header --no-strip-extras --extra agent pyproject.toml

stubs: $(READY) ## write the messages of the kubelet's gRPC anew from the .proto files
	$(PY) knative_mig/adapters/kubelet/stubs/generate.py

lock: $(READY) ## pin the development environment and what our images hold anew (needs uv)
	$(LOCK) --group dev --output-file requirements/dev.txt
	$(LOCK) --constraint requirements/dev.txt --output-file requirements/runtime.txt

clean: ## remove what the other targets made in this folder
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage dist build
