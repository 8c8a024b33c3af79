"""Who updates which parameter: a kernel, or tensor operations, and in which order.

A plan is kept from step to step. It holds every parameter that has state, whether it takes part in the next step or
rests; parameters without state wait until they have a gradient.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate, pairwise
from operator import is_
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rmsprop import stretch_table
from rmsprop.averaging import AveragedRule
from rmsprop.torch import composite
from rmsprop.torch.bucket import Bucket
from rmsprop.torch.checks import names_of
from rmsprop.torch.clipping.exact_sum import home_of
from rmsprop.torch.dense_copies import copy_dtype
from rmsprop.torch.device import is_on_gpu
from rmsprop.torch.local import inside, is_plain_class
from rmsprop.torch.members import Member, Members, States
from rmsprop.torch.overlap import Memory, check_own, entangled, meets, stretches
from rmsprop.torch.rows.clock import as_held, is_on_rows
from rmsprop.torch.rows.rowwise import update_of
from rmsprop.torch.rows.sparse import check_fit
from rmsprop.torch.stage import Stage
from rmsprop.torch.state.param_state import Changes, ParamState

Groups = list[dict[str, Any]]
Numbering = Sequence[tuple[list[str], Sequence[int]]]  # per group the names and the numbers of its parameters


class Plan:
    """What a step of an optimizer does: first all parameters that share no memory, then the others one by one.

    Args:
        groups: The parameter groups.
        states: The optimizer's state; completed in place.
        counts_on_device: Whether steps are counted where the parameters are, because only there it will be known
            whether a step happens.
        kernel: Whether kernels may be used. Default True.
        numbering: What parameters are called, and how they are numbered. Default None: as the groups have them.

    Attributes:
        groups: The members of each group.
        first: What kernels update at once.
        stages: All that kernels update, in order.
        composite: What tensor operations update.
        composite_by_group: The same, in a list per group.
        by_tensor: All but what is updated at once by kernels.
        rows: What is updated row by row.
        unasked: The members that tensor operations update though nobody asked for it.
        sequence: The parameters that share memory, in the order of the for-loop: a stage for a kernel, or a member that
            tensor operations update.

    Raises:
        TypeError: If an option of a group is of the wrong type.
        ValueError: If one is out of range.
        RuntimeError: If a gradient or a state tensor can't be used, or ``fused=True`` meets what the kernels can't do.
    """

    def __init__(
        self,
        groups: Groups,
        states: States,
        counts_on_device: bool,
        kernel: bool = True,
        numbering: Numbering | None = None,
    ) -> None:
        self.counts_on_device, self._may_use_kernels = counts_on_device, kernel
        self.groups = [
            Members(n, group, names, numbers, counts_on_device or _are_counted_there(group, states), kernel)
            for n, (group, (names, numbers)) in enumerate(zip(groups, numbering or _numbering(groups), strict=True))
        ]
        for members, group in zip(self.groups, groups, strict=True):
            members.check(group, states)
            for name, param in members.named():
                if param.grad is not None and is_on_rows(param, states.get(param, {}), group):
                    check_fit(name, param, states.get(param, {}), group)
                if param.grad is not None and _has_memory(param):
                    check_own(_memory(name, param, states.get(param, {})))
        self._changes = Changes()
        for members in self.groups:
            members.sort(states, self._changes)
        everyone = [member for members in self.groups for member in members.all]
        on_rows = [member for members in self.groups for member in members.on_rows]
        _part_counters([*everyone, *on_rows], states)
        self.rows = [
            update_of(member, groups[member.group], self.groups[member.group], states[member.param])
            for member in on_rows
        ]
        _check_rows_apart(everyone, on_rows, states)
        if not all(row.bind() for row in self.rows):
            raise RuntimeError("a sparse gradient was replaced during the step")
        self._mapping, self._params, self._states = states, list(states), list(states.values())
        self._arrange(everyone, states)
        self._changes.seen = self._changes.counters_shown = False

    def _arrange(self, everyone: list[Member], states: States) -> None:
        """Make the stages: parameters that share memory apart from all others."""
        memories = {
            i: _memory(member.name, member.param, states[member.param])
            for i, member in enumerate(everyone)
            if _has_memory(member.param)
        }
        self._written = stretches(memories.values())
        solos = {list(memories)[k] for k in entangled(list(memories.values()))}
        self._written_at_once = stretches(memory for i, memory in memories.items() if i not in solos)
        self._solos = [everyone[i] for i in sorted(solos)]
        apart = [member for i, member in enumerate(everyone) if i not in solos]
        buckets, misfits = self._buckets((member for member in apart if not member.reason), states, self._written)
        self.first = Stage(buckets)
        self.composite = [member for member in apart if member.reason] + misfits
        of_groups = [[m for m in self.composite if m.group == n] for n in range(len(self.groups))]
        self.composite_by_group = [members for members in of_groups if members]
        self.sequence = [self._alone(member, states) for member in self._solos]
        self.stages = [self.first, *(each for each in self.sequence if isinstance(each, Stage))]
        one_by_one = [each for each in self.sequence if isinstance(each, Member)]
        for member in (*self.composite, *one_by_one):
            composite.check_rounding(member, self.groups[member.group].rounding, is_traced=not self._may_use_kernels)
        by_operations = (*self.composite, *one_by_one, *(row.member for row in self.rows if row.member.reason))
        self.unasked = [m for m in by_operations if not self.groups[m.group].asked]
        self._composite_memories = [m for m in (*self.composite, *self._solos) if m.reason and _has_memory(m.param)]
        self._places = [member.param.data_ptr() for member in self._composite_memories]
        self._is_simple = not self._composite_memories and not self._solos
        self.by_tensor = [*self.composite, *self._solos]
        on_gpu = [bucket.on_gpu for stage in self.stages for bucket in stage.buckets]
        only_kernels = not self.composite and len(self.stages) == 1 + len(self.sequence)
        rows_on_gpu = [is_on_gpu(row.member.param) for row in self.rows]
        self.all_on_cpu = only_kernels and not any((*on_gpu, *rows_on_gpu))
        # How far an average has come is counted on the host, which must then know whether a step happens.
        counts_averages = any(isinstance(members.rule, AveragedRule) for members in self.groups)
        self.all_on_gpu = only_kernels and all(on_gpu) and not self.rows and not counts_averages

    def _alone(self, member: Member, states: States) -> Stage | Member:
        """Return what updates a parameter by itself."""
        buckets, misfits = self._buckets([] if member.reason else [member], states, stretch_table.NOWHERE, alone=True)
        return Stage(buckets) if buckets else misfits[0] if misfits else member

    def _buckets(
        self, members: Iterable[Member], states: States, written: stretch_table.Stretches, alone: bool = False
    ) -> tuple[list[Bucket], list[Member]]:
        """Return parameters sorted into buckets, all of them bound, and those that could not be bound."""
        kinds: dict[Any, list[Member]] = {}
        for member in members:
            kinds.setdefault(self._kind(member, states[member.param]), []).append(member)
        buckets: list[Bucket] = []
        misfits: list[Member] = []
        for (group, copied, *_), alike in kinds.items():
            params, of_group = [member.param for member in alike], self.groups[group]
            kept = [states[param] for param in params]
            bucket = Bucket(
                group,
                params,
                kept,
                of_group.rule,
                counts_on_device=of_group.on_device,
                copied=copied,
                alone=alone,
                rounding=of_group.rounding,
                limits_updates=of_group.limits_updates,
                clips_units=of_group.limits.of_units,
                numbers=[member.number for member in alike],
            )
            if bucket.bind(written, counters_stay=False):
                buckets.append(bucket)
            else:
                misfits += [replace(member, reason="has a gradient that no kernel can read") for member in alike]
        return buckets, misfits

    def _kind(self, member: Member, state: ParamState) -> tuple[Any, ...]:
        """Return what the parameters of a bucket have in common."""
        param, of_group = member.param, self.groups[member.group]
        counts_there = of_group.on_device and is_on_gpu(param)
        step = None if counts_there else (state.counter.dtype, state.has_pinned_counter())
        count = state.counter.item() if of_group.rule.depends_on_step and not counts_there else None
        copied = copy_dtype(param, state, of_group.rule)
        return member.group, copied, param.device, copied or param.dtype, home_of(param), step, count

    def bind(self, groups: Groups, states: States, counts_on_device: bool) -> bool:
        """Look at everything as it is now; return whether the plan serves the next step.

        Args:
            groups: The parameter groups.
            states: The optimizer's state.
            counts_on_device: As for the class.
        """
        stay = not self._changes.counters_shown
        serves = (
            not self._changes.seen
            and len(groups) == len(self.groups)
            and self._are_planned(states)
            and (self.counts_on_device or not counts_on_device)
            and all(map(Members.refresh, self.groups, groups))
            and (self.all_on_cpu or all(members.recheck() for members in self.groups))
            and (self._is_simple or (self._composite_still_lies_apart() and self._solos_still_make_sense(states)))
            and all(row.bind() for row in self.rows)
            and (self.first.bind(self._written, stay) or self._relocate())
            and (self._is_simple or all(stage.bind(stretch_table.NOWHERE, stay) for stage in self.stages[1:]))
        )
        if serves:
            self._changes.counters_shown = False
        return serves

    @property
    def is_plain(self) -> bool:
        """Whether the compiled kernel updates everything where it lies."""
        is_simple = self._is_simple and self.all_on_cpu and not self.rows
        return is_simple and all(bucket.is_plain for bucket in self.first.buckets)

    def bind_first(self) -> bool:
        """Look at the gradients alone, of a plan that is plain; return whether it serves the next step."""
        changes = self._changes
        if changes.seen or changes.counters_shown:
            return False
        return all(bucket.bind_plain(self._written) for bucket in self.first.buckets)

    def _are_planned(self, states: States) -> bool:
        """Whether each parameter has the state that it had; what else is kept beside them may come and go."""
        if (
            states is self._mapping
            and len(states) == len(self._states)
            and all(map(is_, states.values(), self._states))
        ):
            return True
        return all(
            states.get(param) is state
            for param, state in zip(self._params, self._states, strict=True)
            if isinstance(param, Tensor)
        )

    def _relocate(self) -> bool:
        """Look for everything where it is now, as when weights were swapped; return whether the plan serves there."""
        if not (self._is_simple and self.first.buckets) or not all(bucket.relocate() for bucket in self.first.buckets):
            return False
        begins, ends = np.concatenate([bucket.written() for bucket in self.first.buckets], axis=1)
        begins, ends = begins[begins < ends], ends[begins < ends]
        order = np.argsort(begins, kind="stable")
        begins, ends = begins[order], np.maximum.accumulate(ends[order])
        if (begins[1:] < ends[:-1]).any():  # some share memory now
            return False
        self._written = self._written_at_once = stretch_table.Stretches(begins, ends)
        return self.first.bind(self._written, counters_stay=False)

    def _composite_still_lies_apart(self) -> bool:
        grads = [m.param.grad for m in self.composite if m.param.grad is not None and _has_memory(m.param)]
        places = [member.param.data_ptr() for member in self._composite_memories]
        return places == self._places and not meets(self._written, map(inside, filter(_is_plain, grads)))

    def _solos_still_make_sense(self, states: States) -> bool:
        memories = [_memory(member.name, member.param, states[member.param]) for member in self._solos]
        for memory in memories:
            check_own(memory)
        return not meets(self._written_at_once, (m.grad for m in memories if m.grad is not None))


def _numbering(groups: Groups) -> Numbering:
    """Return what the parameters of each group are called, and their numbers."""
    ends = [0, *accumulate(len(group["params"]) for group in groups)]
    return list(zip(names_of(groups), (range(*pair) for pair in pairwise(ends)), strict=True))


def _are_counted_there(group: Mapping[str, Any], states: States) -> bool:
    """Whether a step counter of a group went to the device, for GradScaler say: taking it back would mean waiting."""
    counters = (states[param].get("step") for param in group["params"] if param in states)
    return any(isinstance(counter, Tensor) and counter.device.type != "cpu" for counter in counters)


def _part_counters(members: Iterable[Member], states: States) -> None:
    """Give every parameter a step counter of its own."""
    owners: dict[int, Tensor] = {}
    for member in members:
        state = states[member.param]
        if owners.setdefault(id(state.counter), member.param) is not member.param:
            state.set_counter(state.counter.clone())


def _check_rows_apart(everyone: list[Member], on_rows: list[Member], states: States) -> None:
    """Check that parameters with sparse gradients share no memory with others, which would have to take turns."""
    members = [*on_rows, *(member for member in everyone if _has_memory(member.param))] if on_rows else []
    shared = entangled([_memory(member.name, member.param, states[member.param]) for member in members])
    if found := sorted(shared & set(range(len(on_rows)))):
        raise RuntimeError(
            f"parameter {members[found[0]].name} has a sparse gradient and shares memory with another parameter or its "
            "gradient: make the gradient dense (sparse=False in an Embedding), or give it memory of its own"
        )


def _has_memory(param: Tensor) -> bool:
    memory = inside(param)
    return _is_plain(memory) and memory.device.type != "meta"


def _is_plain(tensor: Tensor) -> bool:
    return is_plain_class(type(tensor)) and tensor.layout == torch.strided


def _memory(name: str, param: Tensor, state: Mapping[str, Any]) -> Memory:
    """Return what the update of a parameter works on."""
    arrays = [inside(value) for name, value in as_held(state).items() if name != "step" and isinstance(value, Tensor)]
    grad = None if param.grad is None else inside(param.grad)
    return Memory(name, [inside(param), *arrays], grad if grad is not None and _is_plain(grad) else None)
