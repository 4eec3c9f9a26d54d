"""Segment images with an exported Mask DINO: python -m mask_dino.runtime MODEL IMAGES --out-dir DIR."""

import argparse
import json
import os
import sys
from collections import Counter
from contextlib import suppress
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from . import ImageError, ModelFileError, Result, Segmenter
from .network import MAX_THREADS

IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp')

MAX_JPEG_SIDE = 65500
"""Pixels of a side that a JPEG file has at most; a wider picture is reduced."""


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog='python -m mask_dino.runtime',
        description='Detect and segment with a model that tools/deployment/export.py wrote. For each image it writes '
        'NAME.jpg, a picture of everything that was found; NAME.json, with boxes, classes and scores; and, where the '
        'model makes them, NAME.masks.png (one column of masks), NAME.panoptic.png and NAME.semantic.png (16 bits).',
        epilog='example: python -m mask_dino.runtime model.onnx photo.jpg --out-dir results. '
        'Exit codes: 0: done; 1: the model or an image cannot be read, which is named; 2: wrong arguments.',
    )
    parser.add_argument('model', type=Path, help='exported file, model.onnx')
    parser.add_argument(
        'images', type=Path, nargs='+', metavar='IMAGES', help='files, or folders of images'
    )
    parser.add_argument(
        '--out-dir', type=Path, required=True, metavar='DIR', help='folder to write to'
    )
    parser.add_argument(
        '--score-thr',
        type=score,
        default=0.3,
        help='score from which instances count (default: 0.3)',
    )
    parser.add_argument(
        '--threads', type=thread_count, help='threads of onnxruntime (default: one for each core)'
    )
    return parser.parse_args()


def score(text: str) -> float:
    """Read a score."""
    with suppress(ValueError):
        value = float(text)
        if 0 <= value <= 1:
            return value
    raise argparse.ArgumentTypeError(f'{text} is no score: scores go from 0 to 1')


def thread_count(text: str) -> int:
    """Read a number of threads."""
    if text.isdecimal() and 1 <= int(text) <= MAX_THREADS:
        return int(text)
    raise argparse.ArgumentTypeError(f'{text} is no whole number from 1 to {MAX_THREADS}')


def main() -> None:
    """Segment every image; one that cannot be read is named, and the others are done."""
    args = parse_args()
    try:
        paths = list_images(args.images)
        segmenter = Segmenter(args.model, args.threads)
    except (ImageError, ModelFileError) as error:
        sys.exit(f'error: {error}')
    try:
        args.out_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        sys.exit(f'error: --out-dir {args.out_dir} cannot be made: {error}; choose another folder')
    failed = 0
    for number, path in enumerate(paths, 1):
        try:
            text = write_result(segmenter(path), args.out_dir / path.stem, args.score_thr)
        except (ImageError, ModelFileError, MemoryError, OSError) as error:
            failed += 1
            text = f'error: {error}'
        print(f'{number}/{len(paths)} {path}: {text}', flush=True)
    if failed:
        sys.exit(f'error: {failed} of {len(paths)} images failed, see above')


def list_images(paths: list[Path]) -> list[Path]:
    """Return the images among files and folders.

    Raises:
        ImageError: If there is none, or if the results of two would have the same name.
    """
    images: list[Path] = []
    for path in paths:
        if not path.is_dir():
            images.append(path)
            continue
        images += [file for file in sorted(path.iterdir()) if file.suffix.lower() in IMAGE_SUFFIXES]
    if not images:
        raise ImageError(
            f'there are no images in {", ".join(map(str, paths))}; known are {", ".join(sorted(IMAGE_SUFFIXES))}'
        )
    name, count = Counter(image.stem for image in images).most_common(1)[0]
    if count > 1:
        raise ImageError(
            f'{count} images are called {name}: their results would overwrite each other; rename them'
        )
    return images


def write_result(result: Result, target: Path, score_thr: float) -> str:
    """Write the files of one image, whose names begin with ``target``, and return a line about it."""
    picture = Image.fromarray(result.draw(score_thr))
    if max(picture.size) > MAX_JPEG_SIDE:
        picture.thumbnail((MAX_JPEG_SIDE, MAX_JPEG_SIDE))
    write_image(picture, target, '.jpg')
    lines: list[dict] = []
    if result.scores is not None and result.boxes is not None:
        shown = np.flatnonzero(result.scores >= score_thr)
        lines = [
            dict(
                name=result.names[i],
                score=float(result.scores[i]),
                box=[float(x) for x in result.boxes[i]],
            )
            for i in shown
        ]
        if result.masks is not None and len(shown):
            column = result.masks[shown].reshape(-1, result.masks.shape[2])
            write_image(Image.fromarray(column), target, '.masks.png')
    for kind, values in (('panoptic', result.panoptic), ('semantic', result.semantic)):
        if values is not None:
            write_image(Image.fromarray(values.astype(np.uint16)), target, f'.{kind}.png')
    write_whole(json.dumps(dict(classes=result.classes, instances=lines)).encode(), target, '.json')
    counts = Counter(str(line['name']) for line in lines)
    return ', '.join(f'{count} {name}' for name, count in counts.items()) or 'done'


def write_image(image: Image.Image, target: Path, suffix: str) -> None:
    """Write an image in the format of its suffix."""
    buffer = BytesIO()
    image.save(buffer, format='JPEG' if suffix == '.jpg' else 'PNG')
    write_whole(buffer.getvalue(), target, suffix)


def write_whole(data: bytes, target: Path, suffix: str) -> None:
    """Write a file whole or not at all."""
    path = target.with_name(target.name + suffix)
    part = path.with_name(f'.{path.name}.{os.getpid()}.part')
    try:
        part.write_bytes(data)
        part.replace(path)
    except OSError as error:
        raise OSError(
            f'{path} cannot be written: {error.strerror}; free some space or choose another --out-dir'
        ) from error
    finally:
        with suppress(OSError):  # where nothing can be written, nothing can be deleted either
            part.unlink(missing_ok=True)


if __name__ == '__main__':
    main()
