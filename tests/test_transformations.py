"The sktime side: sktime's own suite, every check of it; pipelines, searches, folds; what is refused; the same numbers as the library's"
import pickle, subprocess, sys, warnings
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold
from sklearn.preprocessing import StandardScaler
from sktime.base import load
from sktime.classification.distance_based import KNeighborsTimeSeriesClassifier
from sktime.classification.model_evaluation import evaluate
from sktime.clustering.dbscan import TimeSeriesDBSCAN
from sktime.datatypes import convert_to
from sktime.pipeline import make_pipeline
from sktime.utils.estimator_checks import check_estimator
from tsai_relcon.core import DataWarning
from tsai_relcon.distance import MotifDistance, motif_distances
from tsai_relcon.learner import get_embeddings, load_encoder, save_weights
from tsai_relcon.models import RelConResNet34
from tsai_relcon.provenance import remember, trained_on
from tsai_relcon.transformations import RelConClassifier, RelConDistance, RelConRegressor, RelConTransformer, panel_array

quick = dict(nf=2, epochs=1, distance='spectrum', n_groups=4, n_within=2, random_state=0)
quick_head = dict(nf=2, pretrain_epochs=1, distance='spectrum', n_within=2, random_state=0)

@pytest.fixture(scope='module')
def panel(segs):
    "Three people, four activities: (X, y, subject)"
    s = segs[np.isin(segs.subject, ['01','02','03']) & np.isin(segs.labels, ['wlk','jog','sit','std'])][::6]
    return s.X.astype(float), s.labels, s.subject

@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    torch.manual_seed(0)
    remember(net := RelConResNet34(nf=4), unit='g')
    return save_weights(net, tmp_path_factory.mktemp('w')/'encoder.safetensors', rate=50, length=128)

@pytest.fixture(scope='module')
def distance_weights(tmp_path_factory):
    torch.manual_seed(0)
    return save_weights(MotifDistance(nf=8), tmp_path_factory.mktemp('d')/'distance.safetensors', rate=50, length=128)

@pytest.mark.parametrize('estimator', [RelConTransformer, RelConDistance, RelConClassifier, RelConRegressor])
def test_every_check_of_sktime(estimator):
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        results = check_estimator(estimator, verbose=False, raise_exceptions=False)
    failed = {k: v for k,v in results.items() if v!='PASSED'}
    assert len(results)>100 and not failed, failed

# ---- the transformer

def test_embeddings_are_those_of_the_library(panel, weights):
    X, *_ = panel
    Z = RelConTransformer(weights).fit_transform(X)
    np.testing.assert_allclose(Z.to_numpy(), get_embeddings(load_encoder(weights), X.astype(np.float32)), rtol=1e-5, atol=1e-6)
    assert Z.shape==(len(X), 16)

def test_frames_give_the_same_and_keep_their_index(panel, weights):
    X, *_ = panel
    t = RelConTransformer(weights).fit(X)
    frame = convert_to(X[:6], 'pd-multiindex')
    frame.index = frame.index.set_levels([f'walk {i}' for i in range(6)], level=0)
    Z = t.transform(frame)
    assert list(Z.index)==[f'walk {i}' for i in range(6)]
    np.testing.assert_allclose(Z.to_numpy(), t.transform(X[:6]).to_numpy(), rtol=1e-5, atol=1e-6)

def test_the_same_random_state_gives_the_same_encoder_and_the_global_one_is_left_alone(panel):
    X, *_ = panel
    np.random.seed(1); torch.manual_seed(1)
    before = np.random.get_state()[1].copy(), torch.get_rng_state().clone()
    a, b = RelConTransformer(**quick).fit_transform(X), RelConTransformer(**quick).fit_transform(X)
    assert (before[0]==np.random.get_state()[1]).all() and torch.equal(before[1], torch.get_rng_state())
    pd.testing.assert_frame_equal(a, b)
    assert not np.allclose(a, RelConTransformer(**{**quick, 'random_state': 1}).fit_transform(X))

def test_groups_say_who_is_near_and_the_learnable_distance_is_fitted(panel):
    X, y, subject = panel
    t = RelConTransformer(**{**quick, 'distance': None}, distance_epochs=1, groups=[f'{s} {l}' for s,l in zip(subject, y)]).fit(X)
    assert t.transform(X[:3]).shape==(3,8)

def test_options_reach_the_learner(panel):
    X, *_ = panel
    t = RelConTransformer(**quick, options=dict(projection=(8,4), n_augment=1)).fit(X[:40])
    assert isinstance(t.encoder_, RelConResNet34) and t.transform(X[:2]).shape==(2,8)
    assert trained_on(t.encoder_)['length']==X.shape[2]                                                                # of the instances, not of their crops
    RelConTransformer(**quick, options=dict(n_augment=2, projection=(8,4), aug_pred=1.)).fit(X[:40])                   # what is asked about is done elsewhere
    for channels in (1, 2): assert RelConTransformer(**quick, options=dict(n_augment=2)).fit(X[:40,:channels]).transform(X[:2,:channels]).shape==(2,8)     # without what three channels want

def test_a_network_among_the_options_is_left_alone(panel):
    X, *_ = panel
    net = RelConResNet34(nf=2)
    before = [v.clone() for v in net.state_dict().values()]
    t = RelConTransformer(**{**quick, 'nf': 64}, options=dict(arch=net))
    first, again = (t.fit_transform(X[:40]) for _ in range(2))
    pd.testing.assert_frame_equal(first, again)                                                                        # each fit begins with it
    assert all(torch.equal(v, w) for v,w in zip(net.state_dict().values(), before)) and not trained_on(net)

def test_an_encoder_of_a_users_own(panel):
    X, *_ = panel
    net = torch.nn.Sequential(torch.nn.Conv1d(3, 4, 7), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool1d(1), torch.nn.Flatten())
    t = RelConTransformer(**{**quick, 'nf': 64}, options=dict(arch=net)).fit(X[:40])
    assert t.transform(X[:2]).shape==(2,4)
    with pytest.raises(ValueError, match='`X` has 2 channels; the encoder is for 3'): t.transform(X[:2,:2])
    with pytest.raises(ValueError, match=r'the encoder is for 3; wanted instances \(channels, samples\)'): t.transform(X[:2].transpose(0,2,1))

def test_another_architecture(panel):
    X, y = panel[:2]
    t = RelConTransformer(**{**quick, 'nf': 64}, options=dict(arch='InceptionTimePlus', arch_config=dict(nf=4))).fit(X[:40])
    assert t.encoder_.config['arch']=='InceptionTimePlus' and t.transform(X[:3]).shape==(3,16)
    with pytest.raises(ValueError, match='`nf` is 2; it is the ResNet-34'): RelConTransformer(nf=2, options=dict(arch='InceptionTimePlus')).fit(X[:40])
    assert RelConTransformer(**{**quick, 'nf': 4}, options=dict(arch='RelConResNet34')).fit(X[:40]).encoder_.nf==4

@pytest.mark.parametrize('estimator', ['t','*','make_pipeline','clf'])
def test_pickle_and_save(panel, weights, tmp_path, estimator):
    X, y, _ = panel
    made = dict(t=lambda: RelConTransformer(weights), clf=lambda: RelConClassifier(weights, random_state=0), make_pipeline=lambda: make_pipeline(RelConTransformer(weights), StandardScaler(), LogisticRegression()))
    e = (made.get(estimator) or (lambda: RelConTransformer(weights)*StandardScaler()*LogisticRegression()))().fit(X, y)
    answer = (lambda e: e.transform(X[:5]).to_numpy()) if estimator=='t' else (lambda e: e.predict(X[:5]))
    e.save(str(tmp_path/'e'))
    for again in (pickle.loads(pickle.dumps(e)), load(str(tmp_path/'e'))): np.testing.assert_array_equal(answer(again), answer(e))

def test_a_grid_search_over_folds_by_person(panel):
    X, y, subject = panel
    pipe = RelConTransformer(**quick) * StandardScaler() * LogisticRegression(max_iter=50)
    search = GridSearchCV(pipe, {'RelConTransformer__nf': [1,2], 'LogisticRegression__C': [.1,1.]}, cv=GroupKFold(3), error_score='raise').fit(X, y, groups=subject)
    assert search.best_score_>.3 and len(search.cv_results_['params'])==4

def test_sktimes_evaluate(panel, weights):
    X, y, _ = panel
    table = evaluate(RelConTransformer(weights) * StandardScaler() * LogisticRegression(max_iter=50), cv=KFold(3, shuffle=True, random_state=0), X=X, y=y)
    assert len(table)==3 and table.filter(like='test_').iloc[:,0].notna().all()

@pytest.mark.parametrize('make, says', [
    (lambda X: RelConTransformer(**quick).fit(np.where(np.arange(len(X))[:,None,None]==2, np.nan, X)), 'NaN or infinity in 1 of .*Imputer'),
    (lambda X: RelConTransformer(**quick).fit([pd.DataFrame(x.T[:n]) for x,n in zip(X, (100,128,90))]), '90 to 128 samples; .*PaddingTransformer'),
    (lambda X: RelConTransformer(**{**quick, 'crop': 2}).fit(X), '`crop` is 2'), (lambda X: RelConTransformer(**{**quick, 'epochs': 0}).fit(X), '`epochs` is 0'), (lambda X: RelConTransformer(**quick, groups=['a']).fit(X), '`groups` has shape'),
    (lambda X: RelConTransformer(**{**quick, 'n_within': 500}, groups=['a']*len(X)).fit(X), 'n_within=500'), (lambda X: RelConTransformer('nowhere.safetensors').fit(X), 'there is no file'),
    (lambda X: RelConDistance('spectrum', symmetrize='sum').transform(X[:3]), '`symmetrize`'), (lambda X: RelConDistance('spectrum', kernel='rbf').transform(X[:3]), '`kernel`'), (lambda X: RelConDistance('spectrum', gamma=0.).transform(X[:3]), '`gamma`'),
    (lambda X: RelConDistance('spectrum').transform(X[:3], X[:3,:,:50]), 'the same channels and samples'), (lambda X: RelConDistance(nf=0).transform(X[:3]), '`nf`'),
    (lambda X: RelConClassifier(head='svm', **quick_head).fit(X, np.arange(len(X))%2), '`head`'), (lambda X: RelConClassifier(subject=['a'], **quick_head).fit(X, np.arange(len(X))%2), '`subject`'),
    (lambda X: RelConRegressor(valid_pct=1., **quick_head).fit(X, np.arange(len(X))), '`valid_pct`')])
def test_bad_input(panel, make, says):
    with pytest.raises(ValueError, match=says): make(panel[0])

def test_weights_of_other_channels(panel, weights, distance_weights):
    with pytest.raises(ValueError, match='for 3 channels; the panel has 2'): RelConTransformer(weights).fit(panel[0][:,:2])
    with pytest.raises(ValueError, match='for 3 channels; the panels have 2'): RelConDistance(distance_weights).transform(panel[0][:4,:2])

def test_padding_before_makes_lengths_equal(panel, weights):
    from sktime.transformations.padder import PaddingTransformer
    frames = [pd.DataFrame(x.T[:n]) for x,n in zip(panel[0], (100,128,90))]
    assert (PaddingTransformer(pad_length=128) * RelConTransformer(weights)).fit_transform(frames).shape==(3,16)

# ---- the distance

def test_distances_are_those_of_the_library(panel, distance_weights):
    X, *_ = panel
    from tsai_relcon.learner import load_distance
    d = RelConDistance(distance_weights).transform(X[:5], X[5:12])
    net, x = load_distance(distance_weights), torch.from_numpy(X[:12].astype(np.float32))
    np.testing.assert_allclose(d, motif_distances(net, x, torch.arange(5), torch.arange(5,12).expand(5,-1)), rtol=1e-4)
    assert not np.allclose(RelConDistance(net).transform(X[:5]), RelConDistance(net).transform(X[:5]).T)

def test_a_distance_of_motion_does_not_see_gravity(panel, tmp_path):
    X, net = panel[0][:8], MotifDistance(nf=4, values='own').eval()
    remember(net, rate=50., motion_only=True)
    tilted = X + np.array([0, 0, .5])[None,:,None]
    for weights in (net, save_weights(net, tmp_path/'d.safetensors')):
        d = RelConDistance(weights).transform(X[:4], X[4:])
        np.testing.assert_allclose(RelConDistance(weights).transform(tilted[:4], X[4:]), d, rtol=1e-3)
        x = torch.from_numpy(X.astype(np.float32))
        np.testing.assert_allclose(d, motif_distances(net, x-x.mean(-1, keepdim=True), torch.arange(4), torch.arange(4,8).expand(4,-1)), rtol=1e-4)
    whole = RelConDistance(MotifDistance(nf=4, values='own'))
    assert not np.allclose(whole.transform(tilted[:4], X[4:]), whole.transform(X[:4], X[4:]), rtol=1e-3)

@pytest.mark.parametrize('how, f', [('mean', lambda d: (d+d.T)/2), ('min', lambda d: np.minimum(d, d.T)), ('max', lambda d: np.maximum(d, d.T))])
def test_symmetric_and_kernel(panel, distance_weights, how, f):
    X = panel[0][:6]
    d, s = RelConDistance(distance_weights).transform(X), RelConDistance(distance_weights, symmetrize=how).transform(X)
    np.testing.assert_allclose(s, f(d), rtol=1e-6)
    np.testing.assert_array_equal(s, s.T)
    k = RelConDistance(distance_weights, symmetrize=how, kernel='gaussian', gamma=2.).transform(X)
    np.testing.assert_allclose(k, np.exp(-2*s/(3*128)), rtol=1e-6)

def test_neighbours_clusters_and_a_fitted_network(panel):
    X, y, _ = panel
    knn = KNeighborsTimeSeriesClassifier(1, distance=RelConDistance('spectrum')).fit(X[::2], y[::2])
    assert knn.score(X[1::2], y[1::2])>.7
    fitted = RelConDistance(epochs=1, nf=4)
    np.testing.assert_array_equal(fitted.transform(X[:4], X[4:30]), fitted.transform(X[:4], X[4:30]))
    assert KNeighborsTimeSeriesClassifier(1, distance=fitted).fit(X[:30], y[:30]).predict(X[30:34]).shape==(4,)
    assert len(TimeSeriesDBSCAN(distance=RelConDistance('spectrum', symmetrize='mean'), eps=2., min_samples=2).fit(X[:20]).labels_)==20

# ---- encoder and head

@pytest.mark.parametrize('head', ['linear','mlp','finetune'])
def test_the_classifier_learns(panel, weights, head):
    X, y, subject = panel
    train = subject!='03'
    clf = RelConClassifier(weights, head, epochs=12, patience=6, lr=3e-3, subject=subject[train], random_state=0).fit(X[train], y[train])
    p = clf.predict_proba(X[~train])
    assert clf.score(X[~train], y[~train])>.6 and p.shape==((~train).sum(), 4)
    np.testing.assert_allclose(p.sum(1), 1, rtol=1e-5)

@pytest.mark.parametrize('head', ['linear','finetune'])
def test_the_regressor_learns(panel, weights, head):
    X, *_ = panel
    y = X.std((1,2))
    reg = RelConRegressor(weights, head, epochs=8, lr=3e-3, random_state=0).fit(X[::2], y[::2])
    assert np.corrcoef(reg.predict(X[1::2]), y[1::2])[0,1]>.7

def test_options_of_fine_tuning_reach_it_and_are_checked(panel, weights):
    X, y, _ = panel
    for make,target in ((RelConClassifier, y), (RelConRegressor, X.std((1,2)))):
        assert make(weights, 'finetune', epochs=1, lr=7e-4, random_state=0).fit(X[::3], target[::3]).model_.learn.lr==7e-4
        for wrong in (dict(lr=0), dict(lr=-1e-3), dict(lr=True), dict(lr='fast'), dict(bs=0), dict(bs=2.5)):
            with pytest.raises(ValueError, match=f'`{next(iter(wrong))}` is'): make(weights, 'finetune', random_state=0, **wrong).fit(X[::3], target[::3])

def test_what_is_unlike_the_files_segments_is_told(panel, weights):
    X, y, _ = panel
    clf = RelConClassifier(weights).fit(X[::3], y[::3])
    for wrong,says in ((X*9.81, 'median magnitude'), (X[...,:60], '60 samples; the encoder was trained on')):
        for f in (clf.predict, RelConTransformer(weights).fit(X).transform):
            with pytest.warns(DataWarning, match=says): f(wrong)
    with warnings.catch_warnings():
        warnings.simplefilter('error', DataWarning)
        clf.predict(X), RelConTransformer(weights).fit(X).transform(X)
    with pytest.raises(ValueError, match='`X` has 2 channels; the encoder is for 3'): clf.predict(X[:,:2])
    with pytest.raises(ValueError, match='`weights` is a int; wanted a file'): RelConClassifier(3).fit(X, y)

def test_a_class_that_only_the_held_out_have_is_learned_in_the_end(panel, weights):
    X, y, subject = panel
    y = np.where(subject=='03', 'third', y)                                              # of three people one is held out, for one seed or another the third
    for seed in range(4): assert 'third' in RelConClassifier(weights, subject=subject, random_state=seed).fit(X, y).model_.classes_

def test_patience_ends_fine_tuning_early(panel, weights):
    X, y, _ = panel
    from fastai.learner import Learner
    epochs, fit = [], Learner.fit
    def counting(self, *args, **kw): fit(self, *args, **kw); epochs.append(self.epoch+1)
    Learner.fit = counting
    try: RelConClassifier(weights, 'finetune', epochs=60, patience=1, random_state=0).fit(X[:60], y[:60])
    finally: Learner.fit = fit
    assert epochs[-1]<60

def test_sktime_is_not_imported_before_it_is_used():
    code = "import sys, tsai_relcon.all; assert not any(m.split('.')[0]=='sktime' for m in sys.modules), 'sktime'"
    subprocess.run([sys.executable, '-W', 'ignore', '-c', code], check=True)
