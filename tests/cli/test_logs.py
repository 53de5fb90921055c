"""A log is limited in size and rate, and a disk that is full or hangs does not delay the program."""

from __future__ import annotations

import os
import re
import resource
import signal
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from cli import logs
from cli.logs import Log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@contextmanager
def logging_to(path: Path, **options: object) -> Iterator[int]:
    """The writing end of a pipe whose reading end is a log's."""
    reader, writer = os.pipe()
    log = Log(path, os.fdopen(reader, "rb"), **options)  # type: ignore[arg-type]
    yield writer
    os.close(writer)
    log.close()


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_what_is_printed_is_in_the_file_for_its_owner_alone(tmp_path: Path) -> None:
    with logging_to(tmp_path / "log") as writer:
        os.write(writer, b"one\ntwo \xff\x1b[31m\nthe end without a newline")
    assert (tmp_path / "log").read_text("utf-8") == "one\ntwo \ufffd?[31m\nthe end without a newline\n"
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o600


def test_a_later_run_appends(tmp_path: Path) -> None:
    for line in (b"one\n", b"two\n"):
        with logging_to(tmp_path / "log") as writer:
            os.write(writer, line)
    assert (tmp_path / "log").read_text() == "one\ntwo\n"


def test_files_rotate_and_are_bounded_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "MAX_FILE_BYTES", 10_000)
    monkeypatch.setattr(logs, "MAX_BYTES_PER_S", 10**9)
    monkeypatch.setattr(logs, "_NUM_WAITING", 1000)  # however slow the disk is
    monkeypatch.setattr(logs, "_JOIN_S", 30.0)
    with logging_to(tmp_path / "log") as writer:
        for number in range(1000):
            os.write(writer, f"{number:099}\n".encode())
    sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert sizes.keys() == {"log", *(f"log.{number}" for number in range(1, logs.NUM_OLD_FILES + 1))}
    assert max(sizes.values()) <= 10_000
    assert (tmp_path / "log").read_text().splitlines()[-1] == f"{999:099}"


def test_a_flood_is_cut_off_and_counted(tmp_path: Path) -> None:
    began_s = time.monotonic()
    with logging_to(tmp_path / "log") as writer:
        for _ in range(40):
            os.write(writer, b"x" * 999 + b"\n" + b"y" * 99_000 + b"\n")  # 4 MB at once
        time.sleep(1.2)
        os.write(writer, b"after the flood\n")
    text = (tmp_path / "log").read_text("utf-8")
    seconds = time.monotonic() - began_s
    assert len(text) < (seconds + 2) * logs.MAX_BYTES_PER_S  # one second's at once, and room for the notes
    assert re.search(r"… \d+ lines were left out here\nafter the flood\n$", text)


def test_a_disk_that_is_full_holds_nobody_up_and_is_written_to_again(tmp_path: Path) -> None:
    """A limit on the size of files stands in for the disk: the writing fails in the same call."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        with logging_to(tmp_path / "log") as writer:
            os.write(writer, b"first\n")
            wait_until(lambda: (tmp_path / "log").exists() and (tmp_path / "log").stat().st_size > 0)
            resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
            for _ in range(100):
                os.write(writer, b"lost lost\n")
            wait_until(lambda: (tmp_path / "log").stat().st_size == 10)
            time.sleep(0.2)
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
            os.write(writer, b"there is room again\n")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    text = (tmp_path / "log").read_text()
    assert text.startswith("first\n")
    assert "there is room again\n" in text
    assert "lines were left out here" in text


@pytest.mark.timeout(60)
def test_a_disk_that_hangs_holds_nobody_up(tmp_path: Path) -> None:
    """A FIFO that nobody reads stands in for it: the opening never returns."""
    os.mkfifo(tmp_path / "log")
    with logging_to(tmp_path / "log") as writer:
        for _ in range(200):
            os.write(writer, b"z" * 9999 + b"\n")  # 2 MB, thirty times what the pipe holds
    # Without a reader the writing thread waits for ever; it does not keep the program from ending.
    os.close(os.open(tmp_path / "log", os.O_RDWR | os.O_NONBLOCK))


def test_a_link_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "target").touch()
    (tmp_path / "log").symlink_to("target")
    with logging_to(tmp_path / "log") as writer:
        os.write(writer, b"one\n")
    assert (tmp_path / "target").read_bytes() == b""
