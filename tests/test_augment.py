"Properties of the eight augmentations, for shapes, values and random states that hypothesis chooses"
from functools import partial
import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from tsai.data.core import TSTensor
from tsai_relcon import augment as A
from tsai_relcon.augment import augmentations, random_augment

batches = st.builds(lambda b, L, seed: torch.randn(b, 3, L, generator=torch.Generator().manual_seed(seed)),
                    st.integers(1, 5), st.integers(8, 40), st.integers(0, 10**6))
seeds = st.integers(0, 2**31)
names = st.sampled_from(sorted(augmentations))
gen = lambda seed: torch.Generator().manual_seed(seed)
quick = settings(max_examples=60, deadline=None)

def everything(): return {**augmentations, 'random': random_augment}

@given(batches, st.sampled_from(sorted(everything())), seeds)
@quick
def test_shape_type_determinism_and_input_left_alone(x, name, seed):
    f, before = everything()[name], x.clone()
    y = f(x, generator=gen(seed))
    assert y.shape==x.shape and y.dtype==x.dtype and torch.isfinite(y).all()
    assert torch.equal(f(x, generator=gen(seed)), y)
    assert torch.equal(x, before)
    assert f(x.double(), generator=gen(seed)).dtype==torch.float64

@given(batches.filter(lambda x: len(x)>1), st.sampled_from(sorted(everything())), seeds)
@quick
def test_each_sample_is_on_its_own(x, name, seed):
    f, other = everything()[name], x.clone()
    other[1:] = 3*other[1:] - 1
    torch.testing.assert_close(f(x, generator=gen(seed))[0], f(other, generator=gen(seed))[0])

@pytest.mark.parametrize('name', ['noise','scale','rotation','channel_shuffle','permutation','time_warp','random'])
def test_each_sample_draws_its_own_numbers(name):
    x = torch.randn(1, 3, 32, generator=gen(0)).expand(20, -1, -1)
    y = everything()[name](x, generator=gen(1))
    assert len(torch.unique(y.reshape(20, -1), dim=0))>=5

@given(batches, seeds)
@quick
def test_rotation_keeps_norms_and_angles(x, seed):
    y = A.rotate(x, generator=gen(seed))
    torch.testing.assert_close(y.norm(dim=1), x.norm(dim=1), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(y.transpose(1,2)@y, x.transpose(1,2)@x, rtol=1e-3, atol=1e-4)

@given(seeds)
@quick
def test_rotation_matrices_are_rotations(seed):
    g = gen(seed)
    axis, angle = torch.randn(4, 3, generator=g, dtype=torch.float64), torch.randn(4, generator=g, dtype=torch.float64)*3
    R, I = A.rotation_matrix(axis, angle), torch.eye(3, dtype=torch.float64).expand(4,3,3)
    torch.testing.assert_close(R@R.transpose(1,2), I)
    torch.testing.assert_close(torch.linalg.det(R), torch.ones(4, dtype=torch.float64))
    torch.testing.assert_close((axis[:,None]@R)[:,0], axis)                                # the axis stays
    torch.testing.assert_close(R.diagonal(dim1=1, dim2=2).sum(1), 1+2*angle.cos())         # the angle is the angle

@given(batches, seeds)
@quick
def test_involutions(x, seed):
    assert torch.equal(A.negate(A.negate(x)), x)
    assert torch.equal(A.reverse(A.reverse(x)), x) and torch.equal(A.reverse(x)[...,0], x[...,-1])

@given(batches, seeds)
@quick
def test_channel_shuffle_moves_whole_channels_and_never_none(x, seed):
    y = A.shuffle_channels(x, generator=gen(seed))
    for before, after in zip(x, y):
        order = [next(c for c in range(3) if torch.equal(before[c], row)) for row in after]
        assert sorted(order)==[0,1,2] and order!=[0,1,2]

@given(st.integers(1, 4), st.integers(8, 60), st.integers(1, 6), seeds)
@quick
def test_permutation_shuffles_runs(b, L, n_cuts, seed):
    t = torch.arange(float(L)).expand(b, 2, L)
    y = A.permute(t, n_cuts=n_cuts, generator=gen(seed))
    assert torch.equal(y.sort(-1)[0], t) and torch.equal(y[:,0], y[:,1])      # all samples once, channels together
    assert ((y[:,0].diff(dim=-1)!=1).sum(-1)<=n_cuts).all()                   # in at most n_cuts+1 runs

@given(st.integers(1, 4), st.integers(8, 60), seeds)
@quick
def test_time_warp_keeps_order_and_range(b, L, seed):
    y = A.time_warp(torch.arange(float(L)).expand(b, 3, L), generator=gen(seed))
    assert (y.diff(dim=-1)>=-1e-4).all() and y.min()>=0 and y.max()<=L-1+1e-3

def test_time_warp_against_numpy():
    from scipy.interpolate import CubicSpline
    g, L = gen(0), 50
    x, knots = torch.randn(3, 2, L, generator=g, dtype=torch.float64), 1+.2*torch.randn(3, 2, 6, generator=g, dtype=torch.float64)
    y = A.apply_time_warp(x, knots)
    for b in range(3):
        for c in range(2):
            times = CubicSpline(np.linspace(0, L-1, 6), knots[b,c])(np.arange(L)).cumsum()
            np.testing.assert_allclose(y[b,c], np.interp(np.arange(L), times*(L-1)/times[-1], x[b,c]), atol=1e-10)

def test_time_warp_survives_wild_knots():
    x = torch.randn(2, 3, 64)
    assert torch.isfinite(A.apply_time_warp(x, torch.full((2,3,6), -5.))).all()

def test_sizes_of_noise_and_scaling():
    x = torch.ones(2000, 3, 16)
    noise, factor = A.add_noise(x, generator=gen(0))-1, A.scale(x, generator=gen(0))[:,:,0]
    assert abs(noise.std()-.1)<.002 and abs(noise.mean())<.002
    assert abs(factor.std()-.25)<.01 and abs(factor.mean()-1)<.01

def test_a_crop_is_a_stretch_of_each_segment_and_every_place_comes_up():
    x = torch.randn(400, 3, 9)
    y = A.random_crop(x, 4, gen(0))
    places = [[i for i in range(6) if torch.equal(a, b[:,i:i+4])] for a,b in zip(y, x)]
    assert y.shape==(400,3,4) and all(len(p)==1 for p in places) and {p[0] for p in places}==set(range(6))
    assert torch.equal(A.random_crop(x, 9), x)

def test_a_view_is_a_crop_that_is_augmented():
    x, fs = torch.randn(50, 3, 16), dict(negation=A.negate)
    assert torch.equal(A.random_view(x, 1, fs, 7, gen(0)), -A.random_crop(x, 7, gen(0)))
    assert torch.equal(A.random_view(x, generator=gen(1)), random_augment(x, generator=gen(1)))

def test_an_asked_view_is_a_crop_disturbed_by_task_and_then_augmented():
    x, fs = torch.randn(200, 3, 60), dict(negation=A.negate)
    y, done = A.asked_view(x, 1, fs, 48, gen(0))
    g = gen(0)
    by_hand, also = A.disturb_by_task(A.random_crop(x, 48, g), A.aug_pred_tasks, generator=g)
    assert torch.equal(y, -by_hand) and torch.equal(done, also) and done.shape==(200,3) and set(done.unique().tolist())=={0.,1.}
    assert set(A.not_asked())|set(A.aug_pred_tasks)==set(A.augmentations) and not set(A.not_asked())&set(A.aug_pred_tasks) and A.not_asked(fs) is fs

def test_what_is_asked_about_is_not_done_unasked():
    for name,f in dict(reversal=A.negate, flip=A.reverse, cut=partial(A.permute, n_cuts=2)).items():
        with pytest.raises(ValueError, match=f"`fs` has '{name}', about which"): A.asked_view(torch.randn(2, 3, 60), 1, dict(negation=A.negate) | {name: f})

def test_random_augment_takes_two_different_ones_in_the_order_drawn():
    fs = {str(i): (lambda i: lambda x, generator=None: 10*x+i)(i) for i in range(1,5)}       # writes down what it did, digit by digit
    y = random_augment(torch.zeros(500, 1, 1), 2, fs, gen(0))[:,0,0].int().tolist()
    assert set(y)=={10*a+b for a in range(1,5) for b in range(1,5) if a!=b}
    assert torch.equal(random_augment(x := torch.randn(3,3,9), 0), x)

def test_rotations_are_about_every_axis_by_every_angle():
    basis = torch.eye(3, dtype=torch.float64).expand(4000, 3, 3)
    R = A.rotate(basis, generator=gen(0))
    angle = ((R.diagonal(dim1=1, dim2=2).sum(1)-1)/2).clamp(-1, 1).acos()
    axis  = torch.stack([R[:,2,1]-R[:,1,2], R[:,0,2]-R[:,2,0], R[:,1,0]-R[:,0,1]], 1)[angle.sin()>.1]
    axis  = axis/axis.norm(dim=1, keepdim=True)
    assert torch.quantile(angle, torch.tensor([.1,.5,.9], dtype=torch.float64)).tolist()==pytest.approx([.1*np.pi, .5*np.pi, .9*np.pi], abs=.1)
    assert axis.mean(0).tolist()==pytest.approx([0]*3, abs=.05) and axis.square().mean(0).tolist()==pytest.approx([1/3]*3, abs=.03)

def test_speeds_of_a_time_warp_are_drawn_around_1(monkeypatch):
    monkeypatch.setattr(A, 'apply_time_warp', lambda x, knots: knots)
    knots = A.time_warp(torch.zeros(500, 3, 20), generator=gen(0))
    assert knots.shape==(500,3,6) and knots.mean().item()==pytest.approx(1, abs=.01) and knots.std().item()==pytest.approx(.2, abs=.01)

def test_quarters_are_of_more_than_ten_samples():
    for L in (A.samples_asked_about, 60, 128):
        order = A.permute_quarters(torch.arange(L, dtype=torch.float)[None,None].expand(300, 1, -1), generator=gen(0))[:,0]
        assert torch.equal(order.sort(1)[0], torch.arange(L, dtype=torch.float).expand(300, -1))
        pieces = [np.diff(np.r_[0, 1+np.flatnonzero(np.diff(o)!=1), L]) for o in order.numpy()]        # two that stay neighbours look like one
        assert min(map(min, pieces))>10 and max(map(len, pieces))==4

@pytest.mark.parametrize('call,name', [
    (lambda: A.rotate(torch.zeros(1,2,8)), 'channels'), (lambda: A.shuffle_channels(torch.zeros(1,1,8)), 'channel'),
    (lambda: A.permute(torch.zeros(1,3,4), n_cuts=4), 'n_cuts'), (lambda: random_augment(torch.zeros(1,3,8), 9), '`n`'), (lambda: A.random_crop(torch.zeros(1,3,8), 9), '`crop` is 9'), (lambda: A.random_crop(torch.zeros(1,3,8), 0), '`crop` is 0'), (lambda: A.random_crop(torch.zeros(1,3,8), 4.), '`crop` is 4.0'), (lambda: A.random_crop(torch.zeros(1,3,8), None), '`crop` is None'), (lambda: A.TSRotate(p=1.5), '`p`')])
def test_bad_arguments(call, name):
    with pytest.raises(ValueError, match=name): call()

transforms = [A.TSAddNoise, A.TSScale, A.TSRotate, A.TSNegate, A.TSReverse, A.TSShuffleChannels, A.TSPermute, A.TSWarpTime, A.TSRandomAugment]

@pytest.mark.parametrize('tfm', transforms)
def test_transforms_disturb_training_batches_only(tfm):
    x = TSTensor(torch.randn(8, 3, 32))
    y = tfm()(x, split_idx=0)
    assert type(y) is TSTensor and y.shape==x.shape and not torch.equal(y.data, x.data)
    assert torch.equal(tfm()(x, split_idx=1).data, x.data)

def test_transform_probability_is_for_each_sample():
    x = TSTensor(torch.ones(4000, 1, 2))
    share = (A.TSNegate(p=.3, generator=gen(0))(x, split_idx=0).data[:,0,0]==-1).float().mean()
    assert abs(share-.3)<.03

def test_in_tsai_beside_tsais_own(few):
    from tsai.data.core import get_ts_dls, TSClassification
    from tsai.data.preprocessing import TSStandardize
    dls = get_ts_dls(few.X, few.labels, splits=(list(range(800)), list(range(800, len(few)))), tfms=[None, TSClassification()], bs=64, num_workers=0,
                     batch_tfms=[TSStandardize(by_sample=True), A.TSRotate(p=.5), A.TSScale(sd=.5)])
    xb, yb = dls.train.one_batch()
    assert type(xb) is TSTensor and xb.shape==(64,3,128) and torch.isfinite(xb).all()
