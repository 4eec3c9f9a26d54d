"""Reference outputs of the original Mask DINO implementation, for parity tests.

The original PyTorch code was run once on a CPU in float32. Its weights were drawn from the
seeded generator below instead of being stored, so each case is a few hundred kilobytes.
Only numpy is needed. data/golden/README.md says what each array holds.
"""

import gzip
import json
import zlib
from pathlib import Path

import numpy as np


def load_case(folder):
    """Return ``(case, outputs)``: the settings as a dict, the reference arrays (None for training cases)."""
    folder = Path(folder)
    case = json.loads((folder / 'case.json').read_text())
    arrays = folder / 'outputs.npz'
    return case, (dict(np.load(arrays)) if arrays.exists() else None)


def official_state_dict(folder):
    """Return the checkpoint in the original naming: ``{name: float32 ndarray}`` as a released ``.pth`` has it.

    Tensors that the original model shares under several names come out equal. Integer buffers
    (``relative_position_index``) come out as zeros: a converter drops them.
    """
    with gzip.open(Path(folder) / 'manifest.json.gz') as f:
        manifest = json.load(f)
    state = {}
    for entry in manifest:
        shape = tuple(entry['shape'])
        if entry['dtype'] != 'float32':
            state[entry['key']] = np.zeros(shape, entry['dtype'])
            continue
        rng = np.random.default_rng(zlib.crc32(entry['seed_key'].encode()))
        noise = rng.standard_normal(shape, dtype=np.float32)
        state[entry['key']] = (entry['offset'] + entry['scale'] * noise).astype(np.float32)
    return state


def image(seed, height, width):
    """Return the seeded RGB test image, uint8 ``(height, width, 3)``."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, ((height + 31) // 32, (width + 31) // 32, 3))
    blocks = np.kron(coarse, np.ones((32, 32, 1), np.int64))[:height, :width]
    return np.clip(blocks + rng.integers(-40, 41, (height, width, 3)), 0, 255).astype(np.uint8)


def ground_truth(objects, height, width):
    """Return ``(labels int64 (N,), boxes xyxy float32 (N, 4) in pixels, masks bool (N, height, width))``.

    ``objects`` is one image's list from a training case: ``(label, 'rect' | 'ellipse', x1, y1, x2, y2)``.
    """
    ys, xs = np.mgrid[0:height, 0:width] + 0.5
    labels, boxes, masks = [], [], []
    for label, kind, x1, y1, x2, y2 in objects:
        if kind == 'rect':
            mask = (xs > x1) & (xs < x2) & (ys > y1) & (ys < y2)
        else:
            mask = ((xs - (x1 + x2) / 2) / ((x2 - x1) / 2)) ** 2 + (
                (ys - (y1 + y2) / 2) / ((y2 - y1) / 2)
            ) ** 2 < 1
        labels.append(label)
        boxes.append((x1, y1, x2, y2))
        masks.append(mask)
    return (
        np.array(labels, np.int64),
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(masks, bool).reshape(-1, height, width),
    )
