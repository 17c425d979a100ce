"""params.yaml is typed: what is wrong is said with its key, its section and what is allowed."""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from dvc.output import Output
from dvc.stage import Stage
from dvc.stage.cache import _get_cache_hash
from dvc_data.hashfile.meta import Meta

from flows import parameters
from scriptsight.errors import InputError
from scriptsight.params import reading
from scriptsight.params.base import Section
from scriptsight.params.models import VitParams


@pytest.fixture
def values() -> dict[str, Any]:
    return copy.deepcopy(reading.read_yaml("params.yaml"))


def message_of(values: dict[str, Any]) -> str:
    with pytest.raises(InputError) as error:
        parameters.build(values, "params.yaml")
    return str(error.value)


def test_the_project_file_is_valid_and_frozen() -> None:
    loaded = parameters.load("params.yaml")
    with pytest.raises(ValueError, match="frozen"):
        loaded.pretrain.k = 3


def test_an_unknown_key_is_named_with_its_section_and_the_allowed_ones(values: dict[str, Any]) -> None:
    values["segment"]["fsp"] = 2
    message = message_of(values)
    assert "unknown key 'fsp' in section segment. Did you mean 'fps'?" in message
    assert "jpeg_quality" in message


def test_an_unknown_key_of_a_collection(values: dict[str, Any]) -> None:
    values["ingest"]["collections"]["narrated"]["scens"] = 3
    assert "'scens' in section ingest.collections.narrated" in message_of(values)


def test_a_missing_key(values: dict[str, Any]) -> None:
    del values["pretrain"]["k"]
    assert "missing key 'k' in section pretrain" in message_of(values)


@pytest.mark.parametrize(
    ("section", "key", "value", "expected"),
    [
        ("pretrain", "k", "four", "pretrain.k: Input should be a valid integer, got 'four' (str)"),
        ("pretrain", "k", 1, "pretrain.k: Input should be greater than or equal to 2, got 1"),
        ("pretrain", "optimizer", {"kind": "adam"}, "'kind' must be one of adamw, muon, sgd"),
        (
            "pretrain",
            "sampling",
            {"kind": "spans", "min_seconds": 5.0, "max_seconds": 3.0, "gap_seconds": 1.0},
            "min_seconds is over",
        ),
        (
            "pretrain",
            "collections",
            {"narrated": {"frames": 4}},
            "collections.narrated: frames and stride are for pairs",
        ),
        (
            "pretrain",
            "collections",
            {"narrated": {"text": "title", "frames": 3}},
            "narrated.frames 3 must be a multiple",
        ),
        ("pretrain", "seed", -1, "pretrain.seed"),
        ("segment", "max_seconds", float("inf"), "segment.max_seconds: Input should be a finite number"),
        ("pretrain", "frames", 7, "frames 7 is no multiple of video.tubelet 2"),
        ("pretrain", "image_size", 64, "pretrain.image_size 64 is over segment.short_side 32"),
        ("pretrain", "video", {"kind": "resnet"}, "pretrain.video: 'kind' must be one of vit, resnet3d"),
        ("pretrain", "video", {"kind": "resnet3d", "depth": 34}, "depth: Input should be 18 or 50, got 34 (int)"),
        ("pretrain", "objective", "sorting", "pretrain.objective: Input should be 'tvts', 'contrastive', "),
        ("pretrain", "joint", {"objectives": {"joint": 1.0}}, "pretrain.joint.objectives.joint"),
        ("pretrain", "video", {"preset": "vit_h14"}, "preset 'vit_h14' must be one of vit_s16, vit_b16, vit_l16"),
        ("pretrain", "video", {"preset": "vit_s16", "width": 96}, "preset vit_s16 sets width: leave out the one"),
        ("pretrain", "video", {"preset": "vit_s16"}, "missing key 'tubelet' in section pretrain.video"),
        ("pretrain", "text", {"kind": "words2"}, "'kind' must be one of words, vectors, transformer, huggingface"),
    ],
)
def test_a_wrong_value_is_named(values: dict[str, Any], section: str, key: str, value: Any, expected: str) -> None:
    values[section][key] = value
    assert expected in message_of(values)


def test_a_text_encoder_is_not_frozen_for_one_objective_and_trained_by_another(values: dict[str, Any]) -> None:
    values["pretrain"]["objective"] = "joint"
    values["pretrain"]["joint"]["objectives"] = {"cpd": 1.0, "tvts": 1.0}
    parameters.build(values)
    values["pretrain"]["cpd"]["joint_from"] = {"kind": "plateau", "validations": 2}
    assert "cpd.joint_from freezes the text encoder at first, and tvts trains it" in message_of(values)
    values["pretrain"]["joint"]["objectives"] = {"cpd": 1.0, "masked_pixels": 1.0}  # which reads no text
    parameters.build(values)


@pytest.mark.parametrize("name", ["../up", "a/b", "", "a.b"])
def test_a_collection_name_is_no_path(values: dict[str, Any], name: str) -> None:
    values["ingest"]["collections"][name] = values["ingest"]["collections"]["narrated"]
    assert "ingest.collections" in message_of(values)


def test_a_renamed_key_is_told_with_its_new_name(values: dict[str, Any]) -> None:
    """In a parameters file that has only the old name, and where overrides lay the old name beside the new one."""
    told = "pretrain.size is called image_size now: rename it to image_size in section pretrain."
    assert message_of(reading.merge(values, {"pretrain": {"size": 16}})).splitlines()[1:] == [f"  {told}"]
    values["pretrain"]["size"] = values["pretrain"].pop("image_size")
    assert message_of(values).splitlines()[1:] == [f"  {told}"]
    del values["pretrain"]["size"]
    assert "missing key 'image_size' in section pretrain" in message_of(values)


def test_a_sweep_over_a_renamed_key_is_told_its_new_name(values: dict[str, Any]) -> None:
    values["sweep"]["space"] = {"pretrain.size": {"kind": "choice", "values": [16, 32]}}
    assert "sweep.space names 'pretrain.size': it is called pretrain.image_size now" in message_of(values)


def sections(annotation: Any) -> Iterator[type[Section]]:
    """All sections within an annotation, at any depth."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        yield annotation
        for field in annotation.model_fields.values():
            yield from sections(field.annotation)
    for inner in get_args(annotation):
        yield from sections(inner)


def unseen(name: str) -> bool:
    """Whether DVC's run-cache takes two values of a parameter of this name for the same."""
    one, other = ({"cmd": "x", "params": {"params.yaml": {"pretrain": {name: value}}}} for value in (1, 2))
    return bool(_get_cache_hash(one, key=True) == _get_cache_hash(other, key=True))


def test_no_parameter_has_a_name_that_the_run_cache_of_dvc_leaves_out() -> None:
    names = {name for section in sections(parameters.Params) for name in section.model_fields}
    assert {"image_size", "tubelet", "mixup", "path"} <= names
    assert not {name for name in names if unseen(name)}
    assert {word for word in words_of_dvc() if unseen(word)} == set(parameters.UNSEEN)


def words_of_dvc() -> set[str]:
    """The names of all keys that DVC itself has in its files."""
    named = [item for owner in (Meta, Output, Stage) for item in vars(owner).items()]
    return {value for key, value in named if key.startswith("PARAM_")}


@pytest.mark.parametrize("name", parameters.UNSEEN)
def test_no_collection_test_or_class_text_is_named_so_either(values: dict[str, Any], name: str) -> None:
    changed = copy.deepcopy(values)
    changed["ingest"]["collections"][name] = changed["ingest"]["collections"]["narrated"]
    assert f"ingest.collections.{name}: DVC heeds no change below this name" in message_of(changed)
    changed = copy.deepcopy(values)
    changed["probe"]["tests"][name] = changed["probe"]["tests"]["actions"]
    assert f"probe.tests.{name}: DVC heeds no change below this name" in message_of(changed)
    values["probe"]["tests"]["actions"]["texts"][name] = "gets larger"
    assert f"probe.tests.actions.texts.{name}: DVC heeds no change of this class's text" in message_of(values)


def test_all_errors_are_told_at_once(values: dict[str, Any]) -> None:
    values["segment"]["fps"] = "two"
    del values["probe"]["seed"]
    assert len(message_of(values).splitlines()) == 3


def test_yaml_1_2_numbers_and_repeated_keys(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text("lr: 1e-3\n")
    assert reading.read_yaml(path) == {"lr": 0.001}
    path.write_text("lr: 1\nlr: 2\n")
    with pytest.raises(InputError, match=r"p\.yaml is not valid YAML"):
        reading.read_yaml(path)
    path.write_text("just words")
    with pytest.raises(InputError, match="holds no sections"):
        reading.read_yaml(path)
    with pytest.raises(InputError, match="There is no parameters file"):
        reading.read_yaml(tmp_path / "none.yaml")


def test_overrides_replace_values_but_kinds_and_collections_whole(values: dict[str, Any]) -> None:
    text = {"kind": "huggingface", "name": "x", "pool": "cls"}
    only = {"mine": {"kind": "folder", "path": "videos"}}
    merged = reading.merge(values, {"pretrain": {"k": 3, "text": text}, "ingest": {"collections": only}})
    assert merged["pretrain"]["k"] == 3
    assert merged["pretrain"]["frames"] == values["pretrain"]["frames"]
    assert merged["pretrain"]["text"] == text
    assert merged["ingest"]["collections"] == only


def test_a_preset_stands_for_a_shape_and_replaces_it(values: dict[str, Any]) -> None:
    video = {"preset": "vit_b16", "tubelet": 2, "init": "mae.pth"}
    merged = reading.merge(values, {"pretrain": {"video": video, "image_size": 32}})
    found = parameters.build(merged).pretrain.video
    assert found.shape == {"kind": "vit", "width": 768, "depth": 12, "heads": 12, "patch": 16, "tubelet": 2}
    assert VitParams(**found.model_dump()) == found


def test_the_order_in_which_tables_are_written_counts_for_nothing(values: dict[str, Any]) -> None:
    """DVC compares tables without their order: a meaning of it would bring back the results of another."""
    test = values["probe"]["tests"]["actions"]
    values["probe"]["tests"] = {"slow": test, "actions": test}
    values["pretrain"]["collections"] = {"narrated": {"text": "script"}, "actions": {"text": "script"}}
    built = parameters.build(values)
    assert list(built.probe.tests) == ["actions", "slow"]
    assert list(built.pretrain.collections) == ["actions", "narrated"]


def test_patterns_of_files_go_from_the_narrowest_to_the_widest(values: dict[str, Any]) -> None:
    folder: dict[str, Any] = {"kind": "folder", "path": "talks"}
    values["ingest"]["collections"]["talks"] = {**folder, "splits": {"*_[ab]2*": "val", "*_1*": "test", "*": "train"}}
    one: Any = parameters.build(values).ingest.collections["talks"]
    values["ingest"]["collections"]["talks"]["splits"] = {"*_1*": "test", "*_[ab]2*": "val", "*": "train"}
    other: Any = parameters.build(values).ingest.collections["talks"]
    assert list(one.splits) == list(other.splits) == ["*_1*", "*_[ab]2*", "*"]
    values["ingest"]["collections"]["talks"]["splits"] = {"*": "train", "*_1*": "test"}
    assert "talks.splits must go from the narrowest to the widest" in message_of(values) and "*_1*, *" in message_of(
        values
    )
