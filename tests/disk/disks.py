"""Storage of several kinds, and the programs that measure it. Shared by `predictions` and `planted`."""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import threading

ROOT = pathlib.Path(__file__).resolve().parents[2]

# Program, package, profile: what is measured is a release build; the layer only has to be there.
BUILDS = {
    "graven": ("graven-server", "release"),
    "graven-bench": ("graven-bench", "release"),
    "graven-disk": ("graven-tools", "release"),
    "graven-layer": ("graven-layer", "dev"),
}


class Failed(Exception):
    """A program did not do what it was asked to."""


def add_arguments(parser, programs):
    """Options for where the programs and the plain disk are."""
    for name in programs:
        parser.add_argument(f"--{name}", metavar="PROGRAM", help="instead of building it")
    parser.add_argument("--dir", default=tempfile.gettempdir(), help="a directory on the plain disk (%(default)s)")
    parser.add_argument("--chrt", action="store_true", help="real-time priority, for a machine that is not idle")


def find(arguments, programs):
    """Paths of the programs, built where none was given."""
    if os.geteuid() != 0 or not os.path.exists("/dev/fuse"):
        raise Failed("the layer needs root and /dev/fuse")
    found = {}
    for name in programs:
        given = getattr(arguments, name.replace("-", "_"))
        found[name] = pathlib.Path(given).resolve() if given else build(name)
    return found


def build(name):
    package, profile = BUILDS[name]
    command = ["cargo", "build", "--quiet", "--locked", "--profile", profile, "--package", package, "--bin", name]
    print(f"building {name}", file=sys.stderr)
    subprocess.run(command, cwd=ROOT, check=True)
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    return target / ("debug" if profile == "dev" else profile) / name


@contextlib.contextmanager
def folder(parent):
    """A new directory, removed with all that is in it."""
    path = tempfile.mkdtemp(prefix="graven-disk-test-", dir=parent)
    try:
        yield pathlib.Path(path)
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def running(command, ready, **options):
    """A process that is up once `ready` has found a line of its output; ended afterwards. Yields what `ready` made of the line."""
    # A group of its own: Ctrl-C reaches this program, which ends the others in their order.
    process = subprocess.Popen(command, text=True, start_new_session=True, **options)
    try:
        said = process.stdout or process.stderr
        lines = []
        for line in said:
            lines.append(line)
            found = ready(line)
            if found:
                break
        else:
            raise Failed(f"{command[0]} ended: {''.join(lines[-3:]).strip()}")
        # A log that nobody reads would make it wait some day.
        threading.Thread(target=lambda: list(said), daemon=True).start()
        yield found
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)


@contextlib.contextmanager
def storage(settings, arguments, layer):
    """A directory on storage: "disk", "tmpfs", or a layer's settings."""
    with contextlib.ExitStack() as stack:
        if settings == "disk":
            yield stack.enter_context(folder(arguments.dir))
        elif settings == "tmpfs":
            yield stack.enter_context(folder("/dev/shm"))
        else:
            # In memory, and without syncs of its own: what it costs is what was planted.
            backing, mounted = stack.enter_context(folder("/dev/shm")), stack.enter_context(folder("/tmp"))
            words = [*priority(arguments), layer, "mount", backing, mounted, "--backing-sync", "no", *settings]
            stack.enter_context(running(words, lambda line: "mounted" in line, stdout=subprocess.PIPE))
            yield mounted


def priority(arguments):
    return ["chrt", "-f", "30"] if arguments.chrt else []


def run(command, codes=(0,)):
    """Runs a program to its end and returns what it has printed."""
    # Not in our group: on Ctrl-C it gets one signal, from us, and the time to tidy up.
    process = subprocess.Popen(
        command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    try:
        out, errors = process.communicate()
    except BaseException:
        process.send_signal(signal.SIGINT)
        process.communicate()
        raise
    if process.returncode not in codes:
        last = errors.strip().splitlines()[-1:] or ["it said nothing"]
        raise Failed(f"{' '.join(map(str, command))}: exit code {process.returncode}: {last[0]}")
    return out


def qualify(program, where, words, arguments):
    """The document of a run, and what it printed."""
    with folder(tempfile.gettempdir()) as out:
        command = [*priority(arguments), program, "qualify", where, "--allow-tmpfs", "--json", out / "disk.json", *words]
        # 1 and 2 are verdicts.
        text = run(command, codes=(0, 1, 2))
        return json.loads((out / "disk.json").read_text()), text


@contextlib.contextmanager
def server(program, where, arguments):
    """A member with its data below a directory; yields where it listens."""
    anywhere = "http://127.0.0.1:0"
    words = ["--data-dir", where / "data", "--listen-client-urls", anywhere, "--advertise-client-urls", anywhere]
    command = [*priority(arguments), program, *words, "--listen-peer-urls", anywhere]

    def address(line):
        return "serving client traffic" in line and json.loads(line)["address"]

    with running(command, address, stderr=subprocess.PIPE, stdout=None) as found:
        yield found


def puts(program, address, clients, seconds, arguments):
    """Puts a second by `graven-bench put`, with its defaults."""
    with folder(tempfile.gettempdir()) as out:
        words = ["--endpoints", address, "--clients", str(clients), "--duration", f"{seconds}s"]
        run([*priority(arguments), program, "put", *words, "--json", out / "load.json"])
        return json.loads((out / "load.json").read_text())["results"]["per_second"]


def main(body):
    """Runs a program's body; 2 when it could not do its work, 130 after Ctrl-C."""
    # As Ctrl-C: everything that was begun is ended on the way out.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        sys.exit(body())
    except Failed as error:
        print(f"{pathlib.Path(sys.argv[0]).name}: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
