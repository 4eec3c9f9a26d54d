"""Shapes: a small synthetic world in COCO format for instance, panoptic and semantic segmentation."""
