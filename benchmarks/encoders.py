"""Pretrain, by the recipe of benchmarks/demo.py, the encoders that benchmarks/downstream.py judges.

    python benchmarks/encoders.py --out downstream/encoders --seeds 0 1 2 --jobs 2

For each seed: the encoder of `make demo`, and one more for each of the five MotionSense folds, which has not seen the people of that fold
even without their labels. Beside each stands people.json: whose recordings it learned from. One that is there already, of the same people, is left as it is.
"""
import argparse, json
from pathlib import Path
import matplotlib
matplotlib.use('Agg')
import torch
from joblib import Parallel, delayed
import demo
from tsai_relcon.all import *
from fastai.torch_core import set_seed

def wanted(segs, seeds, n_folds):
    "(name, seed, training rows) of each encoder: what other data sets need first"
    demos = [(f'demo_seed{s}', s, subject_splits(segs.subject, .2, s)[0]) for s in seeds]
    return demos + [(f'seed{s}_fold{k}', s, train) for s in seeds for k,(train,_) in enumerate(subject_folds(segs.subject, n_folds, s))]

def make(name, seed, train, out, threads):
    folder, segs = out/name, motionsense()
    people = sorted(set(map(str, segs.subject[train])))
    if people==made_of(folder): return print(f'{name}: there already', flush=True)
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(threads)
    set_seed(seed)
    args = demo.arguments([])
    demo.pretrain(segs, train, RelConResNet34(nf=args.width), seed, args, folder)
    demo.plt.close('all')
    (folder/'people.json').write_text(json.dumps(people))
    print(f'{name}: done', flush=True)

def made_of(folder):
    "Whose recordings an encoder learned from, or None"
    return json.loads((folder/'people.json').read_text()) if (folder/'people.json').exists() else None

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--out', type=Path, default=Path('downstream/encoders'))
    p.add_argument('--seeds', type=int, nargs='+', default=[0,1,2])
    p.add_argument('--folds', type=int, default=5, help='MotionSense folds (default: 5)')
    p.add_argument('--jobs', type=int, default=2, help='encoders at a time (default: 2)')
    p.add_argument('--threads', type=int, default=1, help='threads of each (default: 1)')
    args = p.parse_args()
    Parallel(args.jobs, batch_size=1, pre_dispatch=args.jobs)(delayed(make)(*w, args.out, args.threads) for w in wanted(motionsense(), args.seeds, args.folds))

if __name__=='__main__': main()
