"""What methods.py and levers.py compare: for each name how batches are drawn, which distance ranks, and which learner trains.

Everything else is the same for all: the people, the encoder, the time.
"""
from dataclasses import dataclass, field
from typing import Callable
import torch
from tsai_relcon.all import *

grouped = dict(n_groups=16, n_within=15, anchors='all')                     # 16 stretches of 16 segments, each an anchor
small   = dict(n_groups=16, n_within=7,  anchors='all')                     # half as many: with two views, as many as SimCLR's
wide    = dict(n_groups=32, n_within=3,  anchors='all')                     # as many, of more people

@dataclass(frozen=True)
class Recipe:
    says:str                                                               # for the table
    distance:str = None                                                    # a name in `distances`, in `plain_distances`, or none
    options:dict = field(default_factory=dict)                             # of the learner
    learner:Callable = relcon_learner                                      # f(dls, [distance,] arch=, **options)
    way:dict     = field(default_factory=lambda: grouped)                  # how batches are drawn: of `relcon_dls`
    call:str     = None                                                    # what a user of the library writes, where it is not what `argument` makes of the rest
    def record(self):
        "What a record says of it: plain values, functions by their names"
        def plain(v): return {k: plain(x) for k,x in v.items()} if isinstance(v, dict) else list(v) if isinstance(v, tuple) else getattr(v, '__name__', v)
        network = plain(dict(zip(('fitted','network'), distances[self.distance]))) if self.distance in distances else {}
        return dict(learner=self.learner.__name__, distance=self.distance, **network, options=plain(self.options), way=plain(self.way))
    def learn(self, dls, distance, encoder):
        return self.learner(dls, *([] if self.distance is None else [distance]), arch=encoder, metrics=[], **self.options)

# the distances that are fitted: options of the learner, and of the network
mild = mild_augmentations
distances = dict(motif=({}, {}), apart=(dict(motion_only=True, fs=mild), dict(values='own')), motif_clean=(dict(n_augment=0), {}), motif_no_revin=({}, dict(revin=False)), motif_softmax=({}, dict(attention='softmax')), masked=({}, {}))

def distance_learner(name, dls):
    options, net = distances[name]
    if name=='masked': return masked_learner(dls, metrics=[])
    return motif_learner(dls, MotifDistance(dls.vars, **net), metrics=[], **options)

def fitted_distance(out, kind, seed, dls):
    "The network of a distance that was fitted into a folder, or the name of a plain one"
    if kind not in distances: return kind
    net = distance_learner(kind, dls).model
    net.load_state_dict(torch.load(out/f'{kind}_seed{seed}.pth', weights_only=True))
    return net.eval()

def relcon_of_all(dls, distance, by_motion=True, **kw):
    "RelCon in plain batches, like SimCLR's: all others of the batch are an anchor's candidates"
    return relcon_learner(segment_dls(dls, 128, by_motion), distance, **kw)

views = dict(n_augment=2, projection=(256,128,50))
mild_views    = views|dict(fs=mild)
beside_motion = dict(motion_only=True, gravity=.1)
beside_views  = views|dict(own_view=True, nearest=3, weight=.3, shortlist=8, crop=96, aug_pred=4.)     # SimCLR's loss of two stretches, the ranking and AugPred's questions beside it
our_options   = beside_motion|beside_views

methods = dict(
    simclr =Recipe('SimCLR', learner=simclr_learner),
    augpred=Recipe('AugPred', learner=augpred_learner),
    rebar  =Recipe('REBAR', 'masked', learner=rebar_learner),
    mvp    =Recipe("masked values (tsai's MVP)", learner=mvp_learner),
    relcon =Recipe("RelCon, the paper's recipe", 'motif'),
    ours   =Recipe("joint_learner (SimCLR, AugPred and RelCon's ranking)", 'apart', our_options, relcon_of_all))

steps = dict(                                                              # back from ours, a thing at a time
    ours_alone   =Recipe("joint_learner without its ranking (SimCLR and AugPred)", options=dict(crop=96, aug_pred=4., by_motion=True), learner=simclr_learner, call='simclr_learner(dls, crop=96, aug_pred=4., by_motion=True)'),
    ours_unasked =Recipe("without AugPred's questions", 'apart', our_options|dict(aug_pred=None), relcon_of_all, call='joint_learner(dls, aug_pred=None)'),
    ours_even    =Recipe('segments drawn evenly, not by motion', 'apart', our_options|dict(by_motion=False), relcon_of_all, call='joint_learner(dls, by_motion=False)'),
    ours_whole   =Recipe('views of whole segments', 'apart', our_options|dict(crop=None), relcon_of_all, call='joint_learner(dls, crop=128)'),
    ours_motif   =Recipe("ranked by the paper's distance, of segments with their gravity", 'motif', beside_views, relcon_of_all),
    ours_spectrum=Recipe('ranked by spectra alone', 'spectrum', beside_views|dict(shortlist=None), relcon_of_all),
    ours_grouped =Recipe("in grouped batches, an anchor's candidates those of its group and one of each other, the distance asked about all", 'apart', our_options|dict(shortlist=None), way=small|dict(by_motion=True)))

ablations = dict(                                                          # of the paper's recipe, a thing at a time
    no_augment =Recipe('distance without augmentations', 'motif_clean'),
    no_revin   =Recipe('distance without RevIN', 'motif_no_revin'),
    no_sparsemax=Recipe('distance without sparsemax', 'motif_softmax'),
    no_within  =Recipe('no candidates of the own row', 'motif', dict(candidates='between')),
    log_ratio  =Recipe('log-ratio loss (softer)', 'motif', dict(loss='log_ratio')),
    binary     =Recipe('nearest the one positive (harder)', 'motif', dict(loss='binary')),
    within_only=Recipe('candidates of the own row alone', 'motif', dict(candidates='within')),
    euclidean  =Recipe('Euclidean distance', 'euclidean'),
    dtw        =Recipe('dynamic time warping', 'dtw'),
    random     =Recipe('random ranking (the control)', 'random'))

departures = dict(                                                         # from the paper's recipe, tried by levers.py
    motion_only=Recipe('ranked without gravity', 'motif', dict(motion_only=True)),
    by_motion  =Recipe('segments drawn by motion', 'motif', way=grouped|dict(by_motion=True)),
    head       =Recipe('a projection head', 'motif', dict(projection=(256,128,50))),
    views      =Recipe('head, and augmented views', 'motif', views),
    own_view   =Recipe('head, two views, the own one nearest', 'motif', views|dict(own_view=True)),
    first_five =Recipe('head, two views, the own one nearest, five nearest positives', 'motif', views|dict(own_view=True, nearest=5)),
    apart      =Recipe('reads real samples, mild augmentations, gravity beside motion', 'apart', beside_motion),
    apart_views=Recipe('real samples, gravity beside: head, views', 'apart', beside_motion|views),
    apart_own  =Recipe('real samples, gravity beside: head, two views, the own one nearest', 'apart', beside_motion|views|dict(own_view=True)),
    apart_five =Recipe('real samples, gravity beside: head, two views, the own one nearest, five nearest positives', 'apart', beside_motion|views|dict(own_view=True, nearest=5)),
    apart_own_mild =Recipe('real samples, gravity beside: head, two mild views, the own one nearest', 'apart', beside_motion|mild_views|dict(own_view=True)),
    apart_five_mild=Recipe('real samples, gravity beside: head, two mild views, the own one nearest, five nearest positives', 'apart', beside_motion|mild_views|dict(own_view=True, nearest=5)),
    apart_own_small =Recipe('real samples, gravity beside: head, two views, the own one nearest; 16 groups of 8', 'apart', beside_motion|views|dict(own_view=True), way=small),
    apart_five_small=Recipe('real samples, gravity beside: head, two views, the own one nearest, five nearest positives; 16 groups of 8', 'apart', beside_motion|views|dict(own_view=True, nearest=5), way=small),
    apart_five_wide =Recipe('real samples, gravity beside: head, two views, the own one nearest, five nearest positives; 32 groups of 4', 'apart', beside_motion|views|dict(own_view=True, nearest=5), way=wide),
    apart_five_few  =Recipe('real samples, gravity beside: head, two views, the own one nearest, five nearest positives; 16 groups of 4', 'apart', beside_motion|views|dict(own_view=True, nearest=5), way=wide|dict(n_groups=16)),
    apart_five_soft =Recipe('real samples, gravity beside: head, two views, the own one nearest, five nearest positives; 16 groups of 8, temperature 0.2', 'apart', beside_motion|views|dict(own_view=True, nearest=5, tau=.2), way=small),
    apart_five_sharp=Recipe('real samples, gravity beside: head, two views, the own one nearest, five nearest positives; 16 groups of 8, temperature 0.05', 'apart', beside_motion|views|dict(own_view=True, nearest=5, tau=.05), way=small),
    apart_five_near =Recipe('real samples, gravity beside: head, two views, the own one nearest, five nearest positives; 16 groups of 8 of two minutes', 'apart', beside_motion|views|dict(own_view=True, nearest=5), way=small|dict(neighbourhood=120.)),
    apart_five_moved=Recipe('real samples, gravity beside: head, two views, the own one nearest, five nearest positives; 16 groups of 8, drawn by motion', 'apart', beside_motion|views|dict(own_view=True, nearest=5), way=small|dict(by_motion=True)),
    paper_five_small=Recipe("the paper's distance: head, two views, the own one nearest, five nearest positives; 16 groups of 8", 'motif', views|dict(own_view=True, nearest=5), way=small),
    apart_two_small =Recipe('real samples, gravity beside: head, two views, the own one nearest, two nearest positives; 16 groups of 8', 'apart', beside_motion|views|dict(own_view=True, nearest=2), way=small),
    spectrum_five_small=Recipe('ranked by spectra, head, two views, the own one nearest, five nearest positives; 16 groups of 8', 'spectrum', views|dict(own_view=True, nearest=5), way=small),
    simclr_short=Recipe('SimCLR, views of 64 samples', learner=simclr_learner, options=dict(crop=64)),
    beside_short=Recipe("real samples, gravity beside: plain batches, SimCLR's loss of two views of 64 samples, the ranking beside it", 'apart', our_options|dict(crop=64, aug_pred=None, by_motion=False), relcon_of_all),
    simclr_mild=Recipe('SimCLR, mild views', learner=simclr_learner, options=dict(fs=mild)),
    spectrum   =Recipe('ranked by spectra', 'spectrum'),
    spectrum_views=Recipe('ranked by spectra, head, views', 'spectrum', views),
    spectrum_own  =Recipe('ranked by spectra, head, two views, the own one nearest', 'spectrum', views|dict(own_view=True)),
    spectrum_five =Recipe('ranked by spectra, head, two views, the own one nearest, five nearest positives', 'spectrum', views|dict(own_view=True, nearest=5)))

recipes = methods | ablations | steps | departures
learners = {('joint' if name=='ours' else name)+'_learner': name for name in methods}      # what the library calls them
beside  = dict(untrained='the encoder untrained', supervised='the encoder trained on labels alone', by_hand='features by hand', minirocket='MiniRocket + ridge')      # what needs no pretraining

def says(name): return beside.get(name) or recipes[name].says

def argument(name):
    "How a user of the library asks for an ablation"
    def call(f, *args, **options): return f"{f}({', '.join([*args, *(f'{k}={v!r}' for k,v in options.items())])})"
    recipe = recipes[name]
    if recipe.options: return call('relcon_learner', 'dls', **recipe.options)
    of_learner, of_network = distances.get(recipe.distance, ({}, {}))
    if of_learner: return call('motif_learner', 'dls', **of_learner)
    if of_network: return call('motif_learner', 'dls', call('MotifDistance', 'dls.vars', **of_network))
    return call('relcon_learner', 'dls', repr(recipe.distance))
