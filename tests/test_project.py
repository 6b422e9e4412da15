"One source for each thing: notebooks for modules, settings.ini for metadata; rooms import only from above"
import ast, json, math, re, shutil, subprocess, sys
from configparser import ConfigParser
from functools import reduce
from importlib.metadata import metadata, version
from operator import getitem
from pathlib import Path
from types import SimpleNamespace
import numpy as np
import pytest
import tomllib

root = Path(__file__).parent.parent
notebooks = sorted((root/'nbs').glob('[0-9]*.ipynb'))
tutorials = sorted((root/'nbs/tutorials').glob('*.ipynb'))
rooms = [re.sub(r'^\d+_', '', n.stem) for n in notebooks]
settings = ConfigParser(delimiters=['=']); settings.read(root/'settings.ini', encoding='utf-8')
settings = settings['DEFAULT']

@pytest.fixture(scope='module')
def exported(tmp_path_factory):
    "A copy of the project, exported and cleaned anew"
    copy = tmp_path_factory.mktemp('copy')
    shutil.copy(root/'pyproject.toml', copy)
    shutil.copytree(root/'nbs', copy/'nbs', ignore=shutil.ignore_patterns('.ipynb_checkpoints'))
    (copy/'tsai_relcon').mkdir()
    for f in ('__init__.py','all.py'): shutil.copy(root/'tsai_relcon'/f, copy/'tsai_relcon')
    for command in ('nbdev-export','nbdev-clean'): subprocess.run([Path(sys.executable).parent/command], cwd=copy, check=True)
    return copy

def test_modules_are_in_sync_with_notebooks(exported):
    made, kept = ({f.name: f.read_text() for f in (folder/'tsai_relcon').glob('*.py')} for folder in (exported, root))
    assert made.keys()==kept.keys(), "a module without its notebook, or a notebook without its module: make notebooks"
    assert [n for n in made if made[n]!=kept[n]]==[], "run `make notebooks`"

def test_notebooks_are_clean(exported):
    assert [n.name for n in notebooks+tutorials if n.read_text()!=(exported/n.relative_to(root)).read_text()]==[], "run `make notebooks`"

@pytest.mark.parametrize('notebook', notebooks+tutorials, ids=lambda n: n.stem)
def test_notebooks_read_as_documentation(notebook):
    cells = json.loads(notebook.read_text())['cells']
    prose = sum(len(''.join(c['source'])) for c in cells if c['cell_type']=='markdown')
    assert cells[0]['cell_type']=='markdown' and ''.join(cells[0]['source']).startswith('# ')
    assert prose>1000
    assert not any(o.get('output_type')=='error' for c in cells for o in c.get('outputs', []))
    assert any(c.get('outputs') for c in cells), "run the notebook: its outputs are part of the documentation"

def test_rooms_import_only_from_above():
    for place, room in enumerate(rooms):
        for node in ast.walk(ast.parse((root/'tsai_relcon'/f'{room}.py').read_text())):
            names = [node.module] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                if name and name.startswith('tsai_relcon.'): assert name.split('.')[1] in rooms[:place], f'{room} imports {name}'
                assert name!='tsai.all' and (room in ('transformations','plain_distances') or not (name or '').startswith('sktime'))      # the latter within a function: see below

def test_all_gives_every_public_name():
    import tsai_relcon.all as everything
    for room in rooms:
        if room in ('transformations','cli'): continue
        module = __import__(f'tsai_relcon.{room}', fromlist=['__all__'])
        assert [n for n in module.__all__ if not hasattr(everything, n)]==[]

def test_importing_the_package_alone_is_cheap():
    code = "import sys, tsai_relcon; assert not {'torch','fastai','tsai','sktime'} & set(sys.modules)"
    subprocess.run([sys.executable, '-c', code], check=True)

def test_importing_everything_leaves_heavy_modules_out():
    code = "import sys, tsai_relcon.all; bad = {'tsai.all','tsai.data.image','sktime','torchvision','numba'} & set(sys.modules); assert not bad, bad"
    subprocess.run([sys.executable, '-W', 'ignore', '-c', code], check=True)

def test_metadata_has_one_source():
    pyproject = tomllib.loads((root/'pyproject.toml').read_text())
    got = metadata('tsai_relcon')
    assert got['Name']==pyproject['project']['name']==settings['lib_name'] and got['Summary']==settings['description']
    assert pyproject['project']['requires-python']=='>='+settings['min_python'] and pyproject['tool']['nbdev']['lib_path']==settings['lib_path']
    assert pyproject['project']['urls']['Repository']==settings['git_url']
    from packaging.requirements import Requirement
    wanted = {str(Requirement(r)) for r in settings['requirements'].split('\n') if r}
    assert wanted=={str(Requirement(r)) for r in got.get_all('Requires-Dist') if 'extra' not in r}
    import tsai_relcon
    assert version('tsai_relcon')==tsai_relcon.__version__

def test_the_bundled_data_ships_with_its_licence():
    from importlib.resources import files
    folder = files('tsai_relcon').joinpath('bundled')
    for name,licence in dict(motionsense='MIT License', mobgap='Creative Commons Attribution 4.0').items():
        assert licence in folder.joinpath(f'{name}.LICENSE.txt').read_text() and folder.joinpath(f'{name}.npz').is_file()

def test_readme_names_every_notebook():
    readme = (root/'README.md').read_text()
    assert [n.name for n in notebooks+tutorials if str(n.relative_to(root)) not in readme]==[]

of_readme = {'`joint_learner`': 'ours', 'the same without its ranking': 'ours_alone', '`augpred_learner`': 'augpred', '`simclr_learner`': 'simclr', '`relcon_learner`': 'relcon', '`mvp_learner`': 'mvp', '`rebar_learner`': 'rebar', 'the encoder untrained': 'untrained', 'features by hand': 'by_hand', "sktime's MiniRocket, ridge": 'minirocket'}

def test_readmes_table_of_methods_says_what_the_records_say():
    table = (root/'README.md').read_text().split('## Which method?')[1].split('\n## ')[0]
    rows  = {cells[0]: cells[1:] for line in table.splitlines() if line.startswith('| ') and (cells := [c.strip() for c in line.strip('|').split('|')])[0] in of_readme}
    assert rows.keys()==of_readme.keys()
    for says,name in of_readme.items():
        scores = [json.loads(f.read_text())['scores'] for f in (root/'results/methods').glob(f'frozen_{name}_seed*.json')]
        def mean(task, *place): return f"{sum(reduce(getitem, place or ['segment'], s[task])['mean'] for s in scores)/len(scores):.3f}"[1:]
        assert rows[says]==[str(len(scores)), mean('motionsense'), mean('hapt'), mean('motionsense', 'few', '5'), mean('hapt', 'few', '5'), mean('moving_reality stride_time_s'), mean('mobgap speed_mps')], says

def test_a_run_is_not_repeated_and_its_files_are_published(tmp_path, benchmarks):
    from methods import done, points_path, publish, record_path
    names = ('pretrain_mvp_seed0.json', 'pictures_mvp_seed0.json', 'pictures_mvp_seed0.npz', 'finetune_gait_mvp_seed0.json')
    out, record = tmp_path/'out', tmp_path/'results/methods'
    out.mkdir(), record.mkdir(parents=True)
    settings = json.loads((root/'results/methods'/names[0]).read_text())['settings']
    args = SimpleNamespace(out=out, record=record.parent, lrs=dict(relcon=1e-3, mvp=1e-3), finetune_epochs=4, **settings)
    assert not any(done(args, stage, 'mvp', 0) for stage in ('pretrain','pictures','finetune_gait'))
    for name in names: shutil.copy(root/'results/methods'/name, out)
    assert done(args, 'pretrain', 'mvp', 0) and (record/names[0]).read_text()==(out/names[0]).read_text()
    publish(args, 'pictures', 'mvp', 0)
    (record/names[2]).unlink()                                                            # the points alone are lost
    assert done(args, 'pictures', 'mvp', 0) and (record/names[2]).read_bytes()==points_path(args, 'mvp', 0).read_bytes()
    (out/names[2]).unlink()                                                               # of a run: it was broken off before its record
    assert not done(args, 'pictures', 'mvp', 0)
    shutil.rmtree(out)
    assert done(args, 'pretrain', 'mvp', 0) and done(args, 'pictures', 'mvp', 0) and not done(args, 'pretrain', 'mvp', 1)      # what is published counts
    for wrong in (dict(minutes=20.), dict(lrs=dict(relcon=1e-3, mvp=3e-3))):
        with pytest.raises(ValueError, match=f'{names[0]} was made with .* wanted'): done(SimpleNamespace(**vars(args)|wrong), 'pretrain', 'mvp', 0)
    assert done(args, 'finetune_gait', 'mvp', 0) is False                                 # which never was published
    shutil.copy(root/'results/methods'/names[3], record)
    with pytest.raises(ValueError, match="'epochs': 9"): done(SimpleNamespace(**vars(args)|dict(finetune_epochs=9)), 'finetune_gait', 'mvp', 0)

def test_methods_may_be_named_as_the_library_names_them(benchmarks):
    from methods import arguments
    from recipes import methods
    def names(*asked): return arguments().parse_args(['--names', *asked]).names
    assert names('joint_learner', 'mvp_learner', 'ours_alone', 'minirocket')==['ours', 'mvp', 'ours_alone', 'minirocket'] and names(*(f'{n}_learner' for n in methods if n!='ours'))==[n for n in methods if n!='ours']
    for wrong in ('joint', 'other_learner'):
        with pytest.raises(SystemExit): names(wrong)

def test_numbers_and_folders_of_the_methods_are_checked(tmp_path, benchmarks, monkeypatch, capsys):
    from methods import arguments, checked
    (tmp_path/'a_file').write_text('')
    def of(*asked):
        monkeypatch.setattr(sys, 'argv', ['methods.py', *asked])
        return checked(arguments())
    assert of('--report-only', '--record', str(tmp_path), '--lrs', 'joint_learner=2e-3', 'simclr=1e-4').lrs.items() >= dict(ours=2e-3, simclr=1e-4).items()
    for asked,says in (([str(tmp_path/'nowhere')], 'nowhere is no folder'), ([str(tmp_path)], 'lacks stress_predict.npz'), (['--record', str(tmp_path/'a_file'), '--report-only'], '--record: .*a_file is no folder'),
                       ([str(tmp_path), '--out', str(tmp_path/'a_file')], '--out: .*a_file is no folder'), ([str(tmp_path), '--minutes', '0'], '--minutes 0.0: wanted 0.01 or more'), ([], 'DATA is missing')):
        with pytest.raises(SystemExit): of(*asked)
        assert re.search(says, capsys.readouterr().err), says

def test_as_many_steps_as_another_seed_made(tmp_path, benchmarks):
    from methods import OtherSettings, steps_of
    (tmp_path/'methods').mkdir()
    shutil.copy(root/'results/methods/pretrain_mvp_seed0.json', tmp_path/'methods')
    record = json.loads((root/'results/methods/pretrain_mvp_seed0.json').read_text())
    def args(seed, **other): return SimpleNamespace(**dict(out=tmp_path/'out', record=tmp_path, steps_of=seed, lrs=dict(mvp=record['lr'], relcon=1.)) | record['settings'] | other)
    assert steps_of(args(0), 'pretrain', 'mvp')==record['steps'] and steps_of(args(None), 'pretrain', 'mvp') is None
    with pytest.raises(OtherSettings, match='--steps-of 1: there is no'): steps_of(args(1), 'pretrain', 'mvp')
    with pytest.raises(OtherSettings, match="'width': 16"): steps_of(args(0, width=16), 'pretrain', 'mvp')

def test_runs_of_so_many_steps_say_so(segs, tmp_path, benchmarks, monkeypatch):
    import methods
    from methods_report import about_steps
    asked = []
    monkeypatch.setattr(methods, 'pretraining_segments', lambda data: segs[::2])
    monkeypatch.setattr(methods, 'fit_for', lambda learn, seconds, lr, steps: asked.append(steps) or 5)
    for folder in ('out','results/methods'): (tmp_path/folder).mkdir(parents=True)
    args = SimpleNamespace(data=None, out=tmp_path/'out', record=tmp_path/'results', steps_of=None, command='', lrs=dict(relcon=1e-3, augpred=1e-3), minutes=1., distance_minutes=1., distance_lr=1e-3, width=1)
    for seed,of in ((0, None), (1, 0)):
        args.steps_of = of
        methods.pretrain(args, 'augpred', seed), methods.fit_distance(args, 'motif', seed)
    assert asked==[None, None, 5, 5]
    runs = [json.loads(f.read_text()) for f in sorted((tmp_path/'results/methods').glob('*.json'))]
    assert [(r['stage'], r['seed'], r.get('steps_of')) for r in runs]==[('distance', 0, None), ('distance', 1, 0), ('pretrain', 0, None), ('pretrain', 1, 0)]
    (line,) = about_steps(runs)
    assert line.endswith('AugPred (seed 1, as seed 0).') and not about_steps(runs[::2])

def test_a_cycle_of_so_many_steps(few, benchmarks):
    from corpora import fit_for
    from tsai_relcon.baselines import simclr_learner
    from tsai_relcon.batches import relcon_dls
    learn = simclr_learner(relcon_dls(few[::4], n_groups=4, n_within=2, seed=0), bs=64, arch_config=dict(nf=1))
    assert fit_for(learn, None, 1e-3, steps=7)==7
    lrs = [float(lr) for lr in learn.recorder.lrs]                                        # the recorder comes after the last batch's end
    assert len(lrs)==6 and lrs[0]==pytest.approx(1e-3/25) and max(lrs)<=1e-3 and 2<=lrs.index(max(lrs))+1<=3 and lrs[-1]<lrs[2]

@pytest.mark.parametrize('of', [[('pretrain','ours',0), ('finetune','ours',0)], [('pretrain','ours',0)], [(stage, name, 0) for name in ('relcon','random') for stage in ('pretrain','frozen')], [('frozen','by_hand',0)]])
def test_a_report_of_some_runs_alone(of, tmp_path, benchmarks):
    from methods_report import lines_of, renew_readme
    (tmp_path/'results/methods').mkdir(parents=True)
    (tmp_path/'README.md').write_text(readme := (root/'README.md').read_text())
    for stage,name,seed in of: shutil.copy(root/f'results/methods/{stage}_{name}_seed{seed}.json', tmp_path/'results/methods')
    report = '\n'.join(lines_of(tmp_path/'results'))
    renew_readme(tmp_path/'results')
    renewed = [new for old,new in zip(readme.splitlines(), (tmp_path/'README.md').read_text().splitlines()) if old!=new]
    assert 'nan' not in ''.join(renewed) and all(row.split('|')[1].strip() in of_readme and row.split('|')[2].strip()=='1' for row in renewed) and bool(renewed)==any(stage=='frozen' for stage,*_ in of)      # other rows stay
    assert all(stage!='frozen' for stage,*_ in of) or '## In short' in report
    assert '**The control.**' not in report or 'last row above' not in report             # one seed has no sd

def test_the_report_renews_readmes_table(tmp_path, benchmarks):
    from methods_report import renew_readme
    shutil.copytree(root/'results/methods', tmp_path/'results/methods')
    readme, kept = tmp_path/'README.md', (root/'README.md').read_text()
    old = re.sub(r'(?m)^\| `mvp_learner` .*$', '| `mvp_learner` | 0 | .1 | .1 | .1 | .1 | .1 | .1 |', kept)
    assert old!=kept
    readme.write_text(old)
    renew_readme(tmp_path/'results')
    assert readme.read_text()==kept
    readme.write_text(old.replace('results/methods.md', 'elsewhere/methods.md'))         # of other records it says nothing
    renew_readme(tmp_path/'results')
    assert '| `mvp_learner` | 0 |' in readme.read_text()

how_many = dict(enumerate(('no seed', 'one seed', 'two seeds', 'three seeds')))
def shown(number): return f'{number:.3f}'[1:]

def seeds_of(name): return {f.stem[-1]: json.loads(f.read_text())['scores'] for f in (root/'results/methods').glob(f'frozen_{name}_seed*.json')}
def mean_of(of, seeds, task, *place): return sum(reduce(getitem, place or ['segment'], of[s][task])['mean'] for s in seeds)/len(seeds)

def test_readmes_sentences_on_methods_say_what_the_records_say(benchmarks):
    from recipes import ablations
    text = (root/'README.md').read_text().split('What to believe of it:')[1].split('\n## ')[0]
    ours, alone = seeds_of('ours'), seeds_of('ours_alone')
    both = ours.keys()&alone.keys()
    def gain(*where): return f'{mean_of(ours, both, *where)-mean_of(alone, both, *where):+.3f}'.replace('0.', '.')
    assert f"the same {how_many[len(both)]} with it and without: with five labels {gain('motionsense', 'few', '5')} (MotionSense) and {gain('hapt', 'few', '5')} (HAPT), on stride time {gain('moving_reality stride_time_s')} (a seed of the three against it); with all labels {gain('motionsense')} and {gain('hapt')}, on speed {gain('mobgap speed_mps')}." in text
    assert sum(mean_of(ours, [s], 'moving_reality stride_time_s')<mean_of(alone, [s], 'moving_reality stride_time_s') for s in both)==1
    def sd(*where): return max(np.std([reduce(getitem, where[1:] or ['segment'], s[where[0]])['mean'] for s in seeds_of(name).values()], ddof=1) for name in of_readme.values() if len(seeds_of(name))>1)
    f1, five = (max(sd(task, *level) for task in ('motionsense','hapt')) for level in ((), ('few','5')))
    assert f"up to {f1:.2f} for F1 with all labels, {five:.2f} with five, {sd('mobgap speed_mps'):.2f} for speed and {sd('moving_reality stride_time_s'):.2f} for stride time.".replace('0.', '.') in (root/'README.md').read_text()
    random, relcon = seeds_of('random'), seeds_of('relcon')
    both = random.keys()&relcon.keys()
    def means(task): return ' to '.join(shown(mean_of(of, both, task)) for of in (relcon, random))
    lost = {name: mean_of(relcon, '01', 'mobgap speed_mps')-mean_of(seeds_of(name), '01', 'mobgap speed_mps') for name in ablations}
    most = [d for d in lost.values() if d>.05]
    assert f"on speed {len(most)} of the {len(lost)} changes lose {min(most):.2f} to {max(most):.2f} (two seeds, three people), a Euclidean distance ({shown(lost['euclidean'])}) and time warping ({shown(lost['dtw'])}) as much as a ranking at random ({shown(lost['random'])})".replace('0.', '.') in text
    ahead = [mean_of(ours, [s], 'hapt', 'few', '5')-mean_of(seeds_of('minirocket'), [s], 'hapt', 'few', '5') for s in '012']
    assert min(ahead)>0 and 'on HAPT, where MiniRocket is next, by .02 (three seeds of three)' in (root/'README.md').read_text() and f'{sum(ahead)/3:.2f}'=='0.02'
    def wharf(name): return [json.loads(f.read_text())['scores']['wharf'] for f in (root/'results/levers').glob(f'{name}_seed*.json')]
    untrained = seeds_of('untrained')
    more = {place: mean_of(relcon, relcon, *place)-mean_of(untrained, untrained, *place) for place in (('motionsense',), ('hapt',), ('motionsense','few','5'), ('hapt','few','5'))}
    assert 'no better than the encoder untrained (with few a little, on MotionSense)' in text and [d>.01 for d in more.values()]==[False, False, True, False]
    third = [shown(relcon[s]['moving_reality stride_time_s']['segment']['mean']) for s in relcon.keys()-both]
    assert f"ahead of that control on speed ({means('mobgap speed_mps')}), and with these {how_many[len(both)]} on stride time ({means('moving_reality stride_time_s')})" + ''.join(f', where its third has {r}' for r in third) in text
    assert f"({how_many[len(both)]}; in the same time" in text and f"one seed (SimCLR {how_many[len(wharf('simclr_lr0.001'))].split()[0]})" in text
    def tuned(name, task): return json.loads((root/f'results/methods/finetune_gait_{name}_seed0.json').read_text())['scores'][task]['segment']['mean'] - seeds_of(name)['0'][task]['segment']['mean']
    def fine_tuned(name, task): return json.loads((root/f'results/methods/finetune_{name}_seed0.json').read_text())['scores'][task]['segment']['mean']
    tuned_methods = {'`joint_learner`': 'ours', 'AugPred': 'augpred', "the paper's recipe": 'relcon', 'SimCLR': 'simclr', 'REBAR': 'rebar', 'masked values': 'mvp'}
    assert '; '.join(f"{says} {shown(fine_tuned(name, 'motionsense'))} and {shown(fine_tuned(name, 'hapt'))} (frozen {shown(seeds_of(name)['0']['motionsense']['segment']['mean'])} and {shown(seeds_of(name)['0']['hapt']['segment']['mean'])})" for says,name in tuned_methods.items())+f". The encoder trained on labels alone has {shown(fine_tuned('supervised', 'motionsense'))} and {shown(fine_tuned('supervised', 'hapt'))}." in text
    stride, speed = ([tuned(n, task) for n in tuned_methods.values()] for task in ('moving_reality stride_time_s','mobgap speed_mps'))
    assert f"stride time gained with {sum(d>0 for d in stride)} of {len(tuned_methods)} methods and speed, where one person fits, one chooses and one is tested, lost with {sum(d<0 for d in speed)} of {len(tuned_methods)}, all but one by less than" in text
    assert sum(abs(d)>.16 for d in stride)+sum(abs(d)>.12 for d in speed)==1                    # what a seed run twice differed by, as its own test has it
    of = {'AugPred': 'augpred_lr0.003', '`joint_learner`': 'ours_lr0.001', 'SimCLR': 'simclr_lr0.001', 'by hand': 'by_hand', "the paper's recipe": 'relcon_lr0.001', 'masked values': 'mvp_lr0.001', 'REBAR': 'rebar_lr0.003', 'untrained': 'untrained'}
    assert ', '.join(f"{says} {shown(sum(s['linear'] for s in wharf(name))/len(wharf(name)))}" for says,name in of.items())+'.' in text
    sds = [s['linear_sd_folds'] for name in of.values() for s in wharf(name)]
    assert f'sd over folds is {min(sds):.2f} to {max(sds):.2f}'.replace('0.', '.') in text

def test_runs_of_the_same_seed_differ_as_the_records_say():
    "Pair by pair, by hand"
    place = [('motionsense','segment'), ('hapt','segment'), ('motionsense','few','5'), ('hapt','few','5'), ('moving_reality stride_time_s','segment'), ('mobgap speed_mps','segment')]
    def scores(folder, name): return [reduce(getitem, where, json.loads((folder/f'frozen_{name}_seed0.json').read_text())['scores'])['mean'] for where in place]
    names = [f.stem.removeprefix('pretrain_').removesuffix('_seed0') for f in (root/'results/methods/again').glob('pretrain_*.json')]
    twice = [[scores(root/'results/methods'/folder, name) for folder in ('','again')] for name in names]
    apart = list(zip(*[[abs(x-y) for x,y in zip(*both)] for both in twice]))
    most  = [f'{max(of):.2f}'[1:] for of in (apart[0]+apart[1], apart[2]+apart[3], apart[4], apart[5])]
    assert 'of four methods, the second time on another machine, differed by up to {} (F1, all labels), {} (five), {} (stride time) and {} (speed)'.format(*most) in (root/'README.md').read_text() and len(twice)==4
    last = next(line for line in (root/'results/methods.md').read_text().splitlines() if line.startswith('| *sd of a run*'))
    assert last.strip('| ').split(' | ')[-6:]==[f'{math.sqrt(sum(d*d/2 for d in of)/len(of)):.2f}' for of in apart]

def test_runs_of_one_seed_want_a_counterpart_of_the_same_settings(tmp_path, benchmarks):
    from methods_report import OtherSettings, lines_of
    shutil.copytree(root/'results/methods', tmp_path/'methods')
    (tmp_path/'methods/frozen_rebar_seed0.json').unlink()                                 # taken away to be run once more
    once_more = '\n'.join(lines_of(tmp_path)).split('## The same seed once more')[1].split('\n## ')[0]
    assert '| REBAR |' not in once_more and '| AugPred | 0 |' in once_more
    for stage in ('pretrain','frozen'): shutil.copy(root/f'results/methods/{stage}_dtw_seed1.json', tmp_path/'methods/again')
    assert next(line for line in lines_of(tmp_path) if line.startswith('| dynamic time warping | 1 |')).count('|  |')==1      # ablations have no few labels: two cells that follow one another
    (tmp_path/'methods/again/pretrain_mvp_seed0.json').unlink()
    assert "| masked values (tsai's MVP) | 0 |" not in '\n'.join(lines_of(tmp_path))          # steps unknown
    other = tmp_path/'methods/again/pretrain_augpred_seed0.json'
    other.write_text(json.dumps(json.loads(other.read_text())|dict(lr=1.)))
    with pytest.raises(OtherSettings, match='again holds runs of augpred at rates'): lines_of(tmp_path)
    shutil.rmtree(tmp_path/'methods/again')
    assert 'the-same-seed-once-more' not in (report := '\n'.join(lines_of(tmp_path))) and '## The same seed once more' not in report

@pytest.mark.parametrize('section,base', [('The same as differences:', 'relcon'), ('## What our departures are worth', 'ours'), ('## joint_learner minus each other, same seeds', None)])
def test_differences_in_the_report_are_those_of_the_records(section, base, benchmarks):
    "Pair by pair and seed by seed, by hand"
    from recipes import recipes, says
    lines = [line.strip('|').split('|') for line in (root/'results/methods.md').read_text().split(section)[1].split('\n## ')[0].splitlines() if line.startswith('| ')]
    (_,*heads), _, *rows = [[cell.strip() for cell in line] for line in lines]
    names, of_gait = {says(n): n for n in (*recipes, 'untrained', 'by_hand', 'minirocket')}, {'stride time (r)': 'moving_reality stride_time_s', 'speed (r)': 'mobgap speed_mps'}
    def place(head): return (of_gait[head],) if head in of_gait else ((task := head.split(',')[0].lower()), *(('few', head.split()[1]) if ',' in head else ()))
    assert len(rows)>5
    for row,*cells in rows:
        a, b = (seeds_of(n) for n in ((names[row], base) if base else ('ours', names[row])))
        both = sorted(a.keys()&b.keys())
        for head,cell in zip(heads, cells):
            if head=='argument': continue
            if head=='seeds': assert cell==str(len(both)); continue
            each = [mean_of(a, s, *place(head))-mean_of(b, s, *place(head)) for s in both]
            assert cell==f'{sum(each)/len(each):+.3f}' + (f' ({min(each):+.3f} to {max(each):+.3f})' if len(each)>1 else ''), (row, head)

def test_readmes_sentence_on_postures_says_what_was_answered():
    def found(name, task, activity):
        with np.load(root/f'results/methods/pictures_{name}_seed0.npz', allow_pickle=False) as of: true, predicted = of[f'{task} true'], of[f'{task} predicted']
        return f'{(predicted[true==activity]==activity).mean():.2f}'.lstrip('0')
    def range_of(*place): return ' to '.join(f(found(name, *place) for name in of_readme.values() if name not in ('ours','ours_alone')) for f in (min, max))
    of = [(found('ours', *place), range_of(*place)) for place in (('motionsense','sitting'), ('hapt','sitting'), ('hapt','lying'))]
    assert "{} of MotionSense's sitting (the others {}; REBAR {}, the paper's recipe and the encoder untrained {}), {} of HAPT's ({}) and {} of its lying ({})".format(*of[0], found('rebar', 'motionsense', 'sitting'), found('relcon', 'motionsense', 'sitting'), *sum(of[1:], ())) in (root/'README.md').read_text()
    assert found('relcon', 'motionsense', 'sitting')==found('untrained', 'motionsense', 'sitting')

@pytest.mark.parametrize('names', [['by_hand'], ['by_hand','minirocket','simclr'], ['minirocket']])
def test_pictures_are_drawn_of_what_runs_kept(names, tmp_path, benchmarks):
    from methods_report import draw_pictures
    (tmp_path/'methods').mkdir()
    for name in names: shutil.copy(root/f'results/methods/pictures_{name}_seed0.npz', tmp_path/'methods')
    draw_pictures(tmp_path)
    assert {f.stem for f in (tmp_path/'methods').glob('*.png')}=={'confusions','gaits'} | ({'maps'} if names!=['minirocket'] else set())

def test_gait_in_its_units_is_what_was_answered():
    "By hand, segment by segment: joint_learner's speed, and that of the mean of everybody else"
    with np.load(root/'results/methods/pictures_ours_seed0.npz', allow_pickle=False) as of: true, predicted, who = (of[f'mobgap speed_mps {what}'].astype(float) for what in ('true','predicted','subject'))
    def cell(answers):
        errors = [abs(a-b) for a,b in zip(true, answers)]
        mae, mse = (sum(e**n for e in errors)/len(errors) for n in (1, 2))
        sds = [(sum((e**n-m)**2 for e in errors)/len(errors))**.5 for n,m in ((1, mae), (2, mse))]
        return f'{mae:.3f} ({sds[0]:.3f}); {mse:.4f} ({sds[1]:.4f})'.replace('(0.', '(.')
    everybody_else = [sum(others := [b for b,w in zip(true, who) if w!=mine])/len(others) for mine in who]
    rows = (root/'results/methods.md').read_text().split('## Gait in its units')[1].split('##')[0].splitlines()
    def speed(starts): return [c.strip() for c in next(r for r in rows if r.startswith(starts)).split('|')][3]
    assert (speed('| joint_learner'), speed('| *the mean of everybody else*'))==(cell(predicted), cell(everybody_else))

def test_the_report_of_methods_is_that_of_the_records(benchmarks):
    from methods_report import lines_of
    assert (root/'results/methods.md').read_text()=='\n'.join(lines_of(root/'results'))+'\n', 'run benchmarks/methods.py --report-only --record results'
