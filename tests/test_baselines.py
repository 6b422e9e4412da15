"The methods that RelCon is held against: each loss and distance beside a slow oracle of its formula; heads learn; only the encoder is kept"
import math
from copy import deepcopy
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from fastai.callback.core import Callback
from fastai.learner import Learner, load_learner
from fastai.torch_core import set_seed
from tsai.data.core import get_ts_dls
from tsai_relcon.augment import augmentations
from tsai_relcon.baselines import (AugPred, MaskedDistance, MaskedReconstruction, REBAR, SimCLR, aug_pred_tasks, augpred_learner, disturb_by_task, hidden_error, hide_half, hide_stretch, masked_distances,
                                   masked_learner, mvp_learner, rebar_learner, rebar_loss, simclr_learner, task_accuracy, task_loss, view_accuracy)
from tsai_relcon.batches import relcon_dls
from tsai_relcon.callback import MotifReconstruction, check_finite, no_loss
from tsai_relcon.distance import MotifDistance
from tsai_relcon.learner import get_embeddings, joint_learner, load_encoder, motif_learner, motion_learner, relcon_learner, save_weights
from tsai_relcon.losses import nt_xent
from tsai_relcon.models import RelConResNet34
from tsai_relcon.splits import subject_splits

small = dict(arch_config=dict(nf=4))
learners = dict(simclr=lambda dls, **kw: simclr_learner(dls, bs=16, **small, **kw), augpred=lambda dls, **kw: augpred_learner(dls, bs=16, **small, **kw),
                rebar=lambda dls, **kw: rebar_learner(dls, MaskedDistance(nf=4), **small, **kw), mvp=lambda dls, **kw: mvp_learner(dls, bs=16, **small, **kw))

@pytest.fixture
def dls(few): return relcon_dls(few[::3], n_groups=8, n_within=3, splits=subject_splits(few[::3].subject), anchors='all', seed=0)

def silently(learn, *args, **kw):
    with learn.no_bar(), learn.no_logging(): learn.fit(*args, **kw)

class Spy(Callback):
    "Notes the batches as the loss sees them, and the loss"
    order = 80
    def before_fit(self): self.seen = []
    def after_loss(self): self.seen.append((self.training, [o.clone() for o in self.learn.xb], self.pred.detach().clone(), [o.clone() for o in self.learn.yb], self.learn.loss_grad.item()))

# ---- what all of them share -------------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize('name', learners)
def test_every_weight_moves_and_everything_is_put_back(dls, name):
    learn = learners[name](dls)
    loss, metrics = learn.loss_func, list(learn.metrics)
    learn.create_opt()
    before = {k: v.clone() for k,v in learn.model.named_parameters()}
    silently(learn, 1, 1e-2)
    still = [k for k,v in learn.model.named_parameters() if k in before and torch.equal(v, before[k])]
    assert not [k for k in still if 'bias' not in k or 'conv' not in k]              # a bias before a batch norm has no gradient
    assert learn.loss_func is loss and list(learn.metrics)==metrics

def test_masked_values_are_validated_alike_and_take_no_metrics(dls):
    learn = learners['mvp'](dls)
    with learn.no_bar(), learn.no_logging(): a, b = learn.validate()[0], learn.validate()[0]
    assert a==b
    before = {k: v.clone() for k,v in learn.model.state_dict().items()}
    with learn.no_bar(), learn.no_logging(): learn.validate(), learn.lr_find(num_it=2, show_plot=False, suggest_funcs=None)
    assert all(torch.equal(v, before[k]) for k,v in learn.model.state_dict().items())
    with pytest.raises(ValueError, match='`metrics` is given; tsai'): learners['mvp'](dls, metrics=[task_accuracy])

def test_options_of_callbacks_are_checked():
    for wrong in (dict(p='x'), dict(p=None), dict(p=0), dict(p=1.)):
        with pytest.raises(ValueError, match='`p` is'): AugPred(**wrong)
    for wrong in ([1], {}, dict(a=1)):
        with pytest.raises(ValueError, match='`tasks` is'): AugPred(tasks=wrong)
    for make in (SimCLR, AugPred, MaskedReconstruction, MotifReconstruction, lambda seed: REBAR(MaskedDistance(nf=1), seed=seed)):
        for wrong in ('x', -1, 1.5):
            with pytest.raises(ValueError, match='`seed` is'): make(seed=wrong)

def test_a_batch_without_segments_is_told():
    with pytest.raises(ValueError, match='`dls` gave a batch without segments'): check_finite(torch.zeros(0, 3, 8))

def test_a_fit_of_masked_values_keeps_its_rate_and_its_head(dls):
    learn = learners['mvp'](dls)
    head = learn.model.head
    silently(learn, 1, 2e-2, wd=.3)
    assert all(h['lr']==2e-2 and h['wd']==.3 for h in learn.opt.hypers) and learn.model.head is head
    with learn.no_bar(): learn.validate()
    assert learn.model.head is head

def test_a_fit_that_dies_leaves_nothing_behind(dls):
    learn = learners['mvp'](dls)
    loss = learn.loss_func
    class Fails(Callback):
        def after_pred(self): raise KeyboardInterrupt
    learn.add_cb(fails := Fails())
    with pytest.raises(KeyboardInterrupt): silently(learn, 1)
    learn.remove_cb(fails)
    silently(learn, 1)
    assert learn.loss_func is loss

@pytest.mark.parametrize('name', ['simclr','augpred','rebar'])
def test_a_copy_trains_too(dls, name):
    learn = deepcopy(learners[name](dls))
    silently(learn, 1)
    assert np.isfinite(learn.recorder.values[-1][0])

def test_an_export_leaves_the_masked_distance_out(dls, tmp_path):
    learn = learners['rebar'](dls, path=tmp_path)
    learn.export('rebar.pkl')
    again = load_learner(tmp_path/'rebar.pkl')
    again.dls = dls
    assert again.rebar.distance is None and learn.rebar.distance is not None
    with pytest.raises(ValueError, match='`distance` is gone'): silently(again, 1)

def test_the_head_of_masked_values_learns(dls):
    learn = learners['mvp'](dls)
    seen = []
    class Look(Callback):
        order = 80
        def before_batch(self):
            if self.training: seen.append(self.learn.model.head[1].weight.detach().clone())
    silently(learn, 1, 1e-2, cbs=Look())
    assert not torch.equal(seen[0], seen[-1])

@pytest.mark.parametrize('name', learners)
def test_the_encoder_alone_is_kept(dls, few, name, tmp_path):
    learn = learners[name](dls)
    silently(learn, 1)
    Z = get_embeddings(learn, few[:20])
    assert Z.shape==(20, 16)
    encoder = load_encoder(save_weights(learn, tmp_path/'encoder.safetensors'))
    np.testing.assert_allclose(get_embeddings(encoder, few[:20]), Z, rtol=1e-4, atol=1e-5)
    assert len(encoder.info['subjects'])

@pytest.mark.parametrize('name', learners)
def test_the_same_seed_gives_the_same_encoder_and_training_helps(few, name):
    def run():
        set_seed(1)
        dls = relcon_dls(few[::3], n_groups=8, n_within=3, splits=subject_splits(few[::3].subject), anchors='all', seed=0)
        learn = learners[name](dls)
        silently(learn, 3, 3e-3)
        return get_embeddings(learn, few[:5]), [r[0] for r in learn.recorder.values]
    (z, losses), (again, _) = run(), run()
    np.testing.assert_array_equal(z, again)
    assert losses[-1]<losses[0]

@pytest.mark.parametrize('name', ['simclr','augpred','rebar'])
def test_validation_is_the_same_every_time(dls, name):
    learn = learners[name](dls)
    with learn.no_bar(): assert learn.validate()[0]==learn.validate()[0]

@pytest.mark.parametrize('name', ['simclr','augpred','mvp'])
def test_dls_of_tsai(few, name):
    dls = get_ts_dls(few.X, splits=subject_splits(few.subject), bs=16, num_workers=0)
    learn = learners[name](dls)
    silently(learn, 1)
    assert np.isfinite(learn.recorder.values[-1][0])

# ---- SimCLR -----------------------------------------------------------------------------------------------------------------------------------

def test_simclr_shows_two_different_views_of_each_segment(dls):
    learn = learners['simclr'](dls)
    silently(learn, 1, cbs=(spy := Spy()))
    for _, (views,), z, (y,), loss in spy.seen[:3]:
        n = len(views)//2
        assert views.shape[1:]==(3,128) and not torch.equal(views[:n], views[n:]) and torch.equal(y[:n], y[n:]) and z.shape[1]==50
        assert loss==pytest.approx(nt_xent(z, .1).item(), rel=1e-5)

def test_simclr_shows_stretches(dls):
    silently(learners['simclr'](dls, crop=40), 1, cbs=(spy := Spy()))
    assert {views.shape[1:] for _, (views,), *_ in spy.seen}=={(3,40)}
    with pytest.raises(ValueError, match='`crop` is 0'): SimCLR(crop=0)

def test_view_accuracy():
    z = torch.eye(3).repeat(2, 1)
    assert view_accuracy(z, torch.arange(3).repeat(2))==1 and view_accuracy(z, torch.tensor([0,1,2,1,2,0]))==0

def test_simclr_may_ask_about_its_views(dls):
    seen, learn = [], learners['simclr'](dls, aug_pred=3.)
    class Look(Callback):
        order = 80
        def after_loss(self): seen.append((self.training, self.pred, self.learn.yb, self.learn.loss_grad.item()))
    silently(learn, 1, cbs=Look())
    (_, (z, answers), (_, done), loss), (_, z_valid, y_valid, loss_valid) = seen[0], seen[-1]
    assert loss==pytest.approx((nt_xent(z, .1)+3*task_loss(answers, done)).item(), rel=1e-5) and answers.shape==done.shape==(len(z),3)
    assert len(y_valid)==1 and loss_valid==pytest.approx(nt_xent(z_valid, .1).item(), rel=1e-5)
    for wrong in (dict(aug_pred=0.), dict(aug_pred=1., n_augment=6), dict(aug_pred=1., fs=augmentations)):
        with pytest.raises(ValueError, match='`aug_pred` is|`n_augment` is|`fs` has'): SimCLR(**wrong)

# ---- AugPred ----------------------------------------------------------------------------------------------------------------------------------

def test_disturbed_segments_are_told_and_others_left_alone(few):
    x = torch.from_numpy(few.X[:400])
    y, done = disturb_by_task(x, aug_pred_tasks, generator=torch.Generator().manual_seed(0))
    assert torch.equal(y[done.sum(1)==0], x[done.sum(1)==0]) and torch.equal(x, torch.from_numpy(few.X[:400]))
    only_reversed = (done==torch.tensor([1.,0,0])).all(1)
    assert only_reversed.sum()>20 and torch.equal(y[only_reversed], x[only_reversed].flip(-1))
    only_shuffled = (done==torch.tensor([0,1.,0])).all(1)
    assert torch.equal(y[only_shuffled].sort(-1)[0], x[only_shuffled].sort(-1)[0])
    assert ((done.mean(0)-.5).abs()<.08).all()                                       # three standard errors of 400 coins

def test_task_loss_and_accuracy_by_loop():
    g = torch.Generator().manual_seed(0)
    answers, done = torch.randn(7, 3, generator=g, dtype=torch.float64).float(), (torch.rand(7, 3, generator=g)<.5).float()
    p = [[1/(1+math.exp(-a)) for a in row] for row in answers.tolist()]
    slow = sum(-math.log(p[i][j] if done[i,j] else 1-p[i][j]) for i in range(7) for j in range(3))/21
    assert task_loss(answers, done).item()==pytest.approx(slow, rel=1e-5)
    assert task_accuracy(answers, done).item()==pytest.approx(sum((p[i][j]>.5)==bool(done[i,j]) for i in range(7) for j in range(3))/21)

def test_augpred_sees_more_motion_than_there_is(few):
    still_and_moving = few[np.isin(few.labels, ['sit','std','jog'])]
    dls = relcon_dls(still_and_moving, n_groups=4, n_within=3, small_groups='drop', splits=subject_splits(still_and_moving.subject), seed=0)
    moving = [augpred_learner(dls, bs=16, by_motion=m, **small).dls.train for m in (True, False)]
    weighted, plain = [np.mean([b[0].data.std(-1).mean().item() for b in dl]) for dl in moving]
    assert weighted>1.3*plain

def test_those_who_draw_evenly_may_draw_by_motion(few):
    dls = relcon_dls(few[::4], n_groups=4, n_within=3, small_groups='drop', seed=0)
    for make in (motif_learner, motion_learner, masked_learner, mvp_learner):
        assert [make(dls, bs=16, by_motion=m).dls.train.by_motion for m in (True, False)]==[True, False] and not make(dls).dls.train.by_motion
        with pytest.raises(ValueError, match='`by_motion` is 3'): make(dls, by_motion=3)
    for make in (rebar_learner, relcon_learner):                                           # whose groups the dls draw
        with pytest.raises(TypeError, match=r'wanted relcon_dls\(..., by_motion=True\)'): make(dls, by_motion=True)

# ---- REBAR ------------------------------------------------------------------------------------------------------------------------------------

def masked_oracle(net, a, hidden, c):
    "One anchor from one candidate, sample by sample: (C, L)"
    m = net.net
    C, L = a.shape
    seen = [t for t in range(L) if not hidden[t]]
    mean = torch.stack([sum(a[i,t] for t in seen)/len(seen) for i in range(C)])
    std  = torch.stack([(sum((a[i,t]-mean[i])**2 for t in seen)/len(seen)+1e-5).sqrt() for i in range(C)])
    norm = lambda x: (x-mean[:,None])/std[:,None]*m.revin.weight[:,None]+m.revin.bias[:,None]
    first = m.f_q.first
    ks, half = first.kernel_size[0], first.kernel_size[0]//2
    y, x = torch.zeros(first.out_channels, L), norm(a)
    for t in range(L):
        taps = [k for k in range(ks) if 0<=t+k-half<L and not hidden[t+k-half]]
        total = sum((first.weight[:,:,k]*x[:,t+k-half]).sum(1) for k in taps) if taps else torch.zeros(first.out_channels)
        y[:,t] = total*(ks/len(taps) if taps else 0) + first.bias
    q = m.f_q.after_first(y[None])[0]
    k, v = m.f_k(norm(c)[None])[0], m.f_v(norm(c)[None])[0]
    out = torch.zeros(C, L)
    for t in range(L):
        w = torch.stack([(q[:,t]*k[:,u]).sum() for u in range(L)]).div(math.sqrt(len(q))).softmax(0)
        z = m.out.weight@sum(w[u]*v[:,u] for u in range(L)) + m.out.bias
        out[:,t] = (z-m.revin.bias)/(m.revin.weight+m.revin.eps**2)*std + mean
    return out

@torch.no_grad()
def test_the_masked_distance_equals_its_definition(few):
    torch.manual_seed(0)
    net, x = MaskedDistance(nf=6, ks=5).eval(), torch.from_numpy(few.X[[0,40,80],:,:30])
    net.net.revin.weight.data = torch.tensor([1.,.7,1.3])
    hidden = hide_stretch(x[:2], .4, torch.Generator().manual_seed(1))
    anchors, candidates = torch.tensor([0,1]), torch.tensor([[1,2],[2,0]])
    slow = [[sum((masked_oracle(net, x[a], hidden[i], x[c])[ch,t]-x[a][ch,t])**2 for ch in range(3) for t in range(30) if hidden[i,t]).item() for c in row] for i,(a,row) in enumerate(zip(anchors, candidates.tolist()))]
    torch.testing.assert_close(masked_distances(net, x, anchors, candidates, hidden), torch.tensor(slow), rtol=1e-4, atol=1e-5)

@pytest.mark.parametrize('pairs', [1, 3, 64])
def test_pieces_of_masked_distances_do_not_matter(few, pairs):
    net, x = MaskedDistance(nf=8).eval(), torch.from_numpy(few.X[:12])
    anchors, candidates, hidden = torch.arange(6), torch.randint(0, 12, (6,5)), hide_half(x[:6])
    slow = torch.stack([hidden_error(net(x[[a]*5], hidden[[a]*5], x[candidates[a]]), x[[a]*5], hidden[[a]*5]) for a in range(6)])
    torch.testing.assert_close(masked_distances(net, x, anchors, candidates, hidden, pairs), slow.detach(), rtol=1e-4, atol=1e-5)

def test_what_is_hidden_has_no_influence(few):
    net, x = MaskedDistance(nf=8).eval(), torch.from_numpy(few.X[:4])
    hidden = hide_half(x)
    torch.testing.assert_close(net(x, hidden, x.flip(0)), net(x.masked_fill(hidden[:,None], 7.), hidden, x.flip(0)))

def test_what_is_hidden():
    x = torch.zeros(50, 3, 40)
    stretch, half = hide_stretch(x, .25), hide_half(x)
    assert (stretch.sum(1)==10).all() and (half.sum(1)==20).all()
    assert ((stretch[:,1:]!=stretch[:,:-1]).sum(1)<=2).all() and len(stretch.unique(dim=0))>5       # in one piece, at various places
    with pytest.raises(ValueError, match='`share` is 1'): hide_stretch(x, 1.)

@pytest.mark.parametrize('alpha', [0., .3, 1.])
def test_rebar_loss_by_loop(alpha):
    g = torch.Generator().manual_seed(0)
    z, anchors, candidates, positive = torch.randn(20, 5, generator=g, dtype=torch.float64), torch.arange(4), torch.randint(0, 20, (4,7), generator=g), torch.randint(0, 3, (4,), generator=g)
    total = 0.
    for a in range(4):
        e = [math.exp(F.cosine_similarity(z[a], z[c], dim=0).item()/.2) for c in candidates[a]]
        p = e[positive[a]]
        total += alpha*-math.log(p/(p+sum(e[3:]))) + (1-alpha)*-math.log(p/sum(e[:3]))
    assert rebar_loss(z, anchors, candidates, positive, 3, .2, alpha).item()==pytest.approx(total/4, rel=1e-9)

def test_rebar_takes_the_nearest_companion(dls):
    learn = learners['rebar'](dls)
    spy, hidden = Spy(), []
    keep = hide_half
    import tsai_relcon.baselines as b
    b.hide_half = lambda x, g=None: hidden.append(keep(x, g)) or hidden[-1]
    try: silently(learn, 1, cbs=spy)
    finally: b.hide_half = keep
    for h, (_, (x,), z, (anchors, candidates, positive, W), loss) in list(zip(hidden, spy.seen))[:3]:
        d = masked_distances(learn.rebar.distance, x.as_subclass(torch.Tensor), anchors, candidates[:,:W], h)
        assert torch.equal(d.argmin(1), positive) and int(W)==3
        assert loss==pytest.approx(rebar_loss(z, anchors, candidates, positive, 3).item(), rel=1e-5)

def test_a_masked_distance_that_diverged_does_not_rank(dls):
    broken = MaskedDistance(nf=4)
    for p in broken.parameters(): p.data.fill_(torch.nan)
    with pytest.raises(ValueError, match='`distance` gave NaN or infinity'): silently(rebar_learner(dls, broken, **small), 1)

def test_fitting_the_masked_distance_lowers_its_error(dls):
    set_seed(0)
    learn = masked_learner(dls, MaskedDistance(nf=8), bs=16)
    with learn.no_bar(): before = learn.validate()[0]
    silently(learn, 4, 1e-2)
    with learn.no_bar(): assert learn.validate()[0]<.8*before

# ---- bad input ----------------------------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize('make, says', [
    (lambda dls: simclr_learner(dls, tau=0.), '`tau`'), (lambda dls: simclr_learner(dls, projection=(0,)), '`projection`'), (lambda dls: simclr_learner(dls, bs=0), '`bs`'),
    (lambda dls: simclr_learner(3), '`dls`'), (lambda dls: augpred_learner(dls, arch='resnet'), '`arch`'), (lambda dls: mvp_learner(dls, arch=torch.nn.Identity()), '`arch`'),
    (lambda dls: rebar_learner(dls, torch.nn.Linear(2,2)), '`distance`'), (lambda dls: rebar_learner(dls, MaskedDistance(), alpha=2), '`alpha`'), (lambda dls: AugPred(p=0.), '`p`'),
    (lambda dls: masked_learner(dls, share=0.).fit(1), '`share`')])
def test_bad_arguments(dls, make, says):
    with pytest.raises(ValueError, match=says): make(dls)

def test_rebar_wants_groups(few):
    plain = get_ts_dls(few.X, splits=subject_splits(few.subject), bs=32, num_workers=0)
    for dls in (plain, relcon_dls(few, n_groups=8, n_within=1)):
        for distance in (None, MaskedDistance(nf=4)):
            with pytest.raises(ValueError, match='`dls` has no groups'): rebar_learner(dls, distance, **small)
    with pytest.raises(ValueError, match='`dls` has no groups'): silently(Learner(plain, RelConResNet34(nf=2), loss_func=no_loss, cbs=REBAR(MaskedDistance(nf=4))), 1)

def test_what_a_method_cannot_do_is_told_before_it_trains(few, dls):
    short = relcon_dls(few.X[:,:,:40], np.arange(len(few))//8, n_groups=2, n_within=0, rate=50)
    with pytest.raises(ValueError, match='`dls` has segments of 40 samples; AugPred asks about 44 or more'): augpred_learner(short, **small)
    with pytest.raises(ValueError, match='`n_augment` is 0'): simclr_learner(dls, n_augment=0, **small)
    for wrong in (0., 1., 1e-6, .9, 1.5, np.nan, 'x', True):
        with pytest.raises(ValueError, match='`r` is'): mvp_learner(dls, r=wrong, **small)
    for wrong in (-.1, 1.5, np.nan, 'x', True):
        with pytest.raises(ValueError, match='`alpha` is'): rebar_learner(dls, alpha=wrong, **small)
    with pytest.raises(ValueError, match='`dls` has batches of one'): simclr_learner(get_ts_dls(few.X, splits=subject_splits(few.subject), tfms=None, bs=1, num_workers=0), **small)
    for make in (simclr_learner, augpred_learner):
        with pytest.raises(ValueError, match='`by_motion` is 3'): make(dls, by_motion=3, **small)
    assert augpred_learner(relcon_dls(few.X[:,:,:44], np.arange(len(few))//8, n_groups=2, n_within=0, rate=50), **small)
    for make in (simclr_learner, augpred_learner, mvp_learner):
        with pytest.raises(ValueError, match='`bs` is 1; wanted a whole number, 2 or more'): make(dls, bs=1, **small)

@pytest.mark.parametrize('make,usual', [(simclr_learner,128), (augpred_learner,256), (mvp_learner,256), (joint_learner,128), (motif_learner,64), (masked_learner,64)])
def test_segments_a_batch(make, usual, dls, few):
    made_by_tsai = get_ts_dls(few.X, splits=subject_splits(few.subject), tfms=None, bs=48, num_workers=0)
    options = dict(by_motion=False) | (dict(arch_config=dict(nf=2)) if make not in (motif_learner, masked_learner) else {}) | (dict(distance='spectrum') if make is joint_learner else {})
    def bs(*args, **kw): return make(*args, **options, **kw).dls.train.bs
    assert (bs(dls), bs(dls, bs=7), bs(made_by_tsai), bs(made_by_tsai, bs=48))==(usual, 7, 48, 48)
    with pytest.raises(ValueError, match='`bs` is 7; `dls` stay as they are, in batches of 48: wanted dls made with bs=7, or bs=None'): bs(made_by_tsai, bs=7)

def test_the_masked_distance_has_a_file(dls, tmp_path):
    masked = masked_learner(dls, MaskedDistance(nf=4, ks=5))
    path = save_weights(masked, tmp_path/'masked.safetensors')
    kept = rebar_learner(dls, path, arch_config=dict(nf=2)).rebar.distance
    assert kept.config==masked.model.config and all(torch.equal(v, kept.state_dict()[k]) for k,v in masked.model.state_dict().items())
    with pytest.raises(ValueError, match="kind 'masked distance'; wanted kind 'distance'"): relcon_learner(dls, path, arch_config=dict(nf=2))
    motif = save_weights(motif_learner(dls, MotifDistance(nf=4)), tmp_path/'motif.safetensors')
    with pytest.raises(ValueError, match="kind 'distance'; wanted kind 'masked distance'"): rebar_learner(dls, motif, arch_config=dict(nf=2))

def test_rebar_between_groups_wants_groups(few):
    for alpha in (.5, 1.):
        with pytest.raises(ValueError, match=f'`alpha` is {alpha}, but batches are one group'): rebar_learner(relcon_dls(few, n_groups=1, n_within=2), alpha=alpha, arch_config=dict(nf=2))

@pytest.mark.parametrize('share', [0, 1, 2, 'x', None])
def test_shares_are_shares(dls, share):
    with pytest.raises(ValueError, match='`share` is .*above 0, below 1'): masked_learner(dls, share=share)
    with pytest.raises(ValueError, match='`net` is a int'): masked_learner(dls, 3)
