"""TorchServe's launch: settings, environment and command. The end-to-end tests launch it."""

from __future__ import annotations

import itertools
import os
import sys
from pathlib import Path

import pytest

from rollout.torchserve import Launch, TorchServeError, read_properties

REPOSITORY = Path(__file__).parents[2]


def make_launch(tmp_path: Path, *, config: str = "a=1\nb=2\n", **settings: object) -> Launch:
    path = tmp_path / "given.properties"
    path.write_text(config, "utf-8")
    (tmp_path / "run").mkdir(exist_ok=True)
    defaults = {
        "model_store": tmp_path / "store",
        "run_dir": tmp_path / "run",
        "temp_dir": Path("/tmp/ts"),  # noqa: S108 - only named, never made
        "config": path,
        "num_workers": 1,
    }
    return Launch(**{**defaults, **settings})  # type: ignore[arg-type]


def write_properties(tmp_path: Path, content: str | bytes) -> Path:
    path = tmp_path / "config.properties"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_properties_are_names_and_values(tmp_path: Path) -> None:
    content = "# a comment\n\n  # another\na=1\n b = two words \nc=x=y\nd=\n"
    expected = {"a": "1", "b": "two words", "c": "x=y", "d": ""}
    assert read_properties(write_properties(tmp_path, content)) == expected


def test_a_line_that_is_no_property_is_named(tmp_path: Path) -> None:
    path = write_properties(tmp_path, "a=1\n\nnonsense\n")
    with pytest.raises(TorchServeError, match=r"config\.properties, line 3: 'nonsense' does not have the form"):
        read_properties(path)


def test_a_missing_configuration_is_named(tmp_path: Path) -> None:
    with pytest.raises(TorchServeError, match=r"none\.properties cannot be read: .*No such file"):
        read_properties(tmp_path / "none.properties")


def test_a_configuration_that_is_not_text_is_named(tmp_path: Path) -> None:
    with pytest.raises(TorchServeError, match=r"config\.properties cannot be read: .*utf-8"):
        read_properties(write_properties(tmp_path, b"a=\xff\n"))


def test_the_repositorys_own_configuration_is_hardened() -> None:
    settings = read_properties(REPOSITORY / "config.properties")
    off = ("disable_token_authorization", "use_env_allowed_urls", "enable_envvars_config", "install_py_dep_per_model")
    assert {settings[name] for name in off} == {"false"}
    assert settings["allowed_urls"] == ""
    addresses = [settings[f"{name}_address"] for name in ("inference", "management", "metrics")]
    assert all(address.startswith("http://127.0.0.1:") for address in addresses)


def test_overrides_win_and_the_effective_configuration_is_written(tmp_path: Path) -> None:
    launch = make_launch(tmp_path, overrides={"b": "3", "c": "4"})
    expected = {"metrics_config": str(REPOSITORY / "rollout" / "metrics.yaml"), "a": "1", "b": "3", "c": "4"}
    assert launch.write_config() == expected
    assert read_properties(tmp_path / "run" / "config.properties") == expected


def test_the_configuration_may_name_other_metrics(tmp_path: Path) -> None:
    launch = make_launch(tmp_path, config="metrics_config=/etc/metrics.yaml\n", overrides={})
    assert launch.write_config()["metrics_config"] == "/etc/metrics.yaml"


def test_backslashes_reach_java_as_the_file_and_the_overrides_meant_them(tmp_path: Path) -> None:
    r"""Java reads \\ as one backslash: the file's lines are written for Java already, an override is not."""
    make_launch(tmp_path, config="a=\\\\d+\n", overrides={"b": '{"x": "\\u00e9"}'}).write_config()
    written = (tmp_path / "run" / "config.properties").read_text("utf-8").split("\n", 1)[1]  # after metrics_config
    assert written == 'a=\\\\d+\nb={"x": "\\\\u00e9"}\n'


def test_the_command_starts_java_with_the_effective_configuration(tmp_path: Path) -> None:
    command = make_launch(tmp_path, config="vmargs=-Xmx99m -Dx=y\n", overrides={"c": "4"}).command()
    assert Path(command[0]).name == "java"
    assert os.access(command[0], os.X_OK)
    assert command[1:3] == ["-Xmx99m", "-Dx=y"]
    assert "-Djava.io.tmpdir=/tmp/ts" in command
    assert "-ncs" in command
    options = dict(itertools.pairwise(command))
    assert options["--python"] == sys.executable
    assert options["-s"] == str(tmp_path / "store")
    assert read_properties(Path(options["-f"]))["c"] == "4"
    assert "org.pytorch.serve.ModelServer" in command


def test_the_command_names_folders_that_exist(tmp_path: Path) -> None:
    command = make_launch(tmp_path).command()
    (home,) = (word.partition("=")[2] for word in command if word.startswith("-Dmodel_server_home="))
    (log4j,) = (word.partition("=file://")[2] for word in command if word.startswith("-Dlog4j.configurationFile="))
    assert list(Path(home, "ts", "frontend").glob("*.jar"))
    assert Path(log4j).is_file()


def test_relative_folders_are_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Java's working directory is another one."""
    monkeypatch.chdir(tmp_path)
    launch = make_launch(tmp_path, model_store=Path("store"), run_dir=Path("run"))
    options = dict(itertools.pairwise(launch.command()))
    assert options["-s"] == str(tmp_path / "store")
    assert options["-f"] == str(tmp_path / "run" / "config.properties")
    assert launch.environment()["LOG_LOCATION"] == str(tmp_path / "run")


@pytest.mark.parametrize("letter", ["x", "é"])
def test_a_temporary_directory_too_long_for_a_socket_is_refused(tmp_path: Path, letter: str) -> None:
    """A Unix socket's path has 107 bytes at most, of which "/.ts.sock.65535" takes 15."""
    num_bytes = len(letter.encode())
    longest = Path("/" + letter * (91 // num_bytes))
    make_launch(tmp_path, temp_dir=longest).command()
    with pytest.raises(TorchServeError, match=r"is too long: .* would have 1\d\d bytes; the limit is 107\. Set TMPDIR"):
        make_launch(tmp_path, temp_dir=Path(f"{longest}{letter}")).command()


def test_workers_get_what_they_need_of_the_environment_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PYTHONPATH", "TS_CONFIG_FILE", "MYSQL_PWD", "TMPDIR", "LC_TIME", "OPENBLAS_NUM_THREADS"):
        monkeypatch.setenv(name, "given")
    environment = make_launch(tmp_path).environment()
    assert environment["LC_TIME"] == environment["OPENBLAS_NUM_THREADS"] == "given"
    assert environment["PATH"] == os.environ["PATH"]
    assert environment["TMPDIR"] == "/tmp/ts"  # noqa: S108 - only named
    assert not {"PYTHONPATH", "TS_CONFIG_FILE", "MYSQL_PWD"} & environment.keys()
    assert os.environ["PYTHONPATH"] == "given"


def test_a_variable_passed_on_by_name_reaches_workers_whatever_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TorchServe's own blacklist would keep it from them."""
    monkeypatch.setenv("MY_CREDENTIAL", "given")
    launch = make_launch(tmp_path, config="blacklist_env_vars=.*CREDENTIAL.*\n", pass_names=("MY_CREDENTIAL",))
    assert launch.environment()["MY_CREDENTIAL"] == "given"
    assert launch.write_config()["blacklist_env_vars"] == ""


@pytest.mark.parametrize(("num_cores", "num_workers", "threads"), [(8, 1, "8"), (8, 3, "2"), (2, 4, "1"), (2, 0, "2")])
def test_workers_share_the_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, num_cores: int, num_workers: int, threads: str
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(num_cores)))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    launch = make_launch(tmp_path, num_workers=num_workers)
    assert launch.environment()["OMP_NUM_THREADS"] == threads
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert launch.environment()["OMP_NUM_THREADS"] == "5"
