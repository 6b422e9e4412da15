"Two processes by torchrun against one process, and against the work of both done by hand"
import faulthandler, os, signal, socket, subprocess, sys
from copy import deepcopy
from functools import partial
from unittest.mock import patch
import numpy as np
import pytest
import torch
from fastai.callback.core import Callback
from fastai.learner import Metric
from fastai.optimizer import SGD
from fastai.torch_core import num_distrib, rank_distrib, set_seed
from tsai.data.core import get_ts_dls
from tsai_relcon.batches import relcon_dls
from tsai_relcon.callback import reconstruction_error
from tsai_relcon.monitor import StopOnInterrupt, ranking_metrics
from tsai_relcon.datasets import motionsense
from tsai_relcon.distance import MotifDistance
from tsai_relcon.distributed import relcon_distrib_ctx
from tsai_relcon.learner import SaveWeights, load_encoder, motif_learner, relcon_learner
from tsai_relcon.losses import rank_correlation

seconds = 150          # more than ten times what it takes; then everything is ended
seeds   = 0,1,2

# ---- what both sides make

def euclidean(x, anchors, candidates): return (x[anchors][:,None]-x[candidates]).square().sum((2,3))
def grouped(seed=0, n_groups=4, train_batches=9, valid_batches=5, n_within=3, every=8):
    return relcon_dls(motionsense()[::every], n_groups=n_groups, n_within=n_within, seed=seed, train_batches=train_batches, valid_batches=valid_batches)
def stage1(seed=0):
    set_seed(seed)
    dls = grouped()
    ranking = ranking_metrics(dls.valid.dataset.segs, n=10, seed=rank_distrib())             # another sample on each rank
    return motif_learner(dls, MotifDistance(nf=8), bs=64, metrics=[reconstruction_error, *ranking])     # of 283 segments for validation: five batches, the last one of 27
def stage2(dls=None, seed=0, distance=euclidean, **kwargs):
    set_seed(seed)
    return relcon_learner(grouped() if dls is None else dls, distance, arch_config=dict(nf=4), **kwargs)
def quietly(learn, f, *args, **kwargs):
    with learn.no_bar(), learn.no_logging(): return f(*args, **kwargs)
def weights(learn): return deepcopy(learn.model.state_dict())
def columns(learn): return [list(row) for row in learn.recorder.values]
def learned(seed, n_groups, train_batches):
    "Validation with batches of 4 groups, before training and after it with `n_groups`"
    dls, measure = grouped(seed, n_groups, train_batches, 2, 8, 2), grouped(0, 4, 1, 25, 8, 2).valid
    learn = stage2(dls, seed)
    with relcon_distrib_ctx(learn):
        before = quietly(learn, learn.validate, dl=measure)[0]
        quietly(learn, learn.fit_one_cycle, 1, 1e-3)
        return before, quietly(learn, learn.validate, dl=measure)[0]

class Seen(Callback):
    "Rows of the segments that this process draws, batch by batch, as numbers of the loader's dataset"
    order = 0
    def before_fit(self): self.rows = dict(train=[], valid=[])
    def before_batch(self):
        of = {x.numpy().tobytes(): i for i,x in enumerate(self.dl.dataset.X)}
        self.rows['train' if self.training else 'valid'].append([of[x.numpy().tobytes()] for x in self.x.data])

class Drawn(Callback):
    "A random number of each epoch"
    def before_fit(self): self.numbers = []
    def before_train(self): self.numbers.append(torch.rand(1).item())

class InterruptRank1(Callback):
    "After the ranks have asked each other, before `StopOnInterrupt` looks"
    order = 30
    def after_batch(self):
        if rank_distrib()==1 and self.training and self.iter==1: os.kill(os.getpid(), signal.SIGINT)

class Median(Metric):
    "Something that cannot be added up over ranks"
    name, value = 'median', 0.

# ---- what each rank does

def refused(learn, n=1):
    with pytest.raises(ValueError) as e:
        with relcon_distrib_ctx(learn): quietly(learn, learn.fit, n)
    assert not {'rank','world','to_detach'} & {k for dl in learn.dls.loaders for k in dl.__dict__} and 'across_ranks' not in [cb.name for cb in learn.cbs]
    return str(e.value)

def on_a_rank(folder):
    rank, r = rank_distrib(), {}
    r['heavy'] = sorted({'accelerate','fastai.distributed'} & set(sys.modules))

    learn = stage1(seed=rank)                                                       # other weights on each
    with relcon_distrib_ctx(learn):
        quietly(learn, learn.fit, 3, 1e-2, cbs=[drawn := Drawn(), SaveWeights(f'{folder}/distance{rank}.safetensors')])
        r['stage1'] = dict(rows=columns(learn), best=learn.keep_best.best_epoch, state=weights(learn), measured=list(quietly(learn, learn.validate)), drawn=drawn.numbers)

    learn = stage2(seed=rank, distance=MotifDistance(nf=8), cbs=[seen := Seen(), SaveWeights(f'{folder}/encoder{rank}.safetensors')])
    learn.metrics = [rank_correlation, *ranking_metrics(learn.dls.valid.dataset.segs, n=10)]
    learn.dls.train.seed = rank                                                     # only rank 0's counts
    with relcon_distrib_ctx(learn) as same:
        r['same'] = same is learn
        quietly(learn, learn.fit_one_cycle, 2, 1e-2)
        r['stage2'] = dict(rows=columns(learn), seen=seen.rows, pct=learn.pct_train, losses=len(learn.recorder.losses), state=weights(learn))
        r['stage2'].update(measured=list(quietly(learn, learn.validate)), distance=learn.rel_con.distance.state_dict(), predicted=quietly(learn, learn.get_preds)[0])
    r['after'] = dict(cbs=[cb.name for cb in learn.cbs], lens=[len(dl) for dl in learn.dls.loaders], kind=type(learn.model).__name__, random=torch.rand(1).item() if set_seed(0) is None else None)

    learn = stage2(grouped(train_batches=5, valid_batches=1), opt_func=partial(SGD, mom=0.), cbs=[seen := Seen()])
    with relcon_distrib_ctx(learn): quietly(learn, learn.fit, 1, .01)
    r['steps'], r['one_batch'] = weights(learn), dict(rows=columns(learn), drawn=len(seen.rows['valid']))

    learn = stage2(cbs=[StopOnInterrupt(), InterruptRank1()])
    with relcon_distrib_ctx(learn): quietly(learn, learn.fit, 1, .01)
    r['interrupted'] = dict(losses=len(learn.recorder.losses), heard=learn.stop_on_interrupt.interrupted, state=weights(learn))

    set_seed(5)
    learn = stage2()
    before = torch.get_rng_state()
    with relcon_distrib_ctx(learn): torch.rand(rank+1)
    r['random'] = torch.rand(1).item()

    odd = stage2()
    odd.metrics = Median()
    tsai_dls = get_ts_dls(motionsense()[::8].X, np.arange(500).repeat(10)[:len(motionsense()[::8])], splits=([0,1,2,3],[4,5,6,7]), tfms=None, bs=4, num_workers=0)
    r['refused'] = dict(data=refused(stage2(grouped(train_batches=4+2*rank))), few=refused(stage2(grouped(train_batches=1))), metric=refused(odd), loaders=refused(stage2(tsai_dls)))
    with pytest.raises(ValueError) as e:
        with relcon_distrib_ctx(stage2(), sync_bn=True): pass
    r['refused']['sync_bn'] = str(e.value)
    with pytest.raises(ValueError) as e:
        with relcon_distrib_ctx(learn), learn.no_bar(): learn.lr_find(show_plot=False)
    r['refused']['lr_find'] = str(e.value)

    r['learned'] = [learned(s, 4, 120) for s in seeds]
    torch.save(r, f'{folder}/{rank}.pt')

if __name__=='__main__':
    faulthandler.dump_traceback_later(seconds, exit=True)                           # a rank that waits for ever ends itself
    on_a_rank(sys.argv[1])
    sys.exit()

# ---- what is asked of them

def torchrun(*args):
    "Run this file in two processes. Ends them after a while, whatever they do"
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        port = s.getsockname()[1]
    command = [sys.executable, '-W', 'ignore', '-m', 'torch.distributed.run', '--nproc_per_node', '2', '--master_addr', '127.0.0.1', '--master_port', str(port), __file__, *map(str, args)]
    run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True, env={**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONWARNINGS': 'ignore'})
    try: out = run.communicate(timeout=seconds+20)[0]
    finally:
        if run.poll() is None:
            run.terminate()                                                         # torchrun ends its processes
            try: run.wait(35)
            except subprocess.TimeoutExpired: os.killpg(run.pid, signal.SIGKILL)
    assert run.returncode==0, out[-5000:]

@pytest.fixture(scope='module')
def folder(tmp_path_factory): return tmp_path_factory.mktemp('ranks')

@pytest.fixture(scope='module')
def ranks(folder):
    torchrun(folder)
    return [torch.load(folder/f'{r}.pt', weights_only=True) for r in (0,1)]

def assert_same(a, b, **tolerance):
    assert a.keys()==b.keys()
    for k in a: torch.testing.assert_close(a[k], b[k], msg=lambda m: f'{k}: {m}', **(tolerance or dict(rtol=0, atol=0)))

@pytest.mark.parametrize('what', ['stage1','stage2','steps','interrupted'])
def test_ranks_end_with_the_same_weights_and_buffers(ranks, what):
    a, b = (r[what] if what=='steps' else r[what]['state'] for r in ranks)
    assert_same(a, b)
    assert any(v.is_floating_point() and v.std()>0 for v in a.values())

def test_each_rank_draws_its_own_groups_and_all_together_one_plan(ranks):
    dls = grouped()                                                                 # of rank 0's seed
    assert dls.train.n_batches==9 and dls.valid.n_batches==5
    for epoch in 0,1:
        a, b = (r['stage2']['seen']['train'][4*epoch:4*epoch+4] for r in ranks)
        assert len(a)==len(b)==4 and [rows for pair in zip(a, b) for rows in pair]==[rows.tolist() for rows in dls.train.plan(epoch)[:8]]
        anchors_a, anchors_b = ({i for rows in seen for i in rows[::4]} for seen in (a, b))
        assert len(anchors_a)==len(anchors_b)==16 and not anchors_a & anchors_b
    assert ranks[0]['stage2']['seen']['train'][:4]!=ranks[0]['stage2']['seen']['train'][4:]

def test_validation_sees_every_batch_once(ranks):
    a, b = (r['stage2']['seen']['valid'] for r in ranks)
    assert (len(a), len(b))==(2*3, 2*2)                                             # two epochs of five batches
    assert sorted(a[:3]+b[:2])==sorted(rows.tolist() for rows in grouped().valid.plan(0))
    one = [r['one_batch'] for r in ranks]                                           # fewer batches than ranks
    assert [o['drawn'] for o in one]==[1,0] and one[0]['rows']==one[1]['rows'] and np.isfinite(one[1]['rows'][0]).all()

@pytest.mark.parametrize('stage', ['stage1','stage2'])
def test_validation_is_that_of_one_process(ranks, stage):
    if stage=='stage1': learn = stage1()
    else:
        learn = stage2(distance=MotifDistance(nf=8))
        learn.metrics = [rank_correlation, *ranking_metrics(learn.dls.valid.dataset.segs, n=10)]
        learn.rel_con.distance.load_state_dict(ranks[0]['stage2']['distance'])
    learn.model.load_state_dict(ranks[0][stage]['state'])
    alone = quietly(learn, learn.validate)
    assert len(alone)>=3 and ranks[0][stage]['measured']==ranks[1][stage]['measured']==pytest.approx(list(alone), rel=1e-5)
    assert learn.dls.valid.n_batches==5

@pytest.mark.parametrize('stage', ['stage1','stage2'])
def test_the_table_is_the_same_on_all_ranks(ranks, stage):
    a, b = (r[stage]['rows'] for r in ranks)
    assert a==b and len(a)=={'stage1':3, 'stage2':2}[stage] and all(np.isfinite(row).all() for row in a)
    best = [r['stage1']['best'] for r in ranks]
    assert best[0]==best[1]==int(np.argmin([row[1] for row in ranks[0]['stage1']['rows']]))

def test_schedule_and_distance_are_those_of_the_rank(ranks):
    for r in ranks:
        assert r['stage2']['losses']==8 and r['stage2']['pct']==pytest.approx(1)    # four steps an epoch
    assert_same(*(r['stage2']['distance'] for r in ranks))

def test_predictions_are_whole_on_each_rank(ranks):
    a, b = (r['stage2']['predicted'] for r in ranks)
    assert torch.equal(a, b) and a.shape==(5*16, 16)

def test_only_rank_0_writes(ranks, folder):
    assert sorted(f.name for f in folder.glob('*.safetensors'))==['distance0.safetensors','encoder0.safetensors']
    assert_same(load_encoder(folder/'encoder0.safetensors').state_dict(), ranks[0]['stage2']['state'])

def test_random_numbers_differ_in_the_fit_and_agree_after_it(ranks):
    a, b = (r['stage1']['drawn'] for r in ranks)
    assert len(set(a+b))==6
    assert ranks[0]['random']==ranks[1]['random'] and ranks[0]['after']['random']==ranks[1]['after']['random']

def test_everything_is_put_back(ranks):
    for r in ranks: assert r['same'] and r['after']['lens']==[9,5] and r['after']['kind']=='RelConResNet34'
    assert sorted(ranks[0]['after']['cbs'])==sorted(ranks[1]['after']['cbs'])==sorted(cb.name for cb in stage2(cbs=[Seen(), SaveWeights('nowhere')]).cbs)

def test_a_step_is_that_of_the_averaged_gradient(ranks):
    learn = stage2(grouped(train_batches=5))
    loss, (anchors, candidates) = learn.rel_con.loss_func, learn.dls.train.index
    both = [learn.model.train(), deepcopy(learn.model).train()]
    plan = learn.dls.train.plan(0)
    for step in 0,1:
        for model,rows in zip(both, plan[2*step:2*step+2]):
            x = learn.dls.train.dataset.X[rows]
            model.zero_grad()
            loss(model(x), euclidean(x, anchors, candidates), anchors, candidates).backward()
        with torch.no_grad():
            for p,q in zip(*(m.parameters() for m in both)):
                g = (p.grad+q.grad)/2
                p -= .01*g; q -= .01*g
    states = [m.state_dict() for m in both]
    assert any((a.float()-b.float()).abs().max()>1e-3 for a,b in zip(*(s.values() for s in states)))    # running statistics of the two
    assert_same({k: (v+states[1][k])/2 if v.is_floating_point() else v for k,v in states[0].items()}, ranks[0]['steps'], rtol=1e-3, atol=1e-6)

def test_an_interrupt_on_one_rank_ends_the_fit_on_both(ranks):
    assert [(r['interrupted']['losses'], r['interrupted']['heard']) for r in ranks]==[(3,True), (3,True)]     # of four batches; it came late in the second

def test_two_ranks_learn_as_one_with_twice_the_groups(ranks):
    "As many steps, as many anchors in each; compared by one measure, since training losses have other candidates"
    two, one = np.array(ranks[0]['learned']), np.array([learned(s, 8, 60) for s in seeds])
    assert np.array_equal(two, ranks[1]['learned'])
    np.testing.assert_allclose(two[:,0], one[:,0], rtol=1e-5)                       # the same start
    spread = np.sqrt((two[:,1].var(ddof=1) + one[:,1].var(ddof=1))/2)               # of a run, from seed to seed
    noise  = 2*spread*np.sqrt(2/len(seeds))                                         # two standard errors of a difference of two means
    gain = (one[:,0]-one[:,1]).mean()
    assert abs(two[:,1].mean()-one[:,1].mean()) < noise
    assert noise < gain/2                                                           # what was learned is more than that: weights of the start would not pass

def test_refusals_come_on_every_rank(ranks):
    for r in ranks:
        said = r['refused']
        assert '`learn` has other data' in said['data'] and '`learn` has 1 training batches' in said['few'] and "Median 'median'" in said['metric']
        assert 'relcon_dls' in said['loaders'] and '`sync_bn` is True' in said['sync_bn'] and 'lr_find' in said['lr_find']

def test_importing_it_is_cheap(ranks): assert ranks[0]['heavy']==[]

def test_in_one_process_it_changes_nothing():
    a, b = (stage2() for _ in range(2))
    quietly(a, a.fit, 1, 1e-3)
    with relcon_distrib_ctx(b) as same:
        assert same is b and sorted(cb.name for cb in b.cbs)==sorted(cb.name for cb in a.cbs)
        quietly(b, b.fit, 1, 1e-3)
    assert_same(a.model.state_dict(), b.model.state_dict())
    assert 'across_ranks' not in dir(b)

def test_without_accelerate_it_says_what_to_install():
    with patch.dict(os.environ, WORLD_SIZE='2', RANK='0'), patch.dict(sys.modules, accelerate=None):
        with pytest.raises(ModuleNotFoundError, match=r"pip install 'tsai_relcon\[distributed\]'"):
            with relcon_distrib_ctx(stage2()): pass
