"""The losses by which the student's towers learn from the teachers' embeddings.

Every batch is drawn from the number of its step alone, so that an interrupted training can be resumed.

Shape suffixes: B texts or crops at once, K named crops among them, C channels, H height, W width, D features.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from memeguard.captions import CaptionTokenizer, collate_captions
from memeguard.classifier import CaptionTensors, MemeClassifier
from memeguard.config import ImageConfig, ModelConfig, TextConfig
from memeguard.torch_runtime import channel_statistics, normalize_pixels
from memes.misreading import misread
from starter.student import PICTURE_SIZE, Student
from starter.teachers import PICTURE_DIM, TEXT_DIM

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor

    from starter.lessons import PictureLessons, TextLessons

_POOL: Final = 16  # batches of texts that are drawn at once and sorted by length, so that little is padding
_MISREAD_SHARE: Final = 0.3  # of the texts
_MISREAD_RATES: Final = (0.02, 0.12)  # of their characters
_CONTRASTIVE_TEMPERATURE: Final = 0.07  # CLIP's at the start (Radford et al. 2021)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a tower is trained.

    Attributes:
        num_steps: Steps of the optimizer.
        batch_size: Texts or crops per step.
        learning_rate: Peak learning rate.
        weight_decay: Weight decay of AdamW.
        caption_share: Share of the texts that are captions of memes.
        named_share: Share of the crops that come from pictures with a name.
        contrastive_weight: Weight of the contrastive loss beside the distance to the teacher; for pictures.
        seed: Seed of everything that is drawn.
    """

    num_steps: int
    batch_size: int = 64
    learning_rate: float
    weight_decay: float = 0.02
    caption_share: float = 0.5
    named_share: float = 0.2
    contrastive_weight: float = 0.05
    seed: int = 0


class TextLesson:
    """Embed a text, which may be misread, as the sentence teacher embeds it as it was written."""

    def __init__(self, student: Student, lessons: TextLessons, num_captions: int, recipe: Recipe) -> None:
        self._classifier = _wrap(student)
        self._tokenizer = CaptionTokenizer(student.tokenizer, self._classifier.config.text)
        self._lessons, self._num_captions, self._recipe = lessons, num_captions, recipe
        self._pool: tuple[int, list[list[int]]] = (-1, [])
        clip = student.clip
        self._parameters = [*clip.text_model.parameters(), *clip.text_projection.parameters()]

    def parameters(self) -> Iterable[nn.Parameter]:
        """The weights of the text tower."""
        return self._parameters

    def loss(self, step: int) -> Tensor:
        """1 minus the mean cosine between student and teacher."""
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
    """Embed a crop as the picture teacher does, and nearer to the name of its picture than to other names.

    A linear map, which is discarded afterwards, leads from the student's embedding to the teacher's features, which are
    scaled to mean 0 and variance 1. The embeddings of names stay fixed, so that the picture tower approaches them.
    The contrastive loss leaves memes out: a small tower memorizes which of a few thousand captions goes with which
    picture, and features that know only the captions of training pictures mislead a head that is trained on them.
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
        """The weights of the picture tower and of the linear map."""
        return self._parameters

    def loss(self, step: int) -> Tensor:
        """1 minus the mean cosine between student and teacher, plus the weighted contrastive loss."""
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


def _wrap(student: Student) -> MemeClassifier:
    """Wrap the student as a classifier of this project, so that it is trained with the inputs it will be used with."""
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
