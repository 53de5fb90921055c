"""Decoding processes: one for each thread that needs one, kept while small, ended with the asking process, replaced."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
from PIL import Image

from memeguard.errors import DamagedImageError, SlowImageError
from memeguard.pictures import process
from memeguard.pictures.process import _Decoders
from memeguard.preprocess import DecodingLimits, decode_image
from tests.memeguard.pictures.bombs import encode, photo

if TYPE_CHECKING:
    from collections.abc import Iterator

STICKER = encode(photo(64, 48, "RGBA"), "WEBP", lossless=True)  # never decoded here
LARGE = encode(Image.new("RGBA", (5000, 5000)), "PNG")  # 100 MB of pixels


@pytest.fixture
def decoders(monkeypatch: pytest.MonkeyPatch) -> Iterator[_Decoders]:
    decoders = _Decoders()
    monkeypatch.setattr("memeguard.pictures.process._decoders", decoders)
    yield decoders
    decoders.end()


def decoding_processes(decoders: _Decoders) -> list[psutil.Process]:
    assert decoders._forker
    return psutil.Process(decoders._forker.pid).children()


def gone(process: psutil.Process | int, within_s: float = 10.0) -> bool:
    end = time.monotonic() + within_s
    while psutil.pid_exists(process if isinstance(process, int) else process.pid):
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def test_a_process_is_kept_for_the_next_picture(decoders: _Decoders) -> None:
    for _ in range(3):
        assert decode_image(STICKER).size == (64, 48)
    assert len(decoding_processes(decoders)) == 1


def test_a_process_that_held_a_large_picture_is_ended(decoders: _Decoders) -> None:
    decode_image(LARGE, wanted_size=224)
    end = time.monotonic() + 10
    while decoding_processes(decoders) and time.monotonic() < end:
        time.sleep(0.01)
    assert not decoding_processes(decoders)


def test_a_process_that_has_decoded_its_last_picture_is_not_asked_again(
    decoders: _Decoders, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every picture is the last one of its process here."""
    start = process._START.replace("serve(", "from memeguard.pictures import child\nchild._MAX_PICTURES = 1\nserve(")
    monkeypatch.setattr(process, "_START", start)
    for _ in range(10):
        assert decode_image(STICKER).size == (64, 48)
    assert not decoders._idle


def test_a_process_outlives_a_damaged_picture(decoders: _Decoders) -> None:
    for _ in range(3):
        with pytest.raises(DamagedImageError):
            decode_image(STICKER[:200])
        assert decode_image(STICKER, limits=DecodingLimits(timeout_s=5.0)).size == (64, 48)
    assert len(decoding_processes(decoders)) == 1


def test_a_process_may_wait_longer_than_a_picture_may_take(decoders: _Decoders) -> None:
    for _ in range(2):
        assert decode_image(STICKER, limits=DecodingLimits(timeout_s=0.2)).size == (64, 48)
        time.sleep(1.0)  # over four times as long
    assert len(decoding_processes(decoders)) == 1


def test_threads_have_a_process_each_and_get_their_own_answers(decoders: _Decoders) -> None:
    pictures = [encode(photo(16 + index, 16, "RGBA"), "WEBP", lossless=True) for index in range(40)]
    with ThreadPoolExecutor(4) as pool:
        sizes = [image.size for image in pool.map(decode_image, pictures)]
    assert sizes == [(16 + index, 16) for index in range(40)]
    assert len(decoding_processes(decoders)) <= 4


@pytest.mark.parametrize("victim", ["forker", "decoder"])
def test_a_killed_process_is_replaced(victim: str, decoders: _Decoders) -> None:
    decode_image(STICKER)
    (decoder,) = decoding_processes(decoders)
    assert decoders._forker
    pid = decoder.pid if victim == "decoder" else decoders._forker.pid
    os.kill(pid, signal.SIGKILL)
    if victim == "decoder":
        assert gone(decoder)  # no zombie, for nobody waits for it
        assert decode_image(STICKER).size == (64, 48)
    else:
        decoders._idle.pop().close()
        assert decode_image(STICKER).size == (64, 48)
    assert len(decoding_processes(decoders)) == 1


def test_a_process_that_forks_no_more_is_replaced(decoders: _Decoders, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was opened for its answer is closed: a warning of a socket left open would fail this."""
    decode_image(STICKER)
    assert decoders._forker
    stuck = decoders._forker.pid
    decoders._idle.pop().close()
    os.kill(stuck, signal.SIGSTOP)
    monkeypatch.setattr(process, "_START_S", 3.0)
    assert decode_image(STICKER).size == (64, 48)
    assert decoders._forker.pid != stuck


def test_a_picture_whose_process_is_killed_is_refused(decoders: _Decoders) -> None:
    decode_image(STICKER)
    (decoder,) = decoding_processes(decoders)
    decoder.suspend()
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(decode_image, STICKER, limits=DecodingLimits(timeout_s=30.0))
        time.sleep(0.1)
        decoder.kill()
        with pytest.raises(SlowImageError, match="ended the decoding process"):
            future.result(timeout=20)


def test_processes_end_with_the_one_that_asks_even_if_it_is_killed(tmp_path: Path) -> None:
    (tmp_path / "sticker").write_bytes(STICKER)
    code = """
import pathlib, sys, time
from memeguard.preprocess import decode_image
decode_image(pathlib.Path(sys.argv[1]).read_bytes())
print("decoded", flush=True)
time.sleep(60)
"""
    asking = [sys.executable, "-c", code, tmp_path / "sticker"]
    with subprocess.Popen(asking, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "decoded\n"
        children = psutil.Process(process.pid).children(recursive=True)
        assert len(children) == 2
        process.kill()
    assert all(gone(child) for child in children)


def test_a_limit_that_the_worker_has_itself_is_kept(tmp_path: Path) -> None:
    (tmp_path / "sticker").write_bytes(STICKER)
    code = """
import pathlib, resource, sys
from memeguard.preprocess import decode_image
resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
sys.exit(decode_image(pathlib.Path(sys.argv[1]).read_bytes()).size != (64, 48))
"""
    subprocess.run([sys.executable, "-c", code, tmp_path / "sticker"], timeout=60, check=True)


def test_a_forked_process_has_decoders_of_its_own(decoders: _Decoders) -> None:
    decode_image(STICKER)
    code = """
import os, pathlib, sys
from memeguard.preprocess import decode_image
data = pathlib.Path(sys.argv[1]).read_bytes()
decode_image(data)
if os.fork() == 0:
    os._exit(0 if decode_image(data).size == (64, 48) else 1)
_, status = os.wait()
sys.exit(os.waitstatus_to_exitcode(status) or decode_image(data).size != (64, 48))
"""
    path = Path(os.environ.get("TMPDIR", "/tmp")) / f"sticker-{os.getpid()}"  # noqa: S108
    path.write_bytes(STICKER)
    try:
        done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, timeout=60, check=False)
    finally:
        path.unlink()
    assert (done.returncode, done.stderr) == (0, b"")
