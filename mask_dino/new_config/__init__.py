"""Writes the config of a data set of one's own: tools/misc/new_config.py."""
