"The probe is honest: nothing of the test people is fitted on, and what says nothing scores at chance"
import numpy as np
import pytest
from sklearn.metrics import f1_score
from tsai_relcon.data import subject_splits
from tsai_relcon.evaluation import hand_features, linear_probe

def score(Z, labels, subject, **kw):
    train, test = subject_splits(subject)
    probe = linear_probe(Z[train], labels[train], subject[train], **kw)
    return f1_score(labels[test], probe.predict(Z[test]), average='macro')

def test_features_by_hand_know_activities(few):
    assert score(hand_features(few.X, few.rate), few.labels, few.subject, Cs=(1e-2,))>.7

def test_noise_and_shuffled_labels_score_at_chance(few):
    rng = np.random.default_rng(0)
    labels = few.labels.copy()
    for s in np.unique(few.subject): labels[few.subject==s] = rng.permutation(labels[few.subject==s])
    assert score(rng.normal(size=(len(few), 20)), few.labels, few.subject, Cs=(1e-2,))<.25
    assert score(hand_features(few.X, few.rate), labels, few.subject, Cs=(1e-2,))<.25

def test_c_is_chosen_on_other_people_and_the_scaler_sees_training_people_only(few, monkeypatch):
    from tsai_relcon import evaluation
    fitted = []
    class Spy(evaluation.StandardScaler):
        def fit(self, X, *a, **k): fitted.append({tuple(r) for r in X}); return super().fit(X, *a, **k)
    monkeypatch.setattr(evaluation, 'StandardScaler', Spy)
    Z = hand_features(few.X, few.rate)
    linear_probe(Z, few.labels, few.subject, Cs=(1e-3,1e-2))
    fit, valid = subject_splits(few.subject, .25, 0)
    held_out = {tuple(r) for r in Z[valid]}
    assert len(fitted)==3 and not fitted[0]&held_out and not fitted[1]&held_out and len(fitted[2])>len(fitted[0])

def test_features_by_hand_by_hand():
    t = np.arange(100)/50
    x = np.stack([np.sin(2*np.pi*5*t), np.zeros(100)+.01*np.cos(2*np.pi*2*t), np.ones(100)+.01*np.sin(2*np.pi*3*t)])[None].astype(np.float32)
    f = hand_features(x, 50)[0]
    per_channel = f[:-3].reshape(4, -1)
    np.testing.assert_allclose(per_channel[:3,0], [0,0,1], atol=1e-3)                          # means
    np.testing.assert_allclose(per_channel[0,1], np.sqrt(.5), atol=1e-2)                        # sd of a sine
    np.testing.assert_allclose(per_channel[:3,10], [5,2,3])                                     # dominant frequencies
    assert f.shape==(71,)

def test_unequal_lengths():
    with pytest.raises(ValueError, match='rows'): linear_probe(np.zeros((3,2)), np.zeros(2), np.zeros(3))
