# Nothing is published: ResNet-101 under the model and the training of ResNet-50.
_base_ = './maskdino_r50_8xb2-lsj-50e_coco.py'

model = dict(backbone=dict(depth=101, init_cfg=dict(checkpoint='torchvision://resnet101')))
