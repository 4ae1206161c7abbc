"""Finding a Chromium on this machine, and the flags that it is started with."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from agentflow.exceptions import BrowserMissing

VARIABLE = "AGENTFLOW_CHROMIUM"
NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--force-color-profile=srgb",
    # What does not go through the proxy goes nowhere: no name is resolved and no UDP leaves.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--webrtc-ip-handling-policy=disable_non_proxied_udp",
    # Ways to send that no session could hold back: they are not shown to it.
    "--disable-blink-features=SharedWorker,FetchLaterAPI,BackgroundFetch,WebTransport,DirectSockets",
    "--no-pings",
)
# A page that is left may still send, and a browser shows that to nobody: from then on what it sends stays here. A beacon that
# is refused has a page send the usual way, which is held back and asked about.
LEAVING = """(() => {
  let left = false;
  const { fetch, Request, XMLHttpRequest, Navigator } = globalThis;
  const lasts = Object.getOwnPropertyDescriptor(Request.prototype, 'keepalive').get;
  const send = XMLHttpRequest.prototype.send;
  addEventListener('pagehide', () => { left = true; }, true);
  addEventListener('pageshow', () => { left = false; }, true);
  globalThis.fetch = function fetch_(input, init) {
    if (left) return Promise.reject(new TypeError('Failed to fetch'));
    const request = new Request(input, init);
    return fetch(lasts.call(request) ? new Request(request, { keepalive: false }) : request);
  };
  XMLHttpRequest.prototype.send = function (body) {
    if (left) throw new DOMException('Failed to send', 'NetworkError');
    return send.call(this, body);
  };
  Navigator.prototype.sendBeacon = () => false;
})()"""
_HINT = (
    "install one with `apt-get install chromium` or `playwright install chromium`, "
    f"or name one in the environment variable `{VARIABLE}`"
)


def find_chromium(
    bundled: str | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    folders: Sequence[str] | None = None,
) -> Path:
    """The browser to start: the one named in `AGENTFLOW_CHROMIUM`, else Playwright's own, else the system's.

    `bundled` is where Playwright would have installed its own. `folders` defaults to PATH and /usr/bin.
    """
    environ = os.environ if environ is None else environ
    named = environ.get(VARIABLE)
    if named:
        return _named(Path(named))

    if folders is None:
        folders = [*filter(None, environ.get("PATH", "").split(os.pathsep)), "/usr/bin"]

    places = [Path(folder) / name for name in NAMES for folder in folders]
    found = next((p for p in ([Path(bundled)] if bundled else []) + places if _runs(p)), None)
    if found is None:
        raise BrowserMissing("no Chromium was found on this machine", hint=_HINT)

    return found


def _named(path: Path) -> Path:
    if not _runs(path):
        raise BrowserMissing(f"`{VARIABLE}` names `{path}`, which is no program that can be run", hint=_HINT)

    return path


def _runs(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)


def may_sandbox() -> bool:
    """Can Chromium use its own sandbox? It refuses to when started by root."""
    return getattr(os, "geteuid", lambda: 1)() != 0
