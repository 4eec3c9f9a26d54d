# There are no denoising queries.
_base_ = './full.py'
model = dict(
    panoptic_head=dict(
        denoising=dict(type='NoDenoising'), criterion=dict(type='MatchingOnlyCriterion')
    )
)
