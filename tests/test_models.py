"The encoder as a citizen of tsai"
import numpy as np
import pytest
import torch
from torch import nn
from fastai.metrics import accuracy
from tsai.data.core import TSClassification, TSRegression, get_ts_dls
from tsai.learner import ts_learner
from tsai.tslearner import TSClassifier
import tsai.inference  # gives learners `get_X_preds`
from tsai_relcon.splits import subject_splits
from tsai_relcon.models import RelConResNet34, SameConv1d

narrow = dict(nf=4)

@pytest.fixture(scope='module')
def labelled(few):
    keep = few[np.isin(few.labels, ['wlk','sit'])]
    splits = subject_splits(keep.subject)
    return keep, splits, get_ts_dls(keep.X, keep.labels, splits=splits, tfms=[None, TSClassification()], bs=32, num_workers=0)

@pytest.mark.parametrize('L', [11, 64, 100, 256, 999])
def test_any_length(L):
    m = RelConResNet34(nf=4).eval()
    assert m(torch.randn(2,3,L)).shape==(2,16)

def test_256_samples_become_125_then_62_steps():
    m = RelConResNet34()
    x = m.backbone.stem[:3](torch.randn(1,3,256))
    assert x.shape==(1,64,125) and m.backbone.stem.pool(x).shape==(1,64,62)

@pytest.mark.parametrize('k', [1, 2, 3, 4, 7, 8])
def test_same_padding_is_torchs(k):
    ours, theirs = SameConv1d(2, 3, k), nn.Conv1d(2, 3, k, padding='same')
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(1,2,20)
    torch.testing.assert_close(ours(x), theirs(x))

def test_heads():
    x = torch.randn(2,3,64)
    assert RelConResNet34(3, 5, nf=4)(x).shape==(2,5)
    assert RelConResNet34(3, 5, nf=4, custom_head=nn.Flatten())(x).ndim==2
    made = RelConResNet34(3, 5, seq_len=64, nf=4, custom_head=lambda nf, c_out, seq_len: nn.Sequential(nn.Flatten(), nn.Linear(nf*14, c_out)))
    assert made(x).shape==(2,5) and made.head_nf==16
    m = RelConResNet34(3, 5, nf=4).eval()
    torch.testing.assert_close(m.embed(x), m.backbone(x).mean(-1))
    with pytest.raises(TypeError): RelConResNet34(3, 5, width=4)         # nothing is swallowed

def test_ts_learner_learns(labelled):
    torch.manual_seed(0)
    learn = ts_learner(labelled[2], RelConResNet34, arch_config=narrow, metrics=accuracy)
    with learn.no_bar(), learn.no_logging(): learn.fit_one_cycle(4, 1e-2)
    assert learn.validate()[1]>.9

def test_freezing_and_fine_tuning(labelled):
    learn = ts_learner(labelled[2], RelConResNet34, arch_config=narrow)
    assert len(learn.splitter(learn.model))==2
    learn.freeze()
    before = {k: v.clone() for k,v in learn.model.named_parameters()}
    with learn.no_bar(), learn.no_logging(): learn.fit(1, 1e-2)
    moved = {k for k,v in learn.model.named_parameters() if not torch.equal(v, before[k])}
    assert {k for k in moved if 'bn' not in k}=={'head.3.weight','head.3.bias'}
    with learn.no_bar(), learn.no_logging(): learn.fine_tune(1, 1e-2)
    assert not torch.equal(learn.model.backbone.stem.conv.weight, before['backbone.stem.conv.weight'])

def test_ts_classifier_export_and_inference(labelled, tmp_path):
    from tsai.inference import load_learner
    segs, splits, _ = labelled
    learn = TSClassifier(segs.X, segs.labels, splits=splits, tfms=[None, TSClassification()], arch=RelConResNet34, arch_config=narrow, metrics=accuracy, bs=32, path=tmp_path)
    with learn.no_bar(), learn.no_logging(): learn.fit_one_cycle(1, 1e-2)
    learn.export('clf.pkl')
    probas, _, decoded = load_learner(tmp_path/'clf.pkl').get_X_preds(segs.X[:5])
    assert probas.shape==(5,2) and set(decoded)<={'sit','wlk'}

def test_outputs_of_more_than_one_dimension(few):
    y = np.random.default_rng(0).random((len(few), 4, 2)).astype(np.float32)
    dls = get_ts_dls(few.X, y, splits=subject_splits(few.subject), tfms=[None, TSRegression()], bs=16, num_workers=0)
    learn = ts_learner(dls, RelConResNet34, arch_config=narrow)
    assert learn.model.eval()(dls.one_batch()[0].cpu()).shape[1:]==(4,2)
