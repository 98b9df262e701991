"""Read the tensors of other code's checkpoint files without running any of its code, and explain unsuitable files."""

from __future__ import annotations

import pickle
import re
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from rangeseg.files import cause_of, check_stored, plain_file

FOREIGN = re.compile(r"GLOBAL ([\w.]+) was not an allowed global")
MOST_FOREIGN = 100

ARCHIVES = {
    b"\x1f\x8b": "compressed (.gz or .tar.gz)",
    b"BZh": "compressed (.bz2)",
    b"\xfd7zXZ": "compressed (.xz)",
    b"\x28\xb5\x2f\xfd": "compressed (.zst)",
    b"7z\xbc\xaf": "an archive (.7z)",
    b"Rar!": "an archive (.rar)",
}
"""First bytes of a compressed file or archive -> what it is."""

WITHIN = ("state_dict", "model_state_dict", "model_state", "model", "net", "teacher")
"""Keys under which a checkpoint keeps its weights, in addition to what training needs."""


class IgnoredObject:
    """Replaces an object of a foreign class in a checkpoint: accepts any arguments and does nothing."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


def read_tensors(path: Path) -> Mapping[str, Any]:
    """Read a checkpoint onto the CPU, without running any code of the file.

    Training code saves schedulers and other objects with the weights; these become `IgnoredObject`s.

    Raises:
        ValueError: the file is missing, damaged or no checkpoint, or holds a whole pickled network or no named weights.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file. Give a published checkpoint.")
    if wrong := _other_kind(path):
        raise ValueError(f"{path}: {wrong}")
    foreign: list[Any] = []
    while True:
        try:
            check_stored(path)
            with torch.serialization.safe_globals(foreign):
                content = torch.load(path, map_location="cpu", weights_only=True)
            break
        except pickle.UnpicklingError as error:
            found = FOREIGN.search(str(error))
            if found is None or len(foreign) == MOST_FOREIGN:
                raise _unreadable(path, error) from error
            foreign.append((IgnoredObject, found[1] if "." in found[1] else f"builtins.{found[1]}"))
        except Exception as error:  # damaged and foreign files make torch raise many kinds of errors
            raise _unreadable(path, error) from error
    held = [content] if not isinstance(content, Mapping) else [content.get(name) for name in WITHIN]
    if any(isinstance(one, IgnoredObject) for one in held) and not any(isinstance(one, Mapping) for one in held):
        raise ValueError(
            f"{path}: contains a pickled network object, which only its original code can load. Load it with that code "
            "and save only the weights: torch.save(network.state_dict(), FILE)."
        )
    if not isinstance(content, Mapping):
        raise ValueError(f"{path}: holds a {type(content).__name__}, not named weights. Save network.state_dict().")
    return content


def _other_kind(path: Path) -> str:
    """Why a file cannot be a checkpoint, and what to do; empty if it may be one."""
    try:
        with plain_file(path).open("rb") as file:
            start = file.read(512)
        packed = next((kind for magic, kind in ARCHIVES.items() if start.startswith(magic)), "")
        # torch of 2016 saved checkpoints as .tar with these members
        if not packed and tarfile.is_tarfile(path) and not _members(path) & {"storages", "tensors"}:
            packed = "an archive (.tar)"
        names = set(zipfile.ZipFile(path).namelist()) if zipfile.is_zipfile(path) else None
    except (OSError, zipfile.BadZipFile, tarfile.TarError, EOFError):
        return ""  # reading it later raises an error with the cause
    if names is not None and not any(name.endswith("data.pkl") for name in names):
        packed = "an archive (.zip)"
    if packed:
        return f"is {packed}, no checkpoint. Unpack it, and give the checkpoint that is in it."
    if names is not None and any(name.endswith("/constants.pkl") for name in names):
        return "is a TorchScript program, no checkpoint. Load it with torch.jit.load and save its state_dict()."
    if start.startswith(b"version https://git-lfs"):
        return "is a pointer of Git LFS, not the file itself. Fetch it: git lfs pull."
    if start.lstrip()[:5].lower() in (b"<html", b"<!doc"):
        return "is a web page, no checkpoint: the download went wrong. Fetch it again with a browser."
    if start[8:9] == b"{" and path.suffix == ".safetensors":
        return "is a safetensors file. Convert it: torch.save(safetensors.torch.load_file(FILE), NEW_FILE)."
    return ""


def _members(path: Path) -> set[str]:
    with tarfile.open(plain_file(path)) as archive:
        return set(archive.getnames())


def _unreadable(path: Path, error: Exception) -> ValueError:
    return ValueError(
        f"{path}: cannot be read as a checkpoint of torch ({cause_of(error)}). Download it again, or load it with "
        "its original code and save only network.state_dict()."
    )
