import pytest
import torch
from helpers.tiny import build
from mmdet.registry import MODELS
from mmengine.optim import build_optim_wrapper
from torch import nn

SETTINGS = dict(
    constructor='MaskDINOOptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=1e-4, weight_decay=0.05),
    clip_grad=dict(max_norm=0.01, norm_type=2),
)


def groups(model: nn.Module, **custom_keys: dict) -> dict[str, dict]:
    wrapper = build_optim_wrapper(
        model, SETTINGS | dict(paramwise_cfg=dict(custom_keys=custom_keys))
    )
    names = {id(p): name for name, p in model.named_parameters()}
    return {
        names[id(p)]: group for group in wrapper.optimizer.param_groups for p in group['params']
    }


def test_norms_and_embeddings_do_not_decay_and_the_backbone_learns_slower():
    model = build(queries=dict(_delete_=True, type='LearnedQueries', num_queries=4))
    of = groups(model, backbone=dict(lr_mult=0.1))
    assert set(of) == {name for name, p in model.named_parameters() if p.requires_grad}
    for name, group in of.items():
        assert group['lr'] == (1e-5 if name.startswith('backbone') else 1e-4), name
        owner = model.get_submodule(name.rpartition('.')[0])
        without = isinstance(owner, nn.GroupNorm | nn.LayerNorm | nn.Embedding)
        assert group['weight_decay'] == (0 if without else 0.05), name
    assert (
        of['panoptic_head.pixel_decoder.level_embed']['weight_decay'] == 0.05
    )  # as in the original


def test_swin_norms_and_position_tables_do_not_decay_at_the_backbone_rate():
    swin = MODELS.build(
        dict(type='SwinTransformer', embed_dims=8, depths=[2, 2, 2, 2], num_heads=[1, 1, 1, 1])
    )
    of = groups(nn.ModuleDict(dict(backbone=swin)), backbone=dict(lr_mult=0.1))
    free = {name for name, group in of.items() if group['weight_decay'] == 0}
    assert free == {name for name in of if 'norm' in name or 'relative_position_bias_table' in name}
    assert {group['lr'] for group in of.values()} == {1e-5}


def test_a_key_that_sets_its_decay_stays_in_force():
    of = groups(build(), prediction=dict(decay_mult=0.5))
    assert of['panoptic_head.prediction.norm.weight']['weight_decay'] == 0.025


def test_parameters_of_equal_settings_form_one_group():
    settings = SETTINGS | dict(paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.1))))
    wrapper = build_optim_wrapper(build(), settings)
    rates_and_decays = [(x['lr'], x['weight_decay']) for x in wrapper.optimizer.param_groups]
    assert len(rates_and_decays) <= 6
    assert {(1e-4, 0.05), (1e-4, 0.0), (1e-5, 0.05)} <= set(rates_and_decays)


@pytest.mark.parametrize(
    ('optimizer', 'version', 'fused'),
    [
        (dict(type='AdamW', lr=1e-4), '2.4.0', True),
        (dict(type='Adam', lr=1e-4), '2.13.0+cpu', True),
        (dict(type='AdamW', lr=1e-4), '2.3.1', None),
        (dict(type='AdamW', lr=1e-4, fused=False), '2.13.0', False),
        (dict(type='AdamW', lr=1e-4, foreach=True), '2.13.0', None),
        (dict(type='SGD', lr=1e-4), '2.13.0', None),
    ],
)
def test_adam_is_fused_where_torch_can_and_the_config_says_nothing(
    optimizer, version, fused, monkeypatch
):
    monkeypatch.setattr(torch, '__version__', version)
    wrapper = build_optim_wrapper(nn.Linear(2, 3), SETTINGS | dict(optimizer=optimizer))
    assert wrapper.optimizer.defaults['fused'] is fused


def test_a_fused_step_changes_the_weights_as_a_step_does():
    weights = []
    for fused in (None, False):
        torch.manual_seed(0)
        model = nn.Linear(20, 30)
        optimizer = dict(SETTINGS['optimizer']) | ({} if fused is None else dict(fused=fused))
        wrapper = build_optim_wrapper(model, SETTINGS | dict(optimizer=optimizer))
        for _ in range(5):
            wrapper.update_params(model(torch.ones(1, 20)).square().sum())
        weights.append(model.weight)
    torch.testing.assert_close(*weights, rtol=0, atol=1e-6)
