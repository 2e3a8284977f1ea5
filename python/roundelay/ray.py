"""A corpus prepared on a Ray cluster: to the byte what one machine would write.

    import roundelay.ray

    roundelay.ray.prep("/shared/data.jsonl", "/shared/dataset", "moshi-7b", "/shared/tokenizer.model", jobs=4)

Recordings, manifest, tokenizer and output lie on storage that every node sees under the same paths, with file locks
that hold between nodes (as NFS has them), and every node has this same version of roundelay.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import re
import shutil
import time
import warnings
from numbers import Integral
from os import PathLike
from pathlib import Path
from typing import Any

try:
    import ray
    import ray.data
except ImportError as error:
    raise ImportError("roundelay.ray needs Ray Data: pip install 'ray[data]'") from error

import roundelay

__all__ = ["prep"]

#: How long the lock of a node that is gone may stay on network storage: with NFS, 90 s.
LOCK_SECONDS = 120


def prep(
    manifest: str | PathLike[str],
    folder: str | PathLike[str],
    layout: roundelay.Layout | str | None = None,
    tokenizer: str | PathLike[str] | None = None,
    *,
    shards: int | None = None,
    jobs: int = 1,
    **options: Any,
) -> dict[str, Any]:
    """`roundelay.prep` by a whole cluster: a task of `jobs` processors for each of `shards`, then a merge.

    Arguments and options are those of `roundelay.prep`, but for `shard` and `progress`. There are as many shards as the
    cluster has room for at once, unless told; a node with `jobs` processors has to be there when this is called. Shards
    lie in `<folder>.shards` until they are merged: the storage has to hold the dataset twice. A task whose worker dies
    goes on where it stopped, on any node; a call that was broken off goes on when it is made again. Returns what
    `dataset.json` says.
    """
    for name in ("progress", "shard"):
        if name in options:
            raise ValueError(f"{name} is {options[name]!r}, expected none: each task has a shard of its own, far away")
    for name, number in (("jobs", jobs), ("shards", 1 if shards is None else shards)):
        if not isinstance(number, Integral) or number < 1:
            raise ValueError(f"{name} is {number!r}, expected a whole number, at least 1")
    for name, path in (("manifest", manifest), ("folder", folder)):
        if not path:
            raise ValueError(f"{name} is {path!r}, expected a path")
    manifest, folder = Path(manifest).absolute(), Path(folder).absolute()
    tokenizer = tokenizer and Path(tokenizer).absolute()
    _check_output(folder)
    if not ray.is_initialized():
        ray.init()
    processors = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]
    if jobs > max(processors, default=0):
        raise ValueError(f"jobs is {jobs}, expected at most the largest node's {max(processors, default=0)} processors")
    work = folder.with_name(f"{folder.name}.shards")
    names = (re.fullmatch(r"shard-[0-9]+-of-0*([1-9][0-9]*)", path.name) for path in work.glob("shard-*"))
    begun = {int(name[1]) for name in names if name}
    shards = shards or min(begun, default=None) or sum(count // jobs for count in processors)
    if begun - {shards}:
        raise ValueError(f"{work}: number of shards is {shards}, expected {min(begun)}, as a call was broken off with")
    folders = [work / f"shard-{number:05}-of-{shards:05}" for number in range(shards)]
    options |= {"manifest": manifest, "layout": layout, "tokenizer": tokenizer, "jobs": jobs}
    tasks: Any = ray.data.from_items([{"shard": number} for number in range(shards)], override_num_blocks=shards)
    tasks = tasks.map_batches(_task, batch_size=1, num_cpus=jobs, fn_kwargs={"folders": folders, "options": options})
    for outcome in tasks.iter_rows():
        if outcome["error"]:
            raise pickle.loads(outcome["error"])
    info = roundelay.merge(folders, folder)
    for shard in folders:
        shutil.rmtree(shard)
    with contextlib.suppress(OSError):  # What else lies there is not ours.
        work.rmdir()
    if rejects := info["counts"]["rejects"]:
        warnings.warn(f"{rejects} recordings could not be used; {folder}/rejects.jsonl says why", stacklevel=2)
    return info


def _check_output(folder: Path) -> None:
    """Refuses what `merge` would refuse, before the work and not after it."""
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder}: output folder is a file, expected a new or empty folder")
    names = os.listdir(folder) if folder.exists() else []
    if names and ".prep" not in names:
        found = "the folder of a finished dataset" if "dataset.json" in names else "a folder with other files"
        raise ValueError(f"{folder}: output folder is {found}, expected a new or empty one, or one of this same call")


def _task(batch: dict[str, Any], folders: list[Path], options: dict[str, Any]) -> dict[str, list[bytes]]:
    """Prepares a shard; one that is finished is left as it is. Ray Data would drop an exception's type and message."""
    (number,) = batch["shard"].tolist()
    try:
        _shard(folder=folders[number], shard=(number, len(folders)), **options)
        return {"error": [b""]}
    except Exception as error:
        return {"error": [pickle.dumps(error)]}


def _shard(**arguments: Any) -> dict[str, Any]:
    end = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            return roundelay.prep(**arguments)
        except ValueError as error:
            if "in use by another run" not in str(error) or time.monotonic() > end:
                raise
        time.sleep(1)
