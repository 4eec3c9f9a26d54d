"""Time and memory of steps and their parts, ours beside other models of OpenMMLab."""
