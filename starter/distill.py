"""Let the student learn to say what the teachers said: first its text tower, then its picture tower.

The towers learn apart from each other, and every step is drawn from its number alone, so that a run that was stopped
goes on as if it had not been.

Does not know where lessons come from.

Shape suffixes: B texts or crops at once, K named crops among them, C channels, H height, W width, D features.
"""

from __future__ import annotations

import dataclasses
import math
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from tqdm import trange

from memeguard.captions import CaptionTokenizer, collate_captions
from memeguard.classifier import CaptionTensors, MemeClassifier
from memeguard.config import ImageConfig, ModelConfig, TextConfig
from memeguard.torch_runtime import channel_statistics, normalize_pixels
from memes.misreading import misread
from starter.student import PICTURE_SIZE, Student
from starter.teachers import PICTURE_DIM, TEXT_DIM
from training.checkpoint import Checkpoint
from training.config import TrainingError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from torch import Tensor

    from starter.lessons import PictureLessons, TextLessons

_CLIP: Final = "weight clip."  # how a checkpoint calls the student's weights, its clip being one of the modules
_EVERY_S: Final = 300.0  # of work that a kill may cost
_POOL: Final = 16  # batches of texts that are drawn at once and parted by length, so that little is padding
_WARM_UP: Final = 0.05  # of all steps
_MAX_NORM: Final = 1.0  # of the gradient
_MISREAD_SHARE: Final = 0.3  # of the texts
_MISREAD_RATES: Final = (0.02, 0.12)  # of their characters
_CONTRASTIVE_TEMPERATURE: Final = 0.07  # CLIP's at the start (Radford et al. 2021)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a tower learns.

    Attributes:
        num_steps: Of the optimizer.
        batch_size: Texts or crops a step.
        learning_rate: Its peak.
        weight_decay: AdamW's.
        caption_share: Of the texts, how many are captions or made of them.
        named_share: Of the crops, how many are of pictures whose words say what they show.
        contrastive_weight: Of the contrastive term beside the distance to the teacher; for pictures.
        seed: Of everything that is drawn.
    """

    num_steps: int
    batch_size: int = 64
    learning_rate: float
    weight_decay: float = 0.02
    caption_share: float = 0.5
    named_share: float = 0.2
    contrastive_weight: float = 0.05
    seed: int = 0


TEXT_RECIPE: Final = Recipe(num_steps=8000, learning_rate=5e-4)
PICTURE_RECIPE: Final = Recipe(num_steps=14000, learning_rate=1e-3)


class Lesson(Protocol):
    """What one tower is taught."""

    def parameters(self) -> Iterable[nn.Parameter]:
        """The weights that learn."""

    def loss(self, step: int) -> Tensor:
        """The loss of a batch that depends on ``step`` alone."""


class TextLesson:
    """Say of a text, be it misread, what the sentence teacher says of it as it was written."""

    def __init__(self, student: Student, lessons: TextLessons, num_captions: int, recipe: Recipe) -> None:
        self._classifier = _wrap(student)
        self._tokenizer = CaptionTokenizer(student.tokenizer, self._classifier.config.text)
        self._lessons, self._num_captions, self._recipe = lessons, num_captions, recipe
        self._pool: tuple[int, list[list[int]]] = (-1, [])
        clip = student.clip
        self._parameters = [*clip.text_model.parameters(), *clip.text_projection.parameters()]

    def parameters(self) -> Iterable[nn.Parameter]:
        """The text tower's."""
        return self._parameters

    def loss(self, step: int) -> Tensor:
        """One less the mean cosine between student and teacher."""
        rows = self._draw(step)
        rng = random.Random(f"{self._recipe.seed} noise {step}")  # noqa: S311 - not a secret
        texts = [self._lessons.texts[row] for row in rows]
        read = [misread(text, rng, rng.uniform(*_MISREAD_RATES)) if rng.random() < _MISREAD_SHARE else text
                for text in texts]  # fmt: skip
        captions = collate_captions([self._tokenizer.encode(text)[:1] for text in read])
        embeddings_BD = self._classifier.encode_captions(CaptionTensors.of(captions)).float()
        taught_BD = torch.from_numpy(self._lessons.embeddings_ND[rows].astype(np.float32))
        return 1.0 - functional.cosine_similarity(embeddings_BD, taught_BD).mean()

    def _draw(self, step: int) -> list[int]:
        number = step // _POOL
        if self._pool[0] != number:
            rng = random.Random(f"{self._recipe.seed} pool {number}")  # noqa: S311 - not a secret
            size, num_texts = self._recipe.batch_size, len(self._lessons.texts)
            rows = [
                rng.randrange(self._num_captions)
                if rng.random() < self._recipe.caption_share
                else rng.randrange(self._num_captions, num_texts)
                for _ in range(size * _POOL)
            ]
            rows.sort(key=lambda row: len(self._lessons.texts[row]))
            batches = [rows[start : start + size] for start in range(0, len(rows), size)]
            rng.shuffle(batches)
            self._pool = (number, batches)
        return self._pool[1][step % _POOL]


class PictureLesson:
    """See in a crop what the picture teacher sees, and what its picture is called rather than others.

    A linear map, which is thrown away afterwards, leads from the student's embedding to the teacher's features, each of
    them scaled to mean 0 and variance 1; the names' embeddings stay fixed, so that the picture tower comes to them.
    Memes take no part in the contrastive term: a small tower learns by heart which of a few thousand captions goes with
    which picture, and features that know the captions of training pictures alone mislead whatever learns from them.
    """

    def __init__(self, student: Student, lessons: PictureLessons, recipe: Recipe) -> None:
        self._classifier = _wrap(student)
        self._statistics = channel_statistics(self._classifier.config.image)
        self._lessons, self._recipe = lessons, recipe
        self._named, self._unnamed = np.flatnonzero(lessons.named_N), np.flatnonzero(~lessons.named_N)
        sample = lessons.features_ND[:: max(1, len(lessons.features_ND) // 10_000)].astype(np.float32)
        self._mean_D, self._std_D = sample.mean(0), sample.std(0) + 1e-3
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            self.projector = nn.Linear(TEXT_DIM, PICTURE_DIM)
        clip = student.clip
        towers = [*clip.vision_model.parameters(), *clip.visual_projection.parameters()]
        self._parameters = [*towers, *self.projector.parameters()]

    def parameters(self) -> Iterable[nn.Parameter]:
        """The picture tower's, and the linear map's."""
        return self._parameters

    def loss(self, step: int) -> Tensor:
        """One less the mean cosine between student and teacher, and a share of the contrastive loss."""
        lessons, recipe = self._lessons, self._recipe
        rng = np.random.default_rng([recipe.seed, step])
        num_named = round(recipe.named_share * recipe.batch_size)
        rows = np.concatenate([
            rng.choice(self._named, num_named, replace=False),
            rng.choice(self._unnamed, recipe.batch_size - num_named, replace=False),
        ])  # fmt: skip
        pixels_BCHW = normalize_pixels(torch.from_numpy(lessons.pixels_NCHW[rows]), *self._statistics)
        embeddings_BD = self._classifier.encode_images(pixels_BCHW)
        seen_BD = self.projector(embeddings_BD * TEXT_DIM**0.5).float()
        taught_BD = (lessons.features_ND[rows].astype(np.float32) - self._mean_D) / self._std_D
        loss = 1.0 - functional.cosine_similarity(seen_BD, torch.from_numpy(taught_BD)).mean()
        sayings_KD = torch.from_numpy(lessons.sayings_MD[lessons.said_N[rows[:num_named]]].astype(np.float32))
        logits_KK = embeddings_BD[:num_named].float() @ sayings_KD.T / _CONTRASTIVE_TEMPERATURE
        return loss + recipe.contrastive_weight * functional.cross_entropy(logits_KK, torch.arange(num_named))


def learn(
    lesson: Lesson,
    student: Student,
    recipe: Recipe,
    checkpoint_path: Path,
    log: Callable[[int, float], None],
    *,
    extra: nn.Module | None = None,
    title: str,
) -> None:
    """Take all of ``recipe``'s steps; ``log`` is told the mean loss of the last steps now and then."""
    checkpoint = _checkpoint(checkpoint_path, recipe, title)
    parameters = list(lesson.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True)
    modules = nn.ModuleDict({"clip": student.clip, **({"extra": extra} if extra else {})})
    first = _restore(checkpoint, modules, optimizer)
    last_written = time.monotonic()
    recent: list[float] = []
    modules.train()
    for step in trange(first, recipe.num_steps, initial=first, total=recipe.num_steps, desc=title, disable=None):
        rate = recipe.learning_rate * _schedule(step / recipe.num_steps)
        for group in optimizer.param_groups:
            group["lr"] = rate
        with torch.autocast("cpu", torch.bfloat16):
            loss = lesson.loss(step)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(parameters, _MAX_NORM)
        optimizer.step()
        recent.append(loss.item())
        if (step + 1) % 100 == 0:
            log(step + 1, float(np.mean(recent[-100:])))
        if time.monotonic() - last_written > checkpoint.every_s or step + 1 == recipe.num_steps:
            _keep(checkpoint, modules, optimizer, step + 1)
            last_written = time.monotonic()
    modules.eval()


def read_weights(checkpoint_path: Path, recipe: Recipe, *, title: str) -> dict[str, Tensor]:
    """The weights of a student that has taken all of ``recipe``'s steps, by their names in ``CLIPModel``.

    Raises:
        TrainingError: It has not, or what was kept is damaged or of another recipe.
    """
    tensors, state = _checkpoint(checkpoint_path, recipe, title).read() or ({}, {"num_steps": 0})
    if state["num_steps"] < recipe.num_steps:
        raise TrainingError(f"{title} has taken {state['num_steps']} of its {recipe.num_steps} steps")
    return {name.removeprefix(_CLIP): tensor for name, tensor in tensors.items() if name.startswith(_CLIP)}


def _checkpoint(path: Path, recipe: Recipe, title: str) -> Checkpoint:
    return Checkpoint(path=path, settings={"title": title, **dataclasses.asdict(recipe)}, every_s=_EVERY_S)


def _wrap(student: Student) -> MemeClassifier:
    """The student as the project's classifier sees it, so that it is taught in just the way it will be used."""
    words = student.clip.config.text_config
    config = ModelConfig(
        backbone="compact",
        clip=student.clip.config.to_dict(),
        image=ImageConfig(size=PICTURE_SIZE),
        text=TextConfig(
            context_length=words.max_position_embeddings, start_id=words.bos_token_id, end_id=words.eos_token_id
        ),
    )
    return MemeClassifier(config, student.clip)


def _schedule(share: float) -> float:
    """The learning rate's share of its peak after a ``share`` of all steps: up in a line, down in half a cosine."""
    if share < _WARM_UP:
        return max(share, 1e-3) / _WARM_UP
    return 0.5 * (1.0 + math.cos(math.pi * (share - _WARM_UP) / (1.0 - _WARM_UP)))


def _keep(checkpoint: Checkpoint, modules: nn.Module, optimizer: torch.optim.Optimizer, num_steps: int) -> None:
    tensors = {f"weight {name}": weight for name, weight in modules.state_dict().items()}
    for number, state in optimizer.state_dict()["state"].items():
        tensors |= {f"state {number} {name}": value for name, value in state.items()}
    checkpoint.write(tensors, {"num_steps": num_steps})


def _restore(checkpoint: Checkpoint, modules: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """Take up what was kept; the number of steps that are done."""
    if (found := checkpoint.read()) is None:
        return 0
    tensors, state = found
    modules.load_state_dict(
        {key.removeprefix("weight "): value for key, value in tensors.items() if key[:7] == "weight "}
    )
    states: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("state "):
            _, number, name = key.split(" ")
            states.setdefault(int(number), {})[name] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": states})
    return int(state["num_steps"])
