"""It lives in Optax's world: wrappers, schedules, JAX's transformations, pickles, several devices."""

import functools
import inspect
import json
import os
import pickle
import subprocess
import sys
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rmsprop import Rule
from rmsprop.jax import RMSpropState, from_recipe, rmsprop, scale_by_rmsprop

PARAMS = {"a": jnp.array([1.0, -2.0]), "b": (jnp.ones((2, 3)), jnp.asarray(0.5))}
EVERYTHING = {"centered": True, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01, "bias_correction": True}
OPTIONS = [{}, {"momentum": 0.9}, {"centered": True}, EVERYTHING]


def grads_of(params):
    return jax.tree.map(lambda p: 2.0 * p + 0.1, params)


def run(optimizer, steps=5, params=PARAMS, wrap=lambda update: update):
    state, update = optimizer.init(params), wrap(optimizer.update)
    for _ in range(steps):
        updates, state = update(grads_of(params), state, params)
        params = optax.apply_updates(params, updates)
    return params, state


def assert_close(a, b, rtol=1e-5):
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=rtol, atol=1e-6), a, b)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_jit_and_scan_give_the_result_of_single_steps(options):
    optimizer = rmsprop(optax.linear_schedule(0.1, 0.0, 8), **options)
    expected = run(optimizer)

    def step(carry, _):
        params, state = carry
        updates, state = optimizer.update(grads_of(params), state, params)
        return (optax.apply_updates(params, updates), state), None

    assert_close(run(optimizer, wrap=jax.jit), expected)
    assert_close(jax.lax.scan(step, (PARAMS, optimizer.init(PARAMS)), length=5)[0], expected)


def test_vmap_trains_with_several_learning_rates_at_once():
    rates = jnp.array([0.01, 0.1])
    together = jax.vmap(lambda lr: run(rmsprop(lr, momentum=0.9), 3, PARAMS["a"])[0])(rates)
    for i, lr in enumerate([0.01, 0.1]):
        assert_close(together[i], run(rmsprop(lr, momentum=0.9), 3, PARAMS["a"])[0])


@pytest.mark.parametrize("options", [*OPTIONS, {"eps_in_sqrt": False}, {"eps": 0.0}], ids=str)
def test_gradients_through_the_update_are_finite_where_nothing_has_happened_yet(options):
    def trained(lr, params):
        return run(rmsprop(lr, **options), 2, params)[0].sum()

    at_rest = jnp.full(1, -0.05)  # where the gradient is exactly 0
    for params in (PARAMS["a"], at_rest):
        assert all(jnp.isfinite(slope).all() for slope in jax.grad(trained, (0, 1))(0.1, params))


@pytest.mark.usefixtures("x64")
def test_the_gradient_through_the_update_is_the_slope():
    params = jnp.array([1.0, -2.0])

    def trained(lr, decay):
        optimizer = rmsprop(lr, decay=decay, momentum=0.9, centered=True, bias_correction=True, eps=0.1)
        return run(optimizer, 3, params)[0].sum()

    found = jax.grad(trained, (0, 1))(0.1, 0.8)
    h = 1e-6
    slopes = [(trained(0.1 + h, 0.8) - trained(0.1 - h, 0.8)), (trained(0.1, 0.8 + h) - trained(0.1, 0.8 - h))]
    np.testing.assert_allclose(found, np.array(slopes) / (2 * h), rtol=1e-6)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_donated_buffers_are_used_in_place(options):
    optimizer, params = rmsprop(0.1, **options), jnp.ones(1000)
    state = optimizer.init(params)

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def step(params, state, grads):
        updates, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    if not options.get("nesterov"):  # XLA then copies the buffer, of Optax's too
        assert "copy" not in step.lower(params, state, params).compile().as_text()
    before = {leaf.unsafe_buffer_pointer() for leaf in jax.tree.leaves((params, state)) if leaf.size > 1}
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # JAX warns of a buffer that was donated in vain
        params, state = step(params, state, jnp.ones(1000))
    after = {leaf.unsafe_buffer_pointer() for leaf in jax.tree.leaves((params, state)) if leaf.size > 1}
    assert before == after


NUMBERS = {"decay": 0.8, "eps": 1e-3, "momentum": 0.7, "weight_decay": 0.1, "initial_square_avg": 0.5}


@pytest.mark.parametrize("wrap", [lambda update: update, jax.jit], ids=["eager", "jit"])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_every_number_may_be_injected(options, wrap):
    hyper = {"learning_rate": 0.1, **options, **NUMBERS}
    params, state = run(optax.inject_hyperparams(rmsprop)(**hyper), wrap=wrap)
    assert_close((params, state.inner_state), run(rmsprop(**hyper)))
    assert {"learning_rate", *NUMBERS} == state.hyperparams.keys()


@pytest.mark.parametrize("wrap", [lambda update: update, jax.jit], ids=["eager", "jit"])
@pytest.mark.parametrize("largest", [0.0, 0.4])
@pytest.mark.parametrize("mode", ["decoupled", "cautious"])
def test_an_injected_largest_rate_of_zero_corrects_nothing(mode, largest, wrap):
    hyper = {"learning_rate": 0.1, "weight_decay": 0.5, "weight_decay_mode": mode, "weight_decay_max_lr": largest}
    injected = run(optax.inject_hyperparams(rmsprop)(**hyper), wrap=wrap)[0]
    assert_close(injected, run(rmsprop(**hyper))[0])
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(injected))


@pytest.mark.parametrize("decay", [0.0, 0.3])
@pytest.mark.parametrize(
    "options", [{}, {"bias_correction": True}, {"bias_correction": True, "centered": True}], ids=str
)
def test_a_small_decay_may_be_injected(decay, options):
    hyper = {"learning_rate": 0.1, "decay": decay, "momentum": 0.0, **options}
    assert_close(run(optax.inject_hyperparams(rmsprop)(**hyper), wrap=jax.jit)[0], run(rmsprop(**hyper))[0])


@pytest.mark.parametrize("wrap", [lambda update: update, jax.jit], ids=["eager", "jit"])
@pytest.mark.parametrize("lr", [-1e-19, -0.5])
def test_an_injected_learning_rate_may_end_below_zero(lr, wrap):
    optimizer, gradient = optax.inject_hyperparams(rmsprop)(learning_rate=0.1, decay=0.75), jnp.full(1, 2.0)
    state = optimizer.init(jnp.ones(1))
    state.hyperparams["learning_rate"] = jnp.asarray(lr)
    updates, _ = wrap(optimizer.update)(gradient, state)
    np.testing.assert_array_equal(updates, np.full(1, -2.0 * lr, np.float32))  # g/√v = 2


def test_an_injected_learning_rate_is_finite():
    optimizer = optax.inject_hyperparams(rmsprop)(learning_rate=0.1)
    state = optimizer.init(jnp.ones(1))
    state.hyperparams["learning_rate"] = jnp.asarray(jnp.nan)
    with pytest.raises(ValueError, match=r"Invalid learning rate: nan \(allowed: a finite number\)"):
        optimizer.update(jnp.ones(1), state)


def test_the_signature_names_every_option_so_that_all_may_be_injected():
    assert set(inspect.signature(rmsprop).parameters) == {
        *("learning_rate", "initial_scale", "eps_in_sqrt", "dialect"),
        *Rule.__slots__,
    }
    optimizer = optax.inject_hyperparams(rmsprop)(0.1, momentum=0.5, lr_in_momentum=False, weight_decay=0.1)
    assert {"momentum", "weight_decay"} <= optimizer.init(jnp.ones(1)).hyperparams.keys()


def test_an_injected_number_may_be_a_schedule_and_may_be_changed_by_hand():
    optimizer = optax.inject_hyperparams(rmsprop)(learning_rate=lambda count: 0.1 / (count + 1), momentum=0.5)
    expected = run(rmsprop(lambda count: 0.1 / (count + 1), momentum=0.5))
    params, state = run(optimizer, wrap=jax.jit)
    assert_close(params, expected[0])
    state.hyperparams["momentum"] = jnp.asarray(0.0)
    updates, _ = jax.jit(optimizer.update)(grads_of(params), state, params)
    plain, _ = rmsprop(0.1 / 6).update(grads_of(params), expected[1], params)
    assert_close(updates, plain)


def test_an_injected_number_of_a_bfloat16_model_is_used_in_float32():
    optimizer = optax.inject_hyperparams(rmsprop)(learning_rate=0.1, decay=0.75, bias_correction=True)
    params = jnp.ones(2, jnp.bfloat16)
    _, state = optimizer.update(params * 3, optimizer.init(params), params)
    _, state = optimizer.update(params, state, params)
    np.testing.assert_allclose(state.inner_state.square_avg, (0.75 * 9 + 1) / 1.75, rtol=1e-6)


def test_a_recipe_may_be_injected():
    optimizer = optax.inject_hyperparams(from_recipe, static_args=("name",))("efficientnet", learning_rate=0.1)
    params, plain = jnp.ones(2), from_recipe("efficientnet", learning_rate=0.1)
    updates, state = optimizer.update(params, optimizer.init(params), params)
    assert set(state.hyperparams) == {"learning_rate"}
    np.testing.assert_array_equal(updates, plain.update(params, plain.init(params), params)[0])


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float8_e4m3fn, jnp.float32])
@pytest.mark.parametrize("options", [{}, {"momentum": 0.9, "weight_decay": 0.1}, {"centered": True}], ids=str)
def test_dtypes_are_never_promoted_implicitly(dtype, options):
    params, optimizer = jnp.ones(2, dtype), rmsprop(0.1, **options)
    with jax.numpy_dtype_promotion("strict"):
        updates, state = optimizer.update(params, optimizer.init(params), params)
    assert (updates.dtype, jax.tree.leaves(state)[1].dtype) == (dtype, jnp.float32)


def test_masked_leaves_pass_through():
    optimizer = optax.masked(rmsprop(0.1, momentum=0.9), {"a": True, "b": False})
    updates, state = optimizer.update(grads_of(PARAMS), optimizer.init(PARAMS), PARAMS)
    expected, _ = rmsprop(0.1, momentum=0.9).update(grads_of(PARAMS), rmsprop(0.1, momentum=0.9).init(PARAMS))
    assert_close(updates["a"], expected["a"])
    assert_close(updates["b"], grads_of(PARAMS)["b"])
    assert len(jax.tree.leaves(state)) == 3


def test_multi_transform_gives_each_label_its_own():
    optimizer = optax.multi_transform({"fast": rmsprop(1.0), "slow": rmsprop(0.1)}, {"a": "fast", "b": "slow"})
    updates, _ = optimizer.update(grads_of(PARAMS), optimizer.init(PARAMS), PARAMS)
    one, _ = rmsprop(0.1).update(grads_of(PARAMS), rmsprop(0.1).init(PARAMS))
    assert_close(updates, {"a": 10 * one["a"], "b": one["b"]})


def test_multi_steps_count_as_one():
    accumulated = optax.MultiSteps(rmsprop(0.1, bias_correction=True), every_k_schedule=2)
    params, state = PARAMS, accumulated.init(PARAMS)
    for _ in range(2):
        updates, state = accumulated.update(grads_of(PARAMS), state, params)
        params = optax.apply_updates(params, updates)
    assert_close(params, run(rmsprop(0.1, bias_correction=True), 1)[0])
    assert state.inner_opt_state.count == 1


def test_chains_scale_the_direction():
    rule = Rule.from_dialect("optax", momentum=0.9, lr_in_momentum=False, nesterov=True)
    chained = optax.chain(scale_by_rmsprop(rule), optax.scale_by_learning_rate(0.1))
    assert_close(run(chained)[0], run(rmsprop(0.1, momentum=0.9, lr_in_momentum=False, nesterov=True))[0])
    clipped = optax.chain(optax.clip_by_global_norm(1.0), rmsprop(0.1))
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(run(clipped, wrap=jax.jit)))


def test_apply_if_finite_leaves_the_state_alone():
    optimizer = optax.apply_if_finite(rmsprop(0.1), 3)
    state = optimizer.init(PARAMS)
    updates, state = optimizer.update(jax.tree.map(lambda p: p * jnp.nan, PARAMS), state, PARAMS)
    assert all((leaf == 0).all() for leaf in jax.tree.leaves((updates, state.inner_state)))


def test_additional_arguments_of_others_are_ignored():
    optimizer = optax.chain(rmsprop(0.1), optax.contrib.reduce_on_plateau())
    optimizer.update(grads_of(PARAMS), optimizer.init(PARAMS), PARAMS, value=1.0)
    rmsprop(0.1).update(grads_of(PARAMS), rmsprop(0.1).init(PARAMS), PARAMS, value=1.0)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_tree_map_params_reaches_exactly_the_trees(options):
    optimizer = rmsprop(0.1, **options)
    state = run(optimizer)[1]
    cleared = optax.tree.map_params(optimizer, jnp.zeros_like, state)
    assert cleared.count == 5
    assert all((leaf == 0).all() for leaf in jax.tree.leaves(cleared._replace(count=None)))


def test_the_state_is_read_and_set_by_name():
    state = run(optax.chain(optax.clip(1.0), rmsprop(0.1, momentum=0.9)))[1]
    assert optax.tree.get(state, "count") == 5
    assert optax.tree.get(state, "square_avg")["a"].shape == (2,)
    assert optax.tree.get(optax.tree.set(state, count=jnp.asarray(7)), "count") == 7


@pytest.mark.parametrize("options", OPTIONS[:3], ids=str)
def test_the_state_is_read_by_the_names_of_optax(options):
    state, theirs = (run(optax.chain(optax.clip(1.0), make(0.1, **options)))[1] for make in (rmsprop, optax.rmsprop))
    for name in ("nu", "mu", "trace"):
        expected, found = optax.tree.get(theirs, name), optax.tree.get(state, name)
        assert (found is None) == (expected is None)
        if name == "trace" and found is not None:
            found = jax.tree.map(jnp.negative, found)  # Optax's holds what is added
        if found is not None:
            assert_close(found, expected)


def plus_one(tree):
    return jax.tree.map(lambda x: x + 1.0, tree)


@pytest.mark.parametrize("options", OPTIONS[:3], ids=str)
@pytest.mark.parametrize("names", [("nu",), ("mu",), ("trace",), ("nu", "count"), ("count", "nu", "mu", "trace")])
def test_the_state_is_set_by_the_names_of_optax(options, names):
    state = run(optax.chain(optax.clip(1.0), rmsprop(0.1, **options)))[1]
    given = {name: optax.tree.get(state, name) for name in ("count", "nu", "mu", "trace")}
    new = {name: plus_one(given[name]) if name in names and given[name] is not None else given[name] for name in given}
    if all(new[name] is given[name] for name in names):
        with pytest.warns(UserWarning, match="nothing in this RMSpropState was replaced: it has none of the values"):
            found = optax.tree.set(state, **dict.fromkeys(names, 0.0))
    else:
        found = optax.tree.set(state, **{name: new[name] for name in names})
    for name in given:
        assert_close(optax.tree.get(found, name), new[name])
    assert jax.tree.structure(found) == jax.tree.structure(state)


def test_a_filter_says_whose_values_are_set():
    adams, ours = state = run(optax.chain(optax.scale_by_adam(), rmsprop(0.1)))[1]
    zeros = optax.tree.zeros_like(ours.nu)
    found = optax.tree.set(state, lambda path, _: path[-1].tuple_name == "RMSpropState", nu=zeros)
    assert jax.tree.all(jax.tree.map(jnp.array_equal, (found[0], found[1].square_avg), (adams, zeros)))
    both = optax.tree.set(state, nu=zeros)
    assert jax.tree.all(jax.tree.map(jnp.array_equal, (both[0].nu, both[1].square_avg), (zeros, zeros)))


@pytest.mark.parametrize(
    ("options", "kept"),
    [({}, {"square_avg"}), ({"centered": True, "momentum": 0.9}, {"grad_avg", "grad_var", "momentum_buffer"})],
)
def test_the_state_holds_what_the_rule_needs_and_survives_a_pickle(options, kept):
    state = run(rmsprop(0.1, **options))[1]
    assert {name for name in RMSpropState._fields if getattr(state, name) is not None} == kept | {"count"}
    copy = pickle.loads(pickle.dumps(state))
    assert isinstance(copy, RMSpropState)
    assert jax.tree.structure(copy) == jax.tree.structure(state)
    assert jax.tree.all(jax.tree.map(jnp.array_equal, copy, state))


def test_the_counter_stays_at_its_largest_value():
    optimizer = rmsprop(0.1)
    state = optimizer.init(PARAMS)._replace(count=jnp.asarray(2**31 - 1, jnp.int32))
    assert optimizer.update(grads_of(PARAMS), state)[1].count == 2**31 - 1


def test_a_parameter_without_gradient_stays_as_it_is():
    optimizer = rmsprop(0.1, momentum=0.9)
    params = {"a": jnp.ones(2), "b": jnp.ones(2)}
    _, state = optimizer.update(params, optimizer.init(params))
    updates, after = optimizer.update({"a": params["a"], "b": None}, state, params)
    assert updates["b"] is None
    assert after.square_avg["b"] is state.square_avg["b"]
    none = {"a": jnp.ones(2), "b": None}
    assert optimizer.update(none, optimizer.init(none), none)[0]["b"] is None


def test_python_numbers_are_leaves_too():
    updates, state = rmsprop(0.1).update(3.0, rmsprop(0.1).init(1.0), 1.0)
    assert_close(
        updates, rmsprop(0.1).update(jnp.asarray(3.0), state._replace(count=0, square_avg=jnp.asarray(0.0)))[0]
    )


SHARDED = """
import json, functools, jax, jax.numpy as jnp, numpy as np, optax
from jax.sharding import NamedSharding, PartitionSpec as P
from rmsprop.jax import rmsprop
mesh = jax.make_mesh((4,), ("x",), axis_types=(jax.sharding.AxisType.Auto,))
split = NamedSharding(mesh, P("x"))
optimizer = rmsprop(0.1, centered=True, momentum=0.9)

@functools.partial(jax.jit, donate_argnums=(0, 1))
def step(params, state):
    updates, state = optimizer.update(jnp.sin(params), state, params)
    return optax.apply_updates(params, updates), state

def train(params):
    state = optimizer.init(params)
    for _ in range(3):
        params, state = step(params, state)
    return params, state

start = np.arange(64.0, dtype=np.float32).reshape(16, 4)
text = step.lower(jax.device_put(start, split), optimizer.init(jax.device_put(start, split))).compile().as_text()
one, many = train(jnp.asarray(start)), train(jax.device_put(start, split))
fresh = optimizer.init(jax.device_put(start, split))
specs = jax.tree.map(lambda leaf: leaf.sharding.spec, fresh)
mapped = jax.jit(jax.shard_map(step, mesh=mesh, in_specs=(P("x"), specs), out_specs=(P("x"), specs)))
held = jax.device_put(start, split), fresh
for _ in range(3):
    held = mapped(*held)
print(json.dumps({
    "devices": len(jax.devices()),
    # XLA fuses multiplications with additions, and from 0.12 on otherwise in a quarter of the array than in all of it.
    "equal": jax.tree.all(jax.tree.map(lambda a, b: bool(np.allclose(a, b, rtol=4 * 2.0**-24, atol=0)), one, many)),
    "mapped": jax.tree.all(jax.tree.map(lambda a, b: bool(np.allclose(a, b, rtol=4 * 2.0**-24, atol=0)), held, many)),
    "count on": len(fresh.count.sharding.device_set),
    "split": [leaf.sharding.is_equivalent_to(split, 2) for leaf in jax.tree.leaves(many) if leaf.ndim == 2],
    "talks": any(word in text for word in ("all-gather", "all-reduce", "collective-permute", "all-to-all")),
}))
"""


def on_four_devices(program):
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=4", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env={**os.environ, **flags})
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_arrays_on_several_devices_stay_where_they_are():
    found = on_four_devices(SHARDED)
    assert found.pop("split") == [True] * 4
    assert found == {"devices": 4, "equal": True, "mapped": True, "count on": 4, "talks": False}


CAUTION = """
import json, jax, jax.numpy as jnp, numpy as np
from jax.sharding import NamedSharding, PartitionSpec as P
from rmsprop.jax import rmsprop
mesh = jax.make_mesh((4,), ("x",), axis_types=(jax.sharding.AxisType.Auto,))
split = NamedSharding(mesh, P("x"))
optimizer = rmsprop(0.1, momentum=0.9, caution=True)
grads = np.random.default_rng(0).normal(size=(3, 64)).astype(np.float32)

def train(update, params, some=slice(None)):
    state = optimizer.init(params)
    for grad in grads[:, some]:
        updates, state = update(jax.device_put(grad, params.sharding), state, params)
        params = params + updates
    return np.asarray(params)

start = np.linspace(-1, 1, 64, dtype=np.float32)
whole, spread, update = jnp.asarray(start), jax.device_put(start, split), jax.jit(optimizer.update)
specs = jax.tree.map(lambda leaf: leaf.sharding.spec, optimizer.init(spread))
there = P("x")
mapped = jax.jit(jax.shard_map(optimizer.update, mesh=mesh, in_specs=(there, specs, there), out_specs=(there, specs)))
alone = [train(update, whole[i : i + 16], slice(i, i + 16)) for i in range(0, 64, 16)]
parts, state = start.reshape(4, 16), jax.pmap(optimizer.init)(start.reshape(4, 16))
for grad in grads:
    updates, state = jax.pmap(optimizer.update)(grad.reshape(4, 16), state, parts)
    parts = parts + updates
# three updates of a parameter below 4, whose sums XLA may fuse with products: a rounding of 2**-24 of it each
near = lambda a, b: bool(np.allclose(a, b, rtol=0, atol=3 * 4 * 2.0**-24))
print(json.dumps({
    "jit counts the whole": near(train(update, spread), train(update, whole)),
    "shard_map counts each part": near(train(mapped, spread), np.concatenate(alone)),
    "and pmap": near(np.asarray(parts).ravel(), np.concatenate(alone)),
    "which is something else": float(np.abs(train(mapped, spread) - train(update, whole)).max()) > 0.1,
}))
"""


def test_caution_counts_the_whole_of_an_array_on_several_devices_and_each_part_under_shard_map():
    found = on_four_devices(CAUTION)
    assert found == dict.fromkeys(found, True)


INJECTED = """
import json, jax, jax.numpy as jnp, optax
from jax.sharding import NamedSharding, PartitionSpec as P
from rmsprop.jax import rmsprop
mesh = jax.make_mesh((4,), ("x",), axis_types=(jax.sharding.AxisType.Auto,))
params = jax.device_put(jnp.linspace(-1, 1, 64), NamedSharding(mesh, P("x")))
everywhere = NamedSharding(mesh, P())

def restored(state):  # as Orbax does it: numbers are held to the devices of the form
    return jax.tree.map(lambda x: jax.device_put(jax.device_get(x), x.sharding), state)

def goes_on(optimizer, spread):
    state = optimizer.init(params)
    if spread:
        state = jax.tree.map(lambda x: x if len(x.sharding.device_set) > 1 else jax.device_put(x, everywhere), state)
    try:
        jax.jit(optimizer.update)(params, restored(state), params)
    except ValueError as error:
        return "incompatible devices" not in str(error)
    return True

made = {"ours": rmsprop, "theirs": optax.rmsprop}
injected = {name: optax.inject_hyperparams(make)(learning_rate=0.1) for name, make in made.items()}
found = {name: [goes_on(optimizer, spread) for spread in (False, True)] for name, optimizer in injected.items()}
print(json.dumps(found | {"alone": goes_on(rmsprop(0.1), False)}))
"""


def test_injected_numbers_are_optaxs_and_stand_on_one_device_until_they_are_spread():
    assert on_four_devices(INJECTED) == {"ours": [False, True], "theirs": [False, True], "alone": True}
