"""benchmark/complexity.py: counts that can be had by arithmetic, and timings of a real process."""

from dataclasses import replace

import pytest

from superfine.benchmark.complexity import FIXED, UNCOUNTED, against_papers, count, record, time_runs
from superfine.errors import EngineError, ModelError
from superfine.weights import find

# The reference's table: parameters with the fixed mean values, multiply-adds per LR pixel. CFSRCNN's upsampler runs
# once here and twice in the table, which therefore holds one 64→256 (64→576; 64→256 at 1x and at 2x2) more.
TABLE = {
    ("esrgcnn", 2): (1_349_272, 1_354_176),
    ("esrgcnn", 3): (1_533_912, 1_547_136),
    ("esrgcnn", 4): (1_496_984, 1_964_736),
    ("cfsrcnn", 2): (1_310_360, 1_868_224),
    ("cfsrcnn", 3): (1_495_000, 2_982_784),
    ("cfsrcnn", 4): (1_458_072, 4_690_624),
}
TWICE = {2: 64 * 256 * 9, 3: 64 * 576 * 9, 4: 64 * 256 * 9 * 5}
PRINTED_TWICE = {2: 2.016e6, 3: 3.315e6, 4: 5.428e6}


@pytest.mark.parametrize(("name", "scale"), TABLE)
def test_counts_are_the_references(name, scale):
    parameters, per_pixel = TABLE[name, scale]
    cost = count(find(name), scale, 20, 30)
    assert cost.parameters == parameters - FIXED
    assert cost.multiply_adds == per_pixel * 20 * 30


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_cfsrcnns_upsampler_is_counted_once(scale):
    cost = count(find("cfsrcnn"), scale, 10, 10)
    assert cost.multiply_adds / 100 + TWICE[scale] == pytest.approx(PRINTED_TWICE[scale], rel=5e-4)


def test_papers_counts_follow_from_ours():
    assert UNCOUNTED == 110_592
    parameters, operations = against_papers(count(find("esrgcnn"), 2, 10, 10))
    assert "1,238,680" in parameters and "83x83" in operations
    parameters, operations = against_papers(count(find("cfsrcnn"), 2, 10, 10))
    assert "1,199,768" in parameters and "77x77" in operations and "counted once" in operations


def test_nothing_is_said_about_what_no_paper_prints():
    assert against_papers(count(find("esrgcnn"), 4, 10, 10)) == []
    assert against_papers(replace(count(find("esrgcnn"), 2, 10, 10), network="mine")) == []


def test_scale_the_model_lacks_and_model_without_a_graph_are_named():
    with pytest.raises(ModelError, match="no x8; it has x2, x3, x4"):
        count(find("esrgcnn"), 8, 10, 10)
    with pytest.raises(ModelError, match="superfine export"):
        count(replace(find("esrgcnn"), graphs={}), 2, 10, 10)


def test_timing_runs_in_a_process_of_its_own_and_goes_to_json():
    found = list(time_runs("esrgcnn", 2, "nearest", "auto", (64, 128), runs=3))
    assert [(each.side, each.lr_side, each.engine, each.runs) for each in found] == [
        (64, 32, "nearest", 3),
        (128, 64, "nearest", 3),
    ]
    assert all(each.seconds > 0 for each in found)
    told = record([count(find("esrgcnn"), 2, 10, 10)], found)
    assert told["timings"][1]["side"] == 128 and told["machine"] and told["costs"][0]["network"] == "esrgcnn"


def test_engine_that_is_not_there_is_named():
    with pytest.raises(EngineError, match="abacus"):
        list(time_runs("esrgcnn", 2, "abacus", "auto", (64,), runs=1))
