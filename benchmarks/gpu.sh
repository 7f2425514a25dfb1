#!/usr/bin/env bash
# All that is claimed of a GPU, measured in parts; each call takes at most SECONDS (520) and goes on where the last ended:
#
#   until benchmarks/gpu.sh FOLDER [SECONDS]; do [ $? -eq 3 ] || break; done
#
# FOLDER keeps each part's log and result, and in the end table.md and table.json. Exit codes: 0 all there, 1 a part
# failed, 2 bad arguments, 3 time is up: call again. A part that failed is tried again once FOLDER/<part>.failed is gone.
#
#   DEVICE=cuda    as torch calls it
#   DATA=DIR       CIFAR-10 as images, train/<class>/* and test/<class>/*; else torchvision's, else random images
#   DATA100=DIR    CIFAR-100 likewise
#   SET="a.b=c"    more settings of the runs, such as matching.precision=bf16
#   PARTS="..."    only some of: tests iteration expert_epoch evaluation cell memory
#   DRY=1          everything tiny, to see on a CPU that the parts run and resume
#   PYTHON=python  the interpreter that has torch
set -euo pipefail
if [ $# -lt 1 ] || [ $# -gt 2 ]; then
    sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
mkdir -p "$1"
folder=$(cd "$1" && pwd)
cd "$(dirname "$0")/.."
exec "${PYTHON:-python}" -m benchmarks.gpu "$folder" "${2:-520}"
