"""RMSProp for PyTorch: a drop-in for ``torch.optim.RMSprop`` in every framework's dialect.

From the outside in:

- `optimizer`: the class, its parameter groups and hooks; `groups` from a group to a `Rule`, `paths` what updates what,
  `state_dict` and `foreign` what leaves and what arrives.
- `step`: one step in order, with the `plan` that is kept between steps; `members` what updates each parameter and, from
  `obstacles`, why no kernel does; `checks` and `overlap` what is refused or goes one after the other, `stage` what is
  updated at once.
- `state`: what is kept per parameter, and how it is stored.
- `bucket`: the tables that a kernel reads, beneath subclasses, shards and gaps, from `local`; `dense_copies` of what it
  can't work on, and `batch_scales` of whole tensors, measured before it does.
- `rows`: the rows of sparse gradients, updated alone.
- `gpu_launch`: the launches of the Triton kernels, which `triton` holds, beside the compiled one; `gpu_rows` those of
  rows, `gpu_scales` what is measured before, `gpu` what all launches need; `device` tells which kernel serves.
- `clipping`: the norm of all gradients, with `gpu_norm` on a device, and the limits of a group.
- `composite`: array operations, for everything the kernels can't do: over `blocks` on the CPU, `foreach` elsewhere.
- `schedule_free`: the class whose parameters are averages, `averaged` what that is in a group and a step.
- `rates`: learning rates that follow their gradients.
- `backward`: steps that backward takes.
- `callers`: who calls, where that alone tells what is meant.
"""

try:
    import torch as _torch  # noqa: F401
except ImportError as error:
    raise ImportError("rmsprop.torch needs PyTorch: pip install 'rmsprop[torch]'") from error

from rmsprop.torch.backward.step_in_backward import step_in_backward
from rmsprop.torch.optimizer import RMSprop
from rmsprop.torch.rates.hypergradient_descent import HypergradientDescent
from rmsprop.torch.rates.marthe import Marthe
from rmsprop.torch.schedule_free import ScheduleFreeRMSprop

__all__ = ["HypergradientDescent", "Marthe", "RMSprop", "ScheduleFreeRMSprop", "step_in_backward"]
