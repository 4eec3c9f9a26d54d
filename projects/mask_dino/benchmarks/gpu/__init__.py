"""The parts of ``gpu.sh``: checks and measurements of Mask DINO on a GPU."""
