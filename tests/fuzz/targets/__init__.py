"""What is fuzzed, by name; a target is imported when it is chosen, so that texts need no torch."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tests.fuzz.oracles import Target

_MODULES: Final = {
    "pictures": "pictures",
    "forms": "forms",
    "boundaries": "forms",
    "texts": "texts",
    "data": "data_folders",
    "bundles": "bundles",
    "archives": "archives",
    "cards": "archives",
}
NAMES: Final = tuple(_MODULES)


def load_target(name: str) -> Target:
    """Build the target called ``name``, one of ``NAMES``."""
    module = importlib.import_module(f"tests.fuzz.targets.{_MODULES[name]}")
    target: Target = module.TARGETS[name]()
    return target
