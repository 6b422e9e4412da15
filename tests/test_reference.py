"The plain reference against the authors' golden numbers, then the library's fast functions against the plain reference"
import sys
from pathlib import Path
from types import SimpleNamespace
import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader
from conftest import load_golden, relative_error, to_ncl
from tsai_relcon.batches import grouped_index
from tsai_relcon.distance import MotifDistance, motif_distances
from tsai_relcon.layers import sparsemax
from tsai_relcon.learner import distance_from_release
from tsai_relcon.losses import RelConLoss
from tsai_relcon.models import RelConResNet34
sys.path.insert(0, str(Path(__file__).parent.parent/'benchmarks'))
from reference import (ReferenceDataset, ReferenceDistance, grouped_order, reference_distances, reference_loss, reference_step,
                       sparsemax as sorted_sparsemax, write_reference_files)

B, W = 5, 3
both = pytest.mark.parametrize('attention', ['softmax','sparsemax'])

def as_reference(net, **kwargs):
    "The same weights, written plainly"
    ref = ReferenceDistance(**kwargs)
    ref.load_state_dict(net.state_dict())
    return ref.eval()

@pytest.fixture(scope='module')
def released(): return distance_from_release(load_golden('motif_distance')['weights'])

@pytest.fixture(scope='module')
def batch(segs):
    "Real segments as the library groups them: (B*(1+W), C, L), an anchor and its own W in turn"
    return torch.from_numpy(segs.X[::len(segs)//(B*(1+W))][:B*(1+W)].copy())

def parts(x):
    "(B, C, L) anchors and (B, W, C, L) within-user candidates of a grouped batch"
    x = x.unflatten(0, (B, 1+W))
    return x[:,0], x[:,1:]

def moved(net, seed=0):
    "The network with every weight off its place, so that no affine map is near its starting value"
    torch.manual_seed(seed)
    with torch.no_grad():
        for p in net.parameters(): p.add_(.1*torch.randn_like(p))
    return net

# ---- the reference against the golden numbers

@both
def test_reference_distances_are_the_authors(released, attention):
    g = load_golden('motif_distance')
    x, wanted = to_ncl(g['segments']), torch.as_tensor(g[f'distance_{attention}'])
    d = reference_distances(as_reference(released), x, x.expand(8,-1,-1,-1), attention)      # every one of the eight as within-user candidate
    shifted = torch.stack([wanted[i].roll(-i)[1:] for i in range(8)])                        # anchors i+1 ... 7, 0 ... i-1
    wanted = torch.cat([shifted, wanted], 1)
    assert ((d-wanted)/wanted).abs().max()<1e-4

@pytest.mark.parametrize('tau', [.1, 1.])
def test_reference_loss_and_gradients_are_the_authors(tau):
    g = load_golden('relative_contrastive_loss')
    anchor, within = (torch.tensor(g[k], requires_grad=True) for k in ('anchor','within'))
    loss = reference_loss(anchor, within, torch.as_tensor(g['distances']).T, tau)            # their order of candidates is the reference's
    loss.backward()
    assert abs(loss.item()/g[f'loss_tau{tau}']-1)<1e-4
    assert relative_error(anchor.grad, g[f'grad_anchor_tau{tau}'])<1e-4
    assert relative_error(within.grad, g[f'grad_within_tau{tau}'])<1e-4

# ---- the library against the reference: the distance

@both
@pytest.mark.parametrize('dtype,tolerance', [(torch.float64, 1e-9), (torch.float32, 1e-5)])  # by its own rounding, the reference in float32 is off by 4e-6
def test_fast_distances(released, batch, attention, dtype, tolerance):
    net, x = MotifDistance().to(dtype).eval(), batch.to(dtype)
    net.load_state_dict(released.state_dict())
    wanted = grouped_order(reference_distances(as_reference(released).to(dtype), *parts(x), attention))
    d = motif_distances(net, x, *grouped_index(B, W, 'one'), attention)
    assert d.shape==wanted.shape==(B, B-1+W) and ((d-wanted)/wanted).abs().max()<tolerance
    assert torch.equal(d.argsort(1), wanted.argsort(1))

@both
@pytest.mark.parametrize('config', [{}, dict(nf=12, ks=7, dilations=(1,2,4))])
def test_fast_distances_of_moved_weights_and_other_sizes(batch, attention, config):
    net, x = moved(MotifDistance(**config)).double().eval(), batch.double()
    wanted = grouped_order(reference_distances(as_reference(net, **config).double(), *parts(x), attention))
    d = motif_distances(net, x, *grouped_index(B, W, 'one'), attention)
    assert ((d-wanted)/wanted).abs().max()<1e-9 and torch.equal(d.argsort(1), wanted.argsort(1))

@both
def test_reconstruction_and_its_gradients(batch, attention):
    net = moved(MotifDistance(attention=attention)).double().eval()                          # evaluation mode: no dropout
    ref = as_reference(net).double()
    a, c = batch[:4].double(), batch[4:8].double()
    ours, theirs = net(a, c), ref(a, c, attention)
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
    for rebuilt in (ours, theirs): (rebuilt-a).square().sum().backward()
    wanted = dict(ref.named_parameters())
    largest = max(p.grad.abs().max() for p in wanted.values())                               # a bias before an instance norm has none but rounding
    for name,p in net.named_parameters(): torch.testing.assert_close(p.grad, wanted[name].grad, rtol=1e-7, atol=1e-10*largest.item())

def test_sparsemax_by_newton_is_sparsemax_by_sorting():
    z = torch.randn(50, 20, dtype=torch.float64, generator=torch.Generator().manual_seed(0))*torch.logspace(-2, 2, 50, dtype=torch.float64)[:,None]
    fast, slow = z.clone().requires_grad_(), z.clone().requires_grad_()
    p, q = sparsemax(fast), sorted_sparsemax(slow)
    torch.testing.assert_close(p, q, rtol=1e-12, atol=1e-12)
    g = torch.randn(z.shape, dtype=z.dtype, generator=torch.Generator().manual_seed(1))
    for o in (p, q): (o*g).sum().backward()
    torch.testing.assert_close(fast.grad, slow.grad, rtol=1e-12, atol=1e-12)
    assert torch.equal(sorted_sparsemax(torch.tensor([3.,1,1,0])), torch.tensor([1.,0,0,0])) and torch.equal(sorted_sparsemax(torch.zeros(4)), torch.full((4,), .25))

def test_every_pass_recomputes_all_three_nets(released, batch):
    ref, sizes = as_reference(released), {n: [] for n in ('f_q','f_k','f_v')}
    for name,seen in sizes.items(): getattr(ref, name).register_forward_hook(lambda m, args, y, seen=seen: seen.append(len(args[0])))
    assert not reference_distances(ref.train(), *parts(batch)).requires_grad
    assert sizes=={n: [B]*(B-1+W) for n in sizes}

def test_dropout_plays_no_part_in_ranking(released, batch):
    ref = as_reference(released).train()
    assert not torch.equal(ref(batch[:4], batch[4:8]), ref(batch[:4], batch[4:8]))
    assert torch.equal(reference_distances(ref.train(), *parts(batch)), reference_distances(ref.train(), *parts(batch)))

@pytest.mark.parametrize('n_groups,n_within', [(5,3), (4,0), (1,3), (2,1)])
def test_grouped_order_is_the_librarys(n_groups, n_within):
    B, W = n_groups, n_within
    rows = torch.arange(B*(1+W)).view(B, 1+W)
    in_our_order = torch.stack([torch.cat([rows[i+1:,0], rows[:i,0], rows[i,1:]]) for i in range(B)])
    assert torch.equal(grouped_order(in_our_order), grouped_index(B, W, 'one')[1])

# ---- the library against the reference: the loss

@pytest.mark.parametrize('ties', [False, True])
@pytest.mark.parametrize('tau', [.02, .1, 1.])
@pytest.mark.parametrize('dtype,tolerance', [(torch.float32, 1e-5), (torch.float64, 1e-10)])
@pytest.mark.parametrize('seed', range(3))
def test_fast_loss(seed, dtype, tolerance, tau, ties):
    g = torch.Generator().manual_seed(seed)
    z = torch.randn(B*(1+W), 16, generator=g, dtype=dtype)
    d = torch.randint(0, 3, (B,B-1+W), generator=g).to(dtype) if ties else torch.rand(B, B-1+W, generator=g, dtype=dtype)
    fast_z, slow_z = z.clone().requires_grad_(), z.clone().requires_grad_()
    slow = reference_loss(*parts(slow_z), d, tau)
    fast = RelConLoss(tau)(fast_z, grouped_order(d), *grouped_index(B, W, 'one'))
    fast.backward(); slow.backward()
    assert abs(fast.item()/slow.item()-1)<tolerance
    assert relative_error(fast_z.grad, slow_z.grad)<10*tolerance

def test_ties_share_their_negatives():
    z = torch.ones(1,2), torch.ones(1,4,2)                                                   # equal similarities: log of 1 + negatives each
    assert reference_loss(*z, torch.tensor([[1.,1,1,2]])).item()==pytest.approx(3*np.log(2))
    assert reference_loss(*z, torch.tensor([[2.,1,2,2]])).item()==pytest.approx(np.log(4))
    assert reference_loss(*z, torch.full((1,4), 5.)).item()==0

def test_finite_for_opposite_embeddings_and_small_tau():
    z_anchor, z_within = torch.tensor([[1.,0]], requires_grad=True), torch.tensor([[[1.,0],[-1,0],[-1,0]]], requires_grad=True)
    loss = reference_loss(z_anchor, z_within, torch.tensor([[3.,2,1]]), .01)
    loss.backward()
    assert loss.item()==pytest.approx(400, rel=1e-4)                                         # two candidates at -100, the farthest at +100
    assert torch.isfinite(z_anchor.grad).all() and torch.isfinite(z_within.grad).all()

# ---- one step

def linear_encoder(): torch.manual_seed(0); return nn.Sequential(nn.Flatten(), nn.Linear(3*128, 8)).double()

@both
def test_a_step_is_the_librarys_step(released, batch, attention):
    x = batch.double()
    net = MotifDistance().double().eval()
    net.load_state_dict(released.state_dict())
    ours, theirs = linear_encoder(), linear_encoder()
    start = ours[1].weight.detach().clone()
    opts = [torch.optim.SGD(m.parameters(), .1) for m in (ours, theirs)]
    for _ in range(2):                                                                       # the second sees whether gradients were cleared
        index = grouped_index(B, W, 'one')
        loss = RelConLoss(.1)(ours(x), motif_distances(net, x, *index, attention), *index)
        opts[0].zero_grad(); loss.backward(); opts[0].step()
        got = reference_step(theirs, as_reference(released).double(), opts[1], *parts(x), .1, attention)
        assert got.item()==pytest.approx(loss.item(), rel=1e-9) and not got.requires_grad
    torch.testing.assert_close(theirs[1].weight, ours[1].weight, rtol=1e-9, atol=1e-12)
    assert (ours[1].weight-start).abs().max()>1e-4

def test_the_encoder_runs_twice_and_learns(released, batch):
    torch.manual_seed(0)
    encoder, sizes = RelConResNet34(nf=4), []
    encoder.register_forward_hook(lambda m, args, y: sizes.append(len(args[0])))
    ref, opt = as_reference(released), torch.optim.Adam(encoder.parameters(), 1e-3)
    before = {k: v.clone() for k,v in ref.state_dict().items()}
    losses = [reference_step(encoder, ref, opt, *parts(batch)).item() for _ in range(8)]
    assert sizes==[B, B*W]*8 and losses[-1]<losses[0]
    assert all(torch.equal(v, before[k]) for k,v in ref.state_dict().items())                # the distance stays frozen

# ---- the files

@pytest.fixture
def hours(segs):
    "Four segments in each of two hours of two people; hours are 0 and 1"
    rows = np.concatenate([np.flatnonzero(segs.subject==s)[:8] for s in np.unique(segs.subject)[:2]])
    return SimpleNamespace(X=segs.X[rows], subject=segs.subject[rows], time=np.tile(np.r_[0, 100, 200, 3599.9, 3600, 3700, 3800, 7199], 2))

def row_of(hours, x):
    "Which segment is it?"
    found = np.flatnonzero((hours.X==x.numpy()).all((1,2)))
    assert len(found)==1
    return found[0]

def test_a_file_a_segment(hours, tmp_path):
    write_reference_files(tmp_path, hours)
    files = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob('*.npy'))
    assert files==sorted(f'{s}/{int(t>=3600)}/{n}.npy' for n,(s,t) in enumerate(zip(hours.subject, hours.time)))
    a = np.load(tmp_path/hours.subject[5]/'1/5.npy', allow_pickle=False)
    assert a.dtype==np.float32 and np.array_equal(a, hours.X[5].T)

def test_items_come_from_one_hour_of_one_subject(hours, tmp_path):
    torch.manual_seed(0)
    ds = ReferenceDataset(write_reference_files(tmp_path, hours), 2)
    place = [(s, t//3600) for s,t in zip(hours.subject, hours.time)]
    anchors, companies = [], set()
    for _ in range(30):
        for anchor,within in (ds[i] for i in range(len(ds))):
            assert anchor.shape==hours.X[0].shape and within.shape==(2, *anchor.shape) and anchor.is_contiguous() and anchor.dtype==torch.float32
            a, own = row_of(hours, anchor), [row_of(hours, x) for x in within]
            assert a not in own and len(set(own))==2 and {place[o] for o in own}=={place[a]}
            anchors.append(a); companies.add((a, *sorted(own)))
    assert sorted(anchors)==sorted(list(range(16))*30)                                       # each segment is the anchor of one item
    assert len(companies)==16*3                                                              # and each pair of its hour's three others was drawn

def test_the_hour_is_listed_anew_for_each_item(hours, tmp_path):
    ds = ReferenceDataset(write_reference_files(tmp_path, hours), 3)
    folder = ds.paths[0].parent
    for p in folder.iterdir():
        if p!=ds.paths[0]: np.save(folder/f'new{p.stem}.npy', np.load(p)+1); p.unlink()
    assert {tuple(x[0,:4].tolist()) for x in ds[0][1]}=={tuple(np.load(p)[:4,0].tolist()) for p in folder.glob('new*.npy')}

def test_a_plain_loader_makes_batches(hours, tmp_path):
    ds = ReferenceDataset(write_reference_files(tmp_path, hours), 3)
    def epoch(): torch.manual_seed(1); return list(DataLoader(ds, 4, shuffle=True, drop_last=True))
    once, again = epoch(), epoch()
    assert [tuple(a.shape) for a,_ in once]==[(4,3,128)]*4 and [tuple(w.shape) for _,w in once]==[(4,3,3,128)]*4
    assert all(torch.equal(p, q) for a,b in zip(once, again) for p,q in zip(a, b))           # by torch's seed alone

# ---- what is refused

def test_bad_arguments(released, hours, batch, tmp_path):
    ref, (anchor, within) = as_reference(released), parts(batch)
    with pytest.raises(ValueError, match='`attention` is .linear'): reference_distances(ref, anchor, within, 'linear')
    with pytest.raises(ValueError, match=r'`within` has shape \(4, 3, 3, 128\)'): reference_distances(ref, anchor, within[1:])
    with pytest.raises(ValueError, match='`within` is empty'): reference_distances(ref, anchor[:1], within[:1,:0])
    with pytest.raises(ValueError, match=r'`d` has shape \(5, 6\).*\(5, 7\)'): reference_loss(torch.ones(B,4), torch.ones(B,W,4), torch.ones(B,6))
    with pytest.raises(ValueError, match='`folder`'): ReferenceDataset(tmp_path, 2)
    write_reference_files(tmp_path, hours)
    with pytest.raises(FileExistsError): write_reference_files(tmp_path, hours)
    with pytest.raises(ValueError, match='`n_within` is 4; 4 hours hold fewer than 5'): ReferenceDataset(tmp_path, 4)
    hours.subject = np.array(['../x']*16)
    with pytest.raises(ValueError, match='cannot name a folder'): write_reference_files(tmp_path/'a', hours)

def test_the_reference_stands_alone():
    import subprocess
    code = "import sys, reference; bad = {'tsai_relcon','fastai','tsai'} & {m.split('.')[0] for m in sys.modules}; assert not bad, bad"
    subprocess.run([sys.executable, '-c', code], check=True, cwd=Path(__file__).parent.parent/'benchmarks')
