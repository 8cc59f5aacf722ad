"""Suites: what is read, what is refused and where, ids that stay, packs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import pytest
from annotated_types import Ge
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aebench import suite
from aebench.errors import InputError
from aebench.metrics import METRICS, Metric
from aebench.variants import VARIANTS

BASE = """\
name: trial
about: a small one
seeds: 2
data: digits
network: {kind: mlp, hidden: [8, 4]}
train: {steps: 10, batch: 4, lr: {points: {0: 1e-3, 0.8: 1e-4}, kind: step}}
runs:
  - variant: vae
    sizes: {latent: 2}
    sweep: {beta: {logspace: [0, -3, 7]}}
  - variant: linear_ae
figures: [curves]
"""
LINES = BASE.splitlines()


class Options(NamedTuple):
    samples: Annotated[int, Ge(1)] = 100
    sigmas: tuple[float, ...] = (0.5,)


METRIC = Metric(name="nll", about="", values=lambda options: {}, fn=lambda *a: {}, options=Options)


def free_network(event_shape: object = None, width: int = 3) -> None:
    """A user's own network factory."""


def changed(line: int, text: str) -> str:
    """BASE with one line replaced (counted from 1); it may become several or none."""
    return "\n".join([*LINES[: line - 1], *text.splitlines(), *LINES[line:]]) + "\n"


def specs(text: str, **options: object) -> list[dict]:
    return [run.spec for run in suite.parse(text, "x.yaml", **options).runs]


def fault(text: str, **options: object) -> str:
    with pytest.raises(InputError) as caught:
        suite.parse(text, "x.yaml", **options)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert message.isprintable()
    return message


# --- what is read


def test_a_suite_becomes_canonical_runs():
    read = suite.parse(BASE, "x.yaml")
    assert (read.name, read.about, read.text, read.metrics) == ("trial", "a small one", BASE, ())
    assert (read.figures, read.keep_weights) == (("curves",), True)
    assert len(read.runs) == 2 * 7 + 2
    first, last = read.runs[0].spec, read.runs[-1].spec
    data = first.pop("data")
    assert (data["name"], data["split"]["seed"]) == ("digits", 0)
    assert first == {
        "schema": 1, "variant": "vae", "version": 1,
        "hyper": {"beta": 1.0}, "sizes": {"latent": 2, "reconstruction": "mse"},
        "network": {"kind": "mlp", "hidden": [8, 4], "activation": "relu"},
        "train": {
            "steps": 10, "batch": 4, "lr": {"points": [[0.0, 0.001], [0.8, 0.0001]], "kind": "step"},
            "optimizer": {"name": "adam", "betas": [0.9, 0.999], "eps": 1e-8},
            "weight_decay": 0.0, "precision": "fp32", "keep": "last",
        },
        "seed": 0,
    }  # fmt: skip
    assert (last["network"], last["hyper"], last["seed"]) == ({"kind": "linear"}, {}, 1)


def test_ids_do_not_change_unnoticed():
    """Whoever changes these on purpose throws away everybody's stored results."""
    ids = [run.id for run in suite.parse(BASE, "x.yaml").runs]
    assert (ids[0], ids[-1]) == ("75bd581217f24367", "91ed24803c26e4c0")
    assert all(len(i) == 16 and set(i) <= set("0123456789abcdef") for i in ids)
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize(
    "text",
    [
        "# a comment\n" + BASE.replace("a small one", "another").replace("[curves]", "[samples]"),
        "\n".join([*LINES[6:], *LINES[:6]]),
        BASE.replace("{steps: 10, batch: 4,", "{weight_decay: 0, batch: 4, keep: last, steps: 10,"),
        BASE.replace("{0: 1e-3, 0.8: 1e-4}", "{0.8: 0.0001, 0.0: 0.001}"),
        BASE.replace("{logspace: [0, -3, 7]}",
                     "[1, 0.316227766017, 0.1, 0.0316227766017, 0.01, 0.00316227766017, 1e-3]"),
        BASE.replace("lr:", "optimizer: {eps: 1e-8, name: adam}, clip: null, lr:"),
        BASE.replace("\n", "\r\n"),
        BASE.replace("{kind: mlp, hidden: [8, 4]}", "{activation: relu, hidden: [8, 4], kind: mlp}"),
        json.dumps({
            "name": "other", "seeds": [0, 1], "data": ["digits"], "network": {"kind": "mlp", "hidden": [8, 4]},
            "runs": [
                {"variant": "vae", "sizes": {"latent": 2}, "sweep": {"beta": {"logspace": [0.0, -3.0, 7]}}},
                {"variant": "linear_ae"},
            ],
        }).replace('"runs"', '"train": {steps: 10, batch: 4, lr: {points: {0: 1e-3, 0.8: 1e-4}, kind: step}}, "runs"'),
    ],
)  # fmt: skip
def test_ids_depend_on_what_training_depends_on_alone(text: str):
    assert [run.id for run in suite.parse(text).runs] == [run.id for run in suite.parse(BASE).runs]


@pytest.mark.parametrize(
    ("old", "new"),
    [("seeds: 2", "seeds: 3"), ("steps: 10", "steps: 11"), ("latent: 2", "latent: 3"), ("step}", "linear}"),
     ("data: digits", "data: digits\nsplit_seed: 1"), ("[8, 4]", "[4, 8]"), ("batch: 4", "batch: 4, clip: 1")],
)  # fmt: skip
def test_ids_depend_on_all_of_it(old: str, new: str):
    before, after = ({run.id for run in suite.parse(text).runs} for text in (BASE, BASE.replace(old, new)))
    assert before != after


def test_the_place_of_an_own_file_is_not_part_of_its_id():
    spec = suite.parse(BASE).runs[0].spec
    moved = {**spec, "data": {**spec["data"], "source": "/elsewhere/x.npy"}}
    assert suite.run_id(moved) == suite.run_id(spec)


def test_a_run_overrides_the_suite_key_by_key():
    text = changed(11, "  - {variant: ae, data: {name: gaussian}, network: linear, train: {batch: 8}, seeds: [5]}")
    spec = specs(text)[-1]
    assert (spec["data"]["name"], spec["network"], spec["seed"]) == ("gaussian", {"kind": "linear"}, 5)
    assert (spec["train"]["steps"], spec["train"]["batch"]) == (10, 8)


def test_several_swept_fields_multiply():
    sweep = "{beta: [0, 1], latent: [1, 2, 3], lr: {linspace: [0.1, 0.3, 3]}, clip: [1]}"
    text = changed(10, f"    sweep: {sweep}").replace("    sizes: {latent: 2}\n", "")
    runs = specs(text)[:-2]
    assert len(runs) == 2 * 3 * 3 * 2
    values = {(r["hyper"]["beta"], r["sizes"]["latent"], r["train"]["lr"]) for r in runs}
    assert values == {(b, n, lr) for b in (0.0, 1.0) for n in (1, 2, 3) for lr in (0.1, 0.2, 0.3)}
    assert all(r["train"]["clip"] == 1.0 for r in runs)
    assert all(isinstance(value, float) for r in runs for value in (r["hyper"]["beta"], r["train"]["clip"]))


def test_sweeps_are_rounded_to_twelve_digits():
    betas = [r["hyper"]["beta"] for r in specs(BASE)[:-2:2]]
    assert betas == [1.0, 0.316227766017, 0.1, 0.0316227766017, 0.01, 0.00316227766017, 0.001]


def test_any_float_may_follow_a_schedule():
    text = changed(10, "    sweep: {beta: [{points: {0: 0, 0.25: 4}}, 1]}\n    train: {clip: {points: {1: 2}}}")
    first = specs(text)[0]
    assert first["hyper"]["beta"] == {"points": [[0.0, 0.0], [0.25, 4.0]], "kind": "linear"}
    assert first["train"]["clip"] == {"points": [[1.0, 2.0]], "kind": "linear"}


@pytest.mark.parametrize(
    ("given", "canonical"),
    [
        ("sgd", {"name": "sgd", "momentum": 0.0}),
        ("{name: adamw, betas: [0, 0.5]}", {"name": "adamw", "betas": [0.0, 0.5], "eps": 1e-8}),
        ("{name: rmsprop, momentum: 1}", {"name": "rmsprop", "alpha": 0.99, "eps": 1e-8, "momentum": 1.0}),
        ("adagrad", {"name": "adagrad", "lr_decay": 0.0, "initial_accumulator_value": 0.0, "eps": 1e-10}),
    ],
)
def test_optimizers_have_their_defaults_resolved(given: str, canonical: dict):
    assert specs(changed(6, f"train: {{optimizer: {given}}}"))[0]["train"]["optimizer"] == canonical


def test_optimizers_and_defaults_are_those_of_torch():
    torch = pytest.importorskip("torch")
    from aebench.optim import OPTIMIZERS
    from aebench.suite.recipe import OPTIMIZERS as RECORDS

    assert set(OPTIMIZERS) == set(RECORDS)
    for name, options in RECORDS.items():
        made = OPTIMIZERS[name]([torch.zeros(1)], lr=0.1).defaults
        assert {key: made[key] for key in options._fields} == options()._asdict()


def test_metric_options_are_checked_and_kept(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(METRICS, "nll", ("test_suite:METRIC", "a test"))
    read = suite.parse(BASE + "metrics: [{nll: {samples: 5, sigmas: [1, 2]}}]")
    assert [(m.name, o) for m, o in read.metrics] == [("nll", Options(5, (1.0, 2.0)))]
    assert suite.parse(BASE + "metrics: [nll]").metrics[0][1] == Options()
    assert suite.parse(BASE + "metrics: [nll]").runs == suite.parse(BASE).runs
    assert fault(BASE + "metrics:\n  - nll: {sample: 5}\n") == (
        "x.yaml:14: metrics[0].nll: unknown key 'sample': did you mean samples?"
    )
    assert "14: metrics[0].nll.samples: 0 should be greater" in fault(BASE + "metrics:\n  - nll: {samples: 0}\n")
    assert "the metric nll is given twice" in fault(BASE + "metrics: [nll, nll]")


def test_own_code_needs_permission():
    text = changed(5, "network: {kind: 'test_suite:free_network', width: 5}")
    assert "x.yaml:5: network.kind: networks: 'test_suite:free_network' is code of yours" in fault(text)
    assert specs(text, allow_code=True)[0]["network"] == {"kind": "test_suite:free_network", "width": 5}
    assert "unexpected keyword argument 'wide'" in fault(text.replace("width", "wide"), allow_code=True)
    wrong = changed(8, "  - variant: test_suite:METRIC")
    assert fault(wrong, allow_code=True) == "x.yaml:8: runs[0].variant: 'test_suite:METRIC' is no Variant but a Metric"
    broken = changed(8, "  - variant: ':'")
    assert "x.yaml:8: runs[0].variant: ':' cannot be loaded" in fault(broken, allow_code=True)


# --- overrides


def test_overrides_are_yaml_at_dotted_keys():
    text = changed(6, "train:")
    options = {"train.steps": "500", "seeds": "[7]", "runs.0.sizes.latent": "4", "runs.1": "{variant: ae}"}
    runs = specs(text, overrides=options)
    assert {r["train"]["steps"] for r in runs} == {500}
    assert {r["seed"] for r in runs} == {7}
    assert runs[0]["sizes"]["latent"] == 4
    assert runs[-1]["variant"] == "ae"
    assert len(suite.parse(BASE, seeds=3).runs) == 3 * 8


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("train.steps", "0.5", "--set train.steps: 0.5 should be a valid integer"),
        ("train.step", "5", "--set train.step: unknown key 'step': did you mean steps?"),
        ("train", "{steps: 0}", "--set train: steps: 0 should be greater than or equal to 1"),
        ("runs.7.sizes", "{}", "--set runs.7.sizes: runs has no item '7': it has 2, counted from 0"),
        ("name.x", "1", '--set name.x: name is "trial", which has no keys'),
        ("train..x", "1", "--set train..x: an empty key below train; write keys like train.steps"),
        ("seeds", "[1", "--set seeds: not valid YAML: while parsing a flow sequence: expected ',' or ']', "
                        "but got '<stream end>'"),
        ("runs.0.variant", "veo", "--set runs.0.variant: unknown variant 'veo': did you mean vae?"),
    ],
)  # fmt: skip
def test_errors_name_the_override(key: str, value: str, message: str):
    assert fault(BASE, overrides={key: value}) == message


def test_errors_name_the_seeds_option():
    assert fault(BASE, seeds=0) == "--seeds: 0 should be greater than or equal to 1"


def test_smoke_is_short_and_apart():
    smoke = suite.parse(BASE.replace("steps: 10", "steps: 100"), smoke=True)
    assert smoke.name == "trial_smoke"
    assert {(r.spec["train"]["steps"], r.spec["seed"]) for r in smoke.runs} == {(20, 0)}
    assert len(smoke.runs) == 8
    twice = changed(11, "  - {variant: ae, train: {steps: 100}}\n  - {variant: ae, train: {steps: 200}}")
    assert len(suite.parse(twice, smoke=True).runs) == 8


# --- what is refused, and where


@pytest.mark.parametrize(
    ("line", "text", "message"),
    [
        (1, "name: ../up", '1: name: "../up" should be letters, digits, _, - and ., not starting with - or .'),
        (1, "name: ..", '1: name: ".." should be letters, digits, _, - and ., not starting with - or .'),
        (1, "name: 5", "1: name: 5 should be text"),
        (1, "nmae: x", "1: unknown key 'nmae': did you mean name?"),
        (1, "", "1: name is missing"),
        (2, "about: [x]", '2: about: ["x"] should be text'),
        (3, "seeds: 2.0", "3: seeds: 2.0 should be a valid integer"),
        (3, "seeds: true", "3: seeds: true should be a valid integer"),
        (3, "seeds: 0", "3: seeds: 0 should be greater than or equal to 1"),
        (3, "seeds: []", "3: seeds: is empty"),
        (3, "seeds: [0, 1, 0]", "3: seeds[2]: the seed 0 is given twice"),
        (3, "seeds: [-1]", "3: seeds[0]: -1 should be greater than or equal to 0"),
        (3, "seeds: 1000000", "3: seeds: a suite of 1000000 runs or more: at most 100000"),
        (3, "split_seed: x", '3: split_seed: "x" should be a valid integer'),
        (4, "data: digitz", "4: data: unknown data 'digitz': did you mean digits?"),
        (4, "data:\n  - digits\n  - pinweel", "6: data[1]: unknown data 'pinweel': did you mean pinwheel?"),
        (4, "data: []", "4: data: is empty"),
        (4, "data: 5", "4: data: should be the name of a dataset, or a mapping with its name or path"),
        (4, "data: [digits, {name: digits}]", "4: data[1]: the same data as item 0 of this list"),
        (4, "", "7: runs[0]: data is missing, here and in the suite"),
        (5, "network: mpl", "5: network: unknown network 'mpl': did you mean mlp?"),
        (5, "network: {hidden: [8]}", "5: network: kind is missing: choose from conv, deep, linear, mlp"),
        (5, "network:\n  kind: mlp\n  hiden: [8]", "7: network: unknown key 'hiden': did you mean hidden?"),
        (5, "network: {kind: mlp, hidden: [8, 0]}",
         "5: network.hidden[1]: 0 should be greater than or equal to 1"),
        (5, "network: {kind: mlp, activation: rellu}",
         "5: network.activation: unknown activation 'rellu': did you mean relu or elu or gelu?"),
        (6, "train: {stepz: 5}", "6: train: unknown key 'stepz': did you mean steps?"),
        (6, "train: {steps: 0}", "6: train.steps: 0 should be greater than or equal to 1"),
        (6, "train:\n  batch: 1e2", "7: train.batch: 100.0 should be a valid integer"),
        (6, "train: {lr: .inf}", "6: '.inf' is no finite number"),
        (6, "train: {lr: 1e999}", "6: '1e999' is no finite number"),
        (6, "train: {lr: .nan}", "6: '.nan' is no finite number"),
        (6, "train: {lr: 1" + 400 * "0" + "}", f"6: '1{58 * '0'}…' is too large"),
        (6, "train: {lr: '1e-3'}", '6: train.lr: "1e-3" should be a valid number'),
        (6, "train: {clip: 0}", "6: train.clip: 0 should be greater than 0"),
        (6, "train: {keep: best}", "6: train.keep: unknown keep 'best': choose from best_validation, last"),
        (6, "train: {optimizer: adm}", "6: train.optimizer: unknown optimizer 'adm': did you mean adam or adamw?"),
        (6, "train: {optimizer: {name: adam, momentum: 1}}",
         "6: train.optimizer: unknown key 'momentum': choose from betas, eps"),
        (6, "train: {optimizer: {name: adam, betas: [0.9, 1]}}",
         "6: train.optimizer.betas[1]: 1 should be less than 1"),
        (6, "train: {optimizer: {name: adam, betas: 0.9}}", "6: train.optimizer.betas: 0.9 should be a list"),
        (6, "train: {lr: {points: {}}}",
         "6: train.lr.points: should be a mapping {fraction of training: value}, not {}"),
        (6, "train: {lr: {point: {0: 1}}}", "6: train.lr: unknown key 'point': did you mean points?"),
        (6, "train: {lr: {kind: step}}", "6: train.lr: a schedule wants points: {fraction of training: value}"),
        (6, "train:\n  lr:\n    points:\n      0: 1\n      1.5: 1",
         "10: train.lr.points.1.5: 1.5 is no fraction of training between 0 and 1"),
        (6, "train: {lr: {points: {0: -1}}}",
         "6: train.lr.points[0]: -1 should be greater than or equal to 0"),
        (6, "train: {lr: {points: {0: 1}, kind: stepp}}", "6: train.lr.kind: unknown kind 'stepp': did you mean step?"),
        (6, "train: {clip: {points: {0: null}}}", "6: train.clip.points[0]: wants a number"),
        (6, "train: 5", "6: train: should be a mapping, not 5"),
        (8, "  - variant: veo", "8: runs[0].variant: unknown variant 'veo': did you mean vae?"),
        (8, "  - about: x", "8: runs[0]: unknown key 'about': choose from data, hyper, network, seeds, sizes, sweep, "
                            "train, tune, variant"),
        (8, "  - seeds: 1", f"8: runs[0]: variant is missing: choose from {', '.join(VARIANTS)}"),
        (9, "    sizes: {latent: 0}", "9: runs[0].sizes.latent: 0 should be greater than or equal to 1"),
        (9, "    sizes: {latent: -3}", "9: runs[0].sizes.latent: -3 should be greater than or equal to 1"),
        (9, "    sizes: {latent: 2.0}", "9: runs[0].sizes.latent: 2.0 should be a valid integer"),
        (9, "    sizes: {latent: {points: {0: 1}}}",
         '9: runs[0].sizes.latent: {"points": {"0": 1}} should be a valid integer'),
        (9, "    sizes: {reconstruction: mes}",
         "9: runs[0].sizes.reconstruction: unknown reconstruction 'mes': did you mean mse or mae?"),
        (9, "    hyper: {betta: 1}", "9: runs[0].hyper: unknown key 'betta': did you mean beta?"),
        (9, "    hyper: {beta: 1}", "10: runs[0].sweep: beta is given in hyper too"),
        (9, "    network: linear\n    network: mlp", "10: the key 'network' stands twice"),
        (10, "    sweep: {bta: [1]}", "10: runs[0].sweep: unknown key 'bta': did you mean beta?"),
        (10, "    sweep: {steps: [1]}",
         "10: runs[0].sweep: unknown key 'steps': choose from beta, clip, latent, lr, reconstruction, weight_decay"),
        (10, "    sweep: {}",
         "10: runs[0].sweep: is empty: it wants at least one of beta, latent, reconstruction, lr, weight_decay, clip"),
        (10, "    sweep:\n      beta: []", "11: runs[0].sweep.beta: is empty"),
        (10, "    sweep:\n      beta: 1", "11: runs[0].sweep.beta: should be a list of values "
         "(or {logspace: [first exponent, last exponent, number]}), not 1"),
        (10, "    sweep:\n      beta:\n        - 1\n        - 1.0", "13: runs[0].sweep.beta[1]: 1.0 is given twice"),
        (10, "    sweep: {beta: [1, -1]}", "10: runs[0].sweep.beta[1]: -1 should be greater than or equal to 0"),
        (9, "    sweep: {latent: [1, 2.5]}\n  - variant: vae",
         "9: runs[0].sweep.latent[1]: 2.5 should be a valid integer"),
        (10, "    sweep: {beta: {logspce: [0, 1, 2]}}",
         "10: runs[0].sweep.beta: unknown key 'logspce': did you mean logspace or linspace?"),
        (10, "    sweep: {beta: {logspace: [0, 1]}}",
         "10: runs[0].sweep.beta.logspace: wants three numbers (first, last, how many), not 2"),
        (10, "    sweep: {beta: {logspace: [0, 400, 3]}}",
         "10: runs[0].sweep.beta.logspace: 10 to the power of 400.0 is no finite number"),
        (10, "    sweep: {beta: {linspace: [0, 1, 2.5]}}",
         "10: runs[0].sweep.beta.linspace[2]: 2.5 should be a valid integer"),
        (10, "    sweep: {beta: {linspace: [0, 1, 1000000]}}",
         "10: runs[0].sweep.beta.linspace[2]: a suite of 1000000 runs or more: at most 100000"),
        (10, "    sweep: {beta: {linspace: [0, 1, 1000]}, lr: {linspace: [0, 1, 1000]}}",
         "8: runs[0]: a suite of 2000000 runs or more: at most 100000"),
        (10, "    sweep: {beta: {values: [1], linspace: [0, 1, 2]}}",
         "10: runs[0].sweep.beta: wants one of linspace, logspace, values, not 2"),
        (11, "  - {variant: linear_ae, network: mlp}",
         "11: runs[1].network: variant 'linear_ae' is defined for the network linear, not 'mlp'"),
        (11, "  - {variant: ae, hyper: {beta: 1}}", "11: runs[1].hyper: unknown key 'beta': there are none to set"),
        (11, "  - {variant: ae, sweep: {beta: [1]}}",
         "11: runs[1].sweep: unknown key 'beta': choose from clip, latent, lr, reconstruction, weight_decay"),
        (11, "  - {variant: vae, sizes: {latent: 2}, hyper: {beta: 0.1}}",
         '11: runs[1]: the same run as runs[0] (x.yaml:8): vae {"beta": 0.1, "latent": 2, "reconstruction": "mse", '
         '"data": "digits", "seed": 0}'),
        (11, "  - linear_ae", '11: runs[1]: should be a mapping such as {variant: vae, sweep: {beta: [...]}}, '
                              'not "linear_ae"'),
        (12, "figures: [curve]", "12: figures[0]: unknown figure 'curve': did you mean curves?"),
        (12, "metrics: [reconstrution]",
         "12: metrics[0]: unknown metric 'reconstrution': did you mean reconstruction?"),
        (12, "metrics: [5]", "12: metrics[0]: should be the name of a metric, or {name: {options}}, not 5"),
        (12, "keep_weights: no", '12: keep_weights: "no" should be a valid boolean'),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_with_its_place(line: int, text: str, message: str):
    assert fault(changed(line, text)) == f"x.yaml:{message}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "x.yaml: a suite is a mapping with name, data and runs, not empty"),
        ("# nothing\n", "x.yaml: a suite is a mapping with name, data and runs, not empty"),
        ("---\n", "x.yaml:2: a suite is a mapping with name, data and runs, not empty"),
        ("- a\n- b\n", 'x.yaml:1: a suite is a mapping with name, data and runs, not ["a", "b"]'),
        ("just words\n", 'x.yaml:1: a suite is a mapping with name, data and runs, not "just words"'),
        ("name: x\nruns: []\ndata: digits\n", "x.yaml:2: runs: is empty"),
        ("name: x\ndata: digits\n", "x.yaml:1: runs is missing"),
        ("name: x\nname: y\n", "x.yaml:2: the key 'name' stands twice"),
        ("name: &a x\nabout: *a\n", "x.yaml:1: anchors and aliases are refused: write the value out"),
        ("name: x\nabout: *a\n", "x.yaml:2: anchors and aliases are refused: write the value out"),
        ("name: !!python/name:os.system x\n", "x.yaml:1: tags are refused: write the plain value"),
        ("a: 1\n<<: {b: 2}\n", "x.yaml:2: merge keys are refused: write the entries out"),
        ("%YAML 1.1\n---\nname: x\n", "x.yaml:2: YAML directives are refused"),
        ("name: x\n---\nname: y\n", "x.yaml:2: a second document: a suite is one"),
        ("[a]: 1\n", "x.yaml:1: a key should be text"),
        ("true: 1\n", "x.yaml:1: a key should be text"),
        ("5: 1\n", "x.yaml:1: [5]: a key should be text"),
        ("name: {a: b\n", "x.yaml:2: not valid YAML: while parsing a flow mapping: expected ',' or '}', "
                          "but got '<stream end>'"),
        ("name: x\n\tabout: y\n", "x.yaml:2: not valid YAML: while scanning for the next token: "
                                  "found character '\\t' that cannot start any token"),
        ("name: x\nabout: \x00\n",
         "x.yaml:2: not valid YAML: unacceptable character #x0000: special characters are not allowed"),
        ('name: "\\ud800"\n', "x.yaml:1: half a character (a lone surrogate)"),
        ("a:\n  " + 40 * "- ", "x.yaml:2: nested deeper than 32 levels"),
        (100_000 * "[", "x.yaml:1: nested deeper than 32 levels"),
        ("a: [" + 60_000 * "1," + "]", "x.yaml:1: more than 50000 values"),
        ("#" * (1 << 20) + "#", "x.yaml: longer than 1 MiB"),
    ],
)  # fmt: skip
def test_bad_yaml_is_one_line_with_its_place(text: str, message: str):
    assert fault(text) == message


def test_files_that_are_no_suites(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)

    def refused(path: str) -> str:
        with pytest.raises(InputError) as caught:
            suite.read(path)
        return str(caught.value)

    Path("mine.yaml").write_text(BASE)
    Path("binary.yaml").write_bytes(b"name: x\n\xff\xfe\x00")
    Path("long.yaml").write_bytes(b"#" * (1 << 21))
    Path("folder.yaml").mkdir()
    os.mkfifo("pipe.yaml")
    assert suite.read("mine.yaml").name == "trial"
    assert refused("binary.yaml") == "binary.yaml:2: not a text file in UTF-8"
    assert refused("long.yaml") == "long.yaml: longer than 1 MiB"
    assert refused("folder.yaml") == "folder.yaml: a directory, not a suite"
    assert refused("pipe.yaml") == "pipe.yaml: not a regular file"
    assert refused("mein.yaml") == "mein.yaml: no such file: unknown suite 'mein': did you mean mine?"
    assert refused("quickstrat") == "unknown suite 'quickstrat': did you mean quickstart?"
    assert refused("suites/beta_swep.yaml").endswith("did you mean beta_sweep or beta_sweep_mnist?")
    assert len(refused("x\0\n" + 500 * "y").splitlines()) == 1
    assert len(refused(5000 * "y").splitlines()) == 1


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(tmp_path: Path):
    path = tmp_path / "x.yaml"
    path.write_text(BASE)
    path.chmod(0)
    with pytest.raises(InputError, match="Permission denied"):
        suite.read(path)


SNIPPETS = ["{", "}", "[", "]", ":", "- ", "\n", "'", '"', "#", "&a ", "*a", "!!int ", "<<: ", "0", "-1", "1e999",
            ".nan", "null", "true", "sweep", "points", "~", "\t", "\x00", "\u2028", "é", "|\n", "%", "? ", "{}", "[]",
            "999999999999999999999", "logspace", "path: /", "a:b", "0x", "+_", "2020-01-01"]  # fmt: skip


@st.composite
def mutations(draw: st.DrawFn) -> str:
    """BASE with a few pieces cut out, doubled or replaced."""
    text = BASE
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        stop = draw(st.integers(start, min(start + 12, len(text))))
        text = text[:start] + draw(st.sampled_from([*SNIPPETS, "", text[start:stop] * 2])) + text[stop:]
    return text


def complaint(text: str, **options: object) -> str:
    """What reading a text says against it, if anything; only an InputError gets here."""
    try:
        suite.parse(text, "x.yaml", **options)
    except InputError as error:
        return str(error)
    return "x.yaml: fine"


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.one_of(st.text(), mutations(), st.lists(st.sampled_from(SNIPPETS)).map("".join)))
def test_no_text_gives_anything_but_a_suite_or_one_line(text: str):
    message = complaint(text)
    assert len(message.splitlines()) == 1
    assert message.startswith("x.yaml:")
    assert "cannot be read" not in message  # the last resort of the reader, which no text should reach


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(["train.lr", "runs.0", "runs.0.sweep", "seeds", "x", "", "."]) | st.text(), st.text())
def test_no_override_gives_anything_but_a_suite_or_one_line(key: str, value: str):
    assert len(complaint(BASE, overrides={key: value}).splitlines()) == 1


# --- packs


def shape(pack: list[suite.Run]) -> list[tuple[object, int]]:
    return [(run.spec["hyper"].get("beta"), run.spec["seed"]) for run in pack]


def test_floats_pack_and_integers_and_choices_split():
    text = changed(10, "    sweep: {beta: [1, 2], latent: [2, 3]}").replace("    sizes: {latent: 2}\n", "")
    packs = suite.packs(suite.parse(text).runs)
    assert [len(pack) for pack in packs] == [4, 4, 2]
    assert shape(packs[0]) == [(1.0, 0), (2.0, 0), (1.0, 1), (2.0, 1)]


@pytest.mark.parametrize(
    ("train", "count"),
    [
        ("{batch: 5}", 2), ("{steps: 11}", 2), ("{precision: fp64}", 2), ("{clip: 1}", 2),
        ("{keep: best_validation}", 2),
        ("{optimizer: sgd}", 2), ("{optimizer: {name: adam, betas: [0, 0.5]}}", 1), ("{lr: 0.1}", 1),
        ("{weight_decay: {points: {0: 1}}}", 1),
    ],
)  # fmt: skip
def test_what_splits_a_pack(train: str, count: int):
    text = changed(11, f"  - {{variant: vae, sizes: {{latent: 2}}, train: {train}}}")
    packs = suite.packs(suite.parse(text).runs)
    assert len(packs) == count


def test_equal_settings_are_neighbours_then_equal_seeds():
    text = changed(10, "    sweep: {beta: [1, 2], lr: [0.1, 0.2]}\n    seeds: [3, 1]")
    (pack, _) = suite.packs(suite.parse(text).runs)
    order = [(r.spec["train"]["lr"], r.spec["seed"], r.spec["hyper"]["beta"]) for r in pack]
    assert order == [(lr, seed, beta) for lr in (0.1, 0.2) for seed in (3, 1) for beta in (1.0, 2.0)]


def test_every_run_is_in_one_pack():
    runs = suite.read("beta_sweep").runs
    packs = suite.packs(runs)
    assert Counter(run.id for pack in packs for run in pack) == Counter(run.id for run in runs)
    assert [len(pack) for pack in packs] == [35, 25, 35]


# --- the suites that ship


SENSELESS = {
    "{variant: topk_ae, sizes: {latent: 4, k: 5}}": "sizes: k 5: at most the 4 units of latent can be kept",
    "{variant: topk_ae, sizes: {latent: 4}, sweep: {k: [2, 6]}}": "sizes: k 6: at most the 4 units of latent",
    "{variant: overcomplete_ae, sizes: {latent: 64}}": "sizes: latent 64: an over-complete code has more than the 64",
    "{variant: pca, sizes: {latent: 65}}": "sizes: latent 65: data of 64 elements have no more components",
    "{variant: ppca, sizes: {latent: 64}}": "sizes: latent 64: probabilistic PCA of 64 elements wants fewer",
    "{variant: tied_ae, sizes: {latent: 64}}": "sizes: latent 64: U Uᵀ is the identity",
    "{variant: gaussian_vae, hyper: {variance: 1e-40}}": "hyper.variance: 1e-40 should be greater than",
    "{variant: sparse_threshold_ae, hyper: {c: 1.5}}": "hyper.c: 1.5 should be less than 1",
    "{variant: sparse_kl_ae, hyper: {p: 0}}": "hyper.p: 0 should be greater than 0",
    "{variant: sparse_kl_ae, hyper: {p: 1}}": "hyper.p: 1 should be less than 1",
    "{variant: sparse_l1_ae, hyper: {lam: -1}}": "hyper.lam: -1 should be greater than or equal to 0",
    "{variant: denoising_ae, hyper: {sigma: -1}}": "hyper.sigma: -1 should be greater than or equal to 0",
    "{variant: masking_denoising_ae, hyper: {p: 1.0}}": "hyper.p: 1.0 should be less than 1",
    "{variant: energy_vae, hyper: {notes_beta: 0}}": "hyper.notes_beta: 0 should be greater than 0",
    "{variant: ae, sizes: {reconstruction: mop}}": "sizes.reconstruction: unknown reconstruction 'mop': choose from",
    "{variant: ae, sizes: {reconstruction: {name: mape, epsilon: 0}}}": "epsilon: 0 should be greater than",
    "{variant: ae, sizes: {reconstruction: {name: mape, delta: 1}}}": "unknown key 'delta': choose from epsilon",
    "{variant: ae, sizes: {reconstruction: {name: laplace_nll, scale: pix}}}": "scale: unknown scale 'pix'",
    "{variant: ae, sizes: {reconstruction: 3}}": "should be the name of a reconstruction, or {name: ..., options}",
}


@pytest.mark.parametrize("run", SENSELESS)
def test_numbers_that_make_no_sense_are_one_line(run: str):
    text = f"name: trial\ndata: digits\nruns:\n  - {run}\n"
    with pytest.raises(InputError) as caught:
        suite.parse(text, "x.yaml")
    said = str(caught.value)
    assert said.startswith("x.yaml:4: runs[0].")
    assert SENSELESS[run] in said
    assert "\n" not in said


def test_options_of_a_reconstruction_loss_are_stored():
    def stored(loss: str) -> Any:
        text = f"name: trial\ndata: digits\nruns:\n  - {{variant: ae, sizes: {{reconstruction: {loss}}}}}\n"
        return suite.parse(text, "x.yaml").runs[0].spec["sizes"]

    assert stored("mse") == {"latent": 16, "reconstruction": "mse"}
    assert stored("mape") == {"latent": 16, "reconstruction": {"name": "mape", "epsilon": 0.1}}
    assert stored("{name: mape}") == stored("mape")
    assert stored("{name: huber, delta: 2}")["reconstruction"] == {"name": "huber", "delta": 2.0}
    assert stored("gaussian_nll")["reconstruction"] == {"name": "gaussian_nll", "scale": "shared"}


SHIPPED = [
    "beta_sweep",
    "beta_sweep_mnist",
    "denoising",
    "kl_direction",
    "latent_picture",
    "losses",
    "notes",
    "notes_mnist",
    "overcomplete",
    "quickstart",
    "sparsity",
    "standard",
    "tuned",
]


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_suites_are_read(name: str):
    path = suite.shipped()[name]
    by_name, by_path = suite.read(name), suite.read(path)
    assert by_name == by_path
    assert by_name.name == path.stem == name
    assert suite.read(name, smoke=True).runs


def test_every_shipped_suite_is_tested_here():
    assert sorted(suite.shipped()) == SHIPPED


@pytest.mark.parametrize("name", ["notes", "notes_mnist"])
def test_the_notes_have_every_variant(name: str):
    assert {run.spec["variant"] for run in suite.read(name).runs} == set(VARIANTS)


def test_a_shipped_name_wins_over_a_folder_of_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "quickstart").mkdir()
    monkeypatch.chdir(tmp_path)
    assert suite.read("quickstart").name == "quickstart"


def test_reading_a_suite_does_not_import_torch():
    code = "import sys; from aebench import suite; suite.read('quickstart'); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
