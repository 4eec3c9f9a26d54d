#!/usr/bin/env bash
# Train a DINO on the boxes of Shapes and make a Mask DINO of it; train that, and one from scratch, for instances. About 20
# minutes on one core of their own; the curves end up in curves.json.
set -euo pipefail
cd "$(dirname "$0")/../../.."
here=projects/mask_dino/from_dino
work=work_dirs/from_dino
python=${PYTHON:-python}

"$python" tools/dataset_converters/make_shapes.py data/shapes
"$python" tools/train.py $here/dino_shapes.py --work-dir $work/dino
"$python" tools/model_converters/dino_to_maskdino.py $work/dino/iter_600.pth $work/converted.pth --config $here/maskdino_shapes.py
"$python" tools/test.py $here/maskdino_shapes.py $work/converted.pth --work-dir $work/converted
"$python" tools/train.py $here/maskdino_shapes.py --work-dir $work/from_dino --cfg-options load_from=$work/converted.pth
"$python" tools/train.py $here/maskdino_shapes.py --work-dir $work/from_scratch
"$python" $here/curves.py $work $here/curves.json
