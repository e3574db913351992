"""The public names: there, documented and typed."""

import ast
import inspect
from importlib import resources

import pytest

import lenscope


@pytest.mark.parametrize("name", lenscope.__all__)
def test_each_public_name_is_there_and_documented(name):
    thing = getattr(lenscope, name)
    assert inspect.getdoc(thing)
    assert name in dir(lenscope)


def test_type_checkers_find_each_name_where_it_is_loaded_from():
    imports = [node for node in ast.walk(ast.parse(inspect.getsource(lenscope))) if isinstance(node, ast.ImportFrom)]
    typed = {(name.asname, node.module) for node in imports for name in node.names if name.asname == name.name}
    typed |= {(name, "lenscope.api") for name in lenscope.api.__all__}
    assert typed == {(name, f"lenscope.{home}") for name, home in lenscope._HOMES.items()}


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        lenscope.trian  # noqa: B018


def test_the_package_says_that_it_is_typed_and_carries_the_datas_licence():
    files = resources.files("lenscope")
    assert (files / "py.typed").is_file()
    assert "CC BY-SA 3.0" in (files / "data" / "bundled" / "LICENCE.md").read_text(encoding="utf-8")
