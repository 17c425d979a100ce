"""What an experiment's process needs: imported once, in the process that all are forked from, and nowhere else.

That process must not outlive the command, nor the experiments that process: a killed study would leave writers.
"""

import os

from flows.running import processes

os.setsid()  # a signal for the command's group is for the command, which then asks its experiments to end
processes.killed_with_parent()  # before the seconds that follow

import torch._dynamo  # noqa: E402 - torch's optimizers import it when they are first made
import torch.distributed.checkpoint.state_dict  # noqa: E402, F401

from scriptsight import pretrain, probe, retrieve  # noqa: E402, F401
