"Heads: scikit-learn's numbers in a safe file, and answers by the minute"
import json
import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import load_file, save_file
from tsai.data.preprocessing import TSStandardize
from tsai_relcon.batches import relcon_dls
from tsai_relcon.heads import LinearHead, encoder_mark, fit_head, load_head, pool_minutes, save_head
from tsai_relcon.learner import get_embeddings, load_encoder, relcon_learner, save_weights
from tsai_relcon.models import RelConResNet34
from tsai_relcon.plots import plot_days
from tsai_relcon.probes import linear_probe

@pytest.fixture(scope='module')
def encoder():
    torch.manual_seed(0)
    return RelConResNet34(nf=4).eval()

@pytest.mark.parametrize('labels', [None, ['wlk','sit'], ['wlk','sit','jog']])
def test_a_head_is_the_pipeline_of_scikit_learn(encoder, few, labels, tmp_path):
    segs = few if labels is None else few[np.isin(few.labels, labels)]
    head, Z = fit_head(encoder, segs, seed=1), get_embeddings(encoder, few)
    probe = linear_probe(get_embeddings(encoder, segs), segs.labels, segs.subject, seed=1)
    np.testing.assert_allclose(head.predict_proba(Z), probe.predict_proba(Z), atol=1e-4)         # of two fits that did not converge
    np.testing.assert_array_equal(head.predict(Z), probe.predict(Z))
    again = load_head(save_head(head, tmp_path/'head.safetensors'))
    np.testing.assert_allclose(again.predict_proba(Z), head.predict_proba(Z), atol=1e-12)
    assert list(again.classes_)==sorted(np.unique(segs.labels)) and again.encoder==encoder_mark(encoder)

def test_a_head_knows_its_encoder(encoder, few, tmp_path):
    head = fit_head(encoder, few)
    head.check(load_encoder(save_weights(encoder, tmp_path/'e.safetensors', rate=50, length=128)))       # the same numbers, from a file
    other = RelConResNet34(nf=4)
    with pytest.raises(ValueError, match='another one than the head'): head.check(other)
    with pytest.raises(ValueError, match='NaN or infinity in 1 of 2'): head.predict(np.array([[0.]*16, [np.nan]*16]))
    with pytest.raises(ValueError, match=r'wanted \(N, 16\)'): head.predict(np.zeros((2,5)))

def test_a_head_of_a_learner_that_changes_its_segments_is_refused(few):
    learn = relcon_learner(relcon_dls(few, n_groups=8, n_within=3, batch_tfms=TSStandardize(by_sample=True)), 'euclidean', arch_config=dict(nf=4))
    with pytest.raises(ValueError, match='TSStandardize'): fit_head(learn, few)

def test_encoders_of_other_kinds_have_marks_of_their_own():
    a, b = torch.nn.Conv1d(3, 4, 5), torch.nn.Conv1d(3, 4, 5)
    assert encoder_mark(a)!=encoder_mark(b) and encoder_mark(a)==encoder_mark(a)

def test_malformed_heads_are_refused(encoder, few, tmp_path):
    path = save_head(fit_head(encoder, few), tmp_path/'h.safetensors')
    with pytest.raises(FileExistsError, match='overwrite=True'): save_head(load_head(path), path)
    with pytest.raises(ValueError, match='no file'): load_head(tmp_path/'nothing')
    with pytest.raises(ValueError, match='not one of `save_head`'): load_head(save_weights(encoder, tmp_path/'e.safetensors', rate=50))
    (tmp_path/'cut').write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ValueError, match='not a whole safetensors file'): load_head(tmp_path/'cut')
    arrays, meta = load_file(path), dict(tsai_relcon=json.dumps(dict(format='tsai_relcon head 1', classes=['a','b'], encoder='x')))
    save_file(arrays, tmp_path/'two', metadata=meta)
    with pytest.raises(ValueError, match='2 classes, but its numbers'): load_head(tmp_path/'two')
    save_file(dict(weight=np.full((3,2), np.nan), bias=np.zeros(2)), tmp_path/'nan', metadata=meta)
    with pytest.raises(ValueError, match='NaN'): load_head(tmp_path/'nan')
    few = few[:40]
    few.labels = None
    with pytest.raises(ValueError, match='no labels'): fit_head(encoder, few)

def test_one_label_is_nothing_to_tell_apart(encoder, few):
    with pytest.raises(ValueError, match='one label alone'): fit_head(encoder, few[few.labels=='wlk'])

def test_minutes_are_means_of_their_segments(rng=np.random.default_rng(0)):
    "Against double loops"
    time, who, P, classes = rng.uniform(0, 600, 200), rng.choice(['a','b'], 200), rng.dirichlet([1,1,1], 200), np.array(['x','y','z'])
    table, rows = pool_minutes(time, who, P, classes), 0
    for name in 'ab':
        for m in range(10):
            inside = [i for i in range(200) if who[i]==name and 60*m<=time[i]<60*(m+1)]
            got = table[(table.subject==name) & (table.time==60*m)]
            assert len(got)==(len(inside)>0)
            if not inside: continue
            mean = sum(P[i] for i in inside)/len(inside)
            rows += 1
            np.testing.assert_allclose(got[['p_x','p_y','p_z']].to_numpy()[0], mean)
            assert got.label.iloc[0]==classes[mean.argmax()] and got.segments.iloc[0]==len(inside)
    assert rows==len(table)

@pytest.mark.parametrize('change, says', [(dict(P=np.zeros((3,2))), '`P` has shape'), (dict(subject=np.array(['a'])), '`subject`'), (dict(seconds=0), '`seconds` is 0'), (dict(time=np.zeros(0)), '`time`'), (dict(time=np.array([0, np.nan, 1, 2])), '`time` lacks 1 of its 4'), (dict(P=np.full((4,2), np.nan)), '`P` lacks 4'), (dict(subject=np.array(['a',None,'a','a'], object)), '`subject` lacks 1'), (dict(time=pd.to_datetime(np.arange(4), unit='s')), '`time` holds datetime64')])
def test_minutes_of_malformed_arrays(change, says):
    good = dict(time=np.arange(4.), subject=np.array(list('aaaa')), P=np.full((4,2), .5), classes=np.array(['x','y']))
    with pytest.raises(ValueError, match=says): pool_minutes(**{**good, **change})

def test_a_picture_has_a_row_a_day_and_a_bar_a_minute():
    days = pd.Timestamp('2026-03-02').timestamp()
    table = pd.DataFrame(dict(subject='p', time=days+np.array([0, 60, 3600*26, 3600*27]), label=['sit','sit','wlk','sit']))
    ax = plot_days(table)
    assert [t.get_text() for t in ax.get_yticklabels()]==['Mon 02 Mar','Tue 03 Mar'] and ax.get_xlabel()=='hour'
    assert sum(len(c.get_paths()) for c in ax.collections)==4
    assert [t.get_text() for t in ax.get_legend().get_texts()]==['sit','wlk']
    ax = plot_days(table.assign(time=[0., 60., 120., 180.]))
    assert ax.get_xlabel()=='hours from the first segment' and [t.get_text() for t in ax.get_yticklabels()]==['p']
    ax = plot_days(table.assign(time=np.arange(4)*86400., subject='$a_{b$'))
    assert [t.get_text() for t in ax.get_yticklabels()]==[rf'\$a_{{b\$ day {d}' for d in range(1,5)]
    ax.figure.canvas.draw()
    dates = plot_days(table.assign(time=pd.to_datetime(table.time, unit='s')))
    assert [t.get_text() for t in dates.get_yticklabels()]==['Mon 02 Mar','Tue 03 Mar']
    with pytest.raises(ValueError, match='no label'): plot_days(table.drop(columns='label'))
    with pytest.raises(ValueError, match='rows'): plot_days(table[:0])
