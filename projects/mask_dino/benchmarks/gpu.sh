#!/usr/bin/env bash
# Check Mask DINO on a GPU and measure it: less than 25 minutes in all. Run it again to continue after a stop.
#   gpu.sh [--out FOLDER] [--wheels FOLDER] [--device cuda|cpu] [--small] [PART ...]
# Parts: environment tests sampling parity step waits inference processes trainings compile (default: all, in this order).
# A part that is done is skipped; remove its file FOLDER/PART.json to repeat it. FOLDER/gpu.md has the tables.
#   --wheels FOLDER  install these wheels into a folder of this run first: for a machine without a network
#   --small          tiny models and images, a minute on a CPU: shows that the command works
# A part that takes longer than PART_SECONDS (default: 400) is stopped.
set -uo pipefail
cd "$(dirname "$0")/../../.."
python=${PYTHON:-python3}
out=gpu_results device=cuda small='' wheels='' parts=()
while (($#)); do
    case $1 in
        --out) out=$2; shift ;;
        --wheels) wheels=$2; shift ;;
        --device) device=$2; shift ;;
        --small) small=--small ;;
        --*) echo "gpu.sh: unknown option $1" >&2; exit 2 ;;
        *) parts+=("$1") ;;
    esac
    shift
done
((${#parts[@]})) || parts=(environment tests sampling parity step waits inference processes trainings compile)
mkdir -p "$out"
export PYTHONPATH=$PWD:$PWD/tests:$PWD/projects/mask_dino/benchmarks${PYTHONPATH:+:$PYTHONPATH} PYTHONUNBUFFERED=1
if [[ $wheels ]]; then
    site=${SITE:-$(mktemp -d)}
    "$python" -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --upgrade --target "$site" "$wheels"/*.whl || exit
    export PYTHONPATH=$PYTHONPATH:$site
fi

failed=0
for part in "${parts[@]}"; do
    [[ -e $out/$part.json ]] && { echo "== $part: done before"; continue; }
    echo "== $part"
    start=$SECONDS
    timeout -k 10 "${PART_SECONDS:-400}" "$python" -m gpu "$part" --out "$out" --device "$device" $small
    status=$?
    ((status)) && { echo "gpu.sh: $part failed with status $status" >&2; failed=1; }
    echo "== $part: $((SECONDS - start)) s"
done
"$python" -m gpu table --out "$out" --device "$device" $small || failed=1
exit $failed
