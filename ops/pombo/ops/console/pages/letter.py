"""One dead letter: why it died, its attempts and its event; to edit, redrive or discard it, and see where it went."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pombo.ops.console.deeds import deed
from pombo.ops.console.fates import fate_of, last_deed
from pombo.ops.console.forms import read_form, text
from pombo.ops.console.letterview import LetterView, changes, difference, parsed
from pombo.ops.console.rendering import fragment, page, redirect, url
from pombo.ops.console.state import State, state_of
from pombo.ops.remedies import remedy
from pombo.shared.clock import moment
from pombo.shared.deadletters import DeadLetter, discard, edited, find, redrive_page
from pombo.shared.deadletters.letter import is_id, told
from pombo.shared.errors import InvalidEvent, PomboError, StoredVersionError, UnknownLetterError
from pombo.shared.flow import redis_now
from pombo.shared.sources import Source

OLDER = "it was accepted more than 24 h ago; tick the box if it is to be sent all the same"


@dataclass(frozen=True, slots=True)
class Desk:
    """A request for one letter."""

    request: Request
    state: State
    source: Source
    id: str
    """`source/ms-seq`."""
    now: datetime
    """By Redis' clock."""

    @classmethod
    async def of(cls, request: Request) -> Self:
        """Whose letter, and which.

        Raises:
            HTTPException: there can be no such letter.
        """
        state, given = state_of(request), request.path_params
        source = (await state.registry.snapshot()).sources.get(given["source"])
        if source is None or not is_id(given["stream_id"]):
            raise HTTPException(404, "there is no such dead letter")
        now = moment(await redis_now(state.redis))
        return cls(request, state, source, f"{given['source']}/{given['stream_id']}", now)

    @property
    def path(self) -> str:
        """Of the letter's page."""
        return f"/dead/{self.id}"

    async def letter(self) -> DeadLetter | None:
        """The letter; None when it is gone.

        Raises:
            HTTPException: another version of pombo wrote it.
        """
        try:
            return await find(self.state.redis, self.state.keys, self.id)
        except UnknownLetterError:
            return None
        except StoredVersionError as error:
            raise HTTPException(409, str(error)) from None

    def older(self, letter: DeadLetter) -> bool:
        """Whether Segment may have forgotten its messageId."""
        return letter.older_than_window(self.now)

    async def move(self, letter: DeadLetter) -> bool:
        """Put it back into the queue; whether it was still there."""
        return bool(await redrive_page(self.state.redis, self.state.keys, self.source, [letter]))

    def gone(self) -> Response:
        """The answer to who came too late."""
        return redirect(self.request, self.path, "Somebody else was faster: it is gone. Nothing was done.", "note")


async def show(request: Request) -> Response:
    """The page of a letter; of one that is gone, what is known of it."""
    desk = await Desk.of(request)
    letter = await desk.letter()
    if letter is None:
        return await _show_gone(desk)
    return page(request, "letter.html", **_context(desk, LetterView(letter)))


async def reveal(request: Request) -> Response:
    """The letter with its values, and the form to edit it; the trail knows who looked."""
    desk = await Desk.of(request)
    letter = await desk.letter()
    if letter is None:
        return desk.gone()
    await deed(request, "dead.reveal", desk.id)
    return page(request, "letter.html", **_context(desk, LetterView(letter, revealed=True)))


async def redrive(request: Request) -> Response:
    """Put it back into the queue as it is."""
    desk, form = await Desk.of(request), await read_form(request)
    letter = await desk.letter()
    if letter is None:
        return desk.gone()
    if desk.older(letter) and not text(form, "older"):
        return redirect(request, desk.path, f"Not redriven: {OLDER}.", "bad")
    try:
        moved = await desk.move(letter)
    except PomboError as error:
        return redirect(request, desk.path, f"Not redriven: {error}.", "bad")
    if not moved:
        return desk.gone()
    await deed(request, "dead.redrive", desk.id, {"reason": letter.header.reason})
    return redirect(request, _after(desk, letter), "Redriven: it is at the end of the queue.")


async def drop(request: Request) -> Response:
    """Delete it for good."""
    desk = await Desk.of(request)
    letter = await desk.letter()
    if letter is None or not await discard(desk.state.redis, desk.state.keys, desk.source.name, [letter]):
        return desk.gone()
    await deed(request, "dead.discard", desk.id, {"reason": letter.header.reason})
    return redirect(request, url("/dead", source=desk.source.name), f"{desk.id} was discarded.")


async def edit(request: Request) -> Response:
    """Check an edited event; show what changed, or put it back into the queue."""
    desk, form = await Desk.of(request), await read_form(request)
    letter = await desk.letter()
    if letter is None:
        return desk.gone()
    draft, older = text(form, "event"), bool(text(form, "older"))
    context = {**_context(desk, LetterView(letter, revealed=True)), "draft": draft, "older_ticked": older}
    try:
        repaired = edited(letter, parsed(draft))
        if text(form, "preview"):
            context["diff"] = difference(letter.event, repaired.event)
            return _form(desk, context)
        if desk.older(letter) and not older:
            raise InvalidEvent("", "older", OLDER)
        moved = await desk.move(repaired)
    except InvalidEvent as error:
        return _refused(desk, context, error.field, error.message)
    except PomboError as error:
        return _refused(desk, context, "", str(error))
    if not moved:
        return desk.gone()
    await deed(request, "dead.edit", desk.id, {"changed": changes(letter.event, repaired.event)})
    return redirect(request, _after(desk, repaired), "Edited and redriven: it is at the end of the queue.")


async def fate(request: Request) -> Response:
    """Where the event of a letter that is gone is now."""
    context = await _gone(await Desk.of(request))
    if context["fate"] is None:
        raise HTTPException(404, "say whose event it is: was=MESSAGE_ID")
    return fragment(request, "letter_fate.html", **context)


def _refused(desk: Desk, context: dict[str, Any], field: str, words: str) -> Response:
    where = f"{field}: " if field else ""
    return _form(desk, {**context, "error": f"{where}{words}"}, 422)


def _form(desk: Desk, context: dict[str, Any], status: int = 200) -> Response:
    """The form as it was sent: the part alone for htmx."""
    if desk.request.headers.get("HX-Request"):
        return fragment(desk.request, "letter_edit.html", status=status, **context)
    return page(desk.request, "letter.html", status=status, **context)


def _context(desk: Desk, view: LetterView) -> dict[str, Any]:
    letter = view.letter
    return {
        "view": view, "letter": letter, "told": letter.describe(), "path": desk.path,
        "people": desk.state.people, "source": desk.source.name,
        "remedy": remedy(letter.header.reason), "older": desk.older(letter), "draft": view.draft, "diff": None,
        "error": "", "older_ticked": False, "at_of": _instant,
    }  # fmt: skip


def _instant(text: str) -> datetime | None:
    """A moment of a history, which an export may have brought from anywhere."""
    try:
        at = datetime.fromisoformat(text)
    except (ValueError, TypeError):
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _after(desk: Desk, letter: DeadLetter) -> str:
    """The page that tells where it went."""
    return url(desk.path, was=told(letter.event.get("messageId")))


async def _show_gone(desk: Desk) -> Response:
    was = desk.request.query_params.get("was")
    done = await last_deed(desk.state.redis, desk.state.keys, desk.id)
    status = 200 if was or done else 404
    return page(desk.request, "letter_gone.html", status=status, done=done, **await _gone(desk))


async def _gone(desk: Desk) -> dict[str, Any]:
    was = desk.request.query_params.get("was", "").strip()[:200]
    fate = await fate_of(desk.state.redis, desk.state.keys, desk.source, was) if was else None
    return {"id": desk.id, "was": was, "fate": fate, "path": desk.path, "source": desk.source.name}


routes = [
    Route("/dead/{source}/{stream_id}", show, methods=["GET"]),
    Route("/dead/{source}/{stream_id}/fate", fate, methods=["GET"]),
    Route("/dead/{source}/{stream_id}/reveal", reveal, methods=["POST"]),
    Route("/dead/{source}/{stream_id}/redrive", redrive, methods=["POST"]),
    Route("/dead/{source}/{stream_id}/edit", edit, methods=["POST"]),
    Route("/dead/{source}/{stream_id}/discard", drop, methods=["POST"]),
]
