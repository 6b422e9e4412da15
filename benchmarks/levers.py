"""Which departure from the paper's recipe helps? Looked at on people held out of pretraining; those who are tested are in none of these numbers.

    python benchmarks/levers.py DATA --out levers --minutes 8 --jobs 2 --record results        # all recipes at one rate of learning; goes on where it stopped
    python benchmarks/levers.py DATA --out levers --recipes simclr augpred --lrs 3e-4 3e-3     # rates of learning
    python benchmarks/levers.py --report-only --record results                               # the report anew from the records

DATA is a folder of npz files (corpora.py names them). Half of the people of the sets with labels pretrain nothing: on them a frozen linear probe is fitted and scored, in folds by person. Each run has one thread,
`--minutes` of its time after the distance is fitted, and writes its own record as it ends. methods.py takes its rates of learning from here; how far our recipe was chosen here results/methods.md says.
"""
import argparse, json, warnings
from datetime import date
from pathlib import Path
import numpy as np
import torch
from joblib import Parallel, delayed

warnings.filterwarnings('ignore')
from fastai.torch_core import set_seed
from tsai_relcon.all import *
from tsai_relcon.machine import about_machine
from corpora import check_arguments, command_line, choosing_segments, choosing_splits, fit_for, length, once, pretraining_segments, quick_scores, rate
from recipes import distance_learner, distances, fitted_distance, recipes, says

settings = ('minutes','distance_minutes','distance_lr','width')
own = ('untrained','by_hand')                                   # nothing is trained
def file_name(name, lr, seed): return f'{name}_seed{seed}' if name in own else f'{name}_lr{lr:g}_seed{seed}'

def loaders(segs, name, seed):
    "Batches of those who train; who validates is a tenth of them"
    rows, _ = choosing_splits(segs.subject)
    train, valid = subject_splits(segs.subject[rows], .1, seed)
    return relcon_dls(segs, splits=(rows[np.asarray(train)], rows[np.asarray(valid)]), small_groups='drop', valid_batches=4, seed=seed, **recipes[name].way)

def fit_distance(args, kind, seed):
    path = args.out/f'{kind}_seed{seed}.pth'
    if path.exists(): return
    torch.set_num_threads(1); set_seed(seed)
    learn = distance_learner(kind, loaders(pretraining_segments(args.data), 'relcon', seed))
    steps = fit_for(learn, 60*args.distance_minutes, args.distance_lr)
    torch.save(learn.model.state_dict(), path.with_suffix('.partial')); path.with_suffix('.partial').rename(path)
    print(f'{kind}, seed {seed}: {steps} steps', flush=True)

def run(args, name, lr, seed):
    path = args.out/f'{file_name(name, lr, seed)}.json'
    if path.exists():
        record = json.loads(path.read_text())
        then, now = record['settings'], {k: vars(args)[k] for k in settings}
        if record.get('recipe'): then, now = then|dict(recipe=record['recipe']), now|dict(recipe=recipes[name].record())
        if then!=now: raise ValueError(f'{path} was made with {then}; wanted {now}: take another folder, or the same settings')
        if args.record: (args.record/'levers'/path.name).write_text(path.read_text())
        return
    torch.set_num_threads(1); warnings.filterwarnings('ignore'); set_seed(seed)
    segs = pretraining_segments(args.data)
    _, held = choosing_splits(segs.subject)
    encoder, record = RelConResNet34(nf=args.width), {}
    if name=='by_hand': encoder = lambda X: hand_features(X, rate)
    elif name!='untrained':
        dls   = loaders(segs, name, seed)
        learn = recipes[name].learn(dls, fitted_distance(args.out, recipes[name].distance, seed, dls), encoder)
        record = dict(steps=fit_for(learn, 60*args.minutes, lr), lr=lr)
        encoder = learn
    scores = quick_scores(encoder, choosing_segments(args.data, np.unique(segs.subject[held])))
    record |= dict(name=name, seed=seed, recipe=None if name in own else recipes[name].record(), scores=scores, mean=float(np.mean([s['linear'] for s in scores.values()])), date=str(date.today()), machine=about_machine(), command=args.command,
                   settings={k: vars(args)[k] for k in settings})
    path.write_text(json.dumps(record, indent=1)+'\n')
    if args.record: (args.record/'levers'/path.name).write_text(path.read_text())
    print(f"{file_name(name, lr, seed)}: {record.get('steps', 0)} steps; mean {record['mean']:.3f}; " + ', '.join(f"{n} nearest {s['nearest']:.3f} linear {s['linear']:.3f}" for n,s in scores.items()), flush=True)

def report(folder):
    "results/levers.md from the records"
    runs = [json.loads(f.read_text()) for f in sorted((folder/'levers').glob('*.json'))]
    if not runs: raise SystemExit(f'no records in {folder}/levers yet')
    sets = list(runs[0]['scores'])
    cell = lambda v: f'{np.mean(v):.3f}' + (f' (sd {np.std(v, ddof=1):.3f})' if len(v)>1 else '')
    rows = {}
    for r in runs: rows.setdefault((r['name'], r.get('lr'), r['settings']['minutes']), []).append(r)
    of_folds = [s['linear_sd_folds'] for r in runs for s in r['scores'].values()]
    machines, commands = sorted({r['machine'] for r in runs}), dict.fromkeys(r['command'] for r in runs if r.get('command'))
    lines = ['# Levers', '', f"{max(r['date'] for r in runs)}; {'; '.join(machines)}; the commands are at the end. On another machine eight minutes are other numbers of steps.", '',
             f"Frozen linear probe, macro F1, 5 folds by person, on people held out of pretraining (half of the people of these sets, the same for all), {length} samples at {rate:g} Hz; mean over the sets and sd over seeds, and the same of the nearest neighbour among other people. Between folds a set's score has an sd of {min(of_folds):.2f} to {max(of_folds):.2f}; a difference of .01 or less between means, as some rates of learning have it, decides nothing. Nobody of MotionSense, HAPT, moving_reality or mobgap is in these numbers ([methods.md](methods.md) says where a choice was not free of a look at them).", '',
             f"| name | recipe | lr | minutes | machine | seeds | steps | mean | {' | '.join(sets)} | nearest neighbour |", f"|{' --- |'*(9+len(sets))}"]
    for (name,lr,minutes),of in sorted(rows.items(), key=lambda kv: -np.mean([r['mean'] for r in kv[1]])):
        none = name in own
        lines.append(f"| `{name}` | {says(name)} | {'' if none else f'{lr:g}'} | {'' if none else f'{minutes:g}'} | {', '.join(sorted({r['machine'].split(',')[0] for r in of}))} | {len(of)} | {'' if none else round(np.mean([r['steps'] for r in of]))} | {cell([r['mean'] for r in of])} | " + ' | '.join(cell([r['scores'][s]['linear'] for r in of]) for s in sets) + f" | {cell([np.mean([v['nearest'] for v in r['scores'].values()]) for r in of])} |")
    lines += ['', '<details><summary>Commands</summary>', '', *(f'- `{c}`' for c in commands), '', '</details>']
    (folder/'levers.md').write_text('\n'.join(lines)+'\n')
    print('\n'.join(lines))

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('data', type=Path, nargs='?')
    p.add_argument('--out',     type=Path, default=Path('levers'))
    p.add_argument('--record',  type=Path)
    p.add_argument('--recipes', nargs='+', default=[*own, *recipes], choices=[*own, *recipes])
    p.add_argument('--lrs',     type=float, nargs='+', default=[1e-3])
    p.add_argument('--seeds',   type=int, nargs='+', default=[0])
    p.add_argument('--minutes', type=float, default=8.)
    p.add_argument('--width',   type=int, default=64)
    p.add_argument('--distance-minutes', type=float, default=3.)
    p.add_argument('--distance-lr',      type=float, default=4e-3)
    p.add_argument('--jobs',    type=int, default=2)
    p.add_argument('--report-only', action='store_true')
    args = p.parse_args()
    args.command = command_line(__file__, args.data)
    check_arguments(p, args, minutes=.01, width=1, distance_minutes=.01, distance_lr=1e-9, lrs=1e-9, seeds=0, jobs=1)
    if not args.report_only:
        args.out.mkdir(parents=True, exist_ok=True)
        if args.record: (args.record/'levers').mkdir(parents=True, exist_ok=True)
        parallel = lambda calls: Parallel(args.jobs, batch_size=1, pre_dispatch=args.jobs)(calls)
        todo = once((n, args.lrs[0] if n in own else lr, s) for s in args.seeds for lr in args.lrs for n in args.recipes)
        parallel(delayed(fit_distance)(args, kind, s) for kind,s in dict.fromkeys((recipes[n].distance, s) for n,lr,s in todo if n not in own and not (args.out/f'{file_name(n, lr, s)}.json').exists()) if kind in distances)
        parallel(delayed(run)(args, *job) for job in todo)
    if args.record: report(args.record)

if __name__=='__main__': main()
