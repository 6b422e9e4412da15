"Everything but the sktime side and the command line: `from tsai_relcon.all import *`"
from fastai.callback.schedule import *
from .core import *
from .data import *
from .files import *
from .recordings import *
from .datasets import *
from .augment import *
from .layers import *
from .models import *
from .losses import *
from .distance import *
from .callback import *
from .learner import *
from .probes import *
from .evaluation import *
from .plots import *
