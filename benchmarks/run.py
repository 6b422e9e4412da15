"""What the fast paths bring: each beside the same work done the long way (reference.py), in turns, in processes of their own.

    python benchmarks/run.py DATA --record results                 # everything: about half an hour on two cores
    python benchmarks/run.py DATA --only distance loss             # what begins so

DATA is a folder of npz files (corpora.py). Of each pair of sides one runs at a time, a repetition each in turn after one to warm up; given are the medians, the lowest and the highest, and their ratio. Inputs are real segments of
256 samples at 100 Hz. Both sides compute the same: how far they are apart is told too.
"""
import argparse, json, os, statistics, subprocess, sys, tempfile, time, warnings
from datetime import date
from pathlib import Path

here = Path(__file__).parent
rate, length, n_groups, n_within = 100., 256, 64, 20
n_all = n_groups*(1+n_within)
all_anchors = 'library, every segment an anchor'

# ---- the sides: each prepares, and returns what is timed and how much work that is ---------------------------------------------------------------

def library():
    "torch and the library, in the process that is timed"
    warnings.filterwarnings('ignore')
    import torch
    sys.path.insert(0, str(here))
    import tsai_relcon.all as t, reference as r
    torch.manual_seed(0)
    return torch, t, r

def some_segments(t, data, n=n_all, per_group=1+n_within):
    "n real segments in rows of one recording"
    segs = t.from_npz(data/'gait_pocket.npz', rate, length, cut='unlabelled')
    rows = [i for r in sorted(set(segs.recording)) for i in (segs.recording==r).nonzero()[0][:per_group*8]]
    return segs.X[(rows*(n//len(rows)+1))[:n]]

def a_distance(torch, t):
    "A distance whose attention is as sharp as a trained one's"
    net = t.MotifDistance().eval()
    with torch.no_grad():
        for p in net.parameters(): p.add_(.05*torch.randn_like(p))
    return net

def grouped(torch, x, U, W): return x.view(U, 1+W, *x.shape[1:])[:,0], x.view(U, 1+W, *x.shape[1:])[:,1:]

def distance(side, data, attention, U=n_groups):
    torch, t, r = library()
    x, net = torch.from_numpy(some_segments(t, data, U*(1+n_within))), a_distance(torch, t)
    anchor, within = grouped(torch, x, U, n_within)
    ref = r.ReferenceDistance(); ref.load_state_dict(net.state_dict())
    index = t.grouped_index(U, n_within)
    sides = dict(reference=lambda: r.grouped_order(r.reference_distances(ref, anchor, within, attention)), library=lambda: t.motif_distances(net, x, *index, attention))
    return sides[side], index[1].numel(), lambda: sides[side]().flatten()

def loss(side, data):
    torch, t, r = library()
    z, index = torch.randn(n_all, 256, requires_grad=True), t.grouped_index(n_groups, n_within)
    d = torch.rand(index[1].shape)
    anchor, within = grouped(torch, z, n_groups, n_within)
    def reference():
        value = r.reference_loss(*grouped(torch, z, n_groups, n_within), d.roll(n_groups-1, 1)); value.backward(); return value
    def fast():
        value = t.RelConLoss()(z, d, *index); value.backward(); return value
    return dict(reference=reference, library=fast)[side], len(index[0]), lambda: dict(reference=reference, library=fast)[side]().detach().view(1)

def step(side, data, U=n_groups//2):
    "Rank, embed, descend: a training step of half the paper's batch (three whole ones want 25 GB at once); for the third side every segment of it is an anchor, with as many candidates within and between"
    torch, t, r = library()
    x, net, encoder = torch.from_numpy(some_segments(t, data, U*(1+n_within))), a_distance(torch, t), t.RelConResNet34()
    if side=='reference':
        ref, opt = r.ReferenceDistance(), torch.optim.Adam(encoder.parameters(), 1e-6)
        ref.load_state_dict(net.state_dict())
        return (lambda: r.reference_step(encoder.train(), ref, opt, *grouped(torch, x, U, n_within))), U, None
    t.keep_freed_memory()
    index, opt, loss_func = t.grouped_index(U, n_within, 'all' if side==all_anchors else 'one'), t.plain_adam(list(encoder.parameters()), lr=1e-6), t.RelConLoss()
    def once():
        d = t.motif_distances(net, x, *index)
        loss_func(encoder.train()(x), d, *index).backward()
        opt.step(); opt.zero_grad()
    return once, len(index[0]), None

def encoder_step(side, data, n=n_all):
    torch, t, _ = library()
    x, encoder = torch.from_numpy(some_segments(t, data, n)), t.RelConResNet34().train()
    opt = torch.optim.Adam(encoder.parameters(), 1e-6)
    if side!='freed': t.keep_freed_memory()
    if side=='channels last':                                    # 1d convolutions know no such layout; the same network in two dimensions does
        for m in [m for m in encoder.modules() if isinstance(m, torch.nn.Conv1d)]: as_2d(torch, m)
    def once():
        with torch.autocast('cpu', torch.bfloat16, enabled=side=='bf16'): z = encoder(x)
        z.float().square().mean().backward()
        opt.step(); opt.zero_grad()
    return once, n, None

def as_2d(torch, conv):
    F = torch.nn.functional
    def forward(x):
        k = conv.kernel_size[0]-1
        if conv.stride[0]==1 and k: x = F.pad(x, (k//2, k-k//2))
        x = x[:,:,None].contiguous(memory_format=torch.channels_last)
        return F.conv2d(x, conv.weight[:,:,None].contiguous(memory_format=torch.channels_last), conv.bias, (1, conv.stride[0]))[:,:,0]
    conv.forward = forward

def loader(side, data, n):
    "Batches of the paper's shape: 4 of the reference, up to 1,024 of ours, so that what is read ahead is used as in an epoch"
    torch, t, r = library()
    folder = Path(data)/'loader'
    if side=='reference':
        torch.manual_seed(0)
        batches = torch.utils.data.DataLoader(r.ReferenceDataset(folder/f'files_{n}', n_within), n_groups, shuffle=True)
    else: batches = t.relcon_dls(t.open_store(folder/f'store_{n}', length), n_groups=n_groups, n_within=n_within, anchors='one', small_groups='drop', seed=0).train
    n_batches = 4 if side=='reference' else min(len(batches), 1024)
    def once():
        for _,b in zip(range(n_batches), batches): pass
    return once, n_batches*n_all, None

items = {                                                        # name: (function, its further arguments, sides, unit)
    'distance, softmax':   (distance, ('softmax',),   ('reference','library'), 'pairs'),
    'distance, sparsemax': (distance, ('sparsemax',), ('reference','library'), 'pairs'),
    'loss, forward and backward': (loss, (), ('reference','library'), 'anchors'),
    'step, 32 groups of 21': (step, (), ('reference','library',all_anchors), 'anchors'),
    "encoder's step, 1,344 segments: memory kept": (encoder_step, (), ('freed','kept'), 'segments'),
    "encoder's step, 336 segments: memory kept":   (encoder_step, (336,), ('freed','kept'), 'segments'),
    "encoder's step, 336 segments: bfloat16":      (encoder_step, (336,), ('kept','bf16'), 'segments'),
    "encoder's step, 336 segments: channels last": (encoder_step, (336,), ('kept','channels last'), 'segments'),
    'loader, 10,000 segments':    (loader, (10_000,),    ('reference','library'), 'segments'),
    'loader, 100,000 segments':   (loader, (100_000,),   ('reference','library'), 'segments'),
    'loader, 1,000,000 segments': (loader, (1_000_000,), ('library',), 'segments')}

# ---- a side's process, and the parent that calls them in turn -----------------------------------------------------------------------------------

def work(name, side, data, threads):
    "Prepare, say how much work a repetition is, then time one for each line that comes"
    import torch
    torch.set_num_threads(threads)
    f, args, *_ = items[name]
    once, amount, value = f(side, data, *args)
    once()
    print(json.dumps(dict(amount=amount, value=None if value is None else value().tolist())), flush=True)
    for _ in sys.stdin:
        start = time.perf_counter(); once(); print(time.perf_counter()-start, flush=True)

class Side:
    def __init__(self, name, side, data, threads):
        env = {**os.environ, 'OMP_NUM_THREADS': str(threads), 'MKL_NUM_THREADS': str(threads)}
        self.name, self.times = side, []
        self.process = subprocess.Popen([sys.executable, '-W', 'ignore', __file__, str(data), '--work', name, side, '--threads', str(threads)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)
        self.ready = json.loads(self.process.stdout.readline())
    def once(self):
        self.process.stdin.write('\n'); self.process.stdin.flush()
        self.times.append(float(self.process.stdout.readline()))
    def close(self): self.process.communicate()

def measure(name, data, threads, repeats):
    from tsai_relcon.machine import about_machine
    _, _, sides, unit = items[name]
    running = [Side(name, s, data, threads) for s in sides]
    for _ in range(repeats):
        for s in running: s.once()
    for s in running: s.close()
    values = [s.ready['value'] for s in running]
    apart = max(abs(a-b)/abs(a) for a,b in zip(*values)) if all(values) and len(values)==2 else None
    rates = {s.name: sorted(s.ready['amount']/t for t in s.times) for s in running}
    return dict(item=name, date=str(date.today()), machine=about_machine(), unit=unit, threads=threads, repeats=repeats, apart=apart, rates=rates, seconds={s.name: statistics.median(s.times) for s in running})

# ---- data for the loaders -----------------------------------------------------------------------------------------------------------------------

def make_loader_data(data, folder, sizes=(10_000, 100_000, 1_000_000), files=(10_000, 100_000)):
    "Stores of 1e4, 1e5 and 1e6 segments and folders of 1e4 and 1e5 files, of real recordings, again and again under other names"
    import numpy as np
    torch, t, r = library()
    hours = [(who, a) for name in ('stress_predict','gait_pocket','chest_casale') for who,_,a,fs in t.npz_stretches(data/f'{name}.npz') for a in [t.resample(np.asarray(a, np.float32), fs, rate)] if len(a)>600*rate]
    for n in sizes:
        if (folder/f'store_{n}').exists(): continue
        with t.create_store(folder/f'store_{n}', rate) as writer:
            held, again = 0, 0
            while held<n:
                for who,a in hours:
                    if held>=n: break
                    a = a[:int((n-held)*length+.2*length)] if (n-held)*length<len(a) else a
                    if len(a)<2*length: break
                    writer.append(a, f'{who} {again}', flat='cut'); held += len(a)//length
                else: again += 1; continue
                break
    for n in files:
        if (folder/f'files_{n}').exists(): continue
        store = t.open_store(folder/f'store_{n}', length)
        groups = store.groups()
        for g in np.flatnonzero(groups.size>n_within): r.write_reference_files(folder/f'files_{n}', store[groups.rows(g)])

def a_billion():
    "Seconds to open a store of 1e9 segments and draw the first batch, and the process's peak memory"
    code = f"""import json, resource, sys, time, warnings; warnings.filterwarnings('ignore')
sys.path.insert(0, {str(here.parent/'tests')!r})
from test_store import _sparse_store
from tsai_relcon.batches import relcon_dls
from tsai_relcon.store import open_store
folder = sys.argv[1]+'/store'
_sparse_store(folder, 87_376, 8.15, 100.)
began = time.perf_counter(); store = open_store(folder, {length}); opened = time.perf_counter()-began
dls = relcon_dls(store, n_groups=64, n_within=20, anchors='one', small_groups='drop', seed=0); x = dls.train.one_batch()[0]
print(json.dumps(dict(n=len(store), opened=opened, first=time.perf_counter()-began, shape=list(x.shape), gb=[int(l.split()[1])/2**20 for l in open('/proc/self/status') if l.startswith('VmHWM')][0])))"""
    with tempfile.TemporaryDirectory() as folder: return json.loads(subprocess.run([sys.executable, '-W', 'ignore', '-c', code, folder], capture_output=True, text=True, check=True).stdout)

# ---- the report ---------------------------------------------------------------------------------------------------------------------------------

def middle(rates): return rates[len(rates)//2]
def ratios(m):
    "Of each further side to the first"
    first, *rest = m['rates']
    return {s: middle(m['rates'][s])/middle(m['rates'][first]) for s in rest}

def report(record):
    said = lambda s, v, unit: f"{s}: {middle(v):{',.0f' if middle(v)>=100 else '.3g'}} ({v[0]:{',.0f' if middle(v)>=100 else '.3g'}} to {v[-1]:{',.0f' if middle(v)>=100 else '.3g'}}) {unit}"
    runs  = dict.fromkeys(f"`{m['command']}`, {m['date']}, {m['machine']}" for m in record['measured'])
    lines = ['# Speed', '', *[f'{i}. {r}' for i,r in enumerate(runs, 1)], '',
             'Rates a second: median (lowest to highest); the sides in turns, each in a process of its own. The ratio is that of the medians, the second side over the first. "Apart": the largest relative difference of what the two sides computed.', '',
             "Distance and loss: the same numbers in and out (the loss with its gradient). Step: the reference embeds anchors and candidates in two calls as method and release do, the library in one, with the allocator as its learners set it; in the third side "
             "the same 672 segments hold 672 anchors in place of 32, each with as many candidates, so its step is longer and its anchors a second more. Loader: the reference reads 22 files an anchor from a folder that it lists; the library reads a training split "
             "of the same recordings, an hour at a time, and serves many batches from it.", '',
             '| | run | threads | repetitions | first side | second side | ratio | apart |', '|---|---|---|---|---|---|---|---|']
    for m in record['measured']:
        first, *rest = [(s, said(s, v, m['unit'])) for s,v in m['rates'].items()]
        for s,text in rest or [(None, '')]:
            run = 1+list(runs).index(f"`{m['command']}`, {m['date']}, {m['machine']}")
            lines.append(f"| {m['item']} | {run} | {m['threads']} | {m['repeats']} | {first[1]} | {text} | {'' if s is None else f'{ratios(m)[s]:.2f}'} | {'' if m['apart'] is None else format(m['apart'], '.1e')} |")
    slower = [f"{m['item']} ({s}: {r:.2f})" for m in record['measured'] for s,r in ratios(m).items() if r<1.05]
    if slower: lines += ['', f"What did not help on this machine: {'; '.join(slower)}. fastai's `to_bf16()` has no effect on a CPU; bfloat16 was measured by autocast around the encoder."]
    b = record.get('a_billion')
    if b: lines += ['', f"A store of {b['n']:,} segments of 87,376 people, without samples on disk (zarr's fill value stands for them): opened in {b['opened']:.2f} s, the first batch of {b['shape'][0]:,} after {b['first']:.2f} s, peak memory of the process {b['gb']:.2f} GB."]
    return '\n'.join(lines)+'\n'

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('data', type=Path)
    p.add_argument('--only',    nargs='+', help='items whose names begin so')
    p.add_argument('--threads', type=int, nargs='+', default=[os.cpu_count()])
    p.add_argument('--repeats', type=int, default=5)
    p.add_argument('--folder',  type=Path, help='where stores and files for the loaders are made, several GB (default: a temporary one)')
    p.add_argument('--record',  type=Path, help='folder for speed.md and speed.json; what is there of other items stays')
    p.add_argument('--work',    nargs=2, help=argparse.SUPPRESS)
    args = p.parse_args()
    if args.work: return work(*args.work, args.data, args.threads[0])
    chosen  = [n for n in items if args.only is None or n.startswith(tuple(args.only))]
    billion = args.only is None or 'billion' in args.only
    if not chosen and not billion: p.error(f"--only {' '.join(args.only)} names nothing; known are {', '.join(map(repr, items))} and 'billion'")
    if args.repeats<1: p.error(f'--repeats is {args.repeats}; wanted 1 or more')
    if args.record: args.record.mkdir(parents=True, exist_ok=True)
    command, record = ' '.join(['python benchmarks/run.py DATA', *sys.argv[2:]]), dict(measured=[])
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        if any(n.startswith('loader') for n in chosen): make_loader_data(args.data, folder/'loader')
        for name in chosen:
            for threads in args.threads:
                m = measure(name, folder if name.startswith('loader') else args.data, 1 if name.startswith('loader') else threads, args.repeats)
                record['measured'].append(m | dict(command=command))
                print(f"{name}, {m['threads']} threads: " + ', '.join(f'{s} {middle(v):,.1f} {m["unit"]}/s' for s,v in m['rates'].items()) + ''.join(f', ratio {r:.2f}' for r in ratios(m).values()), flush=True)
                if name.startswith('loader'): break
    if billion: record['a_billion'] = a_billion() | dict(command=command, date=str(date.today()))
    if args.record:
        path = args.record/'speed.json'
        old = json.loads(path.read_text()) if path.exists() else {}
        new = {(m['item'], m['threads']) for m in record['measured']}
        record['measured'] = sorted([m for m in old.get('measured', []) if (m['item'], m['threads']) not in new] + record['measured'], key=lambda m: (list(items).index(m['item']), m['threads']))
        record = {**{k: v for k,v in old.items() if k=='a_billion'}, **record}
        path.write_text(json.dumps(record, indent=1)+'\n')
        (args.record/'speed.md').write_text(report(record))
    print(report(record))

if __name__=='__main__': main()
