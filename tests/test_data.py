"The way in: what is malformed is refused with a remedy, splits share nobody, batches hold what they say"
import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from scipy.signal import periodogram
from sklearn.model_selection import GroupKFold
from tsai_relcon.core import Segments, is_flat
from tsai_relcon.data import counts_to_g, ms2_to_g, resample, segment, windows
from tsai_relcon.splits import neighbourhoods, subject_splits
from tsai_relcon.batches import batch_index, grouped_index, relcon_dls, segment_dls
from tsai_relcon.datasets import motionsense

rng = np.random.default_rng(0)
def good(n=6, L=40): return rng.normal([[0],[0],[1]], .1, (n,3,L)).astype(np.float32)
def fields(**change): return {**dict(X=good(), subject=list('aabbcc'), time=np.arange(6.), rate=50), **change}
def with_nan(v=np.nan): x = good(); x[4,1,7] = v; return x
def with_flat(): x = good(); x[2] = x[2,:,:1]; return x
def with_dead_axis(): x = good(); x[:,1] = .5; return x

# ---- Segments

@pytest.mark.parametrize('change,says', [
    (dict(X=good()[0]), r'`X` has shape \(3, 40\).*X\[None\]'), (dict(X=good().transpose(0,2,1)), r'axes seem to come last: pass X.transpose\(0,2,1\)'),
    (dict(X=good()[:,:2]), '3 axes'), (dict(X=good()[:0]), 'at least one segment'), (dict(X=good()[...,:1]), 'two samples'),
    (dict(X=with_nan()), 'NaN or infinity in 1 of 6 segments .the first: 4'), (dict(X=with_nan(-np.inf)), 'NaN or infinity'),
    (dict(X=with_flat()), r'flat in 1 of 6 segments .the first: 2.*is_flat'), (dict(X=with_dead_axis()), 'axis 1'),
    (dict(X=(good()*1000).astype(int)), 'counts_to_g'), (dict(X=np.round(good()*1000)), 'whole numbers.*counts_to_g'),
    (dict(X=good()*9.81), 'ms2_to_g'), (dict(X=good().astype(str)), 'floating point'), (dict(X=good().astype(complex)), 'floating point'),
    (dict(subject=list('aab')), r'`subject` has shape \(3,\)'), (dict(subject=['a',None,'b','b','c','c']), '`subject` lacks 1'), (dict(subject=np.arange(6.)), 'subject'), (dict(subject=['a',float('nan'),'b','b','c','c']), '`subject` lacks 1'), (dict(labels=['a',None,'b','b','c','c']), '`labels` lacks 1'),
    (dict(subject=None), '`subject` and `time` are wanted'), (dict(time=np.arange(5.)), '`time` has shape'), (dict(time=[0,1,np.nan,3,4,5]), '`time` lacks 1'),
    (dict(time=list('abcdef')), '`time` holds'), (dict(time=None), '`time`'), (dict(labels=['x']), '`labels` has shape'), (dict(recording=[1,2]), '`recording`'),
    (dict(rate=0), '`rate` is 0'), (dict(rate=-50), '`rate`'), (dict(rate=np.nan), '`rate`'), (dict(rate=None), '`rate`'), (dict(rate='50'), '`rate`')])
def test_malformed_segments_are_refused(change, says):
    with pytest.raises(ValueError, match=says): Segments(**fields(**change))

@pytest.mark.parametrize('dtype', [np.float16, np.float32, np.float64])
def test_well_formed_segments(dtype):
    s = Segments(**fields(X=good().astype(dtype), labels=list('xyxyxy')))
    assert s.X.dtype==np.float32 and s.seconds==.8 and len(s)==6
    some = s[s.subject=='b']
    assert (len(some), some.time.tolist(), some.labels.tolist(), some.rate)==(2, [2,3], ['x','y'], 50)
    assert len(s[2])==1 and len(s[1:3])==2 and len(s[[5,0]])==2
    with pytest.raises(ValueError, match='empty'): s[s.subject=='z']

def test_input_array_is_left_alone():
    x = good(); before = x.copy(); Segments(**fields(X=x)); assert np.array_equal(x, before)

def test_is_flat(): assert is_flat(with_flat()).tolist()==[False,False,True,False,False,False]

# ---- recordings

def test_units():
    assert ms2_to_g(np.array([9.80665, -19.6133])).tolist()==[1, -2]
    assert counts_to_g(np.array([512, 768], np.uint16), 256, zero=512).tolist()==[0, 1]
    with pytest.raises(ValueError, match='counts_per_g'): counts_to_g(np.zeros(3), 0)

@pytest.mark.parametrize('old,new', [(50,100), (100,50), (32,50), (51.2,100), (200,100), (50,50)])
def test_resampling_keeps_frequency_offset_and_duration(old, new):
    t = np.arange(int(20*old))/old
    a = np.stack([np.sin(2*np.pi*3*t), np.ones_like(t), -.5*np.cos(2*np.pi*3*t)], 1)
    b = resample(a, old, new)
    assert abs(len(b)/new-20)<.05
    f, p = periodogram(b[:,0], new)
    assert abs(f[p.argmax()]-3)<.1
    np.testing.assert_allclose(b[:,1], 1, atol=.01)
    u = np.arange(len(b))/new
    np.testing.assert_allclose(b[new:-new,0], np.sin(2*np.pi*3*u)[new:-new], atol=.02)

def test_resampling_removes_what_the_new_rate_cannot_hold():
    t = np.arange(2000)/100
    a = np.stack([np.sin(2*np.pi*40*t)]*3, 1)             # at 50 Hz it would appear at 10 Hz
    assert np.abs(resample(a, 100, 50)[50:-50]).max()<.02

@pytest.mark.parametrize('a,kw,says', [
    (np.zeros((3,99)), {}, r'pass a.T'), (np.zeros(9), {}, r'\(T, 3\)'), (np.zeros((9,3), int), {}, 'counts_to_g'), (np.full((9,3), np.nan), {}, 'NaN'),
    (np.zeros((9,3)), dict(rate=0), '`rate` is 0'), (np.zeros((9,3)), dict(new_rate=0), '`new_rate` is 0'), (np.zeros((9,3)), dict(rate=1e6, new_rate=1.), 'ratio')])
def test_malformed_recordings_are_refused(a, kw, says):
    with pytest.raises(ValueError, match=says): resample(a, **{**dict(rate=50, new_rate=100), **kw})

@given(st.integers(2, 200), st.integers(2, 60), st.floats(0, .95))
@settings(max_examples=200, deadline=None)
def test_windows_are_the_slices(T, length, overlap):
    a = np.arange(T)
    if T<length:
        with pytest.raises(ValueError, match='does not fit'): windows(a, length, overlap)
        return
    w = windows(a, length, overlap)
    step = max(1, round(length*(1-overlap)))
    wanted = [a[i:i+length] for i in range(0, T-length+1, step)]
    assert np.array_equal(w, wanted)

@pytest.mark.parametrize('kw', [dict(length=1), dict(length=2.5), dict(overlap=1), dict(overlap=-.1)])
def test_bad_windows(kw):
    with pytest.raises(ValueError, match=list(kw)[0]): windows(np.zeros((99,3)), **{**dict(length=10), **kw})

def test_segment_keeps_time_label_subject_and_recording():
    a = rng.normal([0,0,1], .1, (500,3))
    s = segment([a, a[:260], a], ['ann','ann','ben'], 50, length=100, overlap=.5, labels=['x', ['y']*260, ['x']*250+['y']*250])
    assert s.X.shape==(9+4+9, 3, 100) and s.subject.tolist()==['ann']*13+['ben']*9 and s.recording.tolist()==[0]*9+[1]*4+[2]*9
    np.testing.assert_allclose(s.time[:13], [*np.arange(9), *(10+np.arange(4))])          # the second recording follows the first
    assert s.time[13]==0 and s.labels[13:].tolist()==['x']*4+[s.labels[17]]+['y']*4
    np.testing.assert_allclose(s.X[1], a[50:150].T, rtol=1e-6)

@pytest.mark.parametrize('kw,says', [(dict(subject=['a']), '`subject` has 1 entries for 2'), (dict(labels=['x']), '`labels` has 1'), (dict(start=[0.]), '`start`'), (dict(labels='ab'), 'the text'), (dict(rate=0), '`rate` is 0'),
                                     (dict(labels=['x', ['y']*7]), 'recording 1: `labels` of a recording has 7'), (dict(length=500), 'recording 0: .*does not fit')])
def test_segment_refuses_unequal_lists(kw, says):
    a = rng.normal([0,0,1], .1, (300,3))
    with pytest.raises(ValueError, match=says): segment([a, a], **{**dict(subject=['a','b'], rate=50, length=100), **kw})

# ---- splits

@given(st.lists(st.integers(0, 9), min_size=2, max_size=80).filter(lambda s: len(set(s))>1), st.floats(.01, .99), st.integers(0, 1000))
@settings(max_examples=200, deadline=None)
def test_splits_share_nobody_and_lose_nothing(subject, valid_pct, seed):
    train, valid = subject_splits(subject, valid_pct, seed)
    people = [{subject[i] for i in rows} for rows in (train, valid)]
    assert not people[0]&people[1] and all(people)
    assert sorted(train+valid)==list(range(len(subject)))
    assert subject_splits(subject, valid_pct, seed)==(train, valid)

def test_bad_splits():
    for subject, kw, says in [(['a']*5, {}, 'one person only'), ([], {}, '`subject`'), (['a','b'], dict(valid_pct=0), 'valid_pct'), (['a','b'], dict(valid_pct=1), 'valid_pct')]:
        with pytest.raises(ValueError, match=says): subject_splits(subject, **kw)

@given(st.lists(st.tuples(st.sampled_from('abc'), st.floats(0, 1e5)), min_size=1, max_size=40), st.floats(1, 1e5))
@settings(max_examples=100, deadline=None)
def test_neighbourhoods_are_subject_and_stretch_of_time(rows, seconds):
    subject, time = zip(*rows)
    g = neighbourhoods(subject, time, seconds)
    for i in range(len(rows)):
        for j in range(len(rows)): assert (g[i]==g[j])==(subject[i]==subject[j] and time[i]//seconds==time[j]//seconds)
    assert g.dtype==np.int64 and set(g)==set(range(g.max()+1))

# ---- the batch

@pytest.mark.parametrize('U,W', [(1,1), (4,3), (7,1), (5,0)])
@pytest.mark.parametrize('kind', ['one','all'])
def test_grouped_index_by_loops(U, W, kind):
    M = W+1
    a, c = grouped_index(U, W, kind)
    wanted = [(u*M+m, {u*M+k for k in range(M) if k!=m} | {v*M+m for v in range(U) if v!=u}) for u in range(U) for m in range(M if kind=='all' else 1)]
    assert c.shape==(len(wanted), W+U-1)
    assert [(i, set(row)) for i,row in zip(a.tolist(), c.tolist())]==wanted
    assert c[:,:W].div(M, rounding_mode='floor').eq(a[:,None].div(M, rounding_mode='floor')).all()     # its own come first

def test_batch_index():
    a, c = batch_index(5)
    assert [set(r)|{i} for i,r in zip(a.tolist(), c.tolist())]==[set(range(5))]*5 and c.shape==(5,4)

def test_bad_anchors():
    with pytest.raises(ValueError, match='anchors'): grouped_index(2, 2, 'two')

@pytest.mark.parametrize('kind', ['one','all'])
def test_batches_hold_groups(few, kind):
    dls = relcon_dls(few, n_groups=8, n_within=4, anchors=kind, neighbourhood=300, small_groups="drop")
    for dl in (dls.train, dls.valid):
        seen = []
        for x, g in dl:
            g = g.view(8,5)
            assert x.shape==(40,3,128) and (g==g[:,:1]).all()
            seen += [row.tobytes() for row in x.numpy()]
            assert all(len({s.tobytes() for s in row})==5 for row in x.view(8,5,-1).numpy())           # five different segments
        assert len(seen)==len(dl)*40
        if kind=='all': assert len(set(seen))==len(seen)
        else:           assert len({s for i,s in enumerate(seen) if i%5==0})==len(dl)*8                  # each an anchor once

def test_epochs_differ_and_validation_does_not(few):
    dls = relcon_dls(few, n_groups=8, n_within=4)
    first = lambda dl: next(iter(dl))[0]
    assert not torch.equal(first(dls.train), first(dls.train))
    assert torch.equal(first(dls.valid), first(dls.valid))

def test_same_seed_same_batches(few):
    from fastai.torch_core import set_seed
    def draw(): set_seed(7); return next(iter(relcon_dls(few, n_groups=8, n_within=4).train))[0]
    assert torch.equal(draw(), draw())

def test_workers_give_the_same_batches(few):
    here, there = (relcon_dls(few, n_groups=8, n_within=4, num_workers=n).valid for n in (0, 2))
    assert all(torch.equal(a[0], b[0]) for a,b in zip(here, there, strict=True))

def test_dls_from_arrays_equal_dls_from_segments(few):
    groups = neighbourhoods(few.subject, few.time)
    a = relcon_dls(few, n_groups=8, n_within=4)
    b = relcon_dls(few.X, groups, splits=subject_splits(few.subject), n_groups=8, n_within=4, rate=50)
    assert torch.equal(a.valid.one_batch()[0], b.valid.one_batch()[0])
    assert (b.vars, b.len, b.c, b.d, b.rate)==(3, 128, 1, None, 50)

def test_no_subject_on_both_sides(few):
    dls = relcon_dls(few, n_groups=8, n_within=4)
    assert not set(dls.train.dataset.segs.subject) & set(dls.valid.dataset.segs.subject)

@pytest.mark.parametrize('kw,says', [
    (dict(n_within=200), r'fewer than the 201 segments.*small_groups'), (dict(n_groups=10**4, n_within=2), 'do not fill one batch'), (dict(anchors='both'), '`anchors`'),
    (dict(small_groups='maybe'), '`small_groups`'), (dict(neighbourhood=0), '`neighbourhood` is 0'), (dict(groups=[1,2]), '`groups` has shape'),
    (dict(splits=(range(100), range(100,200))), 'subjects on both sides'), (dict(splits=([0],[1],[2])), 'two lists'), (dict(splits=([0],[])), 'validation rows are 0'),
    (dict(splits=([0],[10**6])), 'rows 0 to'), (dict(splits=([0,0],[900])), 'named twice'), (dict(n_groups=0), '`n_groups` is 0'), (dict(n_within=2.5), '`n_within` is 2.5'), (dict(redraw=1.5), '`redraw`')])
def test_bad_dls(few, kw, says):
    with pytest.raises(ValueError, match=says): relcon_dls(few, **{**dict(n_groups=4, n_within=2), **kw})

def test_bad_arrays(few):
    with pytest.raises(ValueError, match='`groups` is missing'): relcon_dls(few.X)
    with pytest.raises(ValueError, match='one group only'): relcon_dls(few.X, np.zeros(len(few), int))
    with pytest.raises(ValueError, match='`segs` holds int64'): relcon_dls((few.X*100).astype(int), few.subject)
    with pytest.raises(ValueError, match='one person only'): relcon_dls(few[few.subject=='01'])
    groups = neighbourhoods(few.subject, few.time, 300)
    with pytest.raises(ValueError, match='`subject` has shape'): relcon_dls(few.X, groups, subject=['a'])
    dls = relcon_dls(few.X, groups, subject=few.subject, n_groups=4, n_within=2, small_groups='drop')
    people = [{few.subject[i] for i in np.flatnonzero(np.isin(groups, dl.dataset.groups))} for dl in dls.loaders]
    assert not people[0] & people[1]

def test_small_groups_can_be_left_out(few):
    some = few[np.flatnonzero((few.subject!='01') | (np.cumsum(few.subject=='01')<=3))]
    with pytest.raises(ValueError, match='smallest: 3'): relcon_dls(some, n_groups=4, n_within=9, splits=subject_splits(some.subject, seed=1))
    dls = relcon_dls(some, n_groups=4, n_within=9, small_groups='drop', splits=subject_splits(some.subject, seed=1))
    assert '01' not in set(dls.train.dataset.segs.subject)|set(dls.valid.dataset.segs.subject)

def test_segment_dls_holds_every_training_segment_once(few):
    dls = segment_dls(relcon_dls(few, n_groups=4, n_within=2), bs=50)
    rows = [x.numpy().tobytes() for b,_ in dls.train for x in b]
    assert len(rows)==len(set(rows))==len(dls.train.dataset)

# ---- MotionSense

def test_motionsense(segs):
    assert len(np.unique(segs.subject))==24 and set(segs.labels)=={'dws','ups','wlk','jog','sit','std'}
    rest = segs.X[np.isin(segs.labels, ['sit','std'])].mean(-1)
    assert abs(np.median(np.linalg.norm(rest, axis=1))-1)<.02
    assert all((np.diff(segs.time[segs.subject==s])>0).all() for s in np.unique(segs.subject))

def test_motionsense_at_the_papers_rate():
    s = motionsense(100, 256)
    assert s.X.shape[1:]==(3,256) and s.rate==100 and s.seconds==2.56

def test_grouped_folds_are_disjoint(segs):
    for train, test in GroupKFold(5).split(segs.X, groups=segs.subject): assert not set(segs.subject[train]) & set(segs.subject[test])
