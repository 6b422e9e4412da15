"""Embeddings a second on one core: torch, torch in bfloat16, ONNX, and MiniRocket's features beside them.

    python benchmarks/export.py --record results             # the paper's encoder; two minutes

In turns, a repetition of each after one to warm up; given are medians, the lowest and the highest, and the ratio to torch of the medians. Segments are MotionSense's, bundled.
"""
import argparse, json, statistics, tempfile, time, warnings
from datetime import date
from pathlib import Path
import numpy as np
import torch

warnings.filterwarnings('ignore')
from sktime.transformations.rocket import MiniRocketMultivariate
from tsai_relcon.all import *
from tsai_relcon.machine import about_machine
from corpora import command_line

def in_bf16(encoder, X, bs):
    with torch.no_grad(), torch.autocast('cpu', torch.bfloat16): return np.concatenate([encoder(torch.from_numpy(X[i:i+bs])).float().numpy() for i in range(0, len(X), bs)])

def sides(args, X, folder):
    "{name: function that embeds X}"
    torch.manual_seed(0)
    encoder = RelConResNet34(nf=args.width).eval()
    onnx = OnnxEncoder(export_onnx(encoder, Path(folder)/'encoder.onnx', rate=args.rate, length=args.length), threads=1)
    rocket = MiniRocketMultivariate(random_state=0, n_jobs=1).fit(X)
    return {'torch': lambda: get_embeddings(encoder, X, bs=args.bs), 'torch, bfloat16': lambda: in_bf16(encoder, X, args.bs), 'ONNX, onnxruntime': lambda: onnx(X, bs=args.bs), 'MiniRocket, 9,996 features (sktime)': lambda: rocket.transform(X)}

def rates(all_sides, n, repeats):
    "Segments a second of each side, each repetition in turn"
    seconds = {name: [] for name in all_sides}
    for turn in range(repeats+1):
        for name,embed in all_sides.items():
            start = time.perf_counter()
            embed()
            if turn: seconds[name].append(time.perf_counter()-start)
    return {name: sorted(n/s for s in of) for name,of in seconds.items()}

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--width',   type=int, default=64)
    p.add_argument('--rate',    type=float, default=100.)
    p.add_argument('--length',  type=int, default=256)
    p.add_argument('--n',       type=int, default=512, help='segments')
    p.add_argument('--bs',      type=int, default=64, help='segments at once')
    p.add_argument('--repeats', type=int, default=5)
    p.add_argument('--record',  type=Path, required=True)
    args = p.parse_args()
    torch.set_num_threads(1)
    X = motionsense(args.rate, args.length).X[:args.n]
    with tempfile.TemporaryDirectory() as folder:
        all_sides = sides(args, X, folder)
        apart = {name: float(np.abs(f()-all_sides['torch']()).max()/np.abs(all_sides['torch']()).max()) for name,f in all_sides.items() if 'MiniRocket' not in name}
        found = rates(all_sides, len(X), args.repeats)
    record = dict(date=str(date.today()), machine=about_machine(), command=command_line(__file__, None), threads=1, n=len(X), bs=args.bs, repeats=args.repeats, rates=found, apart=apart)
    (args.record/'export.json').write_text(json.dumps(record, indent=1)+'\n')
    middle = {name: statistics.median(of) for name,of in found.items()}
    lines = ['# Embeddings a second', '', f"{record['date']}; `{record['command']}`; one thread; {record['machine']}.", '',
             f"An encoder of width {args.width}, {len(X)} segments of {args.length} samples, {args.bs} at once; {args.repeats} repetitions in turns: median (lowest to highest). Apart: the largest difference of an embedding from torch's, relative to the largest number.", '',
             '| | segments a second | of torch | apart |', '| --- | --- | --- | --- |']
    lines += [f"| {name} | {middle[name]:.0f} ({of[0]:.0f} to {of[-1]:.0f}) | {middle[name]/middle['torch']:.2f} | {f'{apart[name]:.1e}' if name in apart else ''} |" for name,of in found.items()]
    (args.record/'export.md').write_text('\n'.join(lines)+'\n')
    print('\n'.join(lines))

if __name__=='__main__': main()
