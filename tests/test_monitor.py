"What is measured of a ranking, which epoch is kept, and what Ctrl-C leaves"
import os, signal
import pytest
import torch
import torch.nn.functional as F
from fastai.callback.core import Callback
from fastai.learner import Learner, Metric
from tsai_relcon.batches import relcon_dls
from tsai_relcon.callback import RelCon
from tsai_relcon.models import RelConResNet34
from tsai_relcon.monitor import KeepBest, RankingSample, StopOnInterrupt, ranking_metrics, rank_with
from tsai_relcon.splits import subject_splits

def silently(learn, *args, **kw):
    with learn.no_bar(), learn.no_logging(): learn.fit(*args, **kw)

@pytest.fixture
def dls(few): return relcon_dls(few[::3], n_groups=8, n_within=3, splits=subject_splits(few[::3].subject), anchors='all')

def make(dls, *cbs): return Learner(dls, RelConResNet34(nf=4), loss_func=F.mse_loss, cbs=[RelCon('euclidean'), *cbs])

# ---- measures

def test_ranking_sample_is_what_it_says(few):
    s = RankingSample(few, n=30, seconds=30.)
    for a, row, near, other in zip(s.anchors, s.candidates, s.neighbour, s.other_person):
        assert set(row)|{a}==set(range(len(s.segs))) and len(row)==len(s.segs)-1
        for c, n, o in zip(row, near, other):
            same = s.segs.subject[a]==s.segs.subject[c]
            assert n==(same and abs(s.segs.time[a]-s.segs.time[c])<=30) and o==(not same)
    assert len(s.anchors)==30 and s.neighbour.any(1).all()

def test_ranking_metrics_are_columns_and_equal_their_definition(dls, few):
    metrics = ranking_metrics(few[few.subject=='01'], n=20, seconds=100)
    assert [m.name for m in metrics]==['neighbour_auc']                 # one person: nobody else to be nearest to
    metrics = ranking_metrics(dls.valid.dataset.segs, n=20, seconds=100)
    learn = make(dls)
    learn.metrics = metrics
    silently(learn, 1)
    assert list(learn.recorder.metric_names)[3:5]==['neighbour_auc','nn_macro_f1']
    s = metrics[0].sample
    x = torch.from_numpy(s.segs.X)
    d = rank_with(learn.model.eval(), x, torch.from_numpy(s.anchors), torch.from_numpy(s.candidates)).numpy()
    assert learn.recorder.values[-1][2]==pytest.approx(metrics[0].score(d)) and 0<=metrics[1].score(d)<=1

def test_no_neighbours_is_an_error(few):
    with pytest.raises(ValueError, match='seconds'): RankingSample(few, seconds=.1)

# ---- keeping and stopping

def test_keep_best_leaves_the_best_epoch(dls):
    states = []
    class Note(Callback):
        order = 62
        def after_epoch(self): states.append({k: v.clone() for k,v in self.model.state_dict().items()})
    class Scripted(Metric):
        name = 'score'
        def reset(self): pass
        def accumulate(self, learn): self.epoch = learn.epoch
        @property
        def value(self): return [.2, .9, .5, .1][self.epoch]
    learn = make(dls, KeepBest(monitor='score'), Note())
    learn.metrics = [Scripted()]
    silently(learn, 4, .1)
    assert learn.keep_best.best_epoch==1
    assert all(torch.equal(v, states[1][k]) for k,v in learn.model.state_dict().items())
    assert any(not torch.equal(v, states[3][k]) for k,v in learn.model.state_dict().items())

def test_keep_best_goes_back_to_the_start_if_no_epoch_is_better(dls):
    for start,best in ((-1., -1), (1e9, 0)):
        learn = make(dls, KeepBest(monitor='valid_loss'))
        learn.keep_best.start, before = start, {k: v.clone() for k,v in learn.model.state_dict().items()}
        silently(learn, 1)
        assert learn.keep_best.best_epoch==best
        assert (best==-1)==all(torch.equal(v, before[k]) for k,v in learn.model.state_dict().items())

def test_keep_best_is_of_fits_alone(dls):
    learn = make(dls, KeepBest(monitor='valid_loss'))
    learn.keep_best.start = -1.
    silently(learn, 1)
    with learn.no_bar(), learn.no_logging():
        learn.validate(), learn.get_preds(), learn.lr_find(num_it=3, show_plot=False, suggest_funcs=None)
        assert (learn.keep_best.best_epoch, learn.keep_best.best, learn.keep_best.state)==(-1, -1., None)          # a look changes nothing
        learn.fit(1)
    assert learn.keep_best.best_epoch==0                                              # and a start is of one fit

def test_keep_best_passes_over_skipped_and_cancelled_epochs(dls):
    learn = make(dls, KeepBest(monitor='valid_loss'))
    silently(learn, 3, start_epoch=1)
    assert learn.keep_best.best_epoch>=1

def test_ctrl_c_ends_the_fit_in_peace(dls):
    class Interrupt(Callback):
        def after_pred(self):
            if self.train_iter==2: os.kill(os.getpid(), signal.SIGINT)
    handler = signal.getsignal(signal.SIGINT)
    learn = make(dls, StopOnInterrupt(), Interrupt())
    silently(learn, 3)
    assert learn.train_iter==3 and learn.loss_func is F.mse_loss and learn.stop_on_interrupt.interrupted
    assert signal.getsignal(signal.SIGINT) is handler

def test_ctrl_c_is_as_ever_after_a_fit_that_died(dls):
    class Dies(Callback):
        def after_pred(self): raise RuntimeError('died')
    handler = signal.getsignal(signal.SIGINT)
    learn = make(dls, StopOnInterrupt(), dies := Dies())
    with pytest.raises(RuntimeError): silently(learn, 1)
    learn.remove_cb(dies)
    silently(learn, 1)
    assert signal.getsignal(signal.SIGINT) is handler
