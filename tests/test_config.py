"""Configs are read strictly: whatever is wrong is named by its path, with the nearest right word."""

from __future__ import annotations

import json
import re
import typing
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest

from rangeseg.config import Config, config_from, config_from_yaml, read_config, write_config
from rangeseg.config.reading import RENAMED, RENAMED_PERTURBATIONS
from rangeseg.registry import ConfigError, build

MINIMAL = "data: {root: somewhere}\noptim: {steps: 10}\nruntime: {out: runs/x}\n"


@pytest.fixture
def minimal(tmp_path: Path) -> Path:
    path = tmp_path / "minimal.yaml"
    path.write_text(MINIMAL)
    return path


def test_what_is_written_reads_back_the_same(minimal: Path, tmp_path: Path) -> None:
    config = read_config(minimal, ["optim.lr=3e-4", "perturbation.name=cutout"])
    (tmp_path / "again.yaml").write_text(write_config(config))
    assert read_config(tmp_path / "again.yaml") == config


def test_scientific_notation_is_a_number(minimal: Path) -> None:
    assert read_config(minimal, ["optim.lr=1e-3"]).optim.lr == 0.001


def test_a_whole_section_replaces_another_component(minimal: Path) -> None:
    config = read_config(minimal, ["perturbation={name: compose, before: [{name: color}]}"])
    assert config.perturbation == {"name": "compose", "before": [{"name": "color"}]}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optim.lrr=1", r"optim\.lrr: unknown key\. Did you mean 'lr'\?"),
        ("optimm.lr=1", r"optimm: unknown key\. Did you mean 'optim'\?"),
        ("optim.lr=fast", r"optim\.lr: .*'fast'"),
        ("optim.steps=1.5", r"optim\.steps"),
        ("consistency.confidence=max", r"consistency\.confidence: 'max' is not one of 'mean', 'pixel'"),
        ("optim.steps=0", r"optim\.steps: 0 is out of range; give at least 1"),
        ("data.label_fraction=0", r"data\.label_fraction: 0\.0 is out of range; give above 0 and at most 1"),
        ("optim.accumulate=3", r"optim\.accumulate: 3 is larger"),
        (
            "data.batch_labelled=5|data.batch_unlabelled=4|optim.accumulate=2",
            r"not divide data\.batch_labelled, 5",
        ),
        ("data.batch_labelled=4|data.batch_unlabelled=5|optim.accumulate=4", r"not divide data\.batch_unlabelled, 5"),
        ("lr", r"not an override; write key\.path=value"),
        (
            "data.dataset.scans={a}/b",
            r"data\.dataset\.scans=\{a\}/b: the value is not readable as YAML; put quotes around",
        ),
    ],
)
def test_errors_name_the_path_and_the_cure(minimal: Path, override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_config(minimal, override.split("|"))


def test_a_missing_field_is_named(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("optim: {steps: 1}\nruntime: {out: x}\n")
    with pytest.raises(ConfigError, match=r"data\.root: missing"):
        read_config(path)


@pytest.mark.parametrize(("text", "message"), [("[1, 2]", "is a list"), ("a: [", "not readable as YAML")])
def test_files_that_are_no_config(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_config(path)
    with pytest.raises(ConfigError, match="no such config file"):
        read_config(tmp_path / "absent.yaml")


def test_a_base_lies_beneath(minimal: Path, tmp_path: Path) -> None:
    (tmp_path / "child.yaml").write_text("base: minimal.yaml\noptim: {lr: 0.5}\n")
    config = read_config(tmp_path / "child.yaml")
    assert (config.optim.lr, config.optim.steps) == (0.5, 10)


def test_a_component_of_another_name_starts_from_its_own_defaults() -> None:
    below = {
        "data": {"root": "x"},
        "optim": {"steps": 1},
        "runtime": {"out": "y"},
        "perturbation": {"name": "cutmix", "boxes": 3},
    }
    assert config_from([below, {"perturbation": {"boxes": 2}}]).perturbation == {"name": "cutmix", "boxes": 2}
    assert config_from([below, {"perturbation": {"name": "identity"}}]).perturbation == {"name": "identity"}


def test_nested_components_of_another_name_start_from_their_own_defaults() -> None:
    nested = {"name": "compose", "first": {"name": "cutmix", "area": 0.1}, "then": [{"name": "jitter"}]}
    below = {"data": {"root": "x"}, "optim": {"steps": 1}, "runtime": {"out": "y"}, "perturbation": nested}
    for first, expected in (({"name": "cowmix"},) * 2, ({"boxes": 2}, {"name": "cutmix", "area": 0.1, "boxes": 2})):
        made = config_from([below, {"perturbation": {"first": first}}]).perturbation
        assert made == nested | {"first": expected}


BUFFERS = r"teacher\.buffers: own takes .* Set teacher\.mode=train and consistency\.weight above 0, or use ema or copy"


def test_a_teacher_whose_statistics_nothing_updates_is_refused() -> None:
    base = {"data": {"root": "x"}, "optim": {"steps": 1}, "runtime": {"out": "y"}}
    for teacher, weight in (({}, 1.0), ({"update_bn": 9}, 1.0), ({"mode": "train"}, 0.0)):
        with pytest.raises(ConfigError, match=BUFFERS):
            config_from([base, {"teacher": {"buffers": "own"} | teacher, "consistency": {"weight": weight}}])
    for teacher, weight in (({"mode": "train"}, 1.0), ({"mode": "train", "update_bn": 9}, 0.0)):
        config_from([base, {"teacher": {"buffers": "own"} | teacher, "consistency": {"weight": weight}}])


class AnySample:
    def __init__(
        self, size: int, *, share: float = 0.5, pair: tuple[float, float] = (0.0, 1.0), tag: str | None = None
    ) -> None:
        if size < 0:
            raise ValueError(f"size is {size}; give one >= 0.")
        self.size, self.share, self.pair, self.tag = size, share, pair, tag


THINGS = {"thing": AnySample}


def test_build_gives_context_only_where_it_is_wanted_and_not_given() -> None:
    made = build(THINGS, {"name": "thing", "share": 1, "pair": [1, 2]}, "here", size=3, unknown=1)
    assert (made.size, made.share, made.pair) == (3, 1, (1, 2))
    assert build(THINGS, {"name": "thing", "size": 7}, "here", size=3).size == 7


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"name": "thign"}, r"here\.name: 'thign' is unknown\. Did you mean 'thing'\?"),
        ({}, r"here\.name: missing"),
        ({"name": "thing"}, r"here\.size: missing; thing needs it"),
        ({"name": "thing", "size": "3"}, r"here\.size: expected int, got '3'"),
        ({"name": "thing", "size": True}, r"here\.size: expected int, got True"),
        ({"name": "thing", "size": 1, "pair": ["a", "b"]}, r"here\.pair: expected tuple"),
        ({"name": "thing", "size": 1, "shre": 1}, r"here\.shre: unknown key\. Did you mean 'share'\?"),
        ({"name": "thing", "size": -1}, r"here: size is -1; give one >= 0"),
        ({"name": "nowhere_at_all:AnySample"}, r"cannot be imported"),
        ({"name": "test_config:Nothing"}, r"cannot be imported"),
    ],
)
def test_build_errors_name_the_path(section: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(THINGS, section, "here")


def test_a_class_of_the_users_own_is_reached_by_its_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    assert build({}, {"name": "test_config:AnySample", "size": 2}, "here").size == 2


def test_defaults_are_a_valid_config_but_for_what_only_the_user_knows() -> None:
    config = config_from([{"data": {"root": "x"}, "optim": {"steps": 1}, "runtime": {"out": "y"}}])
    assert isinstance(config, Config)


def numeric_keys(section: Any = None, above: str = "") -> list[tuple[str, Any]]:
    """The path and field of every key that holds numbers."""
    found = []
    hints = typing.get_type_hints(section or Config)
    for key in fields(section or Config):
        if is_dataclass(hints[key.name]):
            found += numeric_keys(hints[key.name], f"{above}{key.name}.")
        elif re.search(r"\b(int|float)\b", str(key.type)):
            found.append((f"{above}{key.name}", key))
    return found


def test_every_numeric_key_has_its_range_beside_it() -> None:
    assert not [path for path, key in numeric_keys() if "range" not in key.metadata]


def test_every_word_is_a_choice_or_declared_as_text() -> None:
    hints = {section: typing.get_type_hints(section) for section in (Config, *map(type, vars(Config()).values()))}
    words = [key for section, types in hints.items() if is_dataclass(section) for key in fields(section)]
    plain = [key.name for key in words if key.type in ("str", "str | None") and not key.metadata]
    assert not plain


@pytest.mark.parametrize("path", [path for path, _ in numeric_keys()])
def test_a_number_out_of_its_range_is_refused(path: str) -> None:
    key = dict(numeric_keys())[path]
    limits = key.metadata["range"]
    lists, maps = {"data.mean", "data.std"}, {"supervised.frequencies": "road", "optim.lr_multipliers": "backbone"}
    values = [limits.least - 1] if limits.least is not None else []
    values += [limits.above, limits.above - 1] if limits.above is not None else []
    values += [limits.most + 1] if limits.most is not None else []
    values += [] if key.type == "int" else [".nan", ".inf"]
    for value in values:
        word = f"[1.0, {value}]" if path in lists else f"{{{maps[path]}: {value}}}" if path in maps else value
        with pytest.raises(ConfigError, match=rf"{re.escape(path)}.*: .* is out of range; give {limits}"):
            config_from_yaml(MINIMAL, [f"{path}={word}"])


@pytest.mark.parametrize(("old", "new"), RENAMED.items())
def test_a_key_of_version_0_1_is_refused_in_a_file_and_translated_in_a_stored_config(
    old: str, new: str, minimal: Path
) -> None:
    value = {"strategy": {"name": "cbst"}, "optim.multipliers": {"backbone": 0.5}}.get(old, 1)
    above, _, key = old.rpartition(".")
    word = json.dumps(value) if not above.endswith("_from") else json.dumps([{key: value}])
    with pytest.raises(ConfigError, match=f"{re.escape(old)}: was renamed to {re.escape(new)}"):
        read_config(minimal, [f"{old if word == json.dumps(value) else above}={word}"])
    stored: dict[str, Any] = {"data": {"root": "x"}, "optim": {"steps": 1}, "runtime": {"out": "x"}}
    section = stored
    for part in above.split(".") if above else ():
        section = section.setdefault(part, [{}] if part.endswith("_from") else {})
        section = section[0] if isinstance(section, list) else section
    section[key] = value
    if old == "supervised.far_m":
        section["hardest"] = 0.5
    found: Any = config_from_yaml(json.dumps(stored))
    for part in new.split("."):
        found = found[0] if isinstance(found, list) else found
        found = found[part] if isinstance(found, dict) else getattr(found, part)
    assert found in (1, {"name": "cbst"}, {"backbone": 0.5})


def test_a_stored_config_never_reads_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANGESEG_SECRET", "told")
    with pytest.raises(ConfigError, match="could read your environment") as refused:
        config_from_yaml(MINIMAL.replace("somewhere", "${oc.env:RANGESEG_SECRET}"))
    assert "told" not in str(refused.value)


@pytest.mark.parametrize(("old", "new"), RENAMED_PERTURBATIONS.items())
def test_a_perturbation_of_version_0_1_is_refused_in_a_file_and_translated_in_a_stored_config(
    old: str, new: str, minimal: Path
) -> None:
    nested = f"perturbation={{name: one_of, parts: [{{name: cutmix}}, {{name: {old}}}]}}"
    with pytest.raises(ConfigError, match=f"perturbation.name: {old} was renamed to {new}"):
        read_config(minimal, [nested])
    stored = config_from_yaml(MINIMAL + nested.replace("=", ": ", 1))
    assert stored.perturbation["parts"] == [{"name": "cutmix"}, {"name": new}]


def test_configs_are_found_by_name_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    whole = read_config("configs/semantic_kitti.yaml", ["data.root=x"])
    assert read_config("semantic_kitti", ["data.root=x"]) == whole
    assert read_config("quick", ["data.root=x"]) == read_config("mini_kitti/quick", ["data.root=x"])
    with pytest.raises(ConfigError, match=r"semantic_kiti: no such file, .*Did you mean 'semantic_kitti'"):
        read_config("semantic_kiti")


def test_configs_and_components_are_joined_by_plus(minimal: Path, tmp_path: Path) -> None:
    top = tmp_path / "top.yaml"
    top.write_text("optim: {lr: 0.5}\n")
    config = read_config(f"{minimal}+fixmatch+classmix+salsanext+{top}")
    assert config.method == {"name": "fixmatch"}
    assert config.consistency.kind == "ce"
    assert (config.perturbation, config.network) == ({"name": "classmix"}, {"name": "salsanext"})
    assert config.optim.lr == 0.5


def test_a_name_that_two_configs_have_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    twice = {"a/same": Path("a/same.yaml"), "b/same": Path("b/same.yaml")}
    monkeypatch.setattr("rangeseg.config.shipped.shipped_configs", lambda: twice)
    with pytest.raises(ConfigError, match="'same' matches several configs: a/same, b/same"):
        read_config("same")


def test_bases_may_have_bases_but_not_themselves(tmp_path: Path) -> None:
    for name, text in {"a": MINIMAL, "b": "base: a.yaml\noptim: {lr: 0.1}\n", "c": "base: [b.yaml]\n"}.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    assert read_config(tmp_path / "c.yaml").optim.lr == 0.1
    (tmp_path / "a.yaml").write_text("base: c.yaml\n")
    with pytest.raises(ConfigError, match=r"includes itself as a base: .*c\.yaml -> .*b\.yaml -> .*a\.yaml"):
        read_config(tmp_path / "c.yaml")


def test_the_run_folder_is_named_by_what_is_run(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("data: {root: x, labelled: lists/train_1pct.txt}\noptim: {steps: 1}\n")
    assert read_config(path).runtime.out == "runs/x/fidnet_cutmix_1pct"
    assert read_config(path, ["consistency.weight=0"]).runtime.out == "runs/x/fidnet_supervised_1pct"
    more = ["perturbation.name=identity", "runtime.seed=2", "network.name=mine:Net", "data.labelled=all"]
    ring = read_config("nuscenes/ring+cutmix", ["data.root=x"]).runtime.out
    assert ring == "runs/nuscenes/ring/fidnet_cutmix_10pct_uniform"
    assert read_config(path, more).runtime.out == "runs/x/mine.Net_mean_teacher_all_seed2"


def test_ordinary_experiments_have_different_run_folders(tmp_path: Path) -> None:
    path, fewer = tmp_path / "x.yaml", "data.label_fraction=0.1"
    path.write_text("data: {root: x}\noptim: {steps: 1}\n")
    tries = [
        *((path, [f"data.labelled={name}"]) for name in ("all", "train_0.1pct_uniform", "a/train_0.5pct_uniform.txt")),
        *((path, [fewer, *more]) for more in ([], ["data.label_seed=1"], ["data.label_spread=classes"])),
        *((f"{path}+{name}", []) for name in ("fixmatch", "cps", "cutout", "lasermix")),
        *((f"{path}+{name}", []) for name in ("mean_teacher", "lasermix_loop", "supervised", "supervised+rangeformer")),
    ]
    folders = [read_config(words, more).runtime.out for words, more in tries]
    assert len({*folders}) == len(folders), folders
    assert folders[1:3] == [f"runs/x/fidnet_cutmix_0.{part}pct_uniform" for part in (1, 5)]


@pytest.mark.parametrize("key", ["labelled", "unlabelled"])
def test_null_labels_are_refused_in_a_file_and_translated_in_a_stored_config(key: str, minimal: Path) -> None:
    with pytest.raises(ConfigError, match=f"data.{key}: null was renamed to all in version 0.2"):
        read_config(minimal, [f"data.{key}=null"])
    stored = config_from_yaml(f"data: {{root: x, {key}: null}}\noptim: {{steps: 1}}\nruntime: {{out: x}}\n")
    assert getattr(stored.data, key) == "all"


def test_a_base_may_be_a_shipped_config_or_a_file_beside(tmp_path: Path) -> None:
    """The same contents as joined on the command line; a file of the same name beside it comes first."""
    (tmp_path / "mine.yaml").write_text("base: [mini_kitti, fixmatch]\ndata: {root: somewhere}\noptim: {lr: 0.25}\n")
    more = ["runtime.out=x"]
    joined = read_config("mini_kitti+fixmatch", ["data.root=somewhere", "optim.lr=0.25", *more])
    assert write_config(read_config(tmp_path / "mine.yaml", more)) == write_config(joined)
    (tmp_path / "mini_kitti").write_text("optim: {steps: 77}\n")
    (tmp_path / "mine.yaml").write_text("base: mini_kitti\ndata: {root: somewhere}\n")
    assert read_config(tmp_path / "mine.yaml", more).optim.steps == 77
    (tmp_path / "mine.yaml").write_text("base: mini_kiti\n")
    with pytest.raises(ConfigError, match=r"mini_kiti: no such file, and no shipped config .* 'mini_kitti'"):
        read_config(tmp_path / "mine.yaml")


EMPTIED = {
    "data.augmentation": "{rotate_deg: 30}",
    "supervised.frequencies": "{car: 0.5}",
    "supervised.mix": "{range_mix: {}}",
    "optim.lr_multipliers": "{backbone: 0.3}",
    "evaluation.window": "{size: [64, 64]}",
}


@pytest.mark.parametrize("key", EMPTIED)
def test_an_empty_mapping_empties_what_lower_layers_set(minimal: Path, tmp_path: Path, key: str) -> None:
    section, _, name = key.partition(".")
    assert getattr(getattr(read_config(minimal, [f"{key}={EMPTIED[key]}"]), section), name) != {}
    (tmp_path / "above.yaml").write_text(f"base: minimal.yaml\n{section}: {{{name}: {EMPTIED[key]}}}\n")
    (tmp_path / "empty.yaml").write_text(f"base: above.yaml\n{section}: {{{name}: {{}}}}\n")
    for config in (
        read_config(minimal, [f"{key}={EMPTIED[key]}", f"{key}={{}}"]),
        read_config(tmp_path / "above.yaml", [f"{key}={{}}"]),
        read_config(tmp_path / "above.yaml", [f"{section}={{{name}: {{}}}}"]),
        read_config(tmp_path / "empty.yaml"),
    ):
        assert getattr(getattr(config, section), name) == {}
    filled = read_config(tmp_path / "above.yaml", ["data.augmentation={}", "data.augmentation.flip_y=0.5"])
    assert filled.data.augmentation == {"flip_y": 0.5}


@pytest.mark.parametrize("key", ["perturbation", "network", "data", "data.dataset", "data.projection"])
def test_an_empty_mapping_that_would_change_nothing_is_refused(minimal: Path, key: str) -> None:
    with pytest.raises(ConfigError, match=rf"^{key}={{}}: changes nothing"):
        read_config(minimal, [f"{key}={{}}"])


@pytest.mark.parametrize("word", ["data.mean.0=1", "data.augmentation=[1]", "runtime.loggers={name: wandb}"])
def test_a_list_does_not_become_a_mapping(minimal: Path, word: str) -> None:
    key = word.partition("=")[0].removesuffix(".0")
    with pytest.raises(ConfigError, match=rf"^{key}: .*Give the whole list or mapping"):
        read_config(minimal, [word])


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("network=fidnet", "network: is a mapping, but has the value 'fidnet'. Write {name: fidnet}."),
        ("data.dataset=camvid", "data.dataset: is a mapping, but has the value 'camvid'. Write {name: camvid}."),
        ("optim=3", "optim: is a mapping, but has the value 3. Write {KEY: VALUE}."),
        ("data.labelled_from=streets", "data.labelled_from: is a list, but has the value 'streets'. Write [streets]."),
        (
            "runtime.loggers=[{name: mlflow}, wandb]",
            "runtime.loggers[1]: is a mapping, but has the value 'wandb'. Write {KEY: VALUE}.",
        ),
    ],
)
def test_a_word_in_place_of_a_section_is_refused_with_its_key(minimal: Path, word: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_config(minimal, [word])
    assert str(caught.value) == message


def test_a_component_may_come_before_the_config() -> None:
    words = ["data.root=x", "optim.steps=1"]
    config = read_config("fidnet+mini_kitti", words)
    assert config.runtime.out.startswith("runs/mini_kitti/")
    assert read_config("cutmix", words).runtime.out.startswith("runs/cutmix/fidnet_cutmix")


def test_joined_bases_are_files_beside(minimal: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "second.yaml").write_text("optim: {lr: 0.125}\n")
    (tmp_path / "mine.yaml").write_text("base: minimal.yaml+second.yaml+fixmatch\n")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "second.yaml").write_text("optim: {lr: 0.5}\n")
    monkeypatch.chdir(tmp_path / "elsewhere")
    config = read_config(tmp_path / "mine.yaml")
    assert (config.optim.lr, config.method["name"]) == (0.125, "fixmatch")
