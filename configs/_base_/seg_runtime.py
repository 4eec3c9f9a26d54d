# The same runtime under MMSegmentation.
_base_ = './default_runtime.py'

default_scope = 'mmseg'
default_hooks = dict(visualization=dict(type='SegVisualizationHook'))
visualizer = dict(type='SemanticVisualizer')
tta_model = dict(type='ScoreTTAModel')
