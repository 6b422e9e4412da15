"""One frozen encoder on unlike tasks: activities of four data sets, gait of two; beside it what it must beat.

    python benchmarks/encoders.py   --out downstream/encoders --seeds 0 1 2 --jobs 2     # first: the encoders
    python benchmarks/downstream.py DATA --encoders downstream/encoders --record results # raw CSVs, then the report
    python benchmarks/downstream.py --report-only --record results                       # the report anew from the CSVs

DATA is a folder with hapt.npz, wharf.npz, sp_sw_har.npz and moving_reality.npz in the layout of `from_npz`; MotionSense and mobgap are bundled.
A seed chooses the folds, the people who validate, the encoder's training, and the untrained encoder's weights.
"""
import argparse, json, time, warnings
from datetime import date
from pathlib import Path
import numpy as np
import pandas as pd
import torch
from joblib import Parallel, delayed

warnings.filterwarnings('ignore')
from fastai.torch_core import no_random
from sktime.transformations.rocket import MiniRocketMultivariate
from tsai_relcon.all import *
from encoders import made_of

rate, length = 50., 128                         # those of the encoder
RELCON, UNTRAINED, BY_HAND, ROCKET, CONSTANT = 'RelCon', 'untrained', 'features by hand', 'MiniRocket + ridge', 'a constant'
activities = dict(motionsense='MotionSense, front pocket, 6 activities', hapt='HAPT, waist, 6 activities', wharf='WHARF, wrist, 14 activities',
                  sp_sw_har='sp_sw_har, wrist, 5 phases of timed up and go')
gait = dict(moving_reality=('stride_time_s',), mobgap=('speed_mps','double_support_s'))
titles = {**activities, 'moving_reality stride_time_s': 'moving_reality, lower back, stride time (s) after stroke', 'mobgap speed_mps': 'mobgap, lower back, walking speed (m/s)',
          'mobgap double_support_s': 'mobgap, lower back, double support (s)'}

def load(name, data):
    "(Segments, targets or None)"
    if name=='motionsense': return motionsense(rate, length), None
    if name=='mobgap': return mobgap(rate, length)
    path, window = data/f'{name}.npz', dict(rate=rate, length=length)
    if name=='moving_reality': return gait_from_npz(path, **window)
    if name=='hapt':  return from_npz(path, labels=['walking','walking_upstairs','walking_downstairs','sitting','standing','laying'], **window), None
    if name=='wharf': return from_npz(path, **window), None
    return from_npz(path, place='wrist', cut='recording', overlap=.5, **window), None    # phases of a second or two: a window has its commonest

def methods(seed, encoder):
    "{name: (encoder, protocol for activities)}"
    with no_random(seed): untrained = RelConResNet34(nf=encoder.nf).eval()
    return {RELCON: (encoder, 'linear'), UNTRAINED: (untrained, 'linear'), BY_HAND: (lambda X: hand_features(X, rate), 'linear'),
            ROCKET: (MiniRocketMultivariate(num_kernels=2520, random_state=seed), 'ridge'),
            CONSTANT: (lambda X: np.zeros((len(X), 1)), 'linear')}

def tables(name, data, seed, encoders):
    "A row for each target, method, level and fold"
    torch.set_num_threads(1)
    warnings.filterwarnings('ignore')
    segs, targets = load(name, data)
    start, out = time.time(), []
    for method,(encoder,protocol) in methods(seed, load_encoder(encoders/f'demo_seed{seed}/encoder.safetensors', rate)).items():
        for target in gait.get(name, [None]):
            y = None if target is None else targets[target].to_numpy()
            rows = np.arange(len(segs)) if y is None else np.flatnonzero(np.isfinite(y))
            kw = dict(target=None if y is None else y[rows], protocol=protocol if y is None else 'regression', folds=min(5, len(np.unique(segs.subject))), seed=seed)
            if name=='motionsense' and method==RELCON: table = unseen_even_unlabelled(segs, seed, encoders, kw)
            else: table = evaluate(encoder, segs[rows], **kw)
            table = table.drop(['mean','sd'], level='fold').rename(index=str, level='fold').reset_index()
            table.insert(0, 'seed', seed); table.insert(0, 'method', method); table.insert(0, 'task', name if target is None else f'{name} {target}')
            out.append(table)
        print(f'{name}, seed {seed}: {method} ({time.time()-start:.0f} s so far)', flush=True)
    return pd.concat(out), round(time.time()-start)

def unseen_even_unlabelled(segs, seed, encoders, kw):
    "On MotionSense each fold has an encoder of its own, pretrained without the people of the fold"
    parts = []
    for k,fold in enumerate(subject_folds(segs.subject, kw['folds'], seed)):
        met = set(made_of(encoders/f'seed{seed}_fold{k}')) & set(map(str, segs.subject[fold[1]]))
        if met: raise ValueError(f'{encoders}/seed{seed}_fold{k} was pretrained on {sorted(met)}, who are tested here; make the encoders anew')
        table = evaluate(load_encoder(encoders/f'seed{seed}_fold{k}/encoder.safetensors', rate), segs, **{**kw, 'folds': [fold]})
        parts.append(table.drop('pooled', level='fold').rename(index={0: k}, level='fold'))
    return pd.concat(parts)

about_data = dict(
    motionsense=' Malekzadeh et al. 2019, bundled.', mobgap=' Mobilise-D example data, bundled; reference INDIP.',
    hapt=' UCI 341, raw signal, cut at the labels of its authors.', wharf=' UCI 283. Macro F1 is over the classes that a fold\'s people did or were said to do; nine classes are missing in some fold.',
    sp_sw_har=' GeoTecINIT/sp-sw-har-dataset, the watch; whole recordings, windows half overlapping.',
    moving_reality=' SintMaartenskliniek/MovingReality; reference: stride times from gyroscopes at the shanks.')

# the report -----------------------------------------------------------------------------------------------------------------------------------

published = {
    'motionsense': 'The paper, frozen and linear, five subject-disjoint folds: RelCon .8035, SimCLR .8393 macro F1. Its encoder learned from 87,376 people\'s wrists at 100 Hz and saw MotionSense only then, in windows of 2 s; '
                   'ours learned from 15 or 16 people of MotionSense itself (never those of the fold), a sixteenth of the size, in windows of 2.56 s. The protocol is the same, the question another: theirs is transfer, ours is how far a few minutes at home go.',
    'hapt': 'Not among the paper\'s sets. The encoder has never seen a waist, nor these people: this is transfer.',
    'wharf': 'Not among the paper\'s sets. From a pocket to a wrist, at 32 Hz, clipped at 1.5 g.',
    'sp_sw_har': 'Not among the paper\'s sets. Phases last a second or two, less than a window: a window has its commonest phase, and no workout has one answer.',
    'moving_reality stride_time_s': 'The paper reports stride velocity (r .8431) and double support time (r .7559) of a data set that is not public, from the wrist; stride time after stroke from the lower back is another task.',
    'mobgap speed_mps': 'The paper\'s r for stride velocity is .8431, on a data set that is not public, with many people. Here are three people, of whom one is left out at a time: too few to compare anything with.',
    'mobgap double_support_s': 'The paper\'s r for double support is .7559; the same holds.'}

def columns_of(task): return dict(macro_f1='macro F1', kappa='kappa', accuracy='accuracy', auc='AUC') if task in activities else dict(r='Pearson r', mae='MAE', sd_absolute_error='sd of abs. errors', mse='MSE', sd_squared_error='sd of sq. errors')

def section(task, t):
    "Mean over seeds of the mean over folds; sd over folds, and over the seeds' means"
    columns = columns_of(task)
    lines = [f'## {titles[task]}', '', f"{(t.fold.unique()!='pooled').sum()} folds, {t.subjects.str.split(', ').explode().nunique()} people, {t[(t.level=='segment') & (t.fold!='pooled')].groupby(['method','seed']).n_test.sum().iloc[0]:.0f} segments.{about_data[task.split()[0]]}", '',
             f"| | level | answers a fold | {' | '.join(columns.values())} |", f"|{' --- |'*(len(columns)+3)}"]
    pooled, t = t[t.fold=='pooled'], t[t.fold!='pooled']
    for (method,level),m in t.groupby(['method','level'], sort=False):
        if level=='workout' and m.n_test.median()<10: continue                                   # a correlation of two or three workouts says nothing
        by_seed = m.groupby('seed')[list(columns)].mean()
        n = m.groupby('seed').n_test.sum().iloc[0]/m.fold.nunique()
        cells = ['' if by_seed[c].isna().all() else f'{by_seed[c].mean():.3f} (folds {m.groupby("seed")[c].std().mean():.3f}, seeds {by_seed[c].std():.3f})' for c in columns]
        lines.append(f"| {method} | {level} | {n:.0f} | {' | '.join(cells)} |")
    if task not in activities:
        r = pooled[pooled.level=='segment'].groupby('method', sort=False).r.mean()
        lines += ['', 'Pearson r of all folds\' segments pooled, mean over seeds: ' + ', '.join(f'{m} {v:.3f}' for m,v in r.items() if m!=CONSTANT) + '. Above is the r within folds, which does not see that a model is off by a constant for some person.']
    lines += ['', gain(task, t), '', published[task]]
    if 'absent' in t and (t.absent.fillna('')!='').any(): lines += ['', f"Some folds lack a class among their test people: {', '.join(sorted({c for v in t.absent.dropna() for c in v.split(', ') if c}))}."]
    return lines

def gain(task, t):
    "RelCon against the others, fold by fold on the same people"
    metric = 'macro_f1' if task in activities else 'r'
    wide = t[(t.level=='segment') & (t.fold!='pooled')].pivot_table(index=['seed','fold'], columns='method', values=metric)
    says = [f"{(wide[RELCON]-wide[other]).mean():+.3f} against {other} ({((wide[RELCON]-wide[other])>0).sum()} of {(wide[RELCON]-wide[other]).notna().sum()} folds above)" for other in (UNTRAINED, BY_HAND, ROCKET)]
    return f"RelCon, {columns_of(task)[metric]}, same people: {'; '.join(says)}. (Folds of other seeds are other deals of the same people: not so many independent ones.)"

def report(folder):
    raw = folder/'downstream'
    about = json.loads((raw/'about.json').read_text())
    t = pd.concat([pd.read_csv(f, dtype=dict(subjects=str, absent=str, fold=str)) for f in sorted(raw.glob('*.csv'))])
    lines = ['# Downstream: one frozen encoder, unlike tasks', '',
             'Written by `python benchmarks/downstream.py --report-only` from the CSVs in `results/downstream/`. The runs:', '',
             *[f"- {name}: {a['date']}; `{a['command']}`; seeds {', '.join(map(str, a['seeds']))}; {a['seconds']} s; {a['machine']}" for name,a in about.items()], '',
             'Each number is the mean over seeds of the mean over folds; in brackets the standard deviation over the folds of a seed (mean of the seeds) and that of the seeds\' means. A seed deals the people into folds anew and draws other weights. Folds are by person; a quarter of each fold\'s training people choose C or alpha; '
             'scalers, probes and MiniRocket are fitted on training people alone. Linear probe (logistic regression) for encoders and features by hand, ridge for MiniRocket (2,520 features); ridge for all gait, so part of what parts them in activities may be the probe. **A constant** is the same probe on an embedding that knows nothing: the mean, or the commonest class. 50 Hz, 2.56 s.', '',
             '**RelCon** is the encoder of `make demo` of the same seed (width 16, eight epochs; 15 people of MotionSense train it, 4 validate it; one thread). On MotionSense itself each fold has one of its own, by the same recipe, that has not seen the people of the fold even without labels.', '']
    for task in [k for k in titles if k in set(t.task)]: lines += [*section(task, t[t.task==task]), '']
    (folder/'downstream.md').write_text('\n'.join(lines))
    print(f"{folder/'downstream.md'}")

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('data', type=Path, nargs='?', help='folder of npz files')
    p.add_argument('--encoders', type=Path, default=Path('downstream/encoders'))
    p.add_argument('--record', type=Path, default=Path('results'))
    p.add_argument('--tasks', nargs='+', default=[*activities, *gait], choices=[*activities, *gait])
    p.add_argument('--seeds', type=int, nargs='+', default=[0,1,2])
    p.add_argument('--jobs', type=int, default=2)
    p.add_argument('--report-only', action='store_true')
    args = p.parse_args()
    raw = args.record/'downstream'
    raw.mkdir(parents=True, exist_ok=True)
    if not args.report_only:
        if args.data is None: p.error('DATA is missing: the folder of npz files')
        jobs = [(name, seed) for name in args.tasks for seed in args.seeds]
        done = Parallel(args.jobs, batch_size=1)(delayed(tables)(name, args.data, seed, args.encoders) for name,seed in jobs)
        about = json.loads((raw/'about.json').read_text()) if (raw/'about.json').exists() else {}
        for name in args.tasks:
            of_task = [d for (n,_),d in zip(jobs, done) if n==name]
            pd.concat([t for t,_ in of_task]).to_csv(raw/f'{name}.csv', index=False, float_format='%.6g')
            about[name] = dict(date=str(date.today()), command=f"python benchmarks/downstream.py DATA --tasks {name} --seeds {' '.join(map(str, args.seeds))} --encoders ENCODERS",
                               seeds=args.seeds, seconds=sum(s for _,s in of_task), machine=about_machine())
        (raw/'about.json').write_text(json.dumps(about, indent=1)+'\n')
    report(args.record)

if __name__=='__main__': main()
