"""Checks of data before the first step.

The modules look at single files and settings, and data sets use them, too. ``loaders`` brings all checks together.
"""
