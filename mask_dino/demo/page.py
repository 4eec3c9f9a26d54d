"""The page itself, made with Gradio."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr

from .findings import HEADERS, LOWEST_SCORE, Findings, View
from .predictors import Predictor
from .session import Session, Shown
from .uploads import MAX_UPLOAD_BYTES

WAITING = 20
"""Number of requests that can wait for the model; others are refused with a message."""

KEPT_SECONDS = 3600
"""How long the images and the results of a visitor are kept."""

NAMED_CLASSES = 20
"""Classes that the heading names."""

PROGRESS = gr.Progress()
FONTS = ('system-ui', 'sans-serif')  # of the visitor's machine: nothing is fetched from the network
Changes = tuple[Any, ...]


class Inputs(NamedTuple):
    """The components that a visitor uses."""

    upload: gr.File
    gallery: gr.Gallery
    view: gr.Radio
    threshold: gr.Slider


class Handlers:
    """Connects the components of the page with a session."""

    def __init__(self, session: Session) -> None:
        self.session = session

    def analyse(
        self, path: str | None, view: str, threshold: float, progress: gr.Progress = PROGRESS
    ) -> Changes:
        """Run the model on an uploaded file."""
        findings, shown = self.session.analyse(path, View(view), threshold, progress)
        return findings, *to_changes(shown)

    def analyse_example(
        self, view: str, threshold: float, event: gr.SelectData, progress: gr.Progress = PROGRESS
    ) -> Changes:
        """Run the model on the example that was clicked."""
        examples = self.session.examples
        is_valid = isinstance(event.index, int) and 0 <= event.index < len(examples)
        path = str(examples[event.index]) if is_valid else None
        return self.analyse(path, view, threshold, progress)

    def show(self, findings: Findings | None, view: str, threshold: float) -> Changes:
        """Draw again what was found."""
        return to_changes(self.session.show(findings, View(view), threshold))


def to_changes(shown: Shown) -> Changes:
    """Return new values of the components that :func:`make_outputs` makes."""
    picture = None if shown.picture is None else str(shown.picture)
    results = None if shown.results is None else str(shown.results)
    return (
        shown.message,
        picture,
        gr.update(value=picture, interactive=picture is not None),
        gr.update(value=results, interactive=results is not None),
        [list(row) for row in shown.table],
    )


def build_page(session: Session, views: Sequence[View]) -> gr.Blocks:
    """Return the page for a model."""
    cleaning = (KEPT_SECONDS // 4, KEPT_SECONDS)
    with gr.Blocks(title='Mask DINO', analytics_enabled=False, delete_cache=cleaning) as page:
        findings = gr.State(None, time_to_live=KEPT_SECONDS)
        description = describe_model(session.predictor)
        gr.Markdown(f'# Mask DINO\n{description}')
        with gr.Row():
            inputs = make_inputs(session.examples, views)
            outputs = make_outputs()
        connect(Handlers(session), inputs, findings, outputs)
    return page


def make_inputs(examples: Sequence[Path], views: Sequence[View]) -> Inputs:
    """Return a column of what a visitor chooses."""
    choices = [item.value for item in views]
    with gr.Column(scale=1, min_width=320):
        upload = gr.File(label='Image: drop a file, or click', height=160, elem_id='upload')
        view = gr.Radio(choices, value=choices[0], label='Show', elem_id='view')
        threshold = gr.Slider(
            LOWEST_SCORE, 1, 0.3, step=0.05, label='Lowest score', elem_id='threshold'
        )
        gr.Markdown('Or click an example:', visible=bool(examples))
        gallery = gr.Gallery(
            [str(path) for path in examples],
            label='Examples',
            show_label=False,
            columns=2,
            height=320,
            allow_preview=False,
            interactive=False,
            buttons=[],
            visible=bool(examples),
            elem_id='examples',
        )
    return Inputs(upload, gallery, view, threshold)


def make_outputs() -> list[gr.Component]:
    """Return a column of what the page shows, in the order of :func:`to_changes`."""
    with gr.Column(scale=3):
        message = gr.Markdown('Choose an image.', elem_id='message')
        picture = gr.Image(
            label='Picture',
            show_label=False,
            format='png',
            interactive=False,
            buttons=['fullscreen'],
            elem_id='picture',
            alt_text='The image with what was found in it',
        )
        with gr.Row():
            downloads = [
                gr.DownloadButton(
                    'Download the picture', interactive=False, elem_id='save-picture'
                ),
                gr.DownloadButton('Download COCO JSON', interactive=False, elem_id='save-results'),
            ]
        table = gr.Dataframe(
            headers=list(HEADERS), label='What was found', interactive=False, elem_id='table'
        )
    return [message, picture, *downloads, table]


def connect(
    handlers: Handlers, inputs: Inputs, findings: gr.State, outputs: Sequence[gr.Component]
) -> None:
    """Connect each choice with its effect. Images wait in one queue; drawing again does not wait for the model."""
    settings = [inputs.view, inputs.threshold]
    everything = [findings, *outputs]
    queue = dict(concurrency_id='model', concurrency_limit=1, api_visibility='private')
    inputs.upload.change(handlers.analyse, [inputs.upload, *settings], everything, **queue)
    inputs.gallery.select(handlers.analyse_example, settings, everything, **queue)
    gr.on(
        [inputs.view.change, inputs.threshold.change],
        handlers.show,
        [findings, *settings],
        outputs,
        trigger_mode='always_last',
        api_visibility='private',
    )


def describe_model(predictor: Predictor) -> str:
    """Return a sentence about what a model finds."""
    first = ', '.join(predictor.classes[:NAMED_CLASSES])
    others = len(predictor.classes) - NAMED_CLASSES
    rest = f' and {others} more' if others > 0 else ''
    return f'`{predictor.name}` finds {first}{rest}.'


def start(page: gr.Blocks, host: str, port: int, examples: Path) -> str:
    """Start to serve the page, and return its address. Of the machine's files, it serves only the examples.

    ``page.block_thread()`` then waits until it is stopped, and ``page.close()`` stops it.

    Raises:
        OSError: If the port is in use.
    """
    gr.set_static_paths([examples])
    page.queue(max_size=WAITING)
    _, address, _ = page.launch(
        server_name=host,
        server_port=port,
        prevent_thread_lock=True,
        share=False,
        allowed_paths=[],
        max_file_size=MAX_UPLOAD_BYTES,
        state_session_capacity=WAITING,
        show_error=True,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        enable_monitoring=False,
        footer_links=[],
        theme=gr.themes.Default(font=FONTS, font_mono=('monospace',)),
        quiet=True,
    )
    return str(address)
