"""Files: atomic writing, checks of paths, and reading of tensors without running code of the file."""

from __future__ import annotations

import errno
import os
import platform
import re
import secrets
import shutil
import stat
import sys
import tempfile
import warnings
import zipfile
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

from rangeseg.paths import absolute

Content = bytes | Callable[[BinaryIO], object]
"""Content of a file: bytes, or a function that writes them to an open binary file."""

Version = tuple[int, int]
"""Time of the last change, nanoseconds, and size, bytes, of a file or folder; (0, 0) if it does not exist."""

TEMPORARY = f".rangeseg-{re.sub(r'[^A-Za-z0-9.]', '_', platform.node())[:64]}-"
"""Prefix of temporary files, with the name of this machine. The process id, a random number and ``.tmp`` follow."""


def write_atomically(path: str | Path, content: Content) -> None:
    """Write a file atomically: after a crash it is either complete or unchanged.

    The content is written to a temporary file in the same folder and flushed to the disk. The temporary file gets the
    mode and owner of the existing file, if there is one, and replaces it. If the path is a link, its target is
    replaced. A device, a pipe or ``/dev/stdout`` is written to directly. Missing parent folders are made. Temporary
    files that killed processes left in the folder are removed.

    Args:
        path: path of the file.
        content: content of the file.

    Raises:
        OSError: the file cannot be written, or is a pipe without a reader.
    """
    path = Path(path)
    if (through := _open_special(path)) is not None:
        _write_through(through, content)
        return
    path = Path(os.path.realpath(path))  # the target of a link; it need not exist
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_stale(path.parent)
    temporary = path.with_name(f"{TEMPORARY}{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("xb") as file:
            try_lock(file)
            if path.exists():
                _copy_rights(path, temporary)
            if isinstance(content, bytes):
                file.write(content)
            else:
                content(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)  # noqa: PTH105 - os.replace is the atomic call
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        cause = error if isinstance(error, OSError) else error.__context__  # torch replaces the error of a full disk
        if isinstance(error, Exception) and isinstance(cause, OSError) and cause.filename is None:
            raise OSError(cause.errno, cause.strerror, str(path)) from error
        raise


def plain_file(path: str | Path) -> Path:
    """Return the path if it is a regular file. Pipes, sockets and devices may have no end, so they are rejected.

    The pipe that a shell makes from ``<(command)`` and ``/dev/stdin`` are accepted. A path that does not exist is
    accepted too, because opening it raises an error.

    Raises:
        OSError: the path is a folder, a pipe, a socket or a device.
    """
    path = Path(path)
    try:
        mode = path.stat().st_mode
    except OSError:
        return path
    if stat.S_ISREG(mode) or _descriptor_named(path) is not None or str(path) == "/dev/stdin":
        return path
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "is a folder, not a file", str(path))
    kind = "pipe" if stat.S_ISFIFO(mode) else "socket" if stat.S_ISSOCK(mode) else "device"
    raise OSError(errno.EINVAL, f"is a {kind}, not a file", str(path))


def read_whole(path: str | Path) -> bytes:
    """Read the content of a file; OSError if it cannot be read, is not a regular file, or does not fit into memory."""
    try:
        return plain_file(path).read_bytes()
    except MemoryError:
        raise OSError(errno.ENOMEM, "does not fit into memory", str(path)) from None


def version_of(path: str | Path) -> Version:
    """The version of a file or folder: it differs after a change, so what was read before must be read again."""
    try:
        status = Path(path).stat()
    except OSError:
        return 0, 0
    return status.st_mtime_ns, status.st_size


def check_stored(path: str | Path) -> None:
    """Raise a ValueError for a compressed zip file: torch stores tensors uncompressed, so it is not a checkpoint."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if (expanded := sum(entry.file_size for entry in archive.infolist())) > Path(path).stat().st_size:
                raise ValueError(f"it expands to {expanded} bytes, but checkpoints are not compressed")


def check_writable(path: Path) -> None:
    """Check before some work whether its output file can be written; nothing is created.

    Raises:
        OSError: the path is a folder, a parent folder is a file, the name is too long, or permissions are missing.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        mode = None
    if mode is not None and stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "is a folder; name a file", str(path))
    check_folder(path.parent) if mode is None or stat.S_ISREG(mode) else None


def check_folder(folder: Path) -> None:
    """Check whether files can be written to a folder, or the folder can be made; nothing is created.

    Raises:
        OSError: as `check_writable`.
    """
    near = next((place for place in (folder, *folder.parents) if place.exists()), Path())
    if not near.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "is no folder; name another", str(near))
    if not os.access(near, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, "cannot be written to; name another folder", str(near))


def _open_special(path: Path) -> int | None:
    """A descriptor for writing to a device, a pipe or ``/dev/stdout``; None for a regular or missing file."""
    if (number := _descriptor_named(path)) is not None:
        if number == 1:
            sys.stdout.flush()
        return os.dup(number)
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "is a folder; name a file", str(path))
    if stat.S_ISREG(mode):
        return None
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK)  # a pipe without a reader is an error, not a wait
    except OSError as error:
        reason = "no program reads from this pipe" if error.errno == errno.ENXIO else error.strerror
        raise OSError(error.errno, reason, str(path)) from error
    os.set_blocking(descriptor, True)
    return descriptor


def _descriptor_named(path: Path) -> int | None:
    """The descriptor that ``/dev/stdout`` or a similar path names; opening the path would write from a file's start."""
    text = str(absolute(path))
    for _ in range(40):  # the system's limit of links in a path
        if found := re.fullmatch(rf"/(?:dev|proc/(?:self|{os.getpid()}))/fd/(\d+)", text):
            return int(found[1])
        if not Path(text).is_symlink():
            break
        text = os.path.normpath(Path(text).parent / Path(text).readlink())
    return None


def _write_through(descriptor: int, content: Content) -> None:
    with os.fdopen(descriptor, "wb") as file:
        if isinstance(content, bytes):
            file.write(content)
            return
        with tempfile.NamedTemporaryFile() as draft:  # for writers that seek, such as those of zip files
            content(cast(BinaryIO, draft.file))
            draft.seek(0)
            shutil.copyfileobj(draft, file)


def _copy_rights(of: Path, to: Path) -> None:
    status = of.stat()
    if sys.platform != "win32" and (status.st_uid, status.st_gid) != (to.stat().st_uid, to.stat().st_gid):
        with suppress(PermissionError):  # only root may change the owner
            os.chown(to, status.st_uid, status.st_gid)
    to.chmod(stat.S_IMODE(status.st_mode))


@lru_cache(maxsize=4096)
def _remove_stale(folder: Path) -> None:
    """Remove temporary files left by dead processes of this machine; once per folder and process."""
    for path in folder.glob(f"{TEMPORARY}*.tmp"):
        found = re.fullmatch(r"(\d+)-[0-9a-f]{8}\.tmp", path.name.removeprefix(TEMPORARY))
        if found and not is_running(int(found[1])):
            try:
                with path.open("ab") as file:
                    if try_lock(file):
                        path.unlink()
            except OSError:
                continue  # no permission, or the file is already removed


def is_running(process: int) -> bool:
    """Whether a process with this id exists; always True on Windows."""
    if sys.platform == "win32":
        return True  # os.kill would end it
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def try_lock(file: IO[Any]) -> bool:
    """Lock a file while it is open. The lock ends with the process, however the process ends.

    Returns:
        False if another process has locked the file. True also if the file system has no locks.
    """
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in (errno.EAGAIN, errno.EACCES, errno.EDEADLK)
    return True


def load_tensors(path: str | Path) -> Any:
    """Load a file of `torch.save` to the CPU, without running its code. A ValueError has the cause in one line."""
    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns about pickle protocols
            check_stored(path)
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged or foreign file makes torch raise
        raise ValueError(cause_of(error)) from error


def cause_of(error: BaseException) -> str:
    """Why a file could not be read, in one line, without torch's advice to let the file run its code."""
    first = error.__context__ if "weights_only" in str(error) and error.__context__ else error
    line = next(iter(str(first).strip().splitlines()), "") or type(first).__name__
    return line.partition(". Please use")[0].rstrip(".")
