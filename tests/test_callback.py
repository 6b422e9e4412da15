"The two stages as fastai callbacks: what they compute, what they put back, and what they leave alone"
from copy import deepcopy
from functools import partial
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from fastai.callback.core import Callback, CancelBatchException, CancelEpochException, CancelFitException, CancelTrainException
from fastai.learner import Learner
from fastai.torch_core import set_seed
from tsai.data.core import get_ts_dls
from tsai_relcon.augment import add_noise, negate, random_augment, reverse
from tsai_relcon.baselines import SimCLR
from tsai_relcon.callback import MotifReconstruction, RelCon
from tsai_relcon.monitor import ranking_metrics
from tsai_relcon.provenance import trained_on
from tsai_relcon.splits import subject_splits
from tsai_relcon.batches import batch_index, grouped_index, relcon_dls, segment_dls
from tsai_relcon.distance import MotifDistance, motif_distances
from tsai_relcon.learner import get_embeddings, relcon_learner
from tsai_relcon.losses import RelConLoss, nt_xent
from tsai_relcon.plain_distances import plain_distances, spectrum_distances
from tsai_relcon.models import RelConResNet34

def euclidean(x, anchors, candidates): return (x[anchors][:,None]-x[candidates]).square().sum((2,3))
def silently(learn, *args, **kw):
    with learn.no_bar(), learn.no_logging(): learn.fit(*args, **kw)

@pytest.fixture
def dls(few): return relcon_dls(few[::3], n_groups=8, n_within=3, splits=subject_splits(few[::3].subject), anchors='all')

def make(dls, *cbs, distance=euclidean, **kw): return Learner(dls, RelConResNet34(nf=4), loss_func=F.mse_loss, cbs=[RelCon(distance, **kw), *cbs])

class Spy(Callback):
    "Notes the batches as the loss sees them, and the loss"
    order = 55
    def before_fit(self): self.seen = []
    def after_loss(self): self.seen.append((self.pred.detach().clone(), [o.clone() for o in self.learn.yb], self.learn.loss_grad.item()))

@pytest.mark.parametrize('attention', ['sparsemax','softmax'])
def test_the_loss_of_a_step_is_the_loss_of_its_definition(dls, attention):
    net = MotifDistance()
    learn = make(dls, spy := Spy(), distance=net, tau=.2, attention=attention)
    xs = []
    learn.add_cb(type('Keep', (Callback,), dict(order=0, before_batch=lambda self: xs.append(self.x.data.clone())))())
    silently(learn, 1)
    anchors, candidates = grouped_index(8, 3, 'all')
    for x, (z, (d, a, c), loss) in list(zip(xs, spy.seen))[:3]:
        assert torch.equal(a, anchors) and torch.equal(c, candidates)
        torch.testing.assert_close(d, motif_distances(net, x, anchors, candidates, attention))
        assert loss==pytest.approx(RelConLoss(.2)(z, d, anchors, candidates).item(), rel=1e-6)

def test_ungrouped_batches_are_their_own_pool(few):
    ts_dls = get_ts_dls(few.X, few.subject.astype(int), splits=subject_splits(few.subject), tfms=None, bs=16, num_workers=0)
    learn = make(ts_dls, spy := Spy())
    silently(learn, 1)
    assert all(torch.equal(c, batch_index(len(z))[1]) for z,(d,a,c),_ in spy.seen)

def test_training_lowers_the_loss_and_raises_the_correlation(few):
    set_seed(0)
    dls = relcon_dls(few, n_groups=8, n_within=3, anchors='all', seed=0)      # the same batches whichever tests ran before
    learn = Learner(dls, RelConResNet34(nf=8), loss_func=F.mse_loss, cbs=RelCon(euclidean))
    from tsai_relcon.losses import rank_correlation
    learn.metrics = [rank_correlation]
    loss, correlation = learn.validate()
    silently(learn, 3, 1e-3)
    loss_after, correlation_after = learn.validate()
    assert loss_after<loss-1 and correlation_after>correlation+.05

@pytest.mark.parametrize('event', ['before_batch','after_pred','after_backward','before_validate','after_epoch'])
@pytest.mark.parametrize('cancel', [CancelFitException, CancelEpochException, CancelTrainException, CancelBatchException])
def test_the_loss_is_put_back_after_cancel(dls, event, cancel):
    def raise_it(self): raise cancel()
    learn = make(dls, type('Cancel', (Callback,), dict(order=56, **{event: raise_it}))())
    try: silently(learn, 1)
    except cancel: assert cancel is not CancelFitException    # raised where fastai does not expect it, which ends the fit as an error
    else: assert learn.loss_func is F.mse_loss and not learn.rel_con.active
    learn.remove_cb(learn.cancel)
    silently(learn, 1)
    assert learn.loss_func is F.mse_loss

def test_an_error_in_the_middle_does_not_lose_the_own_loss(dls):
    class Fails(Callback):
        def after_pred(self): raise KeyboardInterrupt
    learn = make(dls, fails := Fails())
    with pytest.raises(KeyboardInterrupt): silently(learn, 1)
    learn.remove_cb(fails)
    assert learn.get_preds(dl=dls.valid)[0].shape[1]==16     # predictions are embeddings even now
    silently(learn, 1)
    assert learn.loss_func is F.mse_loss

def test_validate_alone_measures_and_puts_back(dls):
    learn = make(dls)
    silently(learn, 1)
    in_fit = learn.recorder.values[-1][1]
    assert learn.validate()[0]==pytest.approx(in_fit, rel=1e-4)
    assert learn.loss_func is F.mse_loss and not learn.rel_con.active

def test_predictions_are_embeddings_and_targets_are_left_alone(dls):
    learn = make(dls)
    z, groups = learn.get_preds(dl=dls.valid)
    assert z.shape==(len(dls.valid)*32, 16) and groups.dtype==torch.int64 and groups.ndim==1

def test_the_distance_is_a_frozen_copy_outside_of_the_model(dls):
    net = MotifDistance()
    before = {k: v.clone() for k,v in net.state_dict().items()}
    learn = make(dls, distance=net)
    silently(learn, 1)
    assert all(p.requires_grad for p in net.parameters()) and net.training
    assert all(torch.equal(v, before[k]) for k,v in learn.rel_con.distance.state_dict().items())
    assert len(list(learn.model.parameters()))==len(list(RelConResNet34(nf=4).parameters()))

def test_export_leaves_the_distance_out(dls, tmp_path):
    from fastai.learner import load_learner
    marker = MotifDistance(nf=256)
    learn = make(dls, distance=marker)
    learn.path = tmp_path
    silently(learn, 1)
    learn.export('relcon.pkl')
    encoder_bytes = sum(p.numel()*4 for p in learn.model.state_dict().values())
    assert (tmp_path/'relcon.pkl').stat().st_size<3*encoder_bytes+200_000 < sum(p.numel()*4 for p in marker.parameters())
    loaded = load_learner(tmp_path/'relcon.pkl')
    x = dls.valid.one_batch()[0]
    torch.testing.assert_close(loaded.model.eval()(x), learn.model.eval()(x))
    assert loaded.get_preds(dl=dls.valid)[0].shape[1]==16
    loaded.dls = dls
    with pytest.raises(ValueError, match='distance'): loaded.fit(1)
    assert learn.rel_con.distance is not None and deepcopy(learn).rel_con.distance is not None

def test_export_carries_nobodys_recordings(dls, tmp_path):
    from fastai.learner import load_learner
    learn = Learner(dls, MotifDistance(), loss_func=F.mse_loss, cbs=MotifReconstruction(), metrics=ranking_metrics(dls.valid.dataset.segs, n=10), path=tmp_path)
    learn.export('motif.pkl')
    assert all(m.sample is None for m in load_learner(tmp_path/'motif.pkl').metrics)

@pytest.mark.parametrize('kind', ['one','all'])
def test_batches_that_come_again_keep_their_distances(few, kind):
    calls = []
    def counting(x, a, c): calls.append(len(x)); return euclidean(x, a, c)
    def losses(distance, memory):
        set_seed(3)
        dls = relcon_dls(few[::3], n_groups=6, n_within=3, anchors=kind, redraw=2, splits=subject_splits(few[::3].subject))
        learn = Learner(dls, RelConResNet34(nf=4), loss_func=F.mse_loss, cbs=RelCon(distance))
        if not memory: learn.rel_con._distances = lambda x, index: learn.rel_con.ranked(x, *index)
        silently(learn, 4)
        return dls, learn.recorder.values
    dls, kept = losses(counting, True)
    assert len(calls)==2*len(dls.train)+len(dls.valid)          # two draws of training batches, one of validation
    _, anew = losses(euclidean, False)
    assert np.allclose([list(v) for v in kept], [list(v) for v in anew], rtol=1e-6)

def test_redraw_keeps_batches_and_shuffles_their_order(few):
    dl = relcon_dls(few, n_groups=6, n_within=3, redraw=3).train
    epochs = [[x.numpy().tobytes() for x,_ in dl] for _ in range(4)]
    assert set(epochs[0])==set(epochs[1])==set(epochs[2])!=set(epochs[3]) and epochs[0]!=epochs[1]

def test_motion_only_ranks_without_gravity(dls):
    learn = make(dls, spy := Spy(), motion_only=True)
    xs = []
    learn.add_cb(type('Keep', (Callback,), dict(order=0, before_batch=lambda self: xs.append(self.x.data.clone())))())
    silently(learn, 1)
    for x, (_, (d, a, c), _) in list(zip(xs, spy.seen))[:2]: torch.testing.assert_close(d, euclidean(x-x.mean(-1, keepdim=True), a, c))

def test_the_ranking_is_measured_anew_each_time(dls):
    learn = Learner(dls, RelConResNet34(nf=4), loss_func=F.mse_loss, cbs=RelCon(euclidean), metrics=ranking_metrics(dls.valid.dataset.segs, n=20))
    before = list(learn.validate())
    with torch.no_grad():
        for p in learn.model.parameters(): p.add_(torch.randn_like(p))
    assert learn.validate()[1]!=before[1]

def test_the_loss_is_worked_out_in_full_precision():
    torch.manual_seed(0)
    z = 1+.1*torch.randn(48, 32)
    a, c = grouped_index(8, 5)
    d = torch.rand(c.shape)
    with torch.autocast('cpu', dtype=torch.bfloat16): half = RelConLoss()(z, d, a, c)
    assert half.item()==pytest.approx(RelConLoss()(z, d, a, c).item(), rel=1e-6)

@pytest.mark.parametrize('wrong,says', [(lambda x,a,c: torch.full(c.shape, float('nan')), 'NaN'), (lambda x,a,c: torch.zeros(3), r'wanted a tensor \(A, K\)'), (lambda x,a,c: None, 'NoneType')])
def test_distances_that_cannot_be_ranked(dls, wrong, says):
    with pytest.raises(ValueError, match=says): silently(make(dls, distance=wrong), 1)

@pytest.mark.parametrize('to', ['to_bf16','to_fp16'])
def test_mixed_precision(dls, to):
    learn = getattr(make(dls, distance=MotifDistance()), to)()
    silently(learn, 1)
    assert np.isfinite(learn.recorder.values[-1][:2]).all()

@pytest.mark.parametrize('wrong', [None, 3, 'euclid', MotifDistance, torch.nn.Linear(2,2)])
def test_bad_distance(wrong):
    with pytest.raises(ValueError, match='distance'): RelCon(wrong)

def test_bad_attention():
    with pytest.raises(ValueError, match='attention'): RelCon(euclidean, attention='hard')

@pytest.mark.parametrize('wrong, says', [(dict(candidates='near'), "`candidates` is 'near'"), (dict(loss='hard'), "`loss` is 'hard'"), (dict(n_augment=-1), '`n_augment` is -1'), (dict(n_augment=1.5), '`n_augment`'), (dict(gravity=.1), '`gravity` is 0.1'), (dict(motion_only=True, gravity=-1.), '`gravity` is -1'), (dict(own_view=True), '`own_view`'), (dict(own_view=True, n_augment=2, loss='log_ratio'), '`own_view` is True and `loss`'), (dict(nearest=0), '`nearest`'), (dict(weight=.3), '`weight` is 0.3, but `own_view` is False'), (dict(weight=0., n_augment=2, own_view=True), '`weight` is 0'), (dict(aug_pred=1.), '`aug_pred` is 1.0, but `n_augment` is 0'), (dict(aug_pred=-1., n_augment=1), '`aug_pred` is -1'), (dict(aug_pred=1., n_augment=6), '`n_augment` is 6; there are 5'), (dict(aug_pred=1., n_augment=1, fs=dict(reversal=reverse)), "`fs` has 'reversal'"), (dict(crop=8), '`crop` is 8, but `n_augment` is 0'), (dict(crop=0, n_augment=1), '`crop` is 0'), (dict(shortlist=0), '`shortlist` is 0'), (dict(shortlist=True), '`shortlist` is True'), (dict(shortlist=4, loss='log_ratio'), '`shortlist` is 4 and `loss`')])
def test_bad_departures(wrong, says):
    with pytest.raises(ValueError, match=says): RelCon(euclidean, **wrong)

@pytest.mark.parametrize('anchors', ['one','all'])
@pytest.mark.parametrize('pool', ['within','between'])
def test_candidates_of_one_kind(few, pool, anchors):
    dls = relcon_dls(few[::3], n_groups=8, n_within=3, splits=subject_splits(few[::3].subject), anchors=anchors)
    learn = make(dls, spy := Spy(), candidates=pool)
    silently(learn, 1)
    for _, (d, a, c), _ in spy.seen:
        assert d.shape==c.shape==(len(a), 3 if pool=='within' else 7) and ((a[:,None]//4==c//4)==(pool=='within')).all()

@pytest.mark.parametrize('anchors', ['one','all'])
def test_all_others_of_the_batch_are_candidates(few, anchors):
    dls = relcon_dls(few[::3], n_groups=4, n_within=3, splits=subject_splits(few[::3].subject), anchors=anchors)
    learn = make(dls, spy := Spy(), candidates='batch')
    silently(learn, 1)
    for _, (d, a, c), _ in spy.seen:
        assert d.shape==(16,15) and [{i, *others} for i,others in zip(a.tolist(), c.tolist())]==[set(range(16))]*16

def test_a_shortlist_is_ranked_by_the_distance_and_the_others_come_after(few):
    x, (a, c) = torch.from_numpy(few.X[::7][:14]), batch_index(14)
    for options, gravity, seen in [(dict(), 8., x), (dict(motion_only=True), 0., x-x.mean(-1, keepdim=True)), (dict(motion_only=True, gravity=.2), 8., x)]:
        asked = []
        def watching(x, a, c): asked.append(c); return euclidean(x, a, c)
        d = RelCon(watching, shortlist=5, **options).ranked(x, a, c)
        full, coarse = RelCon(euclidean, **options).ranked(x, a, c), spectrum_distances(seen, a, c, gravity)
        assert [len(row) for row in asked[0]]==[5]*14
        for i in range(14):                                              # the order that two sorts in a row give
            by_spectrum = sorted(range(13), key=lambda k: coarse[i,k])
            wanted = sorted(by_spectrum[:5], key=lambda k: full[i,k]) + by_spectrum[5:]
            assert d[i].argsort().tolist()==wanted
    assert torch.equal(RelCon(euclidean, shortlist=13).ranked(x, a, c), RelCon(euclidean).ranked(x, a, c))

@pytest.mark.parametrize('size', [1e-6, 1., 1e6])
def test_a_shortlist_keeps_its_order_among_copies_and_whatever_the_size_of_distances(few, size):
    x = torch.from_numpy(few.X[::7][:10]).repeat(3, 1, 1)                # everybody is there three times
    a, c = batch_index(30)
    d = RelCon(lambda *xs: size*euclidean(*xs), shortlist=6).ranked(x, a, c)
    full, coarse = euclidean(x, a, c), spectrum_distances(x, a, c)
    for i in range(30):
        on = d[i]<6
        assert on.sum()==6 and coarse[i,on].max()<=coarse[i,~on].min() and d[i,on].max()<d[i,~on].min()
        for part,by in ((on, full), (~on, coarse)):
            assert torch.equal(d[i,part][:,None]<d[i,part], by[i,part][:,None]<by[i,part])

@pytest.mark.parametrize('kw', [dict(), dict(own_view=True), dict(own_view=True, weight=.3), dict(own_view=True, weight=.3, aug_pred=2.), dict(aug_pred=2.)])
def test_metrics_of_training_see_what_those_of_validation_see(dls, kw):
    learn = relcon_learner(dls, euclidean, arch_config=dict(nf=2), n_augment=1, projection=(8,4), nearest=3, **kw)
    learn.recorder.train_metrics = True
    silently(learn, 1)
    assert np.isfinite(list(learn.recorder.values[-1])).all() and len(learn.recorder.values[-1])==4       # loss and correlation, of training and of validation

@pytest.mark.parametrize('kw', [dict(nearest=2), dict(nearest=2, n_augment=1, own_view=True), dict(nearest=2, n_augment=1, own_view=True, weight=.3, shortlist=3)])
def test_a_last_batch_of_one(few, kw):
    n = 33
    dls = relcon_dls(few.X[:66], np.repeat(np.arange(6), 11), splits=(list(range(n)), list(range(n,66))), n_groups=2, n_within=1)
    learn = make(segment_dls(dls, 32), spy := Spy(), **kw)
    silently(learn, 1)
    assert {len(seen[1][0]) for seen in spy.seen}=={32,1} and all(np.isfinite(loss) for *_, loss in spy.seen)

@pytest.mark.parametrize('kw, says', [(dict(crop=999), '`crop` is 999, .*128 samples: no such view'), (dict(crop=3), "`crop` is 3: `fs` has 'permutation'"), (dict(crop=20, projection=(4,), aug_pred=1.), '`crop` is 20, .* of 3 channels and 128 samples: .*44 samples or more'), (dict(arch='TSTPlus', crop=64), '`crop` is 64, .*`arch` cannot embed views of 64 samples')])
def test_a_crop_that_cannot_be_is_told_before_a_distance_is_fitted(dls, kw, says, capsys):
    if 'arch' not in kw: kw['arch_config'] = dict(nf=2)
    with pytest.raises(ValueError, match=says): relcon_learner(dls, n_augment=1, **kw)
    assert 'fitting' not in capsys.readouterr().out

@pytest.mark.parametrize('pool, shape', [('within', dict(n_groups=8, n_within=0)), ('between', dict(n_groups=1, n_within=3))])
def test_a_pool_that_is_empty(few, pool, shape):
    dls = relcon_dls(few[::3], splits=subject_splits(few[::3].subject), **shape)
    with pytest.raises(ValueError, match=f"`candidates` is '{pool}', but"): silently(make(dls, candidates=pool), 1)

def test_a_last_batch_of_one_has_nobody_to_compare_with_and_costs_nothing(few):
    ts_dls = get_ts_dls(few.X[:33], splits=(list(range(17)), list(range(17, 33))), tfms=None, bs=[16,16], num_workers=0, drop_last=False)
    learn = make(ts_dls, spy := Spy())
    learn.model.eval()
    with learn.no_bar(): learn.validate(dl=ts_dls.valid.new(shuffle=False, bs=15))
    assert [len(z) for z,*_ in spy.seen]==[15,1] and spy.seen[1][2]==0

def test_ungrouped_batches_know_no_pools(few):
    ts_dls = get_ts_dls(few.X, splits=subject_splits(few.subject), bs=16, num_workers=0)
    with pytest.raises(ValueError, match='have no groups'): silently(make(ts_dls, candidates='within'), 1)

def test_gravity_beside_motion_is_its_share_of_a_squared_error(few):
    "Euclid squared: of motion, and of the means, add up to that of the whole"
    x, (a, c) = torch.from_numpy(few.X[:9]), batch_index(9)
    ranked = lambda **kw: RelCon(euclidean, **kw).ranked(x, a, c)
    torch.testing.assert_close(ranked(motion_only=True, gravity=1.), ranked(), rtol=1e-4, atol=1e-3)
    motion, means = ranked(motion_only=True), ranked()-ranked(motion_only=True)
    torch.testing.assert_close(ranked(motion_only=True, gravity=.1), motion+.1*means, rtol=1e-4, atol=1e-3)

def test_a_search_for_a_rate_leaves_no_mark(dls):
    net = MotifDistance(nf=4)
    learn = Learner(segment_dls(dls, 16), net, loss_func=F.mse_loss, cbs=[MotifReconstruction(motion_only=True)])
    with learn.no_bar(), learn.no_logging(): learn.lr_find(num_it=3, show_plot=False, suggest_funcs=None)
    assert not trained_on(net)
    silently(learn, 1)
    assert trained_on(net)['motion_only'] is True

def test_a_distance_of_motion_is_fitted_without_gravity(dls):
    learn = Learner(segment_dls(dls, 16), MotifDistance(nf=4), loss_func=F.mse_loss, cbs=[MotifReconstruction(motion_only=True), spy := Spy()])
    silently(learn, 1)
    for _, (target,), _ in spy.seen: torch.testing.assert_close(target.mean(-1), torch.zeros(len(target), 3), rtol=0, atol=1e-5)

class Asked:
    "A distance that counts how often it is asked"
    def __init__(self, draws=False, func=None): self.n, self.draws, self.func = 0, draws, func
    def __call__(self, *args): self.n += 1; return euclidean(*args)

def counting(marked):
    "A counter, and a distance around it of which `marked` says what draws: a partial, the function in it, or neither"
    asked = Asked(marked=='function')
    outer = partial(asked)
    if marked=='partial': outer.draws = True
    return asked, outer

def test_what_a_distance_drew_is_not_served_again(few):
    def asked(of, distance, epochs=3):
        dls = relcon_dls(few[::3], n_groups=4, n_within=3, splits=subject_splits(few[::3].subject), seed=0, redraw=epochs, train_batches=2, valid_batches=1)
        silently(make(dls, distance=distance), epochs)
        return of.n
    assert [asked(*counting(marked)) for marked in ('neither','function','partial')]==[3, 9, 9]
    assert asked(both := Asked(True, func=euclidean), both)==9

def test_views_are_for_the_encoder_and_the_ranking_sees_the_segments(dls):
    seen, clean = [], []
    def watching(x, a, c): seen.append(x.clone()); return euclidean(x, a, c)
    class Look(Callback):
        order = 80
        def before_batch(self): clean.append((self.training, self.learn.xb[0].clone()))
    silently(make(dls, Look(), distance=watching, n_augment=2), 1)
    assert len(seen)==len(clean) and all(torch.equal(x, shown)!=training for x,(training,shown) in zip(seen, clean))

def test_views_are_made_by_the_augmentations_named(dls):
    shown = []
    class Look(Callback):
        order = 80
        def before_batch(self):
            if self.training: shown.append(self.learn.xb[0].clone())
    ranked = []
    def watching(x, a, c): ranked.append(x.clone()); return euclidean(x, a, c)
    silently(make(dls, Look(), distance=watching, n_augment=1, fs=dict(negation=negate), own_view=True), 1)
    assert shown and all(torch.equal(s, torch.cat([-x,-x])) for s,x in zip(shown, ranked))
    for wrong in (dict(fs=[negate]), dict(fs=dict(negation='negate'))):
        for method in (partial(RelCon, euclidean, n_augment=1), MotifReconstruction, SimCLR):
            with pytest.raises(ValueError, match='`fs` is'): method(**wrong)
    with pytest.raises(ValueError, match='`n_augment` is 2; there are 1'): RelCon(euclidean, n_augment=2, fs=dict(negation=negate))

@pytest.mark.parametrize('own_view', [False, True])
def test_the_encoder_may_see_a_stretch_and_the_ranking_sees_all(dls, own_view):
    shown, ranked = [], []
    def watching(x, a, c): ranked.append(x.shape[-1]); return euclidean(x, a, c)
    class Look(Callback):
        order = 80
        def before_batch(self): shown.append((self.training, self.learn.xb[0].shape[-1]))
    silently(make(dls, Look(), distance=watching, n_augment=1, crop=20, own_view=own_view), 1)
    L = dls.train.dataset[[0]][0].shape[-1]
    assert set(ranked)=={L} and set(shown)=={(True,20), (False,L)}
    with pytest.raises(ValueError, match='`crop` is 999'): silently(make(dls, n_augment=1, crop=999), 1)

@pytest.mark.parametrize('kw', [dict(), dict(own_view=True), dict(own_view=True, weight=.3, candidates='batch')])
def test_questions_about_the_views_of_a_ranking(dls, few, kw):
    seen, learn = [], relcon_learner(dls, euclidean, arch_config=dict(nf=2), n_augment=1, fs=dict(noise=add_noise), crop=60, projection=(8,4), aug_pred=2., **kw)
    class Look(Callback):
        order = 55
        def after_loss(self): seen.append((self.training, self.pred, self.learn.yb, self.learn.loss_grad.item()))
    before = learn.model.questions.weight.clone()
    silently(learn, 1, cbs=Look())
    for training, pred, yb, loss in seen[:3]+seen[-1:]:
        if not training: assert pred.shape[1]==4 and len(yb)==3; continue                      # in validation nobody is asked: the ranking alone
        (z, answers), (*y, done) = pred, yb
        assert answers.shape==done.shape==(len(z),3)
        rest = learn.rel_con.loss_func.loss(z, *y).item()
        assert loss==pytest.approx(rest + 2*F.binary_cross_entropy_with_logits(answers, done).item(), rel=1e-5)
    assert seen[0][0] and not seen[-1][0] and not torch.equal(before, learn.model.questions.weight) and get_embeddings(learn, few[:9]).shape==(9,8)

def test_questions_want_somebody_who_answers(dls):
    with pytest.raises(ValueError, match='no `questions` to answer with'): silently(make(dls, n_augment=1, aug_pred=1.), 1)
    with pytest.raises(ValueError, match='`aug_pred` is 1.0, but `projection` is None'): relcon_learner(dls, euclidean, n_augment=1, aug_pred=1.)

def test_the_own_view_is_nearest_of_all(dls):
    learn = make(dls, spy := Spy(), n_augment=2, own_view=True, loss='relative', nearest=4)
    silently(learn, 1)
    (z, (d, a, c), loss), plain = spy.seen[0], dls.train.index
    n = len(z)//2
    assert torch.equal(a, plain[0]) and torch.equal(c[:,0], a+n) and torch.equal(c[:,1:], plain[1]+n) and (d[:,:1]<d[:,1:]).all()
    assert loss==pytest.approx(RelConLoss(nearest=4)(z, d, a, c).item(), rel=1e-5)
    z, (d, a, c), _ = spy.seen[-1]
    assert torch.equal(c, plain[1]) and len(z)==n                      # validation sees each segment once, as it is

def test_views_meet_and_the_ranking_stands_beside(dls):
    learn = make(dls, spy := Spy(), n_augment=2, own_view=True, nearest=4, weight=.3)
    silently(learn, 1)
    (z, (d, a, c, views), loss), plain = spy.seen[0], dls.train.index
    n = len(z)//2
    assert torch.equal(a, plain[0]) and torch.equal(c, plain[1]+n) and views.tolist()==[*range(n)]*2
    assert loss==pytest.approx((nt_xent(z, .1)+.3*RelConLoss(nearest=4)(z, d, a, c)).item(), rel=1e-5)
    z, (d, a, c), loss = spy.seen[-1]
    assert len(z)==n and torch.equal(c, plain[1]) and loss==pytest.approx(RelConLoss(nearest=4)(z, d, a, c).item(), rel=1e-5)      # validation: the ranking

@pytest.mark.parametrize('name', ['euclidean','spectrum','random'])
def test_a_distance_by_name(dls, name):
    torch.manual_seed(0)
    learn = make(dls, spy := Spy(), distance=name)
    silently(learn, 1)
    x = list(dls.valid)[-1][0].data
    if name!='random': torch.testing.assert_close(spy.seen[-1][1][0], plain_distances[name](x, *dls.valid.index))
    assert np.isfinite(learn.recorder.values[-1]).all()

# ---- stage 1

def test_stage_1_rebuilds_x_from_its_disturbed_copy(dls):
    torch.manual_seed(0)
    learn = Learner(dls, MotifDistance(dropout=0.), loss_func=F.mse_loss, cbs=[MotifReconstruction(seed=3), spy := Spy()])
    loss = learn.validate()[0]
    wanted = []
    for i,(x,_) in enumerate(dls.valid):
        x, g = x.data, torch.Generator().manual_seed(3+i)
        with torch.no_grad(): wanted.append((learn.model.eval()(x, random_augment(x, 2, generator=g))-x).square().sum().item())
    assert loss==pytest.approx(np.mean(wanted), rel=1e-4)
    assert learn.validate()[0]==loss and learn.loss_func is F.mse_loss

def test_stage_1_learns(few):
    torch.manual_seed(0)
    dls = relcon_dls(few, n_groups=8, n_within=3, anchors='all')
    learn = Learner(dls, MotifDistance(), cbs=MotifReconstruction(), loss_func=F.mse_loss)
    before = learn.validate()[0]
    silently(learn, 2, 1e-3)
    assert learn.validate()[0]<.8*before
