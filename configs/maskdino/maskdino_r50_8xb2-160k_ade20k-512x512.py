# Published: mIoU 47.7 (mean of three runs), 48.7 (best) on ADE20K val.
_base_ = [
    '../_base_/models/maskdino_r50_semantic.py',
    '../_base_/datasets/ade20k_semantic.py',
    '../_base_/schedules/ade20k_160k.py',
    '../_base_/seg_runtime.py',
]
