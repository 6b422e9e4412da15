"Numbers to trust: people on one side of each split alone, nothing fitted on those of the test, chance for what says nothing, metrics equal to scikit-learn's and scipy's"
import functools, warnings
from inspect import signature
import numpy as np
import pandas as pd
import pytest
import torch
from fastai.learner import Learner
from hypothesis import given, settings, strategies as st
from scipy import stats
from sklearn import metrics as skm
from tsai_relcon import evaluation as ev
from tsai_relcon.core import Segments
from tsai_relcon.data import resample_segments
from tsai_relcon.splits import subject_folds, subject_splits
from tsai_relcon.batches import relcon_dls
from tsai_relcon.datasets import mobgap
from tsai_relcon import probes
from tsai_relcon.evaluation import classification_metrics, evaluate, evaluation_splits, label_efficiency, match_segments, pool_probabilities, regression_metrics, unseen_fold
from tsai_relcon.learner import get_embeddings, load_encoder, relcon_learner, save_weights, weights_info
from tsai_relcon.probes import hand_features, linear_probe
from tsai_relcon.distance import MotifDistance
from tsai_relcon.models import RelConResNet34

one_C = dict(Cs=(1e-2,))
by_hand = lambda X: hand_features(X, 50)

def test_features_by_hand_take_segments(few):
    np.testing.assert_array_equal(hand_features(few), hand_features(few.X, few.rate))
    np.testing.assert_array_equal(hand_features(few, few.rate), hand_features(few))
    with pytest.raises(ValueError, match='`rate` is 100; `X` has 50 Hz: wanted None, or the same'): hand_features(few, 100)
    with pytest.raises(ValueError, match='`rate` is None'): hand_features(few.X)
protocols = ['linear','mlp','ridge','finetune','regression','finetune_regression']
quick = dict(linear=one_C, mlp=dict(epochs=2, hidden=8), ridge=dict(alphas=(1.,)), finetune=dict(epochs=1), regression=dict(alphas=(1.,)), finetune_regression=dict(epochs=1))

@pytest.fixture(scope='module')
def tiny(segs): return segs[::60]

@pytest.fixture(scope='module')
def net():
    torch.manual_seed(0)
    return RelConResNet34(nf=2)

# splits -------------------------------------------------------------------------------------------------------------------------

@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 8), min_size=6, max_size=60), st.sampled_from([2,3,5,'loso']), st.floats(.05, .95), st.integers(0, 5))
def test_fit_validation_and_test_people_are_disjoint_and_everyone_is_tested_once(subject, folds, valid_pct, seed):
    subject = np.array(subject)
    n = len(set(subject))
    if n<3 or (folds!='loso' and folds>n-1) or (folds==2 and n<4): return
    tested = []
    for fit,valid,test in evaluation_splits(subject, folds, valid_pct, seed):
        a, b, c = (set(subject[rows]) for rows in (fit,valid,test))
        assert a and b and c and not a&b and not a&c and not b&c
        assert sorted([*fit, *valid, *test])==list(range(len(subject)))
        tested += sorted(test)
    assert sorted(tested)==list(range(len(subject)))

@pytest.mark.parametrize('protocol', protocols)
@pytest.mark.parametrize('folds', [3,'loso'])
def test_every_protocol_gets_disjoint_people(protocol, folds, tiny, net, monkeypatch):
    few = tiny[np.isin(tiny.subject, ['01','02','03','04','05','06','07'])]
    seen, real = [], probes.protocols[protocol]
    @functools.wraps(real)
    def spy(fit, valid, **kw):
        seen.append((fit, valid))
        return real(fit=fit, valid=valid, **kw)
    monkeypatch.setitem(probes.protocols, protocol, spy)
    target = few.X.mean((1,2)) if protocol in probes.regressions else None
    _, answers = evaluate(net, few, target, protocol, folds, predictions=True, **quick[protocol])
    answers = answers[answers.level=='segment']
    assert len(seen)==answers.fold.nunique() and sorted(answers.name)==list(range(len(few)))
    for (fit,valid),(_,test) in zip(seen, answers.groupby('fold')):
        people = [set(few.subject[fit]), set(few.subject[valid]), set(test.subject)]
        assert all(people) and not people[0]&people[1] and not people[0]&people[2] and not people[1]&people[2]

def test_nothing_is_fitted_on_test_people(tiny, monkeypatch):
    "Scalers, transformers and models see rows of training people alone, and of people fitted on while something is chosen"
    Z, fitted = hand_features(tiny.X, tiny.rate), []
    of_row = {tuple(z): s for z,s in zip(Z, tiny.subject)}
    class Spy(probes.StandardScaler):
        def fit(self, X, *a, **k): fitted.append({of_row[tuple(r)] for r in X}); return super().fit(X, *a, **k)
    monkeypatch.setattr(probes, 'StandardScaler', Spy)
    for protocol in ('linear','mlp','ridge','regression'):
        fitted.clear()
        evaluate(Z, tiny, Z[:,0] if protocol=='regression' else None, protocol, folds=4, **quick[protocol])
        splits = evaluation_splits(tiny.subject, 4)
        refits = 1 if protocol=='mlp' else 2
        assert len(fitted)==4*refits
        for i,(fit,valid,test) in enumerate(splits):
            assert fitted[i*refits]==set(tiny.subject[fit])
            if refits==2: assert fitted[i*2+1]==set(tiny.subject[fit])|set(tiny.subject[valid])

def test_fine_tuning_sees_no_test_people(tiny, net, monkeypatch):
    seen, real = [], probes.TensorDataset
    monkeypatch.setattr(probes, 'TensorDataset', lambda x, y: seen.append({a.numpy().tobytes() for a in x}) or real(x, y))
    evaluate(net, tiny, protocol='finetune', folds=3, epochs=1)
    for i,(fit,valid,test) in enumerate(evaluation_splits(tiny.subject, 3)):
        assert seen[2*i]=={x.tobytes() for x in tiny.X[fit]} and seen[2*i+1]<={x.tobytes() for x in tiny.X[valid]}

def test_few_labels_come_from_the_people_fitted_on(tiny, monkeypatch):
    seen, real = [], probes.protocols['linear']
    @functools.wraps(real)
    def spy(fit, valid, **kw): seen.append((fit, valid)); return real(fit=fit, valid=valid, **kw)
    monkeypatch.setitem(probes.protocols, 'linear', spy)
    table = evaluate(by_hand, tiny, n_labels=3, folds=3, **one_C)
    for (fit,valid),(whole_fit,whole_valid,_) in zip(seen, evaluation_splits(tiny.subject, 3)):
        assert set(fit)<=set(whole_fit) and set(valid)<=set(whole_valid) and len(set(fit))==len(fit)
        assert all((tiny.labels[fit]==c).sum()==min(3, (tiny.labels[whole_fit]==c).sum()) for c in np.unique(tiny.labels[whole_fit]))
    assert table.loc['segment'].n_train.dropna().tolist()==[len(fit) for fit,_ in seen]

def test_the_table_says_how_many_were_fitted_on_and_what_was_never_seen(tiny):
    labels = tiny.labels.astype('<U8')
    fit, valid, test = evaluation_splits(tiny.subject, [subject_splits(tiny.subject)])[0]
    labels[valid[:2]], labels[test[:2]] = 'lie', 'lie'                                    # a class of validation people, and of the test's
    about = {p: evaluate(by_hand, tiny, labels, p, [subject_splits(tiny.subject)], workout=np.arange(len(tiny)), **quick[p]).loc[('segment',0)] for p in ('linear','mlp')}
    assert about['linear'].n_train==len(fit)+len(valid) and about['linear'].untrained==''
    assert about['mlp'].n_train==len(fit) and about['mlp'].untrained=='lie'

def test_people_whom_the_encoder_has_met_are_told(tiny, net, tmp_path):
    train, test = subject_splits(tiny.subject, .3)
    learn = relcon_learner(relcon_dls(tiny[train], n_groups=2, n_within=2, small_groups='drop'), MotifDistance(), arch=net)
    path = save_weights(learn, tmp_path/'e.safetensors')
    assert not any(s in ' '.join(weights_info(path)['subjects']) for s in ('"01"', 'sub')) and len(weights_info(path)['subjects'])==len(set(tiny.subject[train]))
    with pytest.warns(UserWarning, match='pretrained on some'): table = evaluate(path, tiny, folds=3, **one_C)
    seen = set(', '.join(table.loc['segment'].seen.dropna()).split(', '))
    assert seen==set(tiny.subject[train])
    for encoder in (path, learn): assert unseen_fold(encoder, tiny)==[(sorted(train), sorted(test))]
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert evaluate(path, tiny, folds=unseen_fold(path, tiny), **one_C).loc[('segment',0),'seen']==''
        evaluate(RelConResNet34(nf=2), tiny, folds=3, **one_C)                             # nothing known, nothing said
    with pytest.warns(UserWarning, match='pretrained on some'): curve = label_efficiency(path, tiny, (2,), repeats=1, folds=3, **one_C)
    assert set(', '.join(curve.seen.dropna()).split(', '))>=set(tiny.subject[train])
    with pytest.raises(ValueError, match='all of these people'): unseen_fold(path, tiny[train])
    with pytest.raises(ValueError, match='does not tell whose recordings'): unseen_fold(net, tiny)
    with pytest.raises(ValueError, match='none of these people.*any other `folds`'): unseen_fold(path, Segments(tiny.X, [f'other {w}' for w in tiny.subject], tiny.time, tiny.rate))

def test_functions_cannot_change_the_segments(tiny):
    before = tiny.X.copy()
    def centre(X): X -= X.mean(-1, keepdims=True); return X.std(-1)
    evaluate(centre, tiny, folds=2, **one_C)
    np.testing.assert_array_equal(tiny.X, before)

def test_fine_tuning_sees_what_the_learners_transforms_make(tiny):
    from tsai.data.core import get_ts_dls, TSClassification
    from tsai.data.preprocessing import TSStandardize
    from tsai.learner import ts_learner
    from tsai.models.ResNetPlus import ResNetPlus
    dls = get_ts_dls(tiny.X, tiny.labels, splits=subject_splits(tiny.subject), tfms=[None, TSClassification()], batch_tfms=TSStandardize(by_sample=True))
    X = ev._inputs(ts_learner(dls, ResNetPlus), tiny.X)
    np.testing.assert_allclose(X.std((1,2)), 1, atol=.02)

def test_a_transformer_is_fitted_on_each_folds_training_people(tiny):
    seen = []
    class Mean:
        def get_params(self, deep=True): return {}
        def fit(self, X): seen.append(X); self.mean = X.mean(0); return self
        def transform(self, X): return (X-self.mean).std(-1)
    evaluate(Mean(), tiny, folds=3, workout=np.arange(len(tiny)), **one_C)
    for i,(fit,valid,_) in enumerate(evaluation_splits(tiny.subject, 3)):
        np.testing.assert_array_equal(seen[2*i], tiny.X[fit])
        assert len(seen[2*i+1])==len(fit)+len(valid)

def test_folds_that_share_people_or_leave_one_are_refused(tiny):
    rows = np.arange(len(tiny))
    with pytest.raises(ValueError, match='same people'): evaluate(by_hand, tiny, folds=[(rows[:-1:2], rows[1::2])])
    three = tiny[np.isin(tiny.subject, ['01','02'])]
    with pytest.raises(ValueError, match='one person to train on'): evaluate(by_hand, three, folds=2)
    for folds in (1, 25, 2.5, 'five', True):
        with pytest.raises(ValueError, match='folds'): evaluate(by_hand, tiny, folds=folds)
    train, test = subject_splits(tiny.subject)
    assert len(evaluate(by_hand, tiny, folds=[(train, test)], **one_C).loc['segment'])==4       # one fold, mean, sd, pooled

def test_loso_tests_one_at_a_time(): assert [len(set(t)) for _,t in subject_folds(np.array(list('aabbc')), 'loso')]==[2,2,1]

# chance -------------------------------------------------------------------------------------------------------------------------

def chance_of(y, n=200):
    "Macro F1 of answers drawn at random from the labels' own frequencies: mean and sd"
    rng = np.random.default_rng(0)
    scores = [skm.f1_score(y, rng.permutation(y), average='macro') for _ in range(n)]
    return np.mean(scores), np.std(scores)

@pytest.mark.parametrize('protocol', ['linear','mlp','ridge'])
def test_noise_scores_at_chance(protocol, few):
    Z = np.random.default_rng(0).normal(size=(len(few), 20))
    table = evaluate(Z, few, protocol=protocol, **quick[protocol])
    mean, sd = chance_of(few.labels[:len(few)//5])
    assert table.loc[('segment','mean'),'macro_f1'] < mean+3*sd
    assert abs(table.loc[('segment','mean'),'auc']-.5)<.05 and abs(table.loc[('segment','mean'),'kappa'])<.05
    assert evaluate(by_hand, few, **one_C).loc[('segment','mean'),'macro_f1'] > mean+20*sd       # and what says something does not

def test_labels_shuffled_within_people_score_at_chance(few):
    rng, labels = np.random.default_rng(1), few.labels.copy()
    for s in np.unique(few.subject): labels[few.subject==s] = rng.permutation(labels[few.subject==s])
    table = evaluate(by_hand, few, labels, workout=np.arange(len(few)), **one_C)
    mean, sd = chance_of(labels[:len(labels)//5])
    assert table.loc[('segment','mean'),'macro_f1'] < mean+3*sd and abs(table.loc[('segment','mean'),'kappa'])<.05

def test_noise_predicts_no_gait(few):
    Z = np.random.default_rng(0).normal(size=(len(few), 20))
    table = evaluate(Z, few, few.X.std(-1).mean(1), 'regression')
    assert abs(table.loc[('segment','mean'),'r'])<.15

# metrics ------------------------------------------------------------------------------------------------------------------------

def test_classification_metrics_equal_sklearns():
    rng, classes = np.random.default_rng(0), np.array(['a','b','c','d'])
    y, p = rng.choice(classes, 300), rng.dirichlet(np.ones(4), 300)
    m, predicted = classification_metrics(y, p, classes), classes[p.argmax(1)]
    assert m['macro_f1']==pytest.approx(skm.f1_score(y, predicted, average='macro'))
    assert m['kappa']==pytest.approx(skm.cohen_kappa_score(y, predicted)) and m['accuracy']==pytest.approx((y==predicted).mean())
    assert m['auc']==pytest.approx(skm.roc_auc_score(y, p, multi_class='ovr', average='macro', labels=classes)) and m['absent']==''

def test_an_absent_class_is_reported_and_the_auc_is_of_the_others():
    p = np.array([[.7,.2,.1],[.2,.7,.1],[.1,.6,.3]])
    m = classification_metrics(['a','b','b'], p, ['a','b','c'])
    assert m['absent']=='c' and m['auc']==1 and m['macro_f1']==1
    lone = classification_metrics(['a','a'], np.array([[.9,.1],[.8,.2]]), ['a','b'])
    assert lone['absent']=='b' and np.isnan(lone['auc']) and lone['accuracy']==1
    with pytest.raises(ValueError, match='lacks'): classification_metrics(['z'], np.ones((1,2)), ['a','b'])
    with pytest.raises(ValueError, match='shape'): classification_metrics(['a'], np.ones((2,2)), ['a','b'])

def test_regression_metrics_equal_scipys():
    rng = np.random.default_rng(0)
    y, y_hat = rng.normal(size=50), rng.normal(size=50)
    m, e = regression_metrics(y, y_hat), y_hat-y
    assert m['r']==pytest.approx(stats.pearsonr(y, y_hat).statistic)
    assert [m['mse'], m['sd_squared_error'], m['mae'], m['sd_absolute_error']]==pytest.approx([(e**2).mean(), (e**2).std(), abs(e).mean(), abs(e).std()])
    assert np.isnan(regression_metrics([1.,2.], [3.,3.])['r']) and np.isnan(regression_metrics([1.,2.], [3.,4.])['r'])
    with pytest.raises(ValueError, match='shape'): regression_metrics([1.], [1.,2.])

def test_the_table_holds_what_the_answers_give(tiny):
    table, answers = evaluate(by_hand, tiny, predictions=True, **one_C)
    assert list(table.loc['segment'].index)==[0,1,2,3,4,'mean','sd','pooled']
    for level in ('segment','workout'):
        for fold,a in answers[answers.level==level].groupby('fold'):
            assert table.loc[(level,fold),'macro_f1']==pytest.approx(skm.f1_score(a.true, a.predicted, average='macro'))
            assert table.loc[(level,fold),'n_test']==len(a)
        everyone = answers[answers.level==level]
        assert table.loc[(level,'pooled'),'macro_f1']==pytest.approx(skm.f1_score(everyone.true, everyone.predicted, average='macro'))
        folds = table.loc[level].macro_f1.iloc[:5].astype(float)
        assert table.loc[(level,'mean'),'macro_f1']==pytest.approx(folds.mean()) and table.loc[(level,'sd'),'macro_f1']==pytest.approx(folds.std())

# workouts -----------------------------------------------------------------------------------------------------------------------

def test_pooling_by_hand():
    p, w = np.array([[.6,.4],[.6,.4],[.1,.9],[.3,.7]]), np.array([7,7,7,2])
    np.testing.assert_allclose(pool_probabilities(p, w), [[.3,.7],[1.3/3,1.7/3]])
    np.testing.assert_allclose(pool_probabilities(p, w, 'vote'), [[0,1],[2/3,1/3]])
    product = np.array([.6*.6*.1, .4*.4*.9])**(1/3)
    np.testing.assert_allclose(pool_probabilities(p, w, 'geometric')[1], product/product.sum())
    with pytest.raises(ValueError, match='pool'): pool_probabilities(p, w, 'best')

def test_a_workout_is_the_pool_of_its_segments(tiny):
    _, answers = evaluate(by_hand, tiny, predictions=True, **one_C)
    segment, workout = (answers[answers.level==l] for l in ('segment','workout'))
    p = [c for c in answers if c.startswith('p_')]
    name = workout.name.iloc[3]
    np.testing.assert_allclose(workout[workout.name==name][p].to_numpy()[0], segment[tiny.recording[segment.name.astype(int)]==name][p].mean())

def test_workouts_without_one_answer(tiny):
    mixed = np.array([f'{s}' for s in tiny.subject])
    with pytest.raises(ValueError, match='several labels'): evaluate(by_hand, tiny, workout=mixed)
    with pytest.raises(ValueError, match='2 subjects|subjects'): evaluate(by_hand, tiny, workout=np.zeros(len(tiny)))
    whole = Segments(tiny.X, tiny.subject, tiny.time, 50, tiny.labels, mixed)
    with pytest.warns(UserWarning, match='no workout level'): assert list(evaluate(by_hand, whole, **one_C).index.levels[0])==['segment']
    lone = Segments(tiny.X, tiny.subject, tiny.time, 50, tiny.labels)
    assert 'workout' not in evaluate(by_hand, lone, **one_C).index

# what is evaluated --------------------------------------------------------------------------------------------------------------

def test_every_shape_of_an_encoder_gives_the_same_table(tiny, net, tmp_path):
    path = save_weights(net, tmp_path/'e.safetensors', rate=50, length=128)
    with torch.no_grad(): Z = net.eval()(torch.from_numpy(tiny.X)).numpy()
    dls = relcon_dls(tiny, n_groups=2, n_within=2, splits=subject_splits(tiny.subject))
    learn = relcon_learner(dls, MotifDistance(), arch=net)
    wanted = evaluate(Z, tiny, **one_C)
    for encoder in (net, path, str(path), load_encoder(path), learn, lambda X: Z, pd.DataFrame(Z)):
        pd.testing.assert_frame_equal(evaluate(encoder, tiny, **one_C).drop(columns='seen'), wanted.drop(columns='seen'), rtol=1e-3)
    assert len(evaluate(lambda X: torch.from_numpy(Z).requires_grad_(), tiny, **one_C)) and len(evaluate(torch.nn.Flatten(), tiny, **one_C))
    assert len(evaluate(dict(a=net, b=by_hand), tiny, protocol=dict(a='mlp', b='ridge'), folds=2, epochs=1, alphas=(1.,)))
    with pytest.raises(ValueError, match='`lr` is no option'): evaluate(dict(a=net, b=by_hand), tiny, protocol=dict(a='mlp', b='ridge'), lr=1.)
    assert evaluate(dict(a=net, b=by_hand), tiny, protocol=dict(a='linear', b='ridge')).loc['b','segment'].chosen.iloc[0] in (1,10,100,1e3,1e4)
    both = evaluate(dict(file=path, hand=by_hand), tiny, **one_C)
    assert both.index.names==['encoder','level','fold']
    pd.testing.assert_frame_equal(both.loc['file'], wanted, rtol=1e-3)

def test_any_fastai_learner_is_judged_by_its_backbone_not_its_answers(tiny):
    from tsai.models.ResNet import ResNet
    from tsai.models.ResNetPlus import ResNetPlus
    from tsai.learner import ts_learner
    from tsai.data.core import get_ts_dls, TSClassification
    dls = get_ts_dls(tiny.X, tiny.labels, splits=subject_splits(tiny.subject), tfms=[None, TSClassification()])
    with pytest.raises(ValueError, match='backbone'): evaluate(ts_learner(dls, ResNet), tiny)
    learn = ts_learner(dls, ResNetPlus)
    from tsai_relcon.learner import get_embeddings
    assert get_embeddings(learn, tiny).shape==(len(tiny), learn.model.head_nf)
    assert len(evaluate(learn, tiny, folds=3, **one_C).loc['segment'])==6
    assert evaluate(learn, tiny, protocol='finetune', folds=2, epochs=1).loc[('segment','mean'),'accuracy']>0

def test_another_rate_or_length_is_refused_unless_asked_for(tiny, net, tmp_path):
    encoder = load_encoder(save_weights(net, tmp_path/'e.safetensors', rate=100, length=256))
    with pytest.raises(ValueError, match='resample=True'): evaluate(encoder, tiny)
    assert len(evaluate(encoder, tiny, resample=True, **one_C))
    same_rate = load_encoder(save_weights(net, tmp_path/'f.safetensors', rate=50, length=64))
    with pytest.raises(ValueError, match='any_length=True'): evaluate(same_rate, tiny)
    assert len(evaluate(same_rate, tiny, any_length=True, **one_C))
    twice = match_segments(tiny, 100, 256, resample=True)
    assert twice.X.shape[2]==256 and twice.rate==100
    with pytest.raises(ValueError, match='any_length'): match_segments(tiny, 100, 300, resample=True)
    np.testing.assert_array_equal(match_segments(tiny, 50, 128).X, tiny.X)

def test_segments_at_another_rate_keep_a_sine():
    t, f = np.arange(128)/50, np.linspace(1, 4, 5)
    X = np.stack([np.stack([np.sin(2*np.pi*i*t), np.cos(2*np.pi*i*t), np.ones(128)+.01*np.sin(t*i)]) for i in f]).astype(np.float32)
    out = resample_segments(Segments(X, np.arange(5), np.arange(5), 50), 100)
    t2 = np.arange(256)/100
    assert out.X.shape==(5,3,256) and np.abs(out.X[:,0,30:-30]-np.stack([np.sin(2*np.pi*i*t2) for i in f])[:,30:-30]).max()<.02

def test_bad_input_names_its_argument(tiny, net):
    y = tiny.X.mean((1,2))
    for says,kw in [('protocol', dict(protocol='svm')), ('pool', dict(pool='best')), ('n_labels', dict(n_labels=0)), ('target', dict(target=[1,2])), ('target', dict(target=y)),
                    ('target', dict(protocol='regression')), ('target', dict(protocol='regression', target=np.where(y>y.mean(), np.nan, y))), ('target', dict(target=np.zeros(len(tiny), int))),
                    ('alphas', dict(alphas=(1,))), ('encoder', dict(protocol='finetune')), ('workout', dict(workout=[1])), ('n_labels', dict(protocol='regression', target=y, n_labels=3)),
                    ('valid_pct', dict(valid_pct=1.5)), ('Cs', dict(Cs=())), ('Cs', dict(Cs=1.)), ('Cs', dict(Cs=(-1.,))), ('max_iter', dict(max_iter=0)), ('epochs', dict(protocol='mlp', epochs=0)),
                    ('seed', dict(seed=-1)), ('seed', dict(seed=None)), ('folds', dict(folds=[])), ('folds', dict(folds=[([0],[999])])), ('target', dict(target=[None]*len(tiny))), ('protocol', dict(protocol=['linear'])),
                    ('target', dict(target=[np.nan]+['a','b']*90)), ('workout', dict(workout=[None]*len(tiny)))]:
        with pytest.raises(ValueError, match=f'`{says}`'): evaluate(by_hand, tiny, **kw)
    for bad in (np.zeros((3,2)), np.zeros(len(tiny)), np.full((len(tiny),2), np.nan), 'nowhere.safetensors', None, np.array(['a']*len(tiny))[:,None]):
        with pytest.raises(ValueError): evaluate(bad, tiny)
    for bad in (None, 3, {1}):
        for f in (evaluate, lambda e, s: evaluate(dict(good=lambda X: 1/0, bad=e), s), lambda e, s: label_efficiency(dict(good=lambda X: 1/0, bad=e), s)):
            with pytest.raises(ValueError, match='`encoder` is .*; wanted a file of weights'): f(bad, tiny)      # before the good one is asked
    for name in ('resample','any_length','predictions','progress'):
        with pytest.raises(ValueError, match=f"`{name}` is 'no'; wanted True or False"): evaluate(by_hand, tiny, **{name: 'no'})
    for name in ('resample','any_length'):
        with pytest.raises(ValueError, match=f"`{name}` is 'no'"): label_efficiency(by_hand, tiny, **{name: 'no'})
    def asked(X): raise AssertionError('an encoder was asked before all was checked')
    for wrong,says in ((dict(n_labels=(2,0)), '`n_labels` is 0'), (dict(pool='x'), "`pool` is 'x'"), (dict(progress='no'), "`progress` is 'no'"), (dict(Css=(1,)), '`Css` is no option')):
        with pytest.raises(ValueError, match=says): label_efficiency(asked, tiny, **wrong)
    with pytest.raises(ValueError, match="encoder 'b': `pool` is 'vote'"): evaluate(dict(a=asked, b=asked), tiny, np.arange(len(tiny))%3, pool='vote', protocol=dict(a='linear', b='regression'))
    for Z in (tuple(by_hand(tiny.X)), torch.from_numpy(by_hand(tiny.X)).bfloat16(), type('Lazy', (), dict(__array__=lambda self, *a, **k: by_hand(tiny.X)))()): assert len(evaluate(Z, tiny, folds=2, **one_C))
    for wrong,says in ((dict(repeats=True), '`repeats` is True'), (dict(seed='a'), "`seed` is 'a'"), (dict(n_labels=(1,1)), r'`n_labels` is \(1, 1\).*once'), (dict(predictions=True), '`predictions`')):
        with pytest.raises(ValueError, match=says): label_efficiency(by_hand, tiny, **wrong)
    with pytest.raises(ValueError, match='empty dict'): label_efficiency({}, tiny)
    with pytest.raises(ValueError, match="`target` is 'speed'; text names no column"): evaluate(by_hand, tiny, 'speed')
    with pytest.raises(ValueError, match="`valid_pct` is '.2'"): evaluate(by_hand, tiny, valid_pct='.2')
    with pytest.raises(ValueError, match='`path` is a NoneType'): load_encoder(None)
    with pytest.raises(ValueError, match='`segs` is a ndarray'): unseen_fold(net, tiny.X)
    for wrong in (None, 3, by_hand):
        with pytest.raises(ValueError, match='`encoder` is a .*; wanted a Learner'): unseen_fold(wrong, tiny)
    with pytest.raises(ValueError, match='segs'): evaluate(by_hand, tiny.X)
    with pytest.raises(ValueError, match="encoder 'bad'"): evaluate(dict(good=by_hand, bad=np.zeros((3,2))), tiny, **one_C)
    with pytest.raises(ValueError, match="encoder 'bad'.*finetune"): evaluate(dict(good=net, bad=by_hand), tiny, protocol='finetune')
    with pytest.raises(ValueError, match='wanted one for each'): evaluate(dict(a=net, b=by_hand), tiny, protocol=dict(b='ridge'))
    with pytest.raises(ValueError, match='empty dict'): evaluate({}, tiny)
    with pytest.raises(ValueError, match='the class'): evaluate(probes.StandardScaler, tiny)
    for bad in (5, None): 
        with pytest.raises(ValueError, match='n_labels'): label_efficiency(by_hand, tiny, bad)
    unlabelled = Segments(tiny.X, tiny.subject, tiny.time, 50)
    with pytest.raises(ValueError, match='no labels'): evaluate(by_hand, unlabelled)
    with pytest.raises(ValueError, match='backbone'): evaluate(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(384, 4)), tiny, protocol='finetune')

# protocols ----------------------------------------------------------------------------------------------------------------------

def test_linear_probe_chooses_by_validation_people(few):
    Z = hand_features(few.X, few.rate)
    fit, valid = subject_splits(few.subject, .25, 0)
    def f1(C): return skm.f1_score(few.labels[valid], probes.make_pipeline(probes.StandardScaler(), probes.LogisticRegression(C=C, max_iter=500)).fit(Z[fit], few.labels[fit]).predict(Z[valid]), average='macro')
    best = max((1e-4,1e-2), key=f1)
    probe = linear_probe(Z, few.labels, few.subject, Cs=(1e-4,1e-2))
    assert probe[-1].C==best and probe[0].n_samples_seen_==len(few)
    with pytest.raises(ValueError, match='rows'): linear_probe(np.zeros((3,2)), np.zeros(2), np.zeros(3))

def contrary(segs):
    "Labels of which the validation people have others, so that what is best for them is not what fits best; rows of who fits and who validates"
    names, codes = np.unique(segs.labels, return_inverse=True)
    fit, valid   = map(np.asarray, subject_splits(segs.subject))
    codes[valid] = (codes[valid]+1)%len(names)
    return names[codes], fit, valid

def test_the_mlp_keeps_the_epoch_that_is_best_for_the_validation_people(few):
    "scikit-learn's, epoch by epoch from one random state: other batches each time"
    Z, (y, fit, valid) = hand_features(few.X, few.rate), contrary(few)
    scaler, net = probes.StandardScaler().fit(Z[fit]), probes.MLPClassifier((16,), random_state=np.random.RandomState(3))
    f1, answers = {'fit': [], 'valid': []}, []
    for _ in range(12):
        net.partial_fit(scaler.transform(Z[fit]), y[fit], classes=np.unique(y[fit]))
        for name,rows in dict(fit=fit, valid=valid).items(): f1[name].append(skm.f1_score(y[rows], net.predict(scaler.transform(Z[rows])), average='macro'))
        answers.append(net.predict_proba(scaler.transform(Z)))
    best = int(np.argmax(f1['valid']))
    assert best!=np.argmax(f1['fit'])                                                       # or it would not matter who chooses
    _, probe, at, rows = probes.protocols['mlp'](lambda r: Z, y, fit, valid, seed=3, hidden=16, epochs=12, patience=12)
    assert at==best+1 and set(rows)==set(fit)
    np.testing.assert_allclose(probe.predict_proba(Z), answers[best], rtol=1e-6)

def test_fine_tuning_keeps_the_epoch_that_is_best_for_the_validation_people(few):
    two = few[np.isin(few.labels, ['jog','wlk'])]
    y, fit, valid = contrary(two)
    _, model, at, rows = probes.protocols['finetune'](lambda r: two.X, y, fit, valid, encoder=RelConResNet34(nf=2), epochs=4, bs=64)
    train, _, f1 = map(list, zip(*(values[:3] for values in model.learn.recorder.values)))
    assert at==1+np.argmax(f1)!=1+np.argmin(train) and set(rows)==set(fit)
    answers = model.classes_[model.predict_proba(two.X[valid]).argmax(1)]
    assert skm.f1_score(y[valid], answers, average='macro')==pytest.approx(max(f1), abs=1e-6)

def test_ridge_recovers_a_linear_target(few):
    Z = hand_features(few.X, few.rate)
    y = Z @ np.random.default_rng(0).normal(size=Z.shape[1])/Z.std(0).mean()
    assert evaluate(Z, few, y, 'regression').loc[('segment','mean'),'r']>.99

def test_gait_of_real_people_is_told_from_their_trunk():
    gait, targets = mobgap()
    table = evaluate(lambda X: hand_features(X, 100), gait, targets.speed_mps.to_numpy(), 'regression', folds='loso')
    assert table.loc[('segment','mean'),'r']>.5 and 'workout' in table.index

def test_fine_tuning_learns_and_leaves_the_encoder_as_it_was(few, net):
    before = {k: v.clone() for k,v in net.state_dict().items()}
    three = few[np.isin(few.labels, ['jog','sit','std'])]
    table = evaluate(RelConResNet34(nf=4), three, protocol='finetune', folds=[subject_splits(three.subject)], epochs=4)
    random_state, np_state = torch.get_rng_state(), np.random.get_state()[1].copy()
    evaluate(net, three[::20], protocol='finetune', folds=[subject_splits(three[::20].subject)], epochs=1)
    assert torch.equal(random_state, torch.get_rng_state()) and (np_state==np.random.get_state()[1]).all()
    assert table.loc[('segment','mean'),'macro_f1']>.55
    assert all(torch.equal(v, before[k]) for k,v in net.state_dict().items())

def test_fine_tuning_for_a_number_finds_it_and_answers_in_its_unit(few):
    y = 100+20*few.X.std(-1).mean(1)
    table, answers = evaluate(RelConResNet34(nf=4), few, y, 'finetune_regression', folds=[subject_splits(few.subject)], epochs=3, predictions=True)
    assert table.loc[('segment','mean'),'r']>.8
    of = answers[answers.level=='segment']
    assert np.abs(of.predicted-of.true).mean()<np.abs(of.true-y.mean()).mean()
    with pytest.raises(ValueError, match='`pool`'): evaluate(RelConResNet34(nf=2), few, y, 'finetune_regression', pool='vote')
    with pytest.raises(ValueError, match='`target`.*finetune_regression'): evaluate(RelConResNet34(nf=2), few, protocol='finetune_regression')
    with pytest.raises(ValueError, match='`encoder`.*finetune_regression'): evaluate(by_hand, few, y, 'finetune_regression')

def test_fine_tuning_for_a_number_begins_at_the_frozen_probe(few):
    y, (fit, valid), encoder = 100+20*few.X.std(-1).mean(1), map(np.asarray, subject_splits(few.subject)), RelConResNet34(nf=4).eval()
    Z = get_embeddings(encoder, few.X)
    def probe(alpha): return probes.make_pipeline(probes.StandardScaler(), probes.Ridge(alpha=alpha)).fit(Z[fit], y[fit]).predict(Z)
    frozen = min(map(probe, 10.**np.arange(-2, 6)), key=lambda answers: skm.mean_squared_error(y[valid], answers[valid]))
    stays = probes.finetune_regression(few.X, y, fit, valid, encoder, epochs=2, lr=.1)                      # so large a step that no epoch is better
    np.testing.assert_allclose(stays.predict(few.X), frozen, rtol=1e-4)
    assert stays.learn.keep_best.best_epoch==-1
    tuned = probes.finetune_regression(few.X, y, fit, valid, encoder, epochs=4)
    assert tuned.learn.keep_best.best_epoch>=0 and skm.mean_squared_error(y[valid], tuned.predict(few.X[valid]))<skm.mean_squared_error(y[valid], frozen[valid])
    with pytest.raises(ValueError, match='`lr`.*finite'): probes.finetune_regression(few.X, y, fit, valid, encoder, epochs=1, lr=1e30)
    for wrong,says in ((dict(lr=0), '`lr` is 0'), (dict(lr='fast'), "`lr` is 'fast'"), (dict(bs=0), '`bs` is 0'), (dict(epochs=0), '`epochs` is 0'), (dict(patience=0), '`patience` is 0'), (dict(epochs=2.), '`epochs` is 2.0'), (dict(bs=np.inf), '`bs` is inf'), (dict(lr=10**400), '`lr` is 1')):
        with pytest.raises(ValueError, match=says): probes.finetune_regression(few.X, y, fit, valid, encoder, **wrong)
    for wrong,says in ((few.X[0], r'`X` has shape \(3, 128\)'), (few.X.round().astype(int), '`X` has shape .*, int64'), (few.X*np.nan, '`X` has shape .*finite')):
        with pytest.raises(ValueError, match=says): probes.finetune_regression(wrong, y[:len(wrong)], fit, valid, encoder)
    for rows,says in ((np.zeros(len(y), bool), '`fit` is empty'), ([], '`fit` is empty'), ([0, len(y)], '`fit` holds'), ([.5, 1.], '`fit` holds float64'), (np.ones(3, bool), '`fit` holds bool')):
        with pytest.raises(ValueError, match=says): probes.finetune_regression(few.X, y, rows, valid, encoder)

def test_masks_and_doubles_do_for_fine_tuning_a_number(few):
    y, (fit, valid), encoder = few.X.std(-1).mean(1), map(np.asarray, subject_splits(few.subject)), RelConResNet34(nf=2).eval()
    def tune(X, y, fit, valid): return probes.finetune_regression(X, y, fit, valid, encoder, epochs=1).predict(few.X)
    def mask(rows): return np.isin(np.arange(len(y)), rows)
    np.testing.assert_allclose(tune(few.X, y, np.sort(fit), np.sort(valid)), tune(few.X.astype(np.float64), y, mask(fit), mask(valid)), rtol=1e-5)

def test_numbers_far_from_0_in_half_precision_are_not_lost(few):
    y, (fit, valid), encoder = few.X.std(-1).mean(1), map(np.asarray, subject_splits(few.subject)), RelConResNet34(nf=2).eval()
    exact, half = (probes.finetune_regression(few.X, of, fit, valid, encoder, epochs=1).predict(few.X[valid]) for of in (30000+1e4*y.astype(np.float16).astype(float), (30000+1e4*y.astype(np.float16).astype(np.float32)).astype(np.float32)))
    np.testing.assert_allclose(half, exact, rtol=1e-4)
    small = np.float16(60000)*np.ones(len(y), np.float16)                                                    # whose squares are beyond half precision
    assert np.isfinite(probes.finetune_regression(few.X, small-(y*1000).astype(np.float16), fit, valid, encoder, epochs=1).predict(few.X[valid])).all()

def test_patience_counts_from_the_start(few):
    y, (fit, valid) = few.X.std(-1).mean(1), map(np.asarray, subject_splits(few.subject))
    stays = probes.finetune_regression(few.X[:,:,:64], y, fit, valid, RelConResNet34(nf=2), epochs=12, lr=.1, patience=2)
    assert stays.learn.keep_best.best_epoch==-1 and len(stays.learn.recorder.values)==2
    assert {signature(probes.finetune_regression).parameters['lr'].default, signature(probes.protocols['finetune_regression']).parameters['lr'].default}=={3e-5}

def test_norms_stay_as_the_probe_saw_them_and_others_are_free(few):
    class Plain(torch.nn.Module):
        head_nf = 8
        def __init__(self): super().__init__(); self.backbone = torch.nn.Sequential(torch.nn.Conv1d(3, 8, 5), torch.nn.BatchNorm1d(8, affine=affine), torch.nn.ReLU())
        def forward(self, x): return self.backbone(x).mean(-1)
    y = few.X.std(-1).mean(1)
    for affine in (True, False):
        net = Plain()
        tuned = probes.finetune_regression(few.X[:80], y[:80], np.arange(60), np.arange(60, 80), net, epochs=1, lr=1e-3).learn
        tuned.keep_best.state = None
        assert all(torch.equal(v, net.backbone[1].state_dict()[k]) for k,v in tuned.model.backbone[1].state_dict().items())
        assert tuned.keep_best.best_epoch==-1 or not torch.equal(tuned.model.backbone[0].weight, net.backbone[0].weight)
    classes = probes.protocols['finetune'](lambda r: few.X[:400], few.labels[:400], np.arange(300), np.arange(300, 400), encoder=net, epochs=1)[1]
    assert not torch.equal(classes.learn.model.backbone[1].running_mean.cpu(), net.backbone[1].running_mean)

def test_few_people_s_gait_survives_fine_tuning():
    gait, targets = mobgap()
    kw = dict(folds='loso', seed=0)
    frozen, tuned = (evaluate(RelConResNet34(nf=8), gait, targets.speed_mps.to_numpy(), p, **kw).loc[('segment','mean'),'r'] for p in ('regression','finetune_regression'))
    assert tuned>frozen-.2                                                                                  # from a head at random: r below 0

def test_fine_tuning_is_the_same_for_the_same_seed(tiny, net):
    kw = dict(protocol='finetune', folds=2, epochs=1)
    pd.testing.assert_frame_equal(evaluate(net, tiny, **kw), evaluate(net, tiny, **kw))

def test_few_labels(few):
    table = evaluate(by_hand, few, n_labels=2, **one_C)
    assert (table.loc['segment'].n_train.dropna()==12).all()
    curve = label_efficiency({'hand': by_hand}, few, (1,20), repeats=2, **one_C)
    assert curve.index.names==['encoder','n_labels','repeat','level','fold']
    mean = curve.xs(('segment','mean'), level=('level','fold')).macro_f1.astype(float).groupby('n_labels').mean()
    assert mean[20]>mean[1]+.1
    with pytest.raises(ValueError, match='n_labels'): label_efficiency(by_hand, few, ())
    both = label_efficiency(dict(a=by_hand, b=by_hand), few, (5,), repeats=1, protocol=dict(a='linear', b='ridge'), folds=2, **one_C)
    for name,protocol,options in (('a', 'linear', one_C), ('b', 'ridge', {})): pd.testing.assert_frame_equal(both.loc[name].loc[(5,0)], evaluate(by_hand, few, n_labels=5, protocol=protocol, folds=2, **options), check_dtype=False)

def test_a_class_that_training_lacks_is_told(tiny):
    labels = np.where((tiny.subject=='01') & (tiny.labels=='sit'), 'lie', tiny.labels)
    table = evaluate(by_hand, tiny, labels, folds=[(np.flatnonzero(tiny.subject!='01'), np.flatnonzero(tiny.subject=='01'))], workout=np.arange(len(tiny)), **one_C)
    assert table.loc[('segment',0),'untrained']=='lie' and 'sit' in table.loc[('segment',0),'absent']

def test_a_constant_scores_what_knowing_nothing_scores(few):
    gait, targets = mobgap()
    y = targets.speed_mps.to_numpy()
    table = evaluate(np.zeros((len(gait),1)), gait, y, 'regression', folds='loso')
    for fold,(fit,valid,test) in enumerate(evaluation_splits(gait.subject, 'loso')):
        assert table.loc[('segment',fold),'mse']==pytest.approx(((y[test]-y[[*fit,*valid]].mean())**2).mean()) and np.isnan(table.loc[('segment',fold),'r'])
    assert evaluate(np.zeros((len(few),1)), few, **one_C).loc[('segment','mean'),'kappa']==0

# features by hand ---------------------------------------------------------------------------------------------------------------

def test_features_by_hand_know_activities(few): assert evaluate(by_hand, few, **one_C).loc[('segment','mean'),'macro_f1']>.7

def test_features_by_hand_by_hand():
    t = np.arange(100)/50
    x = np.stack([np.sin(2*np.pi*5*t), np.zeros(100)+.01*np.cos(2*np.pi*2*t), np.ones(100)+.01*np.sin(2*np.pi*3*t)])[None].astype(np.float32)
    f = hand_features(x, 50)[0]
    per_channel = f[:-3].reshape(4, -1)
    np.testing.assert_allclose(per_channel[:3,0], [0,0,1], atol=1e-3)                          # means
    np.testing.assert_allclose(per_channel[0,1], np.sqrt(.5), atol=1e-2)                        # sd of a sine
    np.testing.assert_allclose(per_channel[:3,10], [5,2,3])                                     # dominant frequencies
    assert f.shape==(71,)
