"""Open a bundle that is a folder or inside an archive."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

from memeguard.bundle_files import CONFIG, hash_file
from memeguard.errors import BundleError
from memeguard.regular_file import RefusedFileError, open_regular

if TYPE_CHECKING:
    from collections.abc import Iterator

_FOLDER: Final = "bundle"  # of the bundle in an archive, see archiving.archive
_MAX_BYTES: Final = 16 * 2**30  # ten times the largest CLIP; an archive that unpacks to more is meant to fill a disk


@contextlib.contextmanager
def open_bundle(source: Path) -> Iterator[Path]:
    """The folder of the bundle in ``source``, a folder or a .mar archive; an archive is unpacked to a temporary folder.

    Raises:
        BundleError: ``source`` is neither of them, or the archive has no bundle or a member outside its folder.
    """
    if source.is_dir():
        yield source
    elif not source.exists():
        raise BundleError(f"{source} does not exist; a bundle is a folder or a .mar archive")
    else:
        with tempfile.TemporaryDirectory(prefix="memeguard-") as scratch:
            _unpack(source, Path(scratch))
            yield Path(scratch) / _FOLDER


def hash_bundle(folder: Path) -> str:
    """SHA-256, in hex, of config.json, which contains the hashes of weights and tokenizer."""
    return hash_file(folder / CONFIG)


def _unpack(archive: Path, folder: Path) -> None:
    try:
        with os.fdopen(open_regular(archive, max_bytes=_MAX_BYTES), "rb") as stream, zipfile.ZipFile(stream) as file:
            members = file.infolist()
            for member in members:
                _check_member(archive, member)
            if (size := sum(member.file_size for member in members)) > _MAX_BYTES:
                raise BundleError(f"{archive} unpacks to {size} bytes; the limit is {_MAX_BYTES}")
            wanted = [member for member in members if PurePosixPath(member.filename).parts[:1] == (_FOLDER,)]
            if not wanted:
                raise BundleError(f"{archive} holds no folder {_FOLDER}; it is not a memeguard archive")
            file.extractall(folder, members=wanted)
    except RefusedFileError as error:
        raise BundleError(f"{archive} is neither a bundle's folder nor an archive: {error.strerror}") from error
    except PermissionError as error:
        raise BundleError(f"{archive} may not be read: {error.strerror}") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise BundleError(f"{archive} is neither a bundle's folder nor a readable archive: {error}") from error


def _check_member(archive: Path, member: zipfile.ZipInfo) -> None:
    path = PurePosixPath(member.filename)
    if path.is_absolute() or ".." in path.parts or "\\" in member.filename:
        raise BundleError(f"{archive} has a member that leaves its folder, {member.filename!r}")
    if stat.S_ISLNK(member.external_attr >> 16):
        raise BundleError(f"{archive} has a member that is a link, {member.filename!r}")
