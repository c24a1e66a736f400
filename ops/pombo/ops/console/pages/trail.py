"""Trail: who did what, by console or command line."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pombo.ops.console.pages import Nav
from pombo.ops.console.rendering import page, there, url
from pombo.ops.console.state import state_of
from pombo.shared.deadletters.letter import is_id
from pombo.shared.trail import KEPT, LOGINS_KEPT, Deed, read_trail

nav = Nav("Trail", "/trail", "t", 70, "trail")

PAGE = 50
READ = 500
"""Deeds read at once while looking for those that fit; there are some ten thousand at most."""


async def show(request: Request) -> Response:
    """Deeds or logins, newest first, of somebody or with some word."""
    asked = request.query_params
    logins = asked.get("kind") == "logins"
    if logins:
        await state_of(request).refusals.flush()
    wanted, before = asked.get("q", "").strip().casefold(), asked.get("before", "")
    if not is_id(before) or before == "0-0":
        before = ""
    found, following = await _search(request, wanted, before or None, logins=logins)
    at = {"kind": "logins" if logins else None, "q": wanted}
    return page(
        request, "trail.html", deeds=found, q=asked.get("q", ""), kept=LOGINS_KEPT if logins else KEPT, home=home,
        before=before, logins=logins,
        next=following and url("/trail", **at, before=following), first=before and url("/trail", **at),
    )  # fmt: skip


async def _search(request: Request, wanted: str, before: str | None, *, logins: bool) -> tuple[list[Deed], str | None]:
    """The next page of deeds that fit, and the cursor to go on from; None when there are no more."""
    state = state_of(request)
    found: list[Deed] = []
    while True:
        count = READ if wanted else PAGE + 1
        some = await read_trail(state.redis, state.keys, before=before, count=count, logins=logins)
        found += [one for one in some if _fits(one, wanted)]
        if len(found) > PAGE:
            return found[:PAGE], found[PAGE - 1].id
        if not some or not wanted:
            return found, None
        before = some[-1].id


def _fits(deed: Deed, wanted: str) -> bool:
    told = (deed.who, deed.role, deed.what, deed.subject)
    return not wanted or any(wanted in word.casefold() for word in told)


def home(deed: Deed) -> str:
    """Where its subject is to be seen; "" for nowhere."""
    kind = deed.what.partition(".")[0]
    places = {"sources": f"/sources/{deed.subject}", "jobs": f"/jobs/{deed.subject}", "dead": f"/dead/{deed.subject}"}
    place = places.get(kind, "") if deed.subject else ""
    return place if place and there(place) else ""


routes = [Route("/trail", show)]
