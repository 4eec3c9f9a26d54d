"""What the page does when a visitor chooses an image or a setting; without Gradio, so that tests need no browser."""

import json
import shutil
import tempfile
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Lock
from typing import NamedTuple

import numpy as np
from PIL import Image

from ..messages import plural
from ..runtime import ImageError, Result
from .findings import (
    Findings,
    View,
    available_views,
    keep_findings,
    list_objects,
    make_coco,
    make_table,
)
from .pictures import draw_view
from .predictors import LayersError, Predictor
from .uploads import UploadError, read_upload

KEPT_DOWNLOADS = 100
"""Folders of downloads; the oldest are removed. The page copies a file when it offers it."""

Report = Callable[[float, str], object]
"""Takes the progress, from 0 to 1, and what is being done."""


class Shown(NamedTuple):
    """What a request changes on the page. Without files, earlier results disappear."""

    message: str
    picture: Path | None = None
    results: Path | None = None  # COCO JSON
    table: tuple[tuple[str, ...], ...] = ()


class Session:
    """A model, the images to choose from, and a folder for downloads.

    Args:
        max_side: Pixels of the longer side of an image; larger ones are reduced.
    """

    def __init__(
        self, predictor: Predictor, examples: Sequence[Path], folder: Path, max_side: int
    ) -> None:
        self.predictor, self.examples = predictor, examples
        self.folder, self.max_side = folder, max_side
        self.lock = Lock()  # the model sees one image at a time
        self.downloads: deque[Path] = deque()

    def analyse(
        self, path: str | Path | None, view: View, threshold: float, report: Report
    ) -> tuple[Findings | None, Shown]:
        """Run the model on a file. Return what was found, and what changes on the page."""
        if path is None:
            return None, Shown('Choose an image.')
        try:
            report(0.1, 'Reading the image')
            upload = read_upload(path, self.max_side)
            report(0.3, 'The model computes')
            findings = keep_findings(upload, self.predict(upload.pixels))
            report(0.9, 'Drawing')
            return findings, self.show(findings, view, threshold)
        except (ImageError, UploadError) as error:
            return None, Shown(str(error))
        except Exception as error:  # the visitor gets a sentence, and the terminal everything
            traceback.print_exc()
            message = f'The model failed on this image: {type(error).__name__}, {error}.'
            return None, Shown(message)

    def show(self, findings: Findings | None, view: View, threshold: float) -> Shown:
        """Draw what was found, list it and write the files to download."""
        if findings is None:
            return Shown('Choose an image.')
        try:
            picture = self.draw(findings, view, threshold)
        except LayersError as error:
            return Shown(str(error))
        upload = findings.upload
        objects = list_objects(findings, view, threshold)
        folder = self.make_folder()
        picture_path = folder / f'{upload.name}-{view.value.lower()}.png'
        results_path = picture_path.with_suffix('.json')
        Image.fromarray(picture).save(picture_path, compress_level=3)
        results_path.write_text(json.dumps(make_coco(objects, upload, self.predictor.classes)))
        message = ' '.join((describe_view(view, len(objects), upload.name), *upload.notes))
        return Shown(message, picture_path, results_path, make_table(objects, upload))

    def draw(self, findings: Findings, view: View, threshold: float) -> np.ndarray:
        """Return the picture (h, w, 3) of a view.

        Raises:
            LayersError: If the model does not show its layers.
        """
        if view is not View.LAYERS:
            return draw_view(findings.above(threshold), view)
        with self.lock:
            return self.predictor.draw_layers(findings.upload.pixels)

    def predict(self, pixels: np.ndarray) -> Result:
        """Run the model on an image (H, W, 3); other visitors wait."""
        with self.lock:
            return self.predictor.predict(pixels)

    def make_folder(self) -> Path:
        """Return a new folder for files to download, and remove the oldest."""
        self.downloads.append(Path(tempfile.mkdtemp(dir=self.folder)))
        while len(self.downloads) > KEPT_DOWNLOADS:
            shutil.rmtree(self.downloads.popleft(), ignore_errors=True)
        return self.downloads[-1]


def describe_view(view: View, count: int, name: str) -> str:
    """Return a sentence about what a view of an image shows."""
    if view is View.LAYERS:
        return f'The best queries in {name}, from the encoder to the last layer of the decoder.'
    is_map = view in (View.PANOPTIC, View.SEMANTIC)
    return f'{plural(count, "area" if is_map else "object")} in {name}.'


def find_views(predictor: Predictor) -> list[View]:
    """Return what a model can show, by running it once, so that the first visitor does not wait for it either."""
    ramp = np.linspace(0, 255, 128).astype(np.uint8)
    image = np.broadcast_to(ramp[None, :, None], (128, 128, 3)).copy()
    return [*available_views(predictor.predict(image)), View.LAYERS]
