"""A corpus prepared on a Ray cluster: to the byte what one machine would write.

    import roundelay.ray

    roundelay.ray.prep("/shared/data.jsonl", "/shared/dataset", "moshi-7b", "/shared/tokenizer.model", jobs=4)

Recordings, manifest, tokenizer and output lie on storage that every node sees under the same paths, with file locks
that hold between nodes (as NFS has them), and every node has this same version of roundelay.
"""

import contextlib
import os
import pickle
import shutil
import time
from pathlib import Path

try:
    import ray
    import ray.data
except ImportError as error:
    raise ImportError("roundelay.ray needs Ray Data: pip install 'ray[data]'") from error

import roundelay

__all__ = ["prep"]

#: How long the lock of a node that is gone may stay on network storage: with NFS, 90 s.
LOCK_SECONDS = 120


def prep(manifest, folder, layout=None, tokenizer=None, *, shards=None, jobs=1, **options):
    """`roundelay.prep` by a whole cluster: a task of `jobs` processors for each of `shards`, then a merge.

    Arguments and options are those of `roundelay.prep`, but for `shard` and `progress`. There are as many shards as the
    cluster has room for at once, unless told. They lie in `<folder>.shards` until they are merged: the storage has to
    hold the dataset twice. A task whose worker dies goes on where it stopped, on any node; a call that was broken off
    goes on when it is made again. Returns what `dataset.json` says.
    """
    for name in ("progress", "shard"):
        if name in options:
            raise ValueError(f"{name} is {options[name]!r}, expected none: each task has a shard of its own, far away")
    for name, number in (("jobs", jobs), ("shards", shards)):
        if number is not None and number < 1:
            raise ValueError(f"{name} is {number}, expected at least 1")
    manifest, folder, tokenizer = (path and Path(path).absolute() for path in (manifest, folder, tokenizer))
    _check_output(folder)
    if not ray.is_initialized():
        ray.init()
    work = folder.with_name(f"{folder.name}.shards")
    begun = {int(path.name.rpartition("-")[2]) for path in work.glob("shard-*-of-*")}
    shards = shards or min(begun, default=None) or max(1, int(ray.cluster_resources().get("CPU", 1)) // jobs)
    if begun - {shards}:
        raise ValueError(f"{work}: number of shards is {shards}, expected {min(begun)}, as a call was broken off with")
    folders = [work / f"shard-{number:05}-of-{shards:05}" for number in range(shards)]
    options |= {"manifest": manifest, "layout": layout, "tokenizer": tokenizer, "jobs": jobs}
    tasks = ray.data.from_items([{"shard": number} for number in range(shards)], override_num_blocks=shards)
    tasks = tasks.map_batches(_task, batch_size=1, num_cpus=jobs, fn_kwargs={"folders": folders, "options": options})
    for outcome in tasks.iter_rows():
        if outcome["error"]:
            raise pickle.loads(outcome["error"])
    info = roundelay.merge(folders, folder)
    for shard in folders:
        shutil.rmtree(shard)
    with contextlib.suppress(OSError):  # What else lies there is not ours.
        work.rmdir()
    return info


def _check_output(folder):
    """Refuses what `merge` would refuse, before the work and not after it."""
    names = os.listdir(folder) if folder.exists() else []
    if names and ".prep" not in names:
        found = "the folder of a finished dataset" if "dataset.json" in names else "a folder with other files"
        raise ValueError(f"{folder}: output folder is {found}, expected a new or empty one, or one of this same call")


def _task(batch, folders, options):
    """Prepares a shard; one that is finished is left as it is. Ray Data would drop an exception's type and message."""
    (number,) = batch["shard"].tolist()
    try:
        _shard(folder=folders[number], shard=(number, len(folders)), **options)
        return {"error": [b""]}
    except Exception as error:
        return {"error": [pickle.dumps(error)]}


def _shard(**arguments):
    end = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            return roundelay.prep(**arguments)
        except ValueError as error:
            if "in use by another run" not in str(error) or time.monotonic() > end:
                raise
        time.sleep(1)
