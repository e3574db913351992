"""The lecture's notebook, executed from top to bottom on MNIST."""

import re
from pathlib import Path

import nbformat
import pytest

NOTEBOOK = Path(__file__).parents[2] / "examples" / "lecture29.ipynb"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    """The code cells after execution in an empty directory, where PyTorch cannot be imported."""
    from nbclient import NotebookClient

    notebook = nbformat.read(NOTEBOOK, as_version=4)
    folder = tmp_path_factory.mktemp("notebook")
    (folder / "torch.py").write_text("raise ImportError('not here')", encoding="utf-8")
    where = {"metadata": {"path": str(folder)}}
    NotebookClient(notebook, timeout=900, resources=where).execute()
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def cell_with(cells, source):
    return next(cell for cell in cells if source in cell.source)


def text_of(cell):
    return "".join(output.get("text", "") for output in cell.outputs)


def test_it_prints_what_the_lecture_prints(cells):
    assert "train set: 60000" in text_of(cell_with(cells, "lenscope.load"))
    assert "name='fc3', kind='dense', kernel=0, inputs=84, outputs=10" in text_of(cell_with(cells, "net.layers"))
    assert "61,706" in text_of(cell_with(cells, "lenscope.summary"))
    rows = re.findall(r"Training Loss: ([\d.]+) ; Testing Acc: ([\d.]+)", text_of(cell_with(cells, "Iteration")))
    assert len(rows) == 10
    assert abs(float(rows[0][0]) - 0.010279) < 0.15 * 0.010279
    assert abs(float(rows[0][1]) - 88.15) < 2.5
    assert abs(float(rows[9][1]) - 97.4) < 1.0


def test_training_updates_one_display_with_the_curves(cells):
    start, output = cell_with(cells, "lenscope.train").outputs
    assert "60,000 training images" in start.data["text/plain"]
    assert output.output_type == "display_data"
    assert output.data["text/plain"].startswith("epoch 10 of 10: test accuracy 97.")
    assert len(output.data["image/png"]) > 10_000


@pytest.mark.parametrize("source", ["curves(run)", 'style="lecture"', '"conv2"', "mistakes(run", "confusion(run"])
def test_each_picture_is_shown(source, cells):
    [output] = cell_with(cells, source).outputs
    assert output.data["image/png"].startswith("iVBOR")


def test_the_film_starts_at_the_initial_weights(cells):
    lines = text_of(cell_with(cells, "run.film")).splitlines()
    assert lines[0] == "after step     0: the kernels have moved by   0.0% of their length"
    assert lines[-1].startswith("after step  6000")


def test_no_cell_wrote_to_stderr(cells):
    assert not [output for cell in cells for output in cell.outputs if output.get("name") == "stderr"]
