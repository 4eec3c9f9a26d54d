# Queries are the same for every image, not selected from the encoder.
_base_ = './full.py'
model = dict(panoptic_head=dict(queries=dict(_delete_=True, type='LearnedQueries', num_queries=60)))
