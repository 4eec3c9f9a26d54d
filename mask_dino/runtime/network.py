"""The exported network: padded images in, arrays out."""

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from .metadata import KEY, ModelFileError, ModelInfo, read_info

if TYPE_CHECKING:
    import onnxruntime

Outputs = dict[str, np.ndarray]


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
        threads: Threads of onnxruntime; by default, one for each core.

    Raises:
        ModelFileError: If there is no such file, if it is damaged or another program's, or if onnxruntime is missing.
    """

    def __init__(self, path: str | Path, threads: int | None = None) -> None:
        self.session = _open(Path(path).expanduser(), threads)
        metadata = self.session.get_modelmeta().custom_metadata_map
        self.info = read_info(metadata.get(KEY), path)
        self._check_names(path)

    def _check_names(self, path: str | Path) -> None:
        """Compare the inputs and outputs of the graph with what the metadata say of them."""
        inputs = {entry.name for entry in self.session.get_inputs()}
        outputs = {entry.name for entry in self.session.get_outputs()}
        missing = {output.name for output in self.info.outputs} - outputs
        if missing or inputs != {self.info.input.name}:
            raise ModelFileError(
                f'{path} has the inputs {sorted(inputs)} and the outputs {sorted(outputs)}, but its metadata name '
                f'others ({self.info.input.name}; {", ".join(sorted(missing))}): export it again'
            )

    def run(self, images: np.ndarray) -> Outputs:
        """Return the outputs, by name, for a batch (B, 3, H, W), or (B, H, W, 3) if ``info.input`` is embedded."""
        names = [output.name for output in self.info.outputs]
        values = self.session.run(names, {self.info.input.name: images})
        return dict(zip(names, values, strict=True))


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
    options.log_severity_level = 3  # errors only
    # A plan of the memory is made for one size of images, and takes half as much again at its peak.
    options.enable_mem_pattern = False
    if threads:
        options.intra_op_num_threads = threads
    try:
        return onnxruntime.InferenceSession(path, options, providers=['CPUExecutionProvider'])
    except Exception as error:  # onnxruntime has many kinds, without a common parent
        raise ModelFileError(
            f'model file {path} ({path.stat().st_size} bytes) cannot be read: it is damaged, cut short or not an ONNX '
            f'file; copy it again, or export it again. The error was {type(error).__name__}: {error}'
        ) from error
