"The relative contrastive loss against a double loop written from the paper's formula, and what must not change it"
import math
import pytest
import torch
from tsai_relcon.losses import ContrastAndRanking, RelConLoss, WithQuestions, binary_loss, cosine_similarities, info_nce, log_ratio_loss, nt_xent, rank_correlation, relative_loss
from scipy.stats import spearmanr

def oracle(z, d, anchors, candidates, tau):
    "Equation 3, one candidate and one negative at a time"
    total = 0.
    for a, row, dist in zip(anchors.tolist(), candidates.tolist(), d.tolist()):
        s = [torch.dot(z[a], z[c])/(z[a].norm()*z[c].norm())/tau for c in row]
        for i in range(len(row)):
            denominator = torch.exp(s[i])
            for j in range(len(row)):
                if dist[j]>dist[i]: denominator = denominator + torch.exp(s[j])
            total = total - torch.log(torch.exp(s[i])/denominator)
    return total/len(anchors)

def problem(seed, dtype, ties=False):
    g = torch.Generator().manual_seed(seed)
    B, E = torch.randint(4, 20, (1,), generator=g).item(), torch.randint(2, 30, (1,), generator=g).item()
    A, K = torch.randint(1, B, (1,), generator=g).item(), torch.randint(1, B, (1,), generator=g).item()
    z = torch.randn(B, E, generator=g, dtype=dtype)
    anchors, candidates = torch.randperm(B, generator=g)[:A], torch.randint(0, B, (A,K), generator=g)
    d = torch.randint(0, 3, (A,K), generator=g).to(dtype) if ties else torch.rand(A, K, generator=g, dtype=dtype)
    return z, d, anchors, candidates

@pytest.mark.parametrize('ties', [False, True])
@pytest.mark.parametrize('tau', [.1, .35, 2.])
@pytest.mark.parametrize('dtype,tolerance', [(torch.float32, 1e-4), (torch.float64, 1e-10)])
@pytest.mark.parametrize('seed', range(6))
def test_equals_the_double_loop(seed, dtype, tolerance, tau, ties):
    z, d, anchors, candidates = problem(seed, dtype, ties)
    fast_z, slow_z = (z.clone().requires_grad_() for _ in range(2))
    fast, slow = RelConLoss(tau)(fast_z, d, anchors, candidates), oracle(slow_z, d, anchors, candidates, tau)
    assert fast.dtype==dtype
    torch.testing.assert_close(fast, slow, rtol=tolerance, atol=tolerance)
    for o in (fast, slow):
        if o.requires_grad: o.backward()
    torch.testing.assert_close(fast_z.grad, slow_z.grad, rtol=100*tolerance, atol=tolerance)

@pytest.mark.parametrize('ties', [False, True])
@pytest.mark.parametrize('seed', range(10))
def test_order_of_candidates_does_not_matter(seed, ties):
    z, d, a, c = problem(seed, torch.float64, ties)
    p = torch.rand(d.shape, generator=torch.Generator().manual_seed(seed)).argsort(1)
    torch.testing.assert_close(RelConLoss()(z, d, a, c), RelConLoss()(z, d.gather(1, p), a, c.gather(1, p)), rtol=1e-12, atol=1e-12)

@pytest.mark.parametrize('seed', range(10))
@pytest.mark.parametrize('increasing', [lambda d: 7*d+3, torch.exp, lambda d: d**3])
def test_only_the_ranking_counts(seed, increasing):
    z, d, a, c = problem(seed, torch.float64)
    assert RelConLoss()(z, increasing(d), a, c)==RelConLoss()(z, d, a, c)

@pytest.mark.parametrize('seed', range(5))
def test_rotating_and_scaling_embeddings_changes_nothing(seed):
    z, d, a, c = problem(seed, torch.float64)
    q = torch.linalg.qr(torch.randn(z.shape[1], z.shape[1], dtype=z.dtype, generator=torch.Generator().manual_seed(seed)))[0]
    torch.testing.assert_close(RelConLoss()(3*z@q, d, a, c), RelConLoss()(z, d, a, c), rtol=1e-10, atol=1e-10)

def test_the_order_of_distances_does_matter():
    z, d, a, c = problem(3, torch.float64)
    assert abs(RelConLoss()(z, -d, a, c) - RelConLoss()(z, d, a, c))>1e-3

@pytest.mark.parametrize('dtype', [torch.float32, torch.float64, torch.bfloat16])
def test_finite_for_identical_embeddings_and_small_tau(dtype):
    z = torch.ones(30, 8, dtype=dtype, requires_grad=True)
    loss = RelConLoss(.01)(z, torch.arange(29.)[None], torch.tensor([0]), torch.arange(1,30)[None])
    loss.backward()
    assert loss.item()==pytest.approx(math.lgamma(30), rel=1e-4)
    assert torch.isfinite(z.grad).all()

def test_finite_for_opposite_embeddings_and_small_tau():
    z = torch.tensor([[1.,0],[1,0],[-1,0],[-1,0]], requires_grad=True)
    loss = RelConLoss(.01)(z, torch.tensor([[3.,2,1]]), torch.tensor([0]), torch.tensor([[1,2,3]]))
    loss.backward()
    assert loss.item()==pytest.approx(400, rel=1e-4)              # two candidates at -100, the farthest at +100
    assert torch.isfinite(z.grad).all()

def test_ties_share_their_negatives():
    s = torch.zeros(1,4)
    assert relative_loss(s, torch.tensor([[1.,1,1,2]])).item()==pytest.approx(3*math.log(2))
    assert relative_loss(s, torch.tensor([[1.,2,2,2]])).item()==pytest.approx(math.log(4))
    assert relative_loss(s, torch.full((1,4), 5.)).item()==0

def test_angles_on_a_circle():
    angles = torch.tensor([0., 30, 90, 150]).deg2rad()
    z = torch.stack([angles.cos(), angles.sin()], 1)
    a, c, d = torch.tensor([0]), torch.tensor([[1,2,3]]), torch.tensor([[1.,2,3]])
    s = [math.cos(math.radians(x))/.1 for x in (30, 90, 150)]
    wanted = -math.log(math.exp(s[0])/sum(map(math.exp, s))) - math.log(math.exp(s[1])/(math.exp(s[1])+math.exp(s[2])))
    assert RelConLoss()(z, d, a, c).item()==pytest.approx(wanted, abs=1e-6)

def test_bad_temperature():
    for tau in (0, -1, float('nan')):
        with pytest.raises(ValueError, match='tau'): RelConLoss(tau)

def test_rank_correlation_is_spearmans():
    z, d, a, c = problem(4, torch.float64)
    c = torch.stack([torch.randperm(len(z))[:d.shape[1]] for _ in a])   # distinct candidates: no ties
    wanted = [spearmanr(-cosine_similarities(z, a, c)[i], d[i]).statistic for i in range(len(a))]
    assert rank_correlation(z, d, a, c).item()==pytest.approx(sum(wanted)/len(wanted), abs=1e-5)

# ---- the losses of ablations and of other methods ----------------------------------------------------------------------------------------------

def cosine(a, b): return (torch.dot(a, b)/(a.norm()*b.norm())).item()

def binary_oracle(z, d, anchors, candidates, tau):
    "The nearest candidate against all; of equally near ones the mean over them in its place"
    total = 0.
    for a, row, dist in zip(anchors.tolist(), candidates.tolist(), d.tolist()):
        e = [math.exp(cosine(z[a], z[c])/tau) for c in row]
        nearest = [i for i in range(len(row)) if dist[i]==min(dist)]
        total += sum(-math.log(e[i]/sum(e)) for i in nearest)/len(nearest)
    return total/len(anchors)

def log_ratio_oracle(z, d, anchors, candidates):
    "Every ordered pair of candidates"
    total = 0.
    for a, row, dist in zip(anchors.tolist(), candidates.tolist(), d.tolist()):
        u = z/z.norm(dim=1, keepdim=True)
        D = [max((u[a]-u[c]).square().sum().item(), 1e-6) for c in row]
        y = [max(v, 1e-6) for v in dist]
        pairs = [(math.log(D[i]/D[j]) - math.log(y[i]/y[j]))**2 for i in range(len(row)) for j in range(len(row)) if i!=j]
        total += sum(pairs)/len(pairs) if pairs else 0.
    return total/len(anchors)

@pytest.mark.parametrize('ties', [False, True])
@pytest.mark.parametrize('seed', range(6))
def test_binary_and_log_ratio_equal_their_loops(seed, ties):
    z, d, a, c = problem(seed, torch.float64, ties)
    assert RelConLoss(.3, 'binary')(z, d, a, c).item()==pytest.approx(binary_oracle(z, d, a, c, .3), rel=1e-9)
    assert RelConLoss(.3, 'log_ratio')(z, d, a, c).item()==pytest.approx(log_ratio_oracle(z, d, a, c), rel=1e-7, abs=1e-9)

@pytest.mark.parametrize('kind', ['binary','log_ratio'])
def test_their_gradients_are_finite_where_embeddings_are_equal(kind):
    z = torch.ones(9, 4, requires_grad=True)
    RelConLoss(.1, kind)(z, torch.rand(2,5), torch.tensor([0,1]), torch.arange(2,7).expand(2,5)).backward()
    assert torch.isfinite(z.grad).all()

def test_log_ratio_of_a_single_candidate_and_of_negative_distances():
    assert log_ratio_loss(torch.zeros(3,1), torch.ones(3,1))==0
    with pytest.raises(ValueError, match='`d` goes down to -1'): log_ratio_loss(torch.zeros(1,2), torch.tensor([[-1.,1]]))

def test_unknown_kind():
    with pytest.raises(ValueError, match="`kind` is 'softest'; known are 'relative'"): RelConLoss(kind='softest')

def nt_xent_oracle(z, tau):
    n, total = len(z), 0.
    for i in range(n):
        p = (i+n//2)%n
        total -= math.log(math.exp(cosine(z[i], z[p])/tau)/sum(math.exp(cosine(z[i], z[j])/tau) for j in range(n) if j!=i))
    return total/n

@pytest.mark.parametrize('B,E,tau', [(1,3,.1),(2,2,1.),(5,7,.1),(16,9,.5)])
def test_nt_xent_equals_its_loop(B, E, tau):
    z = torch.randn(2*B, E, dtype=torch.float64, generator=torch.Generator().manual_seed(B))
    assert nt_xent(z, tau).item()==pytest.approx(nt_xent_oracle(z, tau), rel=1e-10)

@pytest.mark.parametrize('weight', [.3, 2.])
def test_contrast_and_ranking_are_their_loops_added(weight):
    z, d, a, c = problem(3, torch.float64)
    z = torch.cat([z, z.flip(0)+.1])
    loss, views = ContrastAndRanking(RelConLoss(.2), weight), torch.arange(len(z)//2).repeat(2)
    assert loss(z, d, a, c, views).item()==pytest.approx(nt_xent_oracle(z, .2)+weight*oracle(z, d, a, c, .2).item(), rel=1e-9)
    assert loss(z, d, a, c)==RelConLoss(.2)(z, d, a, c)
    assert ContrastAndRanking(RelConLoss(.2, nearest=2), weight)(z, d, a, c, views).item()==pytest.approx(nt_xent_oracle(z, .2)+weight*nearest_oracle(z, d, a, c, .2, 2), rel=1e-9)

@pytest.mark.parametrize('wrong', [0, -1., float('inf'), True, '1'])
def test_a_weight_is_above_0(wrong):
    with pytest.raises(ValueError, match='`weight` is'): ContrastAndRanking(RelConLoss(), wrong)

def test_questions_stand_beside_a_loss_and_only_where_they_are_answered():
    z, d, a, c = problem(3, torch.float64)
    g, loss = torch.Generator().manual_seed(0), WithQuestions(RelConLoss(.2), 1.5)
    answers, done = torch.randn(len(z), 3, generator=g).double(), (torch.rand(len(z), 3, generator=g)<.5).double()
    p = [[1/(1+math.exp(-v)) for v in row] for row in answers.tolist()]
    asked = sum(-math.log(p[i][j] if done[i,j] else 1-p[i][j]) for i in range(len(z)) for j in range(3))/(3*len(z))
    assert loss((z, answers), d, a, c, done).item()==pytest.approx(oracle(z, d, a, c, .2).item()+1.5*asked, rel=1e-6)
    assert loss(z, d, a, c)==RelConLoss(.2)(z, d, a, c)
    for wrong in (0, float('nan'), True, '4', [.3], torch.ones(2)):
        with pytest.raises(ValueError, match='`aug_pred` is'): WithQuestions(RelConLoss(), wrong)

def test_nt_xent_of_equal_embeddings_is_chance_and_finite():
    z = torch.ones(12, 4, requires_grad=True)
    loss = nt_xent(z, .01); loss.backward()
    assert loss.item()==pytest.approx(math.log(11), rel=1e-5) and torch.isfinite(z.grad).all()

@pytest.mark.parametrize('rows', [0, 3])
def test_nt_xent_wants_pairs(rows):
    with pytest.raises(ValueError, match=f'`z` has {rows} rows'): nt_xent(torch.ones(rows, 2))

def test_info_nce_equals_its_loop_and_refuses_a_positive_that_is_out():
    g = torch.Generator().manual_seed(0)
    s, positive, part = torch.randn(6, 5, generator=g, dtype=torch.float64), torch.randint(0, 5, (6,), generator=g), torch.rand(6, 5, generator=g)<.6
    part.scatter_(1, positive[:,None], True)
    slow = sum(-math.log(math.exp(s[a,positive[a]]/.2)/sum(math.exp(s[a,k]/.2) for k in range(5) if part[a,k])) for a in range(6))/6
    assert info_nce(s, positive, part, .2).item()==pytest.approx(slow, rel=1e-10)
    part[2,positive[2]] = False
    with pytest.raises(ValueError, match='`positive`'): info_nce(s, positive, part)

def nearest_oracle(z, d, anchors, candidates, tau, n):
    "Whoever is among the n nearest in some order of the ties, as often as in all orders together"
    total = 0.
    for a, row, dist in zip(anchors.tolist(), candidates.tolist(), d.tolist()):
        e = [math.exp(cosine(z[a], z[c])/tau) for c in row]
        for i in range(len(row)):
            before, ties = sum(x<dist[i] for x in dist), sum(x==dist[i] for x in dist)
            share = min(1, max(0, (n-before)/ties))
            total -= share*math.log(e[i]/(e[i]+sum(e[j] for j in range(len(row)) if dist[j]>dist[i])))
    return total/len(anchors)

@pytest.mark.parametrize('kind', ['relative','binary','log_ratio'])
def test_an_anchor_without_candidates_costs_nothing(kind):
    assert RelConLoss(.1, kind)(torch.ones(1,4), torch.zeros(1,0), torch.tensor([0]), torch.zeros(1, 0, dtype=torch.long))==0

@pytest.mark.parametrize('ties', [False, True])
@pytest.mark.parametrize('n', [1, 3, 50])
@pytest.mark.parametrize('seed', range(4))
def test_only_the_nearest_are_positives(seed, n, ties):
    z, d, a, c = problem(seed, torch.float64, ties)
    assert RelConLoss(.2, nearest=n)(z, d, a, c).item()==pytest.approx(nearest_oracle(z, d, a, c, .2, n), rel=1e-9, abs=1e-12)
    if n==1 and not ties: assert RelConLoss(.2, nearest=1)(z, d, a, c).item()==pytest.approx(RelConLoss(.2, 'binary')(z, d, a, c).item(), rel=1e-9)
    if n==50: torch.testing.assert_close(RelConLoss(.2, nearest=n)(z, d, a, c), RelConLoss(.2)(z, d, a, c))

@pytest.mark.parametrize('wrong', [dict(nearest=0), dict(nearest=1.5), dict(nearest=True), dict(kind='binary', nearest=2)])
def test_bad_nearest(wrong):
    with pytest.raises(ValueError, match='`nearest` is'): RelConLoss(**wrong)

def test_so_many_nearest_are_one_or_more():
    s, d = torch.randn(2, 4), torch.rand(2, 4)
    for wrong in (0, -1, 1.5, True):
        with pytest.raises(ValueError, match=f'`nearest` is {wrong}'): relative_loss(s, d, nearest=wrong)
