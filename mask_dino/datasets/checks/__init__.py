"""Checks of data before the first step.

The modules check single files and settings; data sets also use them. ``loaders`` runs all checks.
"""
