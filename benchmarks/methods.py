"""One table, many methods: the same people, encoder and time; who serves strangers best?

    python benchmarks/methods.py DATA --out methods --record results --minutes 40 --jobs 2          # one thread a run; goes on where it stopped, over as many sittings as it takes
    python benchmarks/methods.py DATA --out methods --record results --names no_augment binary random --seeds 0 1                # ablations
    python benchmarks/methods.py DATA --out methods --record results --stages finetune --names relcon simclr --seeds 0
    python benchmarks/methods.py --report-only --record results                                    # the report anew from the records

DATA is a folder of npz files (corpora.py names those pretrained on); MotionSense and mobgap are bundled. Nobody who is tested has pretrained anything. A seed chooses who validates, the distance, the encoder's first weights, the batches and the folds.
Stages: `pretrain` (the distance first, whose own time is told; then `--minutes` of one thread for every method), `frozen` (linear probe and gait regression, segments and recordings, few labels), `pictures` (of seed 0 what the pictures of all methods show: where the embeddings lie, what was answered), `finetune` (activities, by the paper's protocol; slow: five minutes an epoch and set at full width), `finetune_gait` (from the frozen encoder's regression on).
Rates of learning are those that levers.py found on people held out of pretraining (`--lrs`). Every run writes a record of its own as it ends; the report is made of the records. What has a record is not run again, also where `--out`, which keeps the weights, is gone. To fine-tune then, move that run's records to `methods/again`, which the report sets beside the new ones, or delete them, and run all its stages again; otherwise its scores would be of different encoders. (A distance whose weights are gone is fitted anew.)
"An equal time" is time of the processor: what else the machine does at the same time costs a run some of its steps, and the report tells how many it took.
"""
import argparse, json, time, warnings
from datetime import date
from pathlib import Path
from shutil import copyfile
import numpy as np
import torch
from joblib import Parallel, delayed

warnings.filterwarnings('ignore')
from fastai.torch_core import no_random, set_seed
from sktime.transformations.rocket import MiniRocketMultivariate
from tsai_relcon.all import *
from tsai_relcon.machine import about_machine
from corpora import check_arguments, command_line, fit_for, length, once, pretraining_segments, rate, test_segments
from methods_report import OtherSettings, few, protocols_of, rate_of, report, said
from pictures import answer_points, map_points
from recipes import ablations, beside, distance_learner, distances, fitted_distance, learners, methods, recipes, says, steps

gait       = dict(moving_reality=('stride_time_s',), mobgap=('speed_mps','double_support_s'))
settings   = ('minutes','distance_minutes','distance_lr','width')
chosen_lrs = dict(relcon=1e-3, simclr=1e-3, augpred=3e-3, rebar=3e-3, mvp=1e-3)      # by levers.py

# ---- a record for each run ------------------------------------------------------------------------------------------------------------------------

def record_path(args, stage, name, seed): return args.out/f'{stage}_{name}_seed{seed}.json'

def published(args, path):
    "Where a file of a run is kept for good; itself without `--record`"
    return args.record/'methods'/path.name if args.record else path

def points_path(args, name, seed):        return record_path(args, 'pictures', name, seed).with_suffix('.npz')

def left(args, stage, name, seed):
    "Files that a run leaves, but for weights: its record last"
    return [*([points_path(args, name, seed)] if stage=='pictures' else []), record_path(args, stage, name, seed)]

def publish(args, stage, name, seed):
    "Copy what a run left to where it is kept for good"
    for path in left(args, stage, name, seed):
        if path.exists() and published(args, path).resolve()!=path.resolve(): copyfile(path, published(args, path))

def done(args, stage, name, seed):
    "Is there a record? What `--record` lacks of it is copied there. Raises OtherSettings for one of others"
    path = record_path(args, stage, name, seed)
    if args.record and not path.exists(): path = published(args, path)
    if not path.exists() or stage=='pictures' and not path.with_suffix('.npz').exists(): return False
    record = json.loads(path.read_text())
    then, now = record['settings'], {k: vars(args)[k] for k in settings}
    if 'recipe' in record: then, now = then|dict(recipe=record['recipe']), now|dict(recipe=recipe_of(name))
    if stage=='pretrain': then, now = then|dict(lr=record['lr']), now|dict(lr=args.lrs.get(name, args.lrs['relcon']))
    if stage in protocols_of:
        of_now    = dict(epochs=args.finetune_epochs, lr=rate_of(protocols_of[stage]))
        then, now = then|{k: record[k] for k in of_now if k in record}, now|{k: v for k,v in of_now.items() if k in record}      # older records tell no rate
    if then!=now: raise OtherSettings(f'{path} was made with {then}; wanted {now}: take another folder, or the same settings')
    if not all(published(args, p).exists() for p in left(args, stage, name, seed)): publish(args, stage, name, seed)
    return True

def recipe_of(name): return recipes[name].record() if name in recipes else None

def write(args, stage, name, seed, **record):
    record = dict(stage=stage, name=name, seed=seed, date=str(date.today()), machine=about_machine(), command=args.command, settings={k: vars(args)[k] for k in settings}, recipe=recipe_of(name), **record)
    path = record_path(args, stage, name, seed)
    path.with_suffix('.partial').write_text(json.dumps(record, indent=1)+'\n'); path.with_suffix('.partial').rename(path)
    publish(args, stage, name, seed)
    print(f"{path.stem}: {record.get('steps', '')}", flush=True)

def alone(seed):
    "A run of its own: one thread, no warnings, its seed"
    torch.set_num_threads(1); warnings.filterwarnings('ignore'); set_seed(seed)

# ---- pretraining ----------------------------------------------------------------------------------------------------------------------------------

def loaders(segs, name, seed): return relcon_dls(segs, splits=subject_splits(segs.subject, .1, seed), small_groups='drop', valid_batches=4, seed=seed, **recipes[name].way)

def weights(args, name, seed): return args.out/f'{name}_seed{seed}.{"pth" if name in distances else "safetensors"}'

def steps_of(args, stage, name):
    "How many steps the seed of `--steps-of` made, whose machine may have been another; None: the time decides"
    if args.steps_of is None: return None
    path = published(args, record_path(args, stage, name, args.steps_of))
    if not done(args, stage, name, args.steps_of): raise OtherSettings(f'--steps-of {args.steps_of}: there is no {path}, which would tell how many')
    return json.loads(path.read_text())['steps']

def as_asked(args): return {} if args.steps_of is None else dict(steps_of=args.steps_of)

def fit_distance(args, kind, seed):
    if done(args, 'distance', kind, seed) and weights(args, kind, seed).exists(): return
    alone(seed)
    learn = distance_learner(kind, loaders(pretraining_segments(args.data), 'relcon', seed))
    steps = fit_for(learn, 60*args.distance_minutes, args.distance_lr, steps_of(args, 'distance', kind))
    torch.save(learn.model.state_dict(), weights(args, kind, seed))
    with learn.no_bar(): valid = float(learn.validate()[0])
    write(args, 'distance', kind, seed, steps=steps, valid_loss=valid, **as_asked(args))

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
    steps = fit_for(learn, 60*args.minutes, lr, steps_of(args, 'pretrain', name))
    with learn.no_bar(): valid = float(learn.validate()[0])
    save_weights(learn, weights(args, name, seed), overwrite=True)
    write(args, 'pretrain', name, seed, steps=steps, lr=lr, valid_loss=valid, anchors=steps*anchors_a_step(name, learn.dls), segments=len(learn.dls.train.dataset), subjects=len(dls.train.dataset.subjects), **as_asked(args))

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

def stages_of(args, name, seed=0):
    "Of the stages asked for those that a method has"
    has = [*stages] if name in recipes else ['finetune','finetune_gait'] if name=='supervised' else ['frozen','pictures']
    if seed or name in ablations or name in steps: has = [stage for stage in has if stage!='pictures']      # they are of the methods, seed 0
    return [stage for stage in stages if stage in args.stages and stage in has]      # in their own order

def frozen(args, name, seed):
    if done(args, 'frozen', name, seed): return
    alone(seed)
    encoder, start, protocol, scores = encoder_for(args, name, seed), time.process_time(), probe_of(name), {}
    for task,segs in test_segments(args.data).items():
        def judged(**kw): return summary(evaluate(encoder, segs, protocol=protocol, folds=5, seed=seed, **kw), 'macro_f1')
        scores[task] = judged()
        if name not in ablations: scores[task]['few'] = {str(n): judged(n_labels=n)['segment'] for n in few}
    for task,(segs,y,folds) in gait_tasks(args.data).items(): scores[task] = summary(evaluate(encoder, segs, y, 'regression', folds, seed=seed), 'r')
    write(args, 'frozen', name, seed, scores=scores, cpu_seconds=time.process_time()-start)

def probe_of(name): return 'ridge' if name=='minirocket' else 'linear'

def pictures(args, name, seed):
    "What the pictures show of the people tested: where a map has their segments, and what was answered"
    if done(args, 'pictures', name, seed): return
    alone(seed)
    encoder, start, points = encoder_for(args, name, seed), time.process_time(), {}
    def keep(task, of): points.update({f'{task} {what}': a for what,a in of.items()})
    for task,segs in test_segments(args.data).items():
        if name!='minirocket': keep(task, map_points(encoder, segs))                        # which has no embedding before it is fitted
        keep(task, answer_points(evaluate(encoder, segs, protocol=probe_of(name), folds=5, seed=seed, predictions=True)[1]))
    for task,(segs,y,folds) in gait_tasks(args.data).items(): keep(task, answer_points(evaluate(encoder, segs, y, 'regression', folds, seed=seed, predictions=True)[1]))
    np.savez_compressed(points_path(args, name, seed), **points)
    write(args, 'pictures', name, seed, cpu_seconds=time.process_time()-start)

def fine_tuned(args, stage, name, seed, tasks, metric):
    if done(args, stage, name, seed): return
    alone(seed)
    encoder, start, lr = encoder_for(args, name, seed), time.process_time(), rate_of(protocols_of[stage])
    scores = {task: summary(evaluate(encoder, segs, y, protocols_of[stage], folds, seed=seed, epochs=args.finetune_epochs, lr=lr), metric) for task,(segs,y,folds) in tasks(args.data).items()}
    write(args, stage, name, seed, scores=scores, epochs=args.finetune_epochs, lr=lr, cpu_seconds=time.process_time()-start)

def activity_tasks(data): return {task: (segs, None, 5) for task,segs in test_segments(data).items()}

def finetune(args, name, seed):      fine_tuned(args, 'finetune',      name, seed, activity_tasks, 'macro_f1')
def finetune_gait(args, name, seed): fine_tuned(args, 'finetune_gait', name, seed, gait_tasks,     'r')

stages = dict(pretrain=pretrain, frozen=frozen, pictures=pictures, finetune=finetune, finetune_gait=finetune_gait)
usual  = ['pretrain','frozen','pictures']

def list_names():
    "Say what each name is, group by group"
    groups = {'methods': methods, 'beside them': beside, "ablations of the paper's recipe (relcon)": ablations, 'steps back from joint_learner (ours)': steps}
    for group,names in groups.items(): print(f'{group}:', *[f'  {name:16} {says(name)}' for name in names], '', sep='\n')

def name_of(asked): return learners.get(asked, asked)      # also as the library calls it

def arguments():
    "The parser of the command"
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('data', type=Path, nargs='?', metavar='DATA', help='folder of npz files, one a set; results/methods.md lists them')
    p.add_argument('--out',     type=Path, default=Path('methods'), help='where weights and records go, and are looked for')
    p.add_argument('--record',  type=Path, help='folder in which methods.md and copies of the records are kept for good, such as results; as it comes none, and no report is written')
    p.add_argument('--names',   nargs='+', default=[*methods, *beside], type=name_of, choices=[*methods, *steps, *ablations, *beside], metavar='NAME', help='what to run, by the names that --list has or as the library calls it (joint_learner); as it comes all methods and what stands beside them, without ablations')
    p.add_argument('--list',    action='store_true', help='say what each name is, and end')
    p.add_argument('--seeds',   type=int, nargs='+', default=[0,1,2], metavar='SEED', help='(0 1 2)')
    p.add_argument('--stages',  nargs='+', default=usual, choices=[*stages], help=f"as they come: {' '.join(usual)}")
    p.add_argument('--minutes', type=float, default=40., help='of pretraining, of one thread (%(default)g)')
    p.add_argument('--steps-of', type=int, metavar='SEED', help='make as many steps as the record of this seed says, in place of minutes: for a machine of another speed than that of the other runs')
    p.add_argument('--width',   type=int, default=64, help='of the encoder (%(default)s)')
    p.add_argument('--lrs',     nargs='+', default=[], metavar='NAME=LR', help='others than '+' '.join(f'{n}={lr:g}' for n,lr in chosen_lrs.items())+', which were chosen; that of relcon holds for its ablations, and for ours')
    p.add_argument('--distance-minutes', type=float, default=3., help='of fitting a distance (%(default)g)')
    p.add_argument('--distance-lr',      type=float, default=4e-3, help='(%(default)g)')
    p.add_argument('--finetune-epochs',  type=int, default=4, help='at most (%(default)s)')
    p.add_argument('--jobs',    type=int, default=2, help='runs at a time, of a thread each (%(default)s)')
    p.add_argument('--report-only', action='store_true', help='the report anew from the records in --record')
    return p

def checked(p):
    "Arguments as they were given, or the command ends"
    args = p.parse_args()
    if args.list: return args
    args.command = command_line(__file__, args.data)
    check_arguments(p, args, also=('hapt','moving_reality'), minutes=.01, width=1, distance_minutes=.01, distance_lr=1e-9, finetune_epochs=1, seeds=0, jobs=1)
    try: args.lrs = chosen_lrs | {name_of(n): float(v) for n,v in (a.split('=') for a in args.lrs)}
    except ValueError: p.error(f"--lrs {' '.join(args.lrs)}: wanted pairs such as relcon=1e-3")
    wrong = [f'{n}={lr:g}' for n,lr in args.lrs.items() if n not in (*methods, *steps, *ablations) or not 0<lr<float('inf')]
    if wrong: p.error(f"--lrs {' '.join(wrong)}: wanted names of {', '.join([*methods, *steps, *ablations])}, and rates above 0")
    return args

def one(args, name, seed):
    for stage in stages_of(args, name, seed): stages[stage](args, name, seed)

def distances_of(jobs): return [(kind, s) for kind,s in once((recipes[n].distance, s) for n,s in jobs if n in recipes) if kind in distances]

def run(p, args):
    "All runs that have no record yet, the distances that they need first"
    for folder in (args.out, *([args.record/'methods'] if args.record else [])): folder.mkdir(parents=True, exist_ok=True)
    for n in args.names:
        if not any(stages_of(args, n, s) for s in args.seeds): print(f"{n} has no {' or '.join(args.stages)}" + ("; `supervised` is the encoder fine-tuned from scratch" if n=="untrained" else ''), flush=True)
    jobs = once((n, s) for s in args.seeds for n in args.names)
    for n,s in jobs:
        if n in recipes: done(args, 'pretrain', n, s)                                         # also where it is not asked for: of other settings are other weights
    todo = [(n, s) for n,s in jobs if not all([done(args, stage, n, s) for stage in stages_of(args, n, s)])]
    lost = [weights(args, n, s) for n,s in todo if n in recipes and not weights(args, n, s).exists() and ('pretrain' not in args.stages or done(args, 'pretrain', n, s))]
    if lost: p.error(f"--stages {' '.join(args.stages)}: there are no weights {', '.join(map(str, lost))}; bring them back, or delete the records of these runs and pretrain as well")
    def parallel(calls): Parallel(args.jobs, batch_size=1, pre_dispatch=args.jobs)(calls)
    if 'pretrain' in args.stages:
        for kind,s in distances_of(jobs): done(args, 'distance', kind, s)                     # what --record lacks of those that are there
        wanted = [('distance', *job) for job in distances_of(todo)] + [('pretrain', *job) for job in todo if job[0] in recipes]
        for stage,name,s in wanted:
            if not done(args, stage, name, s): steps_of(args, stage, name)                    # now, not after an hour
        parallel(delayed(fit_distance)(args, kind, s) for kind,s in distances_of(todo))
    parallel(delayed(one)(args, n, s) for n,s in todo)

def main():
    args = checked(p := arguments())
    if args.list: return list_names()
    try:
        if not args.report_only: run(p, args)
        if args.record: report(args.record)
    except OtherSettings as e: p.error(str(e))

if __name__=='__main__': main()
