#!/bin/sh
# One machine, several GPUs: a cell on each GPU. Ray is started for the sweep, and ends with it.
set -e
pip install 'ltdd-tui[ray]'
ltdd-tui doctor --cluster local
ltdd-tui sweep digits --cluster local --threads 4
# One run by four GPUs, without Ray: each rank matches two of eight trajectories.
mkdir -p runs/gang && ltdd-tui presets show quickstart --set matching.trajectories=8 >runs/gang/config.yaml
torchrun --nproc-per-node 4 -m engine run runs/gang
