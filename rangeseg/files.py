"""Files: written so that nobody ever sees half of one, and tensors read without running what a file asks for."""

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
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

Content = bytes | Callable[[BinaryIO], object]
"""Of a file: its bytes, or a function that writes them to the open binary file it is given."""

TEMPORARY = f".rangeseg-{re.sub(r'[^A-Za-z0-9.]', '_', platform.node())[:64]}-"
"""What files begin with that are not whole yet: this machine; then follow the process and ``.tmp``."""


def write_atomically(path: str | Path, content: Content) -> None:
    """Write a file atomically: after a crash it is either complete or unchanged.

    The content goes to a temporary file in the same folder, is flushed to the disk and then takes the name, and the
    mode and owner of the file that was there. A link stays and its target is written. What is no file (a device, a
    pipe, ``/dev/stdout``) is written to as it is. Missing parent folders are made; temporary files that killed
    processes left in the folder are removed.

    Args:
        path: the file.
        content: of it.

    Raises:
        OSError: it cannot be written, or is a pipe that nobody reads.
    """
    path = Path(path)
    if (through := _open_special(path)) is not None:
        _write_through(through, content)
        return
    path = Path(os.path.realpath(path))  # a link's target, which need not be there
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
        os.replace(temporary, path)  # noqa: PTH105 - the call that is atomic, by its own name
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        cause = error if isinstance(error, OSError) else error.__context__  # torch hides that the disk is full
        if isinstance(error, Exception) and isinstance(cause, OSError) and cause.filename is None:
            raise OSError(cause.errno, cause.strerror, str(path)) from error
        raise


def plain_file(path: str | Path) -> Path:
    """The same path, if it may be read: OSError of folders, pipes, sockets and devices, which may have no end.

    What a shell makes of ``<(command)`` is allowed, and a path that leads nowhere: to open it says so.
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
    """A file's content; OSError where there is none, it is no file, or does not fit into memory."""
    try:
        return plain_file(path).read_bytes()
    except MemoryError:
        raise OSError(errno.ENOMEM, "does not fit into memory", str(path)) from None


def check_stored(path: str | Path) -> None:
    """Refuse, by a ValueError, an archive that expands: torch stores tensors as they are."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if (expanded := sum(entry.file_size for entry in archive.infolist())) > Path(path).stat().st_size:
                raise ValueError(f"it expands to {expanded} bytes, which no checkpoint does")


def check_writable(path: Path) -> None:
    """Find out before the work whether a file can be written in its end; nothing is made.

    Raises:
        OSError: it is a folder, there is a file where a folder would be, its name is too long, or rights are missing.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        mode = None
    if mode is not None and stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "is a folder; name a file", str(path))
    check_folder(path.parent) if mode is None or stat.S_ISREG(mode) else None


def check_folder(folder: Path) -> None:
    """The same of a folder that files are to be written to, or made in.

    Raises:
        OSError: as `check_writable`.
    """
    near = next((place for place in (folder, *folder.parents) if place.exists()), Path())
    if not near.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "is no folder; name another", str(near))
    if not os.access(near, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, "cannot be written to; name another folder", str(near))


def expand_home(value: Any) -> Any:
    """The same with every text or path in it that begins with ``~`` as the shell would have it: below a home folder."""
    if isinstance(value, dict):
        return {key: expand_home(within) for key, within in value.items()}
    if isinstance(value, list):
        return [expand_home(within) for within in value]
    if isinstance(value, str | Path) and re.match(r"~[^/\\]*([/\\]|$)", str(value)):
        return type(value)(os.path.expanduser(value))  # noqa: PTH111 - leaves unknown users alone
    return value


def _open_special(path: Path) -> int | None:
    """A descriptor to write to what is no plain file; None where one is, or nothing."""
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
    """The number that ``/dev/stdout`` and the like stand for; to open them anew would begin a file at its start."""
    text = os.path.abspath(path)  # noqa: PTH100 - resolve() would follow the link
    for _ in range(40):  # links, as the system allows
        if found := re.fullmatch(r"/(?:dev|proc/(?:self|\d+))/fd/(\d+)", text):
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
        with tempfile.NamedTemporaryFile() as draft:  # for content that goes back, as zip files do
            content(cast(BinaryIO, draft.file))
            draft.seek(0)
            shutil.copyfileobj(draft, file)


def _copy_rights(of: Path, to: Path) -> None:
    status = of.stat()
    if sys.platform != "win32" and (status.st_uid, status.st_gid) != (to.stat().st_uid, to.stat().st_gid):
        with suppress(PermissionError):  # only root gives files away
            os.chown(to, status.st_uid, status.st_gid)
    to.chmod(stat.S_IMODE(status.st_mode))


@lru_cache(maxsize=4096)
def _remove_stale(folder: Path) -> None:
    """Remove the temporary files that processes of this machine left which are no more; once in a process."""
    for path in folder.glob(f"{TEMPORARY}*.tmp"):
        found = re.fullmatch(r"(\d+)-[0-9a-f]{8}\.tmp", path.name.removeprefix(TEMPORARY))
        if found and not is_running(int(found[1])):
            try:
                with path.open("ab") as file:
                    if try_lock(file):
                        path.unlink()
            except OSError:
                continue  # somebody else's, or gone


def is_running(process: int) -> bool:
    """A process of this number is there."""
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
    """Take a file for as long as it is open; however a process ends, its locks end with it.

    Returns:
        False where another process has it. True also where the file system knows no locks.
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


def walk(folder: Path) -> Iterator[Path]:
    """The files below a folder, also through links to folders, each by the path that leads to it; no circle twice."""
    for place, folders, names in os.walk(folder, followlinks=True):
        parent = Path(place)
        yield from (parent / name for name in names if (parent / name).is_file())
        above = os.path.realpath(parent) + os.sep
        folders[:] = [name for name in folders if not above.startswith(os.path.realpath(parent / name) + os.sep)]


def inside(folder: str | Path, name: str | Path) -> Path:
    """The path of a name that data chose: of a table, a list, a token, a custom dataset's prediction.

    Links on the disk are the user's, and followed; what counts is the name alone.

    Args:
        folder: where it belongs.
        name: relative to the folder, perhaps with folders of its own.

    Raises:
        ValueError: it is absolute, has a drive letter or a NUL, climbs by ``..``, or names no file.
    """
    text = os.fspath(name)
    parts = re.split(r"[/\\]", text)
    absolute = parts[0] == "" or re.match(r"[A-Za-z]:[/\\]", text) or (os.name == "nt" and ":" in text)
    if absolute or ".." in parts or "\0" in text or not set(parts) - {"", "."}:
        raise ValueError(
            f"{text!r} leads out of {folder}; a name in data stays below its folder. Use this data only if you know "
            "who made it."
        )
    return Path(folder, name)


def load_tensors(path: str | Path) -> Any:
    """What `torch.save` wrote, on the CPU; runs no code of the file. A ValueError says the cause alone, in one line."""
    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch speaks of pickle's protocols
            check_stored(path)
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged or foreign file makes torch raise
        raise ValueError(cause_of(error)) from error


def cause_of(error: BaseException) -> str:
    """Why a file could not be read, in one line; of torch's errors not its advice to let the file run its code."""
    first = error.__context__ if "weights_only" in str(error) and error.__context__ else error
    line = next(iter(str(first).strip().splitlines()), "") or type(first).__name__
    return line.partition(". Please use")[0].rstrip(".")
