"""The one way a meme takes: bytes and text in, verdict out.

Does not know who asks: a TorchServe worker, an evaluation and a bulk job call the same two methods.
"""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from PIL import Image

from memeguard.bundle import load_bundle
from memeguard.captions import CaptionTokenizer
from memeguard.classifier import collate_captions
from memeguard.errors import InvalidTextError, MissingPartError
from memeguard.preprocess import MAX_PIXELS, decode_image, normalize_pixels, resize_image

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import Self

    from numpy.typing import NDArray
    from tokenizers import Tokenizer
    from torch import Tensor

    from memeguard.bundle import Bundle
    from memeguard.classifier import CaptionBatch
    from memeguard.config import ModelConfig


class PreparedMeme(NamedTuple):
    """A meme ready for the network: uint8 pixels [3, size, size] and the token ids of its caption's chunks."""

    pixels_CHW: NDArray[np.uint8]
    chunks: list[list[int]]


class Verdict(NamedTuple):
    """An answer: the label's word, the probability in [0, 1] of being **non-offensive**, and the offensive logit."""

    prediction: str
    probability: float
    logit: float


class MemePreparer:
    """What a model needs of a meme: pixels and token ids; safe to call from several threads."""

    def __init__(
        self, config: ModelConfig, tokenizer: Tokenizer, *, device: str = "cpu", max_pixels: int = MAX_PIXELS
    ) -> None:
        self.config = config
        self.captions = CaptionTokenizer(tokenizer, config.text)
        self.device = torch.device(device)
        self._max_pixels = max_pixels

    def prepare(self, image: bytes | None, text: bytes | str | None) -> PreparedMeme:
        """Decode one meme; raises the ``MemeError`` that says what is wrong with it."""
        if image is None or text is None:
            raise MissingPartError("Missing image or text")
        chunks = self.captions.encode(decode_text(text))
        picture = decode_image(image, max_pixels=self._max_pixels)
        return PreparedMeme(resize_image(picture, self.config.image.size), chunks)

    def collate(self, memes: Sequence[PreparedMeme]) -> tuple[Tensor, CaptionBatch]:
        """One batch, as the classifier takes it: normalized pixels [B, 3, size, size] and captions, on its device."""
        image = self.config.image
        pixels = normalize_pixels(np.stack([meme.pixels_CHW for meme in memes]), image.mean, image.std)
        captions = collate_captions([meme.chunks for meme in memes])
        return torch.from_numpy(pixels).to(self.device), captions.to(self.device)


class Predictor(MemePreparer):
    """A bundle on a device, ready to judge memes; safe to call from several threads."""

    def __init__(self, bundle: Bundle, *, device: str = "cpu", max_pixels: int = MAX_PIXELS) -> None:
        super().__init__(bundle.classifier.config, bundle.tokenizer, device=device, max_pixels=max_pixels)
        self.classifier = bundle.classifier.to(device).eval()

    @classmethod
    def from_folder(cls, directory: Path, *, device: str = "cpu", max_pixels: int = MAX_PIXELS) -> Self:
        """Load the bundle in ``directory``; raises ``BundleError``."""
        return cls(load_bundle(directory), device=device, max_pixels=max_pixels)

    @torch.inference_mode()
    def logits(self, memes: Sequence[PreparedMeme]) -> list[float]:
        """The offensive logit of each meme of one batch."""
        if not memes:
            return []
        values: list[float] = self.classifier(*self.collate(memes)).float().tolist()
        return values

    def predict(self, memes: Sequence[PreparedMeme]) -> list[Verdict]:
        """The verdict on each meme of one batch."""
        return [self._judge(logit) for logit in self.logits(memes)]

    def warm_up(self, batch_size: int) -> None:
        """Judge a blank picture alone and in a batch of ``batch_size``, so that the first client does not wait."""
        blank = io.BytesIO()
        Image.new("RGB", (64, 64)).save(blank, "JPEG")
        meme = self.prepare(blank.getvalue(), "warm-up")
        for size in {1, batch_size}:
            self.predict([meme] * size)

    def _judge(self, logit: float) -> Verdict:
        labels = self.config.labels
        probability = non_offensive_probability(logit, labels.temperature)
        harmless = probability >= labels.threshold
        return Verdict(labels.non_offensive if harmless else labels.offensive, probability, logit)


def non_offensive_probability(logit: float, temperature: float = 1.0) -> float:
    """``1 - sigmoid(logit / temperature)`` of the offensive logit, in the form that does not overflow."""
    scaled = logit / temperature
    if scaled < 0:
        return 1.0 / (1.0 + math.exp(scaled))
    odds = math.exp(-scaled)
    return odds / (1.0 + odds)


def decode_text(text: bytes | str) -> str:
    """Text as ``str``; raises ``InvalidTextError`` naming the first byte that is not UTF-8, or a lone surrogate."""
    try:
        if isinstance(text, str):
            text.encode("utf-8")  # JSON may spell one half of a surrogate pair, which no tokenizer takes
            return text
        return text.decode("utf-8")
    except UnicodeEncodeError as error:
        half = f"U+{ord(error.object[error.start]):04X}"
        raise InvalidTextError(f"text is not Unicode: character {error.start} is the lone surrogate {half}") from error
    except UnicodeDecodeError as error:
        byte = f"0x{error.object[error.start]:02x}"
        raise InvalidTextError(f"text is not UTF-8: byte {error.start} is {byte}") from error
