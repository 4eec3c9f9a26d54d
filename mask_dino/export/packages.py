"""The packages that an export needs besides torch, and the error of everything that cannot be exported."""

from importlib.util import find_spec


class ExportError(ValueError):
    """A model cannot be exported: the message names the option, the config or the file, and the remedy."""


PACKAGES_OF_FORMATS = dict(
    onnx=('onnx', 'onnxscript', 'onnxruntime'),
    openvino=('onnx', 'onnxscript', 'onnxruntime', 'openvino'),
    torch=('onnxruntime',),
)
"""What each format needs; the runtime, with which every file is checked, needs onnxruntime."""


def check_packages(file_format: str) -> None:
    """Find missing packages before anything is built.

    Raises:
        ExportError: If one is missing.
    """
    missing = [name for name in PACKAGES_OF_FORMATS[file_format] if find_spec(name) is None]
    if missing:
        extra = "pip install 'mask_dino[export]'" + (' openvino' if 'openvino' in missing else '')
        raise ExportError(
            f'--format {file_format} needs packages that are not installed: {", ".join(missing)}; {extra}'
        )
