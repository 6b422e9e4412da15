"""Pictures for methods.py, all methods side by side: maps of their embeddings, confusion matrices, gait as predicted against the truth.

They are drawn from points, which each run keeps. Everybody in them is unknown to the encoder.
"""
from textwrap import fill
import matplotlib
matplotlib.use('Agg')
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.lines import Line2D
from torch import nn
from tsai_relcon.all import *

spelled = dict(dws='downstairs', ups='upstairs', wlk='walking', jog='jogging', std='standing', sit='sitting', walking_downstairs='downstairs', walking_upstairs='upstairs', laying='lying')
order   = ('walking','upstairs','downstairs','jogging','standing','sitting','lying')     # of activities, in every picture
colours = dict(zip(order, plt.get_cmap('tab10').colors))

# ---- points ---------------------------------------------------------------------------------------------------------------------------------------

def in_words(labels): return np.array([spelled.get(l, l) for l in labels])

def map_points(encoder, segs, n=1500):
    "Where a t-SNE of its embeddings has n segments, and what they are"
    some = segs[np.sort(np.random.default_rng(0).permutation(len(segs))[:n])]
    ax = plot_embeddings(get_embeddings(encoder, some) if isinstance(encoder, nn.Module) else encoder(some.X), some.labels)
    plt.close(ax.figure)
    of = {c.get_label(): c.get_offsets().data.astype(np.float32) for c in ax.collections}
    return {'map': np.concatenate([*of.values()]), 'map label': in_words(np.repeat([*of], [*map(len, of.values())]))}

def answer_points(table):
    "Truth and answer of each segment; of numbers also whose it is, as a number"
    of = table.query("level=='segment'")
    if of.true.dtype.kind=='f': return dict(true=of.true.to_numpy(np.float32), predicted=of.predicted.to_numpy(np.float32), subject=np.unique(of.subject, return_inverse=True)[1])
    return dict(true=in_words(of.true), predicted=in_words(of.predicted))

# ---- pictures -------------------------------------------------------------------------------------------------------------------------------------

def side_by_side(of, tasks, draw, height):
    "of: {method: {'task what': array}}; tasks: {task: title}. Of each task two rows of methods, drawn by draw(ax, {what: array})"
    columns = (len(of)+1)//2
    fig     = plt.figure(figsize=(2.5*columns+1.4, 2*height*len(tasks)), layout='constrained')
    for part,(task,title) in zip(np.atleast_1d(fig.subfigures(len(tasks), 1)), tasks.items()):
        axs = part.subplots(2, columns).ravel()
        for ax in axs: ax.axis('off')
        for ax,(method,arrays) in zip(axs, of.items()):
            ax.axis('on')
            draw(ax, {key[len(task)+1:]: a for key,a in arrays.items() if key.startswith(f'{task} ')})
            ax.set_title(fill(method, 28), fontsize=9)
        part.suptitle(title, fontsize=13)
        yield part, axs[:len(of)].tolist()

def maps(of, tasks):
    "The embeddings of each method, a colour an activity"
    def draw(ax, p):
        for label in sorted(set(p['map label']), key=order.index): ax.scatter(*p['map'][p['map label']==label].T, s=3, alpha=.6, lw=0, color=colours[label])
        ax.set(xticks=[], yticks=[])
    for task,(part,axs) in zip(tasks, side_by_side(of, tasks, draw, 2.9)):
        known = [l for l in order if l in next(iter(of.values()))[f'{task} map label']]
        part.legend([Line2D([], [], marker='o', lw=0, color=colours[l]) for l in known], known, fontsize=10, frameon=False, loc='outside right center')
    return part.figure

def confusions(of, tasks):
    "Of each true activity (a row) the share that was given each answer (a column)"
    def draw(ax, p): plot_confusion(p['true'], p['predicted'], [l for l in order if l in p['true']], ax=ax).set(xlabel='', ylabel='')
    for part,axs in side_by_side(of, tasks, draw, 3.1):
        columns = (len(axs)+1)//2
        first_column, lowest = axs[::columns], axs[-columns:]                          # of each column, also where the second row is shorter
        for ax in axs:
            ax.set_yticklabels([t.get_text().split(' (')[0] for t in ax.get_yticklabels()] if ax in first_column else [])
            if ax not in lowest: ax.set_xticklabels([])
        part.supylabel('truth'), part.supxlabel('answer')
    return part.figure

def gaits(of, tasks):
    "Predicted against true, a colour a person; the same axes for all methods"
    def draw(ax, p):
        plot_predicted(p['true'], p['predicted'], p['subject'], ax=ax).set(xlabel='', ylabel='')
        if ax.get_legend(): ax.get_legend().remove()                              # people, whom a reader cannot know
    for part,axs in side_by_side(of, tasks, draw, 2.9):
        low, high = (f([f(ax.get_xlim()+ax.get_ylim()) for ax in axs]) for f in (min, max))
        for ax in axs: ax.set(xlim=(low, high), ylim=(low, high))
        part.supxlabel('true'), part.supylabel('predicted')
    return part.figure

def save(figure, path):
    figure.savefig(path, dpi=80)
    plt.close(figure)
