"""Pictures of what methods.py has run: maps of the embeddings side by side, confusion matrices, predicted against true.

    python benchmarks/pictures.py DATA --out methods --record results --names untrained simclr relcon      # after methods.py --stages pretrain frozen, seed 0

DATA is the folder that methods.py was given, `--out` what it left there. Everybody in the pictures is unknown to the encoders.
"""
import argparse, warnings
from textwrap import fill
from pathlib import Path
import matplotlib
matplotlib.use('Agg')
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch

warnings.filterwarnings('ignore')
from tsai_relcon.all import *
from corpora import test_segments
from methods import beside, encoder_for, recipes, says, said

def embedding_maps(args, task, segs, n=1500):
    "t-SNE of each encoder's embeddings, one colour an activity"
    some = segs[np.sort(np.random.default_rng(0).permutation(len(segs))[:n])]
    fig, axs = plt.subplots(1, len(args.names), figsize=(3.2*len(args.names),3.2), layout='constrained', squeeze=False)
    for ax,name in zip(axs[0], args.names):
        encoder = encoder_for(args, name, 0)
        Z = get_embeddings(encoder, some) if isinstance(encoder, torch.nn.Module) else encoder(some.X)
        plot_embeddings(Z, some.labels, ax=ax, title=fill(says(name), 30))
        if name!=args.names[-1] and ax.get_legend(): ax.get_legend().remove()
    return fig

def confusions(args, task, segs):
    fig, axs = plt.subplots(1, len(args.names), figsize=(3.4*len(args.names),3.6), layout='constrained', squeeze=False)
    for ax,name in zip(axs[0], args.names):
        answers = pd.read_csv(args.out/f'answers_{task}_{name}.csv').query("level=='segment'")
        plot_confusion(answers.true.to_numpy(), answers.predicted.to_numpy(), np.unique(segs.labels), ax=ax, title=fill(says(name), 30))
    return fig

def predictions(args):
    targets = ('moving_reality_stride_time_s','mobgap_speed_mps','mobgap_double_support_s')
    fig, axs = plt.subplots(len(targets), len(args.names), figsize=(3.6*len(args.names),3.4*len(targets)), layout='constrained', squeeze=False)
    for row,target in zip(axs, targets):
        for ax,name in zip(row, args.names):
            answers = pd.read_csv(args.out/f'answers_{target}_{name}.csv', dtype=dict(subject=str)).query("level=='segment'")
            plot_predicted(answers.true, answers.predicted, answers.subject, ax=ax, title=f"{target.replace('_', ' ')}\n{fill(says(name), 30)}")
    return fig

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('data', type=Path)
    p.add_argument('--out',    type=Path, default=Path('methods'))
    p.add_argument('--record', type=Path, required=True)
    p.add_argument('--names',  nargs='+', default=['untrained','simclr','relcon'], choices=[*recipes, *beside])
    p.add_argument('--width',  type=int, default=64)
    args = p.parse_args()
    folder = args.record/'methods'
    folder.mkdir(parents=True, exist_ok=True)
    def save(fig, name): fig.savefig(folder/f'{name}.png', dpi=80); plt.close(fig); print(folder/f'{name}.png', flush=True)
    for task,segs in test_segments(args.data).items():
        save(embedding_maps(args, task, segs), f'map_{task}')
        save(confusions(args, task, segs), f'confusion_{task}')
    save(predictions(args), 'predicted')

if __name__=='__main__': main()
