"Bundled recordings and golden values, loaded once"
from pathlib import Path
import numpy as np
import pytest
import torch
from tsai.learner import ts_learner
from tsai_relcon.datasets import motionsense

def load_golden(name):
    "The arrays of tests/golden/<name>.npz; `weight/...` entries as a state dict under 'weights'"
    with np.load(Path(__file__).parent/'golden'/f'{name}.npz', allow_pickle=False) as f: arrays = dict(f)
    weights = {k.removeprefix('weight/'): torch.as_tensor(arrays.pop(k)) for k in list(arrays) if k.startswith('weight/')}
    return {**arrays, 'weights': weights}

def to_ncl(a): return torch.as_tensor(a).transpose(1, 2).contiguous()

def relative_error(got, wanted):
    "Largest deviation, relative to the largest wanted value"
    got, wanted = (torch.as_tensor(o).detach().double() for o in (got, wanted))
    assert got.shape==wanted.shape
    return ((got-wanted).abs().max() / wanted.abs().max()).item()

def carried_over(learn, folder, dls, arch, config, **kwargs):
    "A learner of tsai with the backbone of a pretrained one, which is what its weights are"
    learn.path = folder
    learn.save('pretrained', with_opt=False)
    clf = ts_learner(dls, arch, arch_config=config, pretrained=True, weights_path=folder/'models/pretrained.pth', **kwargs)
    for k,v in clf.model.backbone.state_dict().items(): torch.testing.assert_close(v.cpu(), learn.model.backbone.state_dict()[k].cpu())
    return clf

@pytest.fixture(scope='session')
def segs(): return motionsense()

@pytest.fixture(scope='session')
def few(segs): return segs[::8]

@pytest.fixture
def benchmarks(monkeypatch):
    "Their scripts import one another by name"
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1]/'benchmarks'))
