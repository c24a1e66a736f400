import json
from pathlib import Path
from typing import Any

import pytest

from ops.cli.commands import Cli, said
from ops.test_typebot import SECRET, V1, V2
from producer.quickbot.samples import ALIAS, CONTEXT, IDENTIFY, KNOWN, PAGE, TRACK, with_options

CONDITION = {
    "id": "cond",
    "type": "Condition",
    "items": [
        {
            "id": "i1",
            "content": {"comparisons": [{"variableId": "v1", "comparisonOperator": "Greater than", "value": "5"}]},
        }
    ],
}
FLOW: dict[str, Any] = {
    "version": "6",
    "groups": [
        {"title": "Checkout", "blocks": [TRACK, IDENTIFY, CONDITION]},
        {"title": "End", "blocks": [ALIAS, PAGE]},
    ],
    "variables": [
        {"id": "v1", "name": "Score", "value": "12"},
        {"id": "v2", "name": "Email"},
        {"id": "v3", "name": "User ID"},
    ],
}


@pytest.fixture
def flow(place: Path) -> Path:
    """A file with an exported flow."""
    path = place / "flow.json"
    path.write_text(json.dumps(FLOW))
    return path


@pytest.fixture
def known(place: Path) -> Path:
    """A file with the values of one conversation."""
    path = place / "variables.json"
    path.write_text(json.dumps(KNOWN))
    return path


def test_check(pombo: Cli, flow: Path, known: Path) -> None:
    """Each Segment block is shown with the event that it sends, without a Redis."""
    answer = pombo("quickbot", "check", flow, "--variables", known)
    assert (0, "") == (answer.code, answer.err)
    blocks = answer.out.split("\n\n")
    assert "Track blk_track in group 'Checkout': sends" == blocks[0].splitlines()[0]
    event = json.loads("".join(line for line in blocks[0].splitlines()[1:] if "note:" not in line))
    assert {"plan": "Gold"} == event["properties"]
    assert "  note: properties[1] is left out: its value is empty: {{Not Set}} has no value" in blocks[0]
    assert "Condition cond in group 'Checkout', item i1: holds" in answer.out
    assert answer.out.endswith("4 Segment blocks can be sent.\n")


def test_check_as_json(pombo: Cli, flow: Path, known: Path) -> None:
    """`--json` gives events, notes and conditions in one document."""
    answer = pombo("quickbot", "check", flow, "--variables", known, "--json")
    assert 0 == answer.code
    document = answer.json
    assert ["track", "identify", "alias", "page"] == [one["event"]["type"] for one in document["blocks"]]
    first = {
        "block": "blk_track",
        "group": "Checkout",
        "action": "Track",
        "event": {
            "type": "track",
            "userId": "u1",
            "event": "Plan Chosen",
            "properties": {"plan": "Gold"},
            "context": CONTEXT,
        },
        "field": None,
        "code": None,
        "message": None,
        "notes": ["properties[1] is left out: its value is empty: {{Not Set}} has no value"],
    }
    condition = {"block": "cond", "group": "Checkout", "item": "i1", "holds": True, "field": None, "message": None}
    assert (first, [condition], True) == (document["blocks"][0], document["conditions"], document["ok"])


def test_check_finds_what_is_wrong(pombo: Cli, place: Path) -> None:
    """What would not be sent names the field and the slip, and makes the exit code 1."""
    blocks = [with_options(IDENTIFY, email="{{email }}"), with_options(TRACK, action="Group"), PAGE]
    (place / "flow.json").write_text(json.dumps({**FLOW, "groups": [{"title": "G", "blocks": blocks}]}))
    answer = pombo("quickbot", "check", "flow.json", "--variables", "-", stdin='{"User ID": "u1"}')
    assert (1, "") == (answer.code, answer.err)
    assert (
        "Identify User blk_identify in group 'G': not sent\n"
        "  email: Identify User needs Email (email), which came out empty: {{email }} has no value\n"
        "  note: {{email }} is no variable; did you mean {{Email}}?\n"
    ) in answer.out
    assert "Group blk_track in group 'G': not sent\n  action: action 'Group' is none of Segment's" in answer.out
    assert answer.out.endswith("2 of 3 Segment blocks would send nothing.\n")
    known = '{"User ID": "u1"}'
    document = pombo("quickbot", "check", "flow.json", "--variables", "-", "--json", stdin=known).json
    wrong = [(one["event"], one["field"], one["code"]) for one in document["blocks"][:2]]
    assert [(None, "email", "email_required"), (None, "action", "action_unknown")] == wrong
    assert document["ok"] is False


def test_check_with_the_flows_own_values(pombo: Cli, flow: Path) -> None:
    """Without `--variables`, the flow's own values count, and what they lack is said."""
    document = pombo("quickbot", "check", flow, "--json").json
    assert ["userId"] * 4 == [one["field"] for one in document["blocks"]]
    assert [True] == [one["holds"] for one in document["conditions"]]


def test_check_casts_and_fills_the_context(pombo: Cli, flow: Path, place: Path) -> None:
    """Casting and context are tried as a request would."""
    (place / "context.json").write_text('{"locale": "{{Locale}}"}')
    known = json.dumps({**KNOWN, "Plan": "3", "Locale": "pt-BR"})
    words = ("quickbot", "check", flow, "--variables", "-", "--cast", "json", "--context", "context.json", "--json")
    event = pombo(*words, stdin=known).json["blocks"][0]["event"]
    assert ({"plan": 3}, "pt-BR") == (event["properties"], event["context"]["locale"])


def test_check_of_a_condition_that_is_wrong(pombo: Cli, place: Path, known: Path) -> None:
    """A condition that cannot be evaluated is named, and makes the exit code 1."""
    item = {"id": "i1", "content": {"comparisons": [{"variableId": "v1", "comparisonOperator": "is"}]}}
    broken = {**CONDITION, "items": [item]}
    (place / "flow.json").write_text(json.dumps({**FLOW, "groups": [{"blocks": [TRACK, broken]}]}))
    answer = pombo("quickbot", "check", "flow.json", "--variables", known)
    assert 1 == answer.code
    assert "Condition cond, item i1: condition.comparisons[0]: 'is' is no operator" in answer.out


def test_check_without_segment_blocks(pombo: Cli, place: Path) -> None:
    """Nothing to check is not well."""
    (place / "flow.json").write_text('{"groups": []}')
    answer = pombo("quickbot", "check", "flow.json")
    assert (1, "There is no Segment block in this flow.\n") == (answer.code, answer.out)


def test_check_steers_no_terminal(pombo: Cli, place: Path, known: Path) -> None:
    """Control characters of a flow or a value do not reach the terminal."""
    block = with_options(TRACK, eventName="\x1b[31mred\u202e", action="Track")
    (place / "flow.json").write_text(json.dumps({"groups": [{"title": "\x1b[2J", "blocks": [block]}]}))
    answer = pombo("quickbot", "check", "flow.json", "--variables", known)
    assert 0 == answer.code
    assert not any(c in answer.out for c in "\x1b\u202e")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["check", "none.json"], "none.json: No such file"),
        (["check", "bad.json"], "bad.json is no JSON"),
        (["check", "variables.json"], "this is no exported flow"),
        (["check", "flow.json", "--variables", "list.json"], "variables[0]"),
        (["check", "flow.json", "--cast", "yes"], "cast is neither none nor json"),
        (["check", "-", "--variables", "-"], "only one file"),
        (["credentials", "rows.json", "--encryption-secret", "short"], "has 5 bytes"),
        (["credentials", "rows.json"], "--encryption-secret"),
        (["credentials", "rows.json", "--encryption-secret", "-"], "no encryption secret came"),
        (["credentials", "-", "--encryption-secret", "-"], "only one of rows and secret"),
        (["credentials", "variables.json", "--encryption-secret", SECRET], "these are no credentials"),
        (["credentials", "rows.json", "--encryption-secret", SECRET, "--write-key", "--json"], "leave --json out"),
    ],
)
@pytest.mark.usefixtures("flow", "known")
def test_misuse(pombo: Cli, place: Path, words: list[str], expected: str) -> None:
    """Files and words that cannot be used are named in one line, with exit code 2."""
    (place / "bad.json").write_text("{")
    (place / "list.json").write_text("[5]")
    (place / "rows.json").write_text(json.dumps([V1, V2]))
    answer = pombo("quickbot", *words)
    assert 2 == answer.code
    assert expected in said(answer)


@pytest.fixture
def rows(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with two credentials, and their secret in the environment."""
    monkeypatch.setenv("ENCRYPTION_SECRET", SECRET)
    path = place / "rows.json"
    path.write_text(json.dumps([V1, V2, {**V1, "id": "mail", "type": "smtp"}]))
    return path


def test_credentials_are_listed_without_their_keys(pombo: Cli, rows: Path) -> None:
    """Who lists credentials sees whether they can be opened, and no key."""
    answer = pombo("quickbot", "credentials", rows)
    assert 0 == answer.code
    assert all(word in answer.out for word in ("cred_1", "cred_2", "v1", "v2", "can be read"))
    assert "SYNTHETIC" not in answer.out
    listed = pombo("quickbot", "credentials", rows, "--json").json
    assert {"id": "cred_1", "name": "Old", "version": 1, "ok": True, "problem": None} == listed[0]


def test_a_write_key_goes_into_a_source(pombo: Cli, rows: Path, redis_url: str) -> None:
    """The key of one credential becomes a source's by a pipe."""
    key = pombo("quickbot", "credentials", rows, "--id", "cred_1", "--write-key")
    assert (0, "SYNTHETIC_WRITE_KEY\n") == (key.code, key.out)
    assert 0 == pombo("sources", "add", "bot", "--write-key", "-", stdin=key.out).code


def test_one_key_at_a_time(pombo: Cli, rows: Path) -> None:
    """Of several, none is printed: which one is asked for must be said."""
    answer = pombo("quickbot", "credentials", rows, "--write-key")
    assert 1 == answer.code
    assert "2 credentials of Segment match, name one with --id: cred_1, cred_2" == said(answer)
    assert 1 == pombo("quickbot", "credentials", rows, "--write-key", "--id", "none").code


def test_credentials_of_another_secret(pombo: Cli, rows: Path) -> None:
    """What another secret encrypted is said, and makes the exit code 1."""
    words = ("quickbot", "credentials", rows, "--encryption-secret", "-")
    answer = pombo(*words, stdin="x" * 32 + "\n")
    assert 1 == answer.code
    assert "another ENCRYPTION_SECRET" in answer.out
    refused = pombo(*words, "--id", "cred_2", "--write-key", stdin="x" * 32 + "\n")
    assert (1, "") == (refused.code, refused.out)


def test_no_credentials_of_segment(pombo: Cli, rows: Path) -> None:
    """Rows of other services alone are nothing to do."""
    rows.write_text(json.dumps([{**V1, "type": "smtp"}]))
    assert 1 == pombo("quickbot", "credentials", rows).code


def test_check_as_a_program(program: Cli, flow: Path, known: Path) -> None:
    """A real process reads the flow from a pipe and needs no Redis."""
    answer = program("quickbot", "check", "-", "--variables", known, stdin=flow.read_text(), POMBO_REDIS_URL="")
    assert (0, "") == (answer.code, answer.err)
    assert answer.out.endswith("4 Segment blocks can be sent.\n")
