"""A volume plugin: Docker's protocol at a unix socket, for tests.

    python -m tests.integration.plugin SOCKET FOLDER

Volumes are folders in FOLDER. A volume called `hang` makes it sleep; one called `bad` is refused. What it was asked is in FOLDER/asked.
"""

from __future__ import annotations

import json
import shutil
import socketserver
import sys
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any


class Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    folder: Path


class Handler(BaseHTTPRequestHandler):
    server: Server

    def address_string(self) -> str:
        return "plugin"

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])) or b"{}")
        with (self.server.folder / "asked").open("a") as file:
            file.write(f"{self.path} {json.dumps(body)}\n")
        answer = self._answer(self.path.strip("/"), body)
        data = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _answer(self, what: str, body: dict[str, Any]) -> dict[str, Any]:
        name = body.get("Name", "")
        place = self.server.folder / f"v-{name}"
        if name == "hang":
            time.sleep(30)
        if name == "bad":
            return {"Err": "this name brings bad luck"}
        if what == "Plugin.Activate":
            return {"Implements": ["VolumeDriver"]}
        if what == "VolumeDriver.Create":
            place.mkdir()
            (place / "from-plugin").write_text(json.dumps(body.get("Opts")))
        elif what == "VolumeDriver.Remove":
            shutil.rmtree(place)
        elif what == "VolumeDriver.Mount":
            return {"Mountpoint": str(place), "Err": ""}
        elif what == "VolumeDriver.List":
            return {"Volumes": [{"Name": path.name[2:]} for path in self.server.folder.glob("v-*")], "Err": ""}
        return {"Err": ""}


if __name__ == "__main__":
    with Server(sys.argv[1], Handler) as server:
        server.folder = Path(sys.argv[2])
        server.serve_forever()
