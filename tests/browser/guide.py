"""The pages of docs/howto/use-milana-js.md, taken from there, so that they are what is tested."""

from __future__ import annotations

import re
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.browser.site import ESBUILD, NODE_FOLDER, Site
from tests.browser.tab import Backend
from tests.server import BOUND_S

GUIDE = Path(__file__).parents[2] / "docs" / "howto" / "use-milana-js.md"
BLOCK = re.compile(r"^`(?P<name>[\w.-]+)`:\n\n```\w+\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
BUILD = re.compile(r"^npx esbuild (?P<source>\S+) .*--outfile=(?P<result>\S+)$", re.MULTILINE)

ENDPOINT = "https://users.example.com/milana"
PRODUCT_ID = "prd_" + "0" * 26
CLIENT_KEY = "key_" + "0" * 32


def files() -> dict[str, str]:
    """{name: what the guide says is in it}"""
    return {found["name"]: found["code"] for found in BLOCK.finditer(GUIDE.read_text())}


@dataclass
class Guided:
    """A customer's folder, in which somebody follows the guide for their own server."""

    folder: Path
    backend: Backend

    def write(self, name: str) -> str:
        """A file of the guide, with the values of this server for those of the guide."""
        code = files()[name]
        for shown, own in (
            (ENDPOINT, self.backend.endpoint),
            (PRODUCT_ID, self.backend.keys["USERFOLD_PRODUCT_ID"]),
            (CLIENT_KEY, self.backend.keys["USERFOLD_PUBLISHABLE_KEY"]),
        ):
            code = code.replace(shown, own)
        (self.folder / name).write_text(code)
        return code

    def build(self, source: str) -> tuple[str, bytes]:
        """The name and the content of the script that the guide's own command makes of this file of it."""
        self.write(source)
        modules = self.folder / "node_modules"
        if not modules.exists():
            modules.symlink_to(NODE_FOLDER / "node_modules")
        command = {found["source"]: found for found in BUILD.finditer(GUIDE.read_text())}.get(source)
        arguments = shlex.split(command[0])[2:] if command else [source, "--bundle", "--format=esm", "--outfile=app.js"]
        done = subprocess.run(
            [ESBUILD, *arguments], cwd=self.folder, capture_output=True, text=True, timeout=BOUND_S, check=False
        )
        assert done.returncode == 0, done.stderr
        name = arguments[-1].removeprefix("--outfile=")
        return name, (self.folder / name).read_bytes()

    def put(self, site: Site, *, page: str, script: str) -> str:
        """The address of a page of the guide, with its script beside it."""
        name, content = self.build(script)
        site.put(name, content)
        return site.put(page, self.write(page))
