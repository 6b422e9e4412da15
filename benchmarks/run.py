"""What the fast paths bring: each beside the same work done the long way (reference.py), in turns, in processes of their own.

    python benchmarks/run.py DATA --record results                 # everything: about half an hour on two cores
    python benchmarks/run.py DATA --only distance loss             # what begins so

DATA is a folder of npz files (corpora.py). Of each pair of sides one runs at a time, a repetition each in turn after one to warm up; given are the medians, the lowest and the highest, and their ratio. Inputs are real segments of
256 samples at 100 Hz. Both sides compute the same: how far they are apart is told too.
"""
import argparse, json, os, resource, statistics, subprocess, sys, tempfile, time, warnings
from datetime import date
from pathlib import Path

here = Path(__file__).parent
rate, length, n_groups, n_within = 100., 256, 64, 20
n_all = n_groups*(1+n_within)

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

def step(side, data, anchors='one'):
    "Rank, embed, descend: a training step"
    torch, t, r = library()
    x, net, encoder = torch.from_numpy(some_segments(t, data)), a_distance(torch, t), t.RelConResNet34()
    if side=='reference':
        ref, opt = r.ReferenceDistance(), torch.optim.Adam(encoder.parameters(), 1e-6)
        ref.load_state_dict(net.state_dict())
        return (lambda: r.reference_step(encoder.train(), ref, opt, *grouped(torch, x, n_groups, n_within))), n_groups, None
    t.keep_freed_memory()
    index, opt, loss_func = t.grouped_index(n_groups, n_within, anchors), t.plain_adam(list(encoder.parameters()), lr=1e-6), t.RelConLoss()
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
    "One pass over 64 batches of the paper's shape, or as many as there are"
    torch, t, r = library()
    folder = Path(data)/'loader'
    if side=='reference':
        torch.manual_seed(0)
        batches = torch.utils.data.DataLoader(r.ReferenceDataset(folder/f'files_{n}', n_within), n_groups, shuffle=True)
    else: batches = t.relcon_dls(t.open_store(folder/f'store_{n}', length), n_groups=n_groups, n_within=n_within, small_groups='drop', seed=0).train
    n_batches = 4 if side=='reference' else max(4, min(len(batches), 128))
    def once():
        for _,b in zip(range(n_batches), batches): pass
    return once, n_batches*n_all, None

items = {                                                        # name: (function, its further arguments, sides, unit)
    'distance, softmax':   (distance, ('softmax',),   ('reference','library'), 'pairs'),
    'distance, sparsemax': (distance, ('sparsemax',), ('reference','library'), 'pairs'),
    'loss, forward and backward': (loss, (), ('reference','library'), 'anchors'),
    "step, the paper's batch": (step, (), ('reference','library'), 'anchors'),
    'step, every segment an anchor': (step, ('all',), ('reference','library'), 'anchors'),
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
    _, _, sides, unit = items[name]
    running = [Side(name, s, data, threads) for s in sides]
    for _ in range(repeats):
        for s in running: s.once()
    for s in running: s.close()
    values = [s.ready['value'] for s in running]
    apart = max(abs(a-b)/abs(a) for a,b in zip(*values)) if len(values)==2 and values[0] else None
    rates = {s.name: sorted(s.ready['amount']/t for t in s.times) for s in running}
    return dict(item=name, unit=unit, threads=threads, repeats=repeats, apart=apart, rates=rates, seconds={s.name: statistics.median(s.times) for s in running})

# ---- data for the loaders -----------------------------------------------------------------------------------------------------------------------

def make_loader_data(data, folder):
    "Stores of 1e4, 1e5 and 1e6 segments and folders of 1e4 and 1e5 files, of real recordings, again and again under other names"
    import numpy as np
    torch, t, r = library()
    hours = [(who, a) for name in ('stress_predict','gait_pocket','chest_casale') for who,_,a,fs in t.npz_stretches(data/f'{name}.npz') for a in [t.resample(np.asarray(a, np.float32), fs, rate)] if len(a)>600*rate]
    for n in (10_000, 100_000, 1_000_000):
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
    for n in (10_000, 100_000):
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
dls = relcon_dls(store, small_groups='drop', seed=0); x = dls.train.one_batch()[0]
print(json.dumps(dict(n=len(store), opened=opened, first=time.perf_counter()-began, shape=list(x.shape), gb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/2**20)))"""
    with tempfile.TemporaryDirectory() as folder: return json.loads(subprocess.run([sys.executable, '-W', 'ignore', '-c', code, folder], capture_output=True, text=True, check=True).stdout)

# ---- the report ---------------------------------------------------------------------------------------------------------------------------------

def ratio(m):
    a, *b = [m['rates'][s][len(m['rates'][s])//2] for s in m['rates']]
    return b[0]/a if b else None

def report(record):
    said = lambda v: f'{v[len(v)//2]:,.3g} ({v[0]:,.3g} to {v[-1]:,.3g})' if v[-1]<1000 else f'{v[len(v)//2]:,.0f} ({v[0]:,.0f} to {v[-1]:,.0f})'
    lines = ['# Speed', '', f"{record['date']}; `{record['command']}`; {record['machine']}.", '',
             'Rates a second: median (lowest to highest); the sides in turns, each in a process of its own. The ratio is that of the medians, the second side over the first. "Apart": the largest relative difference of what the two sides computed.', '',
             '| | threads | first side | second side | ratio | apart |', '|---|---|---|---|---|---|']
    for m in record['measured']:
        sides = [f'{s}: {said(v)} {m["unit"]}' for s,v in m['rates'].items()]
        sides = sides if len(sides)==2 else ['', *sides]
        lines.append(f"| {m['item']} | {m['threads']} | {sides[0]} | {sides[1]} | {'' if ratio(m) is None else f'{ratio(m):.2f}'} | {'' if m['apart'] is None else format(m['apart'], '.1e')} |")
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
    from tsai_relcon.machine import about_machine
    chosen = [n for n in items if args.only is None or n.startswith(tuple(args.only))]
    record = dict(date=str(date.today()), command=' '.join(['python benchmarks/run.py DATA', *sys.argv[2:]]), machine=about_machine(), measured=[])
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        if any(n.startswith('loader') for n in chosen): make_loader_data(args.data, folder/'loader')
        for name in chosen:
            for threads in args.threads:
                m = measure(name, folder if name.startswith('loader') else args.data, 1 if name.startswith('loader') else threads, args.repeats)
                record['measured'].append(m)
                print(f"{name}, {m['threads']} threads: " + ', '.join(f'{s} {v[len(v)//2]:,.1f} {m["unit"]}/s' for s,v in m['rates'].items()) + ('' if ratio(m) is None else f', ratio {ratio(m):.2f}'), flush=True)
                if name.startswith('loader'): break
    if args.only is None or 'billion' in args.only: record['a_billion'] = a_billion()
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
