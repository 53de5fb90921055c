# make serve · test · check · fuzz · audit · soak · faults · scale · bench · bench-gpu; each sets up .venv first, by itself.
.PHONY: serve demo starter test test-containers fuzz audit soak faults check format scale bench bench-gpu clean
.DEFAULT_GOAL := serve

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin

# pip alone finds the CPU build of torch where the registry has one; constraints.txt pins every version.
.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

# exec: a signal to make's child reaches memeguard itself, not a shell in between.
MODEL_STORE ?= model_store
serve: .venv/installed
	@$(BIN)/memeguard starter --if-empty --model-store $(MODEL_STORE)
	@exec $(BIN)/memeguard serve --model-store $(MODEL_STORE) $(ARGS)

demo: .venv/installed
	$(BIN)/memeguard demo

# Rebuilds the compact CLIP and the starter bundle from the memes in DATA, in REBUILT; see starter/README.md.
REBUILT ?= run/starter
starter: .venv/installed
	$(BIN)/python -m starter --data $(DATA) --work $(REBUILT) --out $(REBUILT)/compact
	$(BIN)/memeguard train --data $(DATA) --backbone $(REBUILT)/compact --out $(REBUILT)/bundle --resume \
	  --tune lora --lora-rank 16 --backbone-lr 1e-3 --epochs 5 --augment --averaging 0.99 \
	  --precision bf16 --storage fp16 --folds 0
	$(BIN)/python -m starter.measure --data $(DATA) --model $(REBUILT)/bundle

test: .venv/installed
	$(BIN)/pytest $(ARGS)

# Builds both image targets and asks them, with a Docker engine or the program IMAGE_BUILDER names (see the test).
test-containers: .venv/installed
	$(BIN)/pytest tests/containers $(ARGS)

# Feeds mutated pictures, forms, texts, data, bundles, archives and cards to their readers; eight minutes, findings in run/fuzz.
fuzz: .venv/installed
	$(BIN)/python -m tests.fuzz $(ARGS)

# Looks for known holes: bandit, licences, TorchServe's jar, and pip-audit where a source of advisories can be reached.
audit: .venv/installed
	$(BIN)/python -m tests.audit

# Loads a server at 80 % of its capacity for 30 minutes, then at 300 % for 5, and judges answers and memory.
soak: .venv/installed
	@exec $(BIN)/python -m tests.soak $(ARGS)

# Kills, stops and starves each part of a running server under light load; every heal, loss and /readyz is judged.
faults: .venv/installed
	$(BIN)/pytest tests/e2e/test_faults.py --every-fault $(ARGS)

check: .venv/installed
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/installed
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

# Trains on 10,000 and on 1,000,000 drawn memes and prints the peak memory of each; half an hour, 4 GB of disk.
scale: .venv/installed
	$(BIN)/python benchmarks/training_scale.py $(ARGS)

# Compares serving with the original's design and other model servers, in run/bench; half an hour, 8 GB of disk for them.
bench: .venv/installed
	@exec $(BIN)/python -m benchmarks.serving $(ARGS)

# What a CUDA device makes of this project's server, in run/bench-gpu; three minutes.
bench-gpu: .venv/installed
	@exec $(BIN)/python -m benchmarks.serving.gpu $(ARGS)

clean:
	rm -rf .venv run data/demo bundles/demo .mypy_cache .ruff_cache .pytest_cache
