"Who comes into a batch, by loops; an epoch follows from its seed and number; batches from a store are those from memory"
import pickle
from functools import partial
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from scipy.stats import chisquare
from tsai_relcon.augment import TSScale
from tsai_relcon.batches import GroupDL, StoreDL, _others, count_rows, deal, draw_rows, motion, relcon_dls, segment_dls
from tsai_relcon.callback import n_candidates
from tsai_relcon.core import subject_marks
from tsai_relcon.learner import joint_learner, motif_learner, pretrained_on, relcon_learner, save_weights, weights_info
from tsai_relcon.models import RelConResNet34
from tsai_relcon.distance import MotifDistance
from tsai_relcon.splits import subject_splits
from tsai_relcon.store import create_store, open_store

def keys(x): return [s.tobytes() for s in np.asarray(x)]

# ---- rows

def test_motion_by_loops(few):
    wanted = [sum(((axis-axis.mean())**2).mean() for axis in x.astype(float))**.5 for x in few.X[:20]]
    np.testing.assert_allclose(motion(few.X[:20]), wanted, rtol=1e-5)

def test_others_are_different_never_the_member_and_alike_in_number():
    drawn = np.concatenate([_others(np.random.default_rng(i), 6, 3) for i in range(2000)]).reshape(2000, 6, 3)
    assert all(len({m, *row})==4 and 0<=min(row) and max(row)<6 for draw in drawn[:100] for m,row in enumerate(draw))
    counts = np.stack([np.bincount(drawn[:,m].reshape(-1), minlength=6) for m in range(6)])
    assert (np.diag(counts)==0).all()
    assert all(chisquare(np.delete(counts[m], m)).pvalue>1e-4 for m in range(6))
    assert sorted(_others(np.random.default_rng(0), 4, 3)[2])==[0,1,3]                     # as many as there are

@pytest.mark.parametrize('anchors', ['one','all'])
def test_rows_by_loops(anchors):
    groups = [np.arange(7), np.arange(10, 13), np.arange(20, 22), np.arange(30, 42)]
    rows = draw_rows(np.random.default_rng(0), groups, 2, anchors)
    assert len(rows)==count_rows(np.array([7,3,2,12]), 2, anchors).sum()==(7+3+12 if anchors=='one' else 2+1+0+4)
    assert all(len(set(r))==3 and len({m//10 if m<30 else 3 for m in r})==1 for r in rows)
    if anchors=='one': assert sorted(r[0] for r in rows)==[*range(7), *range(10,13), *range(30,42)]
    else:              assert len(set(rows.reshape(-1)))==rows.size
    assert not np.array_equal(rows, draw_rows(np.random.default_rng(1), groups, 2, anchors))

def test_weighted_rows_follow_the_weights():
    groups, weights = [np.arange(3), np.arange(3, 6)], [np.array([1.,1,1]), np.array([1.,2,6])]
    firsts, sides = np.zeros(6), []
    for i in range(3000):
        rows = draw_rows(np.random.default_rng(i), groups, 1, 'one', weights)
        assert len(rows)==6 and all(r[0]!=r[1] and r[0]//3==r[1]//3 for r in rows)
        sides.append((rows[:,0]>2).mean())
        firsts += np.bincount(rows[:,0], minlength=6)
    assert np.mean(sides)==pytest.approx(.75, abs=.01)                                     # a group by its weight: 9 of 12
    np.testing.assert_allclose(firsts[3:]/firsts[3:].sum(), [1/9, 2/9, 6/9], atol=.015)    # its first member by its own

# ---- seeds

@pytest.fixture(scope='module')
def store(segs, tmp_path_factory):
    "The recordings of eight people, two at a time in an order that is not theirs, in chunks of three minutes"
    from tsai_relcon.datasets import _motionsense_bundled
    path = tmp_path_factory.mktemp('store')/'store'
    recordings, who, _ = _motionsense_bundled()
    with create_store(path, rate=50, chunk_seconds=180, dtype='float32') as writer:
        for a,name in zip(recordings, who):
            if '02'<=name<'10': writer.append(a, name)
    return open_store(path, 128)

def dls_of(kind, few, store, **kw):
    kw = {**dict(n_groups=6, n_within=4, small_groups='drop', seed=3), **kw}
    return relcon_dls(few, **kw) if kind=='memory' else relcon_dls(store, **{**dict(pool_mb=1.), **kw})

both = pytest.mark.parametrize('kind', ['memory','store'])

@both
@pytest.mark.parametrize('anchors', ['one','all'])
def test_an_epoch_follows_from_seed_and_number(few, store, kind, anchors):
    a, b, c = (dls_of(kind, few, store, anchors=anchors, seed=s).train for s in (3, 3, 4))
    first, second = ([x for x,_ in a] for _ in range(2))
    assert not all(torch.equal(x, y) for x,y in zip(first, second))
    b.epoch = 1                                                                            # the second, without the first
    assert all(torch.equal(x, y) for x,(y,_) in zip(second, b, strict=True))
    assert not torch.equal(next(iter(c))[0], first[0])

@both
def test_an_epoch_can_begin_in_its_middle(few, store, kind):
    dl, again = (dls_of(kind, few, store).train for _ in range(2))
    whole = [x for x,_ in dl]
    again.skip = 3
    assert all(torch.equal(x, y) for x,(y,_) in zip(whole[3:], again, strict=True))
    assert len([*again])==len(whole)==len(dl)                                              # the next is whole again

@both
def test_workers_change_nothing_and_share_no_random_state(few, store, kind):
    here, there = (dls_of(kind, few, store, num_workers=n).train for n in (0, 2))
    for _ in range(2): assert all(torch.equal(a, b) and torch.equal(g, h) for (a,g),(b,h) in zip(here, there, strict=True))

@both
def test_ranks_deal_an_epoch(few, store, kind):
    whole = dls_of(kind, few, store)
    for split,dl in enumerate(whole.loaders):
        parts = [dls_of(kind, few, store).loaders[split] for _ in range(2)]
        for rank,part in enumerate(parts): part.rank, part.world = rank, 2
        seen, wanted = [[keys(x) for x,_ in part] for part in parts], [keys(x) for x,_ in dl]
        if split==0: assert len(seen[0])==len(seen[1])==len(wanted)//2                     # a training step needs all ranks
        assert [seen[i%2][i//2] for i in range(len(seen[0])+len(seen[1]))]==wanted[:len(seen[0])+len(seen[1])]
        if split==1: assert len(seen[0])+len(seen[1])==len(wanted)                         # validation: every batch once

@both
def test_batches_can_be_limited(few, store, kind):
    dls = dls_of(kind, few, store, train_batches=2, valid_batches=1)
    assert [len(dl) for dl in dls.loaders]==[len([*dl]) for dl in dls.loaders]==[2, 1]

# ---- the store

@pytest.mark.parametrize('pool_mb', [.3, 1., 256])
@pytest.mark.parametrize('anchors', ['one','all'])
def test_batches_from_a_store_hold_groups_and_each_segment_once(store, anchors, pool_mb):
    dls = relcon_dls(store, n_groups=6, n_within=4, anchors=anchors, small_groups='drop', pool_mb=pool_mb)
    groups, seen = store.groups(), []
    where = {k: g for g in range(len(groups)) for k in keys(groups.read(g))}
    for x, g in dls.train:
        assert x.shape==(30,3,128) and x.dtype==torch.float32 and (g.view(6,5)==g.view(6,5)[:,:1]).all()
        assert [where[k] for k in keys(x)]==g.tolist()
        assert all(len(set(row))==5 for row in np.array(keys(x), dtype=object).reshape(6,5))
        seen += keys(x) if anchors=='all' else keys(x[::5])
    assert len(set(seen))==len(seen)                                                       # or each an anchor once
    assert len(seen)>.97*len(dls.train.dataset)*(1 if anchors=='one' else .95)
    if pool_mb==.3: assert len(dls.train.first_row)>3

def test_nobody_of_a_store_is_on_both_sides(store):
    dls = relcon_dls(store, n_groups=4, n_within=2, small_groups='drop')
    people = [set(dl.dataset.subjects) for dl in dls.loaders]
    assert not people[0]&people[1] and people[0]|people[1]==set(store.subjects)
    mine = relcon_dls(store, splits=([0,1,2],[5]), n_groups=4, n_within=2, small_groups='drop')
    assert [list(dl.dataset.subjects) for dl in mine.loaders]==[list(store.subjects[:3]), [store.subjects[5]]]

def test_the_moving_are_drawn_more_often(store, few):
    for kind in ('memory','store'):
        plain, moved = (np.mean([motion(x.numpy()).mean() for x,_ in dls_of(kind, few, store, by_motion=b, anchors='all').train]) for b in (False, True))
        assert moved>1.3*plain
        assert not dls_of(kind, few, store, by_motion=True).valid.by_motion

def test_both_stages_learn_from_a_store(store, tmp_path):
    dls = relcon_dls(store, n_groups=4, n_within=3, anchors='all', small_groups='drop', train_batches=3, valid_batches=2)
    motif = motif_learner(dls, bs=8)
    with motif.no_bar(), motif.no_logging(): motif.fit(1, 1e-3)
    assert isinstance(motif.dls.train, StoreDL) and motif.dls.one_batch()[0].shape==(8,3,128)
    learn = relcon_learner(dls, motif.model, arch_config=dict(nf=4))
    with learn.no_bar(), learn.no_logging(): learn.fit(2, 1e-3)
    assert np.isfinite(learn.recorder.values).all() and len(learn.recorder.values)==2
    assert pretrained_on(learn)==set(subject_marks(store.subjects))
    assert set(weights_info(save_weights(learn, tmp_path/'e.safetensors'))['subjects'])==pretrained_on(learn)
    learn.path = tmp_path
    learn.export('e.pkl')
    assert (tmp_path/'e.pkl').stat().st_size<2e6 and str(store.path).encode() not in (tmp_path/'e.pkl').read_bytes()

def test_a_loader_of_a_store_can_be_pickled(store):
    dl = relcon_dls(store, n_groups=4, n_within=2, small_groups='drop', seed=1).valid
    assert torch.equal(pickle.loads(pickle.dumps(dl)).one_batch()[0], dl.one_batch()[0])

@pytest.mark.parametrize('kw,says', [(dict(groups=[1]), '`groups` is given'), (dict(subject=['a']), '`subject` is given'), (dict(redraw=2), '`redraw` is 2'), (dict(n_within=500), 'fewer than the 501'),
                                     (dict(n_groups=10**5, small_groups='drop'), 'do not fill one batch'), (dict(splits=([0,1],[1])), 'both sides'), (dict(splits=([0],[99])), 'rows 0 to'), (dict(neighbourhood=0), '`neighbourhood`'),
                                     (dict(train_batches=0), '`train_batches` is 0'), (dict(valid_batches=1.5), '`valid_batches` is 1.5'), (dict(pool_mb=0), '`pool_mb` is 0'), (dict(seed=-1), '`seed` is -1')])
def test_bad_dls_of_a_store(store, kw, says):
    with pytest.raises(ValueError, match=says): relcon_dls(store, **{**dict(n_groups=4, n_within=2), **kw})

# ---- what a review found

def test_plain_batches_hold_every_segment_of_a_store_once(store):
    plain = segment_dls(relcon_dls(store, n_groups=4, n_within=2, small_groups='drop'), bs=100)
    for dl in plain.loaders:
        seen = [k for x,_ in dl for k in keys(x)]
        assert len(seen)==len(dl.dataset) and len(dl)==-(-len(seen)//100)
    assert len(segment_dls(relcon_dls(store, n_groups=4, n_within=2, small_groups='drop'), bs=10**5).valid)==1

@pytest.mark.parametrize('still', [0., 2e-6])
def test_a_still_group_at_the_end_does_no_harm(still):
    rng = np.random.default_rng(0)
    groups  = [np.arange(i*20, i*20+20) for i in range(301)]
    weights = [rng.random(20, np.float32) for _ in range(300)] + [np.full(20, still, np.float32)]
    for seed in range(40): assert (draw_rows(np.random.default_rng(seed), groups, 3, 'all', weights)<6000).mean()>.99

def test_nothing_that_moves_is_an_error():
    with pytest.raises(ValueError, match='`weights` are all 0'): draw_rows(np.random.default_rng(0), [np.arange(5)], 2, 'one', [np.zeros(5)])
    with pytest.raises(ValueError, match='`anchors`'): draw_rows(np.random.default_rng(0), [np.arange(5)], 2, 'every')

def test_a_look_at_a_batch_does_not_change_the_fit(few, store):
    for kind in ('memory','store'):
        a, b = (dls_of(kind, few, store).train for _ in range(2))
        looked = a.one_batch()[0]
        assert torch.equal(looked, next(iter(a))[0]) and torch.equal(looked, next(iter(b))[0])

def test_an_export_carries_no_groups(few):
    ds = dls_of('memory', few, None).train.dataset
    assert len(pickle.dumps(ds.new_empty()))<5000 < len(pickle.dumps(ds))

@pytest.mark.parametrize('kw,says', [(dict(n_within='5'), '`n_within`'), (dict(n_within=None), '`n_within`'), (dict(n_within=True), '`n_within`'), (dict(n_groups='1'), '`n_groups`'), (dict(neighbourhood=-1), "`neighbourhood` is -1"), (dict(neighbourhood='1h'), '`neighbourhood`'),
                                     (dict(pool_mb=None), '`pool_mb`'), (dict(by_motion='no'), '`by_motion`'), (dict(seed=1.5), '`seed`'), (dict(subject=['a']), '`subject` is given'),
                                     (dict(num_workers='a'), '`num_workers`'), (dict(batch_tfms='a'), "`batch_tfms` has 'a'"), (dict(device='gpu'), "`device` is 'gpu', which is not to be had here"), (dict(device=3.), '`device` is 3.0')])
def test_more_bad_dls(few, kw, says):
    with pytest.raises(ValueError, match=says): relcon_dls(few, **{**dict(n_groups=4, n_within=2), **kw})

def test_a_generator_of_transforms_reaches_both_loaders(few):
    dls = relcon_dls(few, n_groups=4, n_within=2, batch_tfms=(f for f in [TSScale()]))
    assert [len(dl.after_batch.fs) for dl in dls.loaders]==[1, 1]

def test_missing_names_are_refused(few):
    groups = np.arange(len(few))%9
    subject = groups.astype(float); subject[groups==3] = np.nan
    with pytest.raises(ValueError, match='`subject` lacks'): relcon_dls(few.X, groups, subject=subject, n_groups=4, n_within=2)
    with pytest.raises(ValueError, match='`groups` lacks'): relcon_dls(few.X, subject, n_groups=4, n_within=2)

@pytest.mark.parametrize('rate', [25, 'x', -1])
def test_segments_know_their_own_rate(few, rate):
    with pytest.raises(ValueError, match='`rate`'): relcon_dls(few[::3], n_groups=4, n_within=3, rate=rate)

def test_all_others_are_candidates_in_plain_batches_of_a_store_the_last_shorter_one_too(few, store):
    dls = segment_dls(dls_of('store', few, store, anchors='all'), 50)
    sizes = [len(x) for x,_ in dls.train]
    assert sizes[-1]<50
    learn = relcon_learner(dls, 'euclidean', arch_config=dict(nf=2))
    with learn.no_bar(), learn.no_logging(): learn.fit(1)
    assert np.isfinite(learn.recorder.values[-1]).all()

def test_groups_of_one_are_plain_batches(few, store):
    "Of a store the plain batches are groups of one: an anchor's candidates are all others, however few they are"
    dls = segment_dls(dls_of('store', few, store, anchors='all'), 50)
    for bs in (50, 10**4): assert {n_candidates(c, (of := segment_dls(dls, bs).valid)) for c in ('all','between','batch')}=={min(bs, len(of.dataset))-1}
    learn = relcon_learner(dls, 'euclidean', arch_config=dict(nf=2), candidates='between')
    with learn.no_bar(), learn.no_logging(): learn.fit(1)                                       # the last batch is shorter
    assert np.isfinite(learn.recorder.values[-1]).all()

def test_two_segments_of_a_store_are_too_few_to_be_ranked(few, tmp_path):
    with create_store(tmp_path/'s', 50) as w:
        for who,n in zip(np.unique(few.subject), (30, 30, 2)): w.append(np.concatenate([*few.X[few.subject==who][:n], few.X[0,:,:1]], 1).T, who)
    dls = relcon_dls(open_store(tmp_path/'s', 128), n_groups=2, n_within=0, seed=0, splits=([0,1],[2]))
    assert len(dls.valid.dataset)==2
    for make in (partial(relcon_learner, segment_dls(dls, 16), 'euclidean'), partial(joint_learner, dls, 'spectrum', bs=16)):
        with pytest.raises(ValueError, match='1 candidate'): make(arch_config=dict(nf=2))

@pytest.mark.parametrize('n', [400, 395])
def test_rows_that_are_dealt_are_all_there_and_none_twice_in_a_batch(n):
    rng = np.random.default_rng(0)
    rows = rng.choice(50, n, p=np.arange(50)/np.arange(50).sum())
    batches = deal(rows, 10, rng)
    assert sorted(np.concatenate(batches))==sorted(rows) and [len(b) for b in batches]==[10]*39+[n-390] and all(len(set(b))==len(b) for b in batches)
    assert [b.tolist() for b in deal(np.zeros(5, int), 3, rng)]==[[0,0,0],[0,0]]

def test_no_segment_is_twice_in_a_plain_batch_by_motion(few):
    dls = segment_dls(relcon_dls(few, n_groups=4, n_within=3, small_groups='drop', seed=0), 32, by_motion=True)
    for x,_ in dls.train: assert len(x)<=32 and len(np.unique(x.data.flatten(1), axis=0))==len(x)
    with pytest.raises(ValueError, match="`by_motion` is 'no'"): segment_dls(dls, 32, by_motion='no')

def test_plain_batches_by_motion_follow_from_the_seed_and_favour_motion(few):
    dls = relcon_dls(few, n_groups=8, n_within=3, seed=3)
    a, b, c = (segment_dls(dls, 32, by_motion=m).train for m in (True, True, False))
    rows = [np.concatenate(dl.plan(0)) for dl in (a, b, c)]
    assert np.array_equal(rows[0], rows[1]) and len(rows[0])==len(a.dataset) and len(np.unique(rows[0]))<len(rows[0])==len(np.unique(rows[2]))
    moving = motion(a.dataset.X.numpy())
    drawn = np.mean([moving[np.concatenate(a.plan(e))].mean() for e in range(20)])
    assert drawn==pytest.approx((moving**2).sum()/moving.sum(), rel=.05)             # the mean of motion when drawn by motion
    assert not segment_dls(dls, 32, by_motion=True).valid.by_motion

# ---- a look at a batch

def shown(dl, **kwargs):
    "Draws a batch; gives the title and the first axis of each segment drawn"
    plt.switch_backend('agg')
    dl.show_batch(**kwargs)
    found = [(ax.get_title(), ax.lines[0].get_ydata()) for ax in plt.gcf().axes]
    plt.close('all')
    return found

def test_a_row_of_the_picture_is_an_anchor_and_its_companions(few, store):
    for segs in (few, store):
        dls = relcon_dls(segs, n_groups=4, n_within=3, seed=0, small_groups='drop')
        x, groups = dls.one_batch()
        drawn = shown(dls, max_n=7)
        assert [t for t,_ in drawn]==[f'group {groups[i]}' for i in (0,1,2, 4,5,6)]
        for (_,y),i in zip(drawn, (0,1,2, 4,5,6)): np.testing.assert_array_equal(y, x[i,0].numpy())

@pytest.mark.parametrize('max_n, rows, plain', [(1,1,1), (2,2,2), (5,3,2), (9,9,2), (10**6,15,2)])      # of 16 rows of one whole rows of three, and of two segments two
def test_no_more_is_drawn_than_asked_or_there(few, max_n, rows, plain):
    assert len(shown(relcon_dls(few, n_groups=16, n_within=0, seed=0), max_n=max_n))==rows
    assert len(shown(segment_dls(relcon_dls(few, n_groups=2, n_within=0), bs=2), max_n=max_n))==plain

def test_a_look_leaves_the_epoch_to_come(few):
    dls, same = [relcon_dls(few, n_groups=4, n_within=1, seed=0) for _ in range(2)]
    shown(dls)
    assert all(torch.equal(a, b) for (a,_),(b,_) in zip(dls.train, same.train))
    with pytest.raises(ValueError, match='`max_n` is 0; wanted a whole number, 1 or more'): dls.show_batch(max_n=0)

def test_what_belongs_to_other_pictures_is_told(few):
    dls = relcon_dls(few, n_groups=4, n_within=3, seed=0)
    for wrong,says in ((dict(nrows=2), '`nrows` is 2'), (dict(ncols=2), '`ncols` 2'), (dict(unique=True), '`unique` is True'), (dict(max_n=6, ctxs=[None]), '`ctxs` has 1 axes for 6 segments')):
        with pytest.raises(ValueError, match=says): dls.show_batch(**wrong)

def test_predictions_of_a_store_are_in_the_order_of_its_batches(store):
    learn = relcon_learner(relcon_dls(store, n_groups=2, n_within=2, small_groups='drop', seed=0), 'euclidean', arch_config=dict(nf=2))
    with learn.no_bar():
        with pytest.raises(ValueError, match='`reorder` is True: a store'): learn.get_preds()
        assert len(learn.get_preds(reorder=False)[0])==sum(len(x) for x,_ in learn.dls.valid)
