"""What a newcomer gets: `make serve` where no archive is, and the starter's answers over HTTP."""

from __future__ import annotations

import json
import tempfile
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
import requests
from sklearn.metrics import roc_auc_score

from memeguard.bundle_files import read_report
from memeguard.torch_runtime import TorchPredictor
from memes.reading import read_split
from tests.docs.pages import find_block
from tests.e2e.conftest import REPOSITORY, Server, run_memeguard, serving
from tests.e2e.test_readme import shell

with warnings.catch_warnings():
    warnings.simplefilter("ignore", ResourceWarning)  # model_archiver/version.py leaves its file open
    from archiving.starter import STARTER_FOLDER, VERSION

if TYPE_CHECKING:
    from collections.abc import Iterator

HARMEME = REPOSITORY.parent / "shared" / "harmeme"  # not a part of the repository
MEME = REPOSITORY / "docs" / "meme.png"
MAX_WORKER_BYTES = 700e6


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model store that `make serve` makes."""
    return tmp_path_factory.mktemp("starter") / "store"


@pytest.fixture(scope="module")
def server(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """`make serve` with an empty model store."""
    with (
        tempfile.TemporaryDirectory(prefix="mg-") as tmp,
        serving(["make", "serve", f"MODEL_STORE={store}"], tmp_path_factory.mktemp("run"), Path(tmp)) as running,
    ):
        yield running
        _, alive = running.stop()
        assert alive == []


def test_an_empty_model_store_is_served_the_starter(server: Server) -> None:
    assert server.worker_pids().keys() == {VERSION}


def test_the_readmes_answers_are_what_it_says(server: Server) -> None:
    answers = [json.loads(line) for line in shell(find_block("run: starter").code, server)]
    expected = [json.loads(line) for line in find_block("answer").code.splitlines()]
    assert answers == [{**each, "probability": pytest.approx(each["probability"], abs=0.02)} for each in expected]
    assert [each["prediction"] for each in answers] == ["Non-offensive", "Offensive"]


@pytest.mark.parametrize("text", ["when mondays", "WHEN MONDAYS", "", "\N{FACE WITH TEARS OF JOY}" * 3, "word " * 900])
def test_any_caption_is_answered_as_the_bundle_answers(server: Server, text: str) -> None:
    predictor = TorchPredictor.from_folder(STARTER_FOLDER)
    expected = predictor.predict([predictor.prepare(MEME.read_bytes(), text)])[0]
    answer = server.predict(MEME.read_bytes(), text).json()
    # A quarter of a logit is what the archive was allowed; bf16 and float32 were seen to differ by a fifth of that.
    assert answer["probability"] == pytest.approx(expected.probability, abs=0.02)
    assert answer["prediction"] == expected.prediction


@pytest.mark.parametrize(
    ("text", "prediction"),
    [("when mondays", "Non-offensive"), ("the president is an idiot who told people to drink bleach", "Offensive")],
)
def test_it_can_say_both(server: Server, text: str, prediction: str) -> None:
    assert server.predict(MEME.read_bytes(), text).json()["prediction"] == prediction


def test_case_changes_nothing(server: Server) -> None:
    lower, upper = (
        server.predict(MEME.read_bytes(), text).json() for text in ("when it is monday", "WHEN IT IS MONDAY")
    )
    assert lower == upper


def test_a_repost_is_counted_and_answered_alike(server: Server) -> None:
    def count(name: str) -> float:
        metrics = requests.get(f"http://127.0.0.1:{server.ports['metrics-port']}/metrics", timeout=10).text
        lines = [line for line in metrics.splitlines() if line.startswith(f"{name}{{") and VERSION in line]
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines)

    before = count("RepostCacheHits"), count("RepostCacheMisses")
    answers = [server.predict(MEME.read_bytes(), "seen once and then again").json() for _ in range(5)]
    assert answers == [answers[0]] * 5
    deadline = time.monotonic() + 10.0  # TorchServe reads its worker's lines in a thread of its own
    while (count("RepostCacheHits"), count("RepostCacheMisses")) != (before[0] + 4, before[1] + 1):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_the_worker_stays_small(server: Server) -> None:
    for number in range(50):
        assert server.predict(MEME.read_bytes(), "when it is monday " * number).status_code == 200
    [pids] = server.worker_pids().values()
    assert max(psutil.Process(pid).memory_info().rss for pid in pids) < MAX_WORKER_BYTES


@pytest.mark.skipif(not HARMEME.is_dir(), reason="HarMeme is not here")
def test_real_memes_are_told_apart_as_well_as_the_report_says(server: Server) -> None:
    memes = list(read_split(HARMEME, "validation", verify_images=False))
    answers = [server.predict(meme.image_path.read_bytes(), meme.text) for meme in memes]
    assert {answer.status_code for answer in answers} == {200}
    probabilities = [answer.json()["probability"] for answer in answers]
    auroc = roc_auc_score([int(meme.label) for meme in memes], [-probability for probability in probabilities])
    assert auroc == pytest.approx(read_report(STARTER_FOLDER)["validation"]["model"]["auroc"], abs=2e-3)
    predictions = {answer.json()["prediction"] for answer in answers}
    assert predictions == {"Offensive", "Non-offensive"}


def test_a_second_starter_is_refused_and_the_first_kept(server: Server, store: Path) -> None:
    before = {path.name: path.read_bytes() for path in store.iterdir()}
    again = run_memeguard("starter", "--model-store", store)
    assert again.returncode == 1
    assert "meme-0.2.2.mar exists already" in again.stderr
    assert run_memeguard("starter", "--if-empty", "--model-store", store).returncode == 0
    assert {path.name: path.read_bytes() for path in store.iterdir()} == before
