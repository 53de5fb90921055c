"""Features computed once give what pixels and tokens give; memes come in order, and what goes wrong is named."""

from __future__ import annotations

import itertools
import sqlite3
import threading
from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from memeguard.torch_runtime import TorchPredictor, collate_memes
from memes.meme import DataError, Label, Meme
from memes.preparing import DECODING_THREADS, check_captions, prepare_memes
from tests.training.full_disk import largest_file
from training import inputs as inputs_module
from training.feature_cache import FeatureCache
from training.inputs import FeatureInputs, PixelInputs, SubsetInputs
from training.loop import predict_logits

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from memeguard.bundle import Bundle
    from memeguard.predictor import PreparedMeme
    from training.inputs import Inputs


class CountingPredictor(TorchPredictor):
    """Knows how often each caption's meme was decoded."""

    def __init__(self, bundle: Bundle) -> None:
        super().__init__(bundle)
        self.num_decoded: Counter[str] = Counter()
        self._lock = threading.Lock()

    def prepare(self, image: bytes | None, text: bytes | str | None) -> PreparedMeme:
        with self._lock:
            self.num_decoded[str(text)] += 1
        return super().prepare(image, text)


@pytest.fixture
def predictor(small_bundle: Bundle) -> CountingPredictor:
    return CountingPredictor(small_bundle)


@pytest.fixture(scope="module")
def memes(demo_splits: dict[str, list[Meme]]) -> list[Meme]:
    """More than one batch of features, each with a caption of its own."""
    memes = demo_splits["train"]
    assert len(memes) == 40
    return [
        Meme(image_path=meme.image_path, text=f"{row} {meme.text}", label=meme.label, file=meme.file, row=meme.row)
        for row, meme in enumerate(memes)
    ]


@torch.no_grad()
def logits_of(predictor: TorchPredictor, inputs: Inputs, *rows: list[int]) -> list[Tensor]:
    network = inputs.network(predictor.classifier)
    return [network(*arguments) for arguments in inputs.batches(map(torch.tensor, rows))]


def test_features_computed_once_give_the_logits_of_the_whole_network(
    predictor: TorchPredictor, memes: list[Meme]
) -> None:
    pixels, features = PixelInputs(predictor, memes), FeatureInputs(predictor, memes, "features")
    assert len(pixels) == len(features) == 40
    rows = ([39, 0, 31, 32, 33], [7, 7])
    expected = torch.cat(logits_of(predictor, pixels, *rows))
    torch.testing.assert_close(torch.cat(logits_of(predictor, features, *rows)), expected, rtol=0, atol=1e-5)
    assert expected.std() > 1e-4


def test_logits_are_those_of_the_predictor_and_in_order(predictor: TorchPredictor, memes: list[Meme]) -> None:
    found = predict_logits(predictor.classifier, PixelInputs(predictor, memes))
    for row, meme in enumerate(memes):
        (expected,) = predictor.logits([predictor.prepare(meme.image_path.read_bytes(), meme.text)])
        assert found[row] == pytest.approx(expected, abs=1e-5)


def test_features_need_no_gradients_of_the_towers(predictor: TorchPredictor, memes: list[Meme]) -> None:
    inputs = FeatureInputs(predictor, memes[:4], "features")
    network = inputs.network(predictor.classifier)
    assert network is predictor.classifier.head
    (arguments,) = inputs.batches([torch.arange(4)])
    assert network(*arguments).requires_grad
    assert not any(tensor.requires_grad for tensor in arguments)


def test_many_batches_stay_in_order(predictor: TorchPredictor, memes: list[Meme]) -> None:
    """More than are decoded at once, in two epochs; uneven ones."""
    rng = np.random.default_rng(0)
    rows = [torch.from_numpy(rng.integers(0, 40, size)) for size in rng.integers(1, 6, 60)]
    inputs = PixelInputs(predictor, memes)
    for _ in range(2):
        num = 0
        for batch, (pixels, captions) in zip(rows, inputs.batches(iter(rows)), strict=True):
            prepared = [predictor.prepare(memes[row].image_path.read_bytes(), memes[row].text) for row in batch]
            expected_pixels, expected_captions = collate_memes(prepared, predictor.config.image)
            assert torch.equal(pixels, expected_pixels)
            assert torch.equal(captions.tokens_NT, expected_captions.tokens_NT)
            num += 1
        assert num == 60


def test_a_meme_is_decoded_once_for_all_epochs(predictor: CountingPredictor, memes: list[Meme]) -> None:
    inputs = PixelInputs(predictor, memes)
    for _ in range(3):
        list(inputs.batches(torch.arange(40).split(7)))
    assert predictor.num_decoded == dict.fromkeys([meme.text for meme in memes], 1)


def test_no_more_than_the_memory_allows_is_kept(
    predictor: CountingPredictor, memes: list[Meme], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inputs_module, "_KEPT_BYTES", 5 * 3 * 32 * 32)
    inputs = PixelInputs(predictor, memes)
    for _ in range(3):
        list(inputs.batches(torch.arange(40).split(7)))
    assert [predictor.num_decoded[meme.text] for meme in memes] == [1] * 5 + [3] * 35
    assert len(inputs._kept) == 5


def test_few_batches_are_decoded_ahead(predictor: CountingPredictor, memes: list[Meme]) -> None:
    """However long the epoch is; one that is given up ends its threads."""
    taken = itertools.count()
    rows = (torch.tensor([next(taken) % 40]) for _ in range(10_000))
    before = threading.active_count()
    with closing(PixelInputs(predictor, memes).batches(rows)) as batches:
        for _ in range(3):
            next(batches)
    assert next(taken) <= 3 + 2 * DECODING_THREADS
    assert threading.active_count() == before


@pytest.mark.parametrize("kind", [PixelInputs, FeatureInputs])
def test_a_subset_has_the_memes_asked_for(predictor: TorchPredictor, memes: list[Meme], kind: type) -> None:
    whole = kind(predictor, memes) if kind is PixelInputs else kind(predictor, memes, "features")
    subset = SubsetInputs(whole, torch.tensor([30, 2, 17]))
    assert len(subset) == 3
    assert subset.network(predictor.classifier) is whole.network(predictor.classifier)
    expected = torch.cat(logits_of(predictor, whole, [17, 30], [2]))
    assert torch.equal(torch.cat(logits_of(predictor, subset, [2, 0], [1])), expected)
    assert len(set(expected.tolist())) == 3
    assert predict_logits(subset.network(predictor.classifier), subset)[1] == pytest.approx(
        float(expected[2]), abs=1e-6
    )


@pytest.fixture
def vanishing(memes: list[Meme], tmp_path: Path) -> list[Meme]:
    """Three memes, read when all were fine; the second picture is gone since."""
    copies = []
    for row, meme in enumerate(memes[:3], 2):
        path = tmp_path / f"{row}{meme.image_path.suffix}"
        path.write_bytes(meme.image_path.read_bytes())
        copies.append(Meme(image_path=path, text=meme.text, label=meme.label, file="train.csv", row=row))
    copies[1].image_path.unlink()
    return copies


def test_a_picture_that_vanished_is_named(predictor: TorchPredictor, vanishing: list[Meme]) -> None:
    with pytest.raises(DataError, match=r"train\.csv, row 3: .*No such file"):
        list(PixelInputs(predictor, vanishing).batches([torch.arange(3)]))
    vanishing[1].image_path.write_bytes(b"no picture any more")
    with pytest.raises(DataError, match=r"train\.csv, row 3: "):
        list(PixelInputs(predictor, vanishing).batches([torch.arange(3)]))


@pytest.mark.parametrize("content", [None, b"no picture any more"])
def test_a_picture_that_vanished_before_its_features_were_read_is_named(
    predictor: TorchPredictor, vanishing: list[Meme], content: bytes | None
) -> None:
    if content:
        vanishing[1].image_path.write_bytes(content)
    with pytest.raises(DataError, match=r"train\.csv, row 3: "):
        FeatureInputs(predictor, vanishing, "features")


def test_features_beyond_memory_are_read_from_disk(
    predictor: TorchPredictor, memes: list[Meme], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    rows = ([39, 0, 20], [1, 39])
    in_memory = FeatureInputs(predictor, memes, "features")
    monkeypatch.setattr(inputs_module, "_SPOOLED_BYTES", 1000)
    with closing(FeatureCache(tmp_path / "cache" / "features.sqlite")) as cache:
        on_disk = FeatureInputs(predictor, memes, "features", cache)
    assert (in_memory._file._rolled, on_disk._file._rolled) == (False, True)
    for one, other in zip(logits_of(predictor, in_memory, *rows), logits_of(predictor, on_disk, *rows), strict=True):
        assert torch.equal(one, other)
    kept = {path.name.removesuffix("-wal").removesuffix("-shm") for path in (tmp_path / "cache").iterdir()}
    assert kept == {"features.sqlite"}  # nothing that a kill would leave behind


def test_features_found_in_the_cache_are_the_same_and_cost_no_decoding(
    predictor: CountingPredictor, memes: list[Meme], tmp_path: Path
) -> None:
    results = []
    for _ in range(2):
        with closing(FeatureCache.for_backbone(tmp_path, predictor)) as cache:
            inputs = FeatureInputs(predictor, memes, "features", cache)
        results.append(torch.cat(logits_of(predictor, inputs, list(range(40)))))
    assert torch.equal(*results)
    assert set(predictor.num_decoded.values()) == {1}


def test_damaged_features_are_computed_again(predictor: CountingPredictor, memes: list[Meme], tmp_path: Path) -> None:
    expected = torch.cat(logits_of(predictor, FeatureInputs(predictor, memes, "features"), list(range(40))))
    for _ in range(2):
        with closing(FeatureCache.for_backbone(tmp_path, predictor)) as cache:
            inputs = FeatureInputs(predictor, memes, "features", cache)
        (path,) = tmp_path.glob("*.sqlite")
        with closing(sqlite3.connect(path)) as database, database:
            database.execute("UPDATE features SET value = zeroblob(length(value)) WHERE rowid % 4 = 0")
    assert sorted(predictor.num_decoded.values()) == [3] * 40  # whole batches, for the last bits depend on them
    found = torch.cat(logits_of(predictor, inputs, list(range(40))))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_a_copy_in_another_batch_reads_the_same_from_a_warm_cache(
    predictor: TorchPredictor, memes: list[Meme], tmp_path: Path
) -> None:
    """Its last bits depend on the batch it was computed in first, whichever run reads them."""
    repeated = [*memes, *memes[:5], memes[20]]
    features = []
    for _ in range(2):
        with closing(FeatureCache.for_backbone(tmp_path, predictor)) as cache:
            inputs = FeatureInputs(predictor, repeated, "features", cache)
        features.append(torch.cat([torch.cat(batch, dim=1) for batch in inputs.batches([torch.arange(46)])]))
    assert torch.equal(*features)
    assert torch.equal(features[0][40:], features[0][[0, 1, 2, 3, 4, 20]])


def test_a_full_disk_costs_the_cache_alone(
    predictor: TorchPredictor, memes: list[Meme], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = list(range(40))
    expected = logits_of(predictor, FeatureInputs(predictor, memes, "features"), rows)
    with largest_file(20_000), closing(FeatureCache(tmp_path / "features.sqlite")) as cache:
        inputs = FeatureInputs(predictor, memes, "features", cache)
    assert "features.sqlite is not used: " in capsys.readouterr().err
    assert torch.equal(*logits_of(predictor, inputs, rows), *expected)


def test_many_memes_stay_in_order(predictor: TorchPredictor, memes: list[Meme]) -> None:
    """They are decoded in threads, batch by batch."""
    many = [memes[index % 8] for index in range(260)]
    first = list(prepare_memes(predictor, memes[:8], "first"))
    for index, meme in enumerate(prepare_memes(predictor, many, "many")):
        assert meme.chunks == first[index % 8].chunks
        assert (meme.pixels_CHW == first[index % 8].pixels_CHW).all()
    assert index == 259


def test_every_caption_that_is_too_long_is_named(predictor: TorchPredictor, tmp_path: Path) -> None:
    captions = ["fine", "zq " * 2000, "", "zqx " * 3000]
    memes = [
        Meme(image_path=tmp_path / "a.png", text=text, label=Label.OFFENSIVE, file="Training_meme_dataset.csv", row=row)
        for row, text in enumerate(captions, 2)
    ]
    with pytest.raises(DataError) as caught:
        check_captions(predictor, memes)
    wheres = [row_error.split(":")[0] for row_error in caught.value.row_errors]
    assert wheres == [
        "Training_meme_dataset.csv, row 3",
        "Training_meme_dataset.csv, row 5",
    ]
    assert all("the limit is 2400" in row_error for row_error in caught.value.row_errors)


def test_captions_that_fit_pass(predictor: TorchPredictor, demo_splits: dict[str, list[Meme]]) -> None:
    check_captions(predictor, itertools.chain(*demo_splits.values()))
