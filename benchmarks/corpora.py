"""The recordings that the benchmarks pretrain on and test on, and training for an equal time. Used by anchors.py.

A folder holds the sets as npz files in the layout of `from_npz`. Nobody is on both sides: the sets pretrained on and those tested on have no person in common.
"""
import time
from dataclasses import replace
import numpy as np
from fastai.callback.core import Callback, CancelFitException
from fastai.callback.schedule import combined_cos
from tsai_relcon.all import *

rate, length = 50., 128
pretraining  = ('stress_predict','gait_pocket','sisfall','chest_casale','indoor_loc','user_id_walk','sp_sw_har','seglearn_watch','wharf')
hapt_labels  = ['walking','walking_upstairs','walking_downstairs','sitting','standing','laying']

def joined(sets):
    "{name: Segments} as one, subjects and recordings named after their set"
    def column(f): return np.concatenate([np.array([f'{name} {v}' for v in getattr(s, f)]) for name,s in sets.items()])
    return Segments(np.concatenate([s.X for s in sets.values()]), column('subject'), np.concatenate([s.time for s in sets.values()]), rate, recording=column('recording'))

def pretraining_segments(data):
    "All of the sets pretrained on, without labels"
    return joined({name: from_npz(data/f'{name}.npz', rate, length, cut='unlabelled') for name in pretraining})

def test_segments(data):
    "{set: Segments with labels} of people whom no pretraining has met"
    return dict(motionsense=motionsense(rate, length), hapt=from_npz(data/'hapt.npz', rate, length, labels=hapt_labels))

class TimedOneCycle(Callback):
    "fit_one_cycle whose length is seconds of the process instead of batches; ends the fit when they are over"
    order = 5
    def __init__(self, seconds, lr, pct_start=.25, div=25., div_final=1e5):
        self.seconds, self.steps = seconds, 0
        self.lr, self.mom = combined_cos(pct_start, lr/div, lr, lr/div_final), combined_cos(pct_start, .95, .85, .95)
    def before_train(self):
        if not self.steps: self.start = time.process_time()
    @property
    def pct(self): return min(1., (time.process_time()-self.start)/self.seconds)
    def before_batch(self):
        if self.training: self.learn.opt.set_hypers(lr=self.lr(self.pct), mom=self.mom(self.pct))
    def after_batch(self):
        if not self.training: return
        self.steps += 1
        if self.pct==1.: raise CancelFitException()

def fit_for(learn, seconds, lr):
    "Train for seconds of one thread's time; the number of steps"
    cycle = TimedOneCycle(seconds, lr)
    with learn.no_bar(), learn.no_logging(): learn.fit(10**6, cbs=cycle)
    return cycle.steps
