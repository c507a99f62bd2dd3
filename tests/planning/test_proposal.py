"""The file of `medconv plan`: round trip, reasons, and everything that is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from medconv import __version__
from medconv.errors import BadCasesError, ConfigError, DatasetError
from medconv.io import discover
from medconv.planning import Cost, DatasetIdentity, Plan, Proposal, StagePlan, Wishes, propose, read_headers


@pytest.fixture(scope="module")
def proposal(tiny_dataset: Path) -> Proposal:
    return propose(discover(tiny_dataset))


def test_the_file_says_the_same_as_the_values(proposal: Proposal, tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    proposal.save(path)
    assert Proposal.load(path) == proposal
    assert Proposal.from_dict(json.loads(json.dumps(proposal.to_dict()))) == proposal
    written = yaml.safe_load(path.read_text())
    assert written["medconv"] == __version__
    assert list(written)[-1] == "reasons"


def test_every_value_has_its_reason(proposal: Proposal) -> None:
    assert sorted(proposal.reasons) == sorted(proposal.places())
    assert all(len(reason) > 10 for reason in proposal.reasons.values())


def test_reasons_name_the_numbers_that_decided(proposal: Proposal) -> None:
    assert proposal.reasons["plan.spacing_mm"] == "all 4 cases have it"
    assert (
        "24×24×12 voxels" in proposal.reasons["plan.patch_size"]
        or "sees " in proposal.reasons["plan.patch_size"]
    )
    assert (
        "capped so that a batch covers at most 5 % of the voxels of 4 cases"
        in proposal.reasons["training.batch_size"]
    )
    assert proposal.training.batch_size == 2
    assert proposal.network.supervised_outputs == 2
    assert "all outputs of the decoder but the coarsest" in proposal.reasons["network.supervised_outputs"]


def test_the_fingerprint_is_what_is_in_the_files(proposal: Proposal, tiny_dataset: Path) -> None:
    seen = proposal.fingerprint
    assert seen["cases"] == 4
    assert seen["shape"] == {"min": [24, 23, 12], "median": [24, 24.5, 12], "max": [24, 26, 12]}
    assert seen["foreground_intensity"]["MRI"]["mean"] == pytest.approx(190, abs=15)
    volumes = seen["class_volumes_ml"]
    assert volumes["head"]["cases"] == volumes["tail"]["cases"] == 4
    assert 0 < volumes["head"]["min"] <= volumes["head"]["median"] <= volumes["head"]["max"]


def test_given_values_are_kept_and_say_so(tiny_dataset: Path) -> None:
    wishes = Wishes(spacing_mm=(1, 1, 2), patch_size=(16, 16, 8), batch_size=3, normalization=("none",))
    found = propose(discover(tiny_dataset), wishes, voxels="needed")
    assert (found.plan.patch_size, found.training.batch_size) == ((16, 16, 8), 3)
    for place in ("plan.spacing_mm", "plan.patch_size", "plan.normalization", "training.batch_size"):
        assert found.reasons[place] == "given by the user"
    assert "class_volumes_ml" not in found.fingerprint


def test_expensive_operators_get_a_smaller_step(tiny_dataset: Path) -> None:
    def heavy(plan: Plan, stages: StagePlan) -> Cost:
        voxels = plan.patch_size[0] * plan.patch_size[1] * plan.patch_size[2]
        return Cost(1e8, voxels * 5e5 * len(stages), is_memory=True)

    dataset = discover(tiny_dataset)
    plain, found = propose(dataset), propose(dataset, operator_cost=heavy)
    assert found.plan.patch_size < plain.plan.patch_size
    assert heavy(found.plan, found.network.stages).of(2) <= 8e9
    with pytest.raises(ConfigError, match="got too little memory"):
        propose(dataset, Wishes(memory_gb=0.05), operator_cost=heavy)


def test_bad_voxels_are_listed_or_left_out(tiny_dataset: Path, tmp_path: Path) -> None:
    dataset = discover(tiny_dataset)
    narrow = replace(dataset, label_names={0: "background", 1: "head"})
    with pytest.raises(BadCasesError, match=r"4 problem\(s\)"):
        propose(narrow)
    noted: dict[str, str] = {}
    found = propose(narrow, bad_cases=noted)
    assert len(noted) == 4
    assert "class_volumes_ml" not in found.fingerprint
    with pytest.raises(ConfigError, match="expected foreground voxels to take intensities from, got none"):
        propose(narrow, Wishes(normalization=("ct",)), bad_cases={})


def test_a_low_resolution_needs_large_cases(tiny_dataset: Path) -> None:
    with pytest.raises(ConfigError, match="resolution low: expected 3-D cases of which a patch sees less"):
        propose(discover(tiny_dataset), Wishes(resolution="low"))


@pytest.mark.parametrize(
    ("wishes", "message"),
    [
        ({"memory_gb": 0}, "memory_gb: expected a number above 0, got 0"),
        ({"patch_size": [0, 1, 1]}, "patch_size: expected 1 or more, got 0, 1, 1"),
        ({"batch_size": -1}, "batch_size: expected 1 or more, got -1"),
    ],
)
def test_wishes_that_cannot_be(wishes: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Wishes(**wishes)


def test_wishes_of_another_number_of_axes(tiny_dataset: Path) -> None:
    dataset = discover(tiny_dataset)
    with pytest.raises(ConfigError, match="spacing_mm: expected 3 entries, got 2"):
        propose(dataset, Wishes(spacing_mm=(1, 1)))
    with pytest.raises(ConfigError, match="patch_size: expected 3 entries, got 1"):
        propose(dataset, Wishes(patch_size=(16,)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: v.pop("schema"), "got no 'schema' in it; plan again"),
        (
            lambda v: v.update(schema=99, medconv="9.9"),
            "expected a plan of schema 1, got 99, written by medconv '9.9'",
        ),
        (lambda v: v.update(pln=1), "plan file: unknown key 'pln'; did you mean 'plan'"),
        (lambda v: v.pop("network"), "plan file: expected all of .*missing: network"),
        (
            lambda v: v["network"].update(chanels=[1]),
            "network: unknown key 'chanels'; did you mean 'channels'",
        ),
        (
            lambda v: v["network"].update(channels=3),
            "network.channels: expected a list with one entry a stage, got 3",
        ),
        (lambda v: v["network"].update(channels=[8]), "network.channels: expected 2 to 16 entries, got 1"),
        (
            lambda v: v["network"].update(channels=[8, 10**6]),
            "network.channels: expected a whole number from 1 to 4096",
        ),
        (
            lambda v: v["network"].update(strides=[1, 2]),
            "network.strides: expected a list with one entry a stage",
        ),
        (
            lambda v: v["network"].update(strides=[[1, 1], [2, 2]]),
            "network.strides: expected 3 entries, got 2",
        ),
        (
            lambda v: v["network"].update(supervised_outputs=9),
            "supervised_outputs: expected a whole number from 1 to 3",
        ),
        (lambda v: v["training"].update(batch_size="x"), "training.batch_size: expected a whole number"),
        (lambda v: v["plan"].update(spacing_mm=[1, 1]), "spacing_mm: expected 3 entries, got 2"),
        (lambda v: v["dataset"].pop("digest"), "dataset: expected the keys name, cases, digest"),
        (
            lambda v: v.update(reasons={"plan.spacing": "x"}),
            "reasons: nothing is called 'plan.spacing'; did you mean",
        ),
        (
            lambda v: v.update(reasons={"plan.spacing_mm": 3}),
            "reasons.plan.spacing_mm: expected a sentence, got 3",
        ),
        (lambda v: v.update(reasons=[1]), "reasons: expected a mapping, got list"),
        (lambda v: v.update(training=7), "training: expected a mapping, got int"),
    ],
)
def test_a_file_that_is_not_right_is_refused(
    proposal: Proposal, tmp_path: Path, change: object, message: str
) -> None:
    values = json.loads(json.dumps(proposal.to_dict()))
    change(values)  # type: ignore[operator]
    path = tmp_path / "plan.yaml"
    path.write_text(yaml.safe_dump(values))
    with pytest.raises(ConfigError, match=message) as error:
        Proposal.load(path)
    assert str(path) in str(error.value)


def test_no_yaml_and_no_file(tmp_path: Path) -> None:
    (tmp_path / "plan.yaml").write_text("a: [1")
    with pytest.raises(ConfigError, match=r"not valid YAML \(.*\); correct the line named"):
        Proposal.load(tmp_path / "plan.yaml")
    with pytest.raises(ConfigError, match="No such file"):
        Proposal.load(tmp_path / "no.yaml")
    (tmp_path / "list.yaml").write_text("[1]")
    with pytest.raises(ConfigError, match="expected a plan as medconv plan writes it"):
        Proposal.load(tmp_path / "list.yaml")


def test_an_edited_file_without_reasons_is_a_plan_too(proposal: Proposal) -> None:
    values = proposal.to_dict()
    del values["reasons"], values["fingerprint"]
    values["training"]["batch_size"] = 5
    assert Proposal.from_dict(values).training.batch_size == 5


# ---------------------------------------------------------------- identity


def test_a_dataset_is_the_same_wherever_it_lies(tiny_dataset: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(tiny_dataset, tmp_path / "moved")
    here, there = discover(tiny_dataset), discover(tmp_path / "moved")
    one, other = (DatasetIdentity.of(d, read_headers(d)) for d in (here, there))
    assert one.digest == other.digest
    one.require(other, "plan.yaml", "medconv plan x")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda d: replace(d, cases=d.cases[1:]),
            "with 4 cases, not 3; plan again with: medconv plan x -o p.yaml",
        ),
        (
            lambda d: replace(d, channel_names=("CT",)),
            "with other case names, grids, channels or labels; plan again",
        ),
        (
            lambda d: replace(d, label_names={0: "background", 1: "x", 2: "y"}),
            "other case names, grids, channels",
        ),
        (lambda d: replace(d, cases=(replace(d.cases[0], case_id="z"), *d.cases[1:])), "other case names"),
    ],
)
def test_another_dataset_is_refused_with_what_differs(
    tiny_dataset: Path, change: object, message: str
) -> None:
    dataset = discover(tiny_dataset)
    other = change(dataset)  # type: ignore[operator]
    planned = DatasetIdentity.of(dataset, read_headers(dataset))
    with pytest.raises(DatasetError, match=message):
        planned.require(DatasetIdentity.of(other, read_headers(other)), "p.yaml", "medconv plan x -o p.yaml")
