"Commands as a user types them: what they write, and one clear line for bad input"
import json, os, re, signal, subprocess, sys, time
from inspect import signature
from functools import wraps
from pathlib import Path
import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
import tsai_relcon.cli
from tsai_relcon.cli import relcon_embed, relcon_evaluate, relcon_export, relcon_label, relcon_pretrain
from tsai_relcon.learner import get_embeddings, load_distance, load_encoder, save_weights
from tsai_relcon.models import RelConResNet34
from tsai_relcon.store import create_store

written = {'run.json'} | {f'{n}{e}' for n in ('distance','encoder') for e in ('.safetensors','_losses.csv','_losses.png')}

def run(*args):
    return subprocess.run([str(Path(sys.executable).parent/args[0]), *map(str, args[1:])], capture_output=True, text=True, env=dict(os.environ, OMP_NUM_THREADS='1', MPLBACKEND='Agg'))

@pytest.fixture(scope='module')
def weights(tmp_path_factory): return save_weights(RelConResNet34(nf=2), tmp_path_factory.mktemp('w')/'encoder.safetensors', rate=50, length=128)

@pytest.fixture(scope='module')
def csvs(tmp_path_factory, segs):
    "A file a person: six people of MotionSense, 60 s of each of three activities, in m/s2"
    folder = tmp_path_factory.mktemp('csv')
    for who in np.unique(segs.subject)[:6]:
        rows = np.concatenate([np.flatnonzero((segs.subject==who) & (segs.labels==l))[:24] for l in ('jog','sit','wlk')])
        x = np.concatenate(segs.X[rows], 1).T*9.80665
        pd.DataFrame(dict(time=np.arange(len(x))/50, x=x[:,0], y=x[:,1], z=x[:,2], label=np.repeat(segs.labels[rows], 128))).to_csv(folder/f'{who}.csv', index=False)
    return folder

@pytest.mark.parametrize('command', ['relcon-evaluate','relcon-embed','relcon-label','relcon-pretrain'])
def test_help_says_what_each_argument_is(command):
    out = run(command, '--help')
    assert out.returncode==0 and 'DATA' in out.stdout.upper() and '--unit' in out.stdout and 'counts for 1 g' in out.stdout

def test_evaluate_writes_a_report(weights, csvs, tmp_path):
    out = run('relcon-evaluate', weights, csvs, '--unit', 'm/s2', '--subject', 'file', '--folds', '3', '--compare', '--out', tmp_path/'report')
    assert out.returncode==0, out.stderr
    assert {f.name for f in (tmp_path/'report').iterdir()}=={'table.csv','table.md','answers.csv','confusion.png','roc.png','embeddings.png'}
    table = pd.read_csv(tmp_path/'report/table.csv', index_col=[0,1,2])
    assert set(table.index.get_level_values('encoder'))=={'encoder','untrained','features by hand','a constant'} and set(table.index.get_level_values('level'))=={'segment','workout'}
    mean = table.loc[('features by hand','segment','mean'),'macro_f1']
    assert mean>.6 and f'{mean:.3g}' in (tmp_path/'report/table.md').read_text() and f'{mean:.3g}' in out.stdout
    again = run('relcon-evaluate', weights, csvs, '--unit', 'm/s2', '--subject', 'file', '--out', tmp_path/'report')
    assert again.returncode==2 and '--overwrite' in again.stderr and 'Traceback' not in again.stderr

def test_gait_report(weights, tmp_path):
    relcon_evaluate(str(weights), 'mobgap', out=str(tmp_path/'r'), protocol='regression', target='speed_mps', folds='loso')
    assert (tmp_path/'r/predicted.png').exists() and 'r' in pd.read_csv(tmp_path/'r/table.csv').columns

@pytest.mark.parametrize('says,args', [
    ('there is no file', ['relcon-evaluate','nowhere.safetensors','motionsense']),
    ('there is no file and no folder', ['relcon-evaluate','W','nowhere']),
    ('--unit', ['relcon-evaluate','W','CSV']),
    ("lacks the column 'subject'", ['relcon-evaluate','W','CSV','--unit','m/s2']),
    ('median magnitude', ['relcon-evaluate','W','CSV','--unit','g','--subject','file']),
    ('protocol', ['relcon-evaluate','W','CSV','--unit','m/s2','--subject','file','--protocol','svm']),
    ('folds', ['relcon-evaluate','W','CSV','--unit','m/s2','--subject','file','--folds','many']),
    ('take --protocol regression', ['relcon-evaluate','W','mobgap']),
    ('reader', ['relcon-embed','W','CSV','z.npz','--reader','excel']),
    ('.npz or .csv', ['relcon-embed','W','mobgap','z.pkl']),
    ('at most groups=', ['relcon-pretrain','mobgap','OUT','--rate','50','--length','128','--groups','500']),
    ('one person only|two or more', ['relcon-pretrain','ONE','OUT','--unit','m/s2','--subject','file']),
    ('`overwrite` and `resume`', ['relcon-pretrain','mobgap','OUT','--overwrite','--resume']), ('`checkpoint_seconds`', ['relcon-pretrain','mobgap','OUT','--checkpoint-seconds','-1']), ('no run.json', ['relcon-pretrain','mobgap','FULL','--resume']),
    ("`distance` is 'Euclid', which is no file, and none of 'euclidean'", ['relcon-pretrain','mobgap','OUT','--distance','Euclid']), ('`seed` is -1', ['relcon-pretrain','mobgap','OUT','--seed','-1']),
    ('`width`', ['relcon-pretrain','mobgap','OUT','--width','0']), ('`epochs`', ['relcon-pretrain','mobgap','OUT','--epochs','0']), ('`lr`', ['relcon-pretrain','mobgap','OUT','--lr','nan']),
    ('subject', ['relcon-evaluate','W','CSV','--unit','m/s2','--subject','none']), ('`axes`', ['relcon-evaluate','W','CSV','--unit','m/s2','--subject','file','--axes','x,y']),
    ('does not tell whose recordings trained it', ['relcon-evaluate','W','CSV','--unit','m/s2','--subject','file','--folds','unseen']), ('no whole npz', ['relcon-embed','W','NPZ','z.npz']),
    ('`overlap`', ['relcon-embed','W','mobgap','z.npz','--overlap','half']), ('is a file', ['relcon-evaluate','W','mobgap','--out','FILE']),
    ('required', ['relcon-embed','W'])])
def test_bad_input_is_one_line_and_exit_code_2(says, args, weights, csvs, tmp_path, monkeypatch, capsys):
    "In this process, for each start of Python costs seconds; as processes: the tests around"
    (tmp_path/'cut.npz').write_bytes(b'PK\x03\x04aaaa')
    names = dict(FULL=tmp_path, NPZ=tmp_path/'cut.npz', FILE=tmp_path/'cut.npz', W=weights, CSV=csvs, OUT=tmp_path/'out', ONE=csvs/'01.csv')
    command, *args = [str(names.get(a, a)) for a in args]
    monkeypatch.setattr(sys, 'argv', [command, *args])
    monkeypatch.chdir(tmp_path)
    from fastcore.script import anno_parser
    function = getattr(tsai_relcon.cli, command.replace('-','_'))
    with pytest.raises(SystemExit) as end: function(**{k: v for k,v in vars(anno_parser(function.__wrapped__).parse_args(args)).items() if k not in ('pdb','xtra')})
    said = capsys.readouterr().err
    assert end.value.code==2 and re.search(says, said) and 'Traceback' not in said
    assert not (tmp_path/'out').exists() or not any((tmp_path/'out').iterdir())                   # nothing that stands in the way of a second try

def test_a_file_that_is_no_weights(csvs, tmp_path):
    out = run('relcon-embed', csvs/'01.csv', 'mobgap', tmp_path/'z.npz')
    assert out.returncode==2 and 'safetensors' in out.stderr and len(out.stderr.strip().splitlines())==1

def test_embed(weights, csvs, tmp_path, segs):
    relcon_embed(str(weights), str(csvs), str(tmp_path/'z.npz'), unit='m/s2', subject='file')
    with np.load(tmp_path/'z.npz', allow_pickle=False) as f: z = dict(f)
    assert set(z)=={'Z','rate','length','subject','time','recording','label'} and len(z['Z'])==len(z['subject'])
    first = segs[(segs.subject=='01') & (segs.labels=='jog')][:5]
    np.testing.assert_allclose(z['Z'][:5], get_embeddings(load_encoder(weights), first), atol=1e-3)
    relcon_embed(str(weights), 'mobgap', str(tmp_path/'z.csv'))
    table = pd.read_csv(tmp_path/'z.csv')
    assert {'subject','time','speed_mps','z0','z7'}<=set(table.columns)
    with pytest.raises(FileExistsError): relcon_embed(str(weights), 'mobgap', str(tmp_path/'z.csv'))

def test_pretrain_from_csv_to_weights(csvs, tmp_path, monkeypatch):
    out = run('relcon-pretrain', csvs, tmp_path/'w', '--unit', 'm/s2', '--subject', 'file', '--rate', '50', '--length', '128', '--width', '2', '--epochs', '1', '--distance-epochs', '1',
              '--groups', '2', '--within', '3', '--motion-only', '--leave-out', '.34')
    assert out.returncode==0, out.stderr
    assert {f.name for f in (tmp_path/'w').iterdir()}==written
    assert load_encoder(tmp_path/'w/encoder.safetensors').info['rate']==50 and load_distance(tmp_path/'w/distance.safetensors').info['record']['motion_only'] is True
    left_out = re.search('left out: (.*)', out.stdout)[1].split(', ')
    monkeypatch.chdir(tmp_path)
    kw = dict(unit='m/s2', subject='file')
    relcon_evaluate('w/encoder.safetensors', str(csvs), out='unseen', folds='unseen', **kw)
    assert pd.read_csv('unseen/table.csv').subjects[0].split(', ')==left_out and 'pretrained' not in Path('unseen/table.md').read_text()
    told = run('relcon-evaluate', 'w/encoder.safetensors', csvs, '--out', 'all', '--folds', '3', '--unit', 'm/s2', '--subject', 'file', '--protocol', 'mlp', '--epochs', '2')
    assert told.returncode==0 and 'note: the encoder was pretrained on some' in told.stderr and 'Warning' not in told.stderr
    assert 'was pretrained on people who are tested' in Path('all/table.md').read_text()
    assert np.isfinite(pd.read_csv(tmp_path/'w/encoder_losses.csv').train_loss).all()
    with pytest.raises(FileExistsError): relcon_pretrain('mobgap', str(tmp_path/'w'))

# ---- a run that is killed

small = dict(rate=50, length=128, unit='m/s2', subject='file', width=2, epochs=3, distance_epochs=2, groups=2, within=3, redraw=2)

def pretrain(csvs, out, **options):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)                                                              # as the processes that are killed
    try: relcon_pretrain(str(csvs), str(out), **{**small, **options})
    finally: torch.set_num_threads(threads)

def killed(csvs, out, when, by=signal.SIGKILL):
    "A process, sent a signal as soon as `when` says so: its exit code"
    options = [o for k,v in {**small, 'checkpoint_seconds': 1e-3}.items() for o in (f"--{k.replace('_', '-')}", str(v))]
    process = subprocess.Popen([str(Path(sys.executable).parent/'relcon-pretrain'), str(csvs), str(out), *options, '--resume'], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=dict(os.environ, OMP_NUM_THREADS='1', MPLBACKEND='Agg'))
    end = time.monotonic()+100
    while not when() and process.poll() is None and time.monotonic()<end: time.sleep(.01)
    process.send_signal(by)
    code = process.wait()
    assert when()
    return code

@pytest.fixture(scope='module')
def whole(csvs, tmp_path_factory):
    out = tmp_path_factory.mktemp('whole')/'w'
    pretrain(csvs, out)
    return out

def numbers_of(out): return [load_file(out/f'{n}.safetensors') for n in ('distance','encoder')], [(out/f'{n}_losses.csv').read_text() for n in ('distance','encoder')]

def test_a_run_killed_in_both_stages_comes_to_the_same_weights(csvs, whole, tmp_path, capsys):
    out = tmp_path/'w'
    def after(name, n): return lambda: any(int(f.name.split('.')[1])>=n for f in out.glob(f'{name}_checkpoint.*.safetensors'))
    assert killed(csvs, out, after('distance', 9))==-signal.SIGKILL
    assert not (out/'encoder.safetensors').exists() and not json.loads((out/'run.json').read_text())['finished']
    assert killed(csvs, out, after('encoder', 60), signal.SIGINT)==130                    # Ctrl-C: what follows by && does not begin
    pretrain(csvs, out, resume=True)
    said = capsys.readouterr().out
    assert 'going on from' in said and 'distance_checkpoint' in said and '2 of 2 epochs done' in said and 'encoder_checkpoint' in said
    (a, rows_a), (b, rows_b) = numbers_of(whole), numbers_of(out)
    for s,t in zip(a, b): torch.testing.assert_close(s, t, rtol=1e-6, atol=1e-7)
    assert rows_a==rows_b and {f.name for f in out.iterdir()}==written

def test_a_finished_run_is_left_as_it_is(csvs, whole, capsys):
    before = {f: f.stat().st_mtime_ns for f in whole.iterdir() if f.name!='run.json'}
    pretrain(csvs, whole, resume=True, checkpoint_seconds=5)
    assert 'is finished' in capsys.readouterr().out and before=={f: f.stat().st_mtime_ns for f in whole.iterdir() if f.name!='run.json'}

def test_a_run_is_gone_on_with_by_its_own_settings_only(csvs, whole, tmp_path):
    with pytest.raises(ValueError, match="`epochs` is 4, there 3; `motion_only` is True, there False"): pretrain(csvs, whole, epochs=4, motion_only=True, resume=True)
    with pytest.raises(ValueError, match="`data` is 'mobgap', there '/"): pretrain('mobgap', whole, resume=True)
    with pytest.raises(FileExistsError, match='not empty'): pretrain(csvs, whole)
    (tmp_path/'run.json').write_text('{"settings"')
    with pytest.raises(ValueError, match='run.json is damaged'): pretrain(csvs, tmp_path, resume=True)

def test_an_error_of_a_callback_is_said_without_fastais_preface():
    said = "Exception occured in `Checkpoint` when calling event `before_fit`:\n\t`path`: none of the checkpoints can be gone on from"
    assert tsai_relcon.cli._in_options(' '.join(said.split()))=="`path`: none of the checkpoints can be gone on from"

def test_to_begin_anew_forgets_the_checkpoints(csvs, tmp_path):
    out = tmp_path/'w'
    out.mkdir()
    for f in ('run.json','distance_checkpoint.7.safetensors'): (out/f).write_text('of a run that broke off')
    pretrain(csvs, out, overwrite=True, epochs=1, distance_epochs=1)
    assert {f.name for f in out.iterdir()}==written

@pytest.fixture(scope='module')
def store(tmp_path_factory, segs):
    path = tmp_path_factory.mktemp('stored')/'store'
    with create_store(path, 50.) as writer:
        for who in np.unique(segs.subject)[:6]: writer.append(np.concatenate(segs.X[segs.subject==who][:40], 1).T, who, flat='cut')
    return path

def test_pretraining_on_a_store(store, tmp_path, capsys):
    relcon_pretrain(str(store), str(tmp_path/'out'), rate=50, length=128, width=4, epochs=1, distance_epochs=1, groups=2, within=3, leave_out=.2, by_motion=True)
    said, people = capsys.readouterr().out, load_encoder(tmp_path/'out'/'encoder.safetensors').info['subjects']
    assert 'left out' in said and 'StoredSegments' in said and len(people)==5         # of six: one left out; who validates is remembered too

def test_joint_pretraining_is_that_of_the_library(csvs, tmp_path, monkeypatch):
    "Everybody's segments, the distance that was fitted, the encoder that was asked for"
    seen, plain = [], tsai_relcon.learner.joint_learner
    @wraps(plain)
    def spy(dls, *args, **kw):
        seen.append((learn := plain(dls, *args, **kw)))
        return learn
    monkeypatch.setattr(tsai_relcon.learner, 'joint_learner', spy)
    relcon_pretrain(str(csvs), str(tmp_path/'w'), rate=50, length=128, width=2, epochs=1, distance_epochs=1, joint=True, unit='m/s2', subject='file')
    learn = seen[-1]                                                               # the first one is made to see whether it can be
    for k,v in load_distance(tmp_path/'w/distance.safetensors').state_dict().items(): torch.testing.assert_close(learn.rel_con.distance.state_dict()[k], v)
    assert json.loads((tmp_path/'w/run.json').read_text())['settings']['distance_lr']==signature(plain).parameters['distance_lr'].default==.004
    assert (learn.rel_con.weight, learn.rel_con.aug_pred, learn.rel_con.motion_only)==(.3, 4., True)
    assert sum(len(dl.dataset) for dl in learn.dls.loaders)==len(tsai_relcon.cli._read(str(csvs), 50., 128, label='none', unit='m/s2', subject='file')[0])

def test_what_joint_cannot_is_told_before_the_distance_is_fitted(csvs, tmp_path, capsys):
    with pytest.raises(ValueError, match='`length` is 30; with `joint` wanted 44 samples or more'): relcon_pretrain(str(csvs), str(tmp_path/'w'), rate=50, length=30, joint=True, unit='m/s2', subject='file')
    with pytest.raises(ValueError, match='`arch` cannot embed views'): relcon_pretrain(str(csvs), str(tmp_path/'w'), rate=50, length=128, arch='TSTPlus', joint=True, unit='m/s2', subject='file')
    assert 'The distance' not in capsys.readouterr().out and not list((tmp_path/'w').iterdir())

def test_joint_pretraining_from_files_and_from_a_store(csvs, store, tmp_path, capsys):
    options = dict(rate=50, length=128, width=2, epochs=1, distance_epochs=1, joint=True)
    for name,data,kw in (('files', csvs, dict(unit='m/s2', subject='file')), ('store', store, {})):
        relcon_pretrain(str(data), str(tmp_path/name), **options, **kw)
        assert load_distance(tmp_path/name/'distance.safetensors').config['values']=='own' and len(load_encoder(tmp_path/name/'encoder.safetensors').info['subjects'])==6
        with open(tmp_path/name/'encoder_losses.csv') as f: assert np.isfinite(pd.read_csv(f).train_loss).all()
        assert ' segments train, ' in capsys.readouterr().out
        relcon_pretrain(str(data), str(tmp_path/name), **options, **kw, resume=True)
        assert 'is finished' in capsys.readouterr().out
        with pytest.raises(ValueError, match='`joint` is False, there True'): relcon_pretrain(str(data), str(tmp_path/name), **options|dict(joint=False), **kw, resume=True)

@pytest.mark.parametrize('wrong', [dict(groups=4), dict(within=3), dict(anchors='one'), dict(neighbourhood=60.), dict(redraw=2), dict(motion_only=True)])
def test_joint_batches_have_no_groups(csvs, tmp_path, wrong):
    (name,value), = wrong.items()
    with pytest.raises(ValueError, match=f'`joint` is given, and `{name}` is {value!r}'): relcon_pretrain(str(csvs), str(tmp_path/'out'), joint=True, unit='m/s2', subject='file', **wrong)
    assert not (tmp_path/'out').exists()

@pytest.mark.parametrize('wrong, says', [(dict(rate=100), 'the store .* holds 50 Hz'), (dict(unit='g'), '`unit` is given'), (dict(length=10**6), '`length`')])
def test_a_store_has_its_own_rate_and_unit(store, tmp_path, wrong, says):
    with pytest.raises(ValueError, match=says): relcon_pretrain(str(store), str(tmp_path/'out'), **(dict(rate=50, length=128, groups=2, within=3)|wrong))

def test_one_run_at_a_time_in_a_folder(csvs, tmp_path):
    fcntl = pytest.importorskip('fcntl')
    (tmp_path/'out').mkdir()
    fd = os.open(tmp_path/'out', os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_EX)
    try:
        with pytest.raises(ValueError, match='a run is under way'): pretrain(csvs, tmp_path/'out', resume=True)
    finally: os.close(fd)
    with pytest.raises(ValueError, match='`rate`') as kept: pretrain(csvs, tmp_path/'out', resume=True, rate=-1)         # the folder is free again
    with pytest.raises(ValueError, match='`rate`'): pretrain(csvs, tmp_path/'out', resume=True, rate=-1)         # and stays free when a run fails

@pytest.mark.parametrize('inside', ['', 'weights', 'a/b'])
def test_nothing_is_written_among_the_data(csvs, inside):
    before = sorted(csvs.rglob('*'))
    with pytest.raises(ValueError, match="`out`: .* lies in the data's folder"): pretrain(csvs, csvs/inside, overwrite=True)
    assert sorted(csvs.rglob('*'))==before

def test_only_pretraining_takes_a_store(store, weights, tmp_path):
    with pytest.raises(ValueError, match='is a store'): relcon_embed(str(weights), str(store), str(tmp_path/'e.npz'))

# ---- from a device's file to an answer

@pytest.fixture(scope='module')
def clocked(tmp_path_factory, segs):
    "A logger's file of dates: ten minutes of one person across midnight"
    path = tmp_path_factory.mktemp('device')/'who.csv'
    a = np.concatenate(segs.X[segs.subject==segs.subject[0]], 1).T[:10*60*50]
    pd.DataFrame(a, columns=['x','y','z']).assign(time=(pd.Timestamp('2026-03-01 23:55:00')+pd.to_timedelta(np.arange(len(a))/50, unit='s')).astype(str)).to_csv(path, index=False)
    return path
as_device = dict(device=True, unit='g', time_unit='date')

@pytest.fixture(scope='module')
def head(weights, csvs, tmp_path_factory):
    folder = tmp_path_factory.mktemp('h')
    relcon_evaluate(str(weights), str(csvs), unit='m/s2', subject='file', folds='3', out=str(folder/'report'), save_head=str(folder/'head.safetensors'))
    return folder/'head.safetensors'

def test_labels_of_a_recording(weights, head, clocked, tmp_path):
    out = run('relcon-label', weights, head, clocked, tmp_path/'out', '--device', '--unit', 'g', '--time-unit', 'date')
    assert out.returncode==0, out.stderr
    assert {f.name for f in (tmp_path/'out').iterdir()}=={'segments.parquet','minutes.parquet','days.png'} and '10 bins of 60 s' in out.stdout
    each, minutes = (pd.read_parquet(tmp_path/f'out/{n}.parquet') for n in ('segments','minutes'))
    encoder, classes = load_encoder(weights), ['jog','sit','wlk']
    from tsai_relcon.devices import read_device
    from tsai_relcon.heads import load_head
    wanted = load_head(head).predict_proba(get_embeddings(encoder, read_device(clocked, unit='g').segments(50, 128)))
    np.testing.assert_allclose(each[[f'p_{c}' for c in classes]], wanted, atol=1e-5)
    assert list(each.label)==[classes[i] for i in wanted.argmax(1)] and each.time.iloc[0]==pd.Timestamp('2026-03-01 23:55')
    assert list(minutes.time.dt.strftime('%d %H:%M'))==[f'01 23:{m}' for m in range(55,60)]+[f'02 00:{m:02d}' for m in range(5)] and minutes.segments.sum()==len(each)
    relcon_label(str(weights), str(head), str(clocked), str(tmp_path/'out'), csv=True, seconds=120., overwrite=True, **as_device)
    assert {f.name for f in (tmp_path/'out').iterdir()}=={'segments.csv','minutes.csv','days.png'}     # nothing of the run before
    assert len(pd.read_csv(tmp_path/'out/minutes.csv'))==6                                     # two minutes begin at even ones

def test_embeddings_of_a_recording_as_parquet(weights, clocked, tmp_path):
    relcon_embed(str(weights), str(clocked), str(tmp_path/'z.parquet'), **as_device)
    table = pd.read_parquet(tmp_path/'z.parquet')
    assert str(table.time.dtype).startswith('datetime64') and list(table.columns[:4])==['subject','time','recording','z0'] and set(table.subject)=={'who'}

def test_a_head_is_for_its_encoder_and_labels_are_for_one(weights, head, csvs, clocked, tmp_path):
    other = save_weights(RelConResNet34(nf=2), tmp_path/'other.safetensors', rate=50, length=128)
    with pytest.raises(ValueError, match='another one than the head'): relcon_label(str(other), str(head), str(clocked), str(tmp_path/'o'), **as_device)
    with pytest.raises(ValueError, match="`unit` is missing"): relcon_label(str(weights), str(head), str(clocked), str(tmp_path/'o'), device=True)
    with pytest.raises(ValueError, match="`protocol` is 'mlp'"): relcon_evaluate(str(weights), str(csvs), unit='m/s2', protocol='mlp', save_head='h.safetensors', out=str(tmp_path/'r'))
    with pytest.raises(ValueError, match='write no labels'): relcon_evaluate(str(weights), str(clocked), out=str(tmp_path/'r'), **as_device)
    with pytest.raises(ValueError, match="`subject` is 'file'"): relcon_label(str(weights), str(head), str(clocked), str(tmp_path/'o'), subject='file', **as_device)
    with pytest.raises(ValueError, match='add --device'): relcon_embed(str(weights), str(csvs), str(tmp_path/'z.csv'), unit='m/s2', subject='file', nonwear=20.)
    with pytest.raises(ValueError, match="in the data's folder"): relcon_label(str(weights), str(head), str(clocked.parent), str(clocked.parent/'out'), **as_device)
    with pytest.raises(ValueError, match='`nonwear` is -1'): relcon_label(str(weights), str(head), str(clocked), str(tmp_path/'o'), nonwear=-1., **as_device)
    with pytest.raises(ValueError, match='`save_head`'): relcon_evaluate(str(weights), 'mobgap', protocol='regression', target='speed_mps', save_head='h.safetensors', out=str(tmp_path/'r'))
    with pytest.raises(FileExistsError, match='save_head'): relcon_evaluate(str(weights), str(csvs), unit='m/s2', subject='file', save_head=str(head), out=str(tmp_path/'r'))
    with pytest.raises(ValueError, match='say themselves'): relcon_embed(str(weights), str(tmp_path/'x.cwa'), str(tmp_path/'z.csv'), unit='g') if (tmp_path/'x.cwa').write_bytes(b'MD') else None

def test_a_folder_of_csv_and_device_files_is_not_guessed_at(csvs, tmp_path):
    for f in csvs.glob('*.csv'): (tmp_path/f.name).write_bytes(f.read_bytes())
    (tmp_path/'a.bin').write_text('x')
    from tsai_relcon.cli import _of_devices
    assert not _of_devices(str(tmp_path), 'm/s2')
    with pytest.raises(ValueError, match='CSV files and files of devices'): _of_devices(str(tmp_path))

def test_export(weights, segs, tmp_path):
    from tsai_relcon.export import OnnxEncoder
    relcon_export(str(weights), str(tmp_path/'e.onnx'))
    np.testing.assert_allclose(OnnxEncoder(tmp_path/'e.onnx')(segs[:5]), get_embeddings(load_encoder(weights), segs[:5]), atol=1e-5)
    with pytest.raises(FileExistsError, match='--overwrite'): relcon_export(str(weights), str(tmp_path/'e.onnx'))
    with pytest.raises(ValueError, match='ends in .onnx'): relcon_export(str(weights), str(tmp_path/'e.bin'))

def test_another_architecture_from_the_command_line(csvs, tmp_path):
    options = dict(unit='m/s2', subject='file', rate=50., length=128, groups=4, within=3, epochs=1, distance_epochs=1)
    with pytest.raises(ValueError, match="`arch` is 'VGG'"): relcon_pretrain(str(csvs), str(tmp_path/'o'), arch='VGG', **options)
    with pytest.raises(ValueError, match="`width` is 8"): relcon_pretrain(str(csvs), str(tmp_path/'o'), arch='FCNPlus', width=8, **options)
    relcon_pretrain(str(csvs), str(tmp_path/'o'), arch='FCNPlus', **options)
    assert load_encoder(tmp_path/'o/encoder.safetensors').config['arch']=='FCNPlus'
    relcon_evaluate(str(tmp_path/'o/encoder.safetensors'), str(csvs), unit='m/s2', subject='file', folds='3', compare=True, out=str(tmp_path/'r'))
