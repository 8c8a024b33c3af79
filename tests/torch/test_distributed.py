"""torch's wrappers on real process groups of 2 and 4 ranks, and distributed checkpoints between 4, 3, 2 and 1."""

from pathlib import Path

import pytest
from sharding import TIMEOUT, results, run_cases
from sharding.clients import ON_MESHES, STORED
from sharding.counting import LAYERS, WIDTH
from sharding.runs import FORMS, RUNS
from sharding.tables import RULES
from workers import in_processes

from benchmarks import scaling
from rmsprop.clipping import WORDS

# The ranks that save come first.
GROUPS = (
    (4, ("clients", "tables", "counting", "saving", "converting")),
    (2, ("clients", "tables", "counting", "loading", "converting")),
    (1, ("loading",)),
    (3, ("loading",)),
)


@pytest.fixture(scope="module")
def all_found(tmp_path_factory):
    """What every rank returned, by number of ranks. The same processes serve all, because starting takes seconds."""
    return in_processes("spawn", run_cases, str(tmp_path_factory.mktemp("group")), GROUPS, count=4, timeout=TIMEOUT)


def of_ranks(count, all_found):
    return [of_rank[count] for of_rank in all_found[:count]]


@pytest.fixture(params=(4, 2), ids=lambda count: f"{count} ranks")
def found(request, all_found):
    """What every rank returned, by case."""
    return of_ranks(request.param, all_found)


@pytest.fixture(params=(2, 1, 3), ids=lambda count: f"{count} ranks")
def loaded(request, all_found):
    """What every rank that loads returned, by case."""
    return of_ranks(request.param, all_found)


AS_ONE = {"equal": True, "equal state": True, "placed alike": True, "steps": {3.0}, "paths": ["kernel on shard"]}
ON_EVERY_MESH = dict.fromkeys(ON_MESHES, AS_ONE)


def test_replicas_have_the_same_bits(found):
    first, *others = results(found, "replicas")
    assert all(other == first for other in others)
    assert {name: rest for name, (_, *rest) in first.items()} == {name: [True, ["kernel"]] for name in STORED}


def test_tables_of_replicas_are_those_of_one_process(found):
    first, *others = results(found, "tables_of_replicas")
    assert all(other == first for other in others)
    assert {name: rest for name, (_, *rest) in first.items()} == {
        name: [True, [path]] for name, (_, path) in RULES.items()
    }


def test_flat_parameters_are_updated_where_they_are(found):
    for result in results(found, "flat_parameters"):
        assert result == dict.fromkeys(result, (True, ["kernel"]))
        assert len(result) == 6


def test_state_of_flat_parameters_is_gathered_and_comes_back(found):
    for result in results(found, "flat_parameters_saved"):
        assert result == dict.fromkeys(result, (True, True))
        assert len(result) == 3


@pytest.mark.parametrize("case", ["sharded_groups_of_replicas", "tensor_parallel", "sharded_and_tensor_parallel"])
def test_a_model_on_a_mesh_trains_as_a_whole_one(case, found):
    assert results(found, case) == [ON_EVERY_MESH for _ in found]


def test_state_that_is_shared_out_is_put_together(found):
    assert results(found, "zero_redundancy_saved") == [{"False": (True, True), "True": (True, True)} for _ in found]


def test_steps_that_overlap_with_communication_are_torchs_alone(found):
    for message in results(found, "zero_redundancy_overlapped"):
        assert "no supported functional optimizer equivalent for <class 'rmsprop.torch.optimizer.RMSprop'>" in message


def test_parameters_are_averaged_now_and_then(found):
    assert results(found, "averaged_now_and_then") == [(True, 6) for _ in found]


def test_ranks_that_run_out_of_data_have_the_parameters_of_the_others(found):
    first, *others = results(found, "uneven_inputs")
    assert all(is_finite for _, is_finite in first.values())
    assert all(other == first for other in others)


def test_nobody_waits_for_a_state_dict(found):
    assert all(results(found, "one_rank_alone_asks_for_state"))


def test_shards_come_to_what_torchs_optimizer_does(found):
    # Three updates of at most lr·10 = 0.01 each, whose quotients are off by 8 roundings of 2⁻²⁴, and three sums of
    # parameters below 1, each rounded once by both.
    bound = 3 * (0.01 * 8 * 2.0**-24 + 2 * 2.0**-25)
    assert all(difference <= bound for difference in results(found, "as_torch_in_the_same_place"))


@pytest.mark.parametrize("optimizer", ["Adam", "RMSprop"])
def test_collectives_are_those_of_the_page_on_scaling(optimizer, found):
    layer = 4 * WIDTH * WIDTH
    whole = (LAYERS + 1) * layer
    for result in results(found, "of_a_step"):
        for strategy, tensors in (("DDP", 0), ("FSDP2", 0), ("ZeRO-1", LAYERS + 1), ("ZeRO-1", 0)):
            name = f"{strategy}, {optimizer}" + (f", {not tensors}" if strategy == "ZeRO-1" else "")
            calls, sizes = result[name]
            assert sizes == scaling.buffers(strategy, whole, root=layer)
            assert sum(calls.values()) == scaling.collectives(strategy, whole, len(found), LAYERS, tensors)


def test_the_page_on_scaling_has_the_tables_that_are_computed():
    page = (Path(__file__).parents[2] / "docs" / "scaling.md").read_text(encoding="utf-8")
    assert all(table in page for table in scaling.tables())
    assert f"one all-reduce of {8 * WORDS} bytes" in page


def test_a_smaller_state_needs_fewer_machines_and_no_fewer_bytes_sent():
    adam, *_, packed = scaling.STORAGES
    assert scaling.memory("FSDP2", packed, 1e12, 512) / scaling.memory("FSDP2", adam, 1e12, 512) == 5.015625 / 16
    assert (scaling.machines(adam, 1e12), scaling.machines(packed, 1e12)) == (36, 12)
    assert scaling.machines(adam, 1e15) is None


def test_ranks_save(all_found):
    for case in ("saved", "saved_meanwhile", "saved_whole"):
        assert all(results(of_ranks(4, all_found), case))


def test_other_ranks_go_on_to_the_bit(loaded):
    assert results(loaded, "loaded") == [dict.fromkeys(FORMS, dict.fromkeys(RUNS, (True, True))) for _ in loaded]


def test_a_save_beside_training_holds_what_there_was(loaded):
    assert results(loaded, "loaded_from_meanwhile") == [{"plain": (True, True)} for _ in loaded]


def test_a_whole_state_is_given_out_again(loaded):
    assert results(loaded, "loaded_from_whole") == [dict.fromkeys(RUNS, (True, True)) for _ in loaded]


def test_one_process_reads_what_ranks_have_saved(found):
    expected = dict.fromkeys(FORMS, dict.fromkeys(RUNS, True))
    assert results(found, "read_in_one_process")[0] == expected
