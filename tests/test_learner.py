"Learners, embeddings, and weights that are refused when they do not fit"
import json, pickle, signal, warnings
from inspect import signature
from copy import deepcopy
from functools import partial
from pathlib import Path
import numpy as np
import pytest
import torch
import torch.nn as nn
from safetensors import safe_open
from safetensors.torch import save_file
from tsai.data.core import TSClassification, get_ts_dls
from tsai.data.preprocessing import TSStandardize
from tsai.learner import ts_learner
from tsai.models.InceptionTimePlus import InceptionTimePlus
from tsai_relcon.callback import RelCon, n_candidates
from tsai_relcon.monitor import StopOnInterrupt
from tsai_relcon.core import DataWarning, subject_marks
from tsai_relcon.splits import neighbourhoods, subject_splits
from fastai.callback.core import Callback
from fastai.data.core import DataLoaders
from fastai.learner import load_learner
from fastai.torch_core import set_seed
from torch.utils.data import TensorDataset
from tsai_relcon.augment import add_noise, mild_augmentations, scale
from tsai_relcon.baselines import REBAR, MaskedDistance, augpred_learner, masked_learner, mvp_learner, rebar_learner, simclr_learner
from tsai_relcon.batches import relcon_dls, segment_dls
from tsai_relcon.checkpoint import Checkpoint
from tsai_relcon.distance import MotifDistance, motif_distances
from tsai_relcon.learner import (SaveWeights, distance_from_release, encoder_from_release, encoder_of, fitted_on_motion, get_embeddings, joint_learner, load_distance, load_encoder, motif_learner, motion_learner, plain_adam,
                                 pretrained_on, relcon_learner, save_weights, weights_info)
from tsai_relcon.evaluation import evaluate
from tsai_relcon.models import RelConResNet34
from tsai_relcon.provenance import known_of, network_of, remember, trained_on
from conftest import carried_over, load_golden

def euclidean(x, anchors, candidates): return (x[anchors][:,None]-x[candidates]).square().sum((2,3))
def silently(learn, *args, **kw):
    with learn.no_bar(), learn.no_logging(): learn.fit(*args, **kw)

@pytest.fixture
def dls(few): return relcon_dls(few[::2], n_groups=8, n_within=3, anchors='all')

@pytest.fixture
def learn(dls):
    learn = relcon_learner(dls, euclidean, arch_config=dict(nf=4))
    silently(learn, 1)
    return learn

# ---- learners

def test_the_distance_is_fitted_first_and_visibly(few, capsys):
    dls = relcon_dls(few[::4], n_groups=8, n_within=3, anchors='all')
    learn = relcon_learner(dls, arch_config=dict(nf=4), distance_epochs=1)
    assert 'fitting one first, 1 epochs' in capsys.readouterr().out
    assert isinstance(learn.rel_con.distance, MotifDistance)
    fresh = MotifDistance()
    assert (learn.rel_con.distance.revin.weight!=fresh.revin.weight).any()       # trained
    silently(learn, 1)

def test_tsai_dls_with_groups_as_y(few):
    dls = get_ts_dls(few.X, neighbourhoods(few.subject, few.time), splits=subject_splits(few.subject), tfms=None, bs=16, num_workers=0)
    learn = relcon_learner(dls, euclidean, arch_config=dict(nf=4))
    silently(learn, 1)
    assert np.isfinite(learn.recorder.values[-1]).all() and get_embeddings(learn, few.X[:5]).shape==(5,16)
    silently(motif_learner(dls), 1)

def test_dls_without_validation_and_segments_are_refused_at_once(few):
    for make in (motif_learner, relcon_learner):
        with pytest.raises(ValueError, match='no validation batches'): make(get_ts_dls(few.X, neighbourhoods(few.subject, few.time), tfms=None, num_workers=0))
        with pytest.raises(ValueError, match='Segments; wanted DataLoaders'): make(few)

def test_an_encoder_of_ones_own(dls):
    class Tiny(nn.Module):
        def __init__(self): super().__init__(); self.conv = nn.Conv1d(3, 8, 5)
        def forward(self, x): return self.conv(x).relu().mean(-1)
    learn = relcon_learner(dls, euclidean, arch=Tiny())
    silently(learn, 1)
    assert get_embeddings(learn, dls.valid.dataset.segs).shape[1]==8

def test_attributes_called_encoder_and_embed_are_its_own_matter(dls):
    class Patches(nn.Module):
        def __init__(self): super().__init__(); self.embed, self.encoder = nn.Conv1d(3, 8, 8, 8), nn.Conv1d(8, 8, 3)
        def forward(self, x): return self.encoder(self.embed(x)).mean(-1)
    net, segs = Patches(), dls.valid.dataset.segs
    learn = relcon_learner(dls, 'spectrum', arch=net)
    silently(learn, 1)
    with torch.no_grad(): np.testing.assert_allclose(get_embeddings(learn, segs), net(torch.from_numpy(segs.X)), atol=1e-5)
    assert encoder_of(net) is net

def test_what_is_no_encoder(dls, capsys):
    with_head = relcon_learner(dls, 'spectrum', arch_config=dict(nf=2), projection=(4,)).model
    for arch,says in ((with_head, 'a WithHead, .*encoder_of'), (lambda *_: with_head, 'a WithHead, .*encoder_of'), (nn.Flatten(), 'a Flatten that has nothing to train'), (lambda *_: nn.Flatten(), 'a Flatten that has nothing to train'), (lambda *_: 7, 'makes a int; wanted a module'),
                      (RelConResNet34(4, nf=2), 'takes no segments of 3 channels and 128 samples'), (nn.Conv1d(3, 4, 3), r'makes \(2, 4, 126\) of two segments')):
        for make in (relcon_learner, joint_learner, rebar_learner, simclr_learner):
            with pytest.raises(ValueError, match=says): make(dls, arch=arch)
    assert 'fitting' not in capsys.readouterr().out
    assert relcon_learner(dls, 'spectrum', arch=encoder_of(with_head)).model is with_head.encoder
    for make in (joint_learner, simclr_learner):
        with pytest.raises(ValueError, match='`projection` is 7'): make(dls, projection=7, arch_config=dict(nf=2))
    with pytest.raises(ValueError, match='`projection` is None'): simclr_learner(dls, projection=None, arch_config=dict(nf=2))

def test_segments_of_another_length_are_told_where_nobody_asked_for_them(few, dls):
    silently(learn := simclr_learner(dls, arch_config=dict(nf=2), bs=16), 1)
    shorter = type(few)(few.X[::20,:,:60], few.subject[::20], few.time[::20], few.rate, few.labels[::20])
    with pytest.warns(DataWarning, match='`X` has segments of 60 samples, the encoder was trained on 128'): get_embeddings(learn, shorter)
    with warnings.catch_warnings():
        warnings.simplefilter('error', DataWarning)
        get_embeddings(learn, few[:4])
        warnings.filterwarnings('ignore', message='the encoder was pretrained on some')
        evaluate(learn, shorter, folds=2, any_length=True)

def test_other_precisions_are_refused_before_a_fit(few, dls, capsys):
    for net,dtype in ((RelConResNet34(nf=1).double(), 'float64'), (RelConResNet34(nf=1).half(), 'float16')):
        for make in (relcon_learner, joint_learner, rebar_learner, simclr_learner, mvp_learner):
            with pytest.raises(ValueError, match=f'`arch` has weights of torch.{dtype}; wanted torch.float32'): make(dls, arch=net)
        with pytest.raises(ValueError, match=f'`learn` has weights of torch.{dtype}'): get_embeddings(net, few[:4])
        with pytest.raises(ValueError, match=f'`encoder` has weights of torch.{dtype}'): evaluate(net, few[::20], protocol='finetune', folds=2)
    assert 'fitting' not in capsys.readouterr().out
    class Mixed(nn.Module):
        def __init__(self): super().__init__(); self.scale, self.layer = nn.Parameter(torch.ones(1, dtype=torch.float16)), nn.Linear(384, 4)
        def forward(self, x): return self.layer(x.flatten(1))*self.scale.float()
    assert get_embeddings(Mixed(), few[:4]).shape==(4,4)

def test_a_joint_encoder_in_tsai(few, dls, tmp_path):
    "By the README: the encoder without its head as tsai's `weights_path`"
    learn = joint_learner(dls, 'spectrum', arch_config=dict(nf=2))
    torch.save(encoder_of(learn).state_dict(), tmp_path/'relcon.pth')
    labelled = get_ts_dls(few.X, few.labels, splits=subject_splits(few.subject), tfms=[None, TSClassification()])
    clf = ts_learner(labelled, RelConResNet34, arch_config=dict(nf=2), pretrained=True, weights_path=tmp_path/'relcon.pth')
    for k,v in clf.model.backbone.state_dict().items(): torch.testing.assert_close(v.cpu(), encoder_of(learn).backbone.state_dict()[k].cpu())

def test_ablation_without_augmentation_is_one_argument(dls):
    assert motif_learner(dls, n_augment=0).motif_reconstruction.n_augment==0

def test_a_misspelled_option_is_told_before_a_fit(dls, capsys):
    for make in (relcon_learner, rebar_learner, joint_learner):
        with pytest.raises(TypeError, match='n_augments'): make(dls, n_augments=2, arch_config=dict(nf=2))
    assert 'fitting' not in capsys.readouterr().out

def test_what_is_no_optimiser_is_told_before_a_fit(dls, capsys):
    for make in (relcon_learner, rebar_learner, joint_learner):
        for wrong,says in (('adam', "`opt_func` is 'adam'; wanted an optimiser"), (torch.optim.Adam, r"`opt_func` is torch's Adam; wanted .*OptimWrapper, opt=torch.optim.Adam")):
            with pytest.raises(ValueError, match=says): make(dls, opt_func=wrong, arch_config=dict(nf=2))
    assert 'fitting' not in capsys.readouterr().out

def test_hints_are_of_what_is_meant(dls):
    for option,hint in dict(motion='`distance`', shortlists='`shortlist`', r='one of').items():
        with pytest.raises(TypeError, match=f'does not know `{option}`; wanted {hint}'): joint_learner(dls, **{option: 1}, arch_config=dict(nf=2))

def test_callbacks_may_come_as_a_generator(dls):
    for make in (relcon_learner, joint_learner, rebar_learner):
        assert any(isinstance(cb, StopOnInterrupt) for cb in make(dls, cbs=(cb for cb in [StopOnInterrupt()]), distance_epochs=1, arch_config=dict(nf=2)).cbs)

@pytest.mark.parametrize('make, alone, method', [(relcon_learner, motif_learner, 'rel_con'), (rebar_learner, masked_learner, 'rebar')])
def test_the_first_fit_is_flat_and_as_it_is_told(few, make, alone, method):
    def seeded():
        set_seed(0)
        return relcon_dls(few[::8], n_groups=4, n_within=3, anchors='all', seed=0)
    encoder = RelConResNet34(nf=1)
    learn, itself = make(seeded(), arch=encoder, distance_epochs=2, distance_lr=3e-3), alone(seeded())
    silently(itself, 2, 3e-3)
    for name,w in itself.model.state_dict().items(): torch.testing.assert_close(getattr(learn, method).distance.state_dict()[name], w)

# ---- views, ranking and questions together

def test_defaults_are_those_that_were_measured():
    has = {k: p.default for k,p in signature(joint_learner).parameters.items()}
    assert (has['distance_lr'], has['distance_epochs'], has['weight'], has['aug_pred'], has['nearest'], has['shortlist'], has['gravity'])==(4e-3, 10, .3, 4., 3, 8, .1)
    assert set(mild_augmentations)=={'noise','scale','time_warp','permutation'}

def of_callback(cb):
    "What a callback was made with: everything but the objects that it holds for itself"
    return {k: repr(v) if k in ('loss_func','ranking') else v for k,v in vars(cb).items() if k!='learn'}

def test_the_optimiser_is_the_papers_adam():
    "torch's, step by step"
    start, target = torch.randn(5, 3), torch.randn(5, 3)
    ours, theirs = (nn.Parameter(start.clone()) for _ in range(2))
    for p,opt in ((ours, plain_adam([ours], lr=.05)), (theirs, torch.optim.Adam([theirs], lr=.05))):
        for _ in range(20):
            opt.zero_grad()
            (p-target).square().sum().backward()
            opt.step()
    torch.testing.assert_close(ours, theirs)
    assert not torch.allclose(ours, start)

def test_joint_is_the_recipe_of_the_benchmark(dls, benchmarks):
    from recipes import distance_learner, methods
    ours, motion = methods['ours'], motion_learner(dls)
    fitted, encoder = distance_learner(ours.distance, dls), RelConResNet34(nf=2)
    assert motion.model.config==fitted.model.config and motion.opt_func is fitted.opt_func
    assert (ours_has := of_callback(fitted.motif_reconstruction))==of_callback(motion.motif_reconstruction) and ours_has['motion_only'] and 'rotation' not in ours_has['fs']
    a, b = joint_learner(dls, 'euclidean', arch=encoder), ours.learn(dls, 'euclidean', encoder)
    assert of_callback(a.rel_con)==of_callback(b.rel_con) and {'fs','attention','crop','weight','shortlist','aug_pred','ranking','loss_func'}<=of_callback(a.rel_con).keys()
    assert repr(a.model)==repr(b.model) and (a.dls.train.bs, a.dls.train.by_motion)==(b.dls.train.bs, b.dls.train.by_motion)==(128, True)

def test_joint_fits_its_own_distance_and_trains(few, capsys, tmp_path):
    def seeded():
        set_seed(0)
        return relcon_dls(few[::4], n_groups=8, n_within=3, anchors='all', seed=0)
    learn = joint_learner(seeded(), arch_config=dict(nf=2), bs=16, distance_epochs=1, distance_lr=1e-2)
    assert 'fitting one first, 1 epochs' in capsys.readouterr().out
    motion = motion_learner(seeded())
    with motion.no_bar(): motion.fit_one_cycle(1, 1e-2)
    for name,w in motion.model.state_dict().items(): torch.testing.assert_close(learn.rel_con.distance.state_dict()[name], w)
    before = [p.clone() for p in learn.model.parameters()]
    silently(learn, 1)
    assert all((p!=q).any() for p,q in zip(learn.model.parameters(), before)) and np.isfinite(learn.recorder.values[-1]).all()
    np.testing.assert_allclose(get_embeddings(load_encoder(save_weights(learn, tmp_path/'e.safetensors'))  , few.X[:5]), get_embeddings(learn, few.X[:5]), rtol=1e-5, atol=1e-6)

def test_joint_passes_on_what_it_is_given(dls):
    mark, fs = StopOnInterrupt(), dict(noise=add_noise, scale=scale)
    learn = joint_learner(dls, MotifDistance(nf=2), arch_config=dict(nf=2), cbs=mark, metrics=[], tau=.3, fs=fs, attention='softmax', bs=16, by_motion=False, crop=50, weight=.7, aug_pred=2., nearest=2, shortlist=5, gravity=.2, n_augment=1, projection=(6,3))
    asked = learn.rel_con
    assert mark in learn.cbs and not learn.metrics and (asked.tau, asked.fs, asked.attention, asked.crop, asked.weight, asked.aug_pred, asked.ranking.nearest, asked.shortlist, asked.gravity, asked.n_augment)==(.3, fs, 'softmax', 50, .7, 2., 2, 5, .2, 1)
    assert (learn.dls.train.bs, learn.dls.train.by_motion)==(16, False) and learn.model.projection[-1].out_features==3

def test_views_of_short_segments_are_long_enough_for_the_questions(segs):
    assert joint_learner(relcon_dls(segs.X[:200,:,:40], np.arange(200)//20, n_groups=2, n_within=0, rate=50), 'euclidean', aug_pred=None, arch_config=dict(nf=2)).rel_con.crop==30
    for L,crop in ((44, 44), (50, 44), (60, 45), (100, 75)):
        short = relcon_dls(segs.X[:200,:,:L], np.arange(200)//20, n_groups=2, n_within=0, rate=50)
        assert joint_learner(short, 'euclidean', arch_config=dict(nf=2)).rel_con.crop==crop
    with pytest.raises(ValueError, match='AugPred asks about 44 samples or more'): joint_learner(relcon_dls(segs.X[:200,:,:40], np.arange(200)//20, n_groups=2, n_within=0, rate=50), arch_config=dict(nf=2))

def test_a_distance_that_ranks_what_it_was_not_fitted_on_is_told(dls, tmp_path):
    for fit in (motif_learner, motion_learner):
        motif = fit(dls, metrics=[])
        silently(motif, 1)
        for distance in (motif, motif.model, deepcopy(motif.model), save_weights(motif, tmp_path/f'{fit.__name__}.safetensors'), save_weights(motif.model, tmp_path/f'{fit.__name__}_net.safetensors', rate=50)):
            for make,own in ((joint_learner, motion_learner), (relcon_learner, motif_learner), (partial(relcon_learner, motion_only=True), motion_learner)):
                with warnings.catch_warnings(record=True) as told:
                    warnings.simplefilter('always')
                    make(dls, distance, arch_config=dict(nf=2))
                assert sum('their gravity' in str(w.message) for w in told)==(fit is not own)
    assert fitted_on_motion(motif_learner(dls, motif.model, metrics=[], motion_only=True)) is True
    assert 'motion_only' not in weights_info(save_weights(motif_learner(dls, motif.model, metrics=[]), tmp_path/'again.safetensors'))['record']       # did it, or will it? weights do not say
    with warnings.catch_warnings():
        warnings.simplefilter('error', DataWarning)
        for distance in ('spectrum', MotifDistance()):
            for make in (joint_learner, relcon_learner): make(dls, distance, arch_config=dict(nf=2))

def test_a_distance_is_fitted_on_what_it_will_rank(dls):
    for motion in (False, True):
        learn = relcon_learner(dls, arch_config=dict(nf=2), motion_only=motion, distance_epochs=1)
        assert fitted_on_motion(learn.rel_con.distance) is motion

def at(rate, few): return relcon_dls(type(few)(few.X, few.subject, few.time, rate), n_groups=8, n_within=3)

def test_networks_of_another_rate_or_kind_or_number_of_channels_are_refused(few, tmp_path):
    slow, fast = at(50., few), at(100., few)
    motif, masked = motif_learner(slow, MotifDistance(nf=2), metrics=[]), masked_learner(slow, MaskedDistance(nf=2))
    silently(motif, 1), silently(masked, 1)
    encoder = load_encoder(save_weights(RelConResNet34(nf=2), tmp_path/'e.safetensors', rate=50))
    contrast = simclr_learner(slow, arch_config=dict(nf=2))
    compiled = motif_learner(slow, torch.compile(MotifDistance(nf=2), backend='eager'), metrics=[])
    silently(contrast, 1), silently(compiled, 1)
    kept    = load_distance(save_weights(motif, tmp_path/'d.safetensors')), load_distance(save_weights(masked, tmp_path/'m.safetensors'), kind='masked distance')
    small   = dict(arch_config=dict(nf=2))
    for name,make,given in (('distance', partial(relcon_learner, **small), (motif, motif.model, kept[0], compiled)), ('distance', partial(rebar_learner, **small), (masked, masked.model, kept[1])), ('net', motif_learner, (motif.model, kept[0])), ('net', masked_learner, (masked.model, kept[1])),
                            ('arch', lambda dls, e: relcon_learner(dls, 'euclidean', arch=e), (encoder, encoder_of(contrast))), ('arch', lambda dls, e: simclr_learner(dls, arch=e), (encoder, encoder_of(contrast)))):
        for of in given:
            make(slow, of)
            with pytest.raises(ValueError, match=f'`{name}` was trained on 50 Hz; the data have 100 Hz'): make(fast, of)
    for make,wrong,says in ((motif_learner, RelConResNet34(nf=2), '`net` is a RelConResNet34; wanted a `MotifDistance`'), (motif_learner, MotifDistance(1), '`net` is for 1 channels; the data have 3'), (masked_learner, MotifDistance(nf=2), '`net` is a MotifDistance; wanted a `MaskedDistance`'),
                            (masked_learner, MaskedDistance(1), '`net` is for 1 channels'), (partial(rebar_learner, **small), MaskedDistance(1), '`distance` is for 1 channels'), (partial(rebar_learner, **small), 'euclidean', "`distance` is 'euclidean', which is no file"), (partial(rebar_learner, **small), MotifDistance(nf=2), '`distance` is a MotifDistance')):
        with pytest.raises(ValueError, match=says): make(slow, wrong)

def test_compiled_distances_are_taken(dls):
    silently(motif_learner(dls, torch.compile(MotifDistance(nf=2), backend='eager')), 1)
    silently(masked_learner(dls, torch.compile(MaskedDistance(nf=2), backend='eager')), 1)
    silently(rebar_learner(dls, torch.compile(MaskedDistance(nf=2), backend='eager'), arch_config=dict(nf=2)), 1)

def test_attention_is_of_the_learned_distance(dls):
    assert relcon_learner(dls, MotifDistance(nf=2), arch_config=dict(nf=2), attention='softmax').rel_con.attention=='softmax'
    assert joint_learner(dls, arch_config=dict(nf=2), attention='softmax', distance_epochs=1).rel_con.attention=='softmax'
    for make in (relcon_learner, joint_learner):
        with pytest.raises(ValueError, match="`attention` is 'softmax', but `distance` 'euclidean' has none"): make(dls, 'euclidean', arch_config=dict(nf=2), attention='softmax')

def test_an_encoder_that_goes_on_from_a_file_knows_whom_it_met_before(few, tmp_path):
    people = np.unique(few.subject)
    def of(who): return relcon_dls(few[np.isin(few.subject, who)], n_groups=4, n_within=3)
    def all_of(learn, n): return pretrained_on(learn)==set(subject_marks(people[:n]))==set(weights_info(save_weights(learn, tmp_path/'all.safetensors', overwrite=True))['subjects'])
    first = relcon_learner(of(people[:2]), 'euclidean', arch_config=dict(nf=2))
    for make,kind,later in ((motif_learner, MotifDistance, relcon_learner), (masked_learner, MaskedDistance, rebar_learner)):
        fitted = make(of(people[2:4]), kind(nf=2))
        silently(first, 1), silently(fitted, 1)
        encoder = save_weights(first, tmp_path/'first.safetensors', overwrite=True)
        assert all_of(later(of(people[4:6]), str(save_weights(fitted, tmp_path/'fitted.safetensors', overwrite=True)), arch=load_encoder(encoder)), 6)
        for distance in (fitted, fitted.model): assert all_of(last := later(of(people[4:6]), distance, arch=deepcopy(first.model)), 6)     # and in memory
        silently(last, 1)
        assert pretrained_on(last.model)==set(subject_marks(people[:6]))                                                                     # also where it goes on alone
        with pytest.raises(ValueError, match='`X` has 25 Hz, the encoder was trained on 50 Hz'): get_embeddings(last.model, type(few)(few.X[:4], few.subject[:4], few.time[:4], 25.))
        with pytest.raises(ValueError, match='`rate` is 25; its segments have 50 Hz: wanted None, or the same'): save_weights(last.model, tmp_path/'other.safetensors', rate=25.)
    for make in (simclr_learner, augpred_learner, mvp_learner):
        learn = make(of(people[:2]), arch_config=dict(nf=2))
        assert not pretrained_on(encoder_of(learn))
        silently(learn, 1)
        assert pretrained_on(encoder_of(learn))==set(subject_marks(people[:2])) and all_of(make(of(people[2:4]), arch=encoder_of(learn)), 4)

def test_what_is_known_of_the_segments_goes_with_the_network(few, tmp_path):
    def of(X, rate): return relcon_dls(type(few)(X, few.subject, few.time, rate), n_groups=4, n_within=3)
    first = simclr_learner(of(few.X, 50.), arch_config=dict(nf=2))
    silently(first, 1)
    def written(encoder, **kw): return [weights_info(save_weights(encoder, tmp_path/'e.safetensors', overwrite=True, **kw))[k] for k in ('rate','length')]
    assert written(encoder_of(first))==written(first)==[50, 128]
    encoder = load_encoder(tmp_path/'e.safetensors')
    assert written(encoder)==[50, 128]
    with pytest.raises(ValueError, match='`length` is 64; its segments have 128 samples'): written(encoder, length=64)
    shorter = type(few)(few.X[...,:64], few.subject, few.time, 50., few.labels)
    for make in (simclr_learner, mvp_learner, partial(relcon_learner, distance='euclidean', n_augment=1, crop=48)):      # a crop is none of the segments' length
        silently(learn := make(of(shorter.X, 50.), arch=load_encoder(tmp_path/'e.safetensors')), 1)
        assert written(encoder_of(learn))==[50, 64]
        assert len(evaluate(encoder_of(learn), shorter, folds=2, Cs=[1.]))

def test_data_without_a_rate_leave_what_the_network_remembers(few, dls, tmp_path):
    silently(first := simclr_learner(dls, arch_config=dict(nf=2)), 1)
    without_rate = get_ts_dls(few.X, splits=subject_splits(few.subject), tfms=None, bs=16, num_workers=0)
    later = simclr_learner(without_rate, arch=encoder_of(first))
    assert weights_info(save_weights(later, tmp_path/'l.safetensors'))['rate']==50
    assert weights_info(save_weights(later, tmp_path/'m.safetensors', rate=25.))['rate']==25           # whoever knows the data is believed
    for model in (later, encoder_of(later)):
        with pytest.raises(ValueError, match='`X` has 25 Hz'): get_embeddings(model, type(few)(few.X[:4], few.subject[:4], few.time[:4], 25.))

def test_a_file_that_tells_no_subjects_is_read(dls, tmp_path):
    path = save_weights(relcon_learner(dls, 'euclidean', arch_config=dict(nf=2)), tmp_path/'e.safetensors')
    with safe_open(path, 'pt') as f: info, state = json.loads(f.metadata()['tsai_relcon']), {k: f.get_tensor(k) for k in f.keys()}
    save_file(state, path, metadata=dict(tsai_relcon=json.dumps({k: v for k,v in info.items() if k!='subjects'})))
    assert not pretrained_on(load_encoder(path))

def test_a_networks_own_info_is_no_file(dls, few):
    class Own(nn.Module):
        def __init__(self, **info): super().__init__(); self.info, self.net = info, nn.Linear(3, 4)
        def forward(self, x): return self.net(x.mean(-1))
    silently(simclr_learner(dls, arch=Own(rate=1e-3, subjects=12)), 1)
    assert len(evaluate(Own(length=3), few, folds=2, Cs=[1.]))

def test_a_distance_brought_back_by_load_keeps_whom_it_met(few, tmp_path):
    people = np.unique(few.subject)
    one, other = (relcon_dls(few[np.isin(few.subject, who)], n_groups=4, n_within=3) for who in (people[:2], people[2:4]))
    for make,kind,later in ((motif_learner, MotifDistance, relcon_learner), (masked_learner, MaskedDistance, rebar_learner)):
        silently(learn := make(one, kind(nf=2), path=tmp_path), 1)
        learn.save('kept')
        back = make(one, kind(nf=2), path=tmp_path).load('kept')
        assert pretrained_on(later(other, back, arch_config=dict(nf=2)))==set(subject_marks(people[:4])) and not trained_on(back.model)
        assert set(trained_on(RelCon(back).distance if kind is MotifDistance else REBAR(back).distance)['subjects'])==set(subject_marks(people[:2]))

def test_an_encoder_takes_what_only_a_distance_tells_itself(dls, tmp_path):
    learn = relcon_learner(dls, 'euclidean', arch_config=dict(nf=2), motion_only=True)
    silently(learn, 1, cbs=SaveWeights(tmp_path/'e.safetensors', motion_only=True))
    silently(later := relcon_learner(dls, 'euclidean', arch=load_encoder(tmp_path/'e.safetensors')), 1)
    record = weights_info(save_weights(later, tmp_path/'l.safetensors', motion_only=False))['record']
    first, then = (of['RelCon'] for of in record['methods'])
    assert record['motion_only'] is False and first|dict(motion_only=False)==then
    assert then.items()>=dict(tau=.1, motion_only=False, distance='euclidean_distances', loss='relative', candidates='all', weight=None).items()

@pytest.mark.parametrize('make, name, options', [(simclr_learner, 'SimCLR', dict(crop=96, tau=.1)), (simclr_learner, 'SimCLR', dict(crop=None)), (mvp_learner, 'MVPCallback', dict(r=.3)), (partial(joint_learner, distance='spectrum'), 'RelCon', dict(weight=.5, crop=96, aug_pred=4., shortlist=8))])
def test_a_file_says_by_which_method_it_was_trained(make, name, options, dls, tmp_path):
    def methods(model): return weights_info(save_weights(model, tmp_path/'e.safetensors', overwrite=True))['record'].get('methods')
    learn = make(dls, arch_config=dict(nf=2), **{k: v for k,v in options.items() if k not in ('aug_pred','shortlist')})          # which it has by itself
    assert methods(learn) is None                                                          # nothing has trained it
    silently(learn, 1)
    [method] = told = methods(learn)
    assert [*method]==[name] and method[name].items()>=options.items()
    assert methods(encoder_of(learn))==methods(load_encoder(tmp_path/'e.safetensors'))==told
    silently(later := augpred_learner(dls, arch=load_encoder(tmp_path/'e.safetensors')), 2)
    silently(again := make(dls, arch=encoder_of(later)), 1)
    silently(again, 1)                                                                     # twice by the same is once
    assert [[*m] for m in methods(again)]==[[name], ['AugPred'], [name]] and methods(again)[0]==method

@pytest.mark.parametrize('wrong', [dict(record=[]), dict(record='x'), dict(record=dict(methods=5)), dict(record=dict(methods=[5])), dict(subjects=[5]), dict(subjects='abc'), dict(subjects={}), dict(length='128'), dict(length=0), dict(length=[1]),
                                   dict(unit='m/s^2'), dict(unit=9.81), dict(record=dict(methods=[{'RelCon': 3}])), dict(record=dict(motion_only='no')), dict(rate='fifty'), dict(rate=[50]), dict(rate=-50), dict(rate=...), dict(kind=...), dict(kind=3), dict(config=None), dict(config=[1]), dict(config=...)], ids=str)
def test_facts_of_a_file_that_cannot_be_are_named(wrong, dls, tmp_path):
    path = rewritten(save_weights(simclr_learner(dls, arch_config=dict(nf=2)), tmp_path/'e.safetensors'), lambda info: {k: v for k,v in (info|wrong).items() if v is not ...})      # ...: left out
    for read in (weights_info, load_encoder, partial(load_encoder, rate=50.), lambda path: evaluate({'it': path}, dls.valid.dataset.segs)):
        with pytest.raises(ValueError, match=f'`path`: .*{[*wrong][0]!r} .*; wanted .*did not write this'): read(path)

@pytest.mark.parametrize('wrong', [dict(foo=1), dict(nf='4'), dict(nf=None), dict(c_in=-1), dict(attention='x')], ids=str)
def test_a_distance_that_cannot_be_made_is_named(wrong, tmp_path):
    path = rewritten(save_weights(MotifDistance(nf=2), tmp_path/'d.safetensors', rate=50.), lambda info: info|dict(config=info['config']|wrong))
    with pytest.raises(ValueError, match='`path`: .*safetensors holds a configuration of which no distance can be made: .'): load_distance(path)

def test_a_file_that_tells_methods_as_it_once_did_goes_on(dls, tmp_path):
    path = rewritten(save_weights(simclr_learner(dls, arch_config=dict(nf=2)), tmp_path/'e.safetensors'), lambda info: info|dict(record=dict(methods={'SimCLR': {'tau': .1}})))
    silently(learn := augpred_learner(dls, arch=load_encoder(path)), 1)
    assert [[*m] for m in trained_on(learn.model)['methods']]==[['SimCLR'], ['AugPred']]

def test_a_learner_and_its_network_tell_the_same(few, tmp_path):
    shorter = relcon_dls(type(few)(few.X[...,:64], few.subject, few.time, 50.), n_groups=4, n_within=3)
    silently(first := simclr_learner(relcon_dls(few, n_groups=4, n_within=3), arch_config=dict(nf=2)), 1)
    later = simclr_learner(shorter, arch=encoder_of(first))
    assert known_of(later)['length']==trained_on(network_of(later))['length']==64 and trained_on(encoder_of(later))['length']==128
    silently(later, 1, cbs=SaveWeights(tmp_path/'e.safetensors', length=64))                # whom it asks before the training tells it what it will find after it
    assert known_of(later)==trained_on(network_of(later))==trained_on(encoder_of(later)) and known_of(later)['length']==64
    later.path = tmp_path
    later.save('kept')
    back = simclr_learner(shorter, arch=deepcopy(encoder_of(first)), path=tmp_path).load('kept')
    assert weights_info(save_weights(back, tmp_path/'b.safetensors'))['length']==64
    fresh = motif_learner(shorter, MotifDistance(nf=2), motion_only=True)
    assert trained_on(network_of(fresh))==known_of(fresh) and known_of(fresh).items()>=dict(rate=50., length=64, motion_only=True).items() and not trained_on(fresh.model)
    assert weights_info(save_weights(relcon_learner(shorter, fresh, arch_config=dict(nf=2), motion_only=True).rel_con.distance, tmp_path/'d.safetensors'))['rate']==50

def test_what_a_file_does_not_tell_the_learner_does(few, dls, tmp_path):
    path = save_weights(MotifDistance(nf=2), tmp_path/'d.safetensors', rate=50.)
    learn = motif_learner(dls, load_distance(path), motion_only=True, path=tmp_path, metrics=[])
    silently(learn, 1)
    learn.save('kept')
    back = motif_learner(dls, load_distance(path), motion_only=True, path=tmp_path, metrics=[]).load('kept')
    assert fitted_on_motion(learn) is fitted_on_motion(back) is weights_info(save_weights(back, tmp_path/'b.safetensors'))['record']['motion_only'] is True

def test_a_record_does_not_contradict_the_network(dls, tmp_path):
    silently(learn := motif_learner(dls, MotifDistance(nf=2), motion_only=True, metrics=[]), 1)
    for model in (learn, learn.model):
        for wrong in (dict(motion_only=False), dict(methods=[])):
            with pytest.raises(ValueError, match='`(motion_only|methods)` is .*, which a (Learner|MotifDistance) tells itself'): save_weights(model, tmp_path/'d.safetensors', **wrong)

def test_a_record_that_cannot_be_written_is_told_before_the_training(dls, tmp_path):
    learn = simclr_learner(dls, arch_config=dict(nf=2))
    with pytest.raises(ValueError, match='`note` is a dict that cannot be written .* wanted numbers and text'): silently(learn, 1, cbs=SaveWeights(tmp_path/'e.safetensors', note={(1,2): 3}))
    assert not trained_on(learn.model)
    silently(learn, 1, cbs=SaveWeights(tmp_path/'e.safetensors', note=np.ones(2), n=np.int64(3)))
    assert weights_info(tmp_path/'e.safetensors')['record'].items()>=dict(note=[1.,1.], n=3).items()

@pytest.mark.parametrize('wrap', [partial(torch.compile, backend='eager'), nn.DataParallel])
@pytest.mark.parametrize('make', [simclr_learner, partial(relcon_learner, distance='euclidean')])
def test_a_wrapped_encoder_is_saved_as_what_it_wraps(make, wrap, dls, tmp_path):
    silently(learn := make(dls, arch=wrap(RelConResNet34(nf=2))), 1)
    assert isinstance(encoder_of(learn), RelConResNet34) and trained_on(wrap(encoder_of(learn)))==trained_on(encoder_of(learn))
    assert trained_on(encoder_of(learn)).keys()=={'rate','length','unit','methods','subjects'} and len(pretrained_on(encoder_of(learn)))==24
    assert weights_info(save_weights(learn, tmp_path/'e.safetensors'))['length']==128

def test_a_partial_tells_whom_its_network_met(few):
    people = np.unique(few.subject)
    one, other = (relcon_dls(few[np.isin(few.subject, who)], n_groups=4, n_within=3) for who in (people[:2], people[2:4]))
    silently(motif := motif_learner(one, MotifDistance(nf=2), metrics=[]), 1)
    learn = relcon_learner(other, partial(motif_distances, motif.model), arch_config=dict(nf=2))
    assert pretrained_on(learn)==set(subject_marks(people[:4]))
    silently(learn, 1)
    assert pretrained_on(encoder_of(learn))==set(subject_marks(people[:4]))

@pytest.mark.parametrize('make', [motif_learner, motion_learner, relcon_learner, joint_learner, simclr_learner, augpred_learner, masked_learner, rebar_learner, mvp_learner])
def test_a_misspelled_option_is_named_by_the_learner_that_was_asked(make, dls):
    name = make.__name__
    for wrong,says in ((dict(metrisc=[]), '`metrics`' if 'metrics' in signature(make).parameters else 'one of dls, '), (dict(zzzz=1), 'one of dls, '), (dict(loss_func=None), 'none: a method brings its own'), (dict(model=None), '`arch`' if 'arch' in signature(make).parameters else '`net`' if 'net' in signature(make).parameters else '`model_dir`')):
        with pytest.raises(TypeError, match=rf'^{name}\(\) does not know `{[*wrong][0]}`; wanted {says}'): make(dls, **wrong)
    wanted = r'arch_config=dict\(nf=...\)' if 'arch_config' in signature(make).parameters else 'a `net` made with it' if 'net' in signature(make).parameters else ''
    with pytest.raises(TypeError, match=f'does not know `nf`; wanted {wanted}'): make(dls, nf=4)

def of_sizes(few, n_train, n_valid, bs):
    rows = np.arange(n_train+n_valid)
    return get_ts_dls(few.X[rows], splits=(rows[:n_train].tolist(), rows[n_train:].tolist()), tfms=None, bs=bs, num_workers=0)

def test_a_last_batch_that_tsai_would_lose_is_told_beforehand(few):
    for (n,bs),lost in {(121,64): True, (100,32): True, (127,50): True, (125,16): True, (128,64): False, (130,64): False, (96,16): False, (121,121): False, (90,8): False}.items():
        dls = of_sizes(few, 64, n, bs)
        assert any(not len(x) for x,*_ in dls.valid)==lost                                       # tsai's own doing
        if lost:
            with pytest.raises(ValueError, match=rf'`dls` has {n} segments to validate in batches of {bs}, .*bs=\[{bs}, {n}\]'): relcon_learner(dls, 'euclidean', arch_config=dict(nf=2))
            dls = of_sizes(few, 64, n, [bs,n])
        silently(relcon_learner(dls, 'euclidean', arch_config=dict(nf=2)), 1)
    sampled = of_sizes(few, 64, 121, 64)
    sampled.valid.sampler = range(121)                                                            # then tsai counts otherwise
    assert [len(x) for x,*_ in sampled.valid]==[64, 57] and simclr_learner(sampled, arch_config=dict(nf=2))

def test_what_tsais_dls_cannot_do_is_said(few):
    def told(make, **kw):
        with warnings.catch_warnings(record=True) as w:
            warnings.simplefilter('always')
            make(of_tsai(few), arch_config=dict(nf=2), **kw)
        return sum('not drawn by motion' in str(m.message) for m in w)
    joint = partial(joint_learner, distance='euclidean')
    assert (told(joint), told(simclr_learner, by_motion=True), told(augpred_learner))==(1, 1, 1)
    assert (told(joint, by_motion=False), told(simclr_learner), told(augpred_learner, by_motion=False))==(0, 0, 0)
    plain = segment_dls(relcon_dls(few, n_groups=4, n_within=3), 16, by_motion=True)
    with warnings.catch_warnings():
        warnings.simplefilter('error', DataWarning)
        for make in (joint, augpred_learner): make(plain, arch_config=dict(nf=2))                # they are drawn by motion already
    counts = get_ts_dls((few.X*1000).astype(np.int16), splits=subject_splits(few.subject), tfms=None, bs=16, num_workers=0)
    for make in (joint, simclr_learner, mvp_learner, partial(relcon_learner, distance='euclidean')):
        with pytest.raises(ValueError, match='`dls` has segments of torch.int16; wanted float32, in g'): silently(make(counts, arch_config=dict(nf=2)), 1)
    with pytest.raises(ValueError, match=r'`arch` .* takes no segments of 128 channels and 3 samples .*wanted X with the axes \(segments, channels, samples\)'):
        simclr_learner(get_ts_dls(few.X.transpose(0,2,1), splits=subject_splits(few.subject), tfms=None, bs=16, num_workers=0), arch=RelConResNet34)

def test_a_training_that_diverged_is_neither_saved_nor_embedded(dls, few, tmp_path):
    silently(learn := simclr_learner(dls, arch_config=dict(nf=2)), 1)
    good = save_weights(learn, tmp_path/'e.safetensors').read_bytes()
    with torch.no_grad(): next(encoder_of(learn).backbone.parameters()).fill_(np.nan)
    for f in (lambda: save_weights(learn, tmp_path/'e.safetensors', overwrite=True), lambda: get_embeddings(learn, few.X[:5]), lambda: get_embeddings(encoder_of(learn), few.X[:5])):
        with pytest.raises(ValueError, match='`learn` .*NaN or infinity .*diverged'): f()
    assert (tmp_path/'e.safetensors').read_bytes()==good

def test_a_training_that_diverges_leaves_the_last_good_file(dls, tmp_path):
    class Diverge(Callback):
        def after_train(self):
            if self.epoch==1: next(encoder_of(self.learn).backbone.parameters()).data.fill_(np.nan)
    learn, handler = simclr_learner(dls, arch_config=dict(nf=2)), signal.getsignal(signal.SIGINT)
    with pytest.warns(DataWarning, match='cannot be written .*diverged'), pytest.raises(ValueError, match='diverged'): silently(learn, 3, cbs=[SaveWeights(tmp_path/'e.safetensors'), Diverge(), StopOnInterrupt()])
    assert signal.getsignal(signal.SIGINT) is handler
    assert np.isfinite(get_embeddings(load_encoder(tmp_path/'e.safetensors'), dls.valid.dataset.segs)).all() and len(weights_info(tmp_path/'e.safetensors')['record']['epochs'])==1

def test_files_of_torch_are_named_as_what_they_are(learn, dls, tmp_path):
    torch.save(learn.model.state_dict(), tmp_path/'e.pth'), (tmp_path/'p.pkl').write_bytes(pickle.dumps(dict(a=1))), learn.export(tmp_path/'l.pkl')
    for name in ('e.pth', 'p.pkl', 'l.pkl'):
        for read in (load_encoder, load_distance, weights_info, lambda path: relcon_learner(dls, path)):
            with pytest.raises(ValueError, match=f'{name} is a file of torch.save, or of fastai.* wanted one of `save_weights`'): read(tmp_path/name)

class Holds:
    "A user's own object, which cannot be called itself"
    def __init__(self, **held): vars(self).update(held)
    def rank(self, *args): return motif_distances(self.net, *args)

class Ranks(Holds):
    def __call__(self, *args): return motif_distances(self.net, *args)

def unbound():
    def distance(x, a, c): return later if False else euclidean(x, a, c)
    return distance
    later = None

everywhere = []                                            # networks that functions here find by name

def test_whatever_holds_a_network_tells_whom_it_met(few):
    people = np.unique(few.subject)
    one, other = (relcon_dls(few[np.isin(few.subject, who)], n_groups=4, n_within=3) for who in (people[:2], people[2:4]))
    silently(motif := motif_learner(one, MotifDistance(nf=2), metrics=[]), 1)
    net, recursive, nets, held = motif.model, Ranks(net=motif.model), [motif.model], Holds(net=motif.model)
    recursive.own = recursive
    def mean(x, a, c, nets=()): return sum(motif_distances(n, x, a, c) for n in nets)/len(nets)
    def from_module(x, a, c): return [motif_distances(n, x, a, c) for n in everywhere][0]
    everywhere[:] = nets
    for distance in (lambda *args: motif_distances(net, *args), lambda *args: motif_distances(motif.model, *args), lambda *args, of=net: motif_distances(of, *args), Ranks(net=net), Ranks(net=net).rank, held.rank, partial(Ranks(net=net)), recursive,
                     lambda *args: motif_distances(nets[0], *args), lambda *args: motif_distances(held.net, *args), partial(mean, nets=nets), Ranks(net=net, of=dict(nets=(nets,))), from_module):
        learn = relcon_learner(other, distance, arch_config=dict(nf=2))
        assert pretrained_on(learn)==set(subject_marks(people[:4]))
    everywhere.clear()
    assert pretrained_on(relcon_learner(other, lambda x, a, c: euclidean(x, a, c), arch_config=dict(nf=2)))==set(subject_marks(people[2:4]))
    silently(relcon_learner(other, unbound(), arch_config=dict(nf=2)), 1)
    silently(first := simclr_learner(one, arch_config=dict(nf=2)), 1)
    inner = encoder_of(first)
    later = simclr_learner(other, arch=nn.Sequential(inner, nn.Identity()))
    assert pretrained_on(later.model)==set(subject_marks(people[:2])) and pretrained_on(later)==set(subject_marks(people[:4]))
    silently(later, 1)
    assert pretrained_on(later.model)==pretrained_on(inner)==pretrained_on(first)|pretrained_on(inner)==set(subject_marks(people[:4]))      # it trained too
    assert [len(trained_on(n)['methods']) for n in (inner, encoder_of(later))]==[1, 1] and not any('_trained_on' in vars(m) for m in inner.modules() if m is not inner)

def test_a_module_of_tsais_and_its_encoder_remember_together(few):
    people, net = np.unique(few.subject), InceptionTimePlus(3, 2, 128, nf=2)
    def learner(who): return relcon_learner(relcon_dls(few[np.isin(few.subject, who)], n_groups=4, n_within=3), 'euclidean', arch=net)
    silently(first := learner(people[:2]), 1)
    assert trained_on(net)==trained_on(first.model) and trained_on(net)['rate']==50
    assert pretrained_on(later := learner(people[2:4]))==set(subject_marks(people[:4]))          # it goes on with the weights of the first
    silently(later, 1)
    assert trained_on(net)==trained_on(later.model)==trained_on(first.model) and pretrained_on(net)==set(subject_marks(people[:4]))
    assert not trained_on(InceptionTimePlus(3, 2, 128, nf=2))

def test_memory_is_handed_out_as_a_copy(learn):
    kept = trained_on(learn.model)
    trained_on(learn.model)['subjects'].add('b'), trained_on(learn.model)['methods'].append({}), trained_on(deepcopy(learn.model))['subjects'].clear()
    remember(deepcopy(learn.model), length=3)
    assert trained_on(learn.model)==kept
    with pytest.raises(TypeError): remember(learn.model, note=1)                                # facts alone
    assert type(trained_on(learn.model)['subjects']) is set

def test_people_of_an_array_are_known(few):
    people = np.unique(few.subject)
    learn = simclr_learner(relcon_dls(few.X, neighbourhoods(few.subject, few.time), subject=few.subject, rate=50, n_groups=4, n_within=3), arch_config=dict(nf=2))
    silently(learn, 1)
    assert pretrained_on(learn)==pretrained_on(encoder_of(learn))==set(subject_marks(people))
    silently(learn := simclr_learner(relcon_dls(few.X, neighbourhoods(few.subject, few.time), rate=50, n_groups=4, n_within=3), arch_config=dict(nf=2)), 1)
    assert not pretrained_on(learn)                                                             # groups are no people

def of_tsai(few): return get_ts_dls(few.X, splits=subject_splits(few.subject), tfms=None, bs=16, num_workers=0)

def test_an_exported_learner_knows_its_segments(few, tmp_path):
    silently(learn := simclr_learner(of_tsai(few), arch_config=dict(nf=2)), 1)
    learn.export(tmp_path/'learn.pkl')
    back = load_learner(tmp_path/'learn.pkl')
    for kw in ({}, dict(length=128)): assert weights_info(save_weights(back, tmp_path/'e.safetensors', rate=50., overwrite=True, **kw))['length']==128

def test_the_unit_is_told_where_it_was_checked(few, dls, tmp_path):
    silently(checked := simclr_learner(dls, arch_config=dict(nf=2)), 1), silently(unchecked := simclr_learner(of_tsai(few), arch_config=dict(nf=2)), 1)
    def unit(learn): return weights_info(save_weights(learn, tmp_path/'e.safetensors', rate=50., overwrite=True))['unit']
    assert [unit(l) for l in (checked, encoder_of(checked), unchecked, encoder_of(unchecked), RelConResNet34(nf=2))]==['g', 'g', None, None, None]
    silently(later := simclr_learner(of_tsai(few), arch=encoder_of(checked)), 1)
    assert unit(later) is unit(encoder_of(later)) is None                                       # those who trained it last are not known

def test_weights_brought_back_do_not_contradict_their_learner(dls, tmp_path):
    path = save_weights(motif_learner(dls, MotifDistance(nf=2), metrics=[]), tmp_path/'d.safetensors')
    def make(): return motif_learner(dls, load_distance(path), motion_only=True, path=tmp_path, metrics=[])
    silently(learn := make(), 1)
    learn.save('kept')
    assert fitted_on_motion(learn) is True and fitted_on_motion(make().load('kept')) is None

def test_an_embedding_leaves_frozen_layers_frozen(dls, few):
    learn = relcon_learner(dls, 'euclidean', arch_config=dict(nf=2))
    learn.model.train()
    learn.model.backbone.stem.bn.eval()
    was = {name: m.training for name,m in learn.model.named_modules()}
    get_embeddings(learn, few.X[:4])
    assert {name: m.training for name,m in learn.model.named_modules()}==was and len(set(was.values()))==2

def test_a_length_a_kind_and_a_batch_that_cannot_be_are_named(learn, dls, few, tmp_path):
    with pytest.raises(ValueError, match="`length` is 99; its segments have 128 samples"): save_weights(learn, tmp_path/'e.safetensors', length=99)
    with pytest.raises(ValueError, match="`kind` is 'encoder'; known are 'distance', 'masked distance'"): load_distance(save_weights(learn, tmp_path/'e.safetensors'), kind='encoder')
    for wrong in (2.5, 0, True):
        with pytest.raises(ValueError, match=f'`bs` is {wrong}; wanted a whole number'): get_embeddings(learn, few.X[:4], bs=wrong)
    with pytest.raises(ValueError, match='`learn` is a MaskedDistance'): get_embeddings(masked_learner(dls, MaskedDistance(nf=2)), few.X[:4])

def test_augmentations_of_another_type_are_told_before_a_fit(dls):
    def doubled(x, generator=None): return x.double()
    for make in (motif_learner, lambda dls, fs, n_augment: simclr_learner(dls, arch_config=dict(nf=2), fs=fs, n_augment=n_augment)):
        with pytest.raises(ValueError, match="`fs` has 'doubled', which changes"): make(dls, fs=dict(doubled=doubled, scale=scale), n_augment=1)
    for wrong in (2.0, None, np.nan, True, 9):
        with pytest.raises(ValueError, match=f'`n_augment` is {wrong}'): motif_learner(dls, n_augment=wrong)

def test_a_distance_that_diverged_does_not_rank(dls):
    for make in (relcon_learner, joint_learner):
        broken = MotifDistance()
        for p in broken.parameters(): p.data.fill_(torch.nan)
        with pytest.raises(ValueError, match='`distance` gave NaN or infinity'): silently(make(dls, broken, arch_config=dict(nf=2)), 1)

@pytest.mark.parametrize('make', [motif_learner, motion_learner, lambda dls: relcon_learner(dls, 'euclidean', arch_config=dict(nf=2)), lambda dls: joint_learner(dls, 'spectrum', arch_config=dict(nf=2)), lambda dls: simclr_learner(dls, arch_config=dict(nf=2)), lambda dls: augpred_learner(dls, arch_config=dict(nf=2)), lambda dls: mvp_learner(dls, arch_config=dict(nf=2))])
def test_segments_of_tsais_dls_with_nan_are_told(few, make):
    for rows,wrong in ((slice(None), np.nan), (slice(None, None, 2), np.inf)):
        X = few.X.copy()
        X[rows,0,5] = wrong
        with pytest.raises(ValueError, match=r'`dls` has NaN or infinity in \d+ of the 16 segments'): silently(make(get_ts_dls(X, splits=subject_splits(few.subject), tfms=None, bs=16, num_workers=0)), 1)

@pytest.mark.parametrize('make', [relcon_learner, joint_learner, rebar_learner])
def test_a_fit_beforehand_is_checked_beforehand(dls, tmp_path, capsys, make):
    for wrong,says in ((dict(distance_epochs=0), '`distance_epochs` is 0'), (dict(distance_epochs=1.5), '`distance_epochs` is 1.5'), (dict(distance_lr=-1.), '`distance_lr` is -1'), (dict(distance_lr=np.nan), '`distance_lr` is nan'), (dict(distance_lr='fast'), "`distance_lr` is 'fast'"),
                       (dict(cbs=Checkpoint(tmp_path/'c')), '`cbs` has a Checkpoint, and `distance` is None'), (dict(tau='x'), "`tau` is 'x'"), (dict(tau=True), '`tau` is True')):
        with pytest.raises(ValueError, match=says): make(dls, arch_config=dict(nf=2), **wrong)
    assert 'fitting' not in capsys.readouterr().out

def test_batches_of_one_have_nothing_to_compare(few):
    dls = get_ts_dls(few.X, splits=subject_splits(few.subject), tfms=None, bs=1, num_workers=0)
    for make in (joint_learner, relcon_learner):
        with pytest.raises(ValueError, match='`dls` gives an anchor 0 candidates'): make(dls, 'euclidean', arch_config=dict(nf=2))
    with pytest.raises(ValueError, match='`dls` has batches of one'): simclr_learner(dls, arch_config=dict(nf=2))
    assert augpred_learner(dls, arch_config=dict(nf=2))

@pytest.mark.parametrize('batches, options, n', [(dict(n_groups=2, n_within=0), {}, 1), (dict(n_groups=1, n_within=1), {}, 1), (dict(n_groups=8, n_within=1), dict(candidates='within'), 1), (dict(n_groups=2, n_within=3), dict(candidates='between'), 1)])
def test_of_one_candidate_there_is_no_order(few, capsys, batches, options, n):
    dls = relcon_dls(few, **batches)
    with pytest.raises(ValueError, match=f'`dls` gives an anchor {n} candidate for'): relcon_learner(dls, arch_config=dict(nf=2), **options)
    assert 'fitting' not in capsys.readouterr().out
    for weight in (None, .3):                                                                                               # the own view is none in validation, whose loss would be 0
        with pytest.raises(ValueError, match='gives an anchor'): relcon_learner(dls, 'euclidean', arch_config=dict(nf=2), n_augment=1, own_view=True, weight=weight, **options)

@pytest.mark.parametrize('n_groups, n_within, candidates', [(4, 3, 'all'), (4, 3, 'within'), (4, 3, 'between'), (4, 3, 'batch'), (4, 0, 'all')])
def test_so_many_candidates_has_an_anchor(few, n_groups, n_within, candidates):
    learn = relcon_learner(relcon_dls(few, n_groups=n_groups, n_within=n_within), lambda x, a, c: seen.append(c.shape[1]) or torch.rand(c.shape), arch_config=dict(nf=2), candidates=candidates, metrics=[])
    seen = []
    with learn.no_bar(), learn.no_logging(): learn.validate()
    assert set(seen)=={n_candidates(candidates, learn.dls.train)}

def test_an_order_can_be_learned_in_validation_too(few, capsys):
    people = [np.flatnonzero(few.subject==s) for s in np.unique(few.subject)]
    some = relcon_dls(few, splits=(np.concatenate(people[:-1]), people[-1][:2]), n_groups=2, n_within=0, seed=0)
    for make in (joint_learner, partial(relcon_learner, candidates='batch')):
        with pytest.raises(ValueError, match='`dls` gives an anchor 1 candidate'): make(some, arch_config=dict(nf=2))
    one = get_ts_dls(few.X, splits=(list(range(len(few)-1)), [len(few)-1]), tfms=None, bs=16, num_workers=0)
    with pytest.raises(ValueError, match='`dls` has batches of one segment'): simclr_learner(one, arch_config=dict(nf=2))
    assert 'fitting' not in capsys.readouterr().out

def test_dls_that_tell_nothing_of_their_segments_are_refused(few):
    plain = DataLoaders.from_dsets(TensorDataset(torch.from_numpy(few.X[:64])), TensorDataset(torch.from_numpy(few.X[64:96])), bs=16)
    for make in (relcon_learner, joint_learner, simclr_learner, augpred_learner, mvp_learner, motif_learner, motion_learner, masked_learner, rebar_learner):
        with pytest.raises(ValueError, match='`dls` has a TensorDataset, which tells neither channels nor length'): make(plain)

def test_a_distance_without_augmentations_takes_one_channel_and_a_seed_gives_its_weights(few, dls):
    silently(motif_learner(get_ts_dls(few.X[:,:1], splits=subject_splits(few.subject), tfms=None, bs=16, num_workers=0), n_augment=0), 1)
    set_seed(0)
    made = motif_learner(dls, metrics=[]).model
    set_seed(0)
    for a,b in zip(made.parameters(), MotifDistance().parameters()): assert torch.equal(a, b)

def test_what_a_learner_tells_itself_no_record_contradicts(dls, tmp_path):
    motif = motif_learner(dls, MotifDistance(nf=2), metrics=[])
    silently(motif, 1)
    for wrong in (dict(motion_only=True), dict(epochs=3)):
        with pytest.raises(ValueError, match=f'`{[*wrong][0]}` is {[*wrong.values()][0]}, which a Learner tells itself'): save_weights(motif, tmp_path/'d.safetensors', **wrong)
    for wrong in ('abc', -5):
        with pytest.raises(ValueError, match='`length` is'): save_weights(RelConResNet34(nf=2), tmp_path/'e.safetensors', rate=50, length=wrong)
    for wrong in (3, None):
        with pytest.raises(ValueError, match='`path` is a'): save_weights(motif, wrong)

def test_numbers_of_a_first_fit_are_checked_where_none_is_wanted(dls):
    for make in (relcon_learner, joint_learner):
        for wrong in (dict(distance_epochs='x'), dict(distance_lr=-5.)):
            with pytest.raises(ValueError, match=f'`{[*wrong][0]}` is'): make(dls, 'euclidean', arch_config=dict(nf=2), **wrong)

def test_an_exported_distance_goes_on(dls, tmp_path):
    motif = motif_learner(dls, MotifDistance(nf=2))
    silently(motif, 1)
    motif.export(tmp_path/'m.pkl')
    again = load_learner(tmp_path/'m.pkl')
    again.dls = dls
    silently(again, 1)

def test_what_is_no_callback_is_told_before_a_distance_is_fitted(dls, capsys):
    small = dict(arch_config=dict(nf=2))
    for make,options in ((relcon_learner, small), (joint_learner, small), (rebar_learner, small), (simclr_learner, small), (augpred_learner, small), (mvp_learner, small), (motif_learner, {}), (motion_learner, {}), (masked_learner, {}), (partial(relcon_learner, distance='euclidean'), small)):
        with pytest.raises(ValueError, match='`cbs` has 3; wanted callbacks of fastai'): make(dls, cbs=[3], **options)
    assert 'fitting' not in capsys.readouterr().out

def test_what_is_no_distance_is_named(dls):
    for make in (relcon_learner, joint_learner):
        with pytest.raises(ValueError, match="`distance` is 'Euclid', which is no file, and none of 'euclidean'"): make(dls, 'Euclid', arch_config=dict(nf=2))
    with pytest.raises(ValueError, match='`net` is a int; wanted a `MotifDistance`'): motif_learner(dls, 3)
    with pytest.raises(ValueError, match='`arch` is .*Linear.* cannot be called'): relcon_learner(dls, 'euclidean', arch=torch.nn.Linear)
    with pytest.raises(ValueError, match="`monitor` is 'f1'; the columns are 'train_loss', 'valid_loss'"): silently(motif_learner(dls, MotifDistance(nf=2), monitor='f1'), 1)

@pytest.mark.parametrize('make, fit_first', [(relcon_learner, 'motif_learner'), (joint_learner, 'motion_learner'), (rebar_learner, 'masked_learner')])
def test_a_checkpoint_wants_the_methods_own_distance_beforehand(dls, tmp_path, make, fit_first):
    with pytest.raises(ValueError, match=f'fit it beforehand, by `{fit_first}`'): make(dls, cbs=Checkpoint(tmp_path/'run'), arch_config=dict(nf=2))

def test_augmentations_see_what_a_view_is_of(dls):
    assert relcon_learner(dls, 'spectrum', n_augment=1, crop=32, arch_config=dict(nf=2), fs=dict(mine=lambda x, generator=None: x*torch.hann_window(32, device=x.device), scale=scale))

def test_compiled_models_do(dls, few, tmp_path):
    labelled = get_ts_dls(few.X, few.labels, splits=subject_splits(few.subject), tfms=[None, TSClassification()], bs=8, num_workers=0)
    for of in (dls, labelled):
        learn = simclr_learner(of, bs=8, arch_config=dict(nf=2))
        z, encoder = get_embeddings(learn, few[:4]), encoder_of(learn)
        learn.model = torch.compile(learn.model, backend='eager')
        assert encoder_of(learn) is encoder
        np.testing.assert_allclose(get_embeddings(learn, few[:4]), z, atol=1e-5)
        np.testing.assert_allclose(get_embeddings(load_encoder(save_weights(learn, tmp_path/f'{len(z)}{of is dls}.safetensors', rate=50)), few[:4]), z, atol=1e-5)
    net = torch.compile(MotifDistance(nf=4), backend='eager')
    with pytest.raises(ValueError, match='MotifDistance; wanted a Learner, or an encoder'): get_embeddings(net, few[:4])
    silently(relcon_learner(dls, net, arch_config=dict(nf=2)), 1)

def test_candidates_of_groups_want_groups(few, dls, capsys):
    for groups,candidates in (((8, 0), 'within'), ((1, 8), 'between')):
        with pytest.raises(ValueError, match=f"`candidates` is '{candidates}', but"): relcon_learner(relcon_dls(few, n_groups=groups[0], n_within=groups[1]), candidates=candidates)
    for candidates in ('within','between'):
        with pytest.raises(ValueError, match=f"`candidates` is '{candidates}', but these batches have no groups"): relcon_learner(segment_dls(dls), candidates=candidates)
    assert 'fitting' not in capsys.readouterr().out

def test_joint_of_tsais_dls_takes_their_batches(few):
    dls = get_ts_dls(few.X, splits=subject_splits(few.subject), tfms=None, bs=16, num_workers=0)
    learn = joint_learner(dls, 'euclidean', arch_config=dict(nf=2))
    silently(learn, 1)
    assert learn.dls is dls and np.isfinite(learn.recorder.values[-1]).all()

@pytest.mark.parametrize('wrong, says', [(dict(crop=20), '`crop` is 20'), (dict(weight=0), '`weight` is 0'), (dict(aug_pred=-1.), '`aug_pred` is -1'), (dict(nearest=0), '`nearest` is 0'), (dict(shortlist=0), '`shortlist` is 0'), (dict(gravity=-1.), '`gravity` is -1'),
                                         (dict(n_augment=0), '`n_augment` is 0'), (dict(projection=None), '`projection` is None'), (dict(bs=0), '`bs` is 0'), (dict(bs=1), '`bs` is 1'), (dict(by_motion=3), '`by_motion` is 3'), (dict(own_view=False), '`own_view` is False, which is not open'), (dict(loss='binary'), "`loss` is 'binary', which"), (dict(candidates='within'), "`candidates` is 'within', which"),
                                         (dict(gravity=None), '`gravity` is None'), (dict(arch='TSTPlus', arch_config=None), '`arch` cannot embed views of 96 samples'), (dict(arch_config=dict(width=3)), "`arch_config` has 'width'"), (dict(fs=dict(spoil=lambda x: x, scale=scale)), "`fs` has 'spoil', which disturbs no segments"), (dict(fs=dict(cut=lambda x, generator=None: x[...,1:], scale=scale)), "`fs` has 'cut', which changes"), (dict(fs=dict(none=lambda x, generator=None: None, scale=scale)), "`fs` has 'none', which changes"), (dict(crop=64, fs=dict(long=lambda x, generator=None: x*torch.hann_window(128), scale=scale)), "`fs` has 'long', which disturbs no segments of 3 channels and 64 samples")])
def test_bad_input_of_joint_is_told_before_a_fit(dls, capsys, wrong, says):
    with pytest.raises(ValueError, match=says): joint_learner(dls, **(dict(arch_config=dict(nf=2))|wrong))
    if 'arch' in wrong: return
    assert joint_learner(dls, 'spectrum', arch=RelConResNet34(nf=2).train()).model.training
    assert 'fitting' not in capsys.readouterr().out

def test_joint_wants_dls(few):
    with pytest.raises(ValueError, match='`fs` is None, which is not open here'): motion_learner(relcon_dls(few, n_groups=8, n_within=3), fs=None)
    for make in (joint_learner, motion_learner):
        with pytest.raises(ValueError, match='Segments; wanted DataLoaders'): make(few)

# ---- embeddings

@pytest.mark.parametrize('options, says', [(dict(projection=(0,)), '`projection`'), (dict(projection=8), '`projection`'), (dict(projection=()), '`projection`'), (dict(loss='hard'), '`loss`'), (dict(candidates='far'), '`candidates`'),
                                           (dict(own_view=True), '`own_view`'), (dict(nearest=0), '`nearest`')])
def test_bad_departures(dls, options, says):
    with pytest.raises(ValueError, match=says): relcon_learner(dls, 'euclidean', arch_config=dict(nf=2), **options)

def test_ablations_are_one_argument_each(dls):
    for options in (dict(candidates='between'), dict(candidates='within'), dict(loss='log_ratio'), dict(loss='binary'), dict(n_augment=2), dict(nearest=3), dict(n_augment=2, own_view=True), dict(candidates='batch', shortlist=4)):
        learn = relcon_learner(dls, 'spectrum', arch_config=dict(nf=2), **options)
        with learn.no_bar(), learn.no_logging(): learn.fit(1)
        assert np.isfinite(learn.recorder.values[-1]).all(), options

def test_a_projection_learns_and_is_dropped(dls, few, tmp_path):
    learn = relcon_learner(dls, 'spectrum', arch_config=dict(nf=2), projection=(16,5))
    before = [p.detach().clone() for p in learn.model.projection.parameters()]
    with learn.no_bar(), learn.no_logging(): learn.fit(1)
    assert all(not torch.equal(p, q) for p,q in zip(learn.model.projection.parameters(), before)) and learn.model.eval()(torch.from_numpy(few.X[:3])).shape==(3,5)
    Z = get_embeddings(learn, few[:9])
    assert Z.shape==(9,8)
    np.testing.assert_allclose(get_embeddings(load_encoder(save_weights(learn, tmp_path/'e.safetensors')), few[:9]), Z, rtol=1e-4, atol=1e-5)
    evaluate(learn, few, protocol='finetune', folds=2, epochs=1)                         # the encoder, with a head of its own

def test_embeddings_do_not_depend_on_batches_and_leave_the_mode(learn, few):
    learn.model.train()
    z = get_embeddings(learn, few)
    np.testing.assert_allclose(get_embeddings(learn, few.X, bs=7), z, atol=1e-5)
    assert learn.model.training and z.dtype==np.float32
    with torch.no_grad(): np.testing.assert_allclose(learn.model.eval()(torch.from_numpy(few.X[:9])), z[:9], atol=1e-5)

def test_embeddings_use_the_validation_transforms(few):
    dls = get_ts_dls(few.X, few.labels, splits=subject_splits(few.subject), tfms=[None, TSClassification()], batch_tfms=TSStandardize(by_sample=True), bs=16, num_workers=0)
    clf = ts_learner(dls, RelConResNet34, arch_config=dict(nf=4))
    z = get_embeddings(clf, few.X[:6])
    x = torch.from_numpy(few.X[:6])
    x = (x-x.mean((1,2), keepdim=True))/x.std((1,2), keepdim=True)
    with torch.no_grad(): np.testing.assert_allclose(clf.model.eval().embed(x.to(next(clf.model.parameters()).device)).cpu(), z, atol=2e-2)
    assert np.abs(get_embeddings(clf.model, few.X[:6])-z).max()>1e-3

def test_embeddings_refuse_bad_segments_and_other_rates(learn, few):
    from tsai_relcon.datasets import motionsense
    with pytest.raises(ValueError, match='axes seem to come last'): get_embeddings(learn, few.X.transpose(0,2,1))
    with pytest.raises(ValueError, match='NaN'): get_embeddings(learn, np.where(few.X>1, np.nan, few.X))
    with pytest.raises(ValueError, match='trained on 50 Hz'): get_embeddings(learn, motionsense(100, 256)[:10])

# ---- weights

def test_encoder_round_trip(learn, few, tmp_path):
    path = save_weights(learn, tmp_path/'encoder.safetensors', data='MotionSense')
    encoder = load_encoder(path, rate=50)
    np.testing.assert_array_equal(get_embeddings(encoder, few), get_embeddings(learn, few))
    info = weights_info(path)
    assert info==encoder.info and (info['rate'], info['length'], info['unit'], info['config']['nf'])==(50, 128, 'g', 4)
    assert info['record']['data']=='MotionSense' and len(info['record']['epochs'])==1 and info['record']['columns'][:2]==['train_loss','valid_loss']
    assert [f.name for f in tmp_path.iterdir()]==['encoder.safetensors']

def test_distance_round_trip(dls, tmp_path):
    net = MotifDistance(attention='softmax', dilations=(1,2,4)).eval()
    path = save_weights(net, tmp_path/'d.safetensors', rate=50)
    again = load_distance(path, rate=50)
    x = dls.valid.one_batch()[0].data
    torch.testing.assert_close(again(x[:3], x[3:6]), net(x[:3], x[3:6]))
    silently(relcon_learner(dls, path, arch_config=dict(nf=4)), 1)
    with pytest.raises(ValueError, match='100 Hz; the data have 50'): relcon_learner(dls, save_weights(net, tmp_path/'e.safetensors', rate=100))

def test_a_classifier_is_saved_as_its_encoder(few, tmp_path):
    model = RelConResNet34(3, 6, nf=4).eval()
    x = torch.from_numpy(few.X[:3])
    with torch.no_grad(): torch.testing.assert_close(load_encoder(save_weights(model, tmp_path/'e', rate=50))(x), model.embed(x))

def test_saving_refuses(learn, tmp_path):
    path = save_weights(learn, tmp_path/'e.safetensors')
    before = path.read_bytes()
    with pytest.raises(FileExistsError, match='overwrite=True'): save_weights(learn, path)
    assert path.read_bytes()==before
    save_weights(learn, path, overwrite=True, note='again')
    assert weights_info(path)['record']['note']=='again'
    with pytest.raises(ValueError, match='`rate` is missing'): save_weights(RelConResNet34(nf=2), tmp_path/'f')
    assert weights_info(save_weights(learn.model, tmp_path/'f'))['rate']==50                # the network remembers
    with pytest.raises(ValueError, match='Linear'): save_weights(nn.Linear(2,2), tmp_path/'g', rate=50)

def rewritten(path, change=lambda info: info, tensors=lambda t: t):
    "A file like `path` with other metadata or tensors"
    from safetensors import safe_open
    with safe_open(path, 'pt') as f: state = {k: f.get_tensor(k) for k in f.keys()}
    info = change(weights_info(path))
    new = path.with_name('other.safetensors')
    save_file(tensors(state), new, metadata=None if info is None else dict(tsai_relcon=json.dumps(info)))
    return new

def test_loading_refuses_what_does_not_fit(learn, tmp_path):
    path = save_weights(learn, tmp_path/'e.safetensors')
    with pytest.raises(ValueError, match="kind 'encoder'; wanted kind 'distance'"): load_distance(path)
    with pytest.raises(ValueError, match='trained on 50 Hz; the data have 100'): load_encoder(path, rate=100)
    with pytest.raises(ValueError, match='no file'): load_encoder(tmp_path/'nothing')
    with pytest.raises(ValueError, match='not one of `save_weights`'): load_encoder(rewritten(path, lambda info: None))
    with pytest.raises(ValueError, match='not one of `save_weights`'): load_encoder(rewritten(path, lambda info: {**info, 'format': 'tsai_relcon 99'}))
    with pytest.raises(ValueError, match='VGG'): load_encoder(rewritten(path, lambda info: {**info, 'config': dict(arch='VGG')}))
    with pytest.raises(ValueError, match=r'backbone.stem.conv.weight: \(4, 3, 7\), wanted \(8, 3, 7\)'): load_encoder(rewritten(path, lambda info: {**info, 'config': {**info['config'], 'nf': 8}}))
    with pytest.raises(ValueError, match='backbone.stem.conv.bias: missing'): load_encoder(rewritten(path, tensors=lambda t: {k:v for k,v in t.items() if k!='backbone.stem.conv.bias'}))
    with pytest.raises(ValueError, match='extra: not known'): load_encoder(rewritten(path, tensors=lambda t: {**t, 'extra': torch.zeros(1)}))

def test_damaged_values_are_refused(learn, tmp_path):
    path = save_weights(learn, tmp_path/'e.safetensors')
    with pytest.raises(ValueError, match='NaN or infinity in 1 tensors'): load_encoder(rewritten(path, tensors=lambda t: {**t, 'backbone.stem.conv.bias': torch.full((4,), float('nan'))}))

def test_a_cut_or_foreign_file_is_refused(learn, tmp_path):
    path = save_weights(learn, tmp_path/'e.safetensors')
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match='not a whole safetensors file'): load_encoder(path)

def test_save_weights_while_training_and_on_ctrl_c(dls, tmp_path):
    import os, signal
    from fastai.callback.core import Callback
    class Interrupt(Callback):
        def after_pred(self):
            if self.train_iter==1: os.kill(os.getpid(), signal.SIGINT)
    path = tmp_path/'e.safetensors'
    learn = relcon_learner(dls, euclidean, arch_config=dict(nf=4), cbs=[SaveWeights(path), StopOnInterrupt(), Interrupt()])
    silently(learn, 3)
    torch.testing.assert_close(load_encoder(path).backbone.stem.conv.weight, learn.model.backbone.stem.conv.weight)
    with pytest.raises(FileExistsError): SaveWeights(path)

def test_save_weights_writes_after_training_only(dls, tmp_path):
    path = tmp_path/'e.safetensors'
    learn = relcon_learner(dls, euclidean, arch_config=dict(nf=4), cbs=SaveWeights(path))
    learn.validate(); learn.get_preds(dl=dls.valid)
    assert not path.exists()
    silently(learn, 1)
    written = path.read_bytes()
    learn.validate(); learn.get_preds(dl=dls.valid)
    assert path.read_bytes()==written and len(weights_info(path)['record']['epochs'])==1

def test_what_does_not_fit_the_data_is_refused(dls, learn, tmp_path):
    with pytest.raises(ValueError, match='6 channels'): relcon_learner(dls, MotifDistance(6))
    other = load_distance(save_weights(MotifDistance(), tmp_path/'d', rate=100))
    with pytest.raises(ValueError, match='100 Hz; the data have 50'): relcon_learner(dls, other)
    with pytest.raises(ValueError, match='100 Hz; the data have 50'): joint_learner(dls, motif_learner(relcon_dls(dls.valid.dataset.segs.X, np.arange(len(dls.valid.dataset))//8, n_groups=2, n_within=1, rate=100)))
    with pytest.raises(ValueError, match='arch_config'): relcon_learner(dls, euclidean, arch=RelConResNet34(nf=4), arch_config=dict(nf=8))
    with pytest.raises(ValueError, match='`arch`'): relcon_learner(dls, euclidean, arch='ResNet34')
    with pytest.raises(ValueError, match='`rate` is 100'): save_weights(learn, tmp_path/'e', rate=100)
    with pytest.raises(ValueError, match='`rate` is -5'): save_weights(learn.model, tmp_path/'e', rate=-5)
    with pytest.raises(ValueError, match='MotifDistance; wanted'): get_embeddings(MotifDistance(), dls.valid.dataset.segs)
    save_weights(learn, tmp_path/'f', f1=np.float32(.5))

def test_batch_transforms_reach_stage_1_and_are_not_lost_in_a_file(few, tmp_path):
    dls = relcon_dls(few, n_groups=8, n_within=3, batch_tfms=TSStandardize(by_sample=True))
    x = motif_learner(dls, metrics=[]).dls.train.one_batch()[0]
    torch.testing.assert_close(x.data.std((1,2)), torch.ones(len(x)), atol=.05, rtol=0)
    with pytest.raises(ValueError, match='TSStandardize'): save_weights(relcon_learner(dls, euclidean, arch_config=dict(nf=4)), tmp_path/'e')

def test_tsai_carries_the_weights_over(learn, few, tmp_path):
    dls = get_ts_dls(few.X, few.labels, splits=subject_splits(few.subject), tfms=[None, TSClassification()], bs=16, num_workers=0)
    clf = carried_over(learn, tmp_path, dls, RelConResNet34, dict(nf=4))
    with clf.no_bar(), clf.no_logging(): clf.fine_tune(1)

# ---- from the authors' program

def test_release_states_that_do_not_fit():
    encoder, distance = (load_golden(n)['weights'] for n in ('resnet34_slim','motif_distance'))
    with pytest.raises(ValueError, match='first_block_conv.weight'): encoder_from_release(distance)
    with pytest.raises(ValueError, match='q_func.layer0'): distance_from_release(encoder)
    with pytest.raises(ValueError, match='missing'): encoder_from_release({k:v for k,v in encoder.items() if 'projection' not in k})
    with pytest.raises(ValueError, match='not known'): distance_from_release({**distance, 'head.weight': torch.zeros(2)})

def test_release_states_of_data_parallel_and_of_arrays():
    state = load_golden('resnet34_slim')['weights']
    a, b = encoder_from_release(state), encoder_from_release({f'module.{k}': v.numpy() for k,v in state.items()})
    assert all(torch.equal(v, b.state_dict()[k]) for k,v in a.state_dict().items())

def test_a_full_disk_within_a_fit_is_told_and_the_fit_goes_on(few, tmp_path, monkeypatch):
    import errno
    import tsai_relcon.learner as room
    from tsai_relcon.core import DataWarning
    written, real = [], room.write_whole
    def full_at_first(path, data):
        written.append(path)
        if len(written)<3: raise OSError(errno.ENOSPC, 'No space left on device')
        return real(path, data)
    monkeypatch.setattr(room, 'write_whole', full_at_first)
    learn = relcon_learner(relcon_dls(few, n_groups=4, n_within=2, train_batches=1, valid_batches=1), MotifDistance(), arch_config=dict(nf=4), cbs=SaveWeights(tmp_path/'e.safetensors', seconds=1e9))
    with learn.no_bar(), learn.no_logging(), pytest.warns(DataWarning, match='No space left') as told: learn.fit(3)
    assert len(told)==1 and len(written)==4 and weights_info(tmp_path/'e.safetensors')['kind']=='encoder'
    written.clear()
    with learn.no_bar(), learn.no_logging(), pytest.raises(OSError, match='No space left'), pytest.warns(DataWarning): learn.fit(1)      # the last one must be written
