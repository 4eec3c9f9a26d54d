"""The exported network: padded images in, arrays out."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

from .metadata import KEY, ModelFileError, ModelInfo, read_info
from .parsing import check_count

if TYPE_CHECKING:
    import onnxruntime

Outputs = dict[str, np.ndarray]

MAX_THREADS = 1024


@runtime_checkable
class Network(Protocol):
    """What a :class:`~mask_dino.runtime.Segmenter` runs; each format of files has a class of its own."""

    info: ModelInfo

    def run(self, images: np.ndarray) -> Outputs:
        """Return the outputs, by name, for a batch (B, 3, H, W), or (B, H, W, 3) if ``info.input`` is embedded."""
        ...


class OnnxNetwork:
    """A network in an ONNX file, run by onnxruntime on the CPU.

    Args:
        path: File that ``tools/deployment/export.py`` wrote.
        threads: Threads of onnxruntime, 1 to 1024; by default, one for each core.

    Raises:
        ModelFileError: If there is no such file, if it is damaged or another program's, or if onnxruntime is missing.
        TypeError: If ``threads`` is no whole number.
        ValueError: If ``threads`` is too small or too large.
    """

    def __init__(self, path: str | os.PathLike[str], threads: int | None = None) -> None:
        check_threads(threads)
        self.path = path
        self.session = _open(Path(path).expanduser(), threads)
        metadata = self.session.get_modelmeta().custom_metadata_map
        self.info = read_info(metadata.get(KEY), path)
        self._check_names()
        self._check_shapes()

    def _check_names(self) -> None:
        """Compare the inputs and outputs of the graph with what the metadata say of them."""
        inputs = {entry.name for entry in self.session.get_inputs()}
        outputs = {entry.name for entry in self.session.get_outputs()}
        missing = {output.name for output in self.info.outputs} - outputs
        if missing or inputs != {self.info.input.name}:
            raise ModelFileError(
                f'{self.path} has the inputs {sorted(inputs)} and the outputs {sorted(outputs)}, but its metadata name '
                f'others ({self.info.input.name}; {", ".join(sorted(missing))}): export it again'
            )

    def _check_shapes(self) -> None:
        """Compare the input and the number of classes with what the metadata say of them."""
        (images,) = self.session.get_inputs()
        probabilities = [e for e in self.session.get_outputs() if e.name == 'probabilities']
        classes = [entry.shape[-1] for entry in probabilities]
        expected = 'tensor(uint8)' if self.info.input.embedded else 'tensor(float)'
        static = self.info.input.static
        if images.type != expected or (static and [static[0], 3, *static[1:]] != images.shape):
            raise ModelFileError(
                f'{self.path} takes {images.type} of the shape {images.shape}, but its metadata say {expected} and '
                f'the size {static or "of any image"}: export it again'
            )
        if any(count != len(self.info.classes) for count in classes):
            raise ModelFileError(
                f'{self.path} has probabilities of {classes[0]} classes, but its metadata name '
                f'{len(self.info.classes)}: export it again'
            )

    def run(self, images: np.ndarray) -> Outputs:
        """Return the outputs, by name, for a batch (B, 3, H, W), or (B, H, W, 3) if ``info.input`` is embedded.

        Raises:
            ModelFileError: If onnxruntime cannot compute them.
        """
        names = [output.name for output in self.info.outputs]
        try:
            values = self.session.run(names, {self.info.input.name: images})
        except Exception as error:  # onnxruntime has many kinds, without a common parent
            raise ModelFileError(
                f'{self.path} cannot be run on images of the shape {images.shape}: it was changed after the export, '
                f'or the memory is too small. The error was {type(error).__name__}: {error}'
            ) from error
        return dict(zip(names, values, strict=True))


def check_threads(threads: int | None) -> None:
    """Check a number of threads, or None. The errors are the same as for :class:`OnnxNetwork`."""
    if threads is not None:
        check_count('threads', threads, MAX_THREADS)


def _open(path: Path, threads: int | None) -> 'onnxruntime.InferenceSession':
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        raise ModelFileError(
            'onnxruntime, which runs the model, is missing: pip install onnxruntime'
        ) from error
    if not path.is_file():
        problem = 'is a folder, not a file' if path.is_dir() else 'does not exist'
        raise ModelFileError(f'model file {path} {problem}; relative paths start at {Path.cwd()}')
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # errors are raised, too
    # A plan of the memory is made for one size of images, and takes half as much again at its peak.
    options.enable_mem_pattern = False
    if threads is not None:
        options.intra_op_num_threads = int(threads)
    try:
        return onnxruntime.InferenceSession(path, options, providers=['CPUExecutionProvider'])
    except Exception as error:  # onnxruntime has many kinds, without a common parent
        raise ModelFileError(
            f'model file {path} ({path.stat().st_size} bytes) cannot be read: it is damaged, cut short or not an ONNX '
            f'file; copy it again, or export it again. The error was {type(error).__name__}: {error}'
        ) from error
