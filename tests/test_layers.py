"Sparsemax against the sorting algorithm of its paper, the partial convolution against a sum written out, RevIN by hand"
import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from hypothesis.extra.numpy import arrays
from tsai_relcon import layers
from tsai_relcon.layers import DilatedConvNet, InstanceNorm, PartialConv1d, RevIN, sparsemax, sparsemax_read

def by_sorting(z):
    "Martins & Astudillo (2016), algorithm 1, for one vector"
    ordered, total, tau = sorted(z, reverse=True), 0., None
    for k, v in enumerate(ordered, 1):
        total += v
        if 1+k*v>total: tau = (total-1)/k
    return [max(v-tau, 0) for v in z]

scores = arrays(np.float64, st.integers(1, 60), elements=st.one_of(st.floats(-50, 50), st.integers(-3, 3).map(float)))

@given(scores)
@settings(max_examples=300, deadline=None)
def test_sparsemax_equals_sorting(z):
    np.testing.assert_allclose(sparsemax(torch.from_numpy(z)).numpy(), by_sorting(z.tolist()), atol=1e-9)

@pytest.mark.parametrize('scale', [1e-3, 1, 30, 1e4])
@pytest.mark.parametrize('n', [1, 2, 17, 256, 5000])
def test_sparsemax_in_float32(n, scale):
    z = torch.randn(4, n, generator=torch.Generator().manual_seed(n))*scale
    p = sparsemax(z)
    wanted = torch.tensor([by_sorting(row) for row in z.double().tolist()])
    torch.testing.assert_close(p, wanted.float(), atol=2e-6*max(1, scale/10), rtol=1e-4)
    assert (p.sum(1)-1).abs().max()<1e-4 and (p>=0).all()

@pytest.mark.parametrize('dim', [0, 1, 2, -1])
def test_sparsemax_gradient(dim):
    z = torch.randn(4, 5, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    assert torch.autograd.gradcheck(lambda z: sparsemax(z, dim), (z,))

def test_sparsemax_invariances_and_half():
    z = torch.randn(7, 20, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(sparsemax(z+100), sparsemax(z), atol=2e-5, rtol=0)
    torch.testing.assert_close(sparsemax(z.flip(1)), sparsemax(z).flip(1))
    assert sparsemax(z.bfloat16()).dtype==torch.bfloat16
    torch.testing.assert_close(sparsemax(torch.zeros(1,8)), torch.full((1,8), 1/8))

def test_partial_convolution_is_the_written_sum():
    conv = PartialConv1d(2, 3, 5)
    x = torch.randn(1, 2, 9)
    w, b, y = conv.weight.detach(), conv.bias.detach(), conv(x).detach()
    for o in range(3):
        for t in range(9):
            taps = [(k, t+k-2) for k in range(5) if 0<=t+k-2<9]
            wanted = 5/len(taps)*sum(w[o,c,k]*x[0,c,u] for c in range(2) for k,u in taps) + b[o]
            assert y[0,o,t].item()==pytest.approx(wanted.item(), abs=1e-5)

def test_partial_convolution_on_segments_shorter_than_its_window():
    assert PartialConv1d(1, 1, 15)(torch.ones(1,1,4)).shape==(1,1,4)

def test_revin_with_given_statistics():
    revin = RevIN(3)
    with torch.no_grad(): revin.weight.copy_(torch.tensor([1.,2,.5])); revin.bias.copy_(torch.tensor([0.,1,-1]))
    a, c = torch.randn(2, 3, 40), 5+3*torch.randn(2, 3, 40)
    mean, std = revin.stats(c)
    torch.testing.assert_close(mean[1,2,0], c[1,2].mean())
    torch.testing.assert_close(std[1,2,0], (c[1,2].var(correction=0)+1e-5).sqrt())
    y = revin.norm(a, (mean, std))
    torch.testing.assert_close(y[1,1], (a[1,1]-mean[1,1])/std[1,1]*2+1)
    torch.testing.assert_close(revin.denorm(y, (mean, std)), a, atol=1e-4, rtol=1e-4)
    assert not revin.stats(c.requires_grad_())[0].requires_grad

def test_receptive_field_is_57_samples():
    net = DilatedConvNet(3).eval()
    for block in net.blocks: block.norm = torch.nn.Identity()    # instance norm looks at the whole segment
    net.norm = torch.nn.Identity()
    x = torch.randn(1, 3, 200, requires_grad=True)
    net(x)[0,:,100].sum().backward()
    seen = x.grad[0].abs().sum(0).nonzero()[:,0]
    assert net.receptive_field==57 and (seen.min(), seen.max())==(72, 128)

def test_even_kernel_is_refused():
    with pytest.raises(ValueError, match='ks'): DilatedConvNet(3, ks=8)

# ---- sparsemax and reading in one

@pytest.mark.parametrize('P,T,U,C', [(1,1,1,1), (2,3,5,3), (3,64,256,3), (2,17,33,64)])
@pytest.mark.parametrize('scale', [.01, 1., 30.])
def test_sparsemax_read_equals_weights_times_values(P, T, U, C, scale, monkeypatch):
    g = torch.Generator().manual_seed(0)
    scores, values = scale*torch.randn(P, T, U, generator=g), torch.randn(P, C, U, generator=g)
    wanted = values.double() @ sparsemax(scores.double()).mT
    torch.testing.assert_close(sparsemax_read(scores, values).double(), wanted, rtol=1e-5, atol=1e-5*max(1, scale))
    torch.testing.assert_close(sparsemax_read(scores.double(), values.double()), wanted)
    torch.testing.assert_close(sparsemax_read(scores.mT.contiguous().mT, values.flip(2).flip(2)).double(), wanted, rtol=1e-5, atol=1e-5*max(1, scale))   # not contiguous
    monkeypatch.setattr(layers, '_compiled', lambda: None)
    torch.testing.assert_close(sparsemax_read(scores, values).double(), wanted, rtol=1e-5, atol=1e-5*max(1, scale))

def test_sparsemax_read_of_ties_and_constants():
    values = torch.arange(12.).view(1,3,4)
    torch.testing.assert_close(sparsemax_read(torch.zeros(1,2,4), values), values.mean(-1, keepdim=True).expand(-1,-1,2))
    torch.testing.assert_close(sparsemax_read(torch.tensor([[[5.,5,-9,-9]]]), values)[0,:,0], values[0,:,:2].mean(-1))

def test_sparsemax_read_does_not_hide_nan():
    scores = torch.zeros(2,3,4); scores[1,2,1] = torch.nan
    assert sparsemax_read(scores, torch.ones(2,1,4))[1,0,2].isnan()

def test_instance_norm_is_torchs():
    x = torch.randn(3, 8, 50)
    torch.testing.assert_close(InstanceNorm()(x), torch.nn.InstanceNorm1d(8)(x))

@pytest.mark.parametrize('offset', [0., 1e3, 1e5])
def test_sparsemax_read_does_not_mind_a_constant(offset):
    g = torch.Generator().manual_seed(0)
    scores, values = (torch.randint(-64, 64, (2,5,40), generator=g)/16), torch.randn(2, 3, 40, generator=g)       # steps that float32 holds beside the offset
    torch.testing.assert_close(sparsemax_read(scores+offset, values), sparsemax_read(scores, values), rtol=1e-5, atol=1e-5)

@pytest.mark.parametrize('scores,values', [((4,8,16),(2,3,16)), ((4,8,16),(4,3,8)), ((4,8,8),(4,3,16)), ((8,16),(3,16)), ((1,2,0),(1,3,0))])
def test_sparsemax_read_refuses_shapes_that_do_not_fit(scores, values):
    with pytest.raises(ValueError, match='`scores` has shape'): sparsemax_read(torch.zeros(scores), torch.zeros(values))

def test_sparsemax_read_of_nothing(): assert sparsemax_read(torch.zeros(0,8,16), torch.zeros(0,3,16)).shape==(0,3,8)
