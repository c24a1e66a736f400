"""Files of dead letters: download what was exported to this machine, and import what was exported anywhere."""

import asyncio

from starlette.concurrency import iterate_in_threadpool
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from pombo.ops.console.control import control_plane
from pombo.ops.console.deeds import deed
from pombo.ops.console.forms import rate, read_form, text
from pombo.ops.console.letterfiles import MOST_UPLOADED, check_name, contents, keep, listed
from pombo.ops.console.rendering import operator, page, redirect
from pombo.ops.console.state import State, session_of, state_of
from pombo.shared.errors import ConfigurationError, JobError
from pombo.worker.jobs import enqueue_import

OVERHEAD = 1 << 20
"""Bytes of an upload's form beside the file."""


async def show(request: Request) -> Response:
    """The files on this machine, and the form of an import."""
    return await _show(request)


async def download(request: Request) -> Response:
    """One file; the trail knows who took it."""
    operator(request)
    name = request.path_params["name"]
    try:
        size, steps = await asyncio.to_thread(contents, state_of(request).settings.export_folder, name)
    except JobError as error:
        raise HTTPException(404, str(error)) from None
    await deed(request, "dead.download", name)
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Content-Length": str(size)}
    return StreamingResponse(iterate_in_threadpool(steps), media_type="application/x-ndjson", headers=headers)


async def take(request: Request) -> Response:
    """Import a file: one that is sent along, or one of the folder."""
    state, form = state_of(request), await read_form(request, MOST_UPLOADED + OVERHEAD)
    source, speed = text(form, "source"), text(form, "rate")
    upload = form.get("upload")
    try:
        throttle = rate(speed)
        if source not in (await state.registry.snapshot()).sources:
            raise JobError("choose the source whose dead letters they are to be")
        if isinstance(upload, UploadFile) and upload.filename:
            folder, now = state.settings.export_folder, state.clock.now()
            name = await asyncio.to_thread(keep, folder, source, upload.file, now)
        else:
            name = check_name(text(form, "file"))
    except (JobError, ConfigurationError) as error:
        return await _show(request, status=422, error=str(error), source=source, file=text(form, "file"), rate=speed)
    finally:
        await form.close()
    return await _enqueue(request, state, source, name, throttle)


async def _enqueue(request: Request, state: State, source: str, name: str, throttle: float | None) -> Response:
    by, namespace = session_of(request).name, state.settings.namespace
    with control_plane(state):
        job = await asyncio.to_thread(
            lambda: enqueue_import(state.jobs, source, name, rate=throttle, by=by, namespace=namespace)
        )
    await deed(request, "dead.import", source, {"job": job.id, "file": name})
    return redirect(request, f"/jobs/{job.id}", f"A job is to put back what {name} holds.")


async def _show(
    request: Request, status: int = 200, *, error: str = "", source: str = "", file: str = "", rate: str = ""
) -> Response:
    state = state_of(request)
    files = await asyncio.to_thread(listed, state.settings.export_folder)
    sources = sorted((await state.registry.snapshot()).sources)
    asked = request.query_params
    return page(
        request, "dead_files.html", status=status, files=files, sources=sources, error=error, rate=rate,
        source=source or asked.get("source", ""), file=file or asked.get("file", ""), most=MOST_UPLOADED,
    )  # fmt: skip


routes = [
    Route("/dead/-/files", show, methods=["GET"]),
    Route("/dead/-/files", take, methods=["POST"]),
    Route("/dead/-/files/{name}", download, methods=["GET"]),
]
