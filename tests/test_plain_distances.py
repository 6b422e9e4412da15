"Distances for which nothing was learned, against plain loops"
import math
import numpy as np
import pytest
import torch
from tsai_relcon.plain_distances import dtw_distances, euclidean_distances, plain_distances, random_distances, spectrum_distances

@pytest.fixture
def batch(few):
    g = torch.Generator().manual_seed(0)
    return torch.from_numpy(few.X[:9,:,:32].copy()), torch.tensor([0,4,8]), torch.randint(0, 9, (3,4), generator=g)

def by_loop(f, x, anchors, candidates): return torch.tensor([[f(x[a].double(), x[c].double()) for c in row] for a,row in zip(anchors.tolist(), candidates.tolist())])

def euclid(a, c): return math.sqrt(sum((a[i,t]-c[i,t]).item()**2 for i in range(3) for t in range(32)))

def spectra(a, c, gravity=8.):
    "By the definition of the Fourier transform"
    def magnitude(s, f):
        re, im = (sum((s[t]-s.mean()).item()*wave(2*math.pi*f*t/32) for t in range(32)) for wave in (math.cos, math.sin))
        return math.hypot(re, im)
    total = sum((math.sqrt(magnitude(a[i], f))-math.sqrt(magnitude(c[i], f)))**2 for i in range(3) for f in range(1, 17))
    return math.sqrt(total + gravity**2*sum((a[i].mean()-c[i].mean()).item()**2 for i in range(3)))

def dtw(a, c, window=.1):
    "The textbook's table, with cells farther than the window from the diagonal shut"
    L, reach, D = 32, int(.1*32), {(-1,-1): 0.}
    for i in range(L):
        for j in range(L):
            if abs(i-j)<=reach: D[i,j] = (a[:,i]-c[:,j]).square().sum().item() + min(D.get(k, math.inf) for k in [(i-1,j),(i,j-1),(i-1,j-1)])
    return D[L-1,L-1]

@pytest.mark.parametrize('name, f', [('euclidean', euclid), ('spectrum', spectra)])
def test_equals_its_loop(batch, name, f):
    torch.testing.assert_close(plain_distances[name](*batch), by_loop(f, *batch).float(), rtol=2e-4, atol=2e-4)

def test_dtw_orders_as_the_textbook(batch):
    pytest.importorskip('sktime')
    fast, slow = dtw_distances(*batch), by_loop(dtw, *batch)
    ratio = fast.double()/slow.clamp(min=1e-9)
    other = slow>0
    assert torch.equal(fast[~other], torch.zeros_like(fast[~other]))
    assert torch.equal(fast.argsort(1), slow.argsort(1)) and ratio[other].std()<1e-3*ratio[other].mean()       # the same but for a unit

def test_a_spectrum_forgets_the_moment_and_not_how_the_sensor_was_worn():
    t = torch.arange(64)/32.
    x = torch.stack([torch.sin(2*math.pi*4*(t+s)).expand(3, -1) for s in (0., .06)])
    x = torch.cat([x, x[:1]+torch.tensor([0.,0,1])[:,None]])
    d = spectrum_distances(x, torch.tensor([0]), torch.tensor([[1,2]]))
    assert d[0,0]<1e-2 and d[0,1].item()==pytest.approx(8, rel=1e-3)

def test_random_numbers_are_new_each_time(batch):
    a, b = random_distances(*batch), random_distances(*batch)
    assert a.shape==(3,4) and not torch.equal(a, b)

@pytest.mark.parametrize('name', ['euclidean','spectrum'])
def test_the_same_segment_is_at_no_distance(batch, name):
    x, a, _ = batch
    assert (plain_distances[name](x, a, a[:,None])==0).all()
