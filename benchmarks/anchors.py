"""How should a batch be drawn? The paper's batch, every segment an anchor, segments drawn by motion: after the same time, which encoder serves strangers best?

    python benchmarks/anchors.py DATA --out anchors --seeds 0 1 2 --jobs 2 --record results      # goes on where it stopped
    python benchmarks/anchors.py --report-only --record results                                 # the report anew from the records

DATA is a folder of npz files (corpora.py names them). A seed chooses the people who validate, the distance, the encoder's first weights, the batches and the folds of the probe. The distance is fitted once a seed, for
`--distance-minutes`, and serves all ways of drawing. Each run has one thread and `--minutes` of its time, from a learning rate that is the same for all; it writes its own record as it ends.
"""
import argparse, json, shutil, warnings
from datetime import date
from pathlib import Path
import numpy as np
import torch
from joblib import Parallel, delayed

warnings.filterwarnings('ignore')
from fastai.callback.core import Callback
from fastai.torch_core import set_seed
from tsai_relcon.all import *
from tsai_relcon.machine import about_machine, keep_freed_memory
from corpora import command_line, fit_for, length, pretraining_segments, quick_scores, rate, test_segments

ways = dict(paper      =dict(n_groups=64, n_within=20, anchors='one'),
            all_same   =dict(n_groups=64, n_within=20, anchors='all'),
            all        =dict(n_groups=16, n_within=15, anchors='all'),
            all_motion =dict(n_groups=16, n_within=15, anchors='all', by_motion=True),
            all_bf16   =dict(n_groups=16, n_within=15, anchors='all'))
says = dict(paper="the paper's: 64 groups of 21, one anchor a group", all_same='the same batch, every segment an anchor', all='16 groups of 16, every segment an anchor', all_motion='the same, drawn by motion', all_bf16='as "16 groups of 16", the encoder in bfloat16')

def loaders(segs, seed, **way):
    return relcon_dls(segs, splits=subject_splits(segs.subject, .1, seed), small_groups='drop', valid_batches=4, seed=seed, **way)

class Bfloat16(Callback):
    "The encoder's pass in bfloat16 (fastai's `to_bf16` has no effect on a CPU)"
    def before_fit(self):
        forward = self.learn.model.forward
        def half(*args, **kwargs):
            with torch.autocast('cpu', torch.bfloat16): return forward(*args, **kwargs).float()
        self.learn.model.forward, self.forward = half, forward
    def after_fit(self): self.learn.model.forward = self.forward

settings = ('minutes','lr','width','distance_minutes','distance_lr')

def done(args, way, seed):
    "Is there a record of this run? Raises ValueError for one of other settings"
    for folder in filter(None, (args.out, args.record and args.record/'anchors')):
        path = folder/f'{way}_seed{seed}.json'
        if not path.exists(): continue
        then, now = json.loads(path.read_text())['settings'], {k: vars(args)[k] for k in settings}
        if then!=now: raise ValueError(f'{path} was made with {then}; wanted {now}: take another folder, or the same settings')
        if args.record and folder==args.out: shutil.copy(path, args.record/'anchors')
        return True
    return False

def fit_distance(data, seed, args):
    path = args.out/f'distance_seed{seed}.safetensors'
    if path.exists() or all(done(args, way, seed) for way in args.ways): return
    torch.set_num_threads(1); set_seed(seed)
    learn = motif_learner(loaders(pretraining_segments(data), seed, **ways['all']), metrics=[])
    steps = fit_for(learn, 60*args.distance_minutes, args.distance_lr)
    save_weights(learn, path, steps=steps)
    print(f'distance, seed {seed}: {steps} steps', flush=True)

def run(data, way, seed, args):
    path = args.out/f'{way}_seed{seed}.json'
    if done(args, way, seed): return
    torch.set_num_threads(1); warnings.filterwarnings('ignore'); keep_freed_memory()
    set_seed(seed)
    encoder = RelConResNet34(nf=args.width)
    if way=='untrained': record = dict(steps=0, anchors=0)
    else:
        dls   = loaders(pretraining_segments(data), seed, **ways[way])
        learn = relcon_learner(dls, args.out/f'distance_seed{seed}.safetensors', arch=encoder, metrics=[], cbs=[Bfloat16()] if way=='all_bf16' else [])
        steps = fit_for(learn, 60*args.minutes, args.lr)
        with learn.no_bar(): valid = float(learn.validate()[0])
        record = dict(steps=steps, anchors=steps*len(dls.train.index[0]), segments=len(dls.train.dataset), valid_loss=valid, subjects=len(dls.train.dataset.subjects))
        save_weights(learn, path.with_suffix('.safetensors'), overwrite=True)
    record |= dict(way=way, seed=seed, scores=quick_scores(encoder, test_segments(data), 5, seed), date=str(date.today()), machine=about_machine(),
                   command=args.command, settings={k: vars(args)[k] for k in settings})
    path.write_text(json.dumps(record, indent=1)+'\n')
    if args.record: (args.record/'anchors'/path.name).write_text(path.read_text())
    print(f"{way}, seed {seed}: {record['steps']} steps; " + ', '.join(f"{n} nearest {s['nearest']:.3f} linear {s['linear']:.3f}" for n,s in record['scores'].items()), flush=True)

def report(folder):
    "results/anchors.md from the records"
    runs = [json.loads(f.read_text()) for f in sorted((folder/'anchors').glob('*.json'))]
    s, sets = runs[0]['settings'], list(runs[0]['scores'])
    cell = lambda v: f'{np.mean(v):.3f}' + (f' (sd {np.std(v, ddof=1):.3f}, n {len(v)})' if len(v)>1 else ' (n 1)')
    if any(r['settings']!=s for r in runs): raise ValueError(f"{folder/'anchors'} holds records of different settings; wanted those of one")
    lines = ['# How a batch is drawn', '', f"{max(r['date'] for r in runs)}; {', '.join(dict.fromkeys(f'`{c}`' for r in runs if (c := r.get('command'))))}; {'; '.join(sorted({r['machine'] for r in runs}))}.", '',
             f"Encoder of width {s['width']}, {length} samples at {rate:g} Hz; {s['minutes']:g} minutes of one thread a run, one cycle at {s['lr']:g} for all; the distance beforehand, {s['distance_minutes']:g} minutes at {s['distance_lr']:g}. "
             f"The ways differ in the number of candidates too, unless they are called the same. Tested, frozen, on people of sets that pretraining has not met, 5 folds by person: macro F1, mean and sd over seeds.", '',
             f"| batch | segments pretrained on | anchors a minute | steps | {' | '.join(f'{n}: nearest neighbour | {n}: linear probe' for n in sets)} |", f"|{' --- |'*(4+2*len(sets))}"]
    for way in ('untrained', *ways):
        of = [r for r in runs if r['way']==way]
        if not of: continue
        rates = '' if way=='untrained' else f"{np.mean([r['anchors'] for r in of])/s['minutes']:,.0f}"
        lines.append(f"| {says.get(way, way)} | {'' if way=='untrained' else format(round(np.mean([r['segments'] for r in of])), ',')} | {rates} | {np.mean([r['steps'] for r in of]):.0f} | " + ' | '.join(cell([r['scores'][n][k] for r in of]) for n in sets for k in ('nearest','linear')) + ' |')
    (folder/'anchors.md').write_text('\n'.join(lines)+'\n')
    print('\n'.join(lines))

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('data', type=Path, nargs='?')
    p.add_argument('--out',     type=Path, default=Path('anchors'))
    p.add_argument('--record',  type=Path)
    p.add_argument('--seeds',   type=int, nargs='+', default=[0,1,2])
    p.add_argument('--ways',    nargs='+', default=['untrained','paper','all','all_motion'], choices=['untrained',*ways])
    p.add_argument('--minutes', type=float, default=20.)
    p.add_argument('--lr',      type=float, default=1e-3)
    p.add_argument('--width',   type=int, default=64)
    p.add_argument('--distance-minutes', type=float, default=3.)
    p.add_argument('--distance-lr',      type=float, default=4e-3)
    p.add_argument('--jobs',    type=int, default=2)
    p.add_argument('--report-only', action='store_true')
    args = p.parse_args()
    args.command = command_line(__file__, args.data)
    if not args.report_only:
        if args.data is None: p.error('DATA is missing: the folder of npz files')
        args.out.mkdir(parents=True, exist_ok=True)
        if args.record: (args.record/'anchors').mkdir(parents=True, exist_ok=True)
        parallel = lambda calls: Parallel(args.jobs, batch_size=1, pre_dispatch=args.jobs)(calls)
        parallel(delayed(fit_distance)(args.data, seed, args) for seed in args.seeds)
        parallel(delayed(run)(args.data, way, seed, args) for seeds,kinds in [(args.seeds, args.ways[:3]), (args.seeds, args.ways[3:])] for seed in seeds for way in kinds)
    if args.record: report(args.record)

if __name__=='__main__': main()
