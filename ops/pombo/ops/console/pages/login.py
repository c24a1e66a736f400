"""Login and logout."""

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from pombo.ops.console.forms import read_form, text
from pombo.ops.console.guard import keep
from pombo.ops.console.rendering import page
from pombo.ops.console.state import session_of, state_of
from pombo.shared.logs import get_logger
from pombo.shared.trail import note_login

NAME_CHARACTERS = 40

log = get_logger("pombo.console")


async def show(request: Request) -> Response:
    """The form; who is logged in goes on."""
    target = _target(request.query_params.get("next", ""))
    if session_of(request).role != "stranger":
        return RedirectResponse(target, 303)
    over = "over" in request.query_params
    return page(request, "login.html", target=target, problem="", name="", over=over)


async def log_in(request: Request) -> Response:
    """Exchange a token for a session."""
    # Whoever reaches the console may send this: a form of a bounded size, and of no files.
    state, form = state_of(request), await read_form(request)
    name, token = _name(text(form, "name")), text(form, "token")
    target = _target(text(form, "next"))
    address = request.client.host if request.client else ""
    wait_s = state.attempts.wait_s(address)
    if wait_s > 0:
        words = f"Too many wrong tokens from here. Try again in {wait_s:.0f} s."
        headers = {"Retry-After": f"{wait_s:.0f}"}
        return page(
            request, "login.html", status=429, headers=headers, target=target, problem=words, name=name, over=False
        )
    role = state.tokens.role_of(token)
    if role == "stranger":
        state.attempts.failed(address)
        await state.refusals.add(address)
        # Not the name: who is in a hurry puts the token there.
        log.warning("console.refused", address=address)
        words = "This token opens nothing here. It is the value of POMBO_CONSOLE_TOKEN or POMBO_CONSOLE_VIEWER_TOKEN."
        return page(request, "login.html", status=401, target=target, problem=words, name=name, over=False)
    session = state.sessions.begin(name or role, role)
    log.info("console.entered", address=address, name=session.name, role=role)
    where = {"address": address}
    await note_login(state.redis, state.keys, who=session.name, role=role, what="console.login", detail=where)
    response = RedirectResponse(target, 303)
    keep(request, response, state, session)
    return response


async def log_out(request: Request) -> Response:
    """End the session, also for copies of its cookie."""
    state = state_of(request)
    state.sessions.end(session_of(request))
    response = RedirectResponse("/login", 303)
    response.delete_cookie(state.sessions.cookie)
    return response


def _name(given: str) -> str:
    """A name fit for the trail."""
    return "".join(c for c in " ".join(given.split()) if c.isprintable())[:NAME_CHARACTERS]


def _target(given: str) -> str:
    """Where to go on: a path of this console, whatever was given."""
    local = given.startswith("/") and not given.startswith(("//", "/\\")) and given.isprintable()
    return given if local and not given.startswith("/login") else "/"


routes = [
    Route("/login", show, methods=["GET"]),
    Route("/login", log_in, methods=["POST"]),
    Route("/logout", log_out, methods=["POST"]),
]
