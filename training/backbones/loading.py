"""Load a backbone by its name: a hub id, a local folder, ``compact`` or ``tiny``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from memes.user_cache import user_cache
from training.backbones.description import read_backbone_config, read_image_config
from training.backbones.hub import HubRepository
from training.backbones.places import COMPACT, COMPACT_FOLDER, BackboneError, LocalFolder, Source
from training.backbones.tiny import TINY, TINY_IMAGE, TINY_TEXT, make_tiny, train_tokenizer
from training.backbones.trust import check_first_seen
from training.backbones.weights import build_backbone, find_weights
from training.backbones.words import Words, read_words

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tokenizers import Tokenizer
    from transformers import PreTrainedModel

    from memeguard.config import ImageConfig, TextConfig
    from training.backbones.weights import Weights


class Backbone(NamedTuple):
    """Two towers, their tokenizer and preprocessing; ``pretrained`` is false for towers made from scratch.

    ``clip`` is of any kind in ``memeguard.backbone_config.FAMILIES``.
    """

    name: str
    clip: PreTrainedModel
    tokenizer: Tokenizer
    image: ImageConfig
    text: TextConfig
    pretrained: bool
    source: Source


def load_backbone(name: str, texts: Iterable[str]) -> Backbone:
    """Load the backbone called ``name``.

    Args:
        name: ``tiny``; ``compact``, which comes with the repository; a folder of the hub's layout; or a hub id such as
            ``laion/CLIP-ViT-B-32-laion2B-s34B-b79K``, optionally with ``@`` and a branch, tag or commit.
        texts: Captions on which the tokenizer of ``tiny`` is trained; a pretrained backbone has its own.

    Raises:
        BackboneError: Nothing of that name can be loaded, it is of another kind, or its weights are not those that this
            machine recorded for that commit.
    """
    if name == TINY:
        clip, tokenizer = make_tiny(texts)
        return Backbone(TINY, clip, tokenizer, TINY_IMAGE, TINY_TEXT, pretrained=False, source=Source(TINY, None, None))
    place = _locate(name)
    # The description first: what is of another kind is refused before its weights are downloaded.
    config = read_backbone_config(place)
    image = read_image_config(place, config)
    words = read_words(place, config)
    weights = _find_trusted_weights(place)
    clip = build_backbone(place, config, weights)
    source = _source(place, weights.sha256)
    return Backbone(name, clip, words.tokenizer, image, words.text, pretrained=True, source=source)


def load_words(name: str, texts: Iterable[str]) -> Words:
    """Load the tokenizer of the backbone called ``name``, and how it reads texts, without its weights.

    Args:
        name: See ``load_backbone``.
        texts: See ``load_backbone``.

    Raises:
        BackboneError: Nothing of that name can be loaded, or it has no tokenizer.
    """
    if name == TINY:
        return Words(train_tokenizer(texts), TINY_TEXT, None)
    place = _locate(name)
    return read_words(place, read_backbone_config(place))


def load_tokenizer(name: str, texts: Iterable[str]) -> Tokenizer:
    """Load the tokenizer of the backbone called ``name``, see ``load_words``."""
    return load_words(name, texts).tokenizer


def find_source(name: str, *, download: bool = True) -> Source:
    """Identify the weights that the backbone called ``name`` has now.

    Args:
        name: See ``load_backbone``.
        download: Whether to download the weights of a hub id; else only the commit is known.

    Raises:
        BackboneError: Nothing of that name can be found.
    """
    if name == TINY:
        return Source(TINY, None, None)
    place = _locate(name)
    if isinstance(place, HubRepository) and not download:
        return _source(place, None)
    return _source(place, _find_trusted_weights(place).sha256)


def _locate(name: str) -> LocalFolder | HubRepository:
    if name == COMPACT and not COMPACT_FOLDER.is_dir():
        raise BackboneError(f"backbone {COMPACT} is a part of the repository, and {COMPACT_FOLDER} is not there")
    folder = COMPACT_FOLDER if name == COMPACT else Path(name)
    return LocalFolder(name, folder) if name and folder.is_dir() else HubRepository.resolve(name)


def _find_trusted_weights(place: LocalFolder | HubRepository) -> Weights:
    weights = find_weights(place)
    if isinstance(place, HubRepository):
        check_first_seen(user_cache(), place.repo_id, place.commit, weights)
    return weights


def _source(place: LocalFolder | HubRepository, weights_sha256: str | None) -> Source:
    if isinstance(place, HubRepository):
        return Source(place.pinned_name, place.commit, weights_sha256)
    return Source(place.name, None, weights_sha256)
