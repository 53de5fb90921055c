"""The servers get an allow-list of environment variables."""

from __future__ import annotations

import pytest

from rollout.environment import EnvironmentNameError, select_environment

SECRETS = (
    *("MYSQL_PWD", "PRIVATE_KEY", "AWS_ACCESS_KEY_ID", "GITHUB_PAT", "DATABASE_URL", "HF_TOKEN", "HTTPS_PROXY"),
    *("NVIDIA_API_KEY", "CUDA_AUTH", "TORCH_TOKEN", "MEMEGUARD_PASSWORD", "omp_secret", "XOMP_NUM_THREADS"),
)


@pytest.mark.parametrize("name", SECRETS)
def test_what_may_be_a_secret_stays_here(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "a secret")
    assert "a secret" not in select_environment().values()


@pytest.mark.parametrize("name", ["PATH", "HOME", "LC_ALL", "OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "MKL_CBWR"])
def test_what_a_worker_needs_is_passed_on(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "needed")
    assert select_environment()[name] == "needed"


def test_a_variable_is_passed_on_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "a secret")
    assert select_environment(["DATABASE_URL"])["DATABASE_URL"] == "a secret"


def test_a_name_that_is_not_set_is_refused() -> None:
    with pytest.raises(EnvironmentNameError, match="--pass-env NO_SUCH_NAME: there is no variable of that name"):
        select_environment(["NO_SUCH_NAME"])


@pytest.mark.parametrize("name", ["PYTHONPATH", "TS_CONFIG_FILE", "TMPDIR"])
def test_what_would_replace_the_archives_code_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "/evil")
    with pytest.raises(EnvironmentNameError, match=f"--pass-env {name}: it would replace"):
        select_environment([name])
