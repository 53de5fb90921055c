"""The towers learn what the teachers said; a run that is stopped anywhere ends as one that was not, to the last bit."""

from __future__ import annotations

import itertools
import json
import shutil
import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from filelock import FileLock
from safetensors.torch import load_file
from transformers import CLIPConfig, CLIPModel

from starter import __main__ as command
from starter import distill, objectives
from starter.distill import learn, read_weights
from starter.lessons import PictureLessons, TextLessons
from starter.objectives import PictureLesson, Recipe, TextLesson
from starter.student import PICTURE_SIZE, Student
from starter.teachers import PICTURE_DIM, TEXT_DIM
from training.backbones import TINY, load_backbone, load_tokenizer
from training.config import TrainingError

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor, nn

TEXTS = [f"{first} {second}" for first in ("the cat", "a dog", "my family") for second in ("sat", "ran", "laughs", "")]
NUM_CAPTIONS = 5
QUICK = Recipe(num_steps=20, batch_size=4, learning_rate=1e-2)


class Stop(BaseException):
    """A run that is stopped."""


class Taught(NamedTuple):
    """A tower's lesson, the student, and what else learns."""

    lesson: TextLesson | PictureLesson
    student: Student
    extra: nn.Module | None


def draw(rng: np.random.Generator, *shape: int) -> NDArray[np.float16]:
    """Rows of unit length."""
    rows = rng.standard_normal(shape)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16)


@pytest.fixture(scope="module")
def text_lessons() -> TextLessons:
    return TextLessons(TEXTS, draw(np.random.default_rng(0), len(TEXTS), TEXT_DIM))


@pytest.fixture(scope="module")
def picture_lessons() -> PictureLessons:
    """Two crops of each of six pictures, the last three of which have names."""
    rng = np.random.default_rng(1)
    return PictureLessons(
        rng.integers(0, 256, (12, 3, PICTURE_SIZE, PICTURE_SIZE), dtype=np.uint8),
        rng.standard_normal((12, PICTURE_DIM)).astype(np.float16),
        np.arange(12) >= 6,
        np.repeat(np.arange(6), 2),
        draw(rng, 6, TEXT_DIM),
    )


def make_small_student(seed: int = 0) -> Student:
    tokenizer = load_tokenizer(TINY, TEXTS * 2)
    tower = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2, "num_hidden_layers": 1}
    config = CLIPConfig(
        text_config={**tower, "vocab_size": tokenizer.get_vocab_size(), "bos_token_id": 0, "eos_token_id": 1},
        vision_config={**tower, "image_size": PICTURE_SIZE, "patch_size": 56},
        projection_dim=TEXT_DIM,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Student(CLIPModel(config), tokenizer)


@pytest.fixture
def teach(
    _one_thread: None, text_lessons: TextLessons, picture_lessons: PictureLessons
) -> Callable[[str, Recipe], Taught]:
    """A lesson of either tower, for a student who has learnt nothing yet."""

    def make(tower: str, recipe: Recipe) -> Taught:
        student = make_small_student()
        if tower == "text":
            return Taught(TextLesson(student, text_lessons, NUM_CAPTIONS, recipe), student, None)
        lesson = PictureLesson(student, picture_lessons, recipe)
        return Taught(lesson, student, lesson.projector)

    return make


class Stopped:
    """Another lesson, until the batch of a step is asked for; remembers which steps were."""

    def __init__(self, lesson: TextLesson | PictureLesson, stop: int | None = None) -> None:
        self._lesson, self._stop = lesson, stop
        self.asked: list[int] = []

    def parameters(self) -> Iterable[nn.Parameter]:
        return self._lesson.parameters()

    def loss(self, step: int) -> Tensor:
        if step == self._stop:
            raise Stop
        self.asked.append(step)
        return self._lesson.loss(step)


def run(taught: Taught, recipe: Recipe, path: Path, stop: int | None = None, title: str = "tower") -> list[int]:
    """Learn; the steps that were made."""
    lesson = Stopped(taught.lesson, stop)
    try:
        learn(lesson, taught.student, recipe, path, lambda *_: None, extra=taught.extra, title=title)
    except Stop:
        assert stop is not None
    return lesson.asked


@pytest.fixture
def _slow_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two steps take five minutes."""
    monkeypatch.setattr(distill, "time", SimpleNamespace(monotonic=itertools.count(0, 151).__next__))


@pytest.mark.parametrize("tower", ["text", "picture"])
def test_what_the_teachers_said_is_learnt(teach: Callable[[str, Recipe], Taught], tmp_path: Path, tower: str) -> None:
    recipe = Recipe(num_steps=200, batch_size=8, learning_rate=5e-3)
    lesson, student, extra = teach(tower, recipe)
    logged: list[tuple[int, float]] = []
    learn(lesson, student, recipe, tmp_path / "t.safetensors", lambda *line: logged.append(line), extra=extra, title="")
    (first, before), (second, after) = logged
    assert (first, second) == (100, 200)
    assert after < 0.6 * before
    assert not student.clip.training


@pytest.mark.parametrize("tower", ["text", "picture"])
def test_one_tower_learns_and_the_other_stays(
    teach: Callable[[str, Recipe], Taught], tmp_path: Path, tower: str
) -> None:
    taught = teach(tower, QUICK)
    run(taught, QUICK, tmp_path / "tower.safetensors")
    before, after = make_small_student().clip.state_dict(), taught.student.clip.state_dict()
    changed = {name.split(".")[0] for name, tensor in after.items() if not torch.equal(tensor, before[name])}
    names = {"text": {"text_model", "text_projection"}, "picture": {"vision_model", "visual_projection"}}
    assert changed == names[tower]


@pytest.mark.usefixtures("_slow_clock")
@pytest.mark.parametrize("tower", ["text", "picture"])
def test_a_run_that_was_stopped_ends_as_one_that_was_not(
    teach: Callable[[str, Recipe], Taught], tmp_path: Path, tower: str
) -> None:
    """Stopped before anything was kept, soon after, and among later texts, which are drawn sixteen batches at once."""
    expected = teach(tower, QUICK)
    assert run(expected, QUICK, tmp_path / "whole.safetensors") == list(range(20))
    path = tmp_path / "stopped.safetensors"
    made = [run(teach(tower, QUICK), QUICK, path, stop) for stop in (0, 3, 17)]
    assert made == [[], [0, 1, 2], list(range(2, 17))]
    resumed = teach(tower, QUICK)
    assert run(resumed, QUICK, path) == [16, 17, 18, 19]
    weights = expected.student.clip.state_dict()
    assert all(torch.equal(tensor, weights[name]) for name, tensor in resumed.student.clip.state_dict().items())
    kept, whole = load_file(path), load_file(tmp_path / "whole.safetensors")  # the optimizer's state, too
    assert kept.keys() == whole.keys()
    assert [name for name, tensor in kept.items() if not torch.equal(tensor, whole[name])] == []


def test_nothing_is_kept_more_often_than_every_five_minutes(
    teach: Callable[[str, Recipe], Taught], tmp_path: Path
) -> None:
    path = tmp_path / "tower.safetensors"
    run(teach("text", QUICK), QUICK, path, stop=19)
    assert not path.exists()
    run(teach("text", QUICK), QUICK, path)
    assert path.exists()


def test_a_tower_that_has_learnt_is_not_taught_again(teach: Callable[[str, Recipe], Taught], tmp_path: Path) -> None:
    path = tmp_path / "tower.safetensors"
    first, again = teach("text", QUICK), teach("text", QUICK)
    run(first, QUICK, path)
    assert run(again, QUICK, path) == []
    weights = first.student.clip.state_dict()
    assert all(torch.equal(tensor, weights[name]) for name, tensor in again.student.clip.state_dict().items())


@pytest.mark.parametrize(
    ("recipe", "title", "message"),
    [
        (Recipe(num_steps=20, batch_size=6, learning_rate=1e-2), "tower", "batch_size was 4, now it is 6"),
        (Recipe(num_steps=20, batch_size=4, learning_rate=1e-2, seed=1), "tower", "seed was 0, now it is 1"),
        (Recipe(num_steps=30, batch_size=4, learning_rate=1e-2), "tower", "num_steps was 20, now it is 30"),
        (QUICK, "other tower", "title was 'tower', now it is 'other tower'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_run_with_other_settings_is_not_resumed(
    teach: Callable[[str, Recipe], Taught], tmp_path: Path, recipe: Recipe, title: str, message: str
) -> None:
    path = tmp_path / "tower.safetensors"
    run(teach("text", QUICK), QUICK, path)
    before = path.read_bytes()
    with pytest.raises(TrainingError, match=rf"tower\.safetensors is of another training: {message}$"):
        run(teach("text", recipe), recipe, path, title=title)
    assert path.read_bytes() == before


def test_the_weights_are_read_by_clips_names(teach: Callable[[str, Recipe], Taught], tmp_path: Path) -> None:
    taught = teach("picture", QUICK)
    run(taught, QUICK, tmp_path / "tower.safetensors")
    found = read_weights(tmp_path / "tower.safetensors", QUICK, title="tower")
    expected = taught.student.clip.state_dict()
    assert {name.split(".")[0] for name in found} == {"vision_model", "visual_projection"}
    assert all(torch.equal(tensor, expected[name]) for name, tensor in found.items())
    make_small_student().clip.load_state_dict({**expected, **found}, strict=True)


def test_the_weights_of_a_tower_that_has_not_learnt_all_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"^tower has taken 0 of its 20 steps$"):
        read_weights(tmp_path / "tower.safetensors", QUICK, title="tower")


def test_a_batch_depends_on_its_step_alone(teach: Callable[[str, Recipe], Taught]) -> None:
    for tower in ("text", "picture"):
        one, other = teach(tower, QUICK).lesson, teach(tower, QUICK).lesson
        steps = (0, 17, 3, 40, 16)
        losses = [one.loss(step).item() for step in steps]
        assert [other.loss(step).item() for step in reversed(steps)] == losses[::-1]
        assert len(set(losses)) == len(steps)
        assert teach(tower, Recipe(num_steps=20, batch_size=4, learning_rate=1, seed=1)).lesson.loss(0) != losses[0]


def test_captions_and_other_texts_take_turns(teach: Callable[[str, Recipe], Taught]) -> None:
    """A batch has texts of much the same length, so that little of it is padding."""
    recipe = Recipe(num_steps=160, batch_size=8, learning_rate=1, caption_share=0.25)
    lesson = teach("text", recipe).lesson
    batches = [lesson._draw(step) for step in range(160)]
    rows = np.array(batches)
    assert rows.shape == (160, 8)
    assert set(rows.ravel()) == set(range(len(TEXTS)))
    assert np.mean(rows < NUM_CAPTIONS) == pytest.approx(0.25, abs=0.05)
    lengths = np.array([[len(TEXTS[row]) for row in batch] for batch in batches])
    assert np.ptp(lengths, axis=1).mean() < 0.3 * np.ptp(lengths)
    assert np.abs(np.diff(lengths.mean(axis=1))).max() > 3  # neither short ones first nor long ones


def test_some_texts_are_misread_and_taught_as_they_were_written(
    teach: Callable[[str, Recipe], Taught], text_lessons: TextLessons, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates: list[float] = []

    def spoil(text: str, rng: random.Random, rate: float) -> str:
        rates.append(rate)
        return text[::-1]

    monkeypatch.setattr(objectives, "misread", spoil)
    recipe = Recipe(num_steps=100, batch_size=8, learning_rate=1)
    lesson = teach("text", recipe).lesson
    encoded: list[str] = []
    encode = lesson._tokenizer.encode
    monkeypatch.setattr(lesson._tokenizer, "encode", lambda text: encoded.append(text) or encode(text))
    for step in range(40):
        lesson.loss(step)
    rows = [row for step in range(40) for row in lesson._draw(step)]
    num_misread = sum(text != TEXTS[row] for text, row in zip(encoded, rows, strict=True))
    assert all(text in {TEXTS[row], TEXTS[row][::-1]} for text, row in zip(encoded, rows, strict=True))
    assert num_misread == len(rates) == pytest.approx(0.3 * 320, abs=25)
    assert 0.02 <= min(rates) < 0.03
    assert 0.11 < max(rates) <= 0.12


@pytest.mark.parametrize(("changed", "counts"), [(slice(0, 3), False), (slice(3, 6), True)])
def test_captions_of_memes_are_not_learnt_but_names_are(
    picture_lessons: PictureLessons, changed: slice, *, counts: bool
) -> None:
    recipe = Recipe(num_steps=1, batch_size=8, learning_rate=1, named_share=0.5, contrastive_weight=1.0)
    others = picture_lessons.sayings_MD.copy()
    others[changed] = -others[changed]
    losses = [
        PictureLesson(make_small_student(), lessons, recipe).loss(0).item()
        for lessons in (picture_lessons, picture_lessons._replace(sayings_MD=others))
    ]
    assert (losses[0] != losses[1]) is counts


def test_the_projector_is_the_same_whatever_was_drawn_before(picture_lessons: PictureLessons) -> None:
    weights = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        weights.append(PictureLesson(make_small_student(), picture_lessons, QUICK).projector.weight)
    assert torch.equal(*weights)


def test_weights_move_with_trainings_learning_rate(
    teach: Callable[[str, Recipe], Taught], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first step is one of five of the warm-up; AdamW then moves a weight by the learning rate of the moment."""
    recipe = Recipe(num_steps=100, batch_size=4, learning_rate=1e-3, weight_decay=0.0)
    taught = teach("text", recipe)
    before = taught.student.clip.text_projection.weight.detach().clone()
    run(taught, recipe, tmp_path / "tower.safetensors", stop=1)
    moves = (taught.student.clip.text_projection.weight - before).abs()
    assert moves.median().item() == pytest.approx(1e-3 / 5, rel=0.01)


@pytest.fixture
def work(teachers: Path, packages: Path, tmp_path: Path) -> Path:
    """A folder of work with everything fetched."""
    shutil.copytree(teachers, tmp_path / "work" / "teachers")
    shutil.copytree(packages, tmp_path / "work" / "packages")
    return tmp_path / "work"


def rebuild(data: Path, work: Path, *arguments: str) -> Result:
    places = ["--data", str(data), "--work", str(work), "--out", str(work.parent / "compact")]
    return CliRunner().invoke(command.main, [*places, *arguments])


def test_the_command_goes_all_the_way_from_memes_to_a_clip(
    demo_folder: Path, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each tower of the CLIP is that which learnt apart."""
    recipe = Recipe(num_steps=2, batch_size=2, learning_rate=1e-3)
    monkeypatch.setattr(command, "TEXT_RECIPE", recipe)
    monkeypatch.setattr(command, "PICTURE_RECIPE", recipe)
    monkeypatch.setattr(command, "_CROPS_PER_MEME", 2)
    result = rebuild(demo_folder, work)
    assert result.exit_code == 0, result.output
    assert [line for line in result.stdout.splitlines() if line.endswith(" …")] == [
        f"{stage} …" for stage in ("texts", "pictures", "text-tower", "picture-tower", "export")
    ]
    clip = load_backbone(str(work.parent / "compact"), []).clip.state_dict()
    towers = {name: load_file(work / f"{name}-tower.safetensors") for name in ("text", "picture")}
    for name in clip.keys() - {"logit_scale"}:  # which no verdict depends on
        source = "text" if name.startswith("text") else "picture"
        assert torch.equal(clip[name], towers[source][f"weight.clip.{name}"].half().float()), name
    assert json.loads((work / "texts.json").read_text("utf-8"))["num_done"] >= 1
    texts = np.load(work / "texts-embeddings.npy")
    assert len(texts) == 40 * 9 + 9
    assert np.load(work / "pictures-pixels.npy", mmap_mode="r").shape == (40 * 2 + 1, 3, PICTURE_SIZE, PICTURE_SIZE)


def test_two_runs_of_one_stage_take_turns(demo_folder: Path, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, begun = threading.Event(), threading.Event()

    def tell_and_lock(path: Path) -> FileLock:
        asked.set()
        return FileLock(path)

    monkeypatch.setattr(command, "FileLock", tell_and_lock)
    monkeypatch.setattr(command.Rebuild, "texts", lambda _: begun.set())
    run = threading.Thread(target=rebuild, args=(demo_folder, work, "--stage", "texts"))
    with FileLock(work / "texts.lock"):
        run.start()
        assert asked.wait(timeout=60)
        assert not begun.wait(timeout=0.5)
    assert begun.wait(timeout=60)
    run.join()


@pytest.mark.parametrize(
    ("stage", "reason"),
    [("export", "text tower has taken 0 of its 8000 steps"), ("text-tower", "text-tower.safetensors is damaged")],
)
def test_what_the_command_cannot_do_is_one_line(demo_folder: Path, work: Path, stage: str, reason: str) -> None:
    """There is no tower to export, or the one there is damaged."""
    if stage == "text-tower":
        (work / "text-tower.safetensors").write_bytes(b"damaged")
    result = rebuild(demo_folder, work, "--stage", stage)
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    line = str(result.exception)
    assert "\n" not in line
    assert line.startswith("error: ")
    assert reason in line
    assert not (work.parent / "compact").exists()
