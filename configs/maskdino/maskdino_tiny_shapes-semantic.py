# Classes of Shapes, learned from scratch on a CPU in minutes, under MMSegmentation.
_base_ = [
    '../_base_/models/maskdino_tiny_semantic.py',
    '../_base_/datasets/shapes_semantic.py',
    '../_base_/schedules/shapes.py',
    '../_base_/shapes_runtime.py',
]

default_scope = 'mmseg'
default_hooks = dict(visualization=dict(type='SegVisualizationHook'))
visualizer = dict(type='SemanticVisualizer')
tta_model = dict(type='ScoreTTAModel')
