"""What runs of several folders must share before they stand on one page."""

import pytest
from compared import document

from aebench.comparison import budget, refuse_mixed_budgets
from aebench.errors import InputError

HERE, THERE = "results/mine", "results/reference/cpu/standard"


def folders(mine, theirs):
    return {HERE: mine, THERE: theirs}


def run(variant="ae", seed=0, **more):
    return document(variant, seed, {"sse": 1.0}, **more)


def test_the_budget_is_what_must_be_equal():
    assert budget(run()["spec"]) == {
        "steps": 100, "batch": 32, "optimizer": "adam", "precision": "fp32", "keep": "last",
    }  # fmt: skip
    assert budget(run("pca")["spec"]) == {}
    assert budget(run("mine.py:A")["spec"]) == budget(run()["spec"])


@pytest.mark.parametrize(
    ("mine", "line"),
    [
        ({"train": {"steps": 500}}, "steps is 500 in results/mine and 100 in results/reference/cpu/standard"),
        ({"train": {"batch": 64}}, "batch is 64 in"),
        ({"train": {"optimizer": {"name": "sgd"}}}, "optimizer is sgd in results/mine and adam in"),
        ({"train": {"precision": "bf16"}}, "precision is bf16 in results/mine and fp32 in"),
        ({"train": {"keep": "best_validation"}}, "keep is best_validation in results/mine and last in"),
    ],
)
def test_another_budget_is_refused_by_name(mine, line):
    with pytest.raises(InputError, match=line) as caught:
        refuse_mixed_budgets(folders([run(**mine)], [run("vae"), run("pca")]))
    assert str(caught.value).startswith(f"{HERE} and {THERE} were not run under the same budget on digits: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("mine", "line"),
    [
        ({"name": "digits", "checksum": "f" * 64}, "checksum is ffffffffffff in results/mine and abc in"),
        ({"name": "digits", "version": 2}, "version is 2 in results/mine and 1 in"),
        ({"name": "digits", "split": {"kind": "random", "seed": 7}}, "split.seed is 7 in results/mine and 0 in"),
        ({"name": "digits", "split": {"kind": "none"}}, "split.kind is none in results/mine and random in"),
    ],
)
def test_other_data_under_one_name_are_refused(mine, line):
    with pytest.raises(InputError, match=line) as caught:
        refuse_mixed_budgets(folders([run(data=mine)], [run("vae")]))
    assert str(caught.value).startswith(f"{HERE} and {THERE} are not the same data on digits: ")


def test_tuning_draws_are_part_of_the_budget():
    pair = folders([run()], [run("vae")])
    sse, mae = {"draws": 16, "metric": "sse"}, {"draws": 16, "metric": "mae"}
    refuse_mixed_budgets(pair, {HERE: sse, THERE: sse})
    with pytest.raises(InputError, match="tuning draws is 16 in results/mine and none in"):
        refuse_mixed_budgets(pair, {HERE: sse})
    with pytest.raises(InputError, match="tuned by is sse in results/mine and mae in"):
        refuse_mixed_budgets(pair, {HERE: sse, THERE: mae})


@pytest.mark.parametrize(
    "mine",
    [
        [run(seed=4)],
        [run("pca", train={"steps": 7})],
        [run(train={"lr": 0.1})],
        [run(latent=99)],
        [run(data="mnist", train={"steps": 500})],
        [run(data={"name": "digits", "parameters": {"side": 4}, "checksum": "other"}, train={"steps": 500})],
        [run(), run(train={"steps": 500})],
        [],
    ],
    ids=["seed", "closed form", "lr", "size", "other data", "other parameters", "more budgets", "nothing"],
)
def test_what_may_stand_together(mine):
    refuse_mixed_budgets(folders(mine, [run("vae"), run("pca")]))


def test_every_two_folders_are_looked_at():
    third = {**folders([run()], [run("vae")]), "results/third": [run("vae", train={"steps": 5})]}
    with pytest.raises(InputError, match=r"results/mine and results/third .* steps is 100 in results/mine and 5 in"):
        refuse_mixed_budgets(third)


def test_the_nearest_budget_is_named():
    """Of two budgets there, the one that differs in fewer fields."""
    theirs = [run(train={"steps": 1, "batch": 2, "precision": "bf16"}), run(train={"steps": 100, "batch": 64})]
    with pytest.raises(InputError, match="batch is 32 in results/mine and 64 in"):
        refuse_mixed_budgets(folders([run()], theirs))


def test_one_folder_may_hold_several_budgets():
    refuse_mixed_budgets({HERE: [run(), run(train={"steps": 500})]})
