"""The subcommands of `rangeseg`, one file each, with `run(arguments)` and `add_arguments(parser)`."""

from __future__ import annotations

from types import ModuleType

from rangeseg.commands import (
    analyse,
    benchmark,
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
    repeat,
    report,
    show,
    split,
    stats,
    synthesise,
    train,
    unpack,
    validate,
)

COMMANDS: dict[str, ModuleType] = {
    "demo": demo,
    "train": train,
    "evaluate": evaluate,
    "predict": predict,
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
    "configs": configs,
    "list": list_components,
    "completion": completion,
}
"""Every command by its name, in the order of the help."""
