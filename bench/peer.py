# SPDX-License-Identifier: Apache-2.0
"""Running llama.cpp's tools, wherever they are installed, and the answers to "where do its files lie?"."""
import os
import shlex
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EXIT_NO_PEER = 3
DEFAULT_PREFIX = f"bash {shlex.quote(os.path.relpath(ROOT.parent / 'shared/peers/llama-cpp.sh'))} run"
DEFAULT_SHARE = Path(os.environ.get("PEERS", Path.home() / ".cache/cairn-peers")) / "share"


class PeerError(Exception):
    """One line for a person."""


class NoPeer(PeerError):
    pass


class Peer:
    def __init__(self, prefix):
        self.prefix = shlex.split(prefix)
        self.folder = None

    @classmethod
    def in_folder(cls, folder):
        """Programs that lie in a folder. Raises NoPeer when there is none."""
        if not folder.is_dir():
            raise NoPeer(f"there is no folder '{folder}' of a peer's programs")
        found = cls("")
        found.folder = folder.resolve()
        return found

    def command(self, tool, *arguments):
        return [*self.prefix, tool if self.folder is None else str(self.folder / tool), *map(str, arguments)]

    def version(self, tool):
        """The first line of `TOOL --version`. Raises NoPeer when the tool cannot be run."""
        command = self.command(tool, "--version")
        try:
            done = subprocess.run(command, capture_output=True, text=True)
        except OSError as error:
            raise NoPeer(self._missing(command, error.strerror)) from error
        if done.returncode != 0:
            raise NoPeer(self._missing(command, last_line(done.stderr) or f"exit status {done.returncode}"))
        lines = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("version:")]
        return lines[0].removeprefix("version:").strip() if lines else "unknown"

    def run(self, tool, *arguments):
        """Standard output. Raises PeerError when the tool fails."""
        command = self.command(tool, *arguments)
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            raise PeerError(f"'{shlex.join(command)}' failed with status {done.returncode}: {last_line(done.stderr)}")
        return done.stdout

    def run_into_file(self, tool, *arguments, environment=(), folder=None):
        """Both outputs together, for tools that lose the end of what they write into a pipe; in `folder`, for those
        that leave files where they run. Raises PeerError."""
        command = self.command(tool, *arguments)
        with tempfile.TemporaryFile("w+", errors="replace") as output:
            done = subprocess.run(command, stdout=output, stderr=output, env={**os.environ, **dict(environment)},
                                  cwd=folder)
            output.seek(0)
            text = output.read()
        if done.returncode != 0:
            raise PeerError(f"'{shlex.join(command)}' failed with status {done.returncode}: {last_line(text)}")
        return text

    @staticmethod
    def _missing(command, why):
        return (f"llama.cpp is missing: '{shlex.join(command)}' does not run ({why}); install llama.cpp with its extra "
                "tools and give the words before a tool's name with --peer ('' if the tools are on the PATH)")


def add_arguments(parser):
    parser.add_argument("--peer", default=DEFAULT_PREFIX, metavar="PREFIX",
                        help="the words before the name of a llama.cpp tool; '' when the tools are on the PATH "
                             "(default: %(default)s)")


def last_line(text):
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""


def build_commit():
    """What `git describe` says about the sources beside this file."""
    done = subprocess.run(["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=12"],
                          capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else "unknown"
