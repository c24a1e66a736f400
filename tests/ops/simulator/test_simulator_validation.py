from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from pombo.ops.simulator import Simulator, Switches
from pombo.ops.simulator.validation import batch_code, drop_code

Post = Callable[..., Awaitable[httpx.Response]]
CONSENT = "Segment Consent Preference Updated"


def event(kind: str = "track", **changes: Any) -> dict[str, Any]:
    """Build a valid event of any kind; a change to ... takes the key out."""
    made = {"type": kind, "userId": "u", "event": "E", "groupId": "g", "previousId": "p", **changes}
    return {name: value for name, value in made.items() if value is not ...}


@pytest.mark.parametrize("kind", ["identify", "track", "page", "screen", "group", "alias"])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"userId": "u", "anonymousId": None},
        {"properties": {}, "traits": {}},
        {"properties": None, "traits": None, "name": None, "category": None},
        {"name": "n", "category": "c", "messageId": "m" * 150, "unknown": object},
    ],
)
def test_valid(kind: str, changes: dict[str, Any]) -> None:
    """A valid event of each kind has no code; null counts as absent, and long ids and unknown keys pass."""
    assert drop_code(event(kind, **changes), Switches()) is None


@pytest.mark.parametrize("kind", ["identify", "track", "page", "screen", "group"])
def test_anonymous(kind: str) -> None:
    """An anonymousId is enough for every call but alias."""
    assert drop_code(event(kind, userId=..., anonymousId="a"), Switches()) is None


@pytest.mark.parametrize(
    ("item", "code"),
    [
        ("text", "item_not_object"),
        (None, "item_not_object"),
        ([], "item_not_object"),
        (event(type=...), "unknown_type"),
        (event("Track"), "unknown_type"),
        (event(type=[]), "unknown_type"),
        (event(userId=...), "no_user_anon_id"),
        (event(userId=None, anonymousId=None), "no_user_anon_id"),
        (event(userId=""), "id_not_string"),
        (event(userId=7), "id_not_string"),
        (event(anonymousId=""), "id_not_string"),
        (event(anonymousId=["a"]), "id_not_string"),
        (event(event=...), "event_not_defined"),
        (event(event=None), "event_not_defined"),
        (event(event=""), "event_not_defined"),
        (event(event=3), "event_not_string"),
        (event(event={}), "event_not_string"),
        (event(properties=[]), "properties_not_object"),
        (event("page", properties="x"), "properties_not_object"),
        (event("screen", properties=0), "properties_not_object"),
        (event("identify", traits=[]), "traits_not_object"),
        (event("group", traits="x"), "traits_not_object"),
        (event("page", name=""), "name_not_string"),
        (event("screen", name=1), "name_not_string"),
        (event("page", category=""), "category_not_string"),
        (event("screen", category=[]), "category_not_string"),
        (event("group", groupId=...), "id_required"),
        (event("group", groupId=""), "id_not_string"),
        (event("alias", previousId=None), "id_required"),
        (event("alias", userId=..., anonymousId="a"), "id_required"),
        (event("alias", previousId=5), "id_not_string"),
    ],
)
def test_drop_codes(item: object, code: str) -> None:
    """Each fault has the code that Segment's delivery overview shows."""
    assert drop_code(item, Switches()) == code


def test_unlike_calls_are_not_checked() -> None:
    """Fields that a call does not have are not looked at."""
    assert drop_code(event("identify", properties=[], event=3, name=""), Switches()) is None
    assert drop_code(event("track", traits=[], name=""), Switches()) is None


def test_unknown_type_kept() -> None:
    """With the switch an unknown type is kept, if somebody sent it."""
    switches = Switches(unknown_type="keep")
    assert drop_code(event("dance"), switches) is None
    assert drop_code(event("dance", userId=...), switches) == "no_user_anon_id"


@pytest.mark.parametrize(
    ("context", "code"),
    [
        ({"consent": {"categoryPreferences": {"ads": True}}}, None),
        ({"consent": {"categoryPreferences": {}, "version": 2}}, None),
        ({}, "consent_categorypreferences_should_exist"),
        ({"consent": []}, "consent_categorypreferences_should_exist"),
        ({"consent": {"categoryPreferences": []}}, "consent_categorypreferences_should_be_object"),
        (
            {"consent": {"categoryPreferences": {"ads": 1}}},
            "consent_categorypreferences_fields_should_be_bool",
        ),
        ({"consent": {"categoryPreferences": {}, "version": "2"}}, "consent_version_should_be_number"),
        ({"consent": {"categoryPreferences": {}, "version": True}}, "consent_version_should_be_number"),
        ({"device": {"advertisingId": 1}}, "device_advertisingid_should_be_string"),
    ],
)
def test_consent_events(context: dict[str, Any], code: str | None) -> None:
    """Consent events have rules of their own for their context."""
    assert drop_code(event(event=CONSENT, anonymousId="a", context=context), Switches()) == code


def test_consent_needs_anonymous_id() -> None:
    """A consent event needs an anonymousId."""
    assert drop_code(event(event=CONSENT), Switches()) == "consent_needs_anonymous_id_set"


def test_consent_in_batch_context() -> None:
    """A consent event may have its preferences from the batch."""
    common = {"consent": {"categoryPreferences": {"ads": False}}}
    assert drop_code(event(event=CONSENT, anonymousId="a"), Switches(), common) is None


@pytest.mark.parametrize(
    ("fates", "code"),
    [
        (["kept", "kept"], None),
        ([], "empty_batch"),
        (["kept", "event_not_defined"], "multi_user_error"),
        (["id_not_string"], "empty_batch_result"),
    ],
)
def test_batch_code(fates: list[str], code: str | None) -> None:
    """A batch as a whole fails when it is empty, or when some or all of it is dropped."""
    assert batch_code(fates) == code


async def test_bad_items_are_answered_200(post: Post, sim: Simulator) -> None:
    """Dropped items do not show in the answer, and the good ones of the batch are kept."""
    answer = await post(event(messageId="a"), event(messageId="b", event=""), 17)
    assert (answer.status_code, answer.json()) == (200, {"success": True})
    assert [row["fate"] for row in sim.events()] == ["kept", "event_not_defined", "item_not_object"]
    assert sim.requests()[0]["code"] == "multi_user_error"


async def test_rows_of_odd_items(post: Post, sim: Simulator) -> None:
    """What an item holds in the wrong type shows as null, and an item that is no object has no payload."""
    await post(event(userId=7, event=[]), "text")
    assert [(row["user"], row["event"], row["payload"] is None) for row in sim.events(payload=True)] == [
        (None, None, False),
        (None, None, True),
    ]


async def test_single_call_has_no_batch_code(client: httpx.AsyncClient, sim: Simulator) -> None:
    """A single call that is dropped is 200 too, and no batch has failed."""
    answer = await client.post("/v1/track", json={"userId": "u", "writeKey": "k"})
    assert answer.status_code == 200
    assert ([row["fate"] for row in sim.events()], sim.requests()[0]["code"]) == (["event_not_defined"], None)


async def test_sources(post: Post, sim: Simulator) -> None:
    """Events of unknown, disabled and locked sources are answered 200 and dropped."""
    sim.set_switches(
        Switches(
            known_keys=frozenset({"good", "off", "locked"}),
            disabled_keys=frozenset({"off"}),
            locked_keys=frozenset({"locked"}),
        )
    )
    for key in ("good", "off", "locked", "stranger"):
        assert (await post(event(messageId=key), key=key)).status_code == 200
    assert {row["key"]: row["fate"] for row in sim.events()} == {
        "good": "kept",
        "off": "source_disabled",
        "locked": "locked_workspace",
        "stranger": "project_not_found",
    }
