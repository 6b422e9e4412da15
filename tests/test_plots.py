"Each picture returns its axes and shows what it was given"
import matplotlib
matplotlib.use('Agg')
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from scipy.stats import pearsonr
from sklearn.metrics import roc_auc_score
from tsai_relcon.distance import MotifDistance, attention_map, motif_distances, reconstructions
from tsai_relcon.evaluation import label_efficiency
from tsai_relcon.probes import hand_features
from tsai_relcon.plots import (plot_attention, plot_confusion, plot_embeddings, plot_label_efficiency, plot_losses, plot_predicted, plot_ranked, plot_roc)

@pytest.fixture(autouse=True)
def close():
    yield
    plt.close('all')

def test_confusion_shows_shares_of_each_true_class():
    ax = plot_confusion(['a','a','a','b'], ['a','a','b','b'])
    assert [t.get_text() for t in ax.texts]==['0.67','0.33','0.00','1.00'] and [t.get_text() for t in ax.get_yticklabels()]==['a (3)','b (1)']
    assert [t.get_text() for t in plot_confusion(['a','b'], ['a','a'], ['b','a','c']).get_xticklabels()]==['b','a','c']
    with pytest.raises(ValueError, match="lacks 'b'"): plot_confusion(['a','b'], ['a','a'], ['a'])
    with pytest.raises(ValueError, match='rows'): plot_confusion(['a'], ['a','b'])

def test_roc_has_a_curve_for_each_class_that_can_have_one():
    rng = np.random.default_rng(0)
    y, p = rng.choice(['a','b'], 60), rng.dirichlet([1,1,1], 60)
    ax = plot_roc(y, p, ['a','b','c'])
    named = [l for l in ax.lines if not l.get_label().startswith('_')]
    assert [l.get_label() for l in named]==[f'{c} (AUC {roc_auc_score(y==c, p[:,i]):.3f})' for i,c in enumerate('ab')]
    for l in named: assert (np.diff(l.get_xdata())>=0).all() and l.get_ydata()[-1]==1
    with pytest.raises(ValueError, match='column'): plot_roc(y, p, ['a','b'])

def test_predicted_against_true_says_r():
    rng = np.random.default_rng(0)
    y = rng.normal(size=40); y_hat = y+rng.normal(size=40)
    ax = plot_predicted(y, y_hat, np.repeat(['ann','ben'], 20), title='speed', unit='m/s')
    assert ax.texts[0].get_text()==f'r = {pearsonr(y, y_hat)[0]:.2f}' and ax.get_xlabel()=='true (m/s)'
    np.testing.assert_allclose(np.concatenate([c.get_offsets() for c in ax.collections]), np.c_[y,y_hat])
    assert 'undefined' in plot_predicted([1.,2.,3.], [3.,3.,3.]).texts[0].get_text()

def test_ranked_candidates_with_reconstructions(segs):
    net = MotifDistance().eval()
    x = torch.from_numpy(segs.X[:6])
    rebuilt = reconstructions(net, segs.X[0], segs.X[1:6])
    d = motif_distances(net, x, torch.tensor([0]), torch.arange(1,6)[None])[0].numpy()
    np.testing.assert_allclose(((rebuilt-segs.X[0])**2).sum((1,2)), d, rtol=1e-4)            # the picture's error is the distance
    axs = plot_ranked(segs.X[0], segs.X[1:6], d, 50, rebuilt=rebuilt, n=3)
    assert axs.shape==(4,2)
    np.testing.assert_allclose(axs[1,0].lines[0].get_ydata(), segs.X[1+d.argmin(),0])
    np.testing.assert_allclose(axs[3,1].lines[3].get_ydata(), rebuilt[d.argmax(),0])

def test_attention_map(segs):
    w = attention_map(MotifDistance().eval(), segs.X[0], segs.X[1])
    np.testing.assert_allclose(w.sum(1), 1, atol=1e-5)
    assert w.shape==(128,128) and (w==0).mean()>.3                                           # sparsemax
    assert (attention_map(MotifDistance().eval(), segs.X[0], segs.X[1], 'softmax')>0).all()
    middle, anchor, candidate = plot_attention(w, segs.X[0], segs.X[1], 50)
    np.testing.assert_array_equal(middle.images[0].get_array(), w)
    np.testing.assert_array_equal(anchor.lines[2].get_xdata(), segs.X[0,2]); np.testing.assert_array_equal(candidate.lines[2].get_ydata(), segs.X[1,2])
    with pytest.raises(ValueError, match='shape'): plot_attention(w[:5], segs.X[0], segs.X[1], 50)

def test_map_of_embeddings(segs):
    few = segs[::100]
    ax = plot_embeddings(hand_features(few.X, 50), few.labels, n=80)
    assert sum(len(c.get_offsets()) for c in ax.collections)==80
    for bad in (dict(method='pca'), dict(labels=few.labels[:3])):
        with pytest.raises(ValueError): plot_embeddings(**{**dict(z=few.X.std(-1), labels=few.labels), **bad})
    with pytest.raises(ValueError, match='four'): plot_embeddings(np.ones((3,2)), [1,2,3])

def test_label_efficiency_curves(segs):
    few = segs[::40]
    table = label_efficiency({'hand': lambda X: hand_features(X, 50), 'spread': lambda X: X.std(-1)}, few, (1,5), repeats=2, Cs=(1e-2,))
    ax = plot_label_efficiency(table)
    means = table.xs(('segment','mean'), level=('level','fold')).macro_f1.astype(float).groupby(['encoder','n_labels']).mean()
    for line, name in zip(ax.lines, ['hand','spread']):
        assert line.get_label()==name
        np.testing.assert_allclose(line.get_ydata(), means[name])
    assert [t.get_text() for t in ax.get_xticklabels()]==['1','5']
    with pytest.raises(ValueError, match='n_labels'): plot_label_efficiency(table.droplevel('n_labels'))
    with pytest.raises(ValueError, match="'r'"): plot_label_efficiency(table, 'r')

def test_losses(): assert len(plot_losses([(1,2),(1,1)]).lines)==2

def test_an_axes_of_the_callers_is_drawn_into():
    fig, ax = plt.subplots()
    for draw in (lambda: plot_confusion(['a','b'], ['a','b'], ax=ax), lambda: plot_predicted([1.,2.], [1.,2.], ax=ax), lambda: plot_losses([(1,2)], ax=ax)): assert draw() is ax
    assert len(plt.get_fignums())==1

def test_what_would_draw_a_lie_is_refused(segs):
    few = segs[:8]
    for says,draw in [("lacks 1", lambda: plot_confusion([1,2], ['1','2'], ['1','2'])), ('twice', lambda: plot_confusion(['a'], ['a'], ['a','a'])), ('label 1', lambda: plot_roc([1,2], np.eye(2), ['1','2'])),
                      ('NaN', lambda: plot_predicted([1,np.nan,3], [1,2,3])), ('shape', lambda: plot_predicted(np.ones((2,2)), np.ones((2,2)))), ('collapsed', lambda: plot_embeddings(np.ones((60,5)), ['a','b']*30)),
                      ('NaN', lambda: plot_embeddings(np.full((60,5), np.nan), ['a']*60)), ('lacks', lambda: plot_embeddings(np.eye(6), [1,2,3,4,5,np.nan])), ('rows', lambda: plot_ranked(few.X[0], few.X[1:], [1,2], 50)),
                      ('NaN', lambda: plot_ranked(few.X[0], few.X[1:], [np.nan]*7, 50)), ('one segment', lambda: plot_ranked(few.X[0].T, few.X[1:], [1]*7, 50)), ('rate', lambda: plot_ranked(few.X[0], few.X[1:], [1]*7, 0)),
                      ('`n`', lambda: plot_ranked(few.X[0], few.X[1:], [1]*7, 50, n=0)), ('empty', lambda: plot_losses([])), ('n_labels', lambda: plot_label_efficiency(None)),
                      ('shape', lambda: plot_attention(np.ones((128,64)), few.X[0], few.X[1,:,:64], 50))]:
        with pytest.raises(ValueError, match=says): draw()

def test_thirty_classes_have_thirty_colours():
    ax = plot_embeddings(np.random.default_rng(0).normal(size=(90,4)), np.arange(90)%30)
    assert len({tuple(c.get_facecolor()[0]) for c in ax.collections})==30
