"""The recordings that the benchmarks pretrain on and test on, and training for an equal time. Used by anchors.py, levers.py and methods.py.

A folder holds the sets as npz files in the layout of `from_npz`. Nobody is on both sides: the sets pretrained on and those tested on have no person in common.
"""
import sys, time
from pathlib import Path
import numpy as np
from sklearn.metrics import f1_score
from sklearn.neighbors import KNeighborsClassifier
from torch import nn
from fastai.learner import Learner
from fastai.callback.core import Callback, CancelFitException
from fastai.callback.schedule import combined_cos
from tsai_relcon.all import *

rate, length = 50., 128
pretraining  = ('stress_predict','gait_pocket','sisfall','chest_casale','indoor_loc','user_id_walk','sp_sw_har','seglearn_watch','wharf')
tested       = dict(motionsense='activities', hapt='activities', moving_reality='stride time', mobgap='speed, double support')
about_sets   = dict(                                                          # origin, licence, people, hours, Hz, where it is worn
    stress_predict=('github.com/italha-d/Stress-Predict-Dataset', 'MIT', 35, 32.2, 32, 'wrist'),
    gait_pocket   =('github.com/palewithout/Gait_Datasets', 'none stated', 10, 16.2, 50, 'both trouser pockets'),
    sisfall       =('github.com/Fall-Prevention-Team/sisfallData', 'none stated', 38, 22.0, '200, here 50', 'waist'),
    chest_casale  =('UCI 287', 'CC BY 4.0, to be confirmed', 15, 10.3, 52, 'chest'),
    indoor_loc    =('github.com/location-competition/indoor-location-competition-20, site 1', 'MIT', 'unknown, in 5 groups', 5.7, 50, 'phone in hand'),
    user_id_walk  =('UCI 286', 'MIT', 22, 1.3, 32, 'chest pocket'),
    sp_sw_har     =('github.com/GeoTecINIT/sp-sw-har-dataset', 'CC BY 4.0', 23, 1.4, 100, 'wrist and pocket at once'),
    seglearn_watch=('PyPI seglearn 1.2.5 (SPAR)', "BSD-3, the package's", 10, 1.4, 50, 'wrist'),
    wharf         =('UCI 283', 'CC BY 4.0, to be confirmed', 17, 3.9, 32, 'wrist'),
    motionsense   =('Malekzadeh et al., MotionSense', 'MIT', 24, 7.9, 50, 'front pocket'),
    hapt          =('UCI 341', 'CC BY 4.0, to be confirmed', 30, 6.2, 50, 'waist'),
    moving_reality=('github.com/SintMaartenskliniek/MovingReality, people after stroke', 'MIT', 12, 2.0, 100, 'lower back'),
    mobgap        =("github.com/mobilise-d/mobgap, its example data", 'CC BY 4.0', 3, .16, 100, 'lower back'))
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

def command_line(script, data):
    "The command for a record: as it was typed, without this machine's folders"
    def plain(a): return 'DATA' if data is not None and a==str(data) else Path(a).name if Path(a).is_absolute() else a
    return ' '.join([f'python benchmarks/{Path(script).name}', *map(plain, sys.argv[1:])])

# ---- choosing, without a look at those who are tested --------------------------------------------------------------------------------------------

choosing = dict(chest_casale=None, wharf=None, sisfall=[f'D{i:02d}' for i in range(1, 20)])     # sets pretrained on that have labels: of sisfall the activities, not the falls

def choosing_splits(subject, share=.5):
    "Rows that train, and rows of people held out of pretraining to choose by: a share of each set's with labels, the same whatever the seed"
    of_set, people = np.array([w.split(' ')[0] for w in subject]), []
    for name in choosing:
        names = np.unique(subject[of_set==name])
        people.extend(np.random.default_rng(0).permutation(names)[:max(2, round(share*len(names)))])
    held = np.isin(subject, people)
    return np.flatnonzero(~held), np.flatnonzero(held)

def choosing_segments(data, people, n=2000):
    "{set: Segments with labels} of people held out, at most n of each, of classes that two of them have"
    def some(name, labels):
        s = from_npz(data/f'{name}.npz', rate, length, **({} if labels is None else dict(labels=labels)))
        s = s[np.isin([f'{name} {w}' for w in s.subject], people)]
        s = s[np.sort(np.random.default_rng(0).permutation(len(s))[:n])]
        shared = [l for l in np.unique(s.labels) if len(np.unique(s.subject[s.labels==l]))>1]
        return s[np.isin(s.labels, shared)]
    return {name: some(name, labels) for name,labels in choosing.items()}

def nearest_f1(Z, segs, folds, seed=0):
    "Macro F1 of the nearest neighbour among the people of the other folds, mean over folds"
    def score(train, test): return f1_score(segs.labels[test], KNeighborsClassifier(1, metric='cosine').fit(Z[train], segs.labels[train]).predict(Z[test]), average='macro')
    return float(np.mean([score(*fold) for fold in subject_folds(segs.subject, folds, seed)]))

def quick_scores(encoder, tests, folds=5, seed=0):
    "{set: macro F1 by person of a frozen encoder: nearest neighbour, linear probe and its sd over folds}"
    out = {}
    for name,segs in tests.items():
        Z = get_embeddings(encoder, segs) if isinstance(encoder, (nn.Module, Learner)) else encoder(segs.X)
        k = min(folds, len(np.unique(segs.subject)))
        linear = evaluate(Z, segs, folds=k, seed=seed).loc['segment']
        out[name] = dict(nearest=nearest_f1(Z, segs, k, seed), linear=float(linear.loc['mean'].macro_f1), linear_sd_folds=float(linear.loc['sd'].macro_f1))
    return out

# ---- an equal time ------------------------------------------------------------------------------------------------------------------------------

class TimedOneCycle(Callback):
    "fit_one_cycle whose length is seconds of the process, or a number of steps, instead of epochs; ends the fit when they are over"
    order = 5
    def __init__(self, seconds, lr, of_steps=None, pct_start=.25, div=25., div_final=1e5):
        self.seconds, self.of_steps, self.steps = seconds, of_steps, 0
        self.lr, self.mom = combined_cos(pct_start, lr/div, lr, lr/div_final), combined_cos(pct_start, .95, .85, .95)
    def before_train(self):
        if not self.steps: self.start = time.process_time()
    @property
    def pct(self): return min(1., self.steps/self.of_steps if self.of_steps else (time.process_time()-self.start)/self.seconds)
    def before_batch(self):
        if self.training: self.learn.opt.set_hypers(lr=self.lr(self.pct), mom=self.mom(self.pct))
    def after_batch(self):
        if not self.training: return
        self.steps += 1
        if self.pct==1.: raise CancelFitException()

def check_arguments(parser, args, also=(), **at_least):
    "Ends the command for numbers that cannot be, a folder that is not there, or a report of no records"
    def given(name): return (v if isinstance(v := vars(args)[name], list) else [v])
    for name,least in at_least.items():
        for v in given(name):
            if not least<=v<float('inf'): parser.error(f"--{name.replace('_', '-')} {v}: wanted {least:g} or more")
    if args.report_only and args.record is None: parser.error('--report-only: where are the records? Give --record')
    for name in ('out','record'):
        if (folder := getattr(args, name, None)) and folder.exists() and not folder.is_dir(): parser.error(f"--{name}: {folder} is no folder")
    if args.report_only: return
    if args.data is None: parser.error('DATA is missing: the folder of npz files')
    if not args.data.is_dir(): parser.error(f"DATA: {args.data} is no folder")
    missing = [name for name in (*pretraining, *also) if not (args.data/f'{name}.npz').exists()]
    if missing: parser.error(f"DATA: {args.data} lacks {', '.join(f'{m}.npz' for m in missing)}")

def once(jobs): return list(dict.fromkeys(jobs))

def fit_for(learn, seconds, lr, steps=None):
    "Train for seconds of one thread's time, or so many steps; the number of steps"
    cycle = TimedOneCycle(seconds, lr, steps)
    learn.remove_cbs([cb for cb in learn.cbs if isinstance(cb, KeepBest)])       # the end of the cycle is what counts, not the last whole epoch
    with learn.no_bar(), learn.no_logging(): learn.fit(10**6, cbs=cycle)
    return cycle.steps
