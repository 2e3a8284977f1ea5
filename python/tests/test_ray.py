"""Preparation on a local Ray cluster of two workers, of which some die."""

import fcntl
import functools
import os
import secrets
import signal
import threading
import time
from pathlib import Path
from unittest import mock

import pytest
from conftest import BPE, FIXTURES

import roundelay

ray = pytest.importorskip("ray")
pytest.importorskip("ray.data")
import roundelay.ray  # noqa: E402

MANIFEST = FIXTURES / "recordings" / "data.jsonl"
OPTIONS = {"layout": "moshi-7b", "tokenizer": BPE, "window": 5.0, "valid": 0.3, "part_recordings": 1}


@pytest.fixture(scope="module", autouse=True)
def cluster():
    with pytest.MonkeyPatch.context() as patch:
        # Else Ray leaves one in the home folder.
        patch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("PYTHONPATH", str(Path(roundelay.__file__).parents[1]))
        ray.init(num_cpus=2, include_dashboard=False)
        yield
        ray.shutdown()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("one") / "machine"
    roundelay.prep(MANIFEST, folder, **OPTIONS)
    return files(folder)


def files(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def check(folder, whole):
    found = files(folder)
    assert found.keys() == whole.keys()
    for name, expected in whole.items():
        assert found[name] == expected, name
    ids = roundelay.Dataset(folder).ids
    assert len(set(ids)) == len(ids)
    assert not folder.with_name(f"{folder.name}.shards").exists()


def watch(monkeypatch, progress):
    """Has every task call `progress(shard, done)`: there is no way to interfere in a worker but from within."""

    def task(batch, **arguments):
        tell = lambda done, recordings: progress(int(batch["shard"][0]), done)
        with mock.patch.object(roundelay, "prep", functools.partial(roundelay.prep, progress=tell)):
            return roundelay.ray._task(batch, **arguments)

    monkeypatch.setattr(roundelay.ray, "_task", task)


@pytest.mark.parametrize("shards", [None, 1, 7])
def test_a_cluster_writes_what_one_machine_writes(whole, tmp_path, shards):
    info = roundelay.ray.prep(MANIFEST, tmp_path / "out", **OPTIONS, shards=shards)
    check(tmp_path / "out", whole)
    assert info == roundelay.Dataset(tmp_path / "out").info


def test_a_worker_that_dies_leaves_no_trace(whole, tmp_path, monkeypatch):
    log = tmp_path / "log"

    def progress(shard, done):
        first = not log.exists() or "died" not in log.read_text()
        with log.open("a") as lines:
            print(shard, os.getpid(), "died" if shard == 0 and done and first else "lives", file=lines, flush=True)
        if shard == 0 and done and first:
            os.kill(os.getpid(), signal.SIGKILL)

    watch(monkeypatch, progress)
    roundelay.ray.prep(MANIFEST, tmp_path / "out", **OPTIONS, shards=2)
    lines = [line.split() for line in log.read_text().splitlines()]
    dead = [process for _, process, state in lines if state == "died"]
    assert len(dead) == 1 and not Path(f"/proc/{dead[0]}").exists()
    heirs = {process for shard, process, state in lines if shard == "0" and state == "lives"}
    assert heirs and not heirs & set(dead), lines
    check(tmp_path / "out", whole)


def test_a_call_that_was_broken_off_goes_on(whole, tmp_path, monkeypatch):
    log, work = tmp_path / "log", tmp_path / "out.shards"

    def stop(shard, done):
        if shard == 1 and done:
            while not (work / "shard-00000-of-00002" / "dataset.json").exists():
                time.sleep(0.1)
            raise InterruptedError("shard 1 stops here")

    with monkeypatch.context() as patch:
        watch(patch, stop)
        with pytest.raises(InterruptedError, match="shard 1 stops here"):
            roundelay.ray.prep(MANIFEST, tmp_path / "out", **OPTIONS, shards=2)
    assert not (tmp_path / "out").exists()
    kept = {shard.name: files(shard) for shard in work.glob("*-00000-*")}
    for shards, more in ((3, {}), (2, {"window": 4.0}), (2, {"layout": "moshi-7b-pretrain"})):
        with pytest.raises(ValueError, match="broken off|finished dataset"):
            roundelay.ray.prep(MANIFEST, tmp_path / "out", **(OPTIONS | more), shards=shards)
    assert {shard.name: files(shard) for shard in work.glob("*-00000-*")} == kept

    def tell(shard, done):
        with log.open("a") as lines:
            print(shard, file=lines)

    watch(monkeypatch, tell)
    roundelay.ray.prep(MANIFEST, tmp_path / "out", **OPTIONS)  # As many shards as were begun.
    assert set(log.read_text().split()) == {"1"}, "shard 0 was finished"
    check(tmp_path / "out", whole)


def test_a_lock_that_outlives_its_worker_is_waited_for(whole, tmp_path):
    lock = tmp_path / "out.shards" / "shard-00001-of-00002" / ".prep" / "lock"
    lock.parent.mkdir(parents=True)
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        begun = time.monotonic()
        threading.Timer(15, fcntl.flock, (held, fcntl.LOCK_UN)).start()
        roundelay.ray.prep(MANIFEST, tmp_path / "out", **OPTIONS)
        assert time.monotonic() - begun >= 15
    check(tmp_path / "out", whole)


@pytest.mark.parametrize(
    "wrong",
    [{"tokenizer": "no-such.model"}, {"window": -1.0}, {"layout": "no-such"}, {"codec": "mp3"}, {"windows": 5.0}],
    ids=lambda wrong: next(iter(wrong)),
)
def test_what_is_wrong_is_raised_as_by_prep(tmp_path, wrong):
    options = OPTIONS | wrong
    if "tokenizer" in wrong:
        options["tokenizer"] = tmp_path / wrong["tokenizer"]
    with pytest.raises(Exception) as ours:
        roundelay.prep(MANIFEST, tmp_path / "one", **options)
    with pytest.raises(ours.type) as theirs:
        roundelay.ray.prep(MANIFEST, tmp_path / "out", **options)
    assert str(theirs.value) == str(ours.value)
    assert not (tmp_path / "out").exists() and not (tmp_path / "out.shards").exists()


def test_what_cannot_go_over_a_cluster_is_refused(whole, tmp_path):
    wrong = ({"progress": print}, {"shard": (0, 2)}, {"jobs": 0}, {"jobs": "2"}, {"shards": 0}, {"shards": 1.5})
    for option in wrong:
        with pytest.raises(ValueError, match=f"^{next(iter(option))} is "):
            roundelay.ray.prep(MANIFEST, tmp_path / "out", **(OPTIONS | option))
    for manifest, folder, name in ((None, tmp_path / "out", "manifest"), (MANIFEST, None, "folder")):
        with pytest.raises(ValueError, match=f"^{name} is None, expected a path$"):
            roundelay.ray.prep(manifest, folder, **OPTIONS)
    (tmp_path / "other").write_text("not ours")
    with pytest.raises(ValueError, match="output folder is a folder with other files"):
        roundelay.ray.prep(MANIFEST, tmp_path, **OPTIONS)
    with pytest.raises(ValueError, match="output folder is a file"):
        roundelay.ray.prep(MANIFEST, tmp_path / "other", **OPTIONS)


def test_a_task_that_no_node_has_room_for_is_refused(tmp_path):
    with pytest.raises(ValueError, match="^jobs is 64, expected at most the largest node's 2 processors$"):
        roundelay.ray.prep(MANIFEST, tmp_path / "out", **OPTIONS, jobs=64)
    # Room is a node's, not the cluster's.
    node = lambda processors, alive: {"Alive": alive, "Resources": {"CPU": processors} if processors else {}}
    nodes = [node(3.0, True), node(3.0, True), node(None, True), node(64.0, False)]
    with mock.patch.object(ray, "nodes", lambda: nodes), mock.patch.object(ray.data, "from_items") as items:
        items.return_value.map_batches.return_value.iter_rows.side_effect = InterruptedError
        with pytest.raises(InterruptedError):
            roundelay.ray.prep(MANIFEST, tmp_path / "out", **OPTIONS, jobs=2)
        assert items.call_args.kwargs == {"override_num_blocks": 2}
        with pytest.raises(ValueError, match="^jobs is 4, expected at most the largest node's 3 processors$"):
            roundelay.ray.prep(MANIFEST, tmp_path / "out", **OPTIONS, jobs=4)


def test_other_files_beside_the_shards_are_left_alone(whole, tmp_path):
    others = [tmp_path / "out.shards" / name for name in ("shard-x-of-y", "shard-00000-of-00000", "shard-1-of-2.log")]
    for other in others:
        other.mkdir(parents=True)
    roundelay.ray.prep(MANIFEST, tmp_path / "out", **OPTIONS, shards=3)
    assert sorted((tmp_path / "out.shards").iterdir()) == sorted(others)
    assert files(tmp_path / "out").keys() == whole.keys()
