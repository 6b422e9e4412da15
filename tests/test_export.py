"An encoder off Python: the same numbers, or no file"
import numpy as np
import pytest
import torch
from torch import nn
from tsai.models.InceptionTimePlus import InceptionTimePlus
from tsai_relcon import export
from tsai_relcon.batches import relcon_dls
from tsai_relcon.datasets import motionsense
from tsai_relcon.distance import MotifDistance
from tsai_relcon.evaluation import evaluate
from tsai_relcon.export import OnnxEncoder, export_onnx
from tsai_relcon.learner import get_embeddings, relcon_learner, save_weights
from tsai_relcon.models import RelConResNet34, tsai_encoder
from tsai.data.preprocessing import TSStandardize

def trained(few):
    "A few steps, so that batch norm has statistics of its own"
    learn = relcon_learner(relcon_dls(few, n_groups=8, n_within=3, train_batches=3, valid_batches=1), 'euclidean', arch_config=dict(nf=4), projection=(8,4))
    with learn.no_bar(), learn.no_logging(): learn.fit(1, 1e-2)
    return learn

@pytest.fixture(scope='module')
def learn(few): return trained(few)

@pytest.fixture(scope='module')
def path(learn, tmp_path_factory): return export_onnx(learn, tmp_path_factory.mktemp('onnx')/'encoder.onnx')

def close(got, wanted): assert np.abs(got-wanted).max()<=1e-4*np.abs(wanted).max()

@pytest.mark.parametrize('length', [11, 64, 100, 128, 333])
def test_equals_torch_at_any_number_and_length(learn, path, few, length):
    X = np.tile(few.X[:9], 3)[:,:,:length]
    onnx = OnnxEncoder(path, threads=1)
    close(onnx(X), get_embeddings(learn, X))
    close(onnx(X, bs=4), onnx(X))
    close(onnx(X[:1]), get_embeddings(learn, X[:1]))

def test_the_file_says_for_what_it_is(path, few):
    onnx = OnnxEncoder(path)
    assert {k: onnx.info[k] for k in ('rate','length','unit','any_length')}==dict(rate=50, length=128, unit='g', any_length=True)
    assert [i.name for i in onnx.session.get_inputs()+onnx.session.get_outputs()]==['acceleration','embedding']
    assert onnx(few).shape==(len(few), 16)
    with pytest.raises(ValueError, match='100 Hz'): onnx(motionsense(100, 256)[:4])
    with pytest.raises(ValueError, match='NaN'): onnx(np.full((2,3,128), np.nan, np.float32))
    with pytest.raises(ValueError, match='3 axes'): onnx(np.zeros((2,4,128), np.float32)+.1)

def test_of_a_file_of_weights_and_in_evaluate(learn, path, few, tmp_path):
    again = export_onnx(save_weights(learn, tmp_path/'e.safetensors'), tmp_path/'e.onnx')
    np.testing.assert_array_equal(OnnxEncoder(again)(few[:5]), OnnxEncoder(path)(few[:5]))
    table = evaluate(OnnxEncoder(path), few, folds=3, Cs=[.01])
    assert table.loc[('segment','mean'), 'macro_f1']==pytest.approx(evaluate(learn.model, few, folds=3, Cs=[.01]).loc[('segment','mean'), 'macro_f1'], abs=.02)

def test_an_architecture_of_one_length(few, tmp_path):
    encoder = tsai_encoder(InceptionTimePlus, 3, 128, dict(nf=4)).eval()
    with pytest.raises(ValueError, match='any_length=False'): export_onnx(encoder, tmp_path/'i.onnx', rate=50, length=128)
    onnx = OnnxEncoder(export_onnx(encoder, tmp_path/'i.onnx', any_length=False, rate=50, length=128))
    close(onnx(few[:7]), get_embeddings(encoder, few[:7]))
    assert not onnx.info['any_length']
    with pytest.raises(ValueError, match=r"wants \('batch', 3, 128\)"): onnx(few.X[:3,:,:100])

def test_what_differs_is_not_written(learn, tmp_path, monkeypatch):
    traced, other = export._traced, RelConResNet34(nf=4).eval()
    monkeypatch.setattr(export, '_traced', lambda encoder, *a: traced(other, *a))
    with pytest.raises(ValueError, match='differ from torch'): export_onnx(learn, tmp_path/'e.onnx')
    assert list(tmp_path.iterdir())==[]

def test_a_diverged_encoder_is_not_written(tmp_path):
    encoder = RelConResNet34(nf=4)
    encoder.backbone.stem.conv.weight.data[0] = np.nan
    with pytest.raises(ValueError, match='diverged'): export_onnx(encoder, tmp_path/'e.onnx', rate=50, length=128)
    assert list(tmp_path.iterdir())==[]

def test_what_cannot_be_exported_is_named(learn, path, few, tmp_path):
    with pytest.raises(FileExistsError, match='overwrite=True'): export_onnx(learn, path)
    with pytest.raises(ValueError, match='`rate` is missing'): export_onnx(RelConResNet34(nf=4), tmp_path/'e')
    with pytest.raises(ValueError, match='`length` is 0'): export_onnx(RelConResNet34(nf=4), tmp_path/'e', rate=50, length=0)
    with pytest.raises(ValueError, match='MotifDistance; wanted'): export_onnx(MotifDistance(), tmp_path/'e', rate=50, length=128)
    with pytest.raises(ValueError, match='head of 5 outputs'): export_onnx(RelConResNet34(3, 5, nf=4), tmp_path/'e', rate=50, length=128)
    dls = relcon_dls(few, n_groups=8, n_within=3, batch_tfms=TSStandardize(by_sample=True))
    with pytest.raises(ValueError, match='TSStandardize'): export_onnx(relcon_learner(dls, 'euclidean', arch_config=dict(nf=4)), tmp_path/'e')
    with pytest.raises(ValueError, match='no file'): OnnxEncoder(tmp_path/'nothing')
    (tmp_path/'cut.onnx').write_bytes(path.read_bytes()[:5000])
    with pytest.raises(ValueError, match='not a whole ONNX file'): OnnxEncoder(tmp_path/'cut.onnx')
    with pytest.raises(ValueError, match='`threads` is 0'): OnnxEncoder(path, threads=0)

def test_nothing_is_left_behind(learn, path):
    assert [f.name for f in path.parent.iterdir()]==['encoder.onnx']
