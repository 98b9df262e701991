"""Files are written whole: devices, links and rights stay, kills leave nothing. Names do not command the terminal."""

from __future__ import annotations

import errno
import io
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest
import torch
from rich.table import Table

from rangeseg import files
from rangeseg.cli import main
from rangeseg.commands.console import OUT, console
from rangeseg.files import TEMPORARY, is_running, load_tensors, plain_file, try_lock, write_atomically
from rangeseg.networks.checkpoint_files import read_tensors
from rangeseg.scan_io import read_labels
from rangeseg.terminal import plain

Write = Callable[[Path, bytes], None]
WAYS: dict[str, Write] = {
    "bytes": write_atomically,
    "a function": lambda path, content: write_atomically(path, lambda file: file.write(content)),
}


@pytest.fixture(params=WAYS)
def write(request: pytest.FixtureRequest) -> Write:
    return WAYS[request.param]


def test_a_device_stays_a_device(write: Write, tmp_path: Path) -> None:
    before = Path("/dev/null").stat()
    write(Path("/dev/null"), b"away")
    after = Path("/dev/null").stat()
    assert (before.st_ino, before.st_mode, before.st_rdev) == (after.st_ino, after.st_mode, after.st_rdev)
    link = tmp_path / "link"
    link.symlink_to("/dev/null")
    write(link, b"away")
    assert link.is_symlink()
    assert [path.name for path in tmp_path.iterdir()] == ["link"]


def test_a_link_stays_and_its_target_is_written(write: Write, tmp_path: Path) -> None:
    for kind, content in (("old", b"old"), ("dangling", None)):
        home, link = tmp_path / kind / "real", tmp_path / kind / "link"
        home.mkdir(parents=True)
        if content:
            (home / "file").write_bytes(content)
        link.symlink_to(Path("real") / "file")
        write(link, b"new")
        assert link.is_symlink()
        assert (home / "file").read_bytes() == b"new"
        assert sorted(path.name for path in (tmp_path / kind).rglob("*")) == ["file", "link", "real"]


def test_a_pipe_is_written_to_and_without_a_reader_refused(write: Write, tmp_path: Path) -> None:
    pipe, got = tmp_path / "pipe", []
    os.mkfifo(pipe)
    with pytest.raises(OSError, match="no program reads from this pipe"):
        write(pipe, b"x")
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
    reader.start()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            write(pipe, b"x" * 100_000)  # more than a pipe holds
            break
        except OSError:  # the reader is not there yet
            time.sleep(0.01)
    reader.join(10)
    assert got == [b"x" * 100_000]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_standard_output_is_a_path(tmp_path: Path) -> None:
    """Into a pipe and into a file, before and after what is printed."""
    program = (
        "from rangeseg.files import write_atomically as w\n"
        "print('first')\nw('/dev/stdout', b'second\\n')\nprint('third', flush=True)\n"
        "w('/proc/self/fd/1', lambda file: file.write(b'fourth\\n'))\n"
    )
    words = [sys.executable, "-c", program]
    expected = b"first\nsecond\nthird\nfourth\n"
    assert subprocess.run(words, stdout=subprocess.PIPE, check=True).stdout == expected
    with (tmp_path / "out").open("wb") as out:
        subprocess.run(words, stdout=out, check=True)
    assert (tmp_path / "out").read_bytes() == expected
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_content_that_goes_back_is_written_to_a_pipe_too(tmp_path: Path) -> None:
    def pack(file: BinaryIO) -> None:
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("a", b"b")
        file.flush()
        assert zipfile.is_zipfile(Path(file.name))

    read, written = os.pipe()
    write_atomically(f"/dev/fd/{written}", pack)
    os.close(written)
    with os.fdopen(read, "rb") as file, zipfile.ZipFile(io.BytesIO(file.read())) as archive:
        assert archive.read("a") == b"b"


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o444, 0o755])
def test_the_mode_of_a_file_stays(mode: int, write: Write, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(mode)
    write(path, b"new")
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert path.read_bytes() == b"new"


def test_a_new_file_has_the_mode_that_others_have(write: Write, tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"")
    write(tmp_path / "file", b"new")
    assert (tmp_path / "file").stat().st_mode == (tmp_path / "other").stat().st_mode


@pytest.mark.parametrize("name", ["n" * 255, "é" * 127, "a\nb", ".hidden"])
def test_every_name_that_a_file_may_have(name: str, write: Write, tmp_path: Path) -> None:
    write(tmp_path / name, b"new")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_folder_is_no_file(write: Write, tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError, match="is a folder; name a file"):
        write(tmp_path, b"x")


def test_what_killed_processes_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    program = (
        "import os, sys\nfrom rangeseg.files import write_atomically\n"
        "def wait(file):\n    file.write(b'half')\n    file.flush()\n"
        "    print('there', flush=True)\n    sys.stdin.read()\n"
        f"write_atomically({str(tmp_path / 'file')!r}, wait)\n"
    )
    started = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert started.stdout is not None
    assert started.stdout.readline() == b"there\n"
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(TEMPORARY)
    assert is_running(started.pid)
    (tmp_path / f".rangeseg-another.machine-{2**22}-00000000.tmp").touch()
    (tmp_path / f"{TEMPORARY}not-a-process.tmp").touch()
    files._remove_stale(tmp_path)
    assert left.exists()  # its process is at work
    started.send_signal(signal.SIGKILL)
    started.communicate()
    files._remove_stale.cache_clear()
    write_atomically(tmp_path / "file", b"whole")
    kept = {f".rangeseg-another.machine-{2**22}-00000000.tmp", f"{TEMPORARY}not-a-process.tmp", "file"}
    assert {path.name for path in tmp_path.iterdir()} == kept


def test_a_lock_is_one_process_and_dies_with_it(tmp_path: Path) -> None:
    program = (
        "import sys\nfrom rangeseg.files import try_lock\n"
        f"file = open({str(tmp_path / 'lock')!r}, 'a')\nprint(try_lock(file), flush=True)\nsys.stdin.read()\n"
    )
    started = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert started.stdout is not None
    assert started.stdout.readline() == b"True\n"
    with (tmp_path / "lock").open("a") as file:
        assert not try_lock(file)
    started.kill()
    started.communicate()
    with (tmp_path / "lock").open("a") as file:
        assert try_lock(file)


EVIL_NAMES = ["\x1b[31mred\x1b[0m", "\x1b]0;title\x07", "a\rb", "\x9b2J", "\u202egnp.exe", "\udcff", "\x7f\x08"]


@pytest.mark.parametrize("name", EVIL_NAMES)
def test_names_do_not_command_the_terminal(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    rows = Table("class", title=name)
    rows.add_row(name)
    OUT.print(name, rows, soft_wrap=True)
    console(stderr=True).print(f"error: {name}", style="red")
    said = "".join(capsys.readouterr())
    assert not any(ord(letter) < 32 and letter not in "\n\t" for letter in said)
    assert not set(said) & set("\x7f\x9b\u202e\udcff")
    assert plain(name) in said


@pytest.mark.parametrize("name", ["a:100:b", "[red]x[/red]", "[/]", "[link=http://x]y[/link]"])
def test_markup_and_emoji_in_names_are_letters(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    rows = Table("class")
    rows.add_row(name)
    OUT.print(name, rows, soft_wrap=True)
    assert capsys.readouterr().out.count(name) == 2


def test_an_error_names_a_file_in_plain_letters(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "\x1b[2Jgone [red].yaml"
    assert main(["train", str(path)]) == 1
    said = capsys.readouterr().err
    assert "\\x1b[2Jgone [red].yaml" in said
    assert "\x1b" not in said


def test_figures_go_to_where_the_user_says(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """`--json /dev/stdout`, as a command has it."""
    write_atomically("/dev/stdout", json.dumps({"mean_iou": 0.5}).encode())
    assert json.loads(capfd.readouterr().out) == {"mean_iou": 0.5}


@pytest.mark.parametrize("kind", ["pipe", "folder", "device", "socket"])
def test_what_is_no_file_is_not_waited_for(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path("a.label")
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(str(path))
    with pytest.raises(OSError, match=f"is a {kind}, not a file"):
        plain_file(path)
    with pytest.raises(ValueError, match=r"a\.label: cannot be read"):
        read_labels(path)


def test_what_a_shell_makes_of_a_command_may_be_read(tmp_path: Path) -> None:
    """`<(command)` is a pipe in /dev/fd; a path that leads nowhere is left to who opens it."""
    read, write = os.pipe()
    assert plain_file(f"/dev/fd/{read}").is_fifo()
    os.close(read)
    os.close(write)
    assert plain_file(tmp_path / "nothing") == tmp_path / "nothing"


def test_a_checkpoint_that_expands_is_refused(tmp_path: Path) -> None:
    """A thousand bytes of it may be a megabyte of zeros, and so on."""
    torch.save({"a": torch.zeros(1000)}, tmp_path / "a.pt")
    assert load_tensors(tmp_path / "a.pt")["a"].shape == (1000,)
    with (
        zipfile.ZipFile(tmp_path / "a.pt") as whole,
        zipfile.ZipFile(tmp_path / "b.pt", "w", zipfile.ZIP_DEFLATED) as small,
    ):
        for name in whole.namelist():
            small.writestr(name, whole.read(name))
    for read in (load_tensors, read_tensors):
        with pytest.raises(ValueError, match=r"it expands to .* bytes, but checkpoints are not compressed"):
            read(tmp_path / "b.pt")


def test_a_file_that_does_not_fit_into_memory_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path) -> bytes:
        raise MemoryError

    monkeypatch.setattr(Path, "read_bytes", full)
    (tmp_path / "a.label").touch()
    with pytest.raises(ValueError, match=r"a\.label: cannot be read \(does not fit into memory\)"):
        read_labels(tmp_path / "a.label")


def test_too_little_memory_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def full(*arguments: object) -> None:
        raise MemoryError("Unable to allocate 9 GiB")

    monkeypatch.setattr("rangeseg.config.shipped.shipped_configs", full)
    assert main(["configs"]) == 1
    assert capsys.readouterr().err == "error: not enough memory (Unable to allocate 9 GiB).\n"


def test_what_the_disk_says_is_told_with_the_files_name(tmp_path: Path) -> None:
    """torch.save says only that it stands at another place of the file than it should."""

    def full(file: BinaryIO) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def torch_does(file: BinaryIO) -> None:
        try:
            full(file)
        except OSError:
            raise RuntimeError("unexpected pos 64 vs 0")  # noqa: B904 - as torch does

    for content in (full, torch_does):
        with pytest.raises(OSError, match=r"No space left on device: '.*a\.pt'"):
            write_atomically(tmp_path / "a.pt", content)
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_another_process_is_not_ours(tmp_path: Path) -> None:
    """/proc/PID/fd/1 of another process must not become this process's standard output."""
    with (tmp_path / "theirs").open("wb") as theirs:
        other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, stdout=theirs)
    try:
        program = f"from rangeseg.files import write_atomically as w; w('/proc/{other.pid}/fd/1', b'text')"
        done = subprocess.run([sys.executable, "-c", program], capture_output=True)
        assert done.stdout == b""
    finally:
        other.communicate(b"\n")
