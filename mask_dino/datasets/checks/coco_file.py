"""What is wrong with the content of a COCO annotation file."""

import posixpath
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from ...messages import Finding, error, first_few, is_url, plural, warning
from .annotations import ERROR, Defect, Ids, Usage, find_defects
from .box_forms import check_box_form
from .categories import check_categories, find_repeated, is_id
from .mask_fit import check_mask_fit
from .plausibility import check_areas, check_losses, check_repeated_objects

LISTS = ('images', 'annotations', 'categories')
EXAMPLES = 3
MOST_CROWDS = 0.1
"""Share of the annotations that may be crowds without a warning; it is 0.012 in COCO."""
FEW_CROWDS = 2
"""So many crowds are never too many, even in a small file."""
SHOWN = 40
"""Characters of a value that a message repeats."""


def check_coco(
    content: Any, file: str, classes: Any, usage: Usage, complete: bool = False
) -> list[Finding]:
    """Report everything that is wrong with a COCO file or does not fit the classes of the config.

    Args:
        complete: As for :func:`check_mask_fit`.
    """
    if usage.evaluation and isinstance(content, dict):
        content = dict(annotations=[]) | content  # test sets can have none
    problems = _check_kind(content, file) or check_structure(content, file)
    if problems:
        return problems
    findings = check_categories(content, file, classes)
    findings += check_annotations(content, file, usage)
    findings += check_box_form(content, file)
    if usage.with_masks:
        findings += check_mask_fit(content, file, complete)
    return findings


def _check_kind(content: Any, file: str) -> list[Finding]:
    """Report a file of panoptic annotations, whose objects are in other places."""
    annotations = content.get('annotations') if isinstance(content, dict) else None
    entries = annotations if isinstance(annotations, list) else []
    if not any(isinstance(entry, dict) and 'segments_info' in entry for entry in entries):
        return []
    message = f"{file} is in COCO's format for panoptic data (its annotations have segments_info). "
    remedy = (
        "Name the file of instances, or write type='CheckedCocoPanopticDataset' in the dataset."
    )
    return [error(message + remedy)]


def check_lists(content: Any, file: str) -> list[Finding]:
    """Report a file that has no lists of images, annotations and categories."""
    for name in LISTS:
        entries = content.get(name) if isinstance(content, dict) else None
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            problem = (
                f"{file} has no list '{name}' of objects: it is not in COCO's format for instances."
            )
            return [error(f'{problem} {_describe_content(content, name)}')]
    return []


def check_structure(content: Any, file: str) -> list[Finding]:
    """Report what makes a file unreadable: lists that are missing, images without a size, ids that are not unique."""
    if problems := check_lists(content, file):
        return problems
    findings = []
    if broken := [image for image in content['images'] if not _is_image(image)]:
        count = plural(len(broken), 'image')
        problem = f'{file}: {count} without all fields: {first_few(broken, 3)}.'
        remedy = 'Each needs id, file_name, and width and height as whole numbers of pixels.'
        findings.append(error(f'{problem} {remedy}'))
    if broken := [category for category in content['categories'] if not _is_category(category)]:
        count = f'{len(broken)} of the categories'
        problem = f'{file}: {count} without all fields: {first_few(broken, 3)}.'
        findings.append(error(f'{problem} Each needs id and name.'))
    for name in LISTS:
        if repeated := find_repeated(entry.get('id') for entry in content[name]):
            count = plural(len(repeated), 'id')
            problem = f'{file}: {count} of {name} missing or used more than once: {first_few(repeated, 3)}.'
            findings.append(error(f'{problem} Give each entry an id of its own.'))
    return findings or _check_file_names(content['images'], file)


def _describe_content(content: Any, name: str) -> str:
    """Say what a file holds that lacks a list."""
    if isinstance(content, list):
        return 'It is a list, as files of results are. Name the file with images, annotations and categories.'
    if not isinstance(content, dict):
        return f'It is {content!r:.{SHOWN}}. Export it again.'
    if name in content:
        return f"Its '{name}' is {content[name]!r:.{SHOWN}}. Write [{{...}}, {{...}}]."
    held = first_few(content, 5) or 'nothing'
    return f'It has {held}. Export it again, and choose COCO (instances or segmentation).'


def _check_file_names(images: Sequence[dict], file: str) -> list[Finding]:
    """Report names that are URLs, and names that several images share."""
    names = [image['file_name'] for image in images]
    if urls := [name for name in names if is_url(name)]:
        message = (
            f'{file}: file_name is a URL in {plural(len(urls), "image")}: {first_few(urls, 2)}. '
        )
        remedy = (
            'Download the images, and write their names relative to data_prefix of the dataset.'
        )
        return [error(f'{message}{remedy}')]
    if repeated := find_repeated(map(posixpath.normpath, names)):
        message = f'{file}: {plural(len(repeated), "file_name")} of several images: {first_few(repeated, 2)}. '
        return [
            error(f'{message}Each image would have some of the objects only: merge the entries.')
        ]
    return []


def _is_image(entry: dict) -> bool:
    sizes = (entry.get('width'), entry.get('height'))
    has_sizes = all(isinstance(size, int) and size > 0 for size in sizes)
    return has_sizes and is_id(entry.get('id')) and isinstance(entry.get('file_name'), str)


def _is_category(entry: dict) -> bool:
    return is_id(entry.get('id')) and isinstance(entry.get('name'), str)


def check_annotations(content: dict, file: str, usage: Usage) -> list[Finding]:
    """Report every kind of defect of the objects once, with its number and examples."""
    ids = Ids(content)
    annotations = content['annotations']
    counts: Counter[Defect] = Counter()
    examples: defaultdict[Defect, list[str]] = defaultdict(list)
    defects = ((a, defect) for a in annotations for defect in find_defects(a, ids, usage))
    for annotation, defect in defects:
        counts[defect] += 1
        if counts[defect] <= EXAMPLES:
            image = ids.find_image(annotation)
            examples[defect].append(_example(annotation, image, defect.field))
    findings: list[Finding] = []
    for defect, count in counts.items():
        finding = _report(defect, count, examples[defect], file, usage)
        if finding:
            findings.append(finding)
    return [
        *findings,
        *check_losses(counts, len(annotations), file, usage.evaluation),
        *check_repeated_objects(annotations, file),
        *check_areas(annotations, file),
        *_check_crowds(annotations, file),
    ]


def _check_crowds(annotations: list[dict], file: str) -> list[Finding]:
    """Report crowds that are too many to be regions of many objects; some tools write 1 for every run-length code."""
    crowds = [annotation for annotation in annotations if annotation.get('iscrowd') in (1, '1')]
    most = max(FEW_CROWDS, MOST_CROWDS * len(annotations))
    if len(crowds) < len(annotations) and len(crowds) <= most:
        return []
    if not crowds:
        return []
    listed = first_few((f'id {annotation.get("id")}' for annotation in crowds), 2)
    message = (
        f'{file}: iscrowd is 1 in {len(crowds)} of {plural(len(annotations), "annotation")} ({listed}): neither '
        'training nor evaluation counts crowds as objects. '
        'Write 0 unless one annotation covers a region of many objects.'
    )
    return [error(message) if len(crowds) == len(annotations) else warning(message)]


def _example(annotation: dict, image: dict | None, field: str) -> str:
    name = image['file_name'] if image else 'no image'
    annotation_id = annotation.get('id')
    value = repr(annotation.get(field))
    if len(value) > SHOWN:
        value = f'{value[:SHOWN]}...'
    return f'id {annotation_id} on {name}: {value}'


def _report(
    defect: Defect, count: int, examples: Sequence[str], file: str, usage: Usage
) -> Finding | None:
    fate = defect.evaluation if usage.evaluation else defect.training
    if fate is None:
        return None
    listed = '; '.join(examples) + ('; ...' if count > len(examples) else '')
    message = f'{file}: {defect.field} {defect.problem} in {plural(count, "annotation")} ({listed})'
    if fate == ERROR:
        return error(f'{message}. {defect.remedy}.')
    return warning(f'{message}: {fate}. {defect.remedy}.')
