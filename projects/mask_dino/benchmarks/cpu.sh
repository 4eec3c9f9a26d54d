#!/usr/bin/env bash
# Measure the figures of docs/benchmarks.md on a CPU, one after another: about half an hour on two cores that do nothing else.
set -euo pipefail
cd "$(dirname "$0")/../../.."
export PYTHONPATH=tests
folder=projects/mask_dino/benchmarks
config=configs/maskdino/maskdino_r50_8xb2-lsj-50e_coco.py
layers=model.panoptic_head

measure() { # NAME TOOL ARGUMENT...
    echo "== $1"
    "${PYTHON:-python}" "tools/analysis_tools/benchmark_$2.py" "${@:3}" --out "$folder/cpu-$1.json"
}

others=(tests/tools/configs/{textbook,dense}_r50.py)
measure training step "$config" "${others[@]}" --modes train --sizes 512 --objects 10 50 --rounds 5
measure training-1024 step "$config" "${others[@]}" --modes train --sizes 1024 --objects 10 50 --rounds 1
measure dino step "$config" tests/tools/configs/dino_r50_300q.py --modes test --sizes 512 800x1333 --rounds 5
measure postprocessing postprocessing --rounds 5
measure area step "$config" --modes train --sizes 512 768 1024 1536 --rounds 2
measure objects step "$config" --modes train --objects 1 10 50 100 200 300 --rounds 1
measure bf16 step "$config" --modes train --rounds 2 --amp bf16
measure checkpointing step "$config" --modes train --sizes 1024 --rounds 1 \
    --cfg-options model.backbone.with_cp=True $layers.pixel_decoder.with_cp=True $layers.decoder.with_cp=True
measure loading loading "$config" --images 100 --threads 1
measure fps fps "$config" --images 5
