"""Text in overrides and files stays as it was written, and options of a dataset do not override other keys."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rangeseg.apps.demo import METHODS
from rangeseg.apps.recipe import Recipe
from rangeseg.apps.repeat import Job
from rangeseg.apps.validate import dataset_config
from rangeseg.config import Config, config_from_yaml, keys, read_config, write_config
from rangeseg.config.overrides import quoted, read_options, read_overrides
from rangeseg.engine.experiment import Experiment
from rangeseg.engine.training_data import TrainingData
from rangeseg.labels import LabelMap
from rangeseg.registry import ConfigError, build

MINIMAL = "data: {root: somewhere}\noptim: {steps: 10}\nruntime: {out: runs/x}\n"

NAMES = [
    "2024_05_01", "2024-05-01", "my #1", "007", "010", "12:30", "1e3", "0x10", "1.0", ".inf", "true", "no", "a: b",
    "a, b", "{split}", "a}b", "[1]", "x/{a, b}: c #d", " v ", "*", "&a", "!b", "|", "%c", "@d", "- e", "it's", 'a"b',
    "ä ö", "-",
]  # fmt: skip
TEXTS = ["data.root", "data.labelled", "data.carried", "evaluation.split", "runtime.initialise_from", "runtime.out"]


def value_of(config: Any, path: str) -> Any:
    for part in path.split("."):
        config = getattr(config, part)
    return config


@pytest.mark.parametrize("path", TEXTS)
def test_the_value_of_a_text_key_is_the_text_after_the_equals_sign(path: str) -> None:
    for name in NAMES:
        assert value_of(config_from_yaml(MINIMAL, [f"{path}={name}"]), path) == name


def test_surrounding_quotes_are_removed_and_null_is_null_where_it_is_allowed() -> None:
    for word in ("'my #1'", '"my #1"', "my #1"):
        assert config_from_yaml(MINIMAL, [f"data.root={word}"]).data.root == "my #1"
    assert config_from_yaml(MINIMAL, ["data.root='it''s'"]).data.root == "it's"
    assert config_from_yaml(MINIMAL, ["data.root='null'"]).data.root == "null"
    for word in ("null", "", "~"):
        config = config_from_yaml(MINIMAL, ["runtime.initialise_from=x", f"runtime.initialise_from={word}"])
        assert config.runtime.initialise_from is None
    for word in ("null", ""):
        with pytest.raises(ConfigError, match=r"data\.root: .*None"):
            config_from_yaml(MINIMAL, [f"data.root={word}"])
    for word in ("'open", "'a' #1"):
        with pytest.raises(ConfigError, match=r"data\.root='"):
            config_from_yaml(MINIMAL, [f"data.root={word}"])


@pytest.mark.parametrize("path", TEXTS)
@pytest.mark.parametrize("word", ["2024_05_01", "00", "1e3", "0x10", "yes"])
def test_a_number_for_a_text_key_is_refused_in_a_file(path: str, word: str, tmp_path: Path) -> None:
    section, key = path.split(".")
    (tmp_path / "below.yaml").write_text(MINIMAL)
    (tmp_path / "c.yaml").write_text(f"base: below.yaml\n{section}: {{{key}: {word}}}\n")
    with pytest.raises(ConfigError, match=rf"{path}: is text, but YAML reads its value as .*Put quotes around it"):
        read_config(tmp_path / "c.yaml")
    with pytest.raises(ConfigError, match=rf"{path}: is text, but YAML"):
        config_from_yaml(MINIMAL, [f"{section}={{{key}: {word}}}"])
    (tmp_path / "c.yaml").write_text(f"base: below.yaml\n{section}: {{{key}: '{word}'}}\n")
    assert value_of(read_config(tmp_path / "c.yaml"), path) == word


def test_other_values_are_yaml_and_no_part_of_them_is_dropped() -> None:
    assert read_options(["a=10", "b=[1, x]", "c='v #1'", "d={e: 1}", "f=09", "g=a#1", "h=null"]) == {
        "a": 10, "b": [1, "x"], "c": "v #1", "d": {"e": 1}, "f": "09", "g": "a#1", "h": None
    }  # fmt: skip
    for word in ("/data/v #1", "#1", "[a] # b", "'a' #"):
        with pytest.raises(ConfigError, match=r"classes=.*: YAML ignores '#.*' as a comment\. Put quotes"):
            read_overrides([f"data.dataset.classes={word}"])


@pytest.mark.parametrize(("word", "number"), [("010", "8"), ("-0_7", "-7"), ("1:30", "90"), ("1:30.5", "90.5")])
def test_a_number_that_is_not_decimal_is_refused(word: str, number: str, tmp_path: Path) -> None:
    message = rf"line \d: YAML reads {word} as {number}; write a decimal number"
    for value in (word, f"[1, {word}]", f"{{a: {word}}}"):
        with pytest.raises(ConfigError, match=f"optim.steps=.*: {message}"):
            read_overrides([f"optim.steps={value}"])
    (tmp_path / "c.yaml").write_text(MINIMAL.replace("10", word))
    with pytest.raises(ConfigError, match=f"c.yaml: not readable as YAML: {message}"):
        read_config(tmp_path / "c.yaml")
    (tmp_path / "labels.yaml").write_text(f"learning_map: {{{word}: 1}}\n")
    with pytest.raises(ValueError, match=f"labels.yaml: {message}"):
        LabelMap.read(tmp_path / "labels.yaml")
    for value in ("0", "00", "-10", "0.5", "1_000", "0x1f", "1e-3", f"'{word}'", f"a{word}", "2026-11-29"):
        read_overrides([f"optim.steps={value}"])


def test_an_option_that_is_text_is_no_number() -> None:
    class Any_:
        def __init__(self, text: str = "", path: str | Path | None = None) -> None:
            pass

    for key in ("text", "path"):
        with pytest.raises(ConfigError, match=rf"here\.{key}: expected .*, got 8\. Put quotes around text"):
            build({"any": Any_}, {"name": "any", key: 8}, "here")


@pytest.mark.parametrize("name", NAMES)
def test_quoted_text_in_a_mapping_is_read_as_it_is(name: str) -> None:
    for text in (name, f"/data/{name}", f"{name}/out", "/plain/path"):
        assert read_options([f"a=[{{b: {quoted(text)}, c: 1}}]"]) == {"a": [{"b": text, "c": 1}]}
    assert quoted("/plain/path-1/x.txt") == "/plain/path-1/x.txt"


@pytest.mark.parametrize("name", ["my #1", "a, b", "{c}: d", "it's", "1e3"])
def test_paths_that_programs_put_into_overrides_arrive_unchanged(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    out, real, list_file = Path(name), Path(name, "real"), f"{name}.txt"
    Path(list_file).touch()
    recipe = Recipe("kitti", out, real, list_file, (Path("more"),), rounds=1)
    trained = {s.name: read_config(s.words[1], s.words[2:-2]) for s in recipe.steps() if s.words[0] == "train"}
    last = trained["round1"]
    assert (last.data.root, last.data.labelled, last.runtime.out) == (str(real), list_file, str(out / "round1"))
    assert last.runtime.initialise_from == str(out / "pretrain")
    pseudo = out / "pseudo1"
    assert last.data.labelled_from == [
        {"root": str(out / "streets"), "dataset": {"name": "semantic_kitti"}, "share": 0.5},
        *(
            {"root": str(root), "subset": str(pseudo / source / "scans.txt"), "dataset": {"name": "semantic_kitti"}
             | {"labels_from": str(pseudo / source)}}
            for source, root in (("real", real), ("gathered", out / "gathered"))
        ),
    ]  # fmt: skip
    assert trained["teacher"].data.unlabelled_from[0]["root"] == str(out / "gathered")
    words = Job(f"demo+{METHODS[0]}", 0, out / "run").step([f"data.root={real}"]).words
    config = read_config(words[1], words[2:-2])
    assert (config.data.root, config.runtime.out) == (str(real), str(out / "run"))
    assert dataset_config("semantic_kitti", name).data.root == name


SET_ELSEWHERE = {
    "root": (r"data\.root", "root"),
    "split": (r"evaluation\.split", "split"),
    "subset": (r"data\.labelled or data\.unlabelled", "subset"),
    "frames": (r"data\.labelled or data\.unlabelled", "subset"),
    "labels": (r"data\.labelled or data\.unlabelled", None),
}


@pytest.mark.parametrize("key", SET_ELSEWHERE)
def test_options_of_a_dataset_do_not_override_other_keys(key: str, tiny_config: Config) -> None:
    use, own = SET_ELSEWHERE[key]
    for kind in ("labelled_from", "unlabelled_from"):
        entry = f"data.{kind}=[{{root: x, dataset: {{name: semantic_kitti, {key}: val}}}}]"
        right = rf"data\.{kind}\[0\]\.{own}" if own else r"data\.labelled_from or data\.unlabelled_from"
        config = config_from_yaml(write_config(tiny_config), [entry])
        with pytest.raises(ConfigError, match=rf"data\.{kind}\[0\]\.dataset\.{key}: cannot be set here.* Use {right}"):
            TrainingData.open(Experiment(config))
    for words in (f"data.dataset.{key}=val", f"data.dataset={{name: semantic_kitti, {key}: val}}"):
        experiment = Experiment(config_from_yaml(write_config(tiny_config), [words]))
        with pytest.raises(ConfigError, match=rf"data\.dataset\.{key}: cannot be set here.* Use {use}"):
            experiment.open("train")
        with pytest.raises(ConfigError, match=rf"data\.dataset\.{key}: cannot be set here"):
            TrainingData.open(experiment)


def test_an_entrys_text_is_no_number(tiny_config: Config) -> None:
    for key in ("root", "split", "subset", "carried"):
        section: dict[str, Any] = {"root": tiny_config.data.root, "dataset": {"name": "semantic_kitti"}, key: 8}
        tiny_config.data.labelled_from = [section]
        with pytest.raises(ConfigError, match=rf"data\.labelled_from\[0\]\.{key}: is text, but YAML reads .* as 8"):
            TrainingData.open(Experiment(tiny_config))


def test_the_text_keys_are_keys() -> None:
    assert set(TEXTS) < set(keys())
