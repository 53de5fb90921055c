"""Recognise the layout of a data folder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from memes import harmeme, hateful_memes, mami, multioff, plain_csv
from memes.listings import list_listings

if TYPE_CHECKING:
    from pathlib import Path

    from memes.listings import Layout, LayoutKind
    from memes.meme import RowErrors

_KINDS: Final = (multioff.KIND, hateful_memes.KIND, harmeme.KIND, mami.KIND, plain_csv.KIND)


def find_layout(directory: Path, errors: RowErrors) -> Layout | None:
    """The layout of ``directory``, by its files and folders of splits; if there is not exactly one, note why."""
    if not directory.is_dir():
        errors.add_file_error(f"{directory}: no such folder")
        return None
    present = list_listings(directory)
    traces = [(kind, found) for kind in _KINDS if (found := kind.find_traces(directory, present))]
    traces = _drop_namesakes(traces)
    if not traces and (directory / multioff.IMAGE_FOLDER).is_dir():
        traces.append((multioff.KIND, [multioff.IMAGE_FOLDER]))  # beside a CSV it may be just a folder of pictures
    if len(traces) == 1:
        kind, _ = traces[0]
        return kind.describe(directory, present, errors)
    if traces:
        listed = " and ".join(f"{kind.name} ({', '.join(found)})" for kind, found in traces)
        errors.add_file_error(f"{directory}: {len(traces)} layouts, {listed}; keep one")
    else:
        known = "; ".join(f"{kind.name} ({kind.expected})" for kind in _KINDS)
        errors.add_file_error(f"{directory}: no known layout, expected one of: {known}")
    return None


def _drop_namesakes(traces: list[tuple[LayoutKind, list[str]]]) -> list[tuple[LayoutKind, list[str]]]:
    """Leave out layouts that match by file name if HarMeme or MAMI match the same files by content."""
    told = [(kind, found) for kind, found in traces if kind in {harmeme.KIND, mami.KIND}]
    claimed = {name for _, found in told for name in found}
    return [(kind, found) for kind, found in traces if (kind, found) in told or not claimed.intersection(found)]
