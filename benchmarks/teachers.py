"""Which distance knows? Each one ranks by itself, no encoder anywhere: how often does the nearest neighbour among other people do the same thing, and does a neighbour in time come before others?

    python benchmarks/teachers.py DATA --minutes 3 --record results              # goes on where it stopped
    python benchmarks/teachers.py DATA --teachers own spectrum --seeds 0 1       # some of them

The learned ones are fitted for `--minutes` of one thread on the people of corpora.py who are not held out, and asked about people held out, of three sets. Nobody who is tested later is looked at. `neighbour AUC` needs no labels.
"""
import argparse, json, warnings
from datetime import date
from pathlib import Path
import numpy as np
import torch

warnings.filterwarnings('ignore')
from fastai.torch_core import set_seed
from tsai_relcon.all import *
from tsai_relcon.monitor import RankingSample
from tsai_relcon.machine import about_machine
from corpora import command_line, choosing_segments, choosing_splits, fit_for, length, pretraining_segments, rate
from levers import loaders
from recipes import mild

def apart(f, weight):
    "f on motion alone, and the difference of means, of gravity, beside it"
    def distances(x, anchors, candidates):
        mean = x.mean(-1)
        return f(x-x.mean(-1, keepdim=True), anchors, candidates) + weight*x.shape[-1]*(mean[anchors][:,None]-mean[candidates]).square().sum(-1)
    return distances

fitted = {                                                              # name: (what it is, network, augmentations, fitted on motion alone?, how it ranks)
    'paper':       ("the paper's",                                   {}, None, False, lambda f: f),
    'paper_motion':("the paper's, ranking motion alone",             {}, None, False, lambda f: apart(f, 0.)),
    'paper_apart': ("fitted on motion, gravity beside it",           {}, None, True,  lambda f: apart(f, .1)),
    'own':         ('reads real samples',                            dict(values='own'), None, False, lambda f: f),
    'own_mild':    ('reads real samples, mild augmentations',        dict(values='own'), mild, False, lambda f: f),
    'own_apart':   ('reads real samples, fitted on motion, gravity beside it', dict(values='own'), None, True, lambda f: apart(f, .1)),
    'own_mild_apart': ('reads real samples, mild augmentations, fitted on motion, gravity beside it', dict(values='own'), mild, True, lambda f: apart(f, .1)),
    'own_wide':    ('reads real samples, taps 31',                   dict(values='own', ks=31), None, True, lambda f: apart(f, .1))}
plain = {n: f'{n}' for n in ('euclidean','spectrum')}
says  = {n: v[0] for n,v in fitted.items()} | dict(euclidean='Euclidean distance', spectrum='distance of spectra')

def teacher(args, segs, name, seed):
    "(function that ranks, steps it was fitted)"
    if name in plain: return plain_distances[name], 0
    _, net, fs, on_motion, ranks = fitted[name]
    learn = motif_learner(loaders(segs, 'relcon', seed), MotifDistance(**net), metrics=[], fs=fs, motion_only=on_motion)
    steps, net = fit_for(learn, 60*args.minutes, args.lr), learn.model.eval()
    return ranks(lambda x, a, c: motif_distances(net, x, a, c)), steps

def score(distances, segs, seed, n=400):
    "(macro F1 of the nearest among other people, AUC of neighbours in time)"
    some = segs[np.sort(np.random.default_rng(seed).permutation(len(segs))[:n])]
    x, everyone = torch.from_numpy(some.X), torch.arange(len(some))
    d = distances(x, everyone, everyone.expand(len(some), -1)).numpy()
    other = some.subject[:,None]!=some.subject
    sample = RankingSample(segs, 60, seed=seed)
    near = distances(torch.from_numpy(sample.segs.X), torch.from_numpy(sample.anchors), torch.from_numpy(sample.candidates)).numpy()
    return nn_macro_f1(d, some.labels, np.broadcast_to(some.labels, d.shape), other), neighbour_auc(near, sample.neighbour)

def run(args, name, seed):
    path = args.out/f'{name}_{args.minutes:g}min_seed{seed}.json'
    if path.exists(): return
    torch.set_num_threads(1); set_seed(seed)
    segs = pretraining_segments(args.data)
    distances, steps = teacher(args, segs, name, seed)
    held = np.unique(segs.subject[choosing_splits(segs.subject)[1]])
    scores = {n: score(distances, s, seed) for n,s in choosing_segments(args.data, held).items()}
    record = dict(name=name, seed=seed, minutes=args.minutes if name in fitted else 0, steps=steps, nearest={n: s[0] for n,s in scores.items()}, auc={n: s[1] for n,s in scores.items()},
                  date=str(date.today()), machine=about_machine(), command=args.command)
    path.write_text(json.dumps(record, indent=1)+'\n')
    print(f"{path.stem}: {steps} steps; nearest " + ' '.join(f'{n} {v:.3f}' for n,v in record['nearest'].items()) + f"; mean {np.mean([*record['nearest'].values()]):.3f}; AUC {np.mean([*record['auc'].values()]):.3f}", flush=True)

def report(args):
    runs = [json.loads(f.read_text()) for f in sorted(args.out.glob('*.json'))]
    sets, rows = list(runs[0]['nearest']), {}
    for r in runs: rows.setdefault((r['name'], r['minutes']), []).append(r)
    mean = lambda of, k: np.mean([np.mean([*r[k].values()]) for r in of])
    commands = ', '.join(dict.fromkeys('`'+r['command']+'`' for r in runs))
    lines = ['# Teachers', '', f"{max(r['date'] for r in runs)}; {commands}; {'; '.join(sorted({r['machine'] for r in runs}))}.", '',
             f"A distance by itself, on people held out of pretraining, {length} samples at {rate:g} Hz: macro F1 of the nearest neighbour among other people (400 segments a set), and the chance that a neighbour in time ranks before another segment. Means over seeds.", '',
             f"| distance | minutes fitted | seeds | steps | nearest, mean | {' | '.join(sets)} | neighbour AUC |", f"|{' --- |'*(6+len(sets))}"]
    for (name,minutes),of in sorted(rows.items(), key=lambda kv: -mean(kv[1], 'nearest')):
        lines.append(f"| {says[name]} | {minutes:g} | {len(of)} | {round(np.mean([r['steps'] for r in of]))} | {mean(of, 'nearest'):.3f} | " + ' | '.join(f"{np.mean([r['nearest'][s] for r in of]):.3f}" for s in sets) + f" | {mean(of, 'auc'):.3f} |")
    (args.record/'teachers.md').write_text('\n'.join(lines)+'\n')
    print('\n'.join(lines))

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('data', type=Path)
    p.add_argument('--out',      type=Path, default=Path('results/teachers'))
    p.add_argument('--record',   type=Path)
    p.add_argument('--teachers', nargs='+', default=[*plain, *fitted], choices=[*plain, *fitted])
    p.add_argument('--seeds',    type=int, nargs='+', default=[0])
    p.add_argument('--minutes',  type=float, default=3.)
    p.add_argument('--lr',       type=float, default=4e-3)
    args = p.parse_args()
    args.command = command_line(__file__, args.data)
    args.out.mkdir(parents=True, exist_ok=True)
    for seed in args.seeds:
        for name in args.teachers: run(args, name, seed)
    if args.record: report(args)

if __name__=='__main__': main()
