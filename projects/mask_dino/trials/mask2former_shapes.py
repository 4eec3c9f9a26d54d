# MMDetection's Mask2Former on instances of Shapes, to be compared with maskdino_tiny_shapes.py.
_base_ = ['./mask2former_tiny.py', '../../../configs/_base_/datasets/shapes_instance.py']
