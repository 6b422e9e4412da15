"A fit that was broken off against the same fit in one go: killed anywhere, with a full disk, with damaged files"
import errno, multiprocessing, os, pickle, random, resource, shutil, signal
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from fastai.callback.core import Callback
from fastai.callback.tracker import EarlyStoppingCallback, SaveModelCallback
from fastai.callback.training import GradientAccumulation
from fastai.learner import Learner, Metric
from fastai.optimizer import OptimWrapper, SGD, ranger
from fastai.torch_core import params, set_seed
from tsai.data.core import get_ts_dls
import tsai_relcon.checkpoint as room
from tsai_relcon.augment import TSRandomAugment, add_noise, random_augment, scale
from tsai_relcon.baselines import MaskedDistance, augpred_learner, masked_learner, mvp_learner, rebar_learner, simclr_learner
from tsai_relcon.batches import relcon_dls
from tsai_relcon.callback import MotifReconstruction, PretextCallback, RemembersTraining, no_loss
from tsai_relcon.monitor import KeepBest, StopOnInterrupt
from tsai_relcon.checkpoint import Checkpoint, _differences, random_state, read_checkpoint, set_random_state, write_checkpoint
from tsai_relcon.core import DataWarning, subject_marks
from tsai_relcon.distance import MotifDistance
from tsai_relcon.learner import SaveWeights, encoder_of, fitted_on_motion, load_encoder, motif_learner, pretrained_on, relcon_learner, save_weights, weights_info
from tsai_relcon.models import RelConResNet34
from tsai_relcon.plain_distances import spectrum_distances
from tsai_relcon.provenance import as_text, trained_on
from tsai_relcon.splits import subject_splits
from tsai_relcon.store import create_store, open_store

n_train, n_valid, n_epoch = 4, 2, 3        # batches of an epoch, batches of a validation, epochs

@pytest.fixture(autouse=True, scope='module')
def one_thread():
    "Sums in one order, and a process that may be forked"
    n = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n)

@pytest.fixture(scope='module')
def some(segs): return segs[::16]

# ---- what is fitted

class Dropping(nn.Module):
    "Draws random numbers in training"
    def __init__(self, c_in, c_out):
        super().__init__()
        self.net, self.drop = RelConResNet34(nf=2), nn.Dropout(.2)
    def forward(self, x): return self.drop(self.net(x))

def euclidean(x, anchors, candidates): return (x[anchors][:,None]-x[candidates]).square().sum((2,3))
def grouped(segs, anchors='all', seed=3, n_groups=4, **kw): return relcon_dls(segs, n_groups=n_groups, n_within=3, anchors=anchors, seed=seed, train_batches=n_train, valid_batches=n_valid, **kw)

def stage1(segs, cbs=None, nf=4, **kw): return motif_learner(grouped(segs, **kw), MotifDistance(nf=nf), bs=16, metrics=[], cbs=cbs)
def stage2(segs, distance=euclidean, arch=RelConResNet34, arch_config=dict(nf=2), tau=.1, cbs=None, opt_func=None, splitter=None, options={}, **kw):
    learner = {k: v for k,v in dict(opt_func=opt_func, splitter=splitter).items() if v is not None}
    return relcon_learner(grouped(segs, **kw), distance, arch=arch, arch_config=arch_config, tau=tau, cbs=cbs, **learner, **options)
def frozen(segs):
    learn = stage2(segs, splitter=lambda m: [params(m.backbone.stem), params(m.backbone.blocks)])
    learn.freeze()
    return learn
def with_train_metrics(segs):
    learn = stage2(segs)
    learn.recorder.train_metrics = True
    return learn
def ranked(segs):
    torch.manual_seed(9)
    return stage2(segs, MotifDistance(nf=4))
class Draws(Callback):
    "A random number where each part of an epoch begins and ends"
    def before_train(self): torch.rand(1)
    after_train = before_validate = after_validate = before_epoch = after_epoch = before_train
def from_store(segs, folder):
    if not folder.exists():
        with create_store(folder, 50, 60.) as w:
            for who in np.unique(segs.subject): w.append(np.concatenate(segs.X[segs.subject==who][:40], 1).T, who)
    return stage2(open_store(folder, 128), pool_mb=.2)

def fitted(learn, *cbs, how='fit_one_cycle', n=n_epoch, lr=3e-3):
    with learn.no_bar(), learn.no_logging(): getattr(learn, how)(n, lr, cbs=cbs)
    learn.next_draw = torch.rand(1).item(), np.random.rand(), random.random()
    return learn

def optimiser(learn):
    tensors = {}
    return room._pack(learn.opt.state_dict(), tensors, 'opt'), tensors

def assert_same(a, b):
    "All that a fit leaves behind, to the last bit"
    for (k,v),w in zip(a.model.state_dict().items(), b.model.state_dict().values()): torch.testing.assert_close(v, w, rtol=0, atol=0, msg=k)
    for k in ('losses','lrs','iters','values'): assert getattr(a.recorder, k)==getattr(b.recorder, k), k
    for k in ('next_draw','final_record','train_iter','pct_train'): assert getattr(a, k)==getattr(b, k), k
    assert getattr(a.recorder, 'hps', None)==getattr(b.recorder, 'hps', None) and optimiser(a)[0]==optimiser(b)[0]
    for (k,v),w in zip(optimiser(a)[1].items(), optimiser(b)[1].values()): torch.testing.assert_close(v, w, rtol=0, atol=0, msg=k)
    assert [dl.epoch for dl in a.dls.loaders]==[dl.epoch for dl in b.dls.loaders]

# ---- how it breaks off

class Break(Callback):
    "At the n-th time of an event, in training, in validation or in either, do something"
    order = 90
    def __init__(self, event, n, training=None, do=None): self.n, self.of, self.do = n, training, do; setattr(self, event, self.count)
    def count(self):
        if self.of in (None, self.learn.training): self.n -= 1; self.n or (self.do or self.fail)()
    def fail(self): raise InterruptedError('broken off')

class Seen(Callback):
    "Epochs whose events are fired"
    order = 95
    def before_fit(self):   self.epochs = []
    def before_epoch(self): self.epochs.append(self.epoch)
    def before_train(self): self.epochs.append(self.epoch)
    def after_epoch(self):  self.epochs.append(self.epoch)

def broken(learn, path, *where, seconds=0, **kw):
    with pytest.raises(InterruptedError): fitted(learn, Checkpoint(path, seconds, resume=True), Break(*where), **kw)
    return learn

def in_one_go(make, **kw):
    set_seed(0)
    return fitted(make(), **kw)

def in_pieces(make, path, *places, **kw):
    "Broken off at each place in turn; after each, everything is made anew with other random numbers, as in another process"
    for i,where in enumerate(places):
        set_seed(i)
        broken(make(), path, *where, **kw)
    set_seed(99)
    return fitted(make(), Checkpoint(path, 0, resume=True), **kw)

@pytest.fixture(scope='module')
def whole(some): return {make: in_one_go(partial(make, some)) for make in (stage1, stage2)}

places = dict(first=('after_batch',1,True), middle=('after_batch',n_train+2,True), within_a_batch=('after_step',n_train+3,True), last_of_epoch=('after_batch',2*n_train,True), after_train=('after_train',2),
              before_validation=('before_validate',1), validation=('after_batch',n_valid+1,False), after_epoch=('after_epoch',2), before_epoch=('before_epoch',3), last_batch=('after_batch',n_epoch*n_train,True),
              last_validation=('after_batch',n_epoch*n_valid,False), end=('after_epoch',n_epoch))

@pytest.mark.parametrize('where', places)
def test_broken_off_anywhere_it_comes_to_the_same(where, some, whole, tmp_path): assert_same(whole[stage1], in_pieces(partial(stage1, some), tmp_path/'ck', places[where]))

@pytest.mark.parametrize('make', [stage1, stage2])
def test_broken_off_after_every_three_batches(make, some, whole, tmp_path):
    assert_same(whole[make], in_pieces(partial(make, some), tmp_path/'ck', *[('after_batch',3,True)]*3, ('before_validate',1), ('after_batch',1,False), ('after_batch',1,False)))

fits = dict(one=partial(stage2, anchors='one'), redraw=partial(stage2, redraw=2), ranked=ranked, chance=partial(stage2, distance='random'), chance_redrawn=partial(stage2, distance='random', redraw=2), dropout=partial(stage2, arch=Dropping, arch_config=None),
            transforms=partial(stage2, batch_tfms=TSRandomAugment()), torch_optimiser=partial(stage2, opt_func=partial(OptimWrapper, opt=torch.optim.AdamW)), lookahead=partial(stage2, opt_func=ranger),
            frozen=frozen, accumulated=lambda segs: stage2(segs, cbs=GradientAccumulation(40)), half=lambda segs: stage2(segs).to_bf16(), train_metrics=with_train_metrics,
            draws=lambda segs: stage2(segs, cbs=Draws(), batch_tfms=TSRandomAugment()))

@pytest.mark.filterwarnings('ignore:CUDA is not available')
@pytest.mark.parametrize('fit', fits)
def test_each_kind_of_fit(fit, some, tmp_path):
    make = partial(fits[fit], some)
    assert_same(in_one_go(make, n=2), in_pieces(make, tmp_path/'ck', places['middle'], ('after_batch',1,False), n=2))

@pytest.mark.parametrize('how', ['fit','fit_flat_cos'])
def test_other_schedules(how, some, tmp_path): assert_same(in_one_go(make := partial(stage2, some), how=how), in_pieces(make, tmp_path/'ck', places['middle'], how=how))

def test_from_a_store(segs, tmp_path):
    make = partial(from_store, segs, tmp_path/'store')
    assert_same(in_one_go(make), in_pieces(make, tmp_path/'ck', places['middle'], ('after_batch',1,False)))

@pytest.mark.parametrize('lost', ['set_random_state','_set_optimiser_state','_set_loader_states','_set_recorded','_set_callback_states'])
def test_what_is_not_put_back_is_missed(lost, some, whole, tmp_path, monkeypatch):
    "So that the tests above could fail"
    set_seed(0)
    broken(stage1(some), tmp_path/'ck', *places['middle'])
    monkeypatch.setattr(room, lost, lambda *a, **kw: None)
    set_seed(99)
    with pytest.raises(AssertionError): assert_same(whole[stage1], fitted(stage1(some), Checkpoint(tmp_path/'ck', 0, resume=True)))

def kill(): os.kill(os.getpid(), signal.SIGKILL)

def until_killed(make, path, where):
    "In a child process, at a batch or when a file is about to get its name"
    if isinstance(where, int):
        replace, left = os.replace, [None]*where
        os.replace = lambda *files: replace(*files) if left.pop() is None and left else kill()
    set_seed(0)
    fitted(make(), Checkpoint(path, 0, resume=True), *([] if isinstance(where, int) else [Break(*where, do=kill)]))

@pytest.mark.filterwarnings('ignore:This process')
@pytest.mark.parametrize('where', ['middle','validation','before_epoch',7], ids=str)
def test_kill_9(where, some, whole, tmp_path):
    make = partial(stage1, some)
    child = multiprocessing.get_context('fork').Process(target=until_killed, args=(make, tmp_path/'ck', places.get(where, where)))
    child.start()
    child.join(60)
    assert child.exitcode==-signal.SIGKILL and len([*tmp_path.glob('*.partial')])==(where==7)
    set_seed(99)
    assert_same(whole[stage1], fitted(make(), Checkpoint(tmp_path/'ck', 0, resume=True)))
    assert not [*tmp_path.glob('*.partial')]

# ---- when, and how many

def test_no_more_is_lost_than_the_seconds_asked_for(some, tmp_path, monkeypatch):
    "On a clock on which each batch, of training or validation, takes ten seconds"
    clock, at = SimpleNamespace(now=0), []
    monkeypatch.setattr(room, 'time', SimpleNamespace(monotonic=lambda: clock.now))
    def tick(): clock.now += 10; ticker.n = 1
    ticker, write = Break('before_batch', 1, do=tick), Checkpoint._try_to_write
    monkeypatch.setattr(Checkpoint, '_try_to_write', lambda self, where, *a: (at.append((where['epoch'], where['batch'], where['trained'])), write(self, where, *a)))
    fitted(stage2(some), Checkpoint(tmp_path/'ck', 25), ticker)
    assert at==[(0,3,False),(0,4,True), (1,3,False),(1,4,True), (2,3,False),(2,4,True), (3,0,False)]
    assert [f.name for f in Checkpoint(tmp_path/'ck').files()]==['ck.6.safetensors','ck.7.safetensors']

def test_a_fit_that_is_done_is_not_trained_again(some, whole, tmp_path, capsys):
    set_seed(0)
    fitted(stage1(some), Checkpoint(tmp_path/'ck', keep=3))
    again = fitted(stage1(some), Checkpoint(tmp_path/'ck', resume=True), Break('before_batch', 1), Break('before_epoch', 1), SaveWeights(tmp_path/'w'))
    assert_same(whole[stage1], again)
    assert '3 of 3 epochs done' in capsys.readouterr().out and weights_info(tmp_path/'w')['kind']=='distance'     # its weights are written all the same: the fit may have been killed before
    Checkpoint(tmp_path/'ck').remove()
    assert [f.name for f in tmp_path.iterdir()]==['w']

def test_ctrl_c_leaves_a_checkpoint_of_the_last_batch(some, whole, tmp_path):
    set_seed(0)
    fitted(stage1(some), Checkpoint(tmp_path/'ck', 1e9), StopOnInterrupt(), Break('after_loss', n_train+2, True, lambda: os.kill(os.getpid(), signal.SIGINT)))
    file, = Checkpoint(tmp_path/'ck').files()
    assert read_checkpoint(file)['at']['train_iter']==n_train+2
    assert_same(whole[stage1], fitted(stage1(some), Checkpoint(tmp_path/'ck', resume=True), StopOnInterrupt()))

def test_the_same_learner_may_go_on(some, whole, tmp_path):
    "In a notebook, after an error: the cell once more"
    set_seed(0)
    learn, ck = stage1(some), Checkpoint(tmp_path/'ck', 0, resume=True)
    with pytest.raises(InterruptedError): fitted(learn, ck, Break('after_batch', 2, True))
    with pytest.raises(InterruptedError): fitted(learn, ck, Break('after_batch', 1, True))         # in the first batch that it goes on with
    assert_same(whole[stage1], fitted(learn, ck))
    assert '_with_events' not in vars(learn) and 'generator' not in vars(learn.dls.train.fake_l) and learn.dls.train.skip==0

@pytest.mark.parametrize('where', [('after_batch',1,True), ('before_train',1)])
def test_a_resume_that_fails_leaves_nothing_behind(where, some, tmp_path):
    learn = broken(stage2(some), tmp_path/'ck', *places['middle'])
    broken(learn, tmp_path/'ck', *where)
    fitted(learn, seen := Seen(), n=1)                                                             # without a Checkpoint
    assert seen.epochs==[0,0,0] and learn.train_iter==n_train

def test_with_progress_bars(some, whole, tmp_path, capsys):
    for where in ('middle','validation','end'):
        broken(stage1(some), tmp_path/where, *places[where])
        stage1(some).fit_one_cycle(n_epoch, 3e-3, cbs=Checkpoint(tmp_path/where, resume=True))
    assert 'valid_loss' in capsys.readouterr().out

# ---- beside other callbacks

def test_epochs_that_are_done_happen_to_nobody(some, tmp_path):
    "fastai's own resume overwrites their checkpoints, and its trackers fail on rows that are not there"
    def cbs(): return SaveModelCallback(every_epoch=True, fname=str(tmp_path/'model')), SaveModelCallback(fname=str(tmp_path/'best')), Seen()
    learn = stage2(some)
    with pytest.raises(InterruptedError): fitted(learn, Checkpoint(tmp_path/'ck', 0), Break('after_batch', 2*n_train+1, True), *cbs())
    written = {f: f.stat().st_mtime_ns for f in tmp_path.glob('model_*.pth')}
    fitted(stage2(some), Checkpoint(tmp_path/'ck', 0, resume=True), *(more := cbs()))
    assert len(written)==2 and all(f.stat().st_mtime_ns==t for f,t in written.items()) and (tmp_path/'model_2.pth').exists()
    assert more[-1].epochs==[2,2,2]

def test_batches_are_numbered_on(some, tmp_path):
    numbers = []
    broken(stage2(some), tmp_path/'ck', *places['middle'])
    class Note(Callback):
        def before_batch(self): numbers.extend([(self.iter, self.train_iter)]*self.training)
    fitted(stage2(some), Checkpoint(tmp_path/'ck', resume=True), Note())
    assert numbers==[(i%n_train, i) for i in range(n_train+2, n_epoch*n_train)]

class Falling(Metric):
    "Best in the first epoch"
    name = 'falling'
    def accumulate(self, learn): self.value_ = -learn.epoch
    @property
    def value(self): return self.value_

def test_the_best_epoch_may_lie_before_the_break(some, tmp_path):
    def make():
        learn = stage2(some, cbs=[KeepBest('falling'), EarlyStoppingCallback('falling', patience=2)])
        learn.metrics = [Falling()]
        return learn
    a, b = in_one_go(make, n=5), in_pieces(make, tmp_path/'ck', ('after_batch',2*n_train+1,True), n=5)
    assert_same(a, b)
    assert a.keep_best.best_epoch==b.keep_best.best_epoch==0 and len(b.recorder.values)==3

def test_a_callback_may_name_what_it_remembers(some, tmp_path):
    class Counting(Callback):
        checkpointed = ('n',)
        def before_fit(self): self.n = 0
        def after_batch(self): self.n += self.training
    make = lambda: stage2(some, cbs=Counting())
    assert in_pieces(make, tmp_path/'ck', places['middle']).counting.n==n_train*n_epoch

def test_the_record_of_weights_is_whole(some, whole, tmp_path):
    set_seed(0)
    broken(stage1(some), tmp_path/'ck', *places['middle'])
    fitted(stage1(some), Checkpoint(tmp_path/'ck', resume=True), SaveWeights(tmp_path/'w.safetensors'))
    assert weights_info(tmp_path/'w.safetensors')['record']['epochs']==[[pytest.approx(v, abs=1e-6) for v in row] for row in whole[stage1].recorder.values]

def test_validation_prediction_and_lr_find_touch_nothing(some, tmp_path):
    learn = stage2(some)
    fitted(learn, Checkpoint(tmp_path/'ck', 0), n=1)
    files = {f: f.stat().st_mtime_ns for f in tmp_path.iterdir()}
    other = stage2(some, cbs=Checkpoint(tmp_path/'ck', 0, resume=True))
    other.path = tmp_path/'lr'
    start = [p.clone() for p in other.model.parameters()]
    with other.no_bar(), other.no_logging(): other.validate(); other.get_preds(); other.lr_find(num_it=6, show_plot=False, suggest_funcs=None)
    assert all(torch.equal(a, b) for a,b in zip(start, other.model.parameters())) and files=={f: f.stat().st_mtime_ns for f in tmp_path.glob('ck*')}

def of_tsai(segs):
    dls = get_ts_dls(segs.X, np.arange(len(segs)), splits=subject_splits(segs.subject), tfms=None, bs=64, num_workers=0)
    return relcon_learner(dls, euclidean, arch_config=dict(nf=2))

def test_other_loaders_go_on_between_epochs(some, tmp_path, monkeypatch):
    "tsai's, which shuffle by NumPy's generator"
    monkeypatch.chdir(tmp_path)
    make = partial(of_tsai, some)
    a = in_one_go(make)
    set_seed(0)
    with pytest.warns(DataWarning, match='TSDataLoader cannot be entered in the middle of an epoch'): broken(make(), 'ck', 'after_batch', 2*len(a.dls.train)-1, True)
    assert {(at['batch'], at['trained']) for f in Checkpoint('ck').files() for at in [read_checkpoint(f)['at']]}<={(0,False), (len(a.dls.train),True)}
    for where in [('after_batch',1,False)], []:
        set_seed(99)
        with pytest.warns(DataWarning, match='may cost an epoch'):
            if where: broken(make(), 'ck', *where[0])
            else: b = fitted(make(), Checkpoint('ck', resume=True))
    assert a.recorder.values==b.recorder.values and a.next_draw==b.next_draw
    for v,w in zip(a.model.state_dict().values(), b.model.state_dict().values()): torch.testing.assert_close(v, w, rtol=0, atol=0)

# ---- files that are damaged, disks that are full

class Trap:
    "Unpickled, it leaves a trace"
    def __init__(self, trace): self.trace = trace
    def __reduce__(self): return os.mkdir, (str(self.trace),)

damages = dict(cut=lambda f, b: f.write_bytes(b[:len(b)//2]), one_byte_short=lambda f, b: f.write_bytes(b[:-1]), one_bit=lambda f, b: f.write_bytes(b[:-1]+bytes([b[-1]^16])), empty=lambda f, b: f.write_bytes(b''),
               zeros=lambda f, b: f.write_bytes(bytes(len(b))), text=lambda f, b: f.write_bytes(b.replace(b'"train_iter', b'"trair_iter').replace(b'train_iter\\"', b'trair_iter\\"')),
               pickle=lambda f, b: f.write_bytes(pickle.dumps(Trap(f.parent/'trace'))), torch=lambda f, b: torch.save(Trap(f.parent/'trace'), f), folder=lambda f, b: (f.unlink(), f.mkdir()))

@pytest.fixture(scope='module')
def broken_late(some, tmp_path_factory):
    folder = tmp_path_factory.mktemp('broken')
    set_seed(0)
    broken(stage1(some), folder/'ck', *places['last_batch'])
    return folder

@pytest.mark.parametrize('damage', damages)
def test_a_damaged_file_is_named_and_the_one_before_used(damage, some, whole, broken_late, tmp_path):
    shutil.copytree(broken_late, tmp_path, dirs_exist_ok=True)
    older, newest = Checkpoint(tmp_path/'ck').files()
    damages[damage](newest, newest.read_bytes())
    with pytest.raises(ValueError, match=newest.name): read_checkpoint(newest)
    if damage=='folder': return
    with pytest.warns(DataWarning, match=f'{newest.name}.*going on from the one before'): resumed = fitted(stage1(some), Checkpoint(tmp_path/'ck', 0, resume=True))
    assert_same(whole[stage1], resumed)
    assert not (tmp_path/'trace').exists()
    older, newest = Checkpoint(tmp_path/'ck').files()
    for f in (older, newest): f.write_bytes(f.read_bytes()[:-9])
    with pytest.raises(ValueError, match=f'none of the checkpoints can be gone on from: .*{newest.name}.*{older.name}'): fitted(stage1(some), Checkpoint(tmp_path/'ck', resume=True))

def test_a_full_disk_ends_no_training(some, whole, tmp_path, monkeypatch):
    full, fsync, tried = iter([False, False, True, True, True]+[False]*99), os.fsync, []
    def failing(f):
        if os.path.isdir(f'/proc/self/fd/{f}'): return fsync(f)
        tried.append(f)
        if next(full): raise OSError(errno.ENOSPC, 'No space left on device')
    monkeypatch.setattr(room.os, 'fsync', failing)
    set_seed(0)
    with pytest.warns(DataWarning) as told: learn = fitted(stage1(some), Checkpoint(tmp_path/'ck', 0))
    assert_same(whole[stage1], learn)
    said, = [str(w.message) for w in told if 'no checkpoint could be written' in str(w.message)]
    assert 'No space left' in said and 'ck.2.safetensors is the last good one' in said
    assert [f.name for f in sorted(tmp_path.iterdir())]==[f'ck.{len(tried)-n}.safetensors' for n in (4,3)]

def test_a_disk_that_is_really_full(some, whole, tmp_path):
    "The kernel writes the beginning of a file and no more"
    set_seed(0)
    broken(stage1(some), tmp_path/'ck', *places['first'])
    file, = Checkpoint(tmp_path/'ck').files()
    before, old = file.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before)//2, old[1]))
    try:
        with pytest.warns(DataWarning, match=f'no checkpoint could be written.*{file.name} is the last good one'): learn = fitted(stage1(some), Checkpoint(tmp_path/'ck', 0, resume=True))
    finally: resource.setrlimit(resource.RLIMIT_FSIZE, old)
    assert_same(whole[stage1], learn)
    assert [*tmp_path.iterdir()]==[file] and file.read_bytes()==before
    assert_same(whole[stage1], fitted(stage1(some), Checkpoint(tmp_path/'ck', 0, resume=True)))

# ---- what is refused

def other_people(segs): return segs[segs.subject!=np.unique(segs.subject)[0]]
changes = {'epochs is 4, there 3': dict(fit=dict(n=4)), 'schedule of lr': dict(fit=dict(lr=1e-3)), 'schedule of mom is unset': dict(fit=dict(how='fit_flat_cos')), r'shape of backbone.stem.conv.weight is \[4, 3, 7\], there \[2, 3, 7\]': dict(make=dict(arch_config=dict(nf=4))),
           r'seed \(training\) is 4, there 3': dict(make=dict(seed=4)), 'n_groups': dict(make=dict(n_groups=5)), 'anchors': dict(make=dict(anchors='one')), 'redraw': dict(make=dict(redraw=2)),
           'subjects|segments': dict(segs=other_people), 'content': dict(segs=lambda s: type(s)(s.X*1.001, s.subject, s.time, s.rate)), 'rate is 60': dict(segs=lambda s: type(s)(s.X, s.subject, s.time, 60.)),
           'tau of RelCon is 0.2': dict(make=dict(tau=.2)), 'distance of RelCon is .manhattan': dict(make=dict(distance=lambda x, a, c: (x[a][:,None]-x[c]).abs().sum((2,3)))),
           'n_augment of RelCon is 2, there 0': dict(make=dict(options=dict(n_augment=2))), "nearest of RelCon is 3": dict(make=dict(options=dict(nearest=3))), "loss of RelCon is 'binary'": dict(make=dict(options=dict(loss='binary'))), "weight of RelCon is 0.3": dict(make=dict(options=dict(n_augment=2, own_view=True, weight=.3))), "own_view of RelCon": dict(make=dict(options=dict(n_augment=2, own_view=True, weight=.3))),
           'optimiser': dict(make=dict(opt_func=SGD)), 'transforms': dict(make=dict(batch_tfms=TSRandomAugment())), 'callbacks with a state.*keep_best': dict(make=dict(cbs=KeepBest())), 'model is .Dropping': dict(make=dict(arch=Dropping, arch_config=None))}
changes['distance of RelCon is .manhattan']['make']['distance'].__name__ = 'manhattan'

@pytest.fixture(scope='module')
def started(some, tmp_path_factory):
    path = tmp_path_factory.mktemp('started')/'ck'
    broken(stage2(some), path, *places['first'])
    return path

@pytest.mark.parametrize('says', changes)
def test_a_checkpoint_of_another_fit_is_refused_by_name(says, some, started):
    change = {**dict(make={}, fit={}, segs=lambda s: s), **changes[says]}
    learn = stage2(change['segs'](some), **change['make'])
    before = [p.clone() for p in learn.model.parameters()]
    with pytest.raises(ValueError, match=f'is of another fit: .*{says}'): fitted(learn, Checkpoint(started, resume=True), Break('before_batch', 1), **change['fit'])
    assert all(torch.equal(a, b) for a,b in zip(before, learn.model.parameters()))

def test_other_options_of_another_method_are_refused(some, tmp_path):
    def fit(resume, *cbs, **kw): fitted(simclr_learner(grouped(some), arch_config=dict(nf=2), bs=16, metrics=[], **kw), Checkpoint(tmp_path/'ck', 0, resume=resume), *cbs)
    fit(False, crop=64, aug_pred=4.)
    for kw,says in ((dict(crop=64, aug_pred=4., fs=dict(noise=add_noise, scale=scale)), r"fs of SimCLR is .*, there "), (dict(crop=64, aug_pred=1.), 'aug_pred of SimCLR is 1.0, there 4.0'), (dict(crop=60, aug_pred=4.), 'crop of SimCLR is 60'), (dict(crop=64, aug_pred=4., tau=.2), 'tau of SimCLR')):
        with pytest.raises(ValueError, match=f'is of another fit: .*{says}'): fit(True, **kw)

def test_another_distance_is_refused(some, tmp_path):
    broken(ranked(some), tmp_path/'ck', *places['first'])
    with pytest.raises(ValueError, match='distance of RelCon is .MotifDistance .mark'): fitted(stage2(some, MotifDistance(nf=4)), Checkpoint(tmp_path/'ck', resume=True))

def test_files_that_are_there_are_not_written_over(some, started):
    with pytest.raises(FileExistsError, match='resume=True'): fitted(stage2(some), Checkpoint(started))

@pytest.mark.parametrize('kw', [dict(seconds=-1), dict(seconds='60'), dict(seconds=float('nan')), dict(keep=0), dict(keep=1.5)])
def test_malformed_arguments(kw):
    with pytest.raises(ValueError, match=f'`{next(iter(kw))}`'): Checkpoint('ck', **kw)

# ---- the file

def test_what_is_written_is_read(tmp_path):
    content = dict(a=torch.arange(6.).view(2,3).T, b=[1., float('inf'), -0.], c=(1, 'two', None, True), d={0: torch.tensor(True), 'x.y': [torch.tensor(1.), torch.tensor(2.)]}, e=[], f=np.float32(.1), g={'x': {'y': torch.zeros(0)}},
                   h=torch.tensor(3., dtype=torch.bfloat16), i=[[.1,.2],[.3]], j=2**70, k=[torch.zeros(2), torch.ones(2)])
    got = read_checkpoint(write_checkpoint(tmp_path/'f', content))
    assert got.keys()==content.keys() and got['c']==content['c'] and got['b']==content['b'] and got['i']==content['i'] and got['j']==2**70 and got['e']==[] and got['f']==float(np.float32(.1))
    assert torch.equal(got['a'], content['a']) and torch.equal(got['d']['x.y'][1], torch.tensor(2.)) and got['d'][0].item() is True and got['g']['x']['y'].shape==(0,) and got['h'].dtype==torch.bfloat16 and torch.equal(got['k'][1], torch.ones(2))
    for bad in (object(), {(1,2): 3}, {1,2}):
        with pytest.raises(ValueError, match='`content.o`'): write_checkpoint(tmp_path/'f', dict(o=bad))
    assert [f.name for f in tmp_path.iterdir()]==['f']

def test_generators_draw_again_what_they_drew():
    def draw(): return torch.rand(3).tolist(), np.random.normal(size=3).tolist(), [random.gauss(0, 1) for _ in range(3)]
    np.random.normal(), random.gauss(0, 1)                                                # both keep the second of a pair for later
    state = random_state()
    first = draw()
    assert draw()!=first
    set_random_state(state)
    assert draw()==first

# ---- what a review found

def test_validating_after_a_fit_that_died_leaves_its_checkpoints(some, tmp_path):
    class Dies(Callback):
        order = 90
        def after_batch(self):
            if self.training and self.train_iter==n_train+2: raise RuntimeError('died')
    ck = Checkpoint(tmp_path/'ck', seconds=0)
    learn = stage2(some, cbs=ck)
    with learn.no_bar(), learn.no_logging(), pytest.raises(RuntimeError, match='died'): learn.fit_one_cycle(n_epoch, 1e-2, cbs=Dies())
    before = {f.name: f.read_bytes() for f in ck.files()}
    with learn.no_bar(): learn.validate()
    assert {f.name: f.read_bytes() for f in ck.files()}==before and len(before)==2

@pytest.mark.parametrize('kw', [dict(path=None), dict(path=''), dict(seconds=None), dict(keep=None), dict(keep=True)])
def test_more_bad_arguments(kw):
    with pytest.raises(ValueError, match=f'`{next(iter(kw))}` is'): Checkpoint(**{**dict(path='x'), **kw})

def test_an_attention_and_another_stores_recordings_tell_fits_apart(some, tmp_path):
    torch.manual_seed(0); net = MotifDistance(nf=4)
    def settings(learn):
        learn.create_opt()
        return room._settings(learn)
    a, b = (settings(stage2(some, net)) for _ in range(2))
    net.attention, net.config['attention'] = 'softmax', 'softmax'
    assert a==b!=settings(stage2(some, net))
    def of_store(name, sign):
        with create_store(tmp_path/name, 50, 60.) as w:
            for who in np.unique(some.subject): w.append(sign*np.concatenate(some.X[some.subject==who][:40], 1).T, who)
        return room._of_loader(relcon_dls(open_store(tmp_path/name, 128), n_groups=2, n_within=2, small_groups='drop', seed=0).train)
    assert of_store('one', 1)!=of_store('two', -1)

def test_a_distance_that_was_fitted_before_knows_on_what(some, tmp_path):
    for motion in (False, True):
        def fit(): return fitted(motif_learner(grouped(some), MotifDistance(nf=2), metrics=[], motion_only=motion), Checkpoint(tmp_path/f'{motion}', resume=True), SaveWeights(tmp_path/f'{motion}.safetensors', overwrite=True), n=1)
        for _ in range(2):                                                                  # the second time no epoch is left
            learn = fit()
            assert fitted_on_motion(learn)==fitted_on_motion(learn.model)==weights_info(tmp_path/f'{motion}.safetensors')['record']['motion_only']==motion
        learn.path = tmp_path
        learn.save('kept')
        again = motif_learner(grouped(some), MotifDistance(nf=2), metrics=[], motion_only=motion, path=tmp_path).load('kept')
        assert fitted_on_motion(again)==motion

def first_of(x, fs, generator=None): return fs[0](x, generator=generator)
def noisy(sd): return dict(noise=partial(add_noise, sd=sd), scale=scale)
def other_options(some):
    "name: (a learner, the same again, one with another option)"
    torch.manual_seed(2)
    masked = [MaskedDistance(nf=2) for _ in range(2)]
    def rebar(net): return rebar_learner(grouped(some), net, arch_config=dict(nf=2))
    def mvp(r): return mvp_learner(grouped(some), bs=16, arch_config=dict(nf=2), r=r)
    def motif(sd): return motif_learner(grouped(some), MotifDistance(nf=2), bs=16, metrics=[], fs=noisy(sd))
    def contrast(sd): return simclr_learner(grouped(some), bs=16, arch_config=dict(nf=2), fs=noisy(sd))
    def views(sd): return stage2(some, options=dict(n_augment=1, fs=noisy(sd)))
    def nested(sd): return stage2(some, options=dict(n_augment=1, fs=dict(a=partial(random_augment, n=1, fs=noisy(sd)))))
    def spectrum(g): return stage2(some, partial(spectrum_distances, gravity=g))
    def listed(f): return stage2(some, options=dict(n_augment=1, fs=dict(a=partial(first_of, fs=[f, dict(t=torch.ones(2000))]))))
    def renamed(f): return motif_learner(grouped(some), MotifDistance(nf=2), bs=16, metrics=[], n_augment=1, fs=dict(a=f))
    of = dict(listed_in_fs=(listed, add_noise, scale), nested_in_fs=(nested, .05, 5.), partial_distance=(spectrum, 0., 8.), function_of_motif=(renamed, add_noise, scale), distance_of_rebar=(rebar, *masked), r_of_mvp=(mvp, .15, .6), noise_of_motif=(motif, .05, 5.), noise_of_simclr=(contrast, .05, 5.), noise_of_relcon=(views, .05, 5.))
    return {k: tuple(partial(make, v) for v in (a, a, b)) for k,(make,a,b) in of.items()}

@pytest.mark.parametrize('name, says', [('distance_of_rebar', 'distance of REBAR'), ('r_of_mvp', 'r of MVPCallback is 0.6, there 0.15'), ('noise_of_motif', 'augmentations of MotifReconstruction'), ('noise_of_simclr', 'fs of SimCLR'), ('noise_of_relcon', 'fs of RelCon'), ('nested_in_fs', 'fs of RelCon'), ('listed_in_fs', 'fs of RelCon'), ('partial_distance', 'distance of RelCon'), ('function_of_motif', 'augmentations of MotifReconstruction')])
def test_an_option_that_changed_is_another_fit_and_the_same_is_not(name, says, some, tmp_path, monkeypatch):
    make, again, other = other_options(some)[name]
    broken(make(), tmp_path/'ck', *places['first'])
    with pytest.raises(ValueError, match=says): fitted(other(), Checkpoint(tmp_path/'ck', resume=True))
    assert '0x' not in str(room._settings(prepared(again())))                                # nothing that another process would call otherwise
    fitted(again(), Checkpoint(tmp_path/'ck', resume=True))

def test_a_resumed_fit_knows_its_segments(some, tmp_path):
    for where in ('first','end'):
        broken(stage2(some), tmp_path/where, *places[where])
        fitted(learn := stage2(some), Checkpoint(tmp_path/where, resume=True))
        fitted(again := stage2(some), Checkpoint(tmp_path/where, resume=True))                    # nothing is left of it
        for l in (learn, again): assert weights_info(save_weights(encoder_of(l), tmp_path/'e.safetensors', overwrite=True))['length']==some.X.shape[2]

def test_a_resumed_fit_of_tsais_data_knows_its_segments(some, tmp_path):
    def make(): return simclr_learner(get_ts_dls(some.X, splits=subject_splits(some.subject), tfms=None, bs=16, num_workers=0), arch_config=dict(nf=2))
    fitted(whole := make(), Checkpoint(tmp_path/'ck'), n=1)
    fitted(again := make(), Checkpoint(tmp_path/'ck', resume=True), n=1)                           # nothing is left of it
    assert trained_on(again.model)==trained_on(whole.model) and trained_on(again.model)['length']==some.X.shape[2]

def test_a_resumed_fit_knows_whom_its_first_weights_had_met(some, tmp_path):
    people = np.unique(some.subject)
    one, other = (some[np.isin(some.subject, who)] for who in (people[:2], people[2:]))
    fitted(first := simclr_learner(grouped(one), bs=16, arch_config=dict(nf=2)), n=1)
    save_weights(first, tmp_path/'e.safetensors')
    broken(stage2(other, arch=load_encoder(tmp_path/'e.safetensors'), arch_config=None), tmp_path/'ck', *places['first'])
    fitted(learn := stage2(other), Checkpoint(tmp_path/'ck', resume=True))                         # the weights of the file come from the checkpoint, and so must its memory
    assert pretrained_on(learn)==pretrained_on(encoder_of(learn))==set(subject_marks(people))
    assert [[*m] for m in trained_on(learn.model)['methods']]==[['SimCLR'], ['RelCon']]

def test_what_a_callback_saw_is_of_one_fit(some, tmp_path):
    shorter = type(some)(some.X[...,:64], some.subject, some.time, some.rate)
    for make in (partial(simclr_learner, bs=16), partial(mvp_learner, bs=16)):
        learn = make(grouped(some), arch_config=dict(nf=2))
        fitted(make(grouped(shorter), arch=deepcopy(encoder_of(learn))), Checkpoint(tmp_path/make.func.__name__), n=1)
        fitted(learn, n=1)
        learn.dls = make(grouped(shorter), arch_config=dict(nf=2)).dls
        fitted(learn, Checkpoint(tmp_path/make.func.__name__, resume=True), n=1)                   # at its end: no batch tells the length
        assert trained_on(learn.model)['length']==64

class OwnPretext(PretextCallback):
    "A pretext of a user's, with options that are no plain values"
    def __init__(self, axes=np.zeros(3), of=None, length=8): self.axes, self.of, self.length = axes, of, length
    def pretext(self, x): self.learn.yb = (x.mean(-1),)
    def loss_func(self, z, y): return z.square().mean()

def test_options_of_all_kinds_may_be_saved(some, tmp_path):
    def make(*options): return Learner(grouped(some), RelConResNet34(nf=2), loss_func=no_loss, cbs=OwnPretext(*options))
    of = {'kind': add_noise, 'n': np.int64(3), 'also': [np.float32(.5), None]}
    fitted(learn := make(np.ones(3), of), SaveWeights(tmp_path/'w.safetensors'), Checkpoint(tmp_path/'ck'), n=1)
    [told] = weights_info(tmp_path/'w.safetensors')['record']['methods']
    assert told=={'OwnPretext': {'axes': as_text(np.ones(3)), 'of': {'kind': 'add_noise', 'n': 3, 'also': [.5, None]}, 'length': 8}} and learn.own_pretext.length==8
    fitted(make(np.ones(3), of), Checkpoint(tmp_path/'ck', resume=True), n=1)
    for other in (None, np.zeros(3), [1.,1.,1.], nn.Dropout(.1)):
        with pytest.raises(ValueError, match='axes of OwnPretext is'): fitted(make(other, of), Checkpoint(tmp_path/'ck', resume=True), n=1)
    broken(make(nn.Dropout(.1)), tmp_path/'drop', *places['first'])
    with pytest.raises(ValueError, match='axes of OwnPretext is'): fitted(make(nn.Dropout(.9)), Checkpoint(tmp_path/'drop', resume=True))
    with pytest.raises(ValueError, match="of of OwnPretext is {'n': 4}, there {'n': 3}"): fitted(make(np.ones(3), of|dict(n=4)), Checkpoint(tmp_path/'ck', resume=True), n=1)

class Renamed(OwnPretext):
    "One that keeps an option under another name, and its parent's"
    def __init__(self, w, **kw): super().__init__(**kw); self._w = w

def test_an_option_that_cannot_be_told_is_said(some, tmp_path):
    learn = Learner(grouped(some), RelConResNet34(nf=2), loss_func=no_loss, cbs=Renamed(1., length=5))
    fitted(learn, SaveWeights(tmp_path/'w.safetensors'), n=1)
    assert weights_info(tmp_path/'w.safetensors')['record']['methods']==[{'Renamed': {'w': 'not told', 'axes': as_text(np.zeros(3)), 'of': None, 'length': 5}}]

def test_methods_of_ours_tell_all_their_options(some):
    made = [stage1(some), stage2(some), *(f(grouped(some), arch_config=dict(nf=2)) for f in (simclr_learner, augpred_learner, mvp_learner)), rebar_learner(grouped(some), MaskedDistance(nf=2), arch_config=dict(nf=2)), masked_learner(grouped(some), MaskedDistance(nf=2))]
    told = [cb.plain_options() for learn in made for cb in learn.cbs if isinstance(cb, RemembersTraining)]
    assert len(told)==len(made) and 'not told' not in [v for of in told for v in of.values()]

viewed = dict(own_view=True, n_augment=1)

@pytest.mark.parametrize('options, others', [(dict(nearest=np.int64(1)), dict(nearest=np.int64(3))), (dict(nearest=1), dict(nearest=np.int64(3))), (viewed|dict(weight=np.float32(.3)), viewed|dict(weight=np.float32(.9)))])
def test_numbers_of_numpy_tell_fits_apart(options, others, some, tmp_path):
    broken(stage2(some, options=options), tmp_path/'ck', *places['first'])
    with pytest.raises(ValueError, match=f'{[*options][-1]} of RelCon is'): fitted(stage2(some, options=others), Checkpoint(tmp_path/'ck', resume=True))
    fitted(stage2(some, options=options), Checkpoint(tmp_path/'ck', resume=True))

@dataclass
class Noise:
    sd: float

class Drawn:
    "An object that can be called, without a text of its own; how often it was is no option"
    def __init__(self, sd): self.sd, self.calls = sd, 0
    def __call__(self, x): self.calls += 1; return x+self.sd
    def draw(self, x): return self(x)

@dataclass
class Kept:
    value: object

class Hidden:
    "One that keeps a network under another name"
    def __init__(self, net): self._net = net

def raised(n):
    def power(x): return x**n
    return power

@pytest.mark.parametrize('one, other', [(range(3), range(5)), ({0}, {1,2}), (Path('a'), Path('b')), (torch.float32, torch.float16), (slice(3), slice(5)), (Noise(1.), Noise(5.)), (1j, 2j), (b'a', b'b'), (np.array(['a',None], object), np.array(['b',None], object)),
                                        (np.array(['a']), np.array(['b'])), (None, 0), ([1,(2,)], [1,(3,)]), (np.zeros(2, int), np.zeros(2)), (pd.Series(range(10**4)), pd.Series(range(10**4)).mask(lambda s: s==5000, 0)), ({add_noise: 1}, {scale: 1}), (dict(a=add_noise), dict(a=scale)),
                                        (Drawn(.1), Drawn(5.)), (Drawn(.1).draw, Drawn(5.).draw), (Drawn(.1).draw, Drawn(.1).__call__), (partial(Drawn(.1)), partial(Drawn(5.))), (lambda x: x+1, lambda x: x+2), (lambda x: x.a, lambda x: x.b), (raised(1), raised(2)), (Kept(MotifDistance(nf=2)), Kept(MotifDistance(nf=2))), (Hidden(MotifDistance(nf=2)), Hidden(MotifDistance(nf=2))), (Kept(np.zeros(5000)), Kept(np.r_[np.zeros(2500), 1., np.zeros(2499)])), (raised(MotifDistance(nf=2)), raised(MotifDistance(nf=2))), (lambda x, n=1: n, lambda x, n=2: n), ({1: 'a', '1': 'b'}, {'1': 'b'})])
def test_values_of_all_kinds_tell_fits_apart(one, other):
    assert as_text(partial(euclidean, at=one))==as_text(partial(euclidean, at=deepcopy(one)))!=as_text(partial(euclidean, at=other))

def test_what_changes_with_use_tells_no_fits_apart():
    one, used = Drawn(.1), Drawn(.1)
    used(0.)
    assert as_text(one)==as_text(used) and as_text(raised(1))==as_text(raised(1))!='power'
    memo = {}
    def remembered(x): return memo.setdefault(x, x)
    before = as_text(remembered)
    assert remembered(3)==3 and as_text(remembered)==before

class Node:
    def __init__(self, parent=None): self.parent, self.children = parent, [Node(self) for _ in range(3)] if parent is None else []

def deeper(n, f): return f() if n==0 else deeper(n-1, f)

def test_what_holds_itself_has_an_end_and_one_text():
    def forever(n): return forever(n)
    def even(n): return n==0 or odd(n-1)
    def odd(n): return n>0 and even(n-1)
    for v in (forever, even, Node(), [Node()]): assert len({deeper(n, lambda: as_text(v)) for n in (0, 1, 3, 50)})==1
    assert as_text(forever).startswith('forever') and as_text(even)!=as_text(odd)

def test_a_subclass_with_its_own_options_is_checkpointed(some, tmp_path):
    class Once(MotifReconstruction):
        def __init__(self): super().__init__(n_augment=1)
    def make(): return Learner(grouped(some), MotifDistance(nf=2), loss_func=no_loss, cbs=Once())
    fitted(make(), Checkpoint(tmp_path/'ck'), n=1), fitted(make(), Checkpoint(tmp_path/'ck', resume=True), n=1)

def test_options_that_are_no_numbers_are_themselves():
    one, other = (_differences(dict(w=w), dict(w=float('nan'))) for w in (float('nan'), 1.))
    assert one==[] and other==['w is 1.0, there nan']

def prepared(learn):
    learn.create_opt()
    learn.n_epoch = 1
    return learn

def test_what_cannot_be_saved_is_told_before_the_training(some, tmp_path):
    class Own(nn.Module):
        def __init__(self): super().__init__(); self.net = RelConResNet34(nf=2)
        def forward(self, x): return self.net(x)
    without_rate = get_ts_dls(some.X, splits=subject_splits(some.subject), tfms=None, bs=16, num_workers=0)
    for learn,says in ((stage2(some, arch=Own(), arch_config=None), 'a Own cannot be written'), (relcon_learner(without_rate, euclidean, arch_config=dict(nf=2)), '`rate` is missing')):
        before = [p.clone() for p in learn.model.parameters()]
        with pytest.raises(ValueError, match=says): fitted(learn, SaveWeights(tmp_path/'w.safetensors'))
        assert all(torch.equal(p, q) for p,q in zip(learn.model.parameters(), before))
    weights = []
    for cbs in ([], [SaveWeights(tmp_path/'w.safetensors', rate=50, length=128)]):                # looking on changes nothing
        set_seed(0)
        weights.append([*fitted(simclr_learner(without_rate, arch_config=dict(nf=2)), *cbs, n=1).model.parameters()])
    assert all(torch.equal(p, q) for p,q in zip(*weights))
    assert weights_info(tmp_path/'w.safetensors')['rate']==50
    def of_tsai(): return relcon_learner(without_rate, euclidean, arch_config=dict(nf=2))
    for learn,wrong,says in ((stage2(some), dict(length=99), '`length` is 99; its segments have 128 samples'), (stage2(some), dict(rate=60.), '`rate` is 60; its segments have 50 Hz'), (of_tsai(), dict(rate=50, length=100), '`length` is 100; its segments have 128 samples'),
                             (stage2(some), dict(epochs=10), '`epochs` is 10, which a Learner tells itself'), (stage2(some), dict(columns=1), '`columns` is 1, which a Learner tells itself'), (stage1(some), dict(motion_only=True), '`motion_only` is True, which a Learner tells itself'),
                             *((of_tsai(), dict(rate=r), f'`rate` is {r!r}; wanted') for r in (-50., 'fifty', np.inf, True))):
        before = [p.clone() for p in learn.model.parameters()]
        with pytest.raises(ValueError, match=says): fitted(learn, SaveWeights(tmp_path/'u.safetensors', **wrong))
        assert all(torch.equal(p, q) for p,q in zip(learn.model.parameters(), before))
    for bad in (-50., '50', np.inf):                                                             # the data's own
        without_rate.rate = bad
        learn = simclr_learner(without_rate, arch_config=dict(nf=2))
        before = [p.clone() for p in learn.model.parameters()]
        with pytest.raises(ValueError, match='`rate` is'): fitted(learn, SaveWeights(tmp_path/'r.safetensors'))
        assert all(torch.equal(p, q) for p,q in zip(learn.model.parameters(), before))
    for wrong in ('60', -1, np.nan):
        with pytest.raises(ValueError, match='`seconds` is'): SaveWeights(tmp_path/'v.safetensors', seconds=wrong)

def test_seconds_may_be_endless(some, tmp_path):
    fitted(stage1(some), Checkpoint(tmp_path/'run', seconds=float('inf')), n=2)
    assert [f.name for f in tmp_path.glob('run.*')]==['run.1.safetensors']

def test_an_option_at_its_default_is_told_as_what_it_is(some, tmp_path):
    fitted(stage2(some), Checkpoint(tmp_path/'ck'))
    with pytest.raises(ValueError, match="is of another fit: loss of RelCon is 'binary', there 'relative'. Fit with"): fitted(stage2(some, options=dict(loss='binary')), Checkpoint(tmp_path/'ck', resume=True))
    with pytest.raises(ValueError, match="is of another fit: n_augment of RelCon is 1, there 0; .*aug_pred of RelCon is 1.0, there None; "): fitted(stage2(some, options=dict(n_augment=1, projection=(8,4), aug_pred=1.)), Checkpoint(tmp_path/'ck', resume=True))
    for path in ('run/', str(tmp_path)+'/'):
        with pytest.raises(ValueError, match='`path` is .*; wanted a folder and the beginning of a name'): Checkpoint(path)

def test_a_checkpoint_of_another_version_is_not_called_damaged(some, tmp_path, monkeypatch):
    with monkeypatch.context() as m:
        m.setattr(room, '_format', 'tsai_relcon checkpoint 1')
        broken(stage1(some), tmp_path/'ck', *places['first'])
    with pytest.raises(ValueError, match="`path`: none of the checkpoints can be gone on from: .*ck.1.safetensors is no checkpoint of this format .*, but of 'tsai_relcon checkpoint 1', which another version"): fitted(stage1(some), Checkpoint(tmp_path/'ck', resume=True))

def test_a_distance_of_motion_is_another_fit(some, tmp_path):
    fitted(motif_learner(grouped(some), MotifDistance(nf=2), metrics=[]), Checkpoint(tmp_path/'ck', 0))
    with pytest.raises(ValueError, match='motion_only of MotifReconstruction is True, there False'): fitted(motif_learner(grouped(some), MotifDistance(nf=2), metrics=[], motion_only=True), Checkpoint(tmp_path/'ck', resume=True))

def test_of_options_by_name_those_that_differ_are_told():
    now, then = {'fs': dict(noise='f', scale='g'), 'tau': .1}, {'fs': dict(noise='f', scale='h', negation='n'), 'tau': .1}
    assert _differences(now, then)==["fs is {'scale': 'g', 'negation': unset}, there {'scale': 'h', 'negation': 'n'}"] and _differences(now, now)==[]
