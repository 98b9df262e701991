"""Experiments as typed values, read strictly from YAML."""

from rangeseg.config.checks import check_dataset, keys
from rangeseg.config.reading import PRESETS, config_from, config_from_yaml, read_config, write_config
from rangeseg.config.schema import (
    Config,
    ConsistencyConfig,
    DataConfig,
    EvaluationConfig,
    OptimConfig,
    RuntimeConfig,
    SupervisedConfig,
    TeacherConfig,
)
from rangeseg.registry import ConfigError

__all__ = [
    "PRESETS",
    "Config",
    "ConfigError",
    "ConsistencyConfig",
    "DataConfig",
    "EvaluationConfig",
    "OptimConfig",
    "RuntimeConfig",
    "SupervisedConfig",
    "TeacherConfig",
    "check_dataset",
    "config_from",
    "config_from_yaml",
    "keys",
    "read_config",
    "write_config",
]
