"""The subcommands of `rangeseg`, one file each, with `run(arguments)` and `add_arguments(parser)`."""

from __future__ import annotations

from types import ModuleType

from rangeseg.commands import (
    analyse,
    benchmark,
    benchmark_ssl,
    completion,
    configs,
    demo,
    evaluate,
    export,
    fit_head,
    fit_sensor,
    import_weights,
    list_components,
    poses,
    predict,
    propagate,
    pseudo_label,
    repeat,
    report,
    show,
    split,
    stats,
    synthesise,
    train,
    unpack,
    validate,
    weights,
)

COMMANDS: dict[str, ModuleType] = {
    "demo": demo,
    "train": train,
    "evaluate": evaluate,
    "predict": predict,
    "weights": weights,
    "pseudo-label": pseudo_label,
    "export": export,
    "import-weights": import_weights,
    "show": show,
    "repeat": repeat,
    "report": report,
    "split": split,
    "stats": stats,
    "validate": validate,
    "poses": poses,
    "propagate": propagate,
    "unpack": unpack,
    "synthesise": synthesise,
    "analyse": analyse,
    "fit-head": fit_head,
    "fit-sensor": fit_sensor,
    "benchmark": benchmark,
    "benchmark-ssl": benchmark_ssl,
    "configs": configs,
    "list": list_components,
    "completion": completion,
}
"""Every command by its name, in the order of the help."""
