"""The settings of a backbone from which the network is built: its kind and both towers.

Works without torch and transformers, because a worker with the OpenVINO runtime has neither in memory.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, Self, TypeVar

from memeguard.checks import check_whole
from memeguard.tower_config import (
    AltClipText,
    BertText,
    ClipPicture,
    ClipText,
    PictureTower,
    RobertaText,
    SiglipPicture,
    SiglipText,
    TextTower,
    TowerConfig,
    VitPicture,
    XlmRobertaText,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

Tower = TypeVar("Tower", bound=TowerConfig)
_MAX_WIDTH: Final = 65_536

# Where a text tower's feature is read: at a chunk's last token, since attention looks back only; at the last position
# of a chunk that is always padded to the context length, padding included; at the first token, with padding masked; or
# there, through a pooling layer.
Pooling = Literal["last", "padded", "first", "pooler"]


class Family(NamedTuple):
    """What the backbones of one ``model_type`` of transformers have in common.

    Attributes:
        model: Name of transformers' class of the network; that of its configuration is its ``config_class``.
        pooling: Where the text tower's feature is read.
        text: Settings of the text tower, by the tower's own ``model_type``; an only one has the key "".
        picture: Settings of the picture tower, by the tower's own ``model_type``; an only one has the key "".
        projection_dim: Default of the width of the features.
    """

    model: str
    pooling: Pooling
    text: Mapping[str, type[TextTower]]
    picture: Mapping[str, type[PictureTower]]
    projection_dim: int = 512


FAMILIES: Final[Mapping[str, Family]] = {
    "clip": Family("CLIPModel", "last", {"": ClipText}, {"": ClipPicture}),
    "metaclip_2": Family("MetaClip2Model", "last", {"": ClipText}, {"": ClipPicture}),
    "siglip": Family("SiglipModel", "padded", {"": SiglipText}, {"": SiglipPicture}),
    "altclip": Family("AltCLIPModel", "first", {"": AltClipText}, {"": ClipPicture}, projection_dim=768),
    "chinese_clip": Family("ChineseCLIPModel", "first", {"": BertText}, {"": ClipPicture}),
    "vision-text-dual-encoder": Family(
        "VisionTextDualEncoderModel",
        "pooler",
        {"bert": BertText, "roberta": RobertaText, "xlm-roberta": XlmRobertaText},
        {"clip_vision_model": ClipPicture, "vit": VitPicture},
    ),
}


@dataclass(frozen=True, kw_only=True)
class BackboneConfig:
    """Kind, towers, and the width of the features that both towers give."""

    model_type: str
    text: TextTower
    picture: PictureTower
    feature_dim: int

    def __post_init__(self) -> None:
        """Raise ``ValueError`` naming the setting that is wrong."""
        check_whole("projection_dim", self.feature_dim, 1, _MAX_WIDTH)
        if isinstance(self.text, SiglipText) and self.text.projection_size != self.picture.hidden_size:
            raise ValueError(
                f"the towers' features differ in width: projection_size of the text tower is "
                f"{self.text.projection_size}, hidden_size of the picture tower is {self.picture.hidden_size}"
            )

    @property
    def family(self) -> Family:
        """What all backbones of this kind have in common."""
        return FAMILIES[self.model_type]

    @classmethod
    def from_dict(cls, values: object) -> Self:
        """Read a configuration of transformers as a dictionary; raise ``ValueError`` if a setting is wrong."""
        if not isinstance(values, dict):
            raise ValueError(f"clip is a {type(values).__name__}, not an object")  # noqa: TRY004 - a wrong value to users
        if (model_type := values.get("model_type", "clip")) not in FAMILIES:
            raise ValueError(f"model_type is {model_type!r}; it must be one of {', '.join(FAMILIES)}")
        family = FAMILIES[model_type]
        text = _read_tower(values, "text_config", family.text)
        picture = _read_tower(values, "vision_config", family.picture)
        width = (
            text.projection_size
            if isinstance(text, SiglipText)
            else values.get("projection_dim", family.projection_dim)
        )
        return cls(model_type=model_type, text=text, picture=picture, feature_dim=width)

    def to_transformers(self) -> dict[str, Any]:
        """Return the arguments of the family's configuration in transformers."""
        towers = {
            "text_config": _write_tower(self.text, self.family.text),
            "vision_config": _write_tower(self.picture, self.family.picture),
        }
        if not isinstance(self.text, SiglipText):
            return {**towers, "projection_dim": self.feature_dim}
        # transformers warns of ids outside the vocabulary, as its own defaults are.
        towers["text_config"] |= dict.fromkeys(("bos_token_id", "eos_token_id"))
        return towers


def _read_tower(values: dict[str, Any], name: str, kinds: Mapping[str, type[Tower]]) -> Tower:
    """Return the settings of one tower from which the network is built."""
    settings = values.get(name) or {}
    if not isinstance(settings, dict):
        raise ValueError(f"clip's {name} is a {type(settings).__name__}, not an object")  # noqa: TRY004
    model_type: Any = "" if "" in kinds else settings.get("model_type")
    if model_type not in kinds:
        raise ValueError(f"model_type of {name} is {model_type!r}; it must be one of {', '.join(kinds)}")
    kind = kinds[model_type]
    known = {field.name for field in dataclasses.fields(kind)}
    # transformers writes None for a setting that is not set.
    return kind(**{key: value for key, value in settings.items() if key in known and value is not None})


def _write_tower(tower: TowerConfig, kinds: Mapping[str, type[TowerConfig]]) -> dict[str, Any]:
    """Return the settings of one tower, with its ``model_type`` if there are several kinds."""
    model_type = next(name for name, kind in kinds.items() if kind is type(tower))
    return {**dataclasses.asdict(tower), **({"model_type": model_type} if model_type else {})}
