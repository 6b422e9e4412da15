"Many pairs at once against one pair at a time, the network against its equations, the measures of a ranking against scikit-learn"
import math
import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score, roc_auc_score
from tsai_relcon.distance import MotifDistance, _softmax_read, motif_distances, neighbour_auc, nn_macro_f1
from tsai_relcon.layers import sparsemax

def trained(seed=0, **kwargs):
    torch.manual_seed(seed)
    net = MotifDistance(**kwargs).eval()
    with torch.no_grad():
        for p in net.parameters(): p.add_(.1*torch.randn_like(p))   # no affine map at its starting value
    return net

def one_pair(net, a, c, attention):
    "d(a, c) from the equations, one sample of the anchor at a time; a, c (C, L)"
    mean, std = c.mean(1, keepdim=True), (c.var(1, keepdim=True, correction=0)+1e-5).sqrt()
    w, b = net.revin.weight[:,None], net.revin.bias[:,None]
    a_n, c_n = (a-mean)/std*w+b, (c-mean)/std*w+b
    q, k, v = net.f_q(a_n[None])[0], net.f_k(c_n[None])[0], net.f_v(c_n[None])[0]
    total = 0.
    for t in range(a.shape[1]):
        scores = torch.stack([q[:,t] @ k[:,u] for u in range(c.shape[1])])/math.sqrt(64)
        p = sparsemax(scores) if attention=='sparsemax' else scores.softmax(0)
        y = net.out.weight @ sum(p[u]*v[:,u] for u in range(c.shape[1])) + net.out.bias
        rebuilt = (y-b[:,0])/(w[:,0]+1e-10)*std[:,0]+mean[:,0]
        total = total + (rebuilt-a[:,t]).square().sum()
    return total

@pytest.mark.parametrize('attention', ['sparsemax','softmax'])
@torch.no_grad()
def test_equals_the_equations(segs, attention):
    x, net = torch.from_numpy(segs.X[::700][:6,:,:48].copy()), trained()
    anchors, candidates = torch.tensor([0,3,5]), torch.tensor([[1,2],[0,4],[5,1]])
    d = motif_distances(net, x, anchors, candidates, attention)
    for i,a in enumerate(anchors):
        for j,c in enumerate(candidates[i]):
            assert d[i,j].item()==pytest.approx(one_pair(net, x[a], x[c], attention).item(), rel=1e-4)

@pytest.mark.parametrize('pairs', [1, 5, 1000])
def test_pieces_do_not_matter_and_equal_the_forward_pass(segs, pairs):
    x, net = torch.from_numpy(segs.X[::900]), trained()
    anchors = torch.arange(4)
    candidates = torch.randint(0, len(x), (4,6), generator=torch.Generator().manual_seed(0))
    d = motif_distances(net, x, anchors, candidates, pairs=pairs)
    with torch.no_grad(): rebuilt = net(x[anchors].repeat_interleave(6, 0), x[candidates.reshape(-1)])
    wanted = (rebuilt-x[anchors].repeat_interleave(6, 0)).square().sum((1,2)).view(4,6)
    torch.testing.assert_close(d, wanted, rtol=1e-4, atol=1e-4)

def test_not_symmetric_and_no_dropout_in_ranking(segs):
    x, net = torch.from_numpy(segs.X[::2000]), trained().train()
    a, c = torch.arange(2), torch.tensor([[1],[0]])
    d = motif_distances(net, x, a, c)
    assert abs(d[0,0]-d[1,0])>1e-3
    assert torch.equal(motif_distances(net, x, a, c), d) and net.training

def test_attention_weights_drop_out_in_training(segs, monkeypatch):
    "What is read: of weights a share is 0, the others are so much larger; in evaluation all of them as they are"
    x, net, read = torch.from_numpy(segs.X[::900][:12]), trained(dropout=.3), []
    monkeypatch.setattr(net, 'read', lambda weights, *more: read.append(weights.detach()))
    stats   = net.revin.stats(x[6:])
    weights = net.weights(x[:6], net.memory(x[6:], stats)[0], stats).detach()
    net(x[:6], x[6:]), net.train()(x[:6], x[6:])
    assert torch.equal(read[0], weights)
    there   = weights>0
    dropped = read[1][there]==0
    assert dropped.float().mean().item()==pytest.approx(.3, abs=.05)
    torch.testing.assert_close(read[1][there][~dropped], weights[there][~dropped]/.7)

def test_gradients_reach_every_parameter(segs):
    net = MotifDistance()
    net(torch.from_numpy(segs.X[:4]), torch.from_numpy(segs.X[4:8])).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum()>0 for n,p in net.named_parameters() if 'f_k.' not in n or 'norm' not in n)

@pytest.mark.parametrize('change,name', [
    (dict(attention='hardmax'), 'attention'), (dict(anchors=torch.tensor([9])), 'anchors'), (dict(candidates=torch.tensor([[-1]])), 'candidates'),
    (dict(candidates=torch.tensor([1,2])), 'candidates'), (dict(x=torch.zeros(3,8)), '`x`')])
def test_bad_arguments(change, name):
    args = {**dict(x=torch.zeros(4,3,64), anchors=torch.tensor([0]), candidates=torch.tensor([[1]]), attention=None), **change}
    with pytest.raises(ValueError, match=name): motif_distances(MotifDistance(), **args)

def test_bad_attention_of_the_network():
    with pytest.raises(ValueError, match='attention'): MotifDistance(attention='linear')

def test_neighbour_auc_is_the_mean_area():
    rng = np.random.default_rng(0)
    d, n = rng.random((5,30)), rng.random((5,30))<.3
    assert neighbour_auc(d, n)==pytest.approx(np.mean([roc_auc_score(n[i], -d[i]) for i in range(5)]))
    with pytest.raises(ValueError, match='neighbour'): neighbour_auc(d, np.zeros_like(n))

def test_nn_macro_f1_by_loop():
    rng = np.random.default_rng(1)
    d, labels, of_candidates, allowed = rng.random((20,9)), rng.integers(0,3,20), rng.integers(0,3,(20,9)), rng.random((20,9))<.6
    allowed[:,0] = True
    wanted = [of_candidates[i][min((d[i,j], j) for j in range(9) if allowed[i,j])[1]] for i in range(20)]
    assert nn_macro_f1(d, labels, of_candidates, allowed)==pytest.approx(f1_score(labels, wanted, average='macro'))
    with pytest.raises(ValueError, match='allowed'): nn_macro_f1(d, labels, of_candidates, np.zeros_like(allowed))

@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_stays_out_of_the_distance(segs, dtype):
    x, net = torch.from_numpy(segs.X[::2000]), trained()
    a, c = torch.arange(2), torch.tensor([[1,2],[0,3]])
    d = motif_distances(net, x, a, c)
    with torch.autocast('cpu', torch.bfloat16): assert torch.equal(motif_distances(net, x, a, c), d)
    got = motif_distances(net, x.to(dtype), a, c)
    assert got.dtype==torch.float32
    torch.testing.assert_close(got, motif_distances(net, x.to(dtype).float(), a, c))

def test_rows_that_are_nobodys_candidate_cost_nothing(segs):
    x, net = torch.from_numpy(segs.X[::500]), trained()
    seen, f_k = [], net.f_k.forward
    net.f_k.forward = lambda c: seen.append(len(c)) or f_k(c)
    motif_distances(net, x, torch.arange(3), torch.tensor([[4,5],[5,6],[4,6]]))
    assert seen==[3]

def test_no_candidates():
    assert motif_distances(MotifDistance(), torch.zeros(4,3,64), torch.tensor([0,1]), torch.zeros(2,0,dtype=torch.int64)).shape==(2,0)
    with pytest.raises(ValueError, match='`pairs` is 0'): motif_distances(MotifDistance(), torch.zeros(4,3,64), torch.tensor([0]), torch.tensor([[1]]), pairs=0)

@pytest.mark.parametrize('change,says', [(dict(anchors=torch.tensor([0.])), '`anchors` holds torch.float32'), (dict(candidates=torch.tensor([[True]])), '`candidates` holds torch.bool'), (dict(pairs=2.5), '`pairs` is 2.5'), (dict(x=torch.zeros(4,2,64)), '`x` has 2 channels')])
def test_more_bad_arguments(change, says):
    with pytest.raises(ValueError, match=says): motif_distances(MotifDistance(), **{**dict(x=torch.zeros(4,3,64), anchors=torch.tensor([0]), candidates=torch.tensor([[1]])), **change})

@pytest.mark.parametrize('attention', ['sparsemax','softmax'])
def test_threads_do_not_matter(segs, attention):
    net, x, n = MotifDistance().eval(), torch.from_numpy(segs.X[:24]), torch.get_num_threads()
    anchors, candidates = torch.arange(12), torch.randint(0, 24, (12,7))
    try:
        torch.set_num_threads(1); one = motif_distances(net, x, anchors, candidates, attention, 8)
        torch.set_num_threads(3); assert torch.equal(motif_distances(net, x, anchors, candidates, attention, 8), one)
    finally: torch.set_num_threads(n)

@pytest.mark.parametrize('size', [1, 87.9, -60, 200, -200])
def test_softmax_of_scores_that_exp_cannot_take(size):
    spread = 0 if size==87.9 else 30                       # the sum just fits, what is read would not
    scores, value = size + spread*torch.randn(4, 9, 11), 9*torch.randn(4, 3, 11)
    torch.testing.assert_close(_softmax_read(scores, value), (value.double()@scores.double().softmax(-1).mT).float(), rtol=1e-5, atol=1e-5)
    scores[1,2,3] = torch.nan
    assert _softmax_read(scores, value)[1,:,2].isnan().all()

@pytest.mark.parametrize('attention', ['sparsemax','softmax'])
def test_without_revin_the_fast_way_is_the_forward_pass_too(segs, attention):
    torch.manual_seed(0)
    net, x = MotifDistance(revin=False, attention=attention).eval(), torch.from_numpy(segs.X[:8])
    anchors, candidates = torch.tensor([0,3]), torch.tensor([[1,2,4],[5,6,7]])
    slow = torch.stack([(net(x[a].expand(3,-1,-1), x[c])-x[a]).square().sum((1,2)) for a,c in zip(anchors, candidates)])
    torch.testing.assert_close(motif_distances(net, x, anchors, candidates), slow.detach(), rtol=1e-4, atol=1e-4)
    assert not any('revin' in name for name in net.state_dict())
    moved = x.clone(); moved[1] += 1.                                                   # nothing takes out where the candidate lies
    assert (motif_distances(net, moved, anchors, candidates)[0,0]-slow[0,0]).abs()>1e-2

@pytest.mark.parametrize('attention', ['sparsemax','softmax'])
def test_own_values_rebuild_from_real_samples(segs, attention):
    torch.manual_seed(0)
    net, x = MotifDistance(values='own', attention=attention).eval(), torch.from_numpy(segs.X[:8])
    a, c = x[[0,0,3]], x[[1,2,5]]
    a_hat = net(a, c).detach()
    assert not any(k.startswith(('f_v','out')) for k in net.state_dict())
    assert (a_hat<=c.amax(-1, keepdim=True)+1e-4).all() and (a_hat>=c.amin(-1, keepdim=True)-1e-4).all()      # mixtures of the candidate's samples
    weights = net.weights(a, net.memory(c, net.revin.stats(c))[0], net.revin.stats(c)).detach()
    torch.testing.assert_close(a_hat, c@weights.mT, rtol=1e-4, atol=1e-4)
    d = motif_distances(net, x, torch.tensor([0,3]), torch.tensor([[1,2],[5,1]]))
    torch.testing.assert_close(torch.stack([d[0,0], d[0,1], d[1,0]]), (a_hat-a).square().sum((1,2)), rtol=1e-4, atol=1e-4)

def test_unknown_values():
    with pytest.raises(ValueError, match="`values` is 'raw'"): MotifDistance(values='raw')
