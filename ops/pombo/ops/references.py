"""The references in `docs/reference/`, made from the code that declares what they describe.

`python -m pombo.ops.references` writes them; `--check` names those that are stale, and exits 1. They depend
on nothing but the code: not on a terminal, an environment or a machine.
"""

import argparse
import ast
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pombo.shared import keys
from pombo.shared.settings import Settings

FOLDER = Path("docs/reference")
Pages = Mapping[str, Callable[[], str]]
"""File names, and what makes each."""

_MADE = "<!-- Made by `python -m pombo.ops.references`; edit the code that it is made from. -->"


def main(argv: Sequence[str] | None = None) -> int:
    """Write the references below the current folder, or check them; returns the exit code."""
    return make("pombo.ops.references", FOLDER, REFERENCES, argv)


def make(module: str, folder: Path, pages: Pages, argv: Sequence[str] | None = None) -> int:
    """Write files that `module` makes, or check them, as the words of a command line say; returns the exit code."""
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=f"Make {folder}/.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 naming stale files")
    parser.add_argument("--folder", type=Path, default=folder, help="where they are [%(default)s]")
    options = parser.parse_args(argv)
    if not options.check:
        write(options.folder, pages)
        return 0
    stale = find_stale(options.folder, pages)
    for path in stale:
        sys.stderr.write(f"{path} is stale; `python -m {module}` makes it anew\n")
    return 1 if stale else 0


def write(folder: Path, pages: Pages) -> None:
    """Write every page."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages.items():
        (folder / name).write_text(text(), "utf-8")


def find_stale(folder: Path, pages: Pages) -> list[Path]:
    """The files that are missing or not what the code says."""
    return [folder / name for name, text in pages.items() if _read(folder / name) != text()]


def _read(path: Path) -> str | None:
    try:
        return path.read_text("utf-8")
    except FileNotFoundError:
        return None


# -- settings --


def settings_page() -> str:
    """`settings.md`: each variable with its values, its default and its meaning."""
    told = field_docstrings(Settings)
    rows = [
        (f"`POMBO_{name.upper()}`", _values(field.annotation), _default(field.default), told[name])
        for name, field in Settings.model_fields.items()
    ]
    return _page(
        "Settings",
        "Each is an environment variable, or a line of a `.env` file in the working folder; the environment "
        "wins. An empty value counts as none. `pombo config` shows those in force. Everything else is set "
        "per source, with `pombo sources add` and `set`.",
        _table(("variable", "value", "default", "meaning"), rows),
    )


def field_docstrings(cls: type) -> dict[str, str]:
    """The text below each field of a class, on one line."""
    body = ast.parse(inspect.getsource(cls)).body[0]
    assert isinstance(body, ast.ClassDef)
    found = {}
    for field, below in zip(body.body, body.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            text = below.value if isinstance(below, ast.Expr) else None
            if isinstance(text, ast.Constant) and isinstance(text.value, str):
                found[field.target.id] = " ".join(text.value.split())
    return found


def _values(annotation: Any) -> str:
    """A type as people say it."""
    args = [arg for arg in get_args(annotation) if arg is not type(None)]
    if get_origin(annotation) is Literal:
        return ", ".join(f"`{arg}`" for arg in args)
    if args:
        return _values(args[0])
    names = {
        "str": "text",
        "int": "whole number",
        "bool": "`1` or `0`",
        "Path": "path",
        "SecretStr": "secret",
    }
    return names[annotation.__name__]


def _default(value: object) -> str:
    if value is None:
        return "–"
    return f"`{int(value) if isinstance(value, bool) else value}`"


# -- command line --


def cli_page() -> str:
    """`cli.md`: every command with its arguments, options and examples."""
    from pombo.ops.cli.app import command

    parts = [part for path, node in _commands(("pombo",), command()) for part in _command(path, node)]
    return _page(
        "Command line",
        "Exit codes: 0 well; 1 what was asked about is not well, there was nothing to do, or Redis cannot be "
        "reached or refuses; 2 wrong usage or configuration; 130 after Ctrl-C; 141 when whoever read the "
        "output went away. With `--json`, one JSON document is on stdout, and nothing else; logs, notes, "
        "questions and progress are on stderr. `NO_COLOR` is obeyed. What destroys asks, or takes `--yes`.",
        *parts,
    )


def _commands(path: tuple[str, ...], node: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield path, node
    for name, child in getattr(node, "commands", {}).items():
        yield from _commands((*path, name), child)


def _command(path: tuple[str, ...], node: Any) -> Iterator[str]:
    yield f"{'#' * min(len(path) + 1, 4)} {' '.join(path)}"
    yield inspect.cleandoc(node.help or "").replace("\f", "")
    params = [param for param in node.params if not param.hidden]
    arguments = [param for param in params if param.param_type_name == "argument"]
    shown = [_metavar(a) if a.required else f"[{_metavar(a)}]" for a in arguments]
    tail = "COMMAND …" if hasattr(node, "commands") else ""
    yield f"```\n{' '.join(filter(None, [*path, '[OPTIONS]', *shown, tail]))}\n```"
    options = [param for param in params if param not in arguments]
    rows = [(_names(param), _help(param)) for param in (*arguments, *options)]
    if rows:
        yield _table(("argument or option", "meaning"), rows)
    if node.epilog:
        lines = node.epilog.replace("\b\n", "").splitlines()
        yield "```sh\n" + "\n".join(line.strip() for line in lines[1:]) + "\n```"


def _metavar(param: Any) -> str:
    return str(param.metavar or param.name.upper())


def _names(param: Any) -> str:
    if param.param_type_name == "argument":
        return f"`{_metavar(param)}`"
    names = [*param.opts, *param.secondary_opts]
    value = f" {param.metavar}" if param.metavar else ""
    return ", ".join(f"`{name}{value}`" for name in names)


def _help(param: Any) -> str:
    default = param.default
    told = " ".join((param.help or "").split())
    if param.required:
        return f"{told} Required."
    if isinstance(default, (int, float, str)) and not isinstance(default, bool) and param.show_default is not False:
        return f"{told} Default: `{default}`."
    return told


# -- metrics --


def metrics_page() -> str:
    """`metrics.md`: every metric that a process of pombo shows, with its labels."""
    import prometheus_client
    from prometheus_client import CollectorRegistry

    from pombo.gateway.metrics import Metrics as GatewayMetrics
    from pombo.ops.fleetmetrics import families
    from pombo.producer.metrics import PrometheusMetrics
    from pombo.worker.metrics import Metrics

    worker = declared(vars(Metrics(CollectorRegistry())).values())
    producer = declared(flat(vars(PrometheusMetrics(prometheus_client, CollectorRegistry())).values()))
    gateway = declared([GatewayMetrics(CollectorRegistry()).requests])
    return _page(
        "Metrics",
        "In Prometheus' text format.",
        "## Worker",
        "At `:POMBO_METRICS_PORT/metrics` of each worker; the processes of `--processes` are one, with their sums.",
        _metrics(worker),
        "## Installation",
        "Read from ledgers, streams and Redis itself by the console (`pombo console`, `pombo up`): of the whole fleet, "
        "so that no scrape counts twice.",
        _metrics(declared(families(None))),
        "## Producer",
        "In a bot's own registry, if the bot has prometheus-client; and at the gateway.",
        _metrics(producer),
        "## Gateway",
        "At `/metrics` of the gateway, beside those of its producers; the processes of `--processes` are one, with "
        "their sums.",
        _metrics(gateway),
    )


def flat(things: Iterable[Any]) -> Iterator[Any]:
    """The things, and those that are in lists among them."""
    for thing in things:
        yield from thing if isinstance(thing, list) else [thing]


def declared(things: Iterable[Any]) -> list[tuple[str, str, tuple[str, ...], str]]:
    """Name, type, labels and meaning of whatever in `things` is a metric or a family of metrics."""
    found = []
    for thing in things:
        for family in thing.describe() if hasattr(thing, "describe") else [thing]:
            if not hasattr(family, "documentation"):
                continue
            labels = getattr(thing, "_labelnames", ())
            name = family.name + ("_total" if family.type == "counter" else "")
            found.append((name, family.type, tuple(labels), family.documentation))
    return found


def _metrics(found: Sequence[tuple[str, str, tuple[str, ...], str]]) -> str:
    rows = [
        (f"`{name}`", kind, ", ".join(f"`{label}`" for label in labels) or "–", text)
        for name, kind, labels, text in found
    ]
    return _table(("metric", "type", "labels", "meaning"), rows)


# -- keys --


def keys_page() -> str:
    """`keys.md`: the catalogue of keys as its module has it."""
    _, _, text = inspect.cleandoc(keys.__doc__ or "").partition("\n")
    return _page("Keys in Redis", "Every key that pombo reads or writes.", text.strip())


# -- pages --


def _page(title: str, *parts: str) -> str:
    return "\n\n".join((f"# {title}", _MADE, *filter(None, parts))) + "\n"


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


REFERENCES: Pages = {
    "settings.md": settings_page,
    "cli.md": cli_page,
    "metrics.md": metrics_page,
    "keys.md": keys_page,
}
"""File names, and what makes each."""

if __name__ == "__main__":
    sys.exit(main())
