"""Pretrain RelCon on MotionSense's training people and judge the frozen encoder on people that nobody has seen.

    python benchmarks/demo.py --out demo                              # one seed: what `make demo` runs
    python benchmarks/demo.py --out demo --seeds 0 1 2 --record results   # three, with a record in results/

A seed chooses the split of the people, the encoder's first weights, and every random number after that.
Everything is fitted on the training people alone: distance, encoder, scaler, probe, and the choice of the probe's C.
"""
import argparse, json, sys, time, warnings
from datetime import date
from pathlib import Path
import matplotlib
matplotlib.use('Agg')
import matplotlib.pyplot as plt
import numpy as np
import torch
from joblib import Parallel, delayed
from sklearn.metrics import f1_score

warnings.filterwarnings('ignore')
from fastai.torch_core import set_seed
from tsai_relcon.all import *

activities = dict(dws='downstairs', ups='upstairs', wlk='walking', jog='jogging', sit='sitting', std='standing')

def arguments(argv=None):
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = p.add_argument
    add('--out',    type=Path, default=Path('demo'), help='folder for pictures, weights and the record (default: demo)')
    add('--record', type=Path, help='folder for the record as well')
    add('--name',   default='demo', help='name of the record: NAME.md and NAME.json (default: demo)')
    add('--seeds',  type=int, nargs='+', default=[0])
    add('--width',           type=int,   default=16,   help="the encoder's first width; the paper's is 64 (default: 16)")
    add('--distance-epochs', type=int,   default=4)
    add('--epochs',          type=int,   default=8)
    add('--distance-lr',     type=float, default=4e-3)
    add('--lr',              type=float, default=1e-3)
    add('--groups',          type=int,   default=6,    help='groups a batch (default: 6)')
    add('--within',          type=int,   default=15,   help='candidates an anchor has from its own group (default: 15)')
    add('--anchors',         default='all', choices=['one','all'])
    add('--redraw',          type=int,   default=8,    help='epochs that the same batches serve (default: 8)')
    add('--with-gravity',    action='store_true',      help="rank whole segments, as the paper does; default: with each segment's mean taken out")
    add('--threads',         type=int,   default=2)
    add('--jobs',            type=int,   default=1,    help='seeds at a time, each with its own threads (default: 1)')
    return p.parse_args(argv)

def embed(encoder, segs): return get_embeddings(encoder, segs, progress=True)

def probe_f1(name, Z, segs, train, test):
    "Macro F1 of the linear probe on the test people"
    start = time.time()
    probe = linear_probe(Z[train], segs.labels[train], segs.subject[train])
    f1 = f1_score(segs.labels[test], probe.predict(Z[test]), average='macro')
    print(f'  {name:<34} macro F1 {f1:.3f}   ({Z.shape[1]} numbers a segment; probe {time.time()-start:.0f} s)', flush=True)
    return f1

def stage_1(dls, args, out):
    print('\nStage 1: the learnable distance learns to rebuild segments from disturbed copies of themselves', flush=True)
    learn = motif_learner(dls, bs=32, cbs=[StopOnInterrupt(), SaveWeights(out/'distance.safetensors', overwrite=True)])
    learn.fit_one_cycle(args.distance_epochs, args.distance_lr)
    plot_losses(learn.recorder.values, title='learnable distance: squared error of a batch').figure.savefig(out/'distance_loss.png', dpi=130)
    return learn

def stage_2(dls, distance, encoder, args, out):
    print('\nStage 2: the encoder learns to keep its ranking', flush=True)
    learn = relcon_learner(dls, distance, arch=encoder, motion_only=not args.with_gravity, metrics=[rank_correlation]+ranking_metrics(dls.valid.dataset.segs),
                           cbs=[StopOnInterrupt(), SaveWeights(out/'encoder.safetensors', overwrite=True)])
    learn.fit_one_cycle(args.epochs, args.lr)
    plot_losses(learn.recorder.values, title='relative contrastive loss').figure.savefig(out/'relcon_loss.png', dpi=130)
    return learn

def picture_of_a_ranking(rel_con, segs, out, seed):
    "One walking anchor and 40 candidates of unseen people, ranked as the encoder was taught"
    rng = np.random.default_rng(seed)
    rows = np.r_[rng.choice(np.flatnonzero(segs.labels=='wlk')), rng.choice(len(segs), 40, replace=False)]
    x = torch.from_numpy(segs.X[rows])
    d = rel_con.ranked(x, torch.tensor([0]), torch.arange(1, 41)[None])[0]
    mean = x.mean(-1, keepdim=True) if rel_con.motion_only else torch.zeros(41, 3, 1)
    with torch.no_grad(): rebuilt = rel_con.distance((x-mean)[:1].expand(40,-1,-1), (x-mean)[1:]) + mean[:1]
    names = [f'{activities[segs.labels[r]]}, subject {segs.subject[r]}' for r in rows]
    axs = plot_ranked(x[0].numpy(), x[1:].numpy(), d.numpy(), segs.rate, names[1:], f'anchor: {names[0]}', rebuilt.numpy())
    axs[0,0].figure.savefig(out/'ranked_candidates.png', dpi=130)

def picture_of_embeddings(before, after, segs, rows, out):
    "Unseen people, untrained and pretrained encoder side by side"
    fig, axs = plt.subplots(1, 2, figsize=(9,3.8), layout='constrained')
    names = np.array([activities[l] for l in segs.labels[rows]])
    for ax, z, title in zip(axs, (before, after), ('untrained','pretrained')): plot_embeddings(z[rows], names, ax, f'{title}: unseen people')
    axs[0].get_legend().remove()
    fig.savefig(out/'embeddings.png', dpi=130)

def pretrain(segs, train, encoder, seed, args, out):
    "Both stages, on the training people alone: some of them validate"
    start = time.time()
    fit, valid = subject_splits(segs.subject[train], .2, seed)
    splits = np.array(train)[fit], np.array(train)[valid]
    dls = relcon_dls(segs, splits=splits, n_groups=args.groups, n_within=args.within, anchors=args.anchors, redraw=args.redraw)
    print(' and '.join(f'{len(set(segs.subject[rows]))} people to {what} on' for rows,what in zip(splits, ('train','validate'))), flush=True)
    motif = stage_1(dls, args, out)
    distance_seconds = time.time()-start
    if motif.stop_on_interrupt.interrupted: sys.exit(f'\nStopped. The distance so far: {out}/distance.safetensors')
    learn = stage_2(dls, motif.model, encoder, args, out)
    if learn.stop_on_interrupt.interrupted: print(f'\nStopped early; the encoder so far: {out}/encoder.safetensors. It is now judged as it is (Ctrl-C again to leave)', flush=True)
    return motif, learn, distance_seconds

def run(seed, args, out):
    out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(args.threads)
    warnings.filterwarnings('ignore')
    start = time.time()
    set_seed(seed)
    segs = motionsense()
    train, test = subject_splits(segs.subject, .2, seed)
    unseen = sorted(set(segs.subject[test]))
    print(f'\n=== seed {seed}: {segs}\nUnseen: {", ".join(unseen)}', flush=True)
    encoder = RelConResNet34(nf=args.width)
    before = embed(encoder, segs)
    motif, learn, distance_seconds = pretrain(segs, train, encoder, seed, args, out)
    relcon_seconds = time.time()-start-distance_seconds
    after = embed(learn, segs)

    print(f'\nFrozen encoder, linear probe, {len(unseen)} unseen people:', flush=True)
    f1 = {name: probe_f1(name, Z, segs, train, test) for name,Z in
          [('RelCon (this encoder)', after), ('the same encoder, untrained', before), ('features by hand', hand_features(segs.X, segs.rate))]}
    picture_of_a_ranking(learn.rel_con, segs[np.array(test)], out, seed)
    picture_of_embeddings(before, after, segs, np.array(test), out)
    plt.close('all')
    print(f'\n{time.time()-start:.0f} s in all. Pictures, weights: {out}/', flush=True)
    return dict(seed=seed, unseen=unseen, f1=f1, distance_seconds=round(distance_seconds), relcon_seconds=round(relcon_seconds), seconds=round(time.time()-start),
                distance_epochs=table(motif), relcon_epochs=table(learn), interrupted=learn.stop_on_interrupt.interrupted)

def table(learn):
    names = list(learn.recorder.metric_names)[1:-1]
    return [dict(zip(names, [round(float(v), 4) for v in row])) for row in learn.recorder.values]

def write(results, args, folder):
    "NAME.json: everything; NAME.md: the table"
    folder.mkdir(parents=True, exist_ok=True)
    settings = {k: str(v) if isinstance(v, Path) else v for k,v in vars(args).items() if k not in ('out','record','name')}
    command = ' '.join(['python benchmarks/demo.py', *sys.argv[1:]])
    record = dict(date=str(date.today()), command=command, machine=about_machine(), settings=settings, runs=results)
    (folder/f'{args.name}.json').write_text(json.dumps(record, indent=1)+'\n')
    names = list(results[0]['f1'])
    scores = np.array([[r['f1'][n] for n in names] for r in results])
    gain = scores[:,0]-scores[:,1]
    row = lambda first, cells: f"| {first} | {' | '.join(cells)} |"
    lines = ['# MotionSense, unseen people: frozen encoder, linear probe, macro F1', '',
             f"{record['date']}; `{command}`; {record['machine']}.", '',
             f"Settings: {', '.join(f'{k} {v}' for k,v in settings.items() if k!='seeds')}.", '',
             row('', names), row('---', ['---']*len(names)),
             *[row(f"seed {r['seed']} (unseen: {', '.join(r['unseen'])})", [f'{v:.3f}' for v in s]) for r,s in zip(results, scores)],
             row('mean', [f'{v:.3f}' for v in scores.mean(0)])]
    if len(results)>1:
        lines += [row('sd over seeds', [f'{v:.3f}' for v in scores.std(0, ddof=1)]), '',
                  f'Gain over the untrained encoder, same people: mean {gain.mean():+.3f}, sd {gain.std(ddof=1):.3f}, {(gain>0).sum()} of {len(gain)} seeds above 0.']
    if any(r['interrupted'] for r in results): lines += ['', 'The last run was interrupted: its encoder is not fully trained.']
    lines += ['', 'Time: ' + '; '.join(f"seed {r['seed']}: distance {r['distance_seconds']} s, RelCon {r['relcon_seconds']} s, in all {r['seconds']} s" for r in results) + '.', '',
              'The last epoch of the distance and of the encoder, on the validation people (who are training people to the probe):', '']
    for kind in ('distance','relcon'): lines += [f"- {kind}, seed {r['seed']}: " + ', '.join(f'{k} {v:g}' for k,v in r[f'{kind}_epochs'][-1].items()) for r in results if r[f'{kind}_epochs']]
    (folder/f'{args.name}.md').write_text('\n'.join(lines)+'\n')

def main():
    args = arguments()
    folder = lambda seed: args.out/f'seed{seed}' if len(args.seeds)>1 else args.out
    results = []
    for result in Parallel(args.jobs, return_as='generator')(delayed(run)(seed, args, folder(seed)) for seed in args.seeds):
        results.append(result)
        for folder_ in filter(None, (args.out, args.record)): write(results, args, folder_)
        if result['interrupted']: break

if __name__=='__main__':
    try: main()
    except KeyboardInterrupt: sys.exit('\nStopped. What was finished is in the output folder')
