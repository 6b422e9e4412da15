"""RelCon written down plainly: a reference of the same shape as the authors' program, and no line of theirs.

It is the slow, obvious oracle that the library's fast functions are held to (tests/test_reference.py), and the other side of every speed
ratio. It was written from a description of the method alone, imports nothing of tsai_relcon, and repeats or delays nothing to look slow.
What in it is the shape of the authors' program:

- a batch is ranked in passes: one for each shift s, anchor i against anchor (i+s) mod B, then one for each within-user candidate;
- each pass recomputes all three nets for its pairs (the anchor is normalised with its candidate's statistics, so its features differ from
  pair to pair) and attends to all 64 features of a value before the linear layer;
- the loss loops over anchors and, within one, over candidates, each of them the positive once;
- the encoder runs twice, so batch norm sees anchors and within-user candidates apart;
- a segment is a file, and an item of the data set lists its hour's folder anew and loads one file a segment.

Candidates of anchor i stand everywhere in this order: anchors i+1 ... B-1, anchors 0 ... i-1, then its own W. `grouped_order` puts the
columns into the library's order.
"""
import math, os
from pathlib import Path
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

# ---- the learnable distance

def sparsemax(z:Tensor)->Tensor: # Scores (..., K) -> weights (..., K), each row sums to one
    "Algorithm 1 of Martins & Astudillo (2016): sort, count the support, subtract its threshold"
    z = z - z.amax(-1, keepdim=True)                                # a constant changes nothing, and keeps the sums small
    ordered = z.sort(dim=-1, descending=True)[0]
    sums, k = ordered.cumsum(-1), torch.arange(1, z.shape[-1]+1, device=z.device)
    size = (1 + k*ordered > sums).sum(-1, keepdim=True)
    return (z - (sums.gather(-1, size-1)-1)/size).clamp(min=0)

class ReferenceRevIN(nn.Module):
    "The affine map that anchor and candidate share, after statistics that are passed in"
    def __init__(self, c_in):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(c_in)), nn.Parameter(torch.zeros(c_in))
    def forward(self, x, mean, std): return (x-mean)/std*self.weight[:,None] + self.bias[:,None]
    def undo(self, y, mean, std):    return (y-self.bias[:,None])/(self.weight[:,None]+1e-10)*std + mean

class ReferencePartialConv(nn.Conv1d):
    "Zero-padded convolution; its output, before the bias, is scaled by window size over taps that lie on data"
    def forward(self, x):
        taps = F.conv1d(x.new_ones(1, 1, x.shape[-1]), x.new_ones(1, 1, *self.kernel_size), padding=self.padding)
        return F.conv1d(x, self.weight, padding=self.padding)*(self.kernel_size[0]/taps) + self.bias[:,None]

class ReferenceBlock(nn.Module):
    "1x1 convolution to 8, dilated convolution back, plus the input; GELU; instance norm"
    def __init__(self, nf, ks, dilation):
        super().__init__()
        self.bottleneck = nn.Conv1d(nf, 8, 1)
        self.dilated    = nn.Conv1d(8, nf, ks, dilation=dilation, padding=dilation*(ks//2))
        self.norm       = nn.InstanceNorm1d(nf)
    def forward(self, x): return self.norm(F.gelu(x + self.dilated(self.bottleneck(x))))

class ReferenceNet(nn.Module):
    "Dilated conv net, (B, C, L) -> (B, nf, L)"
    def __init__(self, c_in, nf, ks, dilations):
        super().__init__()
        self.first, self.norm = ReferencePartialConv(c_in, nf, ks, padding=ks//2), nn.InstanceNorm1d(nf)
        self.blocks = nn.Sequential(*[ReferenceBlock(nf, ks, d) for d in dilations])
    def forward(self, x): return self.blocks(self.norm(F.gelu(self.first(x))))

class ReferenceDistance(nn.Module):
    "Rebuilds anchors from candidates, pair by pair; its state dict has the names of the library's `MotifDistance`"
    def __init__(self, c_in:int=3, nf:int=64, ks:int=15, dilations:tuple=(1,2), dropout:float=.1):
        super().__init__()
        self.dropout, self.revin = dropout, ReferenceRevIN(c_in)
        self.f_q, self.f_k, self.f_v = [ReferenceNet(c_in, nf, ks, dilations) for _ in range(3)]
        self.out = nn.Linear(nf, c_in)

    def forward(self,
                a:Tensor,                  # (B, C, L) anchors
                c:Tensor,                  # (B, C, L) their candidates, one each
                attention:str='sparsemax'  # or 'softmax'
               )->Tensor:                  # (B, C, L) each anchor, rebuilt from its candidate
        "Raises ValueError for an attention that is not known"
        if attention not in ('sparsemax','softmax'): raise ValueError(f"`attention` is {attention!r}; known are 'sparsemax' and 'softmax'")
        mean, std = c.detach().mean(-1, keepdim=True), (c.detach().var(-1, keepdim=True, correction=0) + 1e-5).sqrt()
        a, c = self.revin(a, mean, std), self.revin(c, mean, std)
        q, k, v = [f(x).transpose(1,2) for f,x in [(self.f_q,a), (self.f_k,c), (self.f_v,c)]]      # (B, L, nf)
        scores  = q @ k.transpose(1,2) / math.sqrt(q.shape[-1])                                    # (B, L of anchor, L of candidate)
        weights = sparsemax(scores) if attention=='sparsemax' else scores.softmax(-1)
        attended = F.dropout(weights, self.dropout, self.training) @ v                             # (B, L, nf)
        return self.revin.undo(self.out(attended).transpose(1,2), mean, std)

def _check(anchor, within):
    "Raises ValueError unless `within` brings as many rows as `anchor`, of the same shape, and each anchor has a candidate"
    if within.ndim!=anchor.ndim+1 or within.shape[:1]+within.shape[2:]!=anchor.shape:
        raise ValueError(f"`within` has shape {tuple(within.shape)} for anchors {tuple(anchor.shape)}; wanted W of that shape for each anchor: (B, W, ...)")
    if sum(within.shape[:2])<2: raise ValueError("`within` is empty and there is one anchor only: it has no candidate; wanted more of either")

@torch.no_grad()
def reference_distances(net:ReferenceDistance,     # Frozen: put into evaluation mode
                        anchor:Tensor,             # (B, C, L)
                        within:Tensor,             # (B, W, C, L)
                        attention:str='sparsemax'  # or 'softmax'
                       )->Tensor:                  # (B, B-1+W): the other anchors from the next one round, then the own W
    "Squared error of each anchor, rebuilt from each of its candidates, in B-1+W passes over B pairs. Raises ValueError for shapes that do not fit"
    _check(anchor, within)
    net.eval()
    candidates = [anchor.roll(-s, 0) for s in range(1, len(anchor))] + list(within.unbind(1))      # roll: row i holds anchor (i+s) mod B
    return torch.stack([(net(anchor, c, attention)-anchor).square().sum((1,2)) for c in candidates], 1)

def grouped_order(d:Tensor  # (B, B-1+W) in the order of this file
                 )->Tensor: # The same columns in the order of the library's `grouped_index(B, W, 'one')`: the own W, then the other anchors
    "Turn the columns by B-1"
    return d.roll(-(len(d)-1), 1)

# ---- the loss

def reference_loss(z_anchor:Tensor,  # (B, E) embeddings
                   z_within:Tensor,  # (B, W, E)
                   d:Tensor,         # (B, B-1+W) in the order of `reference_distances`
                   tau:float=.1      # Temperature
                  )->Tensor:
    "-log of each candidate's share among itself and those farther than it: sum over candidates, mean over anchors. Raises ValueError for shapes that do not fit"
    _check(z_anchor, z_within)
    B, W = z_within.shape[:2]
    if d.shape!=(B, B-1+W): raise ValueError(f"`d` has shape {tuple(d.shape)}; wanted one distance a candidate: {(B, B-1+W)}")
    loss = 0.
    for i in range(B):
        z = torch.cat([z_anchor[i+1:], z_anchor[:i], z_within[i]])
        s = F.cosine_similarity(z_anchor[i:i+1], z, dim=1)/tau
        for k in range(len(s)):
            keep = d[i]>d[i,k]                                      # the negatives: equals are none, in whatever order they come
            keep[k] = True                                          # and the positive itself
            loss = loss + s.masked_fill(~keep, -torch.inf).logsumexp(0) - s[k]
    return loss/B

def reference_step(encoder:nn.Module,            # (B, C, L) -> (B, E), in training mode
                   distance:ReferenceDistance,
                   optimiser,                    # Of the encoder's parameters
                   anchor:Tensor,                # (B, C, L)
                   within:Tensor,                # (B, W, C, L)
                   tau:float=.1,
                   attention:str='sparsemax'     # or 'softmax'
                  )->Tensor:                     # The loss before the step, detached
    "One training step: rank, embed in two calls, descend"
    d = reference_distances(distance, anchor, within, attention)
    z_anchor, z_within = encoder(anchor), encoder(within.flatten(0,1)).unflatten(0, within.shape[:2])
    loss = reference_loss(z_anchor, z_within, d, tau)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    return loss.detach()

# ---- the files

def write_reference_files(folder, # Made if it is not there
                          segs    # With X (N, 3, L), subject (N,) and time (N,) in seconds
                         )->Path:
    "Row n of `segs` as folder/<subject>/<hour>/<n>.npy, float32 (L, 3). Raises FileExistsError for a file that is there, ValueError for subjects that name no folder"
    folder = Path(folder)
    for n,(x,subject,time) in enumerate(zip(segs.X, segs.subject, segs.time)):
        name = str(subject)
        if name in ('','.','..') or Path(name).name!=name: raise ValueError(f"`segs`: subject {name!r} cannot name a folder; wanted a name without separators")
        path = folder/name/str(int(time//3600))/f'{n}.npy'
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, 'xb') as f: np.save(f, np.ascontiguousarray(x.T, dtype=np.float32), allow_pickle=False)
    return folder

class ReferenceDataset(torch.utils.data.Dataset):
    "One item an anchor, with others of its subject and hour drawn by torch's generator: for torch's plain DataLoader. Raises ValueError for hours too small"
    def __init__(self,
                 folder,          # Of `write_reference_files`
                 n_within:int=20  # Candidates W that each anchor brings
                ):
        self.paths, self.n_within = sorted(Path(folder).glob('*/*/*.npy')), n_within
        if not self.paths: raise ValueError(f"`folder`: {folder} holds no <subject>/<hour>/<n>.npy; wanted what `write_reference_files` wrote")
        small = [f'{p} ({n})' for p in sorted({p.parent for p in self.paths}) if (n:=len(os.listdir(p)))<1+n_within]
        if small: raise ValueError(f"`n_within` is {n_within}; {len(small)} hours hold fewer than {1+n_within} segments ({small[0]}): take fewer, or leave them out")
    def __len__(self): return len(self.paths)
    def __getitem__(self, i:int)->tuple: # Anchor (C, L) and within (W, C, L)
        path   = self.paths[i]
        others = [n for n in os.listdir(path.parent) if n!=path.name]
        drawn  = [path.parent/others[j] for j in torch.randperm(len(others))[:self.n_within]]
        anchor, *within = [torch.from_numpy(np.load(p, allow_pickle=False).T.copy()) for p in [path, *drawn]]
        return anchor, torch.stack(within)
