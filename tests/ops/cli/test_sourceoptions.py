import inspect
from typing import Any

import pytest

from pombo.ops.cli.app import command
from pombo.ops.cli.deeds import leaves
from pombo.ops.cli.sourceoptions import given, takes_settings
from pombo.shared.errors import ConfigurationError
from pombo.shared.sources import Source

FIXED = {"v", "name", "incarnation", "partitions"}
"""Of a source's fields those that no option changes."""


def options(name: str) -> set[str]:
    """The parameters of a command."""
    (found,) = [one for leaf, one in leaves(command()) if leaf == name]
    return {parameter.name for parameter in found.params}


def test_add_and_set_take_every_setting_of_a_source() -> None:
    """A setting that a source has can be given to both, under the name that the registry knows it by."""
    both = (options("sources.add") & options("sources.set")) - {"name", "as_json"}
    settings = given(dict.fromkeys(both, "1d"))
    assert set(Source.model_fields) - FIXED == set(settings)
    assert {"write_key", "partitions", "gateway_url"} == options("sources.add") - options("sources.set")
    assert set() == options("sources.set") - options("sources.add")


def test_what_is_not_given_changes_nothing() -> None:
    """Options that were left out are no settings; a zero and a no are."""
    assert {"rate": 0.0, "blip": False} == given({"rate": 0.0, "blip": False, "burst": None})
    assert {"retention_s": 86_400.0} == given({"retention": "1d"})
    with pytest.raises(ConfigurationError, match="--retention"):
        given({"retention": "soon"})


def test_a_command_gets_its_settings_as_words() -> None:
    """Whoever reads its signature sees the options before its last parameter; it is called as it was."""

    def made(name: str, *, as_json: bool = False, **settings: Any) -> int:
        return len(name) + len(settings) + as_json

    wrapped = takes_settings(made)
    names = [*inspect.signature(wrapped).parameters]
    assert ("name", "region", "as_json") == (names[0], names[1], names[-1])
    assert 5 == wrapped("bot", region="eu", as_json=True)
