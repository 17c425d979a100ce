"""What a trial's process needs: imported once, in the process that all trials are forked from."""

import torch._dynamo  # torch's optimizers import it when they are first made
import torch.distributed.checkpoint.state_dict  # noqa: F401

from scriptsight import pretrain, probe, retrieve  # noqa: F401
