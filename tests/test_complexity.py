"""benchmark/complexity.py: counts that can be had by arithmetic."""

from dataclasses import replace

import pytest

from superfine.benchmark.complexity import FIXED, UNCOUNTED, compare_with_paper, count, load, parse_size, to_json
from superfine.errors import DataError, ModelError
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
    parameters, operations = compare_with_paper(count(find("esrgcnn"), 2, 10, 10))
    assert "1,238,680" in parameters and "83x83" in operations
    parameters, operations = compare_with_paper(count(find("cfsrcnn"), 2, 10, 10))
    assert "1,199,768" in parameters and "77x77" in operations and "counted once" in operations


def test_nothing_is_said_about_what_no_paper_prints():
    assert compare_with_paper(count(find("esrgcnn"), 4, 10, 10)) == []
    assert compare_with_paper(replace(count(find("esrgcnn"), 2, 10, 10), network="mine")) == []


def test_scale_the_model_lacks_and_model_without_a_graph_are_named():
    with pytest.raises(ModelError, match="no x8; it has x2, x3, x4"):
        count(find("esrgcnn"), 8, 10, 10)
    with pytest.raises(ModelError, match="superfine export"):
        count(replace(find("esrgcnn"), graphs={}), 2, 10, 10)


def test_counts_go_to_json_and_back(tmp_path):
    costs = [count(find("esrgcnn"), 2, 10, 10), count(find("cfsrcnn"), 3, 5, 7)]
    (tmp_path / "costs.json").write_text(to_json(costs))
    assert load(tmp_path / "costs.json") == costs


@pytest.mark.parametrize(
    ("text", "words"),
    [("{", "cannot read"), ("{}", "superfine-complexity-1"), ('{"format": "superfine-complexity-1"}', "lacks a field")],
)
def test_other_files_are_not_taken_for_counts(tmp_path, text, words):
    (tmp_path / "costs.json").write_text(text)
    with pytest.raises(DataError, match=words):
        load(tmp_path / "costs.json")


@pytest.mark.parametrize("text", ["", "1280", "1280x", "0x720", "-1x5", "²x5"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(DataError, match=r"no size .*1280x720"):
        parse_size(text)
