"RelCon is a method, not a network: tsai's architectures pretrain, are kept, and go on in tsai"
import json
from functools import partial
import numpy as np
import pytest
import torch
from torch import nn
from conftest import carried_over
from safetensors import safe_open
from safetensors.torch import save_file
import tsai.learner
from fastai.interpret import ClassificationInterpretation
from fastai.metrics import accuracy
from tsai.data.core import TSClassification, get_ts_dls
from tsai.data.transforms import TSMagScale
from tsai.inference import load_learner
from tsai.models.InceptionTime import InceptionTime
from tsai.models.InceptionTimePlus import InceptionTimePlus
from tsai.models.MINIROCKETPlus_Pytorch import MiniRocketPlus
from tsai.models.RNN_FCNPlus import LSTM_FCNPlus
from tsai.models.TSTPlus import TSTPlus
from tsai.models.XResNet1dPlus import xresnet1d18plus
from tsai.tslearner import TSClassifier
from tsai_relcon.augment import TSRotate
from tsai_relcon.baselines import augpred_learner, simclr_learner
from tsai_relcon.batches import relcon_dls
from tsai_relcon.evaluation import evaluate
from tsai_relcon.learner import get_embeddings, load_encoder, relcon_learner, save_weights, weights_info
from tsai_relcon.models import BackboneEncoder, RelConResNet34, encoder_from_config, register, tsai_encoder
from tsai_relcon.splits import subject_splits

small = [(InceptionTimePlus, dict(nf=4)), (TSTPlus, dict(d_model=16, n_heads=2, d_ff=16, n_layers=1)), (LSTM_FCNPlus, dict(hidden_size=8, conv_layers=[8,8,8])), (xresnet1d18plus, None), ('ResNetPlus', dict(nf=4)), ('InceptionTimePlus17x17', None)]

def silently(learn, *args, **kw):
    with learn.no_bar(), learn.no_logging(): learn.fit(*args, **kw)

@pytest.fixture(scope='module')
def dls(few): return relcon_dls(few[::2], n_groups=8, n_within=3, splits=subject_splits(few[::2].subject), train_batches=2, valid_batches=1)

@pytest.fixture(scope='module')
def inception(dls):
    torch.manual_seed(0)
    learn = relcon_learner(dls, 'euclidean', InceptionTimePlus, dict(nf=4))
    silently(learn, 1)
    return learn

@pytest.mark.parametrize('arch, config', small, ids=lambda o: getattr(o, '__name__', str(o)))
def test_pretrains_is_kept_and_embeds(dls, few, tmp_path, arch, config):
    learn = relcon_learner(dls, 'euclidean', arch, config)
    before = [p.clone() for p in learn.model.parameters()]
    silently(learn, 1, 1e-2)
    assert any(not torch.equal(a, b) for a,b in zip(before, learn.model.parameters()))
    Z, features = get_embeddings(learn, few[:20]), learn.model.eval().backbone(torch.from_numpy(few.X[:20]))
    np.testing.assert_allclose((features.mean(2) if features.ndim==3 else features).detach(), Z, atol=1e-4)
    assert Z.shape==(20, learn.model.head_nf) and Z.std(0).max()>0
    again = load_encoder(save_weights(learn, tmp_path/'e.safetensors'), rate=50)
    assert isinstance(again, BackboneEncoder) and again.info['config']==learn.model.config
    np.testing.assert_array_equal(get_embeddings(again, few[:20]), Z)
    other = encoder_from_config(again.config).eval()                      # the same kind, untrained
    assert not np.allclose(get_embeddings(other, few[:20]), Z, atol=1e-3)

def test_a_module_gives_its_backbone(dls, few):
    model = InceptionTimePlus(3, 5, nf=4)
    learn = relcon_learner(dls, 'euclidean', model)
    assert learn.model.backbone is model.backbone and learn.model.config is None
    assert get_embeddings(learn, few[:4]).shape==(4, 16)
    with pytest.raises(ValueError, match='cannot be written'): save_weights(learn, 'nowhere')      # with what it was made is not known

def test_other_methods_train_other_encoders_too(dls):
    for make in (simclr_learner, augpred_learner):
        learn = make(dls, InceptionTimePlus, dict(nf=4), bs=32)
        silently(learn, 1)
        assert isinstance(learn.model.encoder, BackboneEncoder) and np.isfinite(learn.recorder.values[-1]).all()

def test_goes_on_in_tsai_and_in_the_probes(inception, few, tmp_path):
    labelled = get_ts_dls(few.X, few.labels, splits=subject_splits(few.subject), tfms=[None, TSClassification()], bs=32, num_workers=0)
    clf = carried_over(inception, tmp_path, labelled, InceptionTimePlus, dict(nf=4))
    with clf.no_bar(), clf.no_logging(): clf.fine_tune(1)
    table = evaluate(inception, few, protocol='finetune', folds=3, epochs=1)
    assert table.loc[('segment','mean'), 'macro_f1']>0
    evaluate(relcon_learner(inception.dls, 'euclidean', LSTM_FCNPlus), few, protocol='finetune', folds=3, epochs=1)      # features without time

@pytest.mark.parametrize('arch, config, says', [
    (InceptionTime, None, 'InceptionTime has no `backbone`'), (MiniRocketPlus, None, 'nothing to train'), ('VGG', None, "`arch` is 'VGG'"), (InceptionTimePlus, dict(width=3), "could not make a InceptionTimePlus"),
    (partial(InceptionTimePlus, nf=4), None, 'could not make a'), (InceptionTimePlus(1, 2), None, 'cannot take 3 channels'), (InceptionTimePlus, dict(nf=-3), 'could not make a'),
    (RelConResNet34, dict(nff=4), "'nff', which"), (RelConResNet34, dict(nf=0), '`nf` is 0'), (RelConResNet34, dict(nf='16'), "`nf` is '16'"), (RelConResNet34, [16], r'`arch_config` is \[16\]'), (None, None, '`arch` is None'), (InceptionTimePlus(3, 2), dict(nf=4), '`arch_config`')])
def test_what_cannot_be_an_encoder_is_named(dls, arch, config, says):
    with pytest.raises(ValueError, match=says): relcon_learner(dls, 'euclidean', arch, config)

def test_a_file_names_no_code(inception, tmp_path):
    "An architecture is looked up among tsai's names, never imported by what a file says"
    path = save_weights(inception, tmp_path/'e.safetensors')
    with safe_open(path, 'pt') as f: state = {k: f.get_tensor(k) for k in f.keys()}
    for name in ('os.system', 'torch.load', 'tsai.learner.load_learner', '__import__', None):
        info = weights_info(path)
        info['config']['arch'] = name
        save_file(state, tmp_path/'bad.safetensors', metadata=dict(tsai_relcon=json.dumps(info)))
        with pytest.raises(ValueError, match='no encoder can be made'): load_encoder(tmp_path/'bad.safetensors')

@pytest.mark.parametrize('change', [dict(seq_len=None), dict(arch_config='nf'), dict(c_in='3')])
def test_a_damaged_configuration_is_named(inception, tmp_path, change):
    path = save_weights(inception, tmp_path/'e.safetensors')
    with safe_open(path, 'pt') as f: state = {k: f.get_tensor(k) for k in f.keys()}
    info = weights_info(path)
    info['config'] |= change
    save_file(state, tmp_path/'bad.safetensors', metadata=dict(tsai_relcon=json.dumps(info)))
    with pytest.raises(ValueError, match=f'no encoder can be made.*{next(iter(change))}'): load_encoder(tmp_path/'bad.safetensors')

def test_what_a_file_cannot_hold_is_not_written_as_if_it_could(dls, tmp_path):
    config = dict(d_model=16, n_heads=2, d_ff=16, n_layers=1, act=nn.GELU)
    learn = relcon_learner(dls, 'euclidean', TSTPlus, config)
    with pytest.raises(ValueError, match='cannot be written'): save_weights(learn, tmp_path/'e')
    config = dict(nf=4)
    learn = relcon_learner(dls, 'euclidean', InceptionTimePlus, config)
    config['nf'] = 8
    assert learn.model.config['arch_config']==dict(nf=4)

def test_an_architecture_of_one_length_says_so(dls, few):
    learn = relcon_learner(dls, 'euclidean', TSTPlus, dict(d_model=16, n_heads=2, d_ff=16, n_layers=1))
    with pytest.raises(ValueError, match='100 samples; the encoder, a TSTPlus, was made for 128'): get_embeddings(learn, few.X[:4,:,:100])
    assert get_embeddings(relcon_learner(dls, 'euclidean', InceptionTimePlus, dict(nf=4)), few.X[:4,:,:100]).shape==(4,16)

def test_bad_arguments_are_told_before_a_distance_is_fitted(dls):
    for wrong in (dict(arch=InceptionTime), dict(tau=-1.), dict(n_augment=1, fs=[1]), dict(projection=(0,))):
        with pytest.raises(ValueError, match='`(arch|tau|fs|projection)`'): relcon_learner(dls, distance_epochs=10**6, **wrong)

def test_registered_by_name(few):
    before = list(tsai.learner.all_arch_names)
    register(); register()
    assert tsai.learner.all_arch_names.count('RelConResNet34')==1 and set(before)<=set(tsai.learner.all_arch_names)
    assert tsai.learner.get_arch('RelConResNet34') is RelConResNet34 and tsai.learner.get_arch('InceptionTimePlus') is InceptionTimePlus
    with pytest.raises(ValueError, match='Nothing not found'): tsai.learner.get_arch('Nothing')
    clf = TSClassifier(few.X, few.labels, splits=subject_splits(few.subject), tfms=[None, TSClassification()], arch='RelConResNet34', arch_config=dict(nf=4), num_workers=0)
    assert type(clf.model) is RelConResNet34 and clf.model.c_out==len(np.unique(few.labels))

def test_the_whole_way_in_tsai(dls, few, tmp_path):
    "Pretrained by RelCon; then fine-tuned, looked at, exported, loaded and asked as tsai does it, with augmentations of both"
    learn = relcon_learner(dls, 'euclidean', arch_config=dict(nf=4), path=tmp_path)
    silently(learn, 1)
    splits = subject_splits(few.subject)
    labelled = get_ts_dls(few.X, few.labels, splits=splits, tfms=[None, TSClassification()], batch_tfms=[TSMagScale(), TSRotate(p=.5)], bs=32, num_workers=0)
    clf = carried_over(learn, tmp_path, labelled, RelConResNet34, dict(nf=4), metrics=accuracy, path=tmp_path)
    with clf.no_bar(), clf.no_logging():
        clf.fine_tune(1, 1e-3)
        probas, _, decoded = clf.get_X_preds(few.X[splits[1]])
        confusion = ClassificationInterpretation.from_learner(clf).confusion_matrix()
        clf.export(tmp_path/'clf.pkl')
        again = load_learner(tmp_path/'clf.pkl', cpu=True)
        with again.no_bar(): loaded = again.get_X_preds(few.X[splits[1]])
    torch.testing.assert_close(loaded[0], probas.cpu())
    assert list(loaded[2])==list(decoded)
    names = list(clf.dls.vocab)
    wanted = np.zeros((len(names),)*2, int)
    for t,p in zip(few.labels[splits[1]], decoded): wanted[names.index(t), names.index(p)] += 1
    np.testing.assert_array_equal(confusion, wanted)
