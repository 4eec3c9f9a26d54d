"""Count how often a reader jumps between files along three journeys: python tools/dev/count_hops.py.

The journeys are run on small inputs, and the calls between functions of the package are recorded. A hop is the first
call of a function by a function in another file. Later calls are no hops: the reader knows the function by then.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FrameType, SimpleNamespace
from typing import NamedTuple

from mask_dino.cli.help import make_parser

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / 'mask_dino'
# A reader who follows a checkpoint or an annotation does not look into the network, nor from a polygon at classes.
NETWORK = ('models', 'ops', 'det', 'structures.py', 'boxes.py')
CLASSES = 'datasets/checks/categories.py'
sys.path[:0] = [str(ROOT), str(ROOT / 'tests')]


class Recorder:
    """Record the first call of every function of the package.

    Args:
        skipped: Folders and files of the package whose functions are not followed.
        end: The file and the function with which the journey ends, as :func:`name` writes them.
    """

    def __init__(self, skipped: tuple[str, ...], end: str) -> None:
        self.skipped = [PACKAGE / name for name in skipped]
        self.end = end
        self.has_ended = False
        self.files: set[str] = set()
        self.known: set[CodeType] = set()
        self.hops: list[tuple[CodeType, CodeType]] = []  # who calls, who is called

    def __call__(self, frame: FrameType, event: str, argument: object) -> None:
        """Take one event of ``sys.setprofile``."""
        called = frame.f_code
        if self.has_ended or event != 'call' or called in self.known or not self.follows(called):
            return
        self.has_ended = name(called) == self.end
        self.known.add(called)
        self.files.add(called.co_filename)
        caller = frame.f_back
        while caller and not self.follows(caller.f_code):
            caller = caller.f_back
        if caller and caller.f_code.co_filename != called.co_filename:
            self.hops.append((caller.f_code, called))

    def follows(self, code: CodeType) -> bool:
        """Whether code is a function or method of the package, and neither a lambda nor a comprehension."""
        file = Path(code.co_filename)
        inside = file.is_relative_to(PACKAGE) and not any(
            file.is_relative_to(path) for path in self.skipped
        )
        return inside and not code.co_name.startswith('<')

    @contextlib.contextmanager
    def recording(self) -> Iterator[None]:
        """Record the calls inside the block."""
        sys.setprofile(self)
        try:
            yield
        finally:
            sys.setprofile(None)


def run_training_step(recorder: Recorder, folder: Path) -> None:
    """Compute the losses of a data sample and their gradients."""
    import torch
    from helpers.tiny import SIZE, build, random_targets
    from mmdet.structures import DetDataSample
    from mmdet.structures.mask import BitmapMasks
    from mmengine.structures import InstanceData

    model = build()
    labels, _, masks = random_targets(3, torch.Generator().manual_seed(0))[:3]
    boxes = torch.tensor([[0.0, 0.0, 32.0, 32.0]]).repeat(3, 1)
    bitmaps = BitmapMasks(masks.numpy().astype('uint8'), *SIZE)
    sample = DetDataSample(
        metainfo=dict(img_shape=SIZE, batch_input_shape=SIZE, ori_shape=SIZE, pad_shape=SIZE)
    )
    sample.gt_instances = InstanceData(labels=labels, bboxes=boxes, masks=bitmaps)
    with recorder.recording():
        losses = model.loss(torch.randn(1, 3, *SIZE), [sample])
        total, _ = model.parse_losses(losses)
        total.backward()


def run_conversion(recorder: Recorder, folder: Path) -> None:
    """Convert a checkpoint with the tensors of a released file, and verify the result."""
    import torch
    from helpers.originals import published_shapes

    torch.save({'model': published_shapes('r50_instance')}, folder / 'original.pth')
    tool = ROOT / 'tools' / 'model_converters' / 'maskdino_to_mmdet.py'
    spec = importlib.util.spec_from_file_location(tool.stem, tool)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.argv = [str(tool), str(folder / 'original.pth'), str(folder / 'converted.pth'), '--verify']
    with recorder.recording():
        module.main()


def run_broken_polygon(recorder: Recorder, folder: Path) -> None:
    """Load annotations with a broken polygon, and check them as a training does."""
    import torch
    from helpers.coco_folder import build_dataset, coco_content, write_coco
    from mmengine.registry import init_default_scope

    from mask_dino.hooks.check_data import CheckDataHook

    init_default_scope('mmdet')
    content = coco_content()
    content['annotations'][0]['segmentation'] = [[1, 2, 3]]
    write_coco(folder, content)
    runner = SimpleNamespace(cfg={}, model=torch.nn.Identity(), logger=logging.getLogger('silent'))
    with recorder.recording():
        dataset = build_dataset(folder)
        CheckDataHook(stop=False).check(runner, dict(train_dataloader=dataset))


class Journey(NamedTuple):
    """Something that a reader follows from beginning to end."""

    title: str
    run: Callable[[Recorder, Path], None]
    skipped: tuple[str, ...] = NETWORK
    end: str = ''


JOURNEYS = (
    Journey('a training step, from data sample to losses', run_training_step, skipped=()),
    Journey('a released checkpoint is converted', run_conversion),
    Journey(
        'a broken polygon, from JSON to message',
        run_broken_polygon,
        skipped=(*NETWORK, CLASSES),
        end='messages.py:warning',
    ),
)


def name(code: CodeType) -> str:
    """Return the file and the name of a function."""
    function = code.co_qualname if sys.version_info >= (3, 11) else code.co_name
    return f'{Path(code.co_filename).relative_to(PACKAGE)}:{function}'


def main() -> None:
    """Run the journeys and print what was counted."""
    parser = make_parser(
        'Count how often a reader jumps between files along three journeys.',
        'python tools/dev/count_hops.py --list',
        exit_codes='0: done; 2: wrong arguments',
    )
    parser.add_argument(
        '--list', action='store_true', help='also print every hop: caller -> called'
    )
    args = parser.parse_args()
    for journey in JOURNEYS:
        recorder = Recorder(journey.skipped, journey.end)
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
            journey.run(recorder, Path(folder))
        print(f'{journey.title:45}{len(recorder.hops):3} hops, {len(recorder.files):2} files')
        for caller, called in recorder.hops if args.list else ():
            print(f'    {name(caller)} -> {name(called)}')


if __name__ == '__main__':
    main()
