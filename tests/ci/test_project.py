"""What the Makefile, pyproject.toml, constraints.txt, the Dockerfile and the hooks say of each other is true."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.audit.licences import runtime_packages

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def pyproject() -> dict[str, Any]:
    return tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))


@pytest.fixture(scope="module")
def shipped(pyproject: dict[str, Any]) -> list[str]:
    """The folders that an installation contains."""
    folders: list[str] = pyproject["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"]
    return folders


def read_lines(name: str) -> list[str]:
    return (REPOSITORY / name).read_text("utf-8").splitlines()


def test_help_has_a_line_for_every_target() -> None:
    command = ["make", "--no-print-directory", "help"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    makefile = (REPOSITORY / "Makefile").read_text("utf-8").replace("\\\n", " ")
    phony = re.findall(r"^\.PHONY:(.*)$", makefile, flags=re.MULTILINE)[0].split()
    assert sorted(line.split()[0] for line in done.stdout.splitlines()) == sorted(phony)
    assert all(len(line.split()) > 2 for line in done.stdout.splitlines())


def test_every_shipped_package_has_its_types(shipped: list[str]) -> None:
    packages = [REPOSITORY / ("handler/memeguard" if folder == "handler" else folder) for folder in shipped]
    assert [package.name for package in packages if not (package / "py.typed").is_file()] == []


def test_the_images_get_every_shipped_folder(shipped: list[str]) -> None:
    assert {f"COPY {folder} {folder}" for folder in shipped} <= set(read_lines("Dockerfile"))
    assert {f"!{folder}" for folder in shipped} <= set(read_lines(".dockerignore"))


def test_nobody_uploads_it_by_mistake(pyproject: dict[str, Any]) -> None:
    assert "Private :: Do Not Upload" in pyproject["project"]["classifiers"]


def test_every_package_it_runs_on_is_pinned_as_installed() -> None:
    pins = dict(line.split("==") for line in read_lines("constraints.txt") if not line.startswith("#"))
    pinned = {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in pins.items()}
    installed = {name: package.version.partition("+")[0] for name, package in runtime_packages().items()}
    # A machine with a GPU has torch's CUDA packages too.
    cuda = re.compile("nvidia-|cuda-|triton$")
    assert {name: version for name, version in installed.items() if not cuda.match(name)}.items() <= pinned.items()


def test_the_hooks_run_programs_of_the_environment() -> None:
    hooks = yaml.safe_load((REPOSITORY / ".pre-commit-config.yaml").read_text("utf-8"))["repos"][0]["hooks"]
    programs = [hook["entry"].split()[0] for hook in hooks]
    assert programs == [".venv/bin/ruff", ".venv/bin/ruff", ".venv/bin/mypy", ".venv/bin/lint-imports"]
    assert all(Path(sys.executable).with_name(Path(program).name).is_file() for program in programs)
