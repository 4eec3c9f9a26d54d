"""Data sets and the generator of a synthetic one."""
