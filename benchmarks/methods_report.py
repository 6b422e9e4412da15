"""results/methods.md, the report of methods.py: made of the records that its runs left, and of nothing else.

    python benchmarks/methods.py --report-only --record results
"""
import json
from inspect import signature
import numpy as np, pandas as pd
from tsai_relcon.evaluation import regression_metrics
from tsai_relcon.probes import protocols
from corpora import about_sets, length, pretraining, rate, tested
from pictures import confusions, gaits, maps, save
from recipes import ablations, argument, beside, learners, methods, recipes, says, steps

activities   = ('motionsense','hapt')
few          = (5, 50)                                                              # labelled segments a class
said         = dict(motionsense='MotionSense', hapt='HAPT') | {'moving_reality stride_time_s': 'stride time (r)', 'mobgap speed_mps': 'speed (r)', 'mobgap double_support_s': 'double support (r)'}
protocols_of = dict(finetune='finetune', finetune_gait='finetune_regression')      # of the stages that fine-tune

# what a column shows: a task and a level
segments   = {says: (task, 'segment') for task,says in said.items()}
recordings = {says: (task, 'workout') for task,says in said.items() if not task.startswith('mobgap')}      # of whose people two have three recordings, and one has one
gait       = {says: (task, 'segment') for task,says in said.items() if task not in activities}
few_labels = {f'{said[task]}, {n} labels a class': (task, f'{n} labels') for n in few for task in activities}
to_choose  = {says: segments[says] for says in ('MotionSense','HAPT')} | {says: place for says,place in few_labels.items() if f' {few[0]} ' in says} | {says: gait[says] for says in ('stride time (r)','speed (r)')}

in_table = [*methods, 'ours_alone', *beside]                                          # joint_learner beside itself without what RelCon adds

def rate_of(protocol): return signature(protocols[protocol]).parameters['lr'].default

# ---- records --------------------------------------------------------------------------------------------------------------------------------------

class OtherSettings(ValueError):
    "Records that do not belong together"

def check_records(runs, folder):
    "Raises OtherSettings for runs that do not belong into one table"
    def all_one(what, values):
        if len(values)>1: raise OtherSettings(f"{folder} holds {what} {sorted(values)}; wanted those of one")
    all_one('records of different settings', {json.dumps(r['settings']) for r in runs})
    for stage in protocols_of: all_one(f'records of {stage} with epochs', {r['epochs'] for r in runs if r['stage']==stage}), all_one(f'records of {stage} at rates', {r['lr'] for r in runs if r['stage']==stage and 'lr' in r})
    for name in {r['name'] for r in runs}: all_one(f'runs of {name} at rates', {r['lr'] for r in runs if r['name']==name and r['stage']=='pretrain'})

def points_of(folder):
    "{name: {'task what': array}} of what the runs of seed 0 kept"
    def read(path):
        with np.load(path, allow_pickle=False) as points: return dict(points)
    return {name: read(path) for name in (*beside, *methods) if (path := folder/f'methods/pictures_{name}_seed0.npz').exists()}

def scores_of(runs):
    "A row a score: whose (stage, name, seed), of what (task, level), its mean and sd over folds, and that of all answers pooled"
    def rows(r):
        for task,of in r['scores'].items():
            levels = {level: s for level,s in of.items() if level!='few'} | {f'{n} labels': s for n,s in of.get('few', {}).items()}
            yield from (dict(stage=r['stage'], name=r['name'], seed=r['seed'], task=task, level=level, **s) for level,s in levels.items())
    return pd.DataFrame([row for r in runs if 'scores' in r for row in rows(r)])

def chosen(scores, stages, name, place):
    "The rows of a method for a column, by seed"
    task, level = place
    return scores[scores.stage.isin(stages) & (scores.name==name) & (scores.task==task) & (scores.level==level)].set_index('seed')

# ---- tables ---------------------------------------------------------------------------------------------------------------------------------------

def table_row(cells): return f"| {' | '.join(map(str, cells))} |"

def table(head, rows): return [table_row(head), f"|{' --- |'*len(head)}", *map(table_row, rows), '']

def with_spread(of):
    "Mean (sd over folds; sd over seeds, where there are some)"
    if of.empty: return ''
    return f"{of['mean'].mean():.3f} ({short(of.sd.mean())}" + (f"; {short(of['mean'].std())})" if len(of)>1 else ')')

def short(number, n=3): return f'{number:.{n}f}'.lstrip('0')

def pooled(of): return '' if of.empty else f'{of.pooled.mean():.3f}'

def score_table(scores, order, columns, stages=('frozen',), cell=with_spread):
    "Lines: a row a method that has any of the scores"
    of   = {name: [chosen(scores, stages, name, place) for place in columns.values()] for name in order}
    seeds = lambda cells: ' or '.join(map(str, sorted({len(c) for c in cells}-{0})))          # stages may have been run for different ones
    return table(['', 'seeds', *columns], [[says(name), seeds(cells), *map(cell, cells)] for name,cells in of.items() if any(len(c) for c in cells)])

def leaders(scores, order, columns, n=3):
    "Lines: who is first in each column, and where the paper's recipe and the encoder untrained are"
    def one(head, place):
        of = {name: rows['mean'] for name in order if len(rows := chosen(scores, ['frozen'], name, place))}
        if not of: return []
        first, most = sorted(of, key=lambda name: of[name].mean(), reverse=True), max(map(len, of.values()))
        def score(name): return f'{says(name)} {of[name].mean():.3f}' + (f' ({in_seeds(len(of[name]))})' if len(of[name])<most else '')
        return [f"- {head}: {'; '.join(map(score, [*first[:n], *(name for name in ('relcon','untrained') if name in first[n:])]))}"]
    return [*[line for head,place in columns.items() for line in one(head, place)], '']

def in_seeds(n): return 'one seed' if n==1 else f'{n} seeds'

def differences(scores, name, base, place):
    "Of each seed that both have: how far the one is before the other"
    a, b = (chosen(scores, ['frozen'], n, place)['mean'] for n in (name, base))
    return (a-b).dropna()

def signed(difference, n=3): return f"{difference.mean():+.{n}f}" + (f" ({difference.min():+.{n}f} to {difference.max():+.{n}f})" if len(difference)>1 else '') if len(difference) else ''

def difference_table(scores, pairs, columns, **more):
    "Lines: a row a pair {what the row says: (name, base)}; mean over the seeds that both have, and lowest to highest. more: {a column's head: f(pair)}"
    of = {row: [differences(scores, *pair, place) for place in columns.values()] for row,pair in pairs.items()}
    return table(['', *more, 'seeds', *columns], [[row, *(of_pair(pairs[row]) for of_pair in more.values()), max(map(len, cells)), *map(signed, cells)] for row,cells in of.items() if any(len(c) for c in cells)])

# ---- sections -------------------------------------------------------------------------------------------------------------------------------------

def about(runs):
    s, n = runs[0]['settings'], [r for r in runs if r['stage']=='pretrain']
    people = sorted({r['subjects'] for r in n})
    return ['# Methods', '', f"{min(r['date'] for r in runs)} to {max(r['date'] for r in runs)}; {'; '.join(sorted({r['machine'] for r in runs}))}; the commands are at the end.", '',
            f"Each encoder (width {s['width']}, {length} samples at {rate:g} Hz) was pretrained for {s['minutes']:g} minutes of one thread, a learned distance {s['distance_minutes']:g} minutes beforehand"
            + (f", on {' or '.join(map(str, people))} people ({min(r['segments'] for r in n):,} to {max(r['segments'] for r in n):,} segments; the data are at the end)" if n else '') + ". It is judged on people of other sets, whom no pretraining has met, in 5 folds by person (3 where there are three people: mobgap).", '',
            f"- *The paper's recipe* is its loss, its distance and its candidates, in our batches and with our optimiser and rate ([anchors.md](anchors.md) has its batches). Its distance, too, had minutes: one cycle at {s['distance_lr']:g} (how many steps of 64 segments they were enough for stands with the costs), its last step kept (the paper: ten epochs at 0.001, the best kept).",
            "- *joint_learner* is what we made of it: SimCLR's loss of two views, AugPred's questions about them, and RelCon's ranking by a distance of motion, weighted 0.3.",
            "- It is judged somewhat too kindly. Its distance, and the ranking beside SimCLR's loss, were chosen on people held out of pretraining ([levers.md](levers.md)), among more settings than any other method had; of the others only the rate of learning was chosen, there too. Its stretches of three quarters, AugPred's questions and drawing by motion were set together when first scores of SimCLR, AugPred and the paper's recipe stood in this table, and were looked at on the people held out only afterwards. There, after eight minutes and with all labels, it is level with SimCLR and with features by hand.",
            *about_passes(n), *about_steps(runs),
            "- MiniRocket is sktime's, with 2,520 kernels and a ridge probe, fitted in each fold on those who train its probe; the encoders have a logistic one.",
            "- A score reads: mean over seeds of the mean over folds (sd over folds, mean of the seeds; sd over seeds). A seed chooses who validates, the first weights, the batches *and* the folds; the people tested are the same for all. r is that within a fold, if not called pooled.",
            "- In the commands and records `ours` is joint_learner; `python benchmarks/methods.py --list` has all names.", '']

def passes(r): return r['anchors']/r['segments']

def about_passes(pretrained):
    "Lines: how often the time was enough to see the data"
    of = [passes(r) for r in pretrained]
    return [f"- The time is enough for {min(of):.1f} to {max(of):.1f} passes over the data: what is compared is how far each comes early. The paper trained on 87,376 people."] if of else []

def about_steps(runs):
    "Lines: which runs were as long as another seed's, whatever the clock said"
    names = [f"{says(r['name'])} (seed {r['seed']}, as seed {r['steps_of']})" for r in runs if r['stage']=='pretrain' and 'steps_of' in r]
    return [f"- Machines differ in speed. These runs, on another, made as many steps as another seed had made in its minutes, and so did the fits of their distances: {'; '.join(names)}."] if names else []

def in_short(scores, order): return ['## In short', '', 'First three of each column, then the paper\'s recipe and the encoder untrained; segments, frozen (of labels 5 a class fit, and 5 of other people choose how strong a probe is regularised):', '', *leaders(scores, order, to_choose)] if 'frozen' in set(scores.stage) else []

def frozen(scores, order):
    of_methods, others = ([n for n in order if (n in in_table)==there] for there in (True, False))
    def tables(names):
        return ['Segments, mean (sd over folds; sd over seeds):', '', *score_table(scores, names, segments),
                "Gait, r of all people's answers pooled, in which a person's level counts (mean over seeds; the pictures show these):", '', *score_table(scores, names, gait, cell=pooled),
                "Whole recordings, which are of one activity each (HAPT's were cut where its labels change, which nobody tells a deployed encoder; stride time: one to five recordings a person; of mobgap's people two have three recordings and one has one, too few for an r):", '', *score_table(scores, names, recordings),
                "Few labels, segments; so many a class fit, and as many of other people choose how strongly the probe is regularised:", '', *score_table(scores, names, few_labels)]
    return ['## Frozen, linear probe: macro F1; gait, ridge: Pearson r', '', *tables(of_methods), *about_double_support(scores, order),
            *(['<details><summary>The same of the steps back from joint_learner and of the ablations</summary>', '', *tables(others), '</details>', ''] if others else [])]

def about_double_support(scores, order):
    "Lines: what the pooled r says of it"
    rs = [of.pooled.mean() for name in order if len(of := chosen(scores, ['frozen'], name, gait['double support (r)']))]
    return [f"Double support, of three people, has a pooled r of {min(rs):.2f} to {max(rs):.2f}" + (': nothing here predicts it, and all comparisons leave it out.' if max(rs)<.3 else '.'), ''] if rs else []

in_units = {'moving_reality stride_time_s': 'stride time, s', 'mobgap speed_mps': 'speed, m/s', 'mobgap double_support_s': 'double support, s'}

def of_everybody_else(y, subject):
    "For each segment the mean of y over the segments of other people"
    who, whose = np.unique(subject, return_inverse=True)
    return np.array([y[subject!=one].mean() for one in who])[whose]

def again(folder): return records_of(folder/'methods/again')      # of runs that were made twice, those that no other table has

def steps_by_run(runs): return {(r['name'], r['seed']): r['steps'] for r in runs if r['stage']=='pretrain'}

def judged(runs): return {(r['name'], r['seed']) for r in runs if r['stage']=='frozen'}

def made_twice(runs, others):
    "Runs (name, seed) that both have whole: those that train something, and those that do not"
    both, pretrained = sorted(judged(runs) & judged(others)), steps_by_run(runs).keys() & steps_by_run(others).keys()
    return [run for run in both if run in pretrained], [run for run in both if run[0] in beside]

def once_more(scores, runs, others, trained, checks):
    "Lines: how far a score moves if the same seed is run again"
    if not trained: return []
    steps, scores = [steps_by_run(runs), steps_by_run(others)], [scores, scores_of(others)]
    def pair(run, place): return [chosen(of, ['frozen'], run[0], place)['mean'].get(run[1], np.nan) for of in scores]
    pairs   = {run: np.array([pair(run, place) for place in to_choose.values()]) for run in (*trained, *checks)}
    sds     = np.sqrt(np.nanmean([np.diff(pairs[run])[:,0]**2/2 for run in trained], axis=0))
    changed = max(abs(steps[0][run]/steps[1][run]-1) for run in trained)
    def row(run): return [says(run[0]), run[1], ' and '.join(str(of[run]) for of in steps if run in of), *('' if np.isnan(both).any() else '{:.3f} and {:.3f}'.format(*both) for both in pairs[run])]
    return ['## The same seed once more', '',
            f"A seed fixes what is drawn, and not all that a run depends on. Those that train were run again, to be fine-tuned, on another machine, which rounds otherwise, in as many steps but for {100*changed:.1f} in a hundred, with distances fitted anew and the code of a later day; whatever they had scored, the tables have the later run. "
            "What trains nothing was only judged again, as a check: the tables have the earlier. Frozen segments, first as in the tables, then the other run. "
            f"The last row is the sd of a single run that the {len(trained)} pairs that train tell of: a few pairs say little of an sd{', and none is of joint_learner' if all(name!='ours' for name,_ in trained) else ''}.", '',
            *table(['', 'seed', 'steps', *to_choose], [*map(row, pairs), ['*sd of a run*', '', '', *('' if np.isnan(sd) else f'{sd:.2f}' for sd in sds)]])]

def gait_errors(folder):
    "Lines: absolute and squared errors of what the frozen probes of seed 0 answered, and of the mean of everybody else"
    def one(true, predicted):
        e = regression_metrics(true, predicted)
        return f"{e['mae']:.3f} ({short(e['sd_absolute_error'])}); {e['mse']:.4f} ({short(e['sd_squared_error'], 4)})"
    of = points_of(folder)
    if not of: return []
    rows = [[says(name), *(one(points[f'{task} true'], points[f'{task} predicted']) for task in in_units)] for name in (*methods, *beside) if (points := of.get(name))]
    any_ = next(iter(of.values()))                                                  # whose truth is that of all
    rows += [['*the mean of everybody else*', *(one(true := any_[f'{task} true'], of_everybody_else(true, any_[f'{task} subject'])) for task in in_units)]]
    return ['## Gait in its units', '', 'Frozen, seed 0, segments of all people pooled: mean absolute error (sd); mean squared error (sd). A method is of use where it is well below the last row:', '', *table(['', *in_units.values()], rows)]

def against_ours(scores, order):
    rows = difference_table(scores, {says(name): ('ours', name) for name in order if name in in_table and name!='ours'}, to_choose)
    return ['## joint_learner minus each other, same seeds', '', 'Segments, frozen; mean over the seeds that both have, and lowest to highest:', '', *rows] if len(rows)>3 else []

# what the paper reports of its ablations, in percent of the score without: stride velocity r, segment F1, workout F1
the_papers = dict(no_augment=(-5.42,-12.5,-17.93), no_revin=(-11.66,-3.81,-4.11), no_sparsemax=(-.87,-5.06,-7.11), no_within=(-1.40,-4.49,-7.25), log_ratio=(-3.64,-1.45,1.39), binary=(-6.86,-5.63,-9.03))
compared   = {'speed r': [segments['speed (r)']], 'segment F1': [(t,'segment') for t in activities], 'F1 of whole recordings': [(t,'workout') for t in activities], 'stride time r': [segments['stride time (r)']]}

def over(scores, name, places): return pd.concat([chosen(scores, ['frozen'], name, place)['mean'] for place in places], axis=1).mean(axis=1)      # by seed

def percent(scores, name, base, places):
    "Change of a mean over columns, in percent of a recipe's with the same seeds"
    both = pd.concat([over(scores, n, places) for n in (name, base)], axis=1).dropna()
    return 100*(both[0].mean()/both[1].mean()-1) if len(both) else None

def seeds_of(scores, name): return len(chosen(scores, ['frozen'], name, segments['MotionSense']))

def seeds_of_both(scores, name, base): return len(differences(scores, name, base, segments['MotionSense']))

def not_yet(done, names, there): return [f"Not {done} yet: {'; '.join(f'{says(n)} (`{n}`)' for n in left)}.", ''] if (left := [n for n in names if n not in there]) else []

def spread_in_percent(scores, name, places):
    "Sd over a recipe's seeds of a mean over columns, in percent"
    of = over(scores, name, places)
    return 100*of.std()/of.mean()

def ablation_section(scores, of_a_run):
    "The paper's ablations: change in percent, beside what the paper says. of_a_run: does the report tell the sd of a run?"
    there = [name for name in ablations if seeds_of_both(scores, name, 'relcon')]
    if not there: return []
    def cell(c, papers): return f'{c:+.1f}%' + (f' ({papers:+.1f}%)' if papers is not None else '')
    def row(name):
        papers = [*the_papers.get(name, [None]*3), None]
        return [says(name), f'`{argument(name)}`', seeds_of_both(scores, name, 'relcon'), *[cell(percent(scores, name, 'relcon', places), p) for places,p in zip(compared.values(), papers)]]
    n   = seeds_of(scores, 'relcon')
    own = [["*the recipe's own sd over seeds*", '`relcon_learner(dls)`', n, *(f"±{spread_in_percent(scores, 'relcon', places):.1f}%" for places in compared.values())]] if n>1 else []
    return ['## Ablations: what they say, and what the paper says', '',
            "Change in percent of the paper's recipe with the same seeds, and the same time or steps; in brackets what the paper reports of its own data (its stride velocity, its F1 scores of segments and of workouts). F1 is the mean over MotionSense and HAPT, speed is of three people." + (" What is smaller than twice the last row, the sd over the recipe's own seeds, is nothing to go by." if own else '') + (" Nor, of speed and stride time, is what is smaller than twice the sd of a run in [the same seed once more](#the-same-seed-once-more): a difference of two means of two seeds has the sd of one run." if of_a_run else '') + " A row is of one person and hour; the other rows of a batch are drawn at random, and may be of the same person.", '',
            *table(['', 'argument', 'seeds', *compared], [*map(row, there), *own]), *not_yet('run with the seeds of the recipe', ablations, there),
            'The same as differences:', '', *difference_table(scores, {says(name): (name, 'relcon') for name in there}, {k: v for k,v in segments.items() if k!='double support (r)'})]

def about_the_control(scores, runs):
    "Lines: if a ranking at random did as well, the learned one would add nothing. Does it?"
    n = seeds_of_both(scores, 'random', 'relcon')
    if not n: return []
    of_all = {head: differences(scores, 'random', 'relcon', place) for head,place in segments.items() if 'double' not in head}
    sides  = dict(behind=[], ahead=[], neither=[])
    for head,d in of_all.items(): sides['behind' if d.max()<0 else 'ahead' if d.min()>0 else 'neither'].append(f'{head} {signed(d)}')
    found  = '; '.join(f"{side} on {', '.join(heads)}" for side,heads in sides.items() if heads)
    shared = set(of_all['MotionSense'].index)
    taken  = {name: np.mean([r['steps'] for r in runs if r['stage']=='pretrain' and r['name']==name and r['seed'] in shared]) for name in ('random','relcon')}
    return [f"**The control.** If candidates ranked at random did as well, the learned ranking would add nothing. In the same time, in which it makes {taken['random']/taken['relcon']:.1f} times the steps because it asks no distance, against the paper's recipe the control is {found} ({in_seeds(n)}{'; the sd over the seeds of the recipe itself is in the last row above' if seeds_of(scores, 'relcon')>1 else ''}).", '']

def departure_section(scores):
    "Our departures, one taken back at a time: differences"
    there = [name for name in steps if seeds_of_both(scores, name, 'ours')]
    if not there: return []
    return ['## What our departures are worth', '', 'Difference from joint_learner with the same seeds, and the same time, one thing taken back, with all that belongs to it (to another distance its gravity and shortlist, to grouped batches people with enough segments for a group). Rows that fit no distance save its minutes; those without an argument are no options of `joint_learner`. Segments, frozen; mean, and lowest to highest:', '',
            *difference_table(scores, {says(name): (name, 'ours') for name in there}, to_choose|{h: p for h,p in few_labels.items() if h not in to_choose}, argument=lambda pair: f'`{recipes[pair[0]].call}`' if recipes[pair[0]].call else ''), *not_yet('run with the seeds of joint_learner', steps, there)]

def fine_tuning_section(scores, tuned, order):
    "Scores after fine-tuning, and before it with the same seeds"
    if not tuned: return []
    def rate(stage): return f"{next((r['lr'] for r in tuned if r['stage']==stage and 'lr' in r), rate_of(protocols_of[stage])):g}"
    def beside_frozen(of):
        if of.empty: return ''
        name, task, level = of.iloc[0][['name','task','level']]
        before = chosen(scores, ['frozen'], name, (task, level))['mean'].reindex(of.index).dropna()
        return f"{of['mean'].mean():.3f}" + (f' ({before.mean():.3f})' if len(before)==len(of) else '')
    def one(columns): return score_table(scores, order, columns, protocols_of, beside_frozen)
    def epochs(stage): return next((r['epochs'] for r in tuned if r['stage']==stage), None)
    says_epochs = ', '.join(f'{what} {n} epochs at most' for stage,what in dict(finetune='activities', finetune_gait='gait').items() if (n := epochs(stage)))
    return [f"## Fine-tuned ({says_epochs}): macro F1; gait: Pearson r", '', 'In brackets frozen, the same seeds.', '',
            f"Activities by the paper's protocol: a new head, the whole network by Adam {rate('finetune')}. Gait from the ridge regression of the frozen encoder on, by Adam {rate('finetune_gait')}; if no epoch improves the score of the people who choose, the starting weights are kept. "
            "The people who choose do not fit here; the frozen probes in brackets are fitted once more with them. So of MotionSense's people 14 or 15 fit here and 19 or 20 there, of mobgap's three one here and two there: part of a drop comes from that."
            + (" The encoder trained on labels alone goes the same ways from its first weights on." if any(r['name']=='supervised' for r in tuned) else ''), '',
            'Segments:', '', *one(segments), 'Whole recordings:', '', *one(recordings), *[line for stage,what in dict(finetune='activities', finetune_gait='gait').items() for line in not_yet(f'fine-tuned on {what}', [*methods, 'supervised'], [r['name'] for r in tuned if r['stage']==stage])]]

drawn = dict(maps=maps, confusions=confusions, gaits=gaits)
shown = dict(maps       ="Maps of the frozen embeddings (t-SNE of 1,500 segments; MiniRocket is fitted, and has none). Worth a look: whether stairs and walking lie apart.",
             confusions ="Confusion matrices of the probes: of each activity (a row) the share that was given each answer. Worth a look: stairs, and sitting.",
             gaits      ="Gait as predicted against the truth, a colour a person; r of all people pooled. The people of stride time walk after a stroke, one of them with strides near two seconds.")

def draw_pictures(folder):
    "Of what the runs of seed 0 kept: each picture has all methods side by side"
    of    = {says(name).split(' (')[0]: points for name,points in points_of(folder).items()}
    tasks = dict(maps={t: said[t] for t in activities}, confusions={t: said[t] for t in activities}, gaits={t: s for t,s in in_units.items() if 'double' not in t})
    for name,draw in drawn.items():
        has = {method: points for method,points in of.items() if name!='maps' or f'{activities[0]} map' in points}
        if has: save(draw(has, tasks[name]), folder/f'methods/{name}.png')

def pictures(folder):
    "Lines: each picture, and what it shows"
    found = [name for name in drawn if (folder/f'methods/{name}.png').exists()]
    return ['## Pictures', '', 'Seed 0, people whom no encoder has met.', '', *[line for name in found for line in (shown[name], '', f'![{name}](methods/{name}.png)', '')]] if found else []

def cost_section(runs, order):
    "What a step costs, what the judging costs"
    def of(stage, name, what): return [r[what] for r in runs if r['stage']==stage and r['name']==name and what in r]
    def minutes(name, *stages): return f'{np.mean(spent)/60:.0f}' if (spent := [v for stage in stages for v in of(stage, name, 'cpu_seconds')]) else ''
    s = runs[0]['settings']
    def row(n):
        made = np.mean(of('pretrain', n, 'steps'))
        return [says(n), f"{of('pretrain', n, 'lr')[0]:g}", round(made), f"{np.mean([passes(r) for r in runs if r['stage']=='pretrain' and r['name']==n]):.1f}", f"{60*s['minutes']/made:.2f}", f"{np.mean(of('pretrain', n, 'anchors'))/60/s['minutes']:.0f}", f"{s['distance_minutes']:g} ({round(np.mean(fitted))})" if (fitted := of('distance', recipes[n].distance, 'steps')) else '', minutes(n, 'frozen'), minutes(n, 'finetune'), minutes(n, 'finetune_gait')]
    head = ['', 'lr', 'steps', 'passes over the data', 'seconds a step', 'anchors a second', "the distance's minutes (steps)", 'frozen judging, minutes', 'fine-tuning activities, minutes', 'gait, minutes']
    rows = [row(n) for n in order if of('pretrain', n, 'steps')]
    return ['## Costs', '', 'Seconds and minutes of the processor, one thread. A step is the minutes of pretraining divided by the steps, on the machine that set them; judging and fine-tuning were timed where they ran, and one of the machines is two to two and a half times as fast as the other: their minutes are no comparison of methods. SimCLR, joint_learner and its variants encode two views of each anchor; AugPred and masked values have segments in place of anchors.', '', *table(head, rows)] if rows else []

def data_section():
    head, rows = ['', 'for', 'origin', 'licence', 'people', 'hours', 'Hz', 'worn'], [[name, 'pretraining' if name in pretraining else tested[name], *about_sets[name]] for name in (*pretraining, *tested)]
    return ['## Data', '', "MotionSense and mobgap are bundled. The others are a folder of npz files, one a set, in the layout that `from_npz` reads ([02_recordings](../nbs/02_recordings.ipynb)); they were made of the publishers' archives, and no command here makes them anew. No test is at the wrist.", '', *table(head, rows)]

def command_section(runs, others=()):
    def typed(of): return [f'- `{command}`' for command in sorted({r['command'] for r in of})]
    return ['## Commands', '', '`python benchmarks/methods.py DATA --out methods --record results` runs what has no record yet, and `--names` with `--seeds` a part of it; as they were typed:', '', '<details>', '', *typed(runs), *(['', 'Of the runs that stand beside another of the same seed:', '', *typed(others)] if others else []), '', '</details>']

def records_of(folder): return [json.loads(f.read_text()) for f in sorted(folder.glob('*.json'))]

def runs_of(folder): return records_of(folder/'methods')

def lines_of(folder):
    "The report, line by line"
    runs, others = runs_of(folder), again(folder)
    if not runs: raise SystemExit(f'no records in {folder}/methods yet')
    check_records(runs, folder/'methods'), check_records([*runs, *others], f"{folder/'methods'} with its folder again")
    trained, checks = made_twice(runs, others)
    scores, order = scores_of(runs), [n for n in dict.fromkeys([*in_table, *steps, *ablations]) if any(r['name']==n for r in runs)]
    lines = about(runs)
    if len(scores): lines += [*in_short(scores, [n for n in order if n in in_table]), *frozen(scores, order), *once_more(scores, runs, others, trained, checks), *gait_errors(folder), *against_ours(scores, order), *ablation_section(scores, bool(trained)), *about_the_control(scores, runs), *departure_section(scores),
                              *fine_tuning_section(scores, [r for r in runs if r['stage'] in protocols_of], order)]
    return [*lines, *pictures(folder), *cost_section(runs, order), *data_section(), *command_section(runs, others)]

# ---- README's table -------------------------------------------------------------------------------------------------------------------------------

of_readme = {'the same without its ranking': 'ours_alone', 'the encoder untrained': 'untrained', 'features by hand': 'by_hand', "sktime's MiniRocket, ridge": 'minirocket'} | {f'`{learner}`': name for learner,name in learners.items()}

def renew_readme(folder):
    "The rows of methods in the README beside a folder of records, if it is this folder's report that it names"
    readme = (folder := folder.resolve()).parent/'README.md'
    if not readme.exists() or f'({folder.name}/methods.md)' not in readme.read_text(): return
    scores = scores_of(runs_of(folder))
    if not len(scores): return
    def renewed(line):
        head, *cells = [c.strip() for c in line.strip('|').split('|')]
        if head not in of_readme or len(cells)!=1+len(to_choose): return line
        of = [chosen(scores, ['frozen'], of_readme[head], place)['mean'] for place in to_choose.values()]
        return table_row([head, len(of[0]), *(short(c.mean()) for c in of)]) if all(map(len, of)) else line
    readme.write_text('\n'.join(map(renewed, readme.read_text().split('\n'))))

def report(folder):
    "results/methods.md from the records, its pictures, and README's table"
    draw_pictures(folder); renew_readme(folder)
    lines = lines_of(folder)
    (folder/'methods.md').write_text('\n'.join(lines)+'\n')
    print(folder/'methods.md')
