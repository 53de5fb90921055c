"""Select which weights of a classifier are trained, and how fast: the head, adapters, the last blocks, everything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import peft
from torch import nn

from training.config import TrainingConfig, TrainingError, Tune, backbone_learning_rate
from training.optimization import ParameterGroup

if TYPE_CHECKING:
    from collections.abc import Iterator

    from transformers import PreTrainedModel

    from memeguard.classifier import MemeClassifier

# Of both towers' attention, as Hu et al. 2021 adapt them; in CLIP's words, then in BERT's.
_LORA_TARGETS: Final = ["q_proj", "k_proj", "v_proj", "query", "key", "value"]
_UNUSED: Final = "logit_scale"  # of CLIP's contrastive loss; no logit depends on it
_BOTTOM: Final = ("embeddings", "pre_layrnorm")  # transformers' own spelling of "pre-layernorm"


class Tuning:
    """The weights of one classifier that are trained, for one training; ``merge`` ends it."""

    def __init__(self, classifier: MemeClassifier, config: TrainingConfig, *, pretrained: bool) -> None:
        """Freeze what is not trained; insert the adapters of LoRA.

        Args:
            classifier: Changed in place.
            config: ``tune``, and the settings that belong to it.
            pretrained: Whether the backbone is pretrained, or made from scratch.

        Raises:
            TrainingError: A backbone from scratch would stay frozen, or has fewer blocks than ``num_blocks``.
        """
        self._adapters: peft.LoraModel | None = None
        self.tune = choose_tune(config, pretrained=pretrained)
        self._clip = classifier.clip
        if self.tune != "head" and self._clip.device.type == "cpu":
            # torch's fused attention is slow backwards on a CPU in bf16; eager attention trains towers twice as fast.
            self._clip.set_attn_implementation("eager")
        head = ParameterGroup(_weights_of(classifier.head), config.learning_rate)
        classifier.requires_grad_(requires_grad=False)
        if self.tune == "lora":
            self._adapters = _insert_adapters(classifier.clip, config)
            adapters = [weight for weight in classifier.clip.parameters() if weight.requires_grad]
            backbone = [ParameterGroup(adapters, backbone_learning_rate(config, "lora"))]
        elif self.tune == "head":
            backbone = []
        elif pretrained:
            backbone = list(_group_blocks(classifier.clip, config, self.tune))
        else:
            weights = [weight for name, weight in classifier.clip.named_parameters() if name != _UNUSED]
            backbone = [ParameterGroup(weights, config.learning_rate)]
        self.groups = [head, *backbone]
        for group in self.groups:
            for weight in group.parameters:
                weight.requires_grad = True

    def merge(self) -> None:
        """Merge adapters into the weights they adapt: the classifier is an ordinary one with the same answers."""
        self._clip.set_attn_implementation("sdpa")
        if self._adapters is not None:
            self._adapters.merge_and_unload()
            self._adapters = None


def choose_tune(config: TrainingConfig, *, pretrained: bool) -> Tune:
    """Resolve ``config.tune`` for a backbone that is ``pretrained`` or not; raise ``TrainingError`` if impossible."""
    if config.tune is None:
        return "head" if pretrained else "full"
    if not pretrained and config.tune != "full":
        raise TrainingError(
            f"tune {config.tune!r} needs a pretrained backbone; a backbone from scratch is trained in full"
        )
    return config.tune


def _insert_adapters(clip: PreTrainedModel, config: TrainingConfig) -> peft.LoraModel:
    settings = peft.LoraConfig(
        r=config.lora_rank,
        lora_alpha=2 * config.lora_rank,  # scale of the adapters; twice the rank, as in peft's examples
        lora_dropout=config.lora_dropout,
        target_modules=_LORA_TARGETS,
    )
    return peft.LoraModel(clip, settings, "default")


def _group_blocks(clip: PreTrainedModel, config: TrainingConfig, tune: Tune) -> Iterator[ParameterGroup]:
    """Yield a group per depth of both towers, from the projections down; layer-wise decay as in Dong et al. 2022."""
    rate = backbone_learning_rate(config, tune)
    for tower, projection in (("vision_model", "visual_projection"), ("text_model", "text_projection")):
        bottom, blocks, top = _split_tower(getattr(clip, tower))
        if projected := getattr(clip, projection, None):
            top = [*top, projected]
        if tune == "last-blocks" and config.num_blocks > len(blocks):
            raise TrainingError(f"num_blocks is {config.num_blocks}; a tower of this backbone has {len(blocks)}")
        chosen = blocks[-config.num_blocks :] if tune == "last-blocks" else blocks
        yield ParameterGroup(_weights_of(*top), rate)
        for depth, block in enumerate(reversed(chosen)):
            yield ParameterGroup(_weights_of(block), rate * config.layer_decay**depth)
        if tune == "full":
            yield ParameterGroup(_weights_of(*bottom), rate * config.layer_decay ** len(blocks))


def _split_tower(tower: nn.Module) -> tuple[list[nn.Module], nn.ModuleList, list[nn.Module]]:
    """Return what is below the blocks, the blocks, and what is above them, each in the order of the tower."""
    blocks = next(module for module in tower.modules() if isinstance(module, nn.ModuleList))
    bottom: list[nn.Module] = []
    top: list[nn.Module] = []
    for name, module in tower.named_children():
        if name in _BOTTOM:
            bottom.append(module)
        elif blocks not in module.modules():
            top.append(module)
        elif module is not blocks and name != "encoder":  # a tower within the tower, as AltCLIP's
            inner_bottom, _, inner_top = _split_tower(module)
            bottom += inner_bottom
            top += inner_top
    return bottom, blocks, top


def _weights_of(*modules: nn.Module) -> list[nn.Parameter]:
    return [weight for module in modules for weight in module.parameters()]
