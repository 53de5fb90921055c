"""A job that is interrupted anywhere and resumed writes the same bytes as one that never stopped."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.scoring.conftest import draw, score, start, write_list

if TYPE_CHECKING:
    import subprocess

NUM = 5_000


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five chunks; read only."""
    return write_list(tmp_path_factory.mktemp("source") / "memes", NUM)


@pytest.fixture(scope="module", params=["csv", "parquet"])
def whole(request: pytest.FixtureRequest, source: Path, bundle_folder: Path,
          tmp_path_factory: pytest.TempPathFactory) -> Path:  # fmt: skip
    """The output of a job that was not interrupted; read only."""
    out = tmp_path_factory.mktemp("whole") / f"verdicts.{request.param}"
    process = start(source, bundle_folder, out)
    assert (process.communicate(timeout=200)[0], process.returncode)[1] == 3
    return out


def wait_for_rows(process: subprocess.Popen[str], out: Path, num_entries: int) -> None:
    """Until the journal has so many entries, or the process is over."""
    journal = out.with_name(f".{out.name}.partial") / "journal.jsonl"
    while process.poll() is None:
        if journal.exists() and len(journal.read_bytes().splitlines()) >= num_entries:
            return
        time.sleep(0.001)


def test_a_job_killed_again_and_again_writes_the_same_bytes(
    source: Path, bundle_folder: Path, whole: Path, tmp_path: Path
) -> None:
    out = tmp_path / whole.name
    num_killed = 0
    for num_entries, delay_s in ((1, 0.0), (2, 0.05), (5, 0.02)):
        process = start(source, bundle_folder, out)
        wait_for_rows(process, out, num_entries)
        time.sleep(delay_s)
        process.kill()
        process.communicate()
        num_killed += process.returncode == -signal.SIGKILL
        assert num_killed == 0 or out.exists() or (tmp_path / f".{out.name}.partial").exists()
    assert num_killed >= 2
    process = start(source, bundle_folder, out)
    _, errors = process.communicate(timeout=200)
    assert process.returncode == 3
    assert "resuming after " in errors or "is complete" in errors
    assert out.read_bytes() == whole.read_bytes()
    assert out.with_name(f"{out.name}.json").read_bytes() == whole.with_name(f"{out.name}.json").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == [out.name, f"{out.name}.json"]


@pytest.mark.parametrize("event", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_says_how_to_resume(
    source: Path, bundle_folder: Path, tmp_path: Path, event: signal.Signals
) -> None:
    out = tmp_path / "verdicts.csv"
    process = start(source, bundle_folder, out)
    wait_for_rows(process, out, 2)
    begun = time.monotonic()
    process.send_signal(event)
    _, errors = process.communicate(timeout=60)
    assert time.monotonic() - begun < 10
    assert process.returncode == {signal.SIGINT: 1, signal.SIGTERM: 143}[event]
    assert "interrupted; run the same command again to resume" in errors
    assert "Traceback" not in errors
    assert not out.exists()


@pytest.fixture
def interrupted(bundle_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The output of a job; one chunk of two was written before the disk was full."""
    write_list(tmp_path / "memes", 1500)
    out = tmp_path / "verdicts.csv"
    with monkeypatch.context() as patch:
        from scoring.partial_output import PartialOutput  # noqa: PLC0415

        append, calls = PartialOutput.append, []

        def fail_third(self: PartialOutput, *arguments: object) -> None:
            calls.append(arguments)
            if len(calls) == 3:  # header, first chunk, this
                raise OSError(28, "No space left on device")
            append(self, *arguments)  # type: ignore[arg-type]

        patch.setattr(PartialOutput, "append", fail_third)
        result = score(tmp_path / "memes" / "list.csv", bundle_folder, out)
    assert "No space left on device" in result.output
    return out


def test_what_was_torn_is_cut_off(interrupted: Path, bundle_folder: Path, tmp_path: Path) -> None:
    partial = tmp_path / ".verdicts.csv.partial"
    for name in ("rows.csv", "journal.jsonl"):
        with (partial / name).open("ab") as file:
            file.write(b'{"num_memes": 1100, "num_')
    source = tmp_path / "memes" / "list.csv"
    result = score(source, bundle_folder, interrupted)
    assert result.exit_code == 3
    assert "resuming after 1,024 of 1,500 memes" in result.stderr
    score(source, bundle_folder, tmp_path / "other.csv")
    assert interrupted.read_bytes() == (tmp_path / "other.csv").read_bytes()


def test_another_job_is_not_resumed(interrupted: Path, bundle_folder: Path, tmp_path: Path) -> None:
    source = tmp_path / "memes" / "list.csv"
    rows = tmp_path / ".verdicts.csv.partial" / "rows.csv"
    before = rows.read_bytes()
    result = score(source, bundle_folder, interrupted, "--batch-size", 7)
    assert result.exit_code == 1
    assert "holds an interrupted job of another kind: batch_size was 32, now it is 7" in result.output
    source.write_bytes(source.read_bytes() + b"0.png,one more\r\n")
    result = score(source, bundle_folder, interrupted)
    assert "source_sha256 was" in result.output
    assert rows.read_bytes() == before
    result = score(source, bundle_folder, interrupted, "--no-resume")
    assert result.exit_code == 3
    assert "resuming" not in result.output
    assert json.loads(interrupted.with_name("verdicts.csv.json").read_text())["job"]["memes"] == 1501


@pytest.mark.parametrize("num_removed", [0, 1, 2])
def test_rows_that_are_half_dropped_are_not_taken_for_another_jobs(
    interrupted: Path, bundle_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, num_removed: int
) -> None:
    arguments = (tmp_path / "memes" / "list.csv", bundle_folder, interrupted, "--batch-size", 7)
    unlink, removed = Path.unlink, []

    def fail_at_last(path: Path, **options: bool) -> None:
        if len(removed) == num_removed:
            raise OSError(5, "Input/output error")
        removed.append(path)
        unlink(path, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", fail_at_last)
        assert "Input/output error" in score(*arguments, "--no-resume").output
    result = score(*arguments)
    assert result.exit_code == 1
    assert "holds an interrupted job of another kind: batch_size was 32, now it is 7" in result.output
    assert score(*arguments, "--no-resume").exit_code == 3


def test_lost_rows_are_noticed(interrupted: Path, bundle_folder: Path, tmp_path: Path) -> None:
    rows = tmp_path / ".verdicts.csv.partial" / "rows.csv"
    rows.write_bytes(rows.read_bytes()[:-1])
    result = score(tmp_path / "memes" / "list.csv", bundle_folder, interrupted)
    assert result.exit_code == 1
    assert "rows.csv is damaged" in result.output


def test_a_finished_output_is_never_overwritten(bundle_folder: Path, tmp_path: Path) -> None:
    memes = tmp_path / "memes"
    memes.mkdir()
    (memes / "a.png").write_bytes(draw(0))
    out = tmp_path / "verdicts.csv"
    assert score(memes, bundle_folder, out).exit_code == 0
    before = (out.read_bytes(), out.stat().st_mtime_ns)
    result = score(memes, bundle_folder, out)
    assert result.exit_code == 0
    assert "is complete" in result.output
    for more in (("--batch-size", 3), ("--no-resume", "--batch-size", 3)):
        result = score(memes, bundle_folder, out, *more)
        assert result.exit_code == 1
        assert "exists already and is never overwritten" in result.output
    (memes / "a.txt").write_text("now with a caption")
    assert score(memes, bundle_folder, out).exit_code == 1
    assert (out.read_bytes(), out.stat().st_mtime_ns) == before
    out.with_name("verdicts.csv.json").unlink()
    assert "exists already and is never overwritten" in score(memes, bundle_folder, out).output
    foreign = tmp_path / "other.csv"
    foreign.write_text("mine")
    assert score(memes, bundle_folder, foreign).exit_code == 1
    assert foreign.read_text() == "mine"
    (tmp_path / "third.csv.json").write_text("mine")
    assert score(memes, bundle_folder, tmp_path / "third.csv").exit_code == 1
    assert (tmp_path / "third.csv.json").read_text() == "mine"
    assert not (tmp_path / ".third.csv.partial").exists()


def test_two_do_not_write_one_file(source: Path, bundle_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "verdicts.csv"
    process = start(source, bundle_folder, out)
    wait_for_rows(process, out, 1)
    result = score(source, bundle_folder, out)
    process.kill()
    process.communicate()
    assert result.exit_code == 1
    assert "another process is scoring into it" in result.output
