"""Sharded parameters (DTensor, FSDP2) on real process groups: each rank's kernel updates its shard."""

import pytest
from sharding import TIMEOUT, results, run_cases
from workers import in_processes

MODULES = ("shards", "packed", "clipping", "backward", "refusals")
RANKS = (3, 2)


@pytest.fixture(scope="module")
def all_found(tmp_path_factory):
    """What every rank returned, by number of ranks. The same processes serve both, because starting takes seconds."""
    runs = [(ranks, MODULES) for ranks in RANKS]
    return in_processes("spawn", run_cases, str(tmp_path_factory.mktemp("group")), runs, count=3, timeout=TIMEOUT)


@pytest.fixture(params=RANKS, ids=lambda count: f"{count} ranks")
def found(request, all_found):
    """What every rank returned, by case."""
    return [of_rank[request.param] for of_rank in all_found[: request.param]]


AS_ONE = {
    "equal": True,
    "equal state": True,
    "placed alike": True,
    "steps": {3.0},
    "paths": ["kernel on shard"],
}


@pytest.mark.parametrize(
    "case",
    [
        "rows",
        "rows_fused",
        "columns",
        "replicated",
        "in_other_precisions",
        "on_a_mesh_of_two_dimensions",
        "rounded",
        "averaged",
    ],
)
def test_shards_get_the_bits_of_the_whole(case, found):
    for result in results(found, case):
        assert result == dict.fromkeys(result, AS_ONE)


@pytest.mark.parametrize("case", ["clipped", "clipped_by_units", "cautious_by_tensor_operations"])
def test_shards_are_limited_as_the_whole(case, found):
    for result in results(found, case):
        assert result == dict.fromkeys(result, True)


def test_shards_are_clipped_beside_others(found):
    assert all(results(found, "clipped_beside_copies_and_plain_parameters"))


def test_one_infinite_shard_skips_the_step_on_every_process(found):
    assert results(found, "norm_of_one_shard_infinite") == [1] * len(found)


def test_backward_steps_shards_and_no_replicas(found):
    assert all(map(all, results(found, "stepped_in_backward")))
    for messages in results(found, "stepped_in_backward_of_replicas"):
        assert len(messages) == 2
        assert all("can't serve a model in DistributedDataParallel" in message for message in messages)


def test_shards_are_not_rounded_by_tensor_operations(found):
    for message, is_untouched in results(found, "rounded_by_tensor_operations"):
        assert "rounding='stochastic' on plain CPU tensors alone" in message
        assert is_untouched


def test_shards_that_begin_at_blocks_have_the_codes_of_the_whole(found):
    for result in results(found, "on_borders"):
        assert result == dict.fromkeys(result, (True, ["kernel on shard"]))


def test_codes_of_other_shards_are_those_of_their_own_blocks(found):
    for result in results(found, "between_borders"):
        assert result == dict.fromkeys(result, True)


def test_state_in_8_bits_is_saved_as_numbers_and_packed_again(found):
    names = ["momentum_buffer", "square_avg", "step"]
    for result in results(found, "kept_in_a_state_dict"):
        expected = {"as it was": True, "after a step": True, "saved": names, "told": names}
        assert result == {**expected, "dtypes": {"torch.float32"}}
    assert results(found, "unpacked_again") == [({"torch.float32"}, ["kernel on shard"]) for _ in found]


def test_tensor_operations_keep_no_state_of_shards_in_8_bits(found):
    for message in results(found, "by_tensor_operations"):
        assert "state_dtype='8bit' on plain CPU tensors alone: use state_dtype=None" in message


def test_replicas_tune_alike(found):
    first, *others = results(found, "tuned_replicas")
    assert len(set(first)) == 5
    assert all(rates == first for rates in others)


def test_shards_are_not_tuned(found):
    for message in results(found, "tuned_shard"):
        assert "parameter 0 is a DTensor: hypergradients are for plain tensors" in message


def test_sharded_and_plain_parameters_live_in_one_group(found):
    assert results(found, "beside_plain_parameters") == [
        {"equal": True, "paths": ["kernel", "kernel on shard"]} for _ in found
    ]


def test_shards_that_were_replaced_are_freed_though_the_plan_goes_on(found):
    # The last was replaced after the last step.
    assert results(found, "moved_to_other_memory") == [(1, [True, True, False]) for _ in found]


def test_a_fully_sharded_model_trains_as_a_whole_one(found):
    by_rank = results(found, "fully_sharded")
    names = [f"{layer}.{name}" for layer in (0, 2, 4) for name in ("weight", "bias")]
    assert by_rank == [{**AS_ONE, "names": names, "empty": result["empty"]} for result in by_rank]
    assert any(result["empty"] for result in by_rank)


def test_sharded_state_is_saved_and_loaded(found):
    assert results(found, "saved_and_loaded") == [{**AS_ONE, "steps": {5.0}} for _ in found]


def test_optimizers_that_share_the_parameters_out_agree(found):
    assert results(found, "zero_redundancy") == [True for _ in found]


def test_a_gradient_still_to_be_summed_is_refused_and_nothing_changes(found):
    for message in results(found, "partial_gradient"):
        assert "parameter 2" in message
        assert "Partial" in message


def test_a_gradient_placed_otherwise_gives_torchs_result(found):
    assert results(found, "gradient_placed_otherwise") == [True for _ in found]


def test_a_plain_gradient_of_a_shard_is_refused_as_in_torch(found):
    for torchs, ours in results(found, "plain_gradient"):
        assert "mixed torch.Tensor and DTensor" in torchs
        assert ours


def test_sparse_gradients_of_shards_are_refused_and_nothing_changes(found):
    for messages in results(found, "sparse_gradients"):
        assert len(messages) == 6
        for message in messages:
            assert "parameter 1 is a DTensor with a sparse gradient, whose rows can't be told from those" in message
