"""Turn a meme's bytes and text into a verdict.

A TorchServe worker, an evaluation and a bulk job call the same two methods, ``prepare`` and ``predict``; a runtime
computes the logits.
"""

from __future__ import annotations

import abc
import io
import math
from typing import TYPE_CHECKING, NamedTuple

from PIL import Image

from memeguard.captions import CaptionTokenizer
from memeguard.errors import InvalidTextError, MissingPartError
from memeguard.preprocess import DEFAULT_LIMITS, decode_image, resize_image

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray
    from tokenizers import Tokenizer

    from memeguard.config import ModelConfig
    from memeguard.preprocess import DecodingLimits


class PreparedMeme(NamedTuple):
    """A meme ready for the network: uint8 pixels [3, size, size] and the token ids of its caption's chunks."""

    pixels_CHW: NDArray[np.uint8]
    chunks: list[list[int]]


class Verdict(NamedTuple):
    """The answer for one meme: label, probability in [0, 1] of being **non-offensive**, and the offensive logit."""

    prediction: str
    probability: float
    logit: float


class MemePreparer:
    """Turns memes into pixels and token ids; safe to call from several threads.

    Attributes:
        config: The model's configuration.
        captions: Turns captions into token ids.
        limits: What decoding one picture may cost.
    """

    def __init__(self, config: ModelConfig, tokenizer: Tokenizer, limits: DecodingLimits = DEFAULT_LIMITS) -> None:
        self.config = config
        self.captions = CaptionTokenizer(tokenizer, config.text)
        self.limits = limits

    def prepare(self, image: bytes | None, text: bytes | str | None, *, deadline: float | None = None) -> PreparedMeme:
        """Decode one meme.

        Args:
            image: The bytes of a picture.
            text: The caption.
            deadline: The time, by ``time.monotonic``, after which a large picture is refused.

        Raises:
            MemeError: The subclass says what is wrong with the meme.
        """
        if image is None or text is None:
            raise MissingPartError("Missing image or text")
        chunks = self.captions.encode(decode_text(text))
        size = self.config.image.size
        picture = decode_image(image, limits=self.limits, wanted_size=size, deadline=deadline)
        return PreparedMeme(resize_image(picture, size, self.config.image.resampling), chunks)


class Predictor(MemePreparer, abc.ABC):
    """A model that predicts memes; safe to call from several threads. ``runtimes`` chooses the implementation.

    Attributes:
        precision: Number format of the products: "f32", "bf16" or "int8".
        num_streams: How many batches it computes at once; a further one waits.
    """

    precision: str
    num_streams: int = 1

    @abc.abstractmethod
    def logits(self, memes: Sequence[PreparedMeme]) -> list[float]:
        """Return the offensive logit of each meme of one batch."""

    def predict(self, memes: Sequence[PreparedMeme]) -> list[Verdict]:
        """Return the verdict on each meme of one batch."""
        return [self._verdict(logit) for logit in self.logits(memes)]

    def warm_up(self, batch_size: int) -> None:
        """Predict a blank picture alone and in a batch of ``batch_size``, so that the first client does not wait."""
        blank = io.BytesIO()
        Image.new("RGB", (64, 64)).save(blank, "JPEG")
        meme = self.prepare(blank.getvalue(), "warm-up")
        for size in {1, batch_size}:
            self.predict([meme] * size)

    def _verdict(self, logit: float) -> Verdict:
        labels = self.config.labels
        probability = non_offensive_probability(logit, labels.temperature, labels.shift)
        harmless = probability >= labels.threshold
        return Verdict(labels.non_offensive if harmless else labels.offensive, probability, logit)


def non_offensive_probability(logit: float, temperature: float = 1.0, shift: float = 0.0) -> float:
    """Return ``1 - sigmoid(logit / temperature + shift)`` of the offensive logit, without overflow."""
    log_odds = logit / temperature + shift  # with shift 0 the same bits as before there was a shift
    if log_odds < 0:
        return 1.0 / (1.0 + math.exp(log_odds))
    odds = math.exp(-log_odds)
    return odds / (1.0 + odds)


def decode_text(text: bytes | str) -> str:
    """Decode UTF-8; raise ``InvalidTextError`` naming the first byte that is not UTF-8, or a lone surrogate."""
    try:
        if isinstance(text, str):
            text.encode("utf-8")  # JSON can express half a surrogate pair, which tokenizers refuse
            return text
        return text.decode("utf-8")
    except UnicodeEncodeError as error:
        half = f"U+{ord(error.object[error.start]):04X}"
        raise InvalidTextError(f"text is not Unicode: character {error.start} is the lone surrogate {half}") from error
    except UnicodeDecodeError as error:
        byte = f"0x{error.object[error.start]:02x}"
        raise InvalidTextError(f"text is not UTF-8: byte {error.start} is {byte}") from error
