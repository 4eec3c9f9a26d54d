"""Measure time and memory of steps and their parts, for our models and for other models of OpenMMLab."""
