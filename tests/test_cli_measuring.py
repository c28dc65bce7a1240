"""benchmark, explain, complexity, data and results: what they print, write, refuse and exit with.

One of each kind is a real process; the rest goes through the same `main`, in this one, to be quick.
"""

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import processes
from superfine.__main__ import main
from superfine.benchmark.results_page import BEGIN, END
from superfine.images.resize import downscale


@pytest.fixture
def superfine(work, monkeypatch, capsys):
    """The command line in this process: (exit code, standard output, standard error)."""
    monkeypatch.chdir(work)

    def call(*arguments):
        capsys.readouterr()
        code = main(list(arguments))
        return (code, *capsys.readouterr())

    return call


@pytest.fixture
def work(tmp_path):
    inside = tmp_path / "Set5" / "x2"
    inside.mkdir(parents=True)
    for number in (1, 2):
        hr = np.random.RandomState(number).randint(0, 256, (40, 48, 3)).astype(np.uint8)
        Image.fromarray(hr).save(inside / f"img_00{number}_SRF_2_HR.png")
        Image.fromarray(downscale(hr, 2)).save(inside / f"img_00{number}_SRF_2_LR.png")
    return tmp_path


def refused(told, *words):
    code, _, errors = told
    line = processes.one_clear_line(errors)
    assert code == 2 and all(word in line for word in words), errors


def test_benchmark_measures_a_network_beside_bicubic_and_writes_every_form(work):
    files = {
        "--json": "out.json",
        "--csv": "out.csv",
        "--markdown": "out.md",
        "--html": "out.html",
        "--sheet": "out.png",
    }
    options = [text for pair in files.items() for text in pair]
    asked = ["-m", "esrgcnn", "-s", "2", "-p", "paper,standard", "--precision", "fp32"]
    done = processes.superfine("benchmark", "Set5", *asked, *options, cwd=work)
    assert done.returncode == 0, done.stderr
    for text in ("protocol paper", "protocol standard", "bicubic", "esrgcnn", "ESRGCNN (printed)", "37.79 / 0.9589"):
        assert text in done.stdout
    raw = json.loads((work / "out.json").read_text())
    network = next(model for model in raw["models"] if model["kind"] == "network")
    assert network["precision"] == "fp32" and len(network["weights_sha256"]) == 64
    assert raw["machine"] and raw["versions"]
    assert all((work / name).stat().st_size for name in files.values())


def test_mistake_in_a_real_process_is_one_line_and_exit_code_2(work):
    processes.assert_refused(processes.superfine("benchmark", "nowhere", cwd=work), "nowhere")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["Set5", "-s", "7"], ["no scale 7", "2, 3 or 4"]),
        (["Set5", "-s", "0"], ["no scale 0"]),
        (["Set5", "-s", "two"], ["no scale two"]),
        (["Set5", "-s", "4"], ["has no x4", "x2"]),
        (["Set5", "-s", "2", "-m", "nosuch"], ["nosuch"]),
        (["Set5", "-s", "2", "--device", "abacus"], ["unknown device 'abacus'"]),
        (["Set5", "-s", "2", "-p", "best"], ["unknown protocol", "paper"]),
        (["Set5", "-s", "2", "-m", "bicubic", "--metric", "niqe"], ["unknown metric 'niqe'", "lpips"]),
        (["Set5", "-s", "2", "-m", "bicubic", "--json", "no/such/folder.json"], ["no folder no/such"]),
        (["Set5", "-s", "2", "-m", "bicubic", "--box", "1,2"], ["no box", "left,top,width,height"]),
        (["Set5", "-s", "2", "--compare", "esrgcnn"], ["--compare got 'esrgcnn'", "two models"]),
        (["Set5", "-s", "2", "--compare", "esrgcnn,cfsrcnn"], ["cannot compare 'cfsrcnn'", "bicubic, esrgcnn"]),
        (["Set5", "-s", "2", "--picture", "img_9", "--sheet", "a.png"], ["no picture 'img_9' in Set5"]),
        (["Set5", "-s", "2", "-m", ","], ["names nothing"]),
    ],
)
def test_benchmark_refuses_mistakes_in_one_line(superfine, arguments, words):
    refused(superfine("benchmark", *arguments), *words)


def test_what_was_left_out_stands_under_every_form_of_the_table(superfine, work):
    (work / "Set5" / "x2" / "img_001_SRF_2_HR.png").write_bytes(b"no picture")
    refused(superfine("benchmark", "Set5", "-m", "bicubic", "-s", "2"), "img_001", "--skip-broken")
    files = ["--markdown", "out.md", "--html", "out.html", "--json", "out.json"]
    code, text, _ = superfine("benchmark", "Set5", "-m", "bicubic", "-s", "2", "--skip-broken", *files)
    assert code == 0
    for shown in (text, *((work / name).read_text() for name in ("out.md", "out.html", "out.json"))):
        assert "img_001_SRF_2_HR.png" in shown


def test_a_box_outside_the_picture_costs_none_of_what_was_measured(superfine, work):
    asked = ["benchmark", "Set5", "-m", "bicubic", "-s", "2", "--json", "out.json", "--sheet", "out.png"]
    code, text, errors = superfine(*asked, "--box", "0,0,900,9")
    assert code == 2 and "0,0,900,9 does not lie inside" in errors and len(errors.splitlines()) == 1
    assert "bicubic" in text and (work / "out.json").stat().st_size and not (work / "out.png").exists()


def test_explain_tells_what_each_difference_is_worth(superfine, work):
    for protocol in ("paper", "rgb"):
        superfine("benchmark", "Set5", "-m", "lanczos", "-s", "2", "-p", protocol, "--json", f"{protocol}.json")
    code, text, errors = superfine("explain", "paper.json", "rgb.json", "--data", "Set5")
    assert code == 0, errors
    assert "colour: y → rgb: psnr" in text and "lanczos, paper against lanczos, rgb" in text
    assert "left over" not in text
    refused(superfine("explain", "paper.json", "nowhere.json"), "nowhere.json")
    (work / "other.json").write_text("{}")
    refused(superfine("explain", "paper.json", "other.json"), "other.json", "superfine-benchmark-1")
    refused(superfine("explain", "paper.json", "rgb.json", "--set", "Set6"), "they share Set5 x2")
    refused(superfine("explain", "paper.json", "rgb.json", "--data", "nowhere"), "no folder nowhere")
    refused(superfine("explain", "paper.json", "rgb.json", "--weights", "my.pth"), "no weights file my.pth")
    (work / "Empty").mkdir()
    code, text, _ = superfine("explain", "paper.json", "rgb.json", "--data", "Empty")
    assert code == 1 and "differs, not measured: colour: y → rgb" in text and "in none of the folders given" in text
    raw = json.loads((work / "rgb.json").read_text())
    (work / "cut.json").write_text(json.dumps({**raw, "models": []}))
    refused(superfine("explain", "paper.json", "cut.json"), "does not say what", "measure it again")


def test_data_prepare_takes_several_scales_after_one_option(superfine, work):
    (work / "Photos").mkdir()
    Image.fromarray(np.zeros((24, 24, 3), np.uint8)).save(work / "Photos" / "a.png")
    code, text, _ = superfine("data", "prepare", "Photos", "--scales", "2", "3", "4")
    assert code == 0 and "3 pictures written" in text
    made = sorted(path.name for path in (work / "Photos_LR_bicubic").rglob("*.png"))
    assert made == ["ax2.png", "ax3.png", "ax4.png"]
    refused(superfine("data", "prepare", "Photos", "--scales", "2", "7"), "no scale 7")


def test_data_lists_terms_and_refuses_what_it_cannot_fetch(superfine):
    code, text, _ = superfine("data", "list")
    assert code == 0 and "terms: academic research only" in text
    refused(superfine("data", "fetch", "Set6"), "Set6", "Set14")
    refused(superfine("data", "verify", "Set5/x2"), "nothing is known")


def test_results_writes_its_page_and_notices_a_stale_one(superfine, work):
    superfine("benchmark", "Set5", "-m", "bicubic", "-s", "2", "--json", "result.json")
    (work / "READ.md").write_text(f"a\n{BEGIN}\n{END}\nb\n")
    arguments = ["results", "result.json", "--page", "page.md", "--readme", "READ.md"]
    refused(superfine(*arguments, "--check"), "would change")
    assert superfine(*arguments)[0] == 0
    assert superfine(*arguments, "--check")[0] == 0
    assert "| bicubic |" in (work / "READ.md").read_text() and "# Results" in (work / "page.md").read_text()


def test_complexity_counts_without_torch_and_its_counts_stand_on_the_results_page(superfine, work):
    code = "import sys; from superfine.__main__ import main; sys.modules['torch'] = None; "
    code += "sys.exit(main(['complexity', 'esrgcnn', '--json', 'costs.json']))"
    done = subprocess.run([sys.executable, "-c", code], cwd=work, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "1,349,248" in done.stdout and "1,238,680" in done.stdout
    superfine("benchmark", "Set5", "-m", "bicubic", "-s", "2", "--json", "result.json")
    assert superfine("results", "result.json", "--costs", "costs.json", "--page", "page.md")[0] == 0
    assert "1,349,248 + 24 - 110,592 = 1,238,680" in (work / "page.md").read_text()
    refused(superfine("results", "result.json", "--costs", "result.json"), "is not a superfine-complexity-1 file")


def test_complexity_refuses_mistakes_in_one_line(superfine):
    refused(superfine("complexity", "nosuch"), "nosuch")
    refused(superfine("complexity", "--size", "big"), "WIDTHxHEIGHT")
    refused(superfine("complexity", "esrgcnn", "--json", "no/such/c.json"), "no folder no/such")
