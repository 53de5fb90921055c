"""The teachers' embeddings are computed once; an interrupted run is resumed, and other inputs are computed again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from memeguard.preprocess import decode_image, resize_image
from starter import lessons as lessons_module
from starter.lessons import Illustrated, PictureLessons, TextLessons, write_picture_lessons, write_text_lessons
from starter.student import PICTURE_SIZE
from starter.teachers import PICTURE_DIM, TEXT_DIM, PictureTeacher, SentenceTeacher

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

TEXTS = [
    "the cat",
    "a dog barks at the mat",
    "",
    "when you read",
    *(f"the cat and {number} dogs" for number in range(9)),
]
PER_NOTE = 4  # texts that are asked about between two notes of progress


class Stop(Exception):  # noqa: N818 - no error
    """A run that is stopped."""


class Class:
    """Remembers what the sentence teacher was asked, and is dismissed after ``num`` questions."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.num = 10**9

    def reset(self, num: int = 10**9) -> None:
        self.asked, self.num = [], num


@pytest.fixture
def questions(monkeypatch: pytest.MonkeyPatch) -> Class:
    """Small batches, so that there is something between them."""
    monkeypatch.setattr(lessons_module, "_BATCH", 2)
    monkeypatch.setattr(lessons_module, "_BATCHES_AT_ONCE", 2)
    questions, embed = Class(), SentenceTeacher.embed

    def listen(self: SentenceTeacher, texts: Sequence[str]) -> NDArray[np.float16]:
        if len(questions.asked) + len(texts) > questions.num:
            raise Stop
        questions.asked.extend(texts)
        return embed(self, texts)

    monkeypatch.setattr(SentenceTeacher, "embed", listen)
    return questions


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Illustrated]:
    """Five files; crops of two of them."""
    folder = tmp_path_factory.mktemp("pictures")
    found = []
    for row, num_crops in enumerate((3, 1, 1, 2, 1)):
        pixels = np.random.default_rng(row).integers(0, 256, (40 + row, 60, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{row}.png")
        path = folder / f"{row}.png"
        found.append(Illustrated(path=path, saying=f"the cat {row}", is_named=num_crops == 1, num_crops=num_crops))
    return found


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_every_text_is_answered_in_its_place(questions: Class, teachers: Path, tmp_path: Path) -> None:
    lessons = write_text_lessons(tmp_path, TEXTS, teachers)
    assert isinstance(lessons, TextLessons)
    assert lessons.texts == TEXTS
    assert sorted(questions.asked) == sorted(TEXTS)
    assert (lessons.embeddings_ND.shape, lessons.embeddings_ND.dtype) == ((len(TEXTS), TEXT_DIM), np.float16)
    teacher = SentenceTeacher(teachers)
    for row, text in enumerate(TEXTS):
        (expected,) = teacher.embed([text])
        np.testing.assert_allclose(lessons.embeddings_ND[row], expected, atol=0.02)  # padding alters bfloat16
    np.testing.assert_allclose(np.linalg.norm(lessons.embeddings_ND.astype(np.float32), axis=1), 1, atol=0.01)
    assert np.abs(lessons.embeddings_ND[0] - lessons.embeddings_ND[1]).max() > 0.05


@pytest.mark.parametrize("num", [0, 6, 12])
def test_texts_go_on_where_they_were_stopped(questions: Class, teachers: Path, tmp_path: Path, num: int) -> None:
    write_text_lessons(tmp_path / "whole", TEXTS, teachers)
    asked = questions.asked
    questions.reset(num)
    with pytest.raises(Stop):
        write_text_lessons(tmp_path / "stopped", TEXTS, teachers)
    questions.reset()
    write_text_lessons(tmp_path / "stopped", TEXTS, teachers)
    assert questions.asked == asked[num // PER_NOTE * PER_NOTE :]
    assert bytes_of(tmp_path / "stopped") == bytes_of(tmp_path / "whole")


def test_what_is_done_needs_no_teacher(questions: Class, teachers: Path, tmp_path: Path) -> None:
    expected = write_text_lessons(tmp_path / "work", TEXTS, teachers).embeddings_ND.tobytes()
    questions.reset()
    again = write_text_lessons(tmp_path / "work", TEXTS, tmp_path / "no teachers")
    assert not questions.asked
    assert again.embeddings_ND.tobytes() == expected


@pytest.mark.parametrize(
    "other", [TEXTS[:-1], [*TEXTS[:-1], "the cat"], TEXTS[::-1], ["the cata", TEXTS[1][1:], *TEXTS[2:]]]
)
def test_other_texts_are_embedded_again(questions: Class, teachers: Path, tmp_path: Path, other: list[str]) -> None:
    write_text_lessons(tmp_path / "work", TEXTS, teachers)
    questions.reset()
    write_text_lessons(tmp_path / "work", other, teachers)
    assert sorted(questions.asked) == sorted(other)
    write_text_lessons(tmp_path / "new", other, teachers)
    assert bytes_of(tmp_path / "work") == bytes_of(tmp_path / "new")


@pytest.mark.parametrize("other", [TEXTS[::-1], TEXTS[:5]])
def test_texts_whose_arrays_were_overwritten_are_embedded_again(
    questions: Class, teachers: Path, tmp_path: Path, other: list[str]
) -> None:
    """What was noted down of them is no longer there, although the others were stopped at once."""
    expected = write_text_lessons(tmp_path / "work", TEXTS, teachers).embeddings_ND.tobytes()
    questions.reset(0)
    with pytest.raises(Stop):
        write_text_lessons(tmp_path / "work", other, teachers)
    questions.reset()
    assert write_text_lessons(tmp_path / "work", TEXTS, teachers).embeddings_ND.tobytes() == expected


def test_a_file_that_was_removed_is_made_again(questions: Class, teachers: Path, tmp_path: Path) -> None:
    write_text_lessons(tmp_path, TEXTS, teachers)
    before = bytes_of(tmp_path)
    (tmp_path / "texts-embeddings.npy").unlink()
    write_text_lessons(tmp_path, TEXTS, teachers)
    assert bytes_of(tmp_path) == before


def test_crops_are_the_whole_first_and_answered_in_their_places(
    questions: Class, teachers: Path, tmp_path: Path, pictures: list[Illustrated]
) -> None:
    lessons = write_picture_lessons(tmp_path, pictures, teachers, 0)
    assert isinstance(lessons, PictureLessons)
    assert (lessons.pixels_NCHW.shape, lessons.pixels_NCHW.dtype) == ((8, 3, PICTURE_SIZE, PICTURE_SIZE), np.uint8)
    assert (lessons.features_ND.shape, lessons.features_ND.dtype) == ((8, PICTURE_DIM), np.float16)
    assert (lessons.sayings_MD.shape, lessons.sayings_MD.dtype) == ((5, TEXT_DIM), np.float16)
    assert lessons.said_N.tolist() == [0, 0, 0, 1, 2, 3, 3, 4]
    assert lessons.named_N.tolist() == [False] * 3 + [True] * 2 + [False] * 2 + [True]
    picture_teacher, sentence_teacher = PictureTeacher(teachers), SentenceTeacher(teachers)
    for row, picture in zip((0, 3, 4, 5, 7), pictures, strict=True):
        whole = decode_image(picture.path.read_bytes())
        assert np.array_equal(lessons.pixels_NCHW[row], resize_image(whole, PICTURE_SIZE))
        np.testing.assert_allclose(lessons.features_ND[row], picture_teacher.embed([whole])[0], atol=0.01)
    for said, saying in zip(lessons.sayings_MD, sentence_teacher.embed([one.saying for one in pictures]), strict=True):
        np.testing.assert_allclose(said, saying, atol=0.02)
    assert len({crop.tobytes() for crop in lessons.pixels_NCHW}) == 8
    assert len({features.tobytes() for features in lessons.features_ND}) == 8


@pytest.mark.parametrize("num", [0, 4])
def test_pictures_go_on_where_they_were_stopped(
    questions: Class, teachers: Path, tmp_path: Path, pictures: list[Illustrated], num: int
) -> None:
    write_picture_lessons(tmp_path / "whole", pictures, teachers, 0)
    asked = questions.asked
    questions.reset(num)
    with pytest.raises(Stop):
        write_picture_lessons(tmp_path / "stopped", pictures, teachers, 0)
    questions.reset()
    write_picture_lessons(tmp_path / "stopped", pictures, teachers, 0)
    assert questions.asked == asked[num:]
    assert bytes_of(tmp_path / "stopped") == bytes_of(tmp_path / "whole")


def test_pictures_stopped_between_two_crops_are_asked_about_again(
    questions: Class, teachers: Path, tmp_path: Path, pictures: list[Illustrated], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_picture_lessons(tmp_path / "whole", pictures, teachers, 0)
    embed = PictureTeacher.embed
    with monkeypatch.context() as patch:
        patch.setattr(PictureTeacher, "embed", lambda self, crops: embed(self, crops) if len(crops) != 2 else 1 / 0)
        with pytest.raises(ZeroDivisionError):
            write_picture_lessons(tmp_path / "stopped", pictures, teachers, 0)
    questions.reset()
    write_picture_lessons(tmp_path / "stopped", pictures, teachers, 0)
    assert questions.asked == ["the cat 2", "the cat 3", "the cat 4"]
    assert bytes_of(tmp_path / "stopped") == bytes_of(tmp_path / "whole")


def test_another_seed_asks_about_other_crops(
    questions: Class, teachers: Path, tmp_path: Path, pictures: list[Illustrated]
) -> None:
    first = np.array(write_picture_lessons(tmp_path, pictures, teachers, 0).pixels_NCHW)
    other = write_picture_lessons(tmp_path, pictures, teachers, 1).pixels_NCHW
    same = [np.array_equal(one, two) for one, two in zip(first, other, strict=True)]
    assert same == [True, False, False, True, True, True, False, True]


def test_a_long_text_is_read_as_far_as_the_teacher_can(teachers: Path) -> None:
    teacher = SentenceTeacher(teachers)
    long, cut = teacher.embed(["cat " * 500]), teacher.embed(["cat " * 126])
    assert np.array_equal(long, cut)


def test_a_text_is_heard_alike_beside_a_longer_one(teachers: Path) -> None:
    """Beside which it is padded."""
    teacher = SentenceTeacher(teachers)
    (alone,), (beside, other) = teacher.embed(["the cat"]), teacher.embed(["the cat", "a dog barks at the mat " * 9])
    cosines = [float(alone.astype(np.float32) @ one.astype(np.float32)) for one in (beside, other)]
    assert cosines[0] > 0.995 > cosines[1]
