"""Time and peak memory of a model and of its exported files, side by side: each in a process of its own, in turns.

Run it on a machine that does nothing else. It measures only the network, without reading and post-processing.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path
from statistics import median

import numpy as np

from mask_dino.cli.help import make_parser, positive
from mask_dino.messages import missing_file

REPEATS = 3
"""Images of a process, after one that warms it up; the fastest counts."""


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser(
        __doc__ or '',
        'python projects/mask_dino/benchmarks/deployment.py CONFIG CHECKPOINT model.onnx model.xml --sizes 512x512',
    )
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='its weights')
    parser.add_argument('files', nargs='+', help='exported files: .onnx, .xml or .pt2')
    parser.add_argument(
        '--sizes',
        nargs='+',
        type=size,
        default=['512x512', '800x1333'],
        help='HEIGHTxWIDTH, before padding (default: 512x512 800x1333)',
    )
    parser.add_argument(
        '--threads', type=positive, default=1, help='threads of each process (default: 1)'
    )
    parser.add_argument('--bf16', action='store_true', help='also run .xml files in bfloat16')
    parser.add_argument(
        '--rounds', type=positive, default=3, help='processes of each candidate (default: 3)'
    )
    parser.add_argument(
        '--out', type=Path, help='JSON file for every single measurement (default: none)'
    )
    parser.add_argument('--one', help=argparse.SUPPRESS)  # what a process of its own measures
    args = parser.parse_args()
    if problem := find_problem(args):
        parser.error(problem)
    return args


def size(text: str) -> str:
    """Refuse what is no height and width in pixels."""
    sides = text.split('x')
    if len(sides) != 2 or not all(side.isdecimal() and int(side) for side in sides):
        raise argparse.ArgumentTypeError(f'{text}: write HEIGHTxWIDTH, as 800x1333')
    return text


def find_problem(args: argparse.Namespace) -> str | None:
    """Return what is wrong with the files, if anything is."""
    named = [('config', args.config), ('checkpoint', args.checkpoint)]
    named += [('exported file', file) for file in args.files]
    for kind, path in named:
        if not Path(path).is_file():
            return missing_file(kind, path)
    for file in args.files:
        if Path(file).suffix not in ('.onnx', '.xml', '.pt2'):
            return f'{file}: give a file that ends in .onnx, .xml or .pt2'
    return None


def main() -> None:
    """Measure everything in turns, or one candidate where a parent process asks for it."""
    args = parse_args()
    if args.one:
        print(json.dumps(measure(args, args.one, args.sizes[0])))
        return
    records = [record for size in args.sizes for record in compare(args, size)]
    if args.out:
        import torch

        from mask_dino.benchmarks.measure import save

        save(args.out, torch.device('cpu'), records)


def compare(args: argparse.Namespace, size: str) -> list[dict]:
    """Measure all candidates at one size in turns, and print a line on each."""
    candidates = ['eager', *args.files]
    if args.bf16:
        candidates += [f'{file}:bf16' for file in args.files if file.endswith('.xml')]
    rows: dict[str, list[dict]] = {name: [] for name in candidates}
    for _, name in product(range(args.rounds), candidates):
        rows[name].append(run_alone(args, name, size))
    base = median(row['processor_seconds'] for row in rows['eager'])
    for name in candidates:
        seconds = median(row['processor_seconds'] for row in rows[name])
        megabytes = median(row['megabytes'] for row in rows[name])
        print(
            f'{size} {name}: {seconds:.2f} s of the processor, {seconds / base:.2f} x eager, '
            f'peak {megabytes:.0f} MB',
            flush=True,
        )
    return [
        dict(size=size, model=Path(name).name, threads=args.threads, processes=rows[name])
        for name in candidates
    ]


def run_alone(args: argparse.Namespace, name: str, size: str) -> dict:
    """Measure one candidate in a process of its own."""
    command = [
        sys.executable,
        __file__,
        args.config,
        args.checkpoint,
        *args.files,
        '--one',
        name,
        '--sizes',
        size,
    ]
    command += ['--threads', str(args.threads)]
    output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    result: dict = json.loads(output.splitlines()[-1])
    return result


def measure(args: argparse.Namespace, name: str, size: str) -> dict:
    """Return the seconds of an image and the peak memory of this process."""
    height, width = (-(-int(side) // 32) * 32 for side in size.split('x'))
    images = np.random.default_rng(0).standard_normal((1, 3, height, width), dtype=np.float32)
    run = open_candidate(args, name)
    run(images)
    times, processor_times = [], []
    for _ in range(REPEATS):
        start, processor_start = time.perf_counter(), time.process_time()
        run(images)
        times.append(time.perf_counter() - start)
        processor_times.append(time.process_time() - processor_start)
    return dict(
        seconds=min(times),
        processor_seconds=min(processor_times),
        megabytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
    )


def open_candidate(args: argparse.Namespace, name: str) -> Callable[[np.ndarray], object]:
    """Return what computes the outputs of a batch."""
    file, _, precision = name.partition(':')
    if file.endswith('.onnx'):
        from mask_dino.runtime import OnnxNetwork  # without torch, whose memory would be counted

        return OnnxNetwork(file, args.threads).run
    import torch

    torch.set_num_threads(args.threads)
    if file != 'eager':
        from mask_dino.export.formats import OpenVINONetwork, TorchNetwork

        if file.endswith('.xml'):
            return OpenVINONetwork(file, args.threads, precision or 'f32').run
        return TorchNetwork(Path(file), args.threads).run
    from mask_dino.cli.benchmarks import read_config
    from mask_dino.export.exporter import Options, build_network
    from mask_dino.export.model import load_model

    network = build_network(load_model(read_config(args.config, {}), args.checkpoint), Options())

    @torch.no_grad()
    def run(images: np.ndarray) -> object:
        return network(torch.from_numpy(images))

    return run


if __name__ == '__main__':
    main()
