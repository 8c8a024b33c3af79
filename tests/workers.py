"""What tests run in other processes and threads: a spawned process finds it here by its name."""

import contextlib
import hashlib
import queue
import threading
import time

import pytest
import torch
import torch.multiprocessing

from rmsprop.torch import RMSprop

TIMEOUT = 60.0  # seconds; what hangs has hung long before


def in_processes(method, target, *args, count=2, timeout=TIMEOUT):
    """Run ``target(rank, count, barrier, *args)`` in several processes; return what each returned, by rank."""
    context = torch.multiprocessing.get_context(method)
    barrier, results = context.Barrier(count), context.Queue()
    processes = [
        context.Process(target=_reporting, args=(results, target, rank, count, barrier, *args), daemon=True)
        for rank in range(count)
    ]
    for process in processes:
        process.start()
    deadline = time.monotonic() + timeout
    found = {}
    try:
        while len(found) < count and all(not process.exitcode for process in processes):
            if time.monotonic() > deadline:
                break
            with contextlib.suppress(queue.Empty):
                rank, result = results.get(timeout=0.2)
                found[rank] = result
        for process in processes if len(found) == count else ():
            process.join(max(0.0, deadline - time.monotonic()))
        if any(process.exitcode != 0 for process in processes):
            pytest.fail(f"exit codes {[process.exitcode for process in processes]} after {timeout} s (None: it hung)")
        return [found[rank] for rank in range(count)]
    finally:
        for process in processes:
            process.kill()


def _reporting(results, target, rank, *args):
    results.put((rank, target(rank, *args)))


def params_of(optimizer):
    return [param for group in optimizer.param_groups for param in group["params"]]


def step_on_noise(optimizer, seed):
    """Take a step with gradients that depend on nothing but a seed."""
    random = torch.Generator().manual_seed(seed)
    for param in params_of(optimizer):
        param.grad = torch.randn(param.shape, generator=random).to(param.dtype)
    optimizer.step()


def state_is_shared(optimizer):
    """Whether every tensor of the state is in memory that processes share."""
    return all(
        value.is_shared()
        for param in params_of(optimizer)
        for value in optimizer.state[param].values()
        if isinstance(value, torch.Tensor)
    )


def take_turns(rank, count, barrier, optimizers, turns):
    """Step with all optimizers in every turn that is this process's; return whether all state is still shared."""
    torch.set_num_threads(1)
    for turn in range(turns):
        if turn % count == rank:
            for optimizer in optimizers:
                step_on_noise(optimizer, turn)
        barrier.wait(TIMEOUT)
    return all(map(state_is_shared, optimizers))


def load_and_take_turns(rank, count, barrier, optimizers, turns, state_dicts):
    """Let the first process load state for all, then take turns."""
    if rank == 0:
        for optimizer, state_dict in zip(optimizers, state_dicts, strict=True):
            optimizer.load_state_dict(state_dict)
    barrier.wait(TIMEOUT)
    return take_turns(rank, count, barrier, optimizers, turns)


def digest(tensor):
    """A number that tells the bits of a tensor; no operation of torch, which may hang after a fork."""
    return hashlib.sha256(tensor.detach().numpy().tobytes()).hexdigest()


def step_with_the_gradients_there(rank, count, barrier, optimizer, steps):
    """Step as often as asked, on gradients that are there already; return the bits of parameters and state."""
    for _ in range(steps):
        optimizer.step()
    return bits(optimizer)


def bits(optimizer):
    tensors = [t for p in params_of(optimizer) for t in (p, *optimizer.state[p].values())]
    return [digest(tensor) for tensor in tensors]


def in_threads(*targets):
    """Run functions in threads of their own that start together; return what each raised, or None."""
    together = threading.Barrier(len(targets))
    raised = ["it hung"] * len(targets)

    def run(index, target):
        together.wait(TIMEOUT)
        try:
            target()
        except Exception as error:
            raised[index] = error
        else:
            raised[index] = None

    threads = [threading.Thread(target=run, args=pair, daemon=True) for pair in enumerate(targets)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT)
    return raised


def constant_gradient(options, size):
    param = torch.nn.Parameter(torch.linspace(-1.0, 1.0, size))
    param.grad = torch.linspace(2.0, -3.0, size)
    return RMSprop([param], **options)


def step_from_threads(rank, count, barrier, options, size, threads, steps):
    """Step one optimizer from several threads; return what they raised, the count, and whether the bits are right."""
    found, expected = constant_gradient(options, size), constant_gradient(options, size)
    raised = in_threads(*[lambda: [found.step() for _ in range(steps)]] * threads)
    for _ in range(threads * steps):
        expected.step()
    (param,) = params_of(found)
    return raised, found.state[param]["step"].item(), bits(found) == bits(expected)
