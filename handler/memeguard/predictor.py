"""The one way a meme takes: bytes and text in, verdict out.

Does not know who asks: a TorchServe worker, an evaluation and a bulk job call the same two methods. Nor what computes:
that is a runtime's business.
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
    """An answer: the label's word, the probability in [0, 1] of being **non-offensive**, and the offensive logit."""

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
        """Decode one meme; raises the ``MemeError`` that says what is wrong with it.

        Args:
            image: The bytes of a picture.
            text: Its caption.
            deadline: When, by ``time.monotonic``, no large picture is begun any more.
        """
        if image is None or text is None:
            raise MissingPartError("Missing image or text")
        chunks = self.captions.encode(decode_text(text))
        size = self.config.image.size
        picture = decode_image(image, limits=self.limits, wanted_size=size, deadline=deadline)
        return PreparedMeme(resize_image(picture, size), chunks)


class Predictor(MemePreparer, abc.ABC):
    """A model ready to judge memes; safe to call from several threads. ``runtimes`` says which kinds there are.

    Attributes:
        precision: In which it multiplies: "f32", "bf16" or "int8".
        num_streams: How many batches it computes at once; who comes with one more waits.
    """

    precision: str
    num_streams: int = 1

    @abc.abstractmethod
    def logits(self, memes: Sequence[PreparedMeme]) -> list[float]:
        """The offensive logit of each meme of one batch."""

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
