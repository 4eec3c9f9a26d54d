"""Make or repair the project's virtual environment: what `make env` runs, with the standard library alone.

The environment is looked at, the first thing that is missing or wrong is put right, and it is looked at again until
nothing is. So a first run, a run after an interruption and a change of torch take one path, and a run with nothing to
do takes seconds.
"""
