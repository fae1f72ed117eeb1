#!/usr/bin/env bash
# An array of shards, which needs no Redis, and then a job that joins them:
#   shards=$(sbatch --parsable deploy/slurm.sh) && sbatch --dependency="afterok:$shards" --array=0 deploy/slurm.sh join
#SBATCH --job-name=fractalgen
#SBATCH --array=1-8
#SBATCH --cpus-per-task=4
#SBATCH --mem=8G
#SBATCH --time=04:00:00
#SBATCH --signal=TERM@60
#SBATCH --requeue
set -euo pipefail

shared="${FRACTALGEN_SHARED:-$SCRATCH/fractalgen}"
mkdir -p "$shared"
# Signals reach what srun starts; Slurm would kill anything else together with this shell.
fractalgen() { srun --ntasks=1 --cpus-per-task="$SLURM_CPUS_PER_TASK" npx --no-install fractalgen "$@"; }

if [ "${1:-}" = join ]; then
  fractalgen join --shared "$shared"
  exit
fi
fractalgen sample --model emoji -n 10000 --each "$shared/drawn" --out "$shared/drawn.png" --shared "$shared" \
  --threads "$SLURM_CPUS_PER_TASK" --shard "$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT"
