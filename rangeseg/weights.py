"""Trained networks by name: weights as safetensors, and a card that describes them.

    NAME.card.json       training data, licence, scores, sensors, limits, config, SHA-256 of the weights
    NAME.safetensors     the weights, in single or half precision

Both ship in `datasets/weights`, or are in a folder, at a URL, or in a repository of the Hugging Face Hub (extra `hub`).
A card is data and never runs code. rangeseg rejects weights that do not belong to the card.
"""

from __future__ import annotations

import json
import os
import re
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from rangeseg.files import read_whole, write_atomically
from rangeseg.registry import did_you_mean
from rangeseg.resources import resource

FORMAT = 1
SUFFIX = ".card.json"
HUB = "hub:"
DEFAULT = "any-lidar"
"""Name of the weights that are used if no run is named."""

TIMEOUT_S = 30.0
LARGEST_BYTES = 2**30


@dataclass(frozen=True)
class ModelCard:
    """Description of trained weights.

    Args:
        name: name of the weights.
        summary: one sentence.
        data: training data.
        licence: licence of the weights, and the licences of the data that it follows from.
        sensors: sensors of the training data.
        scores: name of the scored data -> {"mean_iou": share, "accuracy": share, ...}.
        limits: known limits.
        made_by: the commands that made the weights.
        config: config of the training, as YAML.
        classes: names, by train id.
        weights: name of the weights file, next to the card.
        sha256: SHA-256 of that file.
        statistics: statistics of the training scans, see `rangeseg.data.scan_statistics`; None: unknown.
        temperature: divisor of the logits before the softmax.
        raw_ids: raw ids of the classes, by train id; None: unknown.
        format: version of the card format.
    """

    name: str
    summary: str
    data: str
    licence: str
    sensors: list[str]
    scores: dict[str, dict[str, float]]
    limits: str
    made_by: str
    config: str
    classes: list[str]
    weights: str
    sha256: str
    statistics: dict[str, Any] | None = None
    temperature: float = 1.0
    raw_ids: list[int] | None = None
    format: int = field(default=FORMAT)

    @staticmethod
    def read(content: bytes, place: str) -> ModelCard:
        """A card from its JSON.

        Args:
            content: content of the file.
            place: path or URL, for errors.

        Raises:
            ValueError: the content is not a card, or has another format.
        """
        try:
            card = ModelCard(**json.loads(content))
        except (ValueError, TypeError, RecursionError) as error:
            raise ValueError(
                f"{place}: is not a card of weights ({error}). Give a card that rangeseg weights --pack wrote."
            ) from error
        if card.format != FORMAT:
            raise ValueError(
                f"{place}: the card has format {card.format}, but this version of rangeseg reads {FORMAT}."
            )
        if Path(card.weights).name != card.weights or not card.weights.endswith(".safetensors"):
            raise ValueError(
                f"{place}: names the weights {card.weights!r}, which is not the name of a .safetensors file."
            )
        return card


@dataclass(frozen=True)
class Weights:
    """A card, and the folder of the card and the weights."""

    card: ModelCard
    folder: Path

    def state(self) -> dict[str, Tensor]:
        """The weights, in single precision.

        Raises:
            ValueError: the file is missing, or does not belong to the card.
        """
        path = self.folder / self.card.weights
        if not path.is_file():
            raise ValueError(f"{path}: missing. Put the weights of {self.card.name} next to their card.")
        content = read_whole(path)
        _check(content, self.card.sha256, str(path))
        try:
            tensors = load(content)
        except SafetensorError as error:
            raise ValueError(f"{path}: not a complete safetensors file ({error}). Copy it again.") from error
        return {name: value.float() if value.is_floating_point() else value for name, value in tensors.items()}

    def checkpoint(self) -> dict[str, Any]:
        """The content of a checkpoint: `teacher`, `config`, `statistics`, `temperature`, `classes` and `raw_ids`.

        Raises:
            ValueError: as for `state`.
        """
        card = self.card
        known = {"config": card.config, "statistics": card.statistics, "temperature": card.temperature}
        return {"teacher": self.state(), "classes": card.classes, "raw_ids": card.raw_ids, **known}


def shipped() -> dict[str, Weights]:
    """The shipped weights, by name."""
    return {
        path.name.removesuffix(SUFFIX): _read(path)
        for path in sorted(resource("datasets", "weights").glob(f"*{SUFFIX}"))
    }


def find_weights(word: str | Path) -> Weights | None:
    """Find weights by name, path, URL or repository.

    Args:
        word: a shipped name; a folder with one card, or the card; ``https://HOST/NAME.card.json#sha256=HEX`` with the
            card's SHA-256; ``hub:OWNER/REPOSITORY`` or ``hub:OWNER/REPOSITORY@REVISION``.

    Returns:
        The weights; None if the word is a run folder, a checkpoint, or something else.

    Raises:
        ValueError: the weights do not exist, cannot be fetched, or do not belong to their card.
        ImportError: the extra `hub` is not installed.
    """
    text = re.sub(r"^(https?):/+", r"\1://", str(word))
    if text.startswith(("https://", "http://")):
        return _fetch(text)
    if text.startswith(HUB):
        return _of_folder(_from_hub(text.removeprefix(HUB)), text)
    path = Path(word)
    if path.name.endswith(SUFFIX):
        return _read(path)
    if path.is_dir():
        return _of_folder(path, text) if any(path.glob(f"*{SUFFIX}")) else None
    return None if path.exists() else shipped().get(text)


def no_such(word: str | Path) -> str:
    """The error for a word that names neither a run nor weights."""
    names = list(shipped())
    return f"{word}: no such checkpoint, run folder or weights. {did_you_mean(str(word), names)}"


def pack(name: str, state: dict[str, Tensor], folder: Path, facts: dict[str, Any], *, half: bool = True) -> Weights:
    """Write weights and their card.

    Args:
        name: name of both files.
        state: `state_dict` of the network.
        folder: output folder.
        facts: the keys of `ModelCard` other than name, weights, sha256 and format.
        half: store floating-point numbers in half precision, except weights with numbers beyond its range.

    Raises:
        ValueError: a fact is missing, or is not a key of a card, or the name is not the name of a file.
    """
    if Path(name).name != name:
        raise ValueError(
            f"The weights cannot be called {name!r}. Give a name without folders, and the folder with --out."
        )
    kept = {key: (_halved(value) if half else value).contiguous().cpu() for key, value in state.items()}
    content = save(kept)
    try:
        card = ModelCard(name=name, weights=f"{name}.safetensors", sha256=sha256(content).hexdigest(), **facts)
    except TypeError as error:
        raise ValueError(
            f"A card of weights: {error}. Give summary, data, licence, sensors, scores, limits, made_by."
        ) from error
    write_atomically(folder / card.weights, content)
    write_atomically(folder / f"{name}{SUFFIX}", json.dumps(asdict(card), indent=1).encode() + b"\n")
    return Weights(card, folder)


def _halved(value: Tensor) -> Tensor:
    """Floating-point numbers in half precision if all of them fit its range."""
    half = value.half() if value.is_floating_point() else value
    return half if bool(half.isfinite().all()) else value


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    """Whether two networks' weights are equal."""
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def _read(path: Path) -> Weights:
    try:
        return Weights(ModelCard.read(read_whole(path), str(path)), path.parent)
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror}).") from error


def _of_folder(folder: Path, place: str) -> Weights:
    cards = sorted(folder.glob(f"*{SUFFIX}"))
    if len(cards) != 1:
        raise ValueError(f"{place}: contains {len(cards)} cards of weights (*{SUFFIX}). Give one of them.")
    return _read(cards[0])


def _fetch(url: str) -> Weights:
    """Card and weights of a URL, from the cache if they are there."""
    place, _, wanted = url.partition("#sha256=")
    if not re.fullmatch(r"[0-9a-f]{64}", wanted):
        raise ValueError(f"{url}: give the SHA-256 of the card, as {place}#sha256=HEX, so that changes are detected.")
    folder = cache_folder() / wanted
    path = folder / f"fetched{SUFFIX}"
    if not path.is_file():
        content = _download(place)
        _check(content, wanted, place)
        write_atomically(path, content)
    found = _read(path)
    if not (folder / found.card.weights).is_file():
        where = urllib.parse.urljoin(place, urllib.parse.quote(found.card.weights))
        content = _download(where)
        _check(content, found.card.sha256, where)
        write_atomically(folder / found.card.weights, content)
    return found


def _download(url: str) -> bytes:
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:
            content: bytes = answer.read(LARGEST_BYTES + 1)
    except (urllib.error.URLError, TimeoutError, OSError) as error:
        raise ValueError(f"{url}: cannot be fetched ({error}). Download it by hand and give its folder.") from error
    if len(content) > LARGEST_BYTES:
        raise ValueError(f"{url}: larger than {LARGEST_BYTES} bytes. Download it by hand and give its folder.")
    return content


def _from_hub(repository: str) -> Path:
    name, _, revision = repository.partition("@")
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
    except ImportError as error:
        raise ImportError(
            f'{HUB}{repository} needs the client of the Hub. Install it: pip install "rangeseg[hub]".'
        ) from error
    patterns = [f"*{SUFFIX}", "*.safetensors"]
    try:
        return Path(snapshot_download(name, revision=revision or None, allow_patterns=patterns))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise ValueError(f"{HUB}{repository}: cannot be fetched ({str(error).splitlines()[0]}).") from error


def _check(content: bytes, wanted: str, place: str) -> None:
    if (found := sha256(content).hexdigest()) != wanted:
        raise ValueError(
            f"{place}: the SHA-256 is {found}, not {wanted}. The file is damaged or another file. Fetch it again."
        )


def cache_folder() -> Path:
    """Cache folder of fetched weights, in $XDG_CACHE_HOME or ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rangeseg" / "weights"
