#!/bin/bash
# Samples on all GPUs of a Slurm allocation, and grades on all its processors:
#
#   sbatch --nodes=4 --gpus-per-node=8 benchmarks/clusters/slurm_ray.sh checkpoints/* --benchmark math500 -n 16
#
# What follows the script's name goes to `opo-eval sample`; the runs go to $OUT, or else to runs/. Checkpoints
# and Python environment have to be on a file system that all nodes share. Submitted again, it continues; so
# --requeue is safe.
#SBATCH --job-name=opo-eval
#SBATCH --ntasks-per-node=1
#SBATCH --exclusive
#SBATCH --requeue
set -euo pipefail

head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
export ADDRESS="$head:$((20000 + SLURM_JOB_ID % 10000))"
# Whoever reaches a Ray may run code in it: this one asks for a token that only the job knows.
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN
RAY_AUTH_TOKEN=$(python -c 'import secrets; print(secrets.token_hex(32))')

# One Ray node a task, the first of them the head; Slurm ends them with the job.
srun --overlap bash -c '
    if [ "$SLURM_NODEID" = 0 ]; then
        exec ray start --block --head --port="${ADDRESS#*:}" --include-dashboard=false
    fi
    until timeout 2 bash -c "</dev/tcp/${ADDRESS%:*}/${ADDRESS#*:}" 2>/dev/null; do sleep 1; done
    exec ray start --block --address="$ADDRESS"
' &
trap 'kill $!' EXIT

until timeout 2 bash -c "</dev/tcp/${ADDRESS%:*}/${ADDRESS#*:}" 2>/dev/null; do sleep 1; done
python - <<'EOF'
import os, time
import ray

ray.init(os.environ["ADDRESS"], log_to_driver=False)
while sum(node["Alive"] for node in ray.nodes()) < int(os.environ["SLURM_NNODES"]):
    time.sleep(1)
EOF

opo-eval sample "$@" --out "${OUT:=runs}" --engine ray --ray-address "$ADDRESS"
opo-eval grade "$OUT" --ray-address "$ADDRESS"
