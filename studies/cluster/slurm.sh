#!/usr/bin/env bash
# Workers of one study as an array of SLURM tasks, one core each. Make the study first (README.md):
#
#   export FORETUNE_STORAGE=postgresql+psycopg://me@db.example.org/studies    # password: ~/.pgpass
#   STUDY=acme sbatch studies/cluster/slurm.sh
#
# PRICES is the study's price file, where its prices are not one of the samples; VENV the virtual
# environment with foretune.
#SBATCH --job-name=foretune
#SBATCH --array=1-10
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=1
#SBATCH --mem=2G
#SBATCH --time=04:00:00
#SBATCH --signal=B:USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=foretune-%A_%a.log
set -uo pipefail

: "${FORETUNE_STORAGE:?must be the database URL, without a password}"
: "${STUDY:?must be the name of the study}"
PATH="${VENV:-$PWD/.venv}/bin:$PATH"

# One thread of NumPy's too, also where the node has more cores than this task. UTC, because Optuna
# stores local time without its zone.
export OMP_NUM_THREADS=1 TZ=UTC

foretune worker --study "$STUDY" ${PRICES:+--prices "$PRICES"} &
worker=$!

# Two minutes before the time is up SLURM tells this script alone (B:USR1): the worker ends its
# epoch, leaves its trial to the others, and the task gets in line again.
time_is_up=false
trap 'time_is_up=true; kill -TERM "$worker"' USR1
# At scancel and preemption SLURM tells the worker too: nothing is to be passed on, for a second
# SIGTERM would stop it in the middle of its epoch.
trap : TERM

# A signal ends a `wait` early.
wait "$worker"
code=$?
while kill -0 "$worker" 2> /dev/null; do
  wait "$worker"
  code=$?
done

if "$time_is_up" && [ "$code" -ne 0 ]; then
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
