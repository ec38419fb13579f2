"""The app of a customer: pages and scripts, served from an origin of their own, and the tool that bundles scripts."""

from __future__ import annotations

import contextlib
import ssl
import subprocess
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID

from tests.identity import elliptic_key, private_pem_of
from tests.server import BOUND_S

NODE_FOLDER = Path(__file__).parents[1] / "node"
ESBUILD = NODE_FOLDER / "node_modules" / ".bin" / "esbuild"

TYPES = {".html": "text/html", ".js": "text/javascript", ".json": "application/json"}
# An app that is as strict as it can be about where its pages may send anything.
POLICY = "default-src 'self' 'unsafe-inline'; worker-src blob:; connect-src 'self' {endpoint}"


class Site:
    """An origin: what it serves can be put there while it does."""

    def __init__(self, origin: str) -> None:
        self.origin = origin
        self.files: dict[str, bytes] = {}
        self.policy: str | None = None

    def put(self, name: str, content: str | bytes) -> str:
        """The address of a file that is now there."""
        self.files[f"/{name}"] = content.encode() if isinstance(content, str) else content
        return f"{self.origin}/{name}"


@contextlib.contextmanager
def served(folder: Path, *, secure: bool = False) -> Iterator[Site]:
    """A site at a free port, over TLS with a certificate that nobody knows if it is `secure`."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            name = self.path.partition("?")[0]
            content = site.files.get(name)
            self.send_response(404 if content is None else 200)
            self.send_header("content-type", TYPES.get(Path(name).suffix, "text/plain") + "; charset=utf-8")
            self.send_header("content-length", str(len(content or b"")))
            if site.policy is not None:
                self.send_header("content-security-policy", site.policy)
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listener:
        if secure:
            listener.socket = _tls(folder).wrap_socket(listener.socket, server_side=True)
        site = Site(f"http{'s' if secure else ''}://127.0.0.1:{listener.server_address[1]}")
        thread = threading.Thread(target=listener.serve_forever)
        thread.start()
        try:
            yield site
        finally:
            listener.shutdown()
            thread.join()


def bundle(source: str, *arguments: str, loader: str = "js") -> bytes:
    """The script that esbuild makes of a module, with everything that it imports from the vendors' packages."""
    done = subprocess.run(
        [ESBUILD, "--bundle", f"--loader={loader}", "--define:process.env.NODE_ENV='production'", *arguments],
        cwd=NODE_FOLDER,
        input=source.encode(),
        capture_output=True,
        timeout=BOUND_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def _tls(folder: Path) -> ssl.SSLContext:
    key = elliptic_key()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = folder / "site.pem"
    file.write_bytes(private_pem_of(key).encode() + certificate.public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context
