"""The command that rebuilds the compact CLIP: ``python -m starter --data HARMEME``.

Stages: texts (embeddings of the sentence teacher), pictures (features of the picture teacher), text-tower,
picture-tower, export. An interrupted stage is resumed; the two towers may be trained side by side in two shells.
"""

from __future__ import annotations

import random
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
import torch
import transformers
from filelock import FileLock

from memeguard.errors import MemeguardError
from memeguard.output_folder import check_writable
from memes.reading import read_split
from starter.distill import PICTURE_RECIPE, TEXT_RECIPE, learn, read_weights
from starter.lessons import Illustrated, PictureLessons, TextLessons, write_picture_lessons, write_text_lessons
from starter.materials import fetch_packages, fetch_teachers, find_pictures
from starter.objectives import PictureLesson, TextLesson
from starter.student import Student, make_student, save_student
from starter.texts import collect_texts

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from memes.meme import Meme

STAGES: Final = ("texts", "pictures", "text-tower", "picture-tower", "export")
_CROPS_PER_MEME: Final = 8
_EVERY_NTH: Final = 4  # of the packages' pictures; most are similar clip art
_SEED: Final = 0
_FOLDER: Final = click.Path(path_type=Path, file_okay=False)


class Rebuild:
    """All stages, with one folder for what they compute."""

    def __init__(self, data: Path, work: Path, out: Path) -> None:
        self._work, self._out = work, out
        check_writable(out)
        work.mkdir(parents=True, exist_ok=True)
        self._packages, self._teachers = fetch_packages(work), fetch_teachers(work)
        self._memes: Sequence[Meme] = list(read_split(data, "train"))
        self._captions = [meme.text for meme in self._memes]
        self._texts = collect_texts(self._captions, self._packages, random.Random(_SEED))  # noqa: S311 - no secret

    def texts(self) -> TextLessons:
        """Compute the embeddings of the sentence teacher."""
        return write_text_lessons(self._work, self._texts, self._teachers)

    def pictures(self) -> PictureLessons:
        """Compute the features of the picture teacher."""
        memes = [
            Illustrated(path=meme.image_path, saying=meme.text, is_named=False, num_crops=_CROPS_PER_MEME)
            for meme in self._memes
        ]
        chosen = [picture for picture in find_pictures(self._packages) if not picture.is_poster()][::_EVERY_NTH]
        others = [Illustrated(path=path, saying=name, is_named=True, num_crops=1) for path, name in chosen]
        return write_picture_lessons(self._work, [*memes, *others], self._teachers, _SEED)

    def text_tower(self) -> None:
        """Train the text tower."""
        student = self._student()
        lesson = TextLesson(student, self.texts(), len(self._captions), TEXT_RECIPE)
        learn(lesson, student, TEXT_RECIPE, self._path("text"), self._log("text"), title="text tower")

    def picture_tower(self) -> None:
        """Train the picture tower."""
        student = self._student()
        lesson = PictureLesson(student, self.pictures(), PICTURE_RECIPE)
        learn(lesson, student, PICTURE_RECIPE, self._path("picture"), self._log("picture"),
              extra=lesson.projector, title="picture tower")  # fmt: skip

    def export(self) -> None:
        """Combine both towers and write them in the hub's layout."""
        student = self._student()
        for name, recipe in (("text", TEXT_RECIPE), ("picture", PICTURE_RECIPE)):
            weights = read_weights(self._path(name), recipe, title=f"{name} tower")
            student.clip.load_state_dict(weights, strict=False)
        save_student(student, self._out)

    def _student(self) -> Student:
        torch.manual_seed(_SEED)
        return make_student(self._teachers, self._texts)

    def _path(self, name: str) -> Path:
        return self._work / f"{name}-tower.safetensors"

    def _log(self, name: str) -> Callable[[int, float], None]:
        started = time.monotonic()

        def log(step: int, loss: float) -> None:
            with (self._work / f"{name}-tower.log").open("a") as file:
                file.write(f"{step}\t{loss:.4f}\t{time.monotonic() - started:.0f} s\n")

        return log


@click.command()
@click.option("--data", type=_FOLDER, required=True, help="Labelled memes.")
@click.option(
    "--work",
    type=_FOLDER,
    default=Path("run/starter"),
    show_default=True,
    help="Folder of packages, teachers and checkpoints.",
)
@click.option("--out", type=_FOLDER, default=Path(__file__).parent / "compact", help="Folder of the CLIP.")
@click.option("--stage", type=click.Choice(STAGES), multiple=True, help="Run this stage only; may be repeated.")
def main(data: Path, work: Path, out: Path, stage: tuple[str, ...]) -> None:
    """Rebuild the compact CLIP from the memes in DATA, of which it reads the training split without its labels."""
    transformers.utils.logging.disable_progress_bar()  # of reading files that are here already
    try:
        rebuild = Rebuild(data, work, out)
        for name in stage or STAGES:
            click.echo(f"{name} …")
            with FileLock(work / f"{name}.lock"):  # another process at this stage finishes it first
                getattr(rebuild, name.replace("-", "_"))()
    except (MemeguardError, OSError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
