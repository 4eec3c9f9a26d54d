"""Run one part of gpu.sh and write its rows, or write the tables of all parts."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from mmengine.logging import MMLogger

from gpu.checks import environment_rows, test_rows
from gpu.distributed import process_rows
from gpu.parity import parity_rows
from gpu.sampling import sampling_rows
from gpu.speed import compile_rows, inference_rows, step_rows
from gpu.trainings import training_rows
from gpu.waits import wait_rows
from mask_dino.benchmarks.measure import environment
from mask_dino.cli.benchmarks import find_device
from mask_dino.cli.common import UsageError
from mask_dino.cli.help import make_parser
from mask_dino.messages import format_table

PARTS: dict[str, Callable[[torch.device, bool], Iterable[dict]]] = dict(
    environment=environment_rows,
    tests=test_rows,
    sampling=sampling_rows,
    parity=parity_rows,
    step=step_rows,
    waits=wait_rows,
    inference=inference_rows,
    processes=process_rows,
    trainings=training_rows,
    compile=compile_rows,
)


def main() -> None:
    """Run what the command line asks for."""
    parser = make_parser(
        __doc__ or '', 'python -m gpu step --out gpu_results --device cuda', prog='python -m gpu'
    )
    parser.add_argument(
        'part', choices=[*PARTS, 'table'], help='what to measure, or the tables of all'
    )
    parser.add_argument('--out', type=Path, required=True, help='folder of the results')
    parser.add_argument('--device', default='cuda', help='cuda or cpu (default: cuda)')
    parser.add_argument('--small', action='store_true', help='tiny models and images')
    args = parser.parse_args()
    try:
        device = find_device(args.device)
    except UsageError as error:
        parser.error(f'{error}; --device cpu --small is a dry run')
    if args.part == 'table':
        write_tables(args.out)
        return
    MMLogger.get_current_instance().setLevel('ERROR')
    run(args.part, args.out, device, args.small)


def run(part: str, out: Path, device: torch.device, small: bool) -> None:
    """Write the rows of a part as they come; the file has its final name when all are there."""
    out.mkdir(parents=True, exist_ok=True)
    draft = out / f'{part}.draft.json'
    rows = []
    for row in PARTS[part](device, small):
        rows.append(row)
        print('  ' + ', '.join(f'{name} {write_cell(value)}' for name, value in row.items()))
        record = environment(device) | dict(small=small, rows=rows)
        draft.write_text(json.dumps(record, indent=1) + '\n')
    draft.replace(out / f'{part}.json')


def write_tables(out: Path) -> None:
    """Write the rows of all parts that are there, also of unfinished ones, as tables in Markdown."""
    texts = []
    for part in PARTS:
        files = [out / f'{part}.json', out / f'{part}.draft.json']
        file = next((file for file in files if file.exists()), None)
        if file is not None:
            texts.append(make_table(part, json.loads(file.read_text())))
    text = '\n\n'.join(texts) + '\n'
    (out / 'gpu.md').write_text(text)
    print(text)


def make_table(part: str, record: dict) -> str:
    """Return the rows of a part under a heading; columns are all names that occur."""
    names: dict[str, None] = {}
    for row in record['rows']:
        names |= dict.fromkeys(row)
    cells = [[write_cell(row.get(name, '')) for name in names] for row in record['rows']]
    versions = [f'{name} {version}' for name, version in record['versions'].items()]
    conditions = '; '.join((record['device'], *versions, f'commit {record["commit"]}'))
    return f'## {part}\n\n{conditions}\n\n{format_table(list(names), cells)}'


def write_cell(value: object) -> str:
    """Write a value for a table: numbers with four digits."""
    return f'{value:.4g}' if isinstance(value, float) else str(value)


if __name__ == '__main__':
    main()
