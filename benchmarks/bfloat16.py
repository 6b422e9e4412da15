"""Does an embedding made in bfloat16 serve as well? The encoders of anchors.py, each embedding the same people in float32 and in bfloat16 (autocast), under the same probe.

    python benchmarks/bfloat16.py DATA --encoders anchors --record results

DATA is a folder of npz files, `--encoders` what anchors.py left in its `--out`.
"""
import argparse, json, warnings
from datetime import date
from pathlib import Path
import numpy as np
import torch

warnings.filterwarnings('ignore')
from torch import nn
from tsai_relcon.all import *
from tsai_relcon.machine import about_machine
from corpora import command_line, quick_scores, test_segments

class Half(nn.Module):
    "An encoder whose pass is in bfloat16"
    def __init__(self, encoder): super().__init__(); self.encoder = encoder
    def forward(self, x):
        with torch.autocast('cpu', torch.bfloat16): return self.encoder(x).float()

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('data', type=Path)
    p.add_argument('--encoders', type=Path, default=Path('anchors'))
    p.add_argument('--way',    default='all')
    p.add_argument('--seeds',  type=int, nargs='+', default=[0,1,2])
    p.add_argument('--record', type=Path, required=True)
    args = p.parse_args()
    torch.set_num_threads(1)
    tests, runs = test_segments(args.data), []
    for seed in args.seeds:
        encoder = load_encoder(args.encoders/f'{args.way}_seed{seed}.safetensors')
        runs.append(dict(seed=seed, float32=quick_scores(encoder, tests, seed=seed), bfloat16=quick_scores(Half(encoder), tests, seed=seed)))
        print(runs[-1], flush=True)
    (args.record/'bfloat16.json').write_text(json.dumps(dict(date=str(date.today()), machine=about_machine(), command=command_line(__file__, args.data), runs=runs), indent=1)+'\n')
    def cell(name, measure):
        apart = [r['bfloat16'][name][measure]-r['float32'][name][measure] for r in runs]
        return f"{np.mean([r['float32'][name][measure] for r in runs]):.3f} | {np.mean([r['bfloat16'][name][measure] for r in runs]):.3f} | {np.mean(apart):+.3f} ({min(apart):+.3f} to {max(apart):+.3f})"
    lines = ['# bfloat16', '', f"{date.today()}; `{command_line(__file__, args.data)}`; {about_machine()}.", '',
             f"Encoders of `results/anchors.md` (way: {args.way}; {len(runs)} seeds), trained in float32; macro F1 of frozen embeddings made in float32 and in bfloat16, the same people and folds. The rates of both stand in `results/speed.md`.", '',
             '| | float32 | bfloat16 | difference (lowest to highest) |', '| --- | --- | --- | --- |', *[f"| {name}, {says} | {cell(name, m)} |" for name in tests for m,says in dict(nearest='nearest neighbour', linear='linear probe').items()]]
    (args.record/'bfloat16.md').write_text('\n'.join(lines)+'\n')
    print('\n'.join(lines))

if __name__=='__main__': main()
