"""The audit of pombo's pinned dependencies for known vulnerabilities: pip-audit, and what to make of its report.

`python -m support.dependencies FILE` asks PyPI, and OSV for what PyPI does not know. A vulnerability that is found
fails. A service that does not answer, or does not know a package, is said, and fails only with `--strict`: a laptop
may be without a network. (pip-audit alone says "no known vulnerabilities" of packages that it could not look up.)
"""

import argparse
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

SERVICES = ("pypi", "osv")
TIMEOUT_S = 15
"""For each answer of a service."""
DEADLINE_S = 300
"""For all of them."""
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Report:
    """What the services know."""

    vulnerable: tuple[str, ...]
    """A line each."""
    audited: frozenset[str]
    """Names of packages that a service knew."""
    unaudited: frozenset[str]
    """Names of those that none knew."""
    trouble: tuple[str, ...] = ()
    """Why a service gave no report."""

    def code(self, *, strict: bool = False) -> int:
        """The exit code."""
        return 1 if self.vulnerable or (strict and self.unaudited) else 0

    def lines(self) -> list[str]:
        """The report for people."""
        lines = [f"vulnerable: {line}" for line in self.vulnerable]
        lines += [f"dependency audit: {line}" for line in self.trouble]
        if self.unaudited:
            some = ", ".join(sorted(self.unaudited)[:_SHOWN])
            more = ", …" if len(self.unaudited) > _SHOWN else ""
            lines.append(
                f"dependency audit: NOT audited: {len(self.unaudited)} of "
                f"{len(self.unaudited | self.audited)} packages ({some}{more}); run it where PyPI or OSV can be reached"
            )
        lines.append(f"dependency audit: {len(self.audited)} packages audited, {len(self.vulnerable)} vulnerabilities")
        return lines


def read(names: Iterable[str], documents: Iterable[Any], trouble: Sequence[str] = ()) -> Report:
    """Make one report of pip-audit's JSON documents; `names` are all packages that there are."""
    known: dict[str, list[str]] = {}
    for row in (row for document in documents for row in document["dependencies"] if "skip_reason" not in row):
        known.setdefault(_normal(row["name"]), []).extend(_line(row, found) for found in row["vulns"])
    vulnerable = tuple(dict.fromkeys(line for lines in known.values() for line in lines))
    return Report(vulnerable, frozenset(known), frozenset(map(_normal, names)) - known.keys(), tuple(trouble))


def _line(row: Any, found: Any) -> str:
    mended = ", ".join(found["fix_versions"]) or "no version yet"
    return f"{row['name']} {row['version']}: {found['id']}, mended in {mended}"


def _normal(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")


def pinned(text: str) -> list[str]:
    """The names in a file of `name==version` lines."""
    return [line.partition("==")[0] for line in text.splitlines() if "==" in line]


def audit(path: str, *, services: Sequence[str] = SERVICES, osv_url: str | None = None) -> Report:
    """Audit the pinned versions of a file; the next service is asked when one left something unknown."""
    with open(path, encoding="utf-8") as file:
        names = pinned(file.read())
    documents: list[Any] = []
    trouble: list[str] = []
    for service in services:
        try:
            documents.append(_ask(path, service, osv_url))
        except ValueError as error:
            trouble.append(f"{service} gave no report: {error}")
        if not read(names, documents).unaudited:
            break
    return read(names, documents, trouble)


def _ask(path: str, service: str, osv_url: str | None) -> Any:
    """One service's report.

    Raises:
        ValueError: it gave none; in its words.
    """
    words = [
        *(sys.executable, "-m", "pip_audit", "--requirement", path, "--no-deps", "--disable-pip", "--format", "json"),
        *("--progress-spinner", "off", "--timeout", str(TIMEOUT_S), "--vulnerability-service", service),
        *(("--osv-url", osv_url) if osv_url else ()),
    ]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
        return orjson.loads(done.stdout)
    except subprocess.TimeoutExpired:
        raise ValueError(f"no report within {DEADLINE_S} s") from None
    except orjson.JSONDecodeError:
        said = done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"]
        raise ValueError(said[-1][:200]) from None


def main(argv: Sequence[str] | None = None) -> int:
    """Audit, say what was found, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m support.dependencies")
    parser.add_argument("file", help="pinned requirements")
    parser.add_argument("--strict", action="store_true", help="fail also when something could not be audited")
    options = parser.parse_args(argv)
    try:
        report = audit(options.file)
    except OSError as error:
        sys.stderr.write(f"{error.filename}: {error.strerror}\n")
        return 2
    sys.stderr.write("".join(f"{line}\n" for line in report.lines()))
    return report.code(strict=options.strict)


if __name__ == "__main__":
    sys.exit(main())
