#!/bin/sh
#SBATCH --nodes 4 --ntasks-per-node 1 --cpus-per-task 32 --gpus-per-node 8 --time 24:00:00
# sbatch examples/cluster/slurm.sh: a Ray cluster for the time of the job. Submitted again, it goes on with the sweep.
export HEAD=$(hostname -i | cut -d' ' -f1) RAY_AUTH_MODE=disabled   # or a token, where others share the network
export LTDD_CACHE=$SCRATCH/ltdd-cache LTDD_RUNS_DIR=$SCRATCH/runs   # on the shared file system: nothing is sent
ray start --head --node-ip-address "$HEAD" --port 6379 --num-cpus 32 --num-gpus 8
srun --nodes 3 --ntasks 3 --exclude "$(hostname)" ray start --address "$HEAD:6379" --num-cpus 32 --num-gpus 8 --block &
sleep 30
ltdd-tui sweep paper-cifar10-lt --cluster "$HEAD:6379" --threads 4
ray stop
