"""What is no file though a file is expected, and files that are small and expand enormously."""

from __future__ import annotations

import gzip
import io
import json
import os
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np

BIG = 2**30
"""Bytes of zeros that a bomb expands to; commands may use half of that."""

NO_FILES = ("pipe", "folder", "link to itself", "link to nothing", "link to /dev/zero", "socket")


def link_to_itself(path: Path) -> None:
    path.symlink_to(path)


def link_to_nothing(path: Path) -> None:
    path.symlink_to(path.with_name("nothing"))


def link_to_zeros(path: Path) -> None:
    path.symlink_to("/dev/zero")


def socket(path: Path) -> None:
    """Of no server; by a short path, for a socket's has 108 bytes at most."""
    import socket as sockets

    here = Path.cwd()
    os.chdir(path.parent)
    try:
        with sockets.socket(sockets.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(here)


def zeros(size: int = BIG) -> Iterator[bytes]:
    """So many, piece by piece."""
    piece = bytes(2**20)
    for _ in range(size // len(piece)):
        yield piece


def npz_bomb(path: Path) -> None:
    """Arrays of a gigabyte, whose entries are a thousandth of them."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("x", "y", "z", "remission"):
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                head = io.BytesIO()
                np.lib.format.write_array_header_1_0(
                    head, {"descr": "<f4", "fortran_order": False, "shape": (BIG // 16,)}
                )
                entry.write(head.getvalue())
                for piece in zeros(BIG // 4):
                    entry.write(piece)


def npy_bomb(path: Path) -> None:
    """A header that promises a million million points."""
    with path.open("wb") as file:
        shape = (10**12, 4)
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
        file.write(bytes(64))


def sparse_file(path: Path) -> None:
    """A hole of 100 GB on the disk."""
    with path.open("wb") as file:
        file.truncate(100 * 2**30)


def png_bomb(path: Path) -> None:
    """A white picture of 60000 x 60000 pixels."""
    width = height = 60000
    pack = zlib.compressobj(9)
    row = b"\0" + b"\xff" * (width // 8)
    data = b"".join(pack.compress(row) for _ in range(height)) + pack.flush()

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b""))


def gzip_bomb(path: Path) -> None:
    """Zeros where a pickle is expected."""
    with gzip.open(path, "wb") as file:
        for piece in zeros():
            file.write(piece)


def torch_bomb(path: Path) -> None:
    """A checkpoint whose pickle is a deflated gigabyte."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("archive/data.pkl", "w", force_zip64=True) as entry:
            entry.write(b"\x80\x02")
            for piece in zeros():
                entry.write(piece)
        archive.writestr("archive/version", "3\n")


def yaml_bomb(path: Path) -> None:
    """Nine times nine times nine ... of one word, by anchors."""
    names = "abcdefghijkl"
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    lines += [f"{name}: &{name} [{', '.join([f'*{below}'] * 9)}]" for below, name in pairwise(names)]
    path.write_text("\n".join([*lines, "data: *l", ""]))


def deep_yaml(path: Path) -> None:
    path.write_text("data: " + "[" * 20000 + "]" * 20000)


def deep_json(path: Path) -> None:
    path.write_text("[" * 200000 + "]" * 200000)


def long_line(path: Path) -> None:
    """One number of ten million digits."""
    path.write_text("9" * 10**7)


def wide_json(path: Path) -> None:
    path.write_text(json.dumps([{"token": 10**400}] * 10))


MAKE: dict[str, Callable[[Path], object]] = {
    "pipe": os.mkfifo, "folder": Path.mkdir, "link to itself": link_to_itself, "link to nothing": link_to_nothing,
    "link to /dev/zero": link_to_zeros, "socket": socket, "npz bomb": npz_bomb, "npy bomb": npy_bomb,
    "sparse file": sparse_file, "png bomb": png_bomb, "gzip bomb": gzip_bomb, "torch bomb": torch_bomb,
    "yaml bomb": yaml_bomb, "deep yaml": deep_yaml, "deep json": deep_json, "long number": long_line,
    "wide json": wide_json,
}  # fmt: skip
"""What takes the place of a file, by name."""

BOMBS = {
    "savez.npz": ("npz bomb", "torch bomb", "sparse file"), "plain.npy": ("npy bomb", "sparse file"),
    "kitti.bin": ("sparse file",), "bin with labels": ("sparse file",), "label": ("sparse file",),
    "ascii.pcd": ("long number", "sparse file"), "binary.pcd": ("sparse file",), "ascii.ply": ("long number",),
    "format3.las": ("sparse file",), "bag": ("sparse file",), "mcap": ("sparse file", "npz bomb"),
    "db3": ("sparse file",), "metadata.yaml": ("yaml bomb", "deep yaml"), "pcap": ("sparse file",),
    "png (photograph)": ("png bomb", "sparse file"), "png (labels)": ("png bomb",),
    "pt (run)": ("torch bomb", "npz bomb", "sparse file"), "pt (weights)": ("torch bomb",),
    "safetensors": ("sparse file",), "card.json": ("deep json", "sparse file", "long number"),
    "onnx": ("sparse file",), "config.yaml": ("yaml bomb", "deep yaml", "sparse file"),
    "poses.txt": ("long number", "sparse file"), "calib.txt": ("long number",), "frames.txt": ("long number",
    "sparse file"), "sample_data.json": ("deep json", "wide json", "sparse file"),
}  # fmt: skip
"""Route -> what is put in the place of its file."""
