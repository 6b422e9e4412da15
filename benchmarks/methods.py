"""One table, many methods: the same people, encoder and time; who serves strangers best?

    python benchmarks/methods.py DATA --out methods --record results --minutes 40 --jobs 2          # one thread a run; goes on where it stopped, over as many sittings as it takes
    python benchmarks/methods.py DATA --out methods --record results --stages finetune --names relcon simclr --seeds 0
    python benchmarks/methods.py --report-only --record results                                    # the report anew from the records

DATA is a folder of npz files (corpora.py names those pretrained on); MotionSense and mobgap are bundled. Nobody who is tested has pretrained anything. A seed chooses who validates, the distance, the encoder's first weights, the batches and the folds.
Stages: `pretrain` (the distance first, whose own time is told; then `--minutes` of one thread for every method), `frozen` (linear probe and gait regression, segments and recordings, few labels; of seed 0 a picture), `finetune` (activities, by the paper's protocol; slow: five minutes an epoch and set at full width), `finetune_gait` (from the frozen encoder's regression on).
Rates of learning are those that levers.py found on people held out of pretraining (`--lrs`). Every run writes a record of its own as it ends; the report is made of the records. What has a record is not run again, also where `--out`, which keeps the weights, is gone; to fine-tune then, take away the run's other records: all of a run's scores are of the same weights. (A distance whose weights are gone is fitted anew.)
"An equal time" is time of the processor: what else the machine does at the same time costs a run some of its steps, and the report tells how many it took.
"""
import argparse, json, time, warnings
from datetime import date
from functools import reduce
from inspect import signature
from itertools import zip_longest
from operator import getitem
from pathlib import Path
import numpy as np
import torch
from joblib import Parallel, delayed

warnings.filterwarnings('ignore')
from fastai.torch_core import no_random, set_seed
from sktime.transformations.rocket import MiniRocketMultivariate
from tsai_relcon.all import *
from tsai_relcon.machine import about_machine
from tsai_relcon.probes import protocols
from corpora import check_arguments, command_line, fit_for, length, once, pretraining_segments, rate, test_segments
from pictures import strip
from recipes import ablations, distance_learner, distances, fitted_distance, methods, recipes, steps

beside = dict(untrained='the encoder untrained', supervised='the encoder trained on labels alone', by_hand='features by hand', minirocket='MiniRocket + ridge')
gait   = dict(moving_reality=('stride_time_s',), mobgap=('speed_mps','double_support_s'))
few    = (5, 50)                                                 # labelled segments a class
settings = ('minutes','distance_minutes','distance_lr','width')
protocols_of = dict(finetune='finetune', finetune_gait='finetune_regression')      # of the stages that fine-tune

def rate_of(protocol): return signature(protocols[protocol]).parameters['lr'].default

# ---- a record for each run ------------------------------------------------------------------------------------------------------------------------

def record_path(args, stage, name, seed): return args.out/f'{stage}_{name}_seed{seed}.json'

def published(args, path):
    "Where a file of a run is kept for good; itself without `--record`"
    return args.record/'methods'/path.name if args.record else path

def done(args, stage, name, seed):
    "Is there a record? Raises ValueError for one of other settings"
    path = record_path(args, stage, name, seed)
    if args.record and not path.exists(): path = published(args, path)
    if not path.exists(): return False
    record = json.loads(path.read_text())
    then, now = record['settings'], {k: vars(args)[k] for k in settings}
    if 'recipe' in record: then, now = then|dict(recipe=record['recipe']), now|dict(recipe=recipe_of(name))
    if stage=='pretrain': then, now = then|dict(lr=record['lr']), now|dict(lr=args.lrs.get(name, args.lrs['relcon']))
    if stage in protocols_of:
        of_now    = dict(epochs=args.finetune_epochs, lr=rate_of(protocols_of[stage]))
        then, now = then|{k: record[k] for k in of_now if k in record}, now|{k: v for k,v in of_now.items() if k in record}      # older records tell no rate
    if then!=now: raise ValueError(f'{path} was made with {then}; wanted {now}: take another folder, or the same settings')
    if not published(args, path).exists(): published(args, path).write_text(path.read_text())
    return True

def recipe_of(name): return recipes[name].record() if name in recipes else None

def write(args, stage, name, seed, **record):
    record = dict(stage=stage, name=name, seed=seed, date=str(date.today()), machine=about_machine(), command=args.command, settings={k: vars(args)[k] for k in settings}, recipe=recipe_of(name), **record)
    path = record_path(args, stage, name, seed)
    path.with_suffix('.partial').write_text(json.dumps(record, indent=1)+'\n'); path.with_suffix('.partial').rename(path)
    if args.record: published(args, path).write_text(path.read_text())
    print(f"{path.stem}: {record.get('steps', '')}", flush=True)

def alone(seed):
    "A run of its own: one thread, no warnings, its seed"
    torch.set_num_threads(1); warnings.filterwarnings('ignore'); set_seed(seed)

# ---- pretraining ----------------------------------------------------------------------------------------------------------------------------------

def loaders(segs, name, seed): return relcon_dls(segs, splits=subject_splits(segs.subject, .1, seed), small_groups='drop', valid_batches=4, seed=seed, **recipes[name].way)

def weights(args, name, seed): return args.out/f'{name}_seed{seed}.{"pth" if name in distances else "safetensors"}'

def fit_distance(args, kind, seed):
    if done(args, 'distance', kind, seed) and weights(args, kind, seed).exists(): return
    alone(seed)
    learn = distance_learner(kind, loaders(pretraining_segments(args.data), 'relcon', seed))
    steps = fit_for(learn, 60*args.distance_minutes, args.distance_lr)
    torch.save(learn.model.state_dict(), weights(args, kind, seed))
    with learn.no_bar(): valid = float(learn.validate()[0])
    write(args, 'distance', kind, seed, steps=steps, valid_loss=valid)

def anchors_a_step(name, dls):
    "Segments that a step compares with others: anchors, or segments of which views or answers are made"
    return len(dls.train.index[0]) if isinstance(dls.train, GroupDL) else dls.train.bs

def pretrain(args, name, seed):
    if done(args, 'pretrain', name, seed):
        if weights(args, name, seed).exists(): return
        raise ValueError(f"{weights(args, name, seed)} is gone, and the records of {name}, seed {seed}, are of these weights: bring it back, or take away its records, so that all are made anew of the same")
    alone(seed)
    encoder, lr = RelConResNet34(nf=args.width), args.lrs.get(name, args.lrs['relcon'])      # first of all: for all the same
    recipe, dls = recipes[name], loaders(pretraining_segments(args.data), name, seed)
    learn = recipe.learn(dls, fitted_distance(args.out, recipe.distance, seed, dls), encoder)
    steps = fit_for(learn, 60*args.minutes, lr)
    with learn.no_bar(): valid = float(learn.validate()[0])
    save_weights(learn, weights(args, name, seed), overwrite=True)
    write(args, 'pretrain', name, seed, steps=steps, lr=lr, valid_loss=valid, anchors=steps*anchors_a_step(name, learn.dls), segments=len(learn.dls.train.dataset), subjects=len(dls.train.dataset.subjects))

def encoder_for(args, name, seed):
    "What is judged: an encoder, a function of segments, or a transformer"
    if name=='by_hand':    return lambda X: hand_features(X, rate)
    if name=='minirocket': return MiniRocketMultivariate(num_kernels=2520, random_state=seed)
    if name in beside:
        with no_random(seed): return RelConResNet34(nf=args.width).eval()
    return load_encoder(weights(args, name, seed), rate)

# ---- judging --------------------------------------------------------------------------------------------------------------------------------------

def gait_tasks(data):
    "{set and target: (Segments, numbers, how many folds)}"
    def one(segs, y):
        known = np.isfinite(y)
        return segs[known], y[known], min(5, len(np.unique(segs.subject[known])))
    of = dict(moving_reality=gait_from_npz(data/'moving_reality.npz', rate=rate, length=length), mobgap=mobgap(rate, length))
    return {f'{name} {target}': one(segs, targets[target].to_numpy()) for name,(segs,targets) in of.items() for target in gait[name]}

def summary(table, metric):
    "{level: mean and sd over folds, and all answers pooled}"
    return {level: {k: float(table.loc[(level, k), metric]) for k in ('mean','sd','pooled')} for level in table.index.get_level_values(0).unique()}

def stages_of(args, name):
    "Of the stages asked for those that a method has"
    has = dict(untrained=['frozen'], by_hand=['frozen'], minirocket=['frozen'], supervised=['finetune','finetune_gait']).get(name, stages)
    return [stage for stage in stages if stage in args.stages and stage in has]      # in their own order

def frozen(args, name, seed):
    if done(args, 'frozen', name, seed): return
    alone(seed)
    encoder, start, scores, answers, tests = encoder_for(args, name, seed), time.process_time(), {}, {}, test_segments(args.data)
    protocol = 'ridge' if name=='minirocket' else 'linear'
    for task,segs in tests.items():
        table, answers[task] = evaluate(encoder, segs, protocol=protocol, folds=5, seed=seed, predictions=True)
        scores[task] = summary(table, 'macro_f1')
        if name not in ablations: scores[task]['few'] = {str(n): summary(evaluate(encoder, segs, protocol=protocol, folds=5, seed=seed, n_labels=n), 'macro_f1')['segment'] for n in few}
    for task,(segs,y,folds) in gait_tasks(args.data).items():
        table, answers[task] = evaluate(encoder, segs, y, 'regression', folds, seed=seed, predictions=True)
        scores[task] = summary(table, 'r')
    if seed==0 and name in (*methods, *beside): strip(says(name), encoder, tests, answers, {t: s for t,s in said.items() if t in answers and t not in tests}).savefig(published(args, args.out/f'{name}.png'), dpi=70)
    write(args, 'frozen', name, seed, scores=scores, cpu_seconds=time.process_time()-start)

def fine_tuned(args, stage, name, seed, tasks, metric):
    if done(args, stage, name, seed): return
    alone(seed)
    encoder, start, lr = encoder_for(args, name, seed), time.process_time(), rate_of(protocols_of[stage])
    scores = {task: summary(evaluate(encoder, segs, y, protocols_of[stage], folds, seed=seed, epochs=args.finetune_epochs, lr=lr), metric) for task,(segs,y,folds) in tasks(args.data).items()}
    write(args, stage, name, seed, scores=scores, epochs=args.finetune_epochs, lr=lr, cpu_seconds=time.process_time()-start)

def activity_tasks(data): return {task: (segs, None, 5) for task,segs in test_segments(data).items()}

def finetune(args, name, seed):      fine_tuned(args, 'finetune',      name, seed, activity_tasks, 'macro_f1')
def finetune_gait(args, name, seed): fine_tuned(args, 'finetune_gait', name, seed, gait_tasks,     'r')

stages = dict(pretrain=pretrain, frozen=frozen, finetune=finetune, finetune_gait=finetune_gait)

# ---- the report -----------------------------------------------------------------------------------------------------------------------------------

said = dict(motionsense='MotionSense', hapt='HAPT') | {'moving_reality stride_time_s': 'stride time (r)', 'mobgap speed_mps': 'speed (r)', 'mobgap double_support_s': 'double support (r)'}
def says(name): return beside.get(name) or recipes[name].says
def cell(values): return '' if not values else f'{np.mean(values):.3f}' + (f' ({np.std(values, ddof=1):.3f})' if len(values)>1 else '')
def table(head, rows): return [f"| {' | '.join(head)} |", f"|{' --- |'*len(head)}", *[f"| {' | '.join(map(str, r))} |" for r in rows], '']

def score_tables(of, order):
    "Lines: the scores of segments, and of whole recordings, a row a method; `of` gives a method's records"
    def of_task(n, task): return [r['scores'][task] for r in of(n) if task in r['scores']]
    def seeds(n): return ' or '.join(map(str, sorted({len(of_task(n, task)) for task in said}-{0})))          # stages may have been run for different ones
    def row(n, level): return [says(n), seeds(n), *[cell([s[level]['mean'] for s in of_task(n, task) if level in s]) for task in said]]
    def one(level): return table(['', 'seeds', *said.values()], [row(n, level) for n in order if of(n)])
    return ['Segments:', '', *one('segment'), 'Whole recordings:', '', *one('workout')]

def few_label_table(of, order):
    def row(n, runs): return [says(n), *[cell([r['scores'][t]['few'][str(k)]['mean'] for r in runs]) for t in ('motionsense','hapt') for k in few]]
    kept = {n: [r for r in of('frozen', n) if 'few' in r['scores']['hapt']] for n in order}
    return ['Few labels (segments a class), segments:', '', *table(['', *[f'{said[t]}, {k}' for t in ('motionsense','hapt') for k in few]], [row(n, runs) for n,runs in kept.items() if runs])]

how_ours_was_chosen = ("How ours was chosen: on people held out of pretraining ([levers.md](levers.md)), among more settings than any other method had; the others' rates of learning were chosen there alone. That AugPred's questions belong into it was thought of after AugPred's first row stood in this table, "
                       "so that part of the choice is not free of a look at the people tested.")

# what the paper reports of its ablations, in percent of the score without: stride velocity r, double support r, segment F1, workout F1
the_papers = dict(no_augment=(-5.42,-13.88,-12.5,-17.93), no_revin=(-11.66,-6.01,-3.81,-4.11), no_sparsemax=(-.87,-3.7,-5.06,-7.11), no_within=(-1.40,-1.40,-4.49,-7.25), log_ratio=(-3.64,-6.11,-1.45,1.39), binary=(-6.86,-9.82,-5.63,-9.03))
compared   = {'speed r': [('mobgap speed_mps','segment')], 'double support r': [('mobgap double_support_s','segment')], 'segment F1': [('motionsense','segment'),('hapt','segment')], 'workout F1': [('motionsense','workout'),('hapt','workout')]}

stride     = {'stride time r': [('moving_reality stride_time_s','segment')]}
few_labels = {f'F1, {n} labels a class': [('motionsense','few',str(n)),('hapt','few',str(n))] for n in few}

def changes(of, base, name, compared):
    "How many seeds, and the change that a departure brings to each column, in percent of a recipe's score with the same seeds; None where there are none"
    def score(run, place): return reduce(getitem, place, run['scores'])['mean']
    def mean(runs, where): return np.mean([score(r, place) for r in runs for place in where])
    runs = of('frozen', name)
    with_it = [r for r in of('frozen', base) if r['seed'] in {x['seed'] for x in runs}]
    if not runs or len(with_it)<len(runs): return None
    return len(runs), [100*(mean(runs, where)/mean(with_it, where)-1) for where in compared.values()]

def change_table(of, base, names, compared):
    "Lines: a row a departure; in brackets the paper's own number where it has one"
    def row(name, n, percent): return [says(name), n, *[f'{c:+.1f}%' + (f' ({p:+.1f}%)' if p is not None else '') for c,p in zip_longest(percent, the_papers.get(name, ()))]]
    rows = [row(name, *found) for name in names if (found := changes(of, base, name, compared))]
    return table(['', 'seeds', *compared], rows) if rows else []

def about_the_control(of, compared):
    "Lines: a ranking that knows nothing must be worse; is it?"
    found = changes(of, 'relcon', 'random', compared)
    if not found: return []
    behind = [column for column,c in zip(compared, found[1]) if c<0]
    rest   = [column for column,c in zip(compared, found[1]) if c>=0]
    return [f"The control, ranked at random, must be behind the recipe, or the ranking is worth nothing. It is on {', '.join(behind) or 'nothing'}" + (f"; it is not on {', '.join(rest)}, where at this size of training what the paper's distance ranks is no better than chance." if rest else '.'), '']

def ablation_tables(of):
    of_the_papers, of_ours = change_table(of, 'relcon', ablations, compared|stride), change_table(of, 'ours', steps, compared|stride|few_labels)
    about = 'F1 is the mean over MotionSense and HAPT.'
    return [*(['## Ablations: what they say, and what the paper says', '', f"Change in percent of the paper's recipe with the same seeds; in brackets what the paper reports of its own data (its stride velocity, its double support, its two F1 scores). {about} Speed and double support are of three people; double support moves far with anything.", '', *of_the_papers, *about_the_control(of, compared|stride)] if of_the_papers else []),
            *(['## What our departures are worth', '', f'Change in percent of ours with the same seeds, one thing taken back (another distance with all that belongs to it). {about}', '', *of_ours] if of_ours else [])]

def pictures(folder):
    "Lines: the strips of those of seed 0, one under the other"
    found = [name for name in (*beside, *methods) if (folder/f'methods/{name}.png').exists()]
    return ['## Pictures', '', 'Seed 0, segments of people whom no encoder has met: maps of the frozen embeddings (t-SNE, a colour an activity), confusion matrices of the linear probe, gait as predicted against the truth (a colour a person).', '', *[line for name in found for line in (f'![{says(name)}](methods/{name}.png)', '')]] if found else []

def about_fine_tuning(tuned):
    def rate(stage): return f"{next((r['lr'] for r in tuned if r['stage']==stage and 'lr' in r), rate_of(protocols_of[stage])):g}"
    return [f"## Fine-tuned, {tuned[0]['epochs']} epochs at most: macro F1; gait: Pearson r", '',
            f"Activities by the paper's protocol: a new head, the whole network by Adam {rate('finetune')}. Gait from the ridge regression of the frozen encoder on, by Adam {rate('finetune_gait')}; it stays there where no epoch is better for the people who choose. "
            "That regression is fitted without those who choose, the frozen one of the tables above with them: of mobgap's three people one fits here, one chooses and one is tested, so that a part of what is lost there is lost with the people, not in training. The encoder trained on labels alone goes the same ways from its first weights on.", '']

def fine_tuning_tables(of, order):
    def both(n): return of('finetune', n) + of('finetune_gait', n)
    tuned = [r for n in order for r in both(n)]
    return [*about_fine_tuning(tuned), *score_tables(both, order)] if tuned else []

def cost_table(of, order, minutes, distance_minutes):
    trained = {n: runs for n in order if (runs := of('pretrain', n))}
    def mean(runs, of): return np.mean([r[of] for r in runs])
    def row(n, runs): return [says(n), f"{runs[0]['lr']:g}", round(mean(runs, 'steps')), f"{60*minutes/mean(runs, 'steps'):.2f}", f"{mean(runs, 'anchors')/60/minutes:.0f}", f'{distance_minutes:g}' if recipes[n].distance in distances else '']
    head = ['', 'lr', 'steps', 'seconds a step', 'anchors (or segments) a second', "the distance's own minutes"]
    return ['## Costs', '', *table(head, [row(n, runs) for n,runs in trained.items()])] if trained else []

def check_records(runs, folder):
    "Raises ValueError for runs that do not belong into one table"
    def all_one(what, values):
        if len(values)>1: raise ValueError(f"{folder} holds {what} {sorted(values)}; wanted those of one")
    all_one('records of different settings', {json.dumps(r['settings']) for r in runs})
    for stage in protocols_of: all_one(f'records of {stage} with epochs', {r['epochs'] for r in runs if r['stage']==stage}), all_one(f'records of {stage} at rates', {r['lr'] for r in runs if r['stage']==stage and 'lr' in r})
    for name in {r['name'] for r in runs}: all_one(f'runs of {name} at rates', {r['lr'] for r in runs if r['name']==name and r['stage']=='pretrain'})

def report(folder):
    "results/methods.md from the records"
    runs = [json.loads(f.read_text()) for f in sorted((folder/'methods').glob('*.json'))]
    if not runs: raise SystemExit(f'no records in {folder}/methods yet')
    check_records(runs, folder/'methods')
    of = lambda stage, name: [r for r in runs if r['stage']==stage and r['name']==name]
    s, order = runs[0]['settings'], [n for n in (*methods, *beside, *steps, *ablations) if any(r['name']==n for r in runs)]
    lines = ['# Methods', '', f"{min(r['date'] for r in runs)} to {max(r['date'] for r in runs)}; {'; '.join(sorted({r['machine'] for r in runs}))}; the commands are at the end.", '',
             f"Encoder of width {s['width']}, {length} samples at {rate:g} Hz, pretrained for {s['minutes']:g} minutes of one thread by every method; a learned distance beforehand, {s['distance_minutes']:g} minutes. Tested on people whom no pretraining has met, 5 folds by person (3 of mobgap's three people); "
             "mean over seeds of the mean over folds, in brackets the sd over seeds. Every number's record, with its sd over folds, is in `results/methods/`.", '',
             how_ours_was_chosen, '',
             '## Frozen, linear probe: macro F1; gait: Pearson r', '', *score_tables(lambda n: of('frozen', n), order), *few_label_table(of, order),
             *ablation_tables(of),
             *fine_tuning_tables(of, order),
             *pictures(folder),
             *cost_table(of, order, s['minutes'], s['distance_minutes']),
             '## Commands', '', *[f'- `{command}`' for command in sorted({r['command'] for r in runs})]]
    (folder/'methods.md').write_text('\n'.join(lines).rstrip('\n')+'\n')
    print('\n'.join(lines))

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('data', type=Path, nargs='?')
    p.add_argument('--out',     type=Path, default=Path('methods'))
    p.add_argument('--record',  type=Path)
    p.add_argument('--names',   nargs='+', default=[*methods, *beside], choices=[*recipes, *beside])
    p.add_argument('--seeds',   type=int, nargs='+', default=[0,1,2])
    p.add_argument('--stages',  nargs='+', default=['pretrain','frozen'], choices=[*stages])
    p.add_argument('--minutes', type=float, default=40.)
    p.add_argument('--width',   type=int, default=64)
    p.add_argument('--lrs',     nargs='+', default=[], metavar='NAME=LR', help='others than those chosen; that of relcon holds for its ablations, and for ours')
    p.add_argument('--distance-minutes', type=float, default=3.)
    p.add_argument('--distance-lr',      type=float, default=4e-3)
    p.add_argument('--finetune-epochs',  type=int, default=10)
    p.add_argument('--jobs',    type=int, default=2)
    p.add_argument('--report-only', action='store_true')
    args = p.parse_args()
    args.command = command_line(__file__, args.data)
    check_arguments(p, args, also=('hapt','moving_reality'), minutes=.01, width=1, distance_minutes=.01, distance_lr=1e-9, finetune_epochs=1, seeds=0, jobs=1)
    try: args.lrs = dict(relcon=1e-3, simclr=1e-3, augpred=3e-3, rebar=3e-3, mvp=1e-3) | {n: float(v) for n,v in (a.split('=') for a in args.lrs)}
    except ValueError: p.error(f"--lrs {' '.join(args.lrs)}: wanted pairs such as relcon=1e-3")
    wrong = [f'{n}={lr:g}' for n,lr in args.lrs.items() if n not in recipes or not 0<lr<float('inf')]
    if wrong: p.error(f"--lrs {' '.join(wrong)}: wanted names of {', '.join(recipes)}, and rates above 0")
    if not args.report_only:
        args.out.mkdir(parents=True, exist_ok=True)
        if args.record: (args.record/'methods').mkdir(parents=True, exist_ok=True)
        parallel = lambda calls: Parallel(args.jobs, batch_size=1, pre_dispatch=args.jobs)(calls)
        todo = [(n, s) for n,s in once((n, s) for s in args.seeds for n in args.names) if not all(done(args, stage, n, s) for stage in stages_of(args, n))]
        for n in args.names:
            if not stages_of(args, n): print(f"{n} has no {' or '.join(args.stages)}" + ("; `supervised` is the encoder fine-tuned from scratch" if n=="untrained" else ''), flush=True)
        if 'pretrain' in args.stages: parallel(delayed(fit_distance)(args, kind, s) for kind,s in dict.fromkeys((recipes[n].distance, s) for n,s in todo if n in recipes) if kind in distances)
        def one(name, seed):
            for stage in stages_of(args, name): stages[stage](args, name, seed)
        lost = [weights(args, n, s) for n,s in todo if n in recipes and 'pretrain' not in args.stages and not weights(args, n, s).exists()]
        if lost: p.error(f"--stages {' '.join(args.stages)}: there are no weights {', '.join(map(str, lost))}; pretrain as well")
        parallel(delayed(one)(n, s) for n,s in todo)
    if args.record: report(args.record)

if __name__=='__main__': main()
