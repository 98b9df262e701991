"""An exported network that replaces the original: run by ONNX Runtime, or compiled for this machine.

Shapes: B images, C channels, K classes, H rows, W columns.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rangeseg.files import read_whole
from rangeseg.networks.base import Network

PROVIDERS = {
    "tensorrt": "TensorrtExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "cpu": "CPUExecutionProvider",
}
"""Device -> execution provider of ONNX Runtime. `auto` is CUDA if it is available, else the CPU."""

PACKAGE = ".pt2"
"""Ending of a package of machine code."""

KEY = "rangeseg"
"""Key of the file's metadata whose value is `rangeseg.inference.export.describe` as JSON."""


class ExportedNetwork(Network):
    """(B, C, H, W) normalised images -> (B, K, H, W) logits, like the network that was exported.

    The graph in the file contains the normalisation, because other programs use it, too. So its input is computed back
    from the normalised image. Pixels that are 0 in all channels are passed as not valid: the graph sets these to 0.

    Args:
        call: (B, C, H, W) channels as measured, (B, H, W) bool valid -> (B, K, H, W) logits.
        description: result of `rangeseg.inference.export.describe`.
        device: device of the inputs and outputs of `call`.
    """

    def __init__(self, call: Callable[[Tensor, Tensor], Tensor], description: dict[str, Any], device: str) -> None:
        super().__init__()
        self.description, self.device = description, torch.device(device)
        self.stride = tuple(description["stride"])
        self._call = call
        self._mean, self._std = (
            torch.tensor(description[key], device=device).view(-1, 1, 1) for key in ("mean", "std")
        )

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, K, H, W).

        Raises:
            ValueError: the network was exported for images of another size or with other channels.
        """
        image = image.to(self.device)
        try:
            return self._call(image * self._std + self._mean, (image != 0).any(1))
        except Exception as error:  # errors of the engines have no common class
            reason = " ".join(str(error).split())
            raise ValueError(
                f"The exported network cannot label images of shape {tuple(image.shape)} ({reason}). Export the run "
                "again with the settings of data.projection and data.channels."
            ) from error


def parse_description(text: str, name: str) -> dict[str, Any]:
    """Read and check the description in an exported file.

    Args:
        text: JSON of `rangeseg.inference.export.describe`.
        name: name of the file, for errors.

    Raises:
        ValueError: it is damaged.
    """
    try:
        found: dict[str, Any] = json.loads(text)
        mean, std = (torch.tensor([*map(float, found[key])]) for key in ("mean", "std"))
        rows, columns = map(int, found["stride"])
        sound = min(rows, columns) > 0 and len(mean) == len(std) and bool((std > 0).all())
        sound = sound and 0 < float(found.get("temperature", 1.0)) < math.inf and isinstance(found["config"], str)
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(
            f"{name}: its description of the network is damaged ({error!r}); export the run again."
        ) from error
    if not sound:
        raise ValueError(f"{name}: its description of the network is damaged; export the run again.")
    return found


def compiled(network: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """torch.compile, once for each size of image.

    Raises:
        ValueError: an exported network is compiled already.
    """
    if isinstance(network, ExportedNetwork):
        raise ValueError("--compile (compile=True): an exported network is compiled already. Leave it out.")
    made: Callable[[Tensor], Tensor] = torch.compile(network, dynamic=False)
    return made


def read_exported(path: Path, *, device: str = "auto", trust: bool = False) -> ExportedNetwork:
    """Read the network of a file that `rangeseg export` wrote.

    Args:
        path: file with one of the suffixes in `EXPORTED`.
        device: for ONNX, auto, cpu, cuda or tensorrt; for OpenVINO, see `read_openvino`. A package runs on the device
            that it was made for.
        trust: allow a package to run. It is machine code, which can do anything.

    Raises:
        ValueError: the file cannot be read, see `read_onnx` and `read_package`; or a package is given without `trust`.
    """
    if not path.is_file():
        raise ValueError(f"{path}: cannot be read (no such file).")
    if path.suffix == PACKAGE and not trust:
        raise ValueError(
            f"{path}: a package contains machine code, which runs with your rights. If you trust its author, give "
            "--trust (trust=True); ONNX files do not need it."
        )
    return EXPORTED[path.suffix](path, device)


def read_onnx(path: Path, device: str = "auto") -> ExportedNetwork:
    """Read an ONNX file; ONNX Runtime runs the network.

    Raises:
        ValueError: the file cannot be read; see also `onnx_network`.
    """
    try:
        content = read_whole(path)
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror}).") from error
    return onnx_network(content, str(path), device=device)


def onnx_network(content: bytes, name: str, *, device: str = "auto") -> ExportedNetwork:
    """Make a network from the content of an ONNX file; ONNX Runtime runs it.

    Args:
        content: bytes of the file.
        name: name of the file, for errors.
        device: auto, cpu, cuda or tensorrt.

    Raises:
        ValueError: ONNX Runtime is missing or lacks the device, or this is not a complete file of `rangeseg export`.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise ValueError(f"{name}: needs ONNX Runtime ({error}). Install it: pip install 'rangeseg[export]'") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(content, options, providers=_providers(device, onnxruntime))
        text = session.get_modelmeta().custom_metadata_map[KEY]
    except KeyError as error:
        raise ValueError(f"{name}: an ONNX file that rangeseg export did not write; export the run again.") from error
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{name}: its description of the network is damaged ({error}); export the run again."
        ) from error
    except ValueError:
        raise
    except Exception as error:  # errors of ONNX Runtime have no common class
        raise ValueError(f"{name}: not a complete ONNX file ({error}); export the run again.") from error

    def call(channels: Tensor, valid: Tensor) -> Tensor:
        return torch.from_numpy(session.run(None, {"channels": channels.numpy(), "valid": valid.numpy()})[0])

    return ExportedNetwork(call, parse_description(text, name), "cpu")


def read_package(path: Path, device: str = "auto") -> ExportedNetwork:
    """Load an AOTInductor package for this kind of processor. Loading runs its code, so load only what you trust.

    Raises:
        ValueError: not a package of `rangeseg export`, or not one for this machine.
    """
    try:
        package: Any = torch._inductor.aoti_load_package(str(path))
        metadata = package.get_metadata()
        text = metadata[KEY]
    except KeyError as error:
        raise ValueError(f"{path}: a package that rangeseg export did not write; export the run again.") from error
    except Exception as error:  # errors of the loader have no common class
        cause = next(iter(str(error).splitlines()), type(error).__name__)
        raise ValueError(
            f"{path}: cannot run on this machine ({cause}); export the run again on this machine."
        ) from error
    return ExportedNetwork(package, parse_description(text, str(path)), str(metadata["AOTI_DEVICE_KEY"]))


def _read_openvino(path: Path, device: str = "auto") -> ExportedNetwork:
    from rangeseg.networks.openvino import read_openvino

    return read_openvino(path, device)


EXPORTED = {".onnx": read_onnx, PACKAGE: read_package, ".xml": _read_openvino}
"""Suffix of an exported file -> function that reads it."""


def runs_onnx(device: str) -> bool:
    """Whether ONNX Runtime is installed and supports this device.

    Args:
        device: cpu, cuda or tensorrt.
    """
    try:
        import onnxruntime
    except ImportError:
        return False
    return PROVIDERS.get(device) in onnxruntime.get_available_providers()


def _providers(device: str, onnxruntime: Any) -> list[str]:
    available = onnxruntime.get_available_providers()
    if device == "auto":
        return [PROVIDERS[name] for name in ("cuda", "cpu") if PROVIDERS[name] in available]
    if device not in PROVIDERS or PROVIDERS[device] not in available:
        able = [name for name, provider in PROVIDERS.items() if provider in available]
        raise ValueError(f"ONNX Runtime has no device {device!r} here; use auto or {', '.join(able)}.")
    return list(dict.fromkeys([PROVIDERS[device], PROVIDERS["cpu"]]))
