# `make help` lists the targets. Each target sets up .venv first, by itself.
.PHONY: help serve demo starter test test-containers fuzz audit soak faults check format constraints scale bench \
        bench-gpu clean
.DEFAULT_GOAL := serve

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin

# Where torch comes from on a machine without an NVIDIA GPU, if it answers; empty: from wherever pip finds it.
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu

# constraints.txt pins every version.
.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	@.ci/install-cpu-torch $(BIN)/python "$(TORCH_INDEX)"
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

help: ## Print this list.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "%-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# exec: a signal to make's child reaches memeguard itself, not a shell in between.
MODEL_STORE ?= model_store
serve: .venv/installed ## Serve the archives in MODEL_STORE, or the starter, on :5000 (the default target).
	@$(BIN)/memeguard starter --if-empty --model-store $(MODEL_STORE)
	@exec $(BIN)/memeguard serve --model-store $(MODEL_STORE) $(ARGS)

demo: .venv/installed ## Draw memes, train a tiny model on them and archive it; takes a minute.
	$(BIN)/memeguard demo

# See starter/README.md.
REBUILT ?= run/starter
starter: .venv/installed ## Rebuild the compact CLIP and the starter bundle from the memes in DATA, in REBUILT.
	$(BIN)/python -m starter --data $(DATA) --work $(REBUILT) --out $(REBUILT)/compact
	$(BIN)/memeguard train --data $(DATA) --backbone $(REBUILT)/compact --out $(REBUILT)/bundle --resume \
	  --tune lora --lora-rank 16 --backbone-lr 1e-3 --epochs 5 --augment --averaging 0.99 \
	  --precision bf16 --storage fp16 --folds 0
	$(BIN)/python -m starter.measure --data $(DATA) --model $(REBUILT)/bundle

# A process for each of up to four cores; a file's tests stay together, and the long ones, which come early, start early.
IN_PARALLEL := --numprocesses logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder
test: .venv/installed ## Run every test but those that build the images.
	$(BIN)/pytest $(IN_PARALLEL) --ignore tests/containers/test_images.py $(ARGS)

test-containers: .venv/installed ## Build both images and test them, with Docker or the program IMAGE_BUILDER.
	$(BIN)/pytest tests/containers $(ARGS)

check: .venv/installed ## Check style, types and imports; changes nothing.
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/installed ## Format the code and fix what ruff can fix.
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

constraints: ## Write constraints.txt anew, keeping its pins; ARGS=--upgrade takes the newest versions.
	PYTHON=$(PYTHON) TORCH_INDEX="$(TORCH_INDEX)" .ci/constraints $(ARGS)

fuzz: .venv/installed ## Feed mutated input to every reader for eight minutes; findings go to run/fuzz.
	$(BIN)/python -m tests.fuzz $(ARGS)

audit: .venv/installed ## Look for known vulnerabilities and for licences that are not allowed.
	$(BIN)/python -m tests.audit

soak: .venv/installed ## Load a server at 80 % of its capacity for 30 minutes, then at 300 % for 5.
	@exec $(BIN)/python -m tests.soak $(ARGS)

faults: .venv/installed ## Kill, stop and starve each part of a running server under light load.
	$(BIN)/pytest tests/e2e/test_faults.py --every-fault $(ARGS)

scale: .venv/installed ## Measure the memory of training on 10,000 and 1,000,000 memes; half an hour, 4 GB of disk.
	$(BIN)/python benchmarks/training_scale.py $(ARGS)

bench: .venv/installed ## Compare serving with other model servers, in run/bench; half an hour, 8 GB of disk.
	@exec $(BIN)/python -m benchmarks.serving $(ARGS)

bench-gpu: .venv/installed ## Measure serving on a CUDA device, in run/bench-gpu; three minutes.
	@exec $(BIN)/python -m benchmarks.serving.gpu $(ARGS)

clean: ## Remove .venv and everything that commands made, but for model_store.
	rm -rf .venv run data/demo bundles/demo .mypy_cache .ruff_cache .pytest_cache
