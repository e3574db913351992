"""The public names: there, documented, typed, and loaded only when used."""

import inspect
import subprocess
import sys
from importlib import resources

import pytest

import lenscope


@pytest.mark.parametrize("name", lenscope.__all__)
def test_each_public_name_is_there_and_documented(name):
    thing = getattr(lenscope, name)
    assert inspect.getdoc(thing)
    assert name in dir(lenscope)


@pytest.mark.parametrize("name", [name for name in lenscope.__all__ if inspect.isfunction(getattr(lenscope, name))])
def test_each_public_function_is_typed(name):
    signature = inspect.signature(getattr(lenscope, name))
    assert signature.return_annotation is not inspect.Signature.empty
    assert all(parameter.annotation is not inspect.Parameter.empty for parameter in signature.parameters.values())


def test_all_names_the_lazy_homes_and_nothing_else():
    assert sorted(lenscope.__all__) == sorted(lenscope._HOMES)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        lenscope.trian  # noqa: B018


def test_importing_lenscope_imports_neither_torch_nor_matplotlib():
    code = "import sys, lenscope; print(sorted({'torch', 'matplotlib', 'numpy', 'pydantic'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_package_says_that_it_is_typed_and_carries_the_datas_licence():
    files = resources.files("lenscope")
    assert (files / "py.typed").is_file()
    assert "CC BY-SA 3.0" in (files / "data" / "bundled" / "LICENCE.md").read_text(encoding="utf-8")
