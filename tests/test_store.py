import json
import os
import subprocess
import sys
import textwrap
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import DATASETS, METRICS, SWEEPS, document, study

from aebench.errors import InputError
from aebench.processes import mark
from aebench.store import Store, documents, load
from aebench.store.documents import NewerError
from aebench.store.frame import from_documents

ARRAYS = {"x": np.linspace(0, 1, 20, dtype=np.float32).reshape(2, 10), "labels": np.arange(4)}
WEIGHTS = {"encoder.0.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "step": np.array(3, dtype=np.int64)}


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "results" / "beta_sweep")


def files(store):
    return sorted(str(p.relative_to(store.folder)) for p in store.folder.rglob("*") if p.is_file())


# ---- round trips


def test_a_run_comes_back(store):
    run = document()
    store.publish(run, ARRAYS, WEIGHTS)
    assert store.read(run["id"]) == run
    for name, array in store.arrays(run["id"]).items():
        np.testing.assert_array_equal(array, ARRAYS[name], strict=True)
    weights = store.weights(run["id"])
    assert weights is not None
    for name, array in WEIGHTS.items():
        np.testing.assert_array_equal(weights[name], array, strict=True)
        assert weights[name].flags.writeable
    id = run["id"]
    assert files(store) == [f"{id}.json", f"{id}.npz", f"weights/{id}.safetensors"]


def test_what_is_absent_is_none_or_empty(store):
    id = document()["id"]
    assert (store.read(id), store.weights(id), store.manifest(), store.documents()) == (None, None, None, [])
    assert store.arrays(id) == {}
    assert store.missing([id]) == [id]


def test_numbers_that_are_not_finite_become_null(store):
    run = document(values={"sse": float("nan"), "psnr": np.float32("inf"), "kl": np.float64(2.5)})
    run["curves"]["loss"] = np.array([1.0, np.nan])
    store.publish(run, {}, None)
    stored = store.read(run["id"])
    assert [stored["metrics"][name]["value"] for name in ("sse", "psnr", "kl")] == [None, None, 2.5]
    assert stored["curves"]["loss"] == [1.0, None]
    assert "NaN" not in (store.folder / f"{run['id']}.json").read_text()


def test_a_spec_that_is_not_finite_is_refused(store):
    run = document(hyper={"beta": float("nan")})
    with pytest.raises(ValueError, match="not JSON compliant"):
        store.publish(run, ARRAYS, WEIGHTS)
    assert not store.folder.exists()


def test_a_document_that_could_not_be_read_is_not_written(store):
    run = document() | {"status": "done"}
    with pytest.raises(InputError, match="unknown status 'done'"):
        store.publish(run, ARRAYS, WEIGHTS)
    assert not store.folder.exists()


def test_documents_are_readable_text(store):
    run = document()
    store.publish(run, None, None)
    lines = (store.folder / f"{run['id']}.json").read_text().splitlines()
    assert lines[:3] == ["{", ' "schema": 1,', f' "id": "{run["id"]}",']
    assert '  "loss": [2.0, 1.0]' in lines


def test_half_a_character_becomes_a_question_mark(store):
    """A file's name may have it, and no table, figure or page can hold it."""
    run = document(status="failed")
    run["error"]["message"] = "no file \udcff, β"
    store.publish(run, None, None)
    assert store.read(run["id"])["error"]["message"] == "no file ?, β"


def test_half_a_character_in_a_document_is_one_line(tmp_path):
    run = document()
    (tmp_path / f"{run['id']}.json").write_text(json.dumps(run).replace('"vae"', '"v\\ud800"'))
    with pytest.raises(InputError, match=r"json: broken JSON: half a character \(a lone surrogate\)"):
        load(tmp_path)


def test_half_precision_is_widened_and_strides_are_kept_straight(store):
    run = document()
    half = np.array([0.5, 1.5], dtype=np.float16)
    turned = np.arange(6, dtype=np.float32).reshape(2, 3).T
    store.publish(run, {"codes": half, "x": turned}, {"a": turned, "b": turned[::2], "c": half})
    arrays, weights = store.arrays(run["id"]), store.weights(run["id"])
    assert arrays["codes"].dtype == np.float32
    np.testing.assert_array_equal(arrays["x"], turned)
    np.testing.assert_array_equal(weights["a"], turned, strict=True)
    np.testing.assert_array_equal(weights["b"], turned[::2], strict=True)
    np.testing.assert_array_equal(weights["c"], half, strict=True)


def test_objects_are_not_stored(store):
    with pytest.raises(TypeError, match="labels"):
        store.publish(document(), {"labels": np.array([{}])}, None)
    assert files(store) == []


def test_none_keeps_companions_and_empty_removes_them(store):
    run = document()
    store.publish(run, ARRAYS, WEIGHTS)
    store.publish(run, None, None)
    assert len(files(store)) == 3
    store.publish(run, {}, {})
    assert files(store) == [f"{run['id']}.json"]


def test_manifest(store):
    manifest = {"name": "beta_sweep", "ids": ["a" * 16], "metrics": [{"nll": {"samples": 10}}], "text": "name: β\n"}
    store.write_manifest(manifest)
    assert store.manifest() == manifest


def test_an_unchanged_manifest_is_not_written_again(store, monkeypatch):
    store.write_manifest({"name": "a", "ids": []})
    monkeypatch.setattr(os, "replace", lambda *_: pytest.fail("written again"))
    store.write_manifest({"name": "a", "ids": []})


# ---- faults


def publish_and_die(folder, at):
    """A process that publishes two runs and is killed at its `at`-th rename."""
    code = f"""
    import os, signal, sys
    sys.path.insert(0, {str(Path(__file__).parent)!r})
    import numpy as np
    from synthetic import document
    from aebench.store import Store
    replace, calls = os.replace, []
    def dying(*args):
        calls.append(args)
        if len(calls) == {at}:
            os.kill(os.getpid(), signal.SIGKILL)
        replace(*args)
    os.replace = dying
    arrays = {{"x": np.zeros(3)}}
    Store({str(folder)!r}).publish_all([(document(seed=s), arrays, arrays) for s in (0, 1)])
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=False, capture_output=True)
    assert done.returncode < 0, done.stderr.decode()


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
@pytest.mark.parametrize("at", [1, 3, 5, 6])
def test_a_killed_writer_leaves_no_document_without_companions(store, at):
    publish_and_die(store.folder, at)
    runs = [document(seed=s) for s in (0, 1)]
    present = store.documents()
    assert len(present) == max(at - 5, 0)
    assert store.problems == []
    for run in present:
        assert store.arrays(run["id"])
        assert store.weights(run["id"])
    assert any(name.endswith(".tmp") for name in files(store))
    store.publish_all([(run, ARRAYS, WEIGHTS) for run in runs])
    assert not any(name.endswith(".tmp") for name in files(store))
    assert store.missing([run["id"] for run in runs]) == []


def test_a_live_writers_temporary_files_stay(store):
    store.publish(document(), None, None)
    live = store.folder / f".suite.json.{mark()}-{os.getpid()}.tmp"
    elsewhere = store.folder / ".suite.json.another-machine-1.tmp"
    old = store.folder / ".suite.json.another-machine-2.tmp"
    for path in (live, elsewhere, old):
        path.write_text('{"ids": [')
    os.utime(old, (0, 0))
    store.publish(document(), None, None)
    assert (live.exists(), elsewhere.exists(), old.exists()) == (True, True, False)


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"", "broken JSON"),
        (b'{"schema": 1, "id": "', "broken JSON"),
        (b'{"schema": 1, "id": NaN}', "NaN is not JSON"),
        (b'{"schema": 1, "id": -Infinity}', "-Infinity is not JSON"),
        (b'{"schema": 1, "id": "a", "schema": 2}', "'schema' stands twice"),
        (b'{"schema":1,"spec":{"seed":0,"seed":1}}', "'seed' stands twice"),
        (b'{"schema" : 1, "curves": [{"\\u0061": 0, "a": 1}]}', "'a' stands twice"),
        (b"\xff\xfe{", "broken JSON"),
        (b"[" * 100_000, "broken JSON"),
        (b"[]", "not a JSON object"),
        (b"{}", "schema None"),
        (b'{"schema": 1, "id": "0000000000000000"}', "not the file's name"),
    ],
)
def test_broken_documents_are_one_line(store, content, line):
    good, bad = document(seed=0), document(seed=1)
    store.publish(good, None, None)
    (store.folder / f"{bad['id']}.json").write_bytes(content)
    with pytest.raises(InputError, match=line) as caught:
        store.read(bad["id"])
    assert f"{bad['id']}.json" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert store.documents() == [good]
    assert store.missing([good["id"], bad["id"]]) == [bad["id"]]
    assert store.problems == [str(caught.value)]


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"status": "fine"}, "unknown status 'fine'"),
        ({"spec": {"variant": "vae"}}, "spec.hyper is missing"),
        ({"metrics": {"sse": {"unit": "dB"}}}, "metrics.sse has no value"),
        ({"metrics": {"sse": 3}}, "metrics.sse has no value"),
        ({"validation": {"sse": 3}}, "validation.sse has no value"),
        ({"validation": []}, "validation is missing or is not a dict"),
        ({"suite": None}, "suite is missing or is not a str"),
        ({"status": "failed"}, "status failed, and no error that says why"),
        ({"error": "a text"}, "error is missing or is not a dict or null"),
        ({"cost": None}, "cost is missing or is not a dict"),
        ({"cost": {"train_seconds": "long"}}, "cost.train_seconds is not a number or null"),
        ({"cost": {"pack": {"ids": 3}}}, "cost.pack.ids is not a list of run ids"),
        ({"curves": {"loss": [1.0, "x"]}}, "curves.loss is not a list of numbers and nulls"),
        ({"curves": {"step": [1, 2], "loss": [1.0]}}, "its curves are of different lengths"),
        ({"metrics": {"seed": {"value": 1.0}}}, "the name is that of something else in a table"),
        ({"metrics": {"sse": {"value": 1.0, "unit": 3}}}, "metrics.sse.unit is not a text"),
        ({"metrics": {"a\nb": 3}}, r"metrics.'a\\nb' has no value"),
    ],
)
def test_incomplete_documents_are_one_line(store, change, line):
    run = document()
    store.folder.mkdir(parents=True)
    (store.folder / f"{run['id']}.json").write_text(json.dumps(run | change))
    with pytest.raises(InputError, match=line):
        store.read(run["id"])


def test_a_newer_document_is_neither_read_nor_missing(store):
    run = document()
    store.folder.mkdir(parents=True)
    (store.folder / f"{run['id']}.json").write_text(json.dumps(run | {"schema": 2}))
    with pytest.raises(NewerError, match="schema 2, and this aebench reads up to 1"):
        store.missing([run["id"]])
    assert store.documents() == []
    assert len(store.problems) == 1


def test_damaged_companions_are_one_line(store):
    run = document()
    store.publish(run, ARRAYS, WEIGHTS)
    npz, weights = store.folder / f"{run['id']}.npz", store.weights_path(run["id"])
    whole = {path: path.read_bytes() for path in (npz, weights)}
    rng = np.random.default_rng(0)
    for path, ask, what in ((npz, store.arrays, "arrays"), (weights, store.weights, "weights")):
        for size in (0, 3, len(whole[path]) // 2, len(whole[path]) - 1):
            path.write_bytes(whole[path][:size])
            with pytest.raises(InputError, match=f"broken {what}"):
                ask(run["id"])
    for _ in range(200):
        damaged = bytearray(whole[npz])
        damaged[rng.integers(len(damaged))] ^= int(rng.integers(1, 256))
        npz.write_bytes(damaged)
        with suppress(InputError):
            store.arrays(run["id"])


def test_missing_companions_leave_the_document(store):
    run = document()
    store.publish(run, ARRAYS, WEIGHTS)
    (store.folder / f"{run['id']}.npz").unlink()
    store.weights_path(run["id"]).unlink()
    assert store.read(run["id"]) == run
    assert store.arrays(run["id"]) == {}
    assert store.weights(run["id"]) is None


def test_a_full_disk_is_one_line_and_changes_nothing(store):
    run = document()
    store.publish(run, ARRAYS, WEIGHTS)
    before = {name: (store.folder / name).read_bytes() for name in files(store)}
    code = f"""
    import resource, sys
    sys.path.insert(0, {str(Path(__file__).parent)!r})
    import numpy as np
    from synthetic import document
    from aebench.errors import InputError
    from aebench.store import Store
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
    try:
        Store({str(store.folder)!r}).publish(document(), None, {{"w": np.zeros(10_000)}})
    except InputError as error:
        print(error)
    """
    if os.name != "posix":
        pytest.skip("needs a limit on the size of files")
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True, capture_output=True, text=True)
    assert done.stdout == f"cannot write {store.weights_path(run['id'])}: File too large\n"
    assert {name: (store.folder / name).read_bytes() for name in files(store)} == before


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot write .*: .*file is not a folder"):
        Store(tmp_path / "file").publish(document(), ARRAYS, None)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_one_line(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match=r"cannot write .*: Permission denied"):
        Store(tmp_path).publish(document(), ARRAYS, None)
    tmp_path.chmod(0o700)


def test_an_interrupted_write_leaves_nothing(store, monkeypatch):
    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        store.publish(document(), ARRAYS, WEIGHTS)
    assert files(store) == []


@pytest.mark.parametrize("id", ["", "../../etc/passwd", "ABCDEFABCDEFABCD", "suite", "0" * 17, "0" * 16 + "\n"])
def test_an_id_is_an_id(store, id):
    with pytest.raises(InputError, match="not a run id"):
        store.read(id)


def test_other_files_are_not_documents(store):
    store.publish(document(), None, None)
    for name in ("notes.json", "copy of 0123456789abcdef.json", ".0123456789abcdef.json.x-1.tmp"):
        (store.folder / name).write_text("{")
    assert len(store.documents()) == 1
    assert store.problems == []


def test_a_broken_manifest_is_one_line(store):
    store.write_manifest({"ids": ["a" * 16]})
    for text, line in (("{", "broken JSON"), ("{}", "'ids' is not a list"), ('{"ids": [1]}', "'ids' is not a list")):
        (store.folder / "suite.json").write_text(text)
        with pytest.raises(InputError, match=line):
            store.manifest()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text() | st.sampled_from(['":', '"a": 1', "a:b", "\\u003a"]),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(['":', "a", 'a":']), inner),
    max_leaves=20,
)  # fmt: skip


@settings(deadline=None)
@given(tree=st.dictionaries(st.text(), JSON), ascii=st.booleans(), indent=st.none() | st.integers(0, 2))
def test_a_file_is_read_as_the_standard_library_reads_it(tmp_path_factory, tree, ascii, indent):
    """Whatever stands in names and texts: colons, quotes, escapes."""
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_bytes(json.dumps(tree, ensure_ascii=ascii, indent=indent).encode())
    assert repr(documents.parse(path)) == repr(json.loads(path.read_bytes()))


# ---- load


def published(folder, documents, ids=None):
    store = Store(folder)
    store.publish_all([(run, None, None) for run in documents])
    if ids is not None:
        store.write_manifest({"name": folder.name, "ids": ids})
    return store


def test_load_is_a_row_a_run_in_the_order_of_the_manifest(tmp_path):
    runs = [document(seed=s, hyper={"beta": b}) for b in (1.0, 0.1) for s in (1, 0)]
    published(tmp_path, [*runs, document(seed=9)], [run["id"] for run in runs])
    frame = load(tmp_path)
    assert list(frame.columns) == [
        "id", "suite", "status", "variant", "data", "network", "seed", "beta", "kl_weight", "notes_beta", "latent",
        "reconstruction", "lr", "steps", "batch", *METRICS, "train_seconds", "train_examples_per_s", "peak_bytes",
        "flops_train_step", "error",
    ]  # fmt: skip
    assert frame["id"].tolist() == [run["id"] for run in runs]
    assert frame["sse"].tolist() == [run["metrics"]["sse"]["value"] for run in runs]
    assert frame["notes_beta"].tolist() == [1, 1, 10, 10]
    assert frame["kl_weight"].tolist() == frame["beta"].tolist()
    assert frame["network"].unique().tolist() == ["mlp 64-64"]
    kinds = {"seed": "Int64", "latent": "int64", "steps": "int64", "beta": "float64", "peak_bytes": "float64"}
    assert {name: str(frame[name].dtype) for name in kinds} == kinds
    assert frame.attrs["values"]["sse"] == {"unit": "squared units of the data per example", "better": "lower"}
    assert frame.attrs["values"]["train_seconds"]["unit"] == "s of its whole pack"
    assert frame.attrs["problems"] == []
    assert len(load(str(tmp_path), all=True)) == 5


def test_a_failed_run_is_a_row(tmp_path):
    good, bad = document(seed=0), document(seed=1, status="diverged", values={"sse": 1e30})
    published(tmp_path, [good, bad], [bad["id"], good["id"]])
    frame = load(tmp_path)
    assert frame["status"].tolist() == ["diverged", "ok"]
    assert frame["sse"].isna().tolist() == [True, False]
    assert frame["error"].tolist() == [bad["error"]["message"], None]


def test_settings_of_different_variants_stand_side_by_side(tmp_path):
    schedule = {"points": [[0.0, 0.0], [0.25, 4.0]], "kind": "linear"}
    runs = [
        document(variant="ae", hyper={}),
        document(hyper={"beta": schedule}),
        document(hyper={"beta": 0.0}),
        document(variant="mine", hyper={"seed": 1.0, "k": 2.0}, sizes={"k": 3}),
    ]
    published(tmp_path, runs, [run["id"] for run in runs])
    frame = load(tmp_path)
    assert frame["beta"].tolist()[1:3] == ["0→4@0.25 linear", 0.0]
    assert frame["notes_beta"].tolist()[2] == float("inf")
    assert frame["kl_weight"].isna().tolist() == [True, True, False, True]
    assert frame["hyper.seed"].dropna().tolist() == [1.0]
    assert frame["sizes.k"].dtype == "Int64"
    assert frame["seed"].tolist() == [0, 0, 0, 0]


def test_what_differs_is_told_apart(tmp_path):
    runs = [
        document(),
        document(train={"weight_decay": 0.1}),
        document(network={"kind": "mlp", "hidden": [64, 64], "activation": "tanh"}),
        document(network={"kind": "conv", "channels": [32, 64], "hidden": [], "activation": "relu"}),
        document(network={"kind": "mine:net", "depth": 3}),
        document(data={"parameters": {"noise": 0.1}}),
        document(data={"parameters": {"noise": 0.2}}),
        document(data={"parameters": {"noise": 0.2}}, seed=1),
    ]
    published(tmp_path, runs, [run["id"] for run in runs])
    frame = load(tmp_path)
    assert frame["network"].unique().tolist() == ["mlp 64-64", "mlp 64-64 tanh", "conv 32-64", "mine:net depth=3"]
    assert frame["data"].unique().tolist() == ["digits (noise=None)", "digits (noise=0.1)", "digits (noise=0.2)"]
    assert frame["weight_decay"].tolist() == [0, 0.1, 0, 0, 0, 0, 0, 0]
    assert "optimizer" not in frame


def test_several_suites(tmp_path):
    published(tmp_path / "b", [document(suite="b")], [document()["id"]])
    published(tmp_path / "a", [document(suite="a", seed=1)])
    (tmp_path / "empty").mkdir()
    assert load(tmp_path)["suite"].tolist() == ["a", "b"]
    frame = load([tmp_path / "b", tmp_path / "a", tmp_path / "b" / ".." / "a"])
    assert frame["suite"].tolist() == ["b", "a"]
    assert frame.attrs["problems"] == []


def test_a_run_in_several_folders_counts_once(tmp_path):
    """The first that ended well, in the place where it first stands; broken ones do not count."""
    ids = [document(seed=seed)["id"] for seed in range(4)]
    published(tmp_path / "mine", [document(suite="mine", seed=0), document(suite="mine", seed=1, status="failed")], ids)
    published(tmp_path / "stored", [document(suite="stored", seed=seed) for seed in range(3)], ids)
    published(tmp_path / "late", [document(suite="late", seed=seed, status="failed") for seed in (0, 3)])
    (tmp_path / "late" / f"{ids[2]}.json").write_text("{")
    frame = load([tmp_path / "mine", tmp_path / "stored", tmp_path / "late"])
    assert frame["id"].tolist() == ids
    assert frame["suite"].tolist() == ["mine", "stored", "stored", "late"]
    assert frame["status"].tolist() == ["ok", "ok", "ok", "failed"]
    broken, twice = frame.attrs["problems"]
    assert "broken JSON" in broken
    assert twice == "3 runs stand in more than one folder and count once: the first that ended well"


def test_numbers_that_were_not_measured_alike_are_named(tmp_path):
    old, new = document(seed=0), document(seed=1)
    new["metrics"]["sse"]["version"] = 2
    published(tmp_path, [old, new])
    (line,) = load(tmp_path).attrs["problems"]
    assert line.startswith("sse was not measured alike")


def test_broken_documents_are_left_out_and_named(tmp_path):
    published(tmp_path, [document()])
    (tmp_path / "0123456789abcdef.json").write_text("{")
    frame = load(tmp_path)
    assert len(frame) == 1
    assert "0123456789abcdef.json: broken JSON" in frame.attrs["problems"][0]


def test_a_broken_manifest_leaves_the_documents_and_is_named(tmp_path):
    published(tmp_path, [document(seed=0), document(seed=1)])
    (tmp_path / "suite.json").write_text('{"ids": [')
    frame = load(tmp_path)
    assert sorted(frame["seed"]) == [0, 1]
    assert "suite.json: broken JSON" in frame.attrs["problems"][0]


def test_no_results_are_one_line(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        load(tmp_path / "absent")
    with pytest.raises(InputError, match="run a suite first"):
        load(tmp_path)
    with pytest.raises(InputError, match="an empty list"):
        load([])
    published(tmp_path, [document()], [])
    with pytest.raises(InputError, match=r"1 are not in suite.json; all=True reads them"):
        load(tmp_path)
    (tmp_path / f"{document()['id']}.json").write_text("{")
    with pytest.raises(InputError, match="broken JSON"):
        load(tmp_path)
    with pytest.raises(InputError, match="not a folder"):
        load(tmp_path / "suite.json")


@pytest.fixture(scope="module")
def studied(tmp_path_factory):
    """252 settings of two seeds: six variants, six settings each, seven data sets."""
    folder = tmp_path_factory.mktemp("study")
    study(folder, seeds=2)
    return folder


def test_a_frame_holds_what_the_documents_say(studied):
    """Read with the standard library alone."""
    order = json.loads((studied / "suite.json").read_bytes())["ids"]
    held = [json.loads((studied / f"{id}.json").read_bytes()) for id in order]
    frame = load(studied)
    assert frame["id"].tolist() == order
    assert frame["seed"].tolist() == [run["spec"]["seed"] for run in held] == [0, 1] * 252
    assert frame["data"].tolist() == [run["spec"]["data"]["name"] for run in held]
    assert frame["lam"].tolist() == pytest.approx(
        [run["spec"]["hyper"].get("lam", np.nan) for run in held], nan_ok=True
    )
    names = {name for run in held for name in run["metrics"]}
    assert {"sse", "kl", "ssim", "parameters"} < names
    for name in names:
        told = [run["metrics"].get(name, {}).get("value", np.nan) if run["status"] == "ok" else np.nan for run in held]
        assert frame[name].dtype == "float64"
        np.testing.assert_array_equal(frame[name], told)
    assert frame.loc[frame.variant == "contractive_ae", "kl"].isna().all()
    pd.testing.assert_frame_equal(frame, from_documents(iter(held)))
    assert frame.attrs == from_documents(held).attrs


def test_what_pandas_users_do_first(studied):
    frame = load(studied)
    means = frame.groupby(["variant", "data"])["mse"].agg(["mean", "std", "count"])
    assert means.shape == (len(SWEEPS) * len(DATASETS), 3)
    one = frame[(frame.variant == "vae") & (frame.data == "mnist")]
    assert means.loc[("vae", "mnist"), "mean"] == pytest.approx(one["mse"].sum() / one["mse"].count())
    few = frame.query("variant == 'vae' and beta <= 0.1")
    assert (len(few), set(few["beta"])) == (7 * 3 * 2, {0.01, 0.0316227766017, 0.1})
    wide = frame.pivot_table(
        index=["variant", "beta", "lam"], columns="data", values="sse", dropna=False, observed=True
    )
    assert set(wide.columns) == set(DATASETS)
    long = frame.melt(id_vars=["id", "variant", "data", "seed"], value_vars=["sse", "kl"])
    assert len(long) == 2 * len(frame)
    assert frame.groupby(["variant", "beta"], dropna=False).ngroups == 12 + 4
    assert frame.groupby("variant").mean(numeric_only=True).loc["vae", "seed"] == 0.5
    both = frame.merge(frame[["id", "psnr"]], on="id", suffixes=("", "_again"))
    assert both["psnr"].equals(both["psnr_again"])
    for kept in (few, frame[frame.status == "ok"], frame.sort_values("sse"), frame.assign(x=1), frame.set_index("id")):
        assert kept.attrs["values"]["sse"]["better"] == "lower"


# ---- imports


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("store", ["torch", "matplotlib", "scipy", "pandas"]),
        ("store.frame", ["torch", "matplotlib", "scipy"]),
        ("stats", ["torch", "matplotlib", "pandas"]),
        ("tables", ["torch", "matplotlib", "scipy.stats"]),
    ],
)
def test_what_an_import_leaves_out(module, absent):
    code = f"import sys, aebench.{module}; print([name for name in {absent} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "[]\n"
