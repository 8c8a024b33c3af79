"""What the compiler makes of the kernel, for which it needs no GPU: operations round once, memory is read wide."""

import ctypes
import importlib.util
import re
import subprocess
import sys
from collections import Counter
from types import SimpleNamespace

import pytest
import torch

if sys.platform != "linux":
    pytest.skip("Triton is for Linux", allow_module_level=True)

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from rmsprop import Rule, layout
from rmsprop.torch import RMSprop, gpu
from rmsprop.torch import device as devices
from rmsprop.torch import triton as kernels
from rmsprop.torch.triton import tables

HOPPER, MI300 = GPUTarget("cuda", 90, 32), GPUTarget("hip", "gfx942", 64)
PLAIN, FULL = Rule(), Rule(centered=True, momentum=0.9, nesterov=True)
CAUTIOUS = Rule(centered=True, momentum=0.9, caution=True)
# Options that change between steps, and not the state that they need.
CHANGES = [
    {},
    {"nesterov": True},
    {"lr_in_momentum": True},
    {"momentum": 0.3},
    {"weight_decay": 0.1},
    {"weight_decay_mode": "decoupled"},
    {"alpha": 0.3, "eps": 1e-3, "eps_inside_sqrt": True},
    {"maximize": True, "lr": 0.5},
]
TABLES = {"tensors": "*i64", "grads": "*i64", "rules": "*i64", "owners": "*i32"}


SCALARS = {"grad_scale": "*fp32", "found_inf": "*fp32", "factor": "*fp64"}
SCALES = {"units": "*i64", "update_scales": "*fp64", "agreement_scales": "*fp64"}


def assembly_of(kernel, present, constants, target, block=tables.BLOCK, aligned=()):
    """A kernel, compiled for a target. Arguments without a type are None."""
    constants = {name: value for name, value in constants.items() if name in kernel.arg_names} | {"BLOCK": block}
    constants |= dict.fromkeys(name for name in kernel.arg_names if name not in present and name not in constants)
    place = {name: (number,) for number, name in enumerate(kernel.arg_names)}
    source = ASTSource(
        kernel,
        {name: "constexpr" if name in constants else present[name] for name in place},
        {place[name]: value for name, value in constants.items()},
        {place[name]: [["tt.divisibility", 16]] for name in aligned},
    )
    return triton.compile(source, target, tables.launch_options(target.warp_size, block)).asm


def compiled(rule, dtype, target=HOPPER, scaled=True, rounding="nearest", packing=None, scales=()):
    """The update, compiled for a target."""
    constants = tables.types(dtype, packing) | gpu.code(rule, rounding, packing)
    present = TABLES | {"span": "i32"} | (SCALARS if scaled else {}) | {name: SCALES[name] for name in scales}
    present |= {"steps": "*i64"} if gpu.takes_chances(rounding, packing) else {}
    present |= {"agreement_scales": "*fp64"} if rule.caution else {}
    return assembly_of(kernels.kernel.update, present, constants, target, aligned=TABLES)


def instructions(ptx):
    return Counter(re.findall(r"^\s*(?:@!?%p\d+ )?([a-z][\w.]+(?:::[\w.]+)?) ", ptx, re.MULTILINE))


@pytest.mark.parametrize("rule", [PLAIN, FULL, CAUTIOUS], ids=["plain", "full", "caution"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "float16"])
def test_every_operation_on_nvidia_rounds_once(rule, dtype):
    found = instructions(compiled(rule, dtype)["ptx"])
    name = "f64" if dtype == "float64" else "f32"
    arithmetic = {i for i in found if re.match(r"(add|sub|mul|div|sqrt|rsqrt|rcp|fma|mad|ex2|lg2)\b.*\.f(16|32|64)", i)}
    assert {f"{operation}.rn.{name}" for operation in ("add", "sub", "mul", "div", "sqrt")} <= arithmetic
    assert all(re.fullmatch(r"(add|sub|mul|div|sqrt)\.rn\.f(32|64)", i) for i in arithmetic)  # no fma, no flushing
    if dtype in ("bfloat16", "float16"):
        assert any(re.fullmatch(r"cvt\.rn\.b?f16(x2)?\.f32", i) for i in found)


def check_rounds_once(assembly, expected):
    found = instructions(assembly["ptx"])
    arithmetic = {i for i in found if re.match(r"(add|sub|mul|div|sqrt|rsqrt|rcp|fma|mad)\b.*\.f(16|32|64)", i)}
    assert expected <= arithmetic
    assert all(re.fullmatch(r"(add|sub|mul|div|sqrt)\.rn\.f(32|64)", i) for i in arithmetic)
    return found


def test_averages_round_once():
    constants = tables.types("float32") | gpu.code(PLAIN, "nearest", averages=True)
    check_rounds_once(
        assembly_of(kernels.kernel.update, TABLES | {"span": "i32"}, constants, HOPPER), {"mul.rn.f32", "add.rn.f32"}
    )


def test_scales_round_once():
    check_rounds_once(compiled(CAUTIOUS, "float32", scales=SCALES), {"mul.rn.f64", "mul.rn.f32"})


MEASURES = {"count_agreements": "agreements", "measure_quotients": "words"}


@pytest.mark.parametrize("target", [HOPPER, MI300], ids=["nvidia", "amd"])
@pytest.mark.parametrize("packing", [None, "8bit"])
@pytest.mark.parametrize("name", MEASURES)
def test_measures_round_as_the_update_does(name, packing, target):
    constants = tables.types("float32", packing) | {"CENTERED": True, "ROUNDING": "nearest"}
    present = TABLES | {"span": "i32", MEASURES[name]: "*i64"} | SCALARS | {"units": "*i64", "update_scales": "*fp64"}
    assembly = assembly_of(getattr(kernels.measures, name), present, constants, target)
    if target is HOPPER:
        found = check_rounds_once(assembly, {"div.rn.f32", "sqrt.rn.f32"})
        assert not any(i.startswith("st.global") for i in found)  # it writes measures alone, atomically
        assert any(i.startswith(("atom.", "red.")) for i in found)


ROWS = {
    "update_rows": {"rule": "*i64", "grads": "*fp32", "rows": "*i64", "order": "*i64", "entries": "i32"},
    "settle_rows": {},
}


@pytest.mark.parametrize("target", [HOPPER, MI300], ids=["nvidia", "amd"])
@pytest.mark.parametrize("packing", [None, "8bit"])
@pytest.mark.parametrize("name", ROWS)
def test_rows_round_as_the_update_does(name, packing, target):
    numbers = dict.fromkeys(("segment_count", "now", "count", "width", "per_unit"), "i32")
    present = {"tensor": "*i64", "last": "*i32", "segments": "*i64", **numbers, **ROWS[name]}
    constants = tables.types("float32", packing) | {"CENTERED": True, "BUFFER": "momentum", "ROUNDING": "nearest"}
    kernel, block = getattr(kernels.rows, name), tables.least_block(target.warp_size)
    assembly = assembly_of(kernel, present, constants, target, block)
    if target is HOPPER:
        check_rounds_once(assembly, {"mul.rn.f64", "div.rn.f64"})


@pytest.mark.parametrize("target", [HOPPER, MI300], ids=["nvidia", "amd"])
@pytest.mark.parametrize("rounding", ["stochastic", "kahan"])
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_rounding_compiles(dtype, rounding, target):
    assembly = compiled(PLAIN, dtype, target, rounding=rounding)
    if target is HOPPER:
        found = instructions(assembly["ptx"])
        rounds_to_nearest = any(re.fullmatch(r"cvt\.rn\.b?f16(x2)?\.f32", i) for i in found)
        assert rounds_to_nearest is (rounding == "kahan")
        assert not any(i.startswith("fma") for i in found)


@pytest.mark.parametrize("target", [HOPPER, MI300], ids=["nvidia", "amd"])
@pytest.mark.parametrize("packing", ["bfloat16", "8bit"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_packed_state_compiles(dtype, packing, target):
    assembly = compiled(FULL, dtype, target, packing=packing)
    if target is HOPPER:
        found = instructions(assembly["ptx"])
        assert not any(i.startswith("fma") for i in found)
        kept = "ld.global.b32" if packing == "8bit" else "ld.global.v2.b32"  # four numbers of a thread at a time
        assert found[kept] >= 3


@pytest.mark.parametrize(("rule", "arrays"), [(PLAIN, 1), (FULL, 3)], ids=["plain", "full"])
def test_whole_blocks_are_read_and_written_16_bytes_at_a_time(rule, arrays):
    found = instructions(compiled(rule, "float32")["ptx"])
    assert found["ld.global.v4.b32"] == 2 + arrays
    assert found["st.global.v4.b32"] == 1 + arrays


def test_a_multiprocessor_holds_enough_programs_to_keep_memory_busy(tmp_path):
    # A Hopper multiprocessor has 65536 registers and must have some 20 kB on the way (3.3 TB/s times 0.8 µs, shared by
    # 132). A thread reads 48 bytes at a time.
    file = tmp_path / "kernel.cubin"
    file.write_bytes(compiled(PLAIN, "float32", scaled=False)["cubin"])
    command = [triton.knobs.nvidia.cuobjdump.path, "--dump-resource-usage", file]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert 65536 // int(re.search(r"REG:(\d+)", said)[1]) * 48 > 2 * 20_000


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_it_compiles_for_amd_too(dtype):
    assembly = compiled(FULL, dtype, MI300)["amdgcn"]
    assert "v_div_fixup_f32" in assembly  # ends an exact division
    assert "store_dwordx4" in assembly


class Launcher:
    """A kernel that is compiled as a launch compiles it, and not launched."""

    def __init__(self, kernel, compiled_kernels):
        self.arg_names, self._compiled = kernel.arg_names, compiled_kernels
        self._kernel = triton.JITFunction(kernel.fn, do_not_specialize=kernel.do_not_specialize)
        self.run = self._kernel.run

    def __getitem__(self, grid):
        return lambda *args, **options: self._compiled.append(self._kernel.warmup(*args, grid=grid, **options))


def launchers(module, compiled_kernels):
    kernels = {name: each for name, each in vars(module).items() if hasattr(each, "do_not_specialize")}
    return SimpleNamespace(**{name: Launcher(kernel, compiled_kernels) for name, kernel in kernels.items()})


@pytest.fixture
def launched(monkeypatch):
    """Lets steps on the CPU go as far as a launch on a GPU goes without one; returns the compiled kernels."""
    compiled_kernels = []
    monkeypatch.setattr(devices, "DEVICE_TYPES", {"cpu"})
    monkeypatch.setattr(devices, "_obstacle", lambda: None)
    modules = {name: launchers(getattr(kernels, name), compiled_kernels) for name in ("kernel", "measures", "rows")}
    monkeypatch.setattr(gpu, "kernels", lambda: SimpleNamespace(tables=tables, **modules))
    pretended = SimpleNamespace(
        get_current_target=lambda: HOPPER, get_current_device=lambda: 0, get_current_stream=lambda _: 0
    )
    monkeypatch.setattr(triton.runtime.driver, "_active", pretended)
    return compiled_kernels


# What is compiled in, what is for the CPU alone, and what this test adds.
NOT_READ = ("a_new_number", "centered", "has_momentum", "limits", "averages", "caution")


@pytest.mark.parametrize("before", [0, 3, len(layout.NUMBERS)])
def test_a_new_number_in_the_struct_moves_all_that_the_kernel_reads(before, monkeypatch):
    fields = list(layout.NUMBERS.items())
    fields.insert(before, ("a_new_number", ctypes.c_double))
    struct = type("Struct", (ctypes.Structure,), {"_fields_": fields})
    monkeypatch.setattr(layout, "RuleStruct", struct)
    monkeypatch.setattr(layout, "NUMBERS", dict(fields))
    monkeypatch.setattr(layout, "NUMBERS_BYTES", ctypes.sizeof(struct))
    tables, numbers = loaded("tables"), loaded("numbers")
    for name, kind in layout.NUMBERS.items():
        if name not in NOT_READ:
            place = getattr(numbers, f"AT_{name.upper()}").value * ctypes.sizeof(kind)
            assert place == getattr(struct, name).offset, name
    words = ctypes.sizeof(struct) // 8
    found = tables.LR_ADDRESS.value, tables.LR_BYTES.value, tables.WORDS_PER_RULE.value
    assert found == (words, words + 1, words + 2)


def loaded(name):
    found = importlib.util.find_spec(f"rmsprop.torch.triton.{name}")
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def test_one_compiled_kernel_serves_any_number_of_tensors_and_any_numbers(launched):
    for count, lr in ((1, 0.1), (2, 1.0), (3, torch.tensor(0.1)), (16, torch.tensor(0.1).double())):
        params = [torch.ones(100) for _ in range(count)]
        optimizer = RMSprop([{"params": params, "weight_decay": 0.1 * count}], lr=lr, eps=1.0 / count)
        for param in params:
            param.grad = torch.ones_like(param)
        optimizer.step()
    assert len(launched) == 4
    assert len(set(map(id, launched))) == 1


def test_a_step_compiles_what_it_measures_with(launched):
    param = torch.ones(10, 3)
    limits = {"max_update_rms": 1.0, "max_grad_ratio": 0.1, "caution": True}
    optimizer = RMSprop([param], momentum=0.9, **limits)
    for step in range(2):
        param.grad = torch.ones_like(param)
        optimizer.step()
        assert len(launched) == 3 * (step + 1)
    assert len(set(map(id, launched))) == 3


def test_one_compiled_kernel_serves_all_gradients_of_rows(launched):
    param = torch.ones(40, 16)
    optimizer = RMSprop([param])
    for count in (1, 16, 5, 32):
        rows = torch.arange(count)[None]
        param.grad = torch.sparse_coo_tensor(rows, torch.ones(count, 16), param.shape, check_invariants=True)
        optimizer.step()
    optimizer.state_dict()
    assert len(launched) == 5
    assert len(set(map(id, launched))) == 2  # one updates rows, one brings all to date


def test_one_compiled_kernel_serves_all_options_but_those_that_decide_which_state_there_is(launched):
    param = torch.ones(100)
    optimizer = RMSprop([param], momentum=0.9)
    for options in CHANGES:
        optimizer.param_groups[0].update(options)
        param.grad = torch.ones_like(param)
        optimizer.step()
    assert len(launched) == len(CHANGES)
    assert len(set(map(id, launched))) == 1


NORM_KERNELS = {
    "add_squares": (
        {"tensors": "*i64", "grads": "*i64", "owners": "*i32", "span": "i32", "words": "*i64"},
        {"STORED": triton.language.bfloat16, "BLOCK": tables.BLOCK},
    ),
    "finish": (
        {"words": "*i64", "max_norm": "i64", "scale": "i64", "grad_scale": "*fp32", "found_inf": "*fp32"}
        | {"skipped": "*i64", "numbers": "*fp64", "found": "*fp32"},
        {"PLACES": 64},
    ),
}


@pytest.mark.parametrize("target", [HOPPER, MI300], ids=["nvidia", "amd"])
@pytest.mark.parametrize("name", NORM_KERNELS)
def test_every_operation_of_the_norm_rounds_once(name, target):
    kernel, (signature, constants) = getattr(kernels.norm, name), NORM_KERNELS[name]
    place = {name: (number,) for number, name in enumerate(kernel.arg_names)}
    constant_places = {place[name]: value for name, value in constants.items()}
    source = ASTSource(kernel, signature | dict.fromkeys(constants, "constexpr"), constant_places, {})
    assembly = triton.compile(source, target, tables.launch_options(target.warp_size)).asm
    if target is HOPPER:
        found = instructions(assembly["ptx"])
        wide = {i for i in found if re.match(r"(add|sub|mul|div|sqrt|rsqrt|rcp|fma|mad)\b.*\.f64", i)}
        assert wide
        assert all(re.fullmatch(r"(add|sub|mul|div|sqrt)\.rn\.f64", i) for i in wide)
