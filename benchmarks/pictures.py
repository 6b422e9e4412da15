"""Pictures for methods.py: a strip a method (maps of its embeddings, confusion matrices, gait as predicted against the truth), and the maps of all methods side by side.

Everybody in them is unknown to the encoder.
"""
from textwrap import fill
import matplotlib
matplotlib.use('Agg')
import matplotlib.pyplot as plt
import numpy as np
from torch import nn
from tsai_relcon.all import *

def strip(title, encoder, tests, answers, gait):
    "A row of panels. tests: {set: Segments}; answers: {set, or set and target: table of `evaluate`}; gait: {set and target: what the panel says}"
    n, m = len(tests), len(gait)
    fig, axs = plt.subplots(1, 2*n+m, figsize=(5.2*n+3.9*n+2.6*m,3.2), width_ratios=[5.2]*n+[3.9]*n+[2.6]*m, layout='constrained')
    panels = iter(axs)
    for name,segs in tests.items(): embedding_map(next(panels), name, encoder, segs)
    for name,segs in tests.items():
        of = answers[name].query("level=='segment'")
        ax = plot_confusion(of.true.to_numpy(), of.predicted.to_numpy(), np.unique(segs.labels), ax=next(panels), title=name)
        ax.set(xticks=[], xlabel='', ylabel='')                                   # columns are in the order of the rows
    for key,says in gait.items():
        of, ax = answers[key].query("level=='segment'"), next(panels)
        plot_predicted(of.true.to_numpy(), of.predicted.to_numpy(), of.subject.to_numpy(), ax=ax, title=says)
        if ax.get_legend(): ax.get_legend().remove()                              # people, whom a reader cannot know
    axs[0].set_ylabel(fill(title, 30), fontsize=12)
    return fig

def embedding_map(ax, name, encoder, segs, n=1500):
    "t-SNE, a colour an activity; empty for what has no embedding before it is fitted"
    ax.set(title=name, xticks=[], yticks=[])
    if hasattr(encoder, 'fit'): return
    some = segs[np.sort(np.random.default_rng(0).permutation(len(segs))[:n])]
    plot_embeddings(get_embeddings(encoder, some) if isinstance(encoder, nn.Module) else encoder(some.X), some.labels, ax=ax, title=name)

def map_points(encoder, segs):
    "{activity: (n, 2)}: where `embedding_map` has its segments"
    fig, ax = plt.subplots()
    embedding_map(ax, '', encoder, segs)
    plt.close(fig)
    return {c.get_label(): c.get_offsets().data.astype(np.float32) for c in ax.collections}

def side_by_side(maps):
    "maps: {method: {set: {activity: (n, 2)}}}. Of each set two rows of methods, the same colours in all"
    sets, columns = list(next(iter(maps.values()))), (len(maps)+1)//2
    fig  = plt.figure(figsize=(2.7*columns+1.6, 5.8*len(sets)), layout='constrained')
    for part,name in zip(np.atleast_1d(fig.subfigures(len(sets), 1)), sets):
        axs = part.subplots(2, columns).ravel()
        for ax in axs: ax.axis('off')
        for ax,(method,of) in zip(axs, maps.items()):
            for label,xy in of[name].items(): ax.scatter(*xy.T, s=3, alpha=.6, lw=0, label=label)
            ax.axis('on'); ax.set(xticks=[], yticks=[]); ax.set_title(fill(method, 30), fontsize=10)
        part.suptitle(name, fontsize=13); part.legend(*axs[0].get_legend_handles_labels(), markerscale=5, fontsize=10, frameon=False, loc='outside right center')
    return fig
