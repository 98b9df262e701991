"""Trained networks by name: weights as safetensors, and a card that says what they are.

    NAME.card.json       what it has learnt from, its licence, scores, sensors, limits, its config, the weights' SHA-256
    NAME.safetensors     the weights, in single or half precision

Both ship in `datasets/weights`, lie in a folder, at a URL, or in a repository of the Hugging Face Hub (extra `hub`).
A card is data: nothing of it is run, and weights that are not the card's are refused.
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

from rangeseg.files import write_atomically
from rangeseg.registry import did_you_mean
from rangeseg.resources import resource

FORMAT = 1
SUFFIX = ".card.json"
HUB = "hub:"
FIRST = "first-answer"
"""The network that answers where nobody names one."""

TIMEOUT_S = 30.0
LARGEST_BYTES = 2**30


@dataclass(frozen=True)
class ModelCard:
    """What trained weights are.

    Args:
        name: what they are called.
        summary: one sentence.
        data: what they have learnt from.
        licence: of the weights, and what of the data it follows from.
        sensors: that the training showed.
        scores: what was scored -> {"mean_iou": share, "accuracy": share, ...}.
        limits: what they are known not to do.
        made_by: the commands.
        config: the training's, as YAML.
        classes: names, by train id.
        weights: the file, beside the card.
        sha256: of that file.
        statistics: of the training scans, see `rangeseg.data.scan_statistics`; None where they are not known.
        temperature: what its logits are divided by before they become probabilities.
        format: of the card.
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
    format: int = field(default=FORMAT)

    @staticmethod
    def read(content: bytes, place: str) -> ModelCard:
        """A card from its JSON.

        Args:
            content: of the file.
            place: where it is from, for errors.

        Raises:
            ValueError: it is no card, or one of another format.
        """
        try:
            card = ModelCard(**json.loads(content))
        except (ValueError, TypeError) as error:
            raise ValueError(
                f"{place}: no card of weights ({error}). Take one that rangeseg weights --pack wrote."
            ) from error
        if card.format != FORMAT:
            raise ValueError(f"{place}: a card of format {card.format}; this version of rangeseg reads {FORMAT}.")
        if Path(card.weights).name != card.weights or not card.weights.endswith(".safetensors"):
            raise ValueError(f"{place}: its weights are {card.weights!r}; a file beside the card ends in .safetensors.")
        return card


@dataclass(frozen=True)
class Weights:
    """A card, and where the files are."""

    card: ModelCard
    folder: Path

    def state(self) -> dict[str, Tensor]:
        """The weights, in single precision.

        Raises:
            ValueError: the file is missing, or not the card's.
        """
        path = self.folder / self.card.weights
        if not path.is_file():
            raise ValueError(f"{path}: missing, the weights of {self.card.name}. Put them beside their card.")
        content = path.read_bytes()
        _check(content, self.card.sha256, str(path))
        try:
            tensors = load(content)
        except SafetensorError as error:
            raise ValueError(f"{path}: no whole safetensors ({error}).") from error
        return {name: value.float() if value.is_floating_point() else value for name, value in tensors.items()}

    def checkpoint(self) -> dict[str, Any]:
        """As a checkpoint has it: `teacher`, `config`, `statistics` and `temperature`.

        Raises:
            ValueError: as `state`.
        """
        card = self.card
        known = {"config": card.config, "statistics": card.statistics, "temperature": card.temperature}
        return {"teacher": self.state(), **known}


def shipped() -> dict[str, Weights]:
    """The weights that come with rangeseg, by name."""
    return {
        path.name.removesuffix(SUFFIX): _read(path)
        for path in sorted(resource("datasets", "weights").glob(f"*{SUFFIX}"))
    }


def find_weights(word: str | Path) -> Weights | None:
    """The weights that a word stands for.

    Args:
        word: a shipped name; a folder with one card, or the card; ``https://HOST/NAME.card.json#sha256=HEX`` with the
            card's SHA-256; ``hub:OWNER/REPOSITORY`` or ``hub:OWNER/REPOSITORY@REVISION``.

    Returns:
        None where the word is a run folder, a checkpoint, or something else.

    Raises:
        ValueError: there are no such weights, or they cannot be fetched or are not those of their card.
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
    """What to say of a word that is neither a run nor weights."""
    names = list(shipped())
    return f"{word}: no such checkpoint, run folder or weights. {did_you_mean(str(word), names)}"


def pack(name: str, state: dict[str, Tensor], folder: Path, facts: dict[str, Any], *, half: bool = True) -> Weights:
    """Write weights and their card.

    Args:
        name: of both files.
        state: the network's `state_dict`.
        folder: gets the files.
        facts: the keys of `ModelCard` other than name, weights, sha256 and format.
        half: store floating point in half precision.

    Raises:
        ValueError: a fact is missing, or is none that a card has.
    """
    kept = {
        key: (value.half() if half and value.is_floating_point() else value).contiguous().cpu()
        for key, value in state.items()
    }
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


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    """Whether two networks' weights are equal."""
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def _read(path: Path) -> Weights:
    try:
        return Weights(ModelCard.read(path.read_bytes(), str(path)), path.parent)
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror}).") from error


def _of_folder(folder: Path, place: str) -> Weights:
    cards = sorted(folder.glob(f"*{SUFFIX}"))
    if len(cards) != 1:
        raise ValueError(f"{place}: holds {len(cards)} cards of weights (*{SUFFIX}); name one of them.")
    return _read(cards[0])


def _fetch(url: str) -> Weights:
    """Card and weights of a URL, from the cache where they are there already."""
    place, _, wanted = url.partition("#sha256=")
    if not re.fullmatch(r"[0-9a-f]{64}", wanted):
        raise ValueError(
            f"{url}: give the card's SHA-256 behind it, as {place}#sha256=HEX, so that it cannot change unseen."
        )
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
        raise ValueError(f"{url}: cannot be fetched ({error}). Download it by hand and name its folder.") from error
    if len(content) > LARGEST_BYTES:
        raise ValueError(f"{url}: larger than {LARGEST_BYTES} bytes. Download it by hand and name its folder.")
    return content


def _from_hub(repository: str) -> Path:
    name, _, revision = repository.partition("@")
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
    except ImportError as error:
        raise ImportError(
            f'{HUB}{repository} needs the Hub\'s client. Install it: pip install "rangeseg[hub]".'
        ) from error
    patterns = [f"*{SUFFIX}", "*.safetensors"]
    try:
        return Path(snapshot_download(name, revision=revision or None, allow_patterns=patterns))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise ValueError(f"{HUB}{repository}: cannot be fetched ({str(error).splitlines()[0]}).") from error


def _check(content: bytes, wanted: str, place: str) -> None:
    if (found := sha256(content).hexdigest()) != wanted:
        raise ValueError(f"{place}: its SHA-256 is {found}, not {wanted}. It is damaged, or another; fetch it again.")


def cache_folder() -> Path:
    """Where fetched weights are kept: below $XDG_CACHE_HOME, or ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rangeseg" / "weights"
