"""A page to try a model in a browser: ``python tools/demo/app.py CONFIG CHECKPOINT`` or ``model.onnx``.

Only ``page`` imports Gradio, and only ``trained`` imports torch.
"""
