"""Bad input is refused in one sentence, before anything is computed."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.experimental import sparse

from rmsprop import Rule
from rmsprop.jax import from_recipe, rmsprop, scale_by_rmsprop

ONE_NUMBER = "is an array of shape (2,), but a hyperparameter is one number"


@pytest.mark.parametrize(("returned", "shown"), [(None, "None"), ("0.1", "'0.1'")])
def test_a_schedule_that_returns_no_number(returned, shown):
    optimizer = rmsprop(lambda count: returned)
    with pytest.raises(TypeError, match=f"a schedule returned {shown}, but a learning rate is one number"):
        optimizer.update(jnp.ones(2), optimizer.init(jnp.ones(2)))


@pytest.mark.parametrize("leaf", ["relu", jax.nn.relu], ids=["text", "function"])
def test_parameters_are_arrays(leaf):
    with pytest.raises(TypeError, match="needs to be an array: leave it out, as equinox"):
        rmsprop(0.1).init({"w": jnp.ones(2), "activation": leaf})


def test_a_gradient_of_integers_says_what_to_give():
    params = {"w": jnp.ones(2), "n": jnp.asarray(3)}
    grads = jax.grad(lambda params: jnp.sum(params["w"]), allow_int=True)(params)
    optimizer = rmsprop(0.1)
    state = optimizer.init(params)
    with pytest.raises(TypeError, match=r"dtype float0, .* give None in its place"):
        optimizer.update(grads, state, params)
    updates, _ = optimizer.update(grads | {"n": None}, state, params)
    assert updates["n"] is None


@pytest.mark.parametrize(
    ("grads", "params", "what"),
    [({"w": 1.0}, None, "state"), ({"w": 1.0, "b": 1.0}, {"w": 1.0}, "parameters"), ([1.0, 1.0], None, "state")],
    ids=["one is missing", "a parameter is missing", "another container"],
)
def test_trees_of_another_structure(grads, params, what):
    optimizer = rmsprop(0.1)
    state = optimizer.init({"w": 1.0, "b": 1.0})
    with pytest.raises(ValueError, match=f"the gradients and the {what} are trees of different structure"):
        optimizer.update(grads, state, params)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, ValueError, "dialect 'optax' has no default learning rate: pass one"),
        ({"learning_rate": -1.0}, ValueError, "Invalid learning rate: -1.0 (allowed: a finite number >= 0)"),
        ({"learning_rate": jnp.asarray(jnp.nan)}, ValueError, "Invalid learning rate: nan"),
        ({"learning_rate": "0.1"}, TypeError, "Invalid learning rate: '0.1' is a str"),
        ({"learning_rate": jnp.ones(2)}, ValueError, f"learning_rate {ONE_NUMBER}"),
        ({"learning_rate": 0.1, "decay": 1.5}, ValueError, "Invalid decay value: 1.5 (allowed: a number from 0 to 1)"),
        ({"learning_rate": 0.1, "decay": jnp.asarray(1.5)}, ValueError, "Invalid decay value: 1.5"),
        ({"learning_rate": 0.1, "eps": np.ones(2)}, ValueError, f"eps {ONE_NUMBER}"),
        ({"learning_rate": 0.1, "momentum": -0.5}, ValueError, "Invalid momentum value: -0.5"),
        ({"learning_rate": 0.1, "centered": 1}, TypeError, "Invalid centered value: 1 (allowed: True or False)"),
        ({"learning_rate": 0.1, "centered": jnp.asarray(True)}, TypeError, "Invalid centered value: Array(True"),
        (
            {"learning_rate": 0.1, "nesterov": "yes"},
            TypeError,
            "Invalid nesterov value: 'yes' (allowed: True or False)",
        ),
        (
            {"learning_rate": 0.1, "rho": 0.9},
            TypeError,
            "unexpected keyword argument 'rho' (known: averaged_momentum, bias_correction, caution",
        ),
        ({"learning_rate": 0.1, "dialect": "flax"}, ValueError, "Unknown dialect 'flax'"),
        (
            {"learning_rate": 0.1, "eps_in_sqrt": True, "eps_inside_sqrt": True},
            TypeError,
            "eps_in_sqrt and eps_inside_sqrt are two names of one choice: give one of them",
        ),
        (
            {"learning_rate": 0.1, "initial_scale": 0.0, "initial_square_avg": 0.0},
            TypeError,
            "initial_scale and initial_square_avg are two names of one choice: give one of them",
        ),
    ],
)
def test_hyperparameters(options, error, message):
    with pytest.raises(error, match=re.escape(message)):
        rmsprop(**options)


def test_weight_decay_needs_the_parameters():
    optimizer = rmsprop(0.1, weight_decay=0.1)
    with pytest.raises(ValueError, match=r"weight_decay needs the parameters: call update\(updates, state, params\)"):
        optimizer.update(jnp.ones(1), optimizer.init(jnp.ones(1)))


def test_gradients_have_the_shape_of_the_state_and_are_floats():
    optimizer = rmsprop(0.1)
    state = optimizer.init(jnp.ones(3))
    with pytest.raises(ValueError, match=r"a gradient has shape \(1,\), but its state \(3,\): they must be equal"):
        optimizer.update(jnp.ones(1), state)
    with pytest.raises(TypeError, match="a gradient has dtype int32, but RMSProp needs real or complex floats"):
        optimizer.update(jnp.ones(3, jnp.int32), state)


@pytest.mark.parametrize("kind", [sparse.BCOO, sparse.BCSR])
def test_sparse_gradients_are_refused_with_what_to_do(kind):
    optimizer, params = rmsprop(0.1), {"table": jnp.ones((3, 2)), "bias": jnp.ones(2)}
    dense = jnp.array([[0.0, 0.0], [1.0, 2.0], [0.0, 0.0]])
    grads, state = {"table": kind.fromdense(dense), "bias": None}, optimizer.init(params)
    with pytest.raises(TypeError, match=f"a gradient is a sparse {kind.__name__}, but updates are dense .* todense"):
        optimizer.update(grads, state, params)
    updates, _ = optimizer.update(grads | {"table": grads["table"].todense()}, state, params)
    assert jnp.array_equal(updates["table"] != 0.0, dense != 0.0)


@pytest.mark.parametrize("options", [{}, {"weight_decay": 0.1}], ids=str)
def test_parameters_have_the_shape_of_their_gradient(options):
    optimizer = rmsprop(0.1, **options)
    with pytest.raises(ValueError, match=r"a parameter has shape \(2, 3\), but its gradient \(3,\)"):
        optimizer.update(jnp.ones(3), optimizer.init(jnp.ones(3)), jnp.ones((2, 3)))


@pytest.mark.parametrize("wrap", [lambda update: update, jax.jit], ids=["eager", "jit"])
def test_a_schedule_returns_one_number(wrap):
    optimizer = rmsprop(lambda count: jnp.full(2, 0.1))
    with pytest.raises(ValueError, match=r"a schedule returned an array of shape \(2,\), but a learning rate is one"):
        wrap(optimizer.update)(jnp.ones(()), optimizer.init(jnp.ones(())))


@pytest.mark.parametrize(
    ("make", "given"),
    [
        (lambda params: None, "NoneType"),
        (optax.rmsprop(0.1).init, "tuple"),
        (optax.scale_by_rms().init, "ScaleByRmsState"),
    ],
    ids=["none", "a chain of Optax", "a state of Optax"],
)
def test_another_thing_than_a_state(make, given):
    with pytest.raises(TypeError, match=f"update got a {given} as state, but needs the RMSpropState that init"):
        rmsprop(0.1).update(jnp.ones(3), make(jnp.ones(3)))


@pytest.mark.parametrize(
    ("options", "missing"),
    [({"centered": True}, "grad_avg and grad_var"), ({"momentum": 0.9}, "momentum_buffer")],
    ids=str,
)
def test_the_state_of_another_rule(options, missing):
    with pytest.raises(ValueError, match=f"update got an RMSpropState without {missing}, which this rule keeps"):
        rmsprop(0.1, **options).update(jnp.ones(3), rmsprop(0.1).init(jnp.ones(3)))


def test_no_parameters_at_all_are_no_error():
    optimizer = rmsprop(0.1, momentum=0.9)
    assert optimizer.update(None, optimizer.init(None))[0] is None


def test_a_learning_rate_cannot_be_put_into_a_buffer_afterwards():
    with pytest.raises(ValueError, match="a learning rate applied afterwards stands outside the momentum buffer"):
        scale_by_rmsprop(Rule.from_dialect("optax", momentum=0.9))
    with pytest.raises(TypeError, match="scale_by_rmsprop got 'optax', but takes a Rule"):
        scale_by_rmsprop("optax")


def test_recipes():
    with pytest.raises(ValueError, match="Unknown recipe 'resnet'"):
        from_recipe("resnet")
    with pytest.raises(
        TypeError,
        match=r"unexpected keyword argument 'lr' .known: averaged_momentum, bias_correction, caution, centered,",
    ):
        from_recipe("efficientnet", lr=0.1)
