"""RMSProp for PyTorch: a drop-in for ``torch.optim.RMSprop`` in every framework's dialect.

- `optimizer`: the class, its parameter groups and what a step does in which order.
- `groups`: from a parameter group to a `Rule` and a learning rate, checked.
- `state`: what is kept per parameter, its precision, and its exchange with ``torch.optim.RMSprop``.
- `fused`: what the kernels take, and the compiled one on CPU tensors.
- `gpu`: the Triton kernel on GPU tensors, which `triton_kernel` holds.
- `composite`: plain tensor operations, for everything the kernels can't do.
- `together`: the same on many tensors at once, for devices without a kernel.
"""

try:
    import torch as _torch  # noqa: F401
except ImportError as error:
    raise ImportError("rmsprop.torch needs PyTorch: pip install 'rmsprop[torch]'") from error

from rmsprop.torch.optimizer import RMSprop

__all__ = ["RMSprop"]
