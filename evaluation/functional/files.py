"""Read a functional test from a CSV in HateCheck's layout (Röttger et al. 2021), or in that of tests like it.

HateCheck and Multilingual HateCheck have the columns functionality, test_case, label_gold and target_ident;
HatemojiCheck, XSTest and Jigsaw's identity templates name them otherwise. A column of pictures' names is optional.
"""

from __future__ import annotations

import functools
import hashlib
from typing import TYPE_CHECKING, Any, Final

from evaluation.functional.cases import Case, Suite
from memeguard.regular_file import read_picture
from memes.meme import Label, RowErrors
from memes.multioff import LABELS
from memes.plain_csv import IMAGE_COLUMNS, TEXT_COLUMNS
from memes.row_values import find_picture_name
from memes.table import CsvTable
from memes.text_file import check_text, open_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from memes.text_file import TextFile

MAX_CASES: Final = 200_000
# The names that each column may have, in lower case; of several that are there, the first counts.
_COLUMNS: Final = {
    "text": ("test_case", *TEXT_COLUMNS, "prompt", "phrase"),
    "label": ("label_gold", "label", "toxicity"),
    "functionality": ("functionality", "type", "template"),
    "group": ("target_ident", "target", "group"),
    "image": (*IMAGE_COLUMNS, "img"),
}
_OPTIONAL: Final = frozenset({"group", "image"})
_LABEL_WORDS: Final = LABELS | {
    **dict.fromkeys(("hateful", "1", "toxic", "unsafe"), Label.OFFENSIVE),
    **dict.fromkeys(("non-hateful", "0", "nontoxic", "safe"), Label.NON_OFFENSIVE),
}
_NO_GROUP: Final = frozenset({"", "none"})  # in lower case


def read_suite(path: Path, *, images: Path | None = None, max_skipped: int = 0) -> Suite:
    """Read the cases in the file ``path``, in its order.

    Args:
        path: A CSV with a header.
        images: The folder that the pictures' names are relative to; the file's folder if not given.
        max_skipped: How many faulty rows may be left out.

    Raises:
        DataError: Lists everything that is wrong with the file.
    """
    errors = RowErrors(max_skipped=max_skipped)
    file = open_text(path, errors)
    cases: list[Case] = []
    digest = hashlib.sha256()
    folder = images or path.parent
    if file and check_text(file, f"the columns {', '.join(names[0] for names in _COLUMNS.values())}", errors):
        for block in file.blocks():
            digest.update(block)
        cases = _read_cases(file, folder, errors)
    errors.raise_any()
    return Suite(
        name=path.stem,
        sha256=digest.hexdigest(),
        cases=cases,
        read_picture=functools.partial(_read_picture, folder),
        skipped=errors.skipped(),
    )


def _read_picture(folder: Path, name: str) -> bytes:
    return read_picture(folder / name, root=folder)


def _read_cases(file: TextFile, folder: Path, errors: RowErrors) -> list[Case]:
    table = CsvTable(file)
    columns = _find_columns(table, file, errors)
    cases: list[Case] = []
    if columns is None:
        return cases
    for row in table:
        if row.hides_rows:  # an open quote may have swallowed any number of cases
            errors.add_file_error(f"{file.path}, row {row.number}: {row.fault}")
            break
        faults = [row.fault] if row.fault else list(_find_faults(row.values, columns, folder))
        for fault in faults:
            errors.add(file.path, row.number, fault)
        if not faults:
            cases.append(_make_case(row.values, columns, folder, f"{file.path.name}, row {row.number}"))
        if len(cases) > MAX_CASES:
            errors.add_file_error(f"{file.path}: more than {MAX_CASES} cases, the limit")
            break
    if not cases:
        errors.add_file_error(f"{file.path}: no case below the header can be read")
    return cases


def _find_columns(table: CsvTable, file: TextFile, errors: RowErrors) -> dict[str, str] | None:
    """The columns as the header spells them, by what they hold; None if one is missing or repeated."""
    there = [name.strip().casefold() for name in table.columns]
    num_errors, found = len(errors), {}
    for what, names in _COLUMNS.items():
        name = next((name for name in names if name in there), None)
        if name is not None and there.count(name) == 1:
            found[what] = table.columns[there.index(name)]
        elif name is not None or what not in _OPTIONAL:
            which = f"repeated column, {name!r}" if name else f"missing column, {' or '.join(map(repr, names))}"
            errors.add_file_error(
                f"{file.path}, row {table.header_row}: {which}; the header has {', '.join(map(repr, there)) or 'none'}"
            )
    return found if len(errors) == num_errors else None


def _find_faults(values: Mapping[str, Any], columns: Mapping[str, str], folder: Path) -> Iterator[str]:
    """Everything that is wrong with a row."""
    if not values[columns["functionality"]].strip():
        yield f"empty {columns['functionality']}"
    if _find_label(spelled := values[columns["label"]]) is None:
        yield f"unknown label, {spelled!r}; it must be one of {', '.join(_LABEL_WORDS)}"
    image = columns.get("image")
    if image and values[image].strip():
        _, fault = find_picture_name(values[image], image, folder, "the folder of the pictures")
        if fault:
            yield fault
    elif not values[columns["text"]].strip():
        yield f"empty {columns['text']}; a case needs a caption or a picture"


def _make_case(values: Mapping[str, Any], columns: Mapping[str, str], folder: Path, where: str) -> Case:
    group = values[columns["group"]].strip() if "group" in columns else ""
    label = _find_label(values[columns["label"]])
    assert label is not None  # noqa: S101 - _find_faults found none
    image = columns.get("image")
    named = image is not None and values[image].strip()
    return Case(
        functionality=values[columns["functionality"]].strip(),
        text=values[columns["text"]],
        label=label,
        group="" if group.casefold() in _NO_GROUP else group,
        picture=find_picture_name(values[image], image, folder, "")[0] if image and named else None,
        where=where,
    )


def _find_label(spelled: str) -> Label | None:
    return _LABEL_WORDS.get(spelled.strip().casefold())
