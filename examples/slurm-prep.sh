#!/usr/bin/env bash
# A corpus prepared by a Slurm job array, a shard each, and merged by a job that follows:
#
#   array=$(sbatch --parsable --array=0-15 examples/slurm-prep.sh data.jsonl dataset --tokenizer tokenizer.model)
#   sbatch --dependency="afterok:$array" examples/slurm-prep.sh data.jsonl dataset
#
# After a failure, the same two lines again: shards that are finished stay as they are, the others go on, and
# a finished dataset is left as it is. The array's numbers begin at 0; the folder must be on storage that all nodes see.
#
#SBATCH --job-name=roundelay-prep
#SBATCH --cpus-per-task=4
#SBATCH --requeue
set -euo pipefail
manifest=$1 dataset=${2%/}
shift 2

if [ -e "$dataset/dataset.json" ]; then
  echo "$dataset is finished" >&2
elif [ -n "${SLURM_ARRAY_TASK_ID:-}" ]; then
  shard=$dataset.shards/$SLURM_ARRAY_TASK_ID-of-$SLURM_ARRAY_TASK_COUNT
  roundelay prep "$manifest" -o "$shard" --shard "$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT" \
    --jobs "${SLURM_CPUS_PER_TASK:-1}" "$@"
else
  roundelay merge "$dataset".shards/*-of-* -o "$dataset"
fi
[ -n "${SLURM_ARRAY_TASK_ID:-}" ] || rm -rf "$dataset.shards"
