"""Images in, results out."""

import os
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import overload

import numpy as np
from PIL import Image

from .enlarge import ImageSizes
from .images import ImageError, ImageLike, Prepared, make_batch, padded_size, prepare_image
from .metadata import ModelFileError, ModelInfo
from .network import Network, OnnxNetwork, Outputs, check_threads
from .parsing import check_count
from .postprocess import Competitors, Instances, Pairs, make_instances, make_panoptic
from .result import Result
from .semantic import average_windows, make_semantic, place_windows, resize_scores, score_pixels

MAX_PIXELS = 2**22

SINGLE = (str, os.PathLike, np.ndarray, Image.Image)
"""Types of a single image."""


class Segmenter:
    """Detects and segments with an exported model.

    Args:
        model: File that ``tools/deployment/export.py`` wrote, or a network that is opened already.
        threads: Threads of onnxruntime, 1 to 1024; by default, one for each core.
        max_pixels: Pixels, over all masks or classes, of the largest float map that post-processing holds; it bounds
            the memory and changes no result.

    Raises:
        ModelFileError: If the file is missing, damaged, another program's, or was exported with raw outputs.
        TypeError: If an argument has another type.
        ValueError: If a number is too small or too large.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | Network,
        threads: int | None = None,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        check_threads(threads)
        check_count('max_pixels', max_pixels)
        self.network = _open(model, threads)
        self.max_pixels = max_pixels
        if not self.info.tasks:
            raise ModelFileError(
                f'{model} was exported with --raw: its outputs are logits, boxes and masks of queries, not results. '
                'Export it without --raw, or read the outputs yourself'
            )

    @property
    def info(self) -> ModelInfo:
        """What the file says of the model."""
        return self.network.info

    @overload
    def __call__(
        self, images: list[ImageLike] | tuple[ImageLike, ...], batch_size: int = 1
    ) -> list[Result]: ...

    @overload
    def __call__(self, images: ImageLike, batch_size: int = 1) -> Result: ...

    def __call__(
        self, images: ImageLike | list[ImageLike] | tuple[ImageLike, ...], batch_size: int = 1
    ) -> Result | list[Result]:
        """Return the result of an image, or the list of results of several.

        Args:
            images: Path, array (H, W, 3) uint8 RGB or image of Pillow; or a list of them.
            batch_size: Images that the network takes at once. As in MMDetection, images of different sizes in a batch
                are padded to a common size, which changes their results a little.

        Raises:
            ImageError: If an image is missing, damaged or of another type.
            TypeError: If ``batch_size`` is no whole number.
            ValueError: If ``batch_size`` is less than 1.
        """
        if isinstance(images, (list, tuple)):
            return list(self.results(images, batch_size))
        return next(self.results([images], batch_size))

    def results(self, images: Iterable[ImageLike], batch_size: int = 1) -> Iterator[Result]:
        """Return an iterator over the results of many images. Arguments and errors are the same as for a call.

        Raises:
            TypeError: If ``images`` is a single image, or nothing that one can iterate over.
        """
        check_count('batch_size', batch_size)
        if isinstance(images, SINGLE) or not isinstance(images, Iterable):
            raise TypeError(
                f'images has the type {type(images).__name__}: give a list of paths, arrays or images of Pillow'
            )
        return self._results(images, batch_size)

    def _results(self, images: Iterable[ImageLike], batch_size: int) -> Iterator[Result]:
        static = self.info.input.static
        waiting: list[Prepared] = []
        for image in images:
            waiting.append(prepare_image(image, self.info.input.resize))
            if len(waiting) == (static[0] if static else batch_size):
                yield from self._run(waiting)
                waiting = []
        yield from self._run(waiting)

    def _run(self, images: list[Prepared]) -> Iterator[Result]:
        """Yield the results of a batch, in parts of one size where the model cannot pad images to a common one."""
        rule = self.info.input
        joint = rule.padding.joint and not rule.embedded
        for _, part in groupby(images, key=lambda image: None if joint else image.resized.shape):
            yield from self._run_batch(list(part))

    def _run_batch(self, images: list[Prepared]) -> Iterator[Result]:
        padded = self._padded_size(images)
        batch = make_batch([image.resized for image in images], self.info.input, padded)
        if self.info.window:
            for image, pixels in zip(images, batch, strict=True):
                yield self._slide(image, pixels[None], padded)
            return
        outputs = self.network.run(batch)
        for index, image in enumerate(images):
            single = {name: value[index] for name, value in outputs.items()}
            yield self._read(single, image, padded)

    def _padded_size(self, images: list[Prepared]) -> tuple[int, int]:
        """Return the height and width of a padded batch, which a static model fixes."""
        rule = self.info.input
        sizes = [image.resized.shape[:2] for image in images]
        padded = padded_size(sizes, rule.padding)
        if rule.static is None:
            return padded
        _, height, width = rule.static
        if padded[0] > height or padded[1] > width:
            raise ImageError(
                f'an image is {sizes[0][0]} x {sizes[0][1]} (height x width) after resizing, but the model was '
                f'exported with --static for {height} x {width}: use images of another shape, or export the model '
                'with a larger --size or without --static'
            )
        return height, width

    def _read(self, outputs: Outputs, image: Prepared, padded: tuple[int, int]) -> Result:
        """Return the result of one image from its outputs, which have no batch dimension."""
        info = self.info
        tasks = info.tasks
        sizes = ImageSizes(padded, image.resized.shape[:2], image.original.shape[:2])
        with_boxes = 'instance' in tasks or 'detection' in tasks
        instances = self._instances(outputs, sizes) if with_boxes else None
        return Result(
            image.original,
            info.classes,
            info.palette,
            boxes=instances and instances.boxes,
            labels=instances and instances.labels,
            scores=instances and instances.scores,
            masks=instances and instances.masks,
            panoptic=self._panoptic(outputs, sizes) if 'panoptic' in tasks else None,
            semantic=self._semantic(outputs, sizes) if 'semantic' in tasks else None,
        )

    def _instances(self, outputs: Outputs, sizes: ImageSizes) -> Instances:
        things = outputs['labels'] < self.info.num_things
        pairs = Pairs(
            scores=outputs['scores'][things],
            labels=outputs['labels'][things],
            boxes=outputs['boxes'][things],
            masks=outputs['mask_index'][things],
        )
        keep_masks = 'instance' in self.info.tasks
        return make_instances(pairs, outputs['masks'], sizes, keep_masks, self.info.thresholds)

    def _panoptic(self, outputs: Outputs, sizes: ImageSizes) -> np.ndarray:
        thresholds = self.info.thresholds
        # A query is chosen by its sigmoid score, and competes with its sharpened one.
        chosen = np.flatnonzero(outputs['query_scores'] > thresholds.object_mask_thr)
        classes = outputs['probabilities'][chosen]
        queries = Competitors(classes.max(-1), classes.argmax(-1), outputs['masks'][chosen])
        return make_panoptic(
            queries, sizes, self.info.num_things, len(self.info.classes), thresholds.iou_thr
        )

    def _semantic(self, outputs: Outputs, sizes: ImageSizes) -> np.ndarray:
        probabilities, masks = outputs['probabilities'], outputs['masks']
        if not self.info.scores_at_input:
            return make_semantic(probabilities, masks, sizes, self.max_pixels)
        scores = score_pixels(probabilities, masks, ImageSizes(*[sizes.padded] * 3))
        align = self.info.thresholds.align_corners
        return resize_scores(scores, sizes, len(self.info.classes), self.max_pixels, align)

    def _slide(self, image: Prepared, pixels: np.ndarray, padded: tuple[int, int]) -> Result:
        """Return the result of one image (1, 3, H, W) whose scores are averaged over overlapping windows."""
        info = self.info
        num_classes = len(info.classes)
        windows = self._score_windows(pixels, padded)
        mean = average_windows(windows, padded, num_classes)
        sizes = ImageSizes(padded, image.resized.shape[:2], image.original.shape[:2])
        align = info.thresholds.align_corners
        semantic = resize_scores(
            lambda rows: mean[rows], sizes, num_classes, self.max_pixels, align
        )
        return Result(image.original, info.classes, info.palette, semantic=semantic)

    def _score_windows(
        self, pixels: np.ndarray, padded: tuple[int, int]
    ) -> Iterator[tuple[tuple[slice, slice], np.ndarray]]:
        """Yield the place of every window and its scores (h, w, K)."""
        assert self.info.window is not None
        for rows, columns in place_windows(padded, self.info.window):
            part = np.ascontiguousarray(pixels[..., rows, columns])
            outputs = self.network.run(part)
            size = (rows.stop - rows.start, columns.stop - columns.start)
            sizes = ImageSizes(size, size, size)
            scores = score_pixels(outputs['probabilities'][0], outputs['masks'][0], sizes)
            yield (rows, columns), scores(slice(0, size[0]))


def _open(model: str | os.PathLike[str] | Network, threads: int | None) -> Network:
    """Return the network of a file, or a network that is opened already."""
    if isinstance(model, (str, os.PathLike)):
        return OnnxNetwork(model, threads)
    if isinstance(model, Network) and isinstance(model.info, ModelInfo):
        return model
    raise TypeError(
        f'model has the type {type(model).__name__}: give the path of a file that tools/deployment/export.py wrote, '
        'or a network with info (a ModelInfo) and run(images)'
    )
