#!/usr/bin/env python3
"""Runs the command lines of cases.txt through etcdctl and through gravenctl, each time against a fresh etcd of the
same configuration, and compares what they print to stdout and stderr and how they exit.

usage: GRAVEN_PEERS=<where tests/peers/install put them> compare.py <gravenctl>
       ... compare.py --canary      etcdctl 3.5.1 in gravenctl's place has to be told apart
"""

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TIME_LIMIT = 20

# What etcdctl has and gravenctl does not have yet: left out of etcdctl's overviews and suggestions.
MISSING_COMMANDS = ("alarm auth check completion downgrade elect lock make-mirror move-leader role snapshot user "
                    "add promote remove update").split()
MISSING_GROUPS = ["Concurrency commands", "Authentication commands"]
MISSING = re.compile(rf"^(?:  (?:{'|'.join(MISSING_COMMANDS)}) +[A-Zc].*|\t(?:{'|'.join(MISSING_COMMANDS)})"
                     rf"|(?:{'|'.join(MISSING_GROUPS)})\n)\n", re.M)


class Case:
    """One line of the table; see its head for the notation."""

    def __init__(self, number, line):
        self.number, self.line = number, line
        self.capture, self.stop_after, self.stdin, self.env = None, None, b"", {}
        words = shlex.split(line, comments=False)
        self.only_exit = words[0] == "!"
        words = words[self.only_exit:]
        self.by_etcdctl = words[0] == "^"
        words = words[self.by_etcdctl:]
        if words[0] == "=":
            self.capture, words = words[1], words[2:]
        if words[0].startswith("@"):
            self.stop_after, words = int(words[0][1:]), words[1:]
        while re.match(r"[A-Z_]+=", words[0]):
            name, value = words.pop(0).split("=", 1)
            self.env[name] = value
        if "<" in words[:-1] and words[-2] == "<":
            text = words[-1].encode().decode("unicode_escape").encode("latin-1")
            self.stdin = re.sub(rb"\{(\d+)\}", lambda count: b"x" * int(count[1]), text)
            words = words[:-2]
        self.words = [word.encode().decode("unicode_escape") if "\\x" in word else word for word in words]


def cases():
    with open(os.path.join(HERE, "cases.txt"), encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            line = line.strip()
            if line and not line.startswith("#"):
                yield Case(number, line)


def free_ports():
    sockets = [socket.socket() for _ in range(2)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


class Etcd:
    """A member with nothing in it."""

    def __init__(self, binary, directory, ports):
        self.binary, self.directory, self.ports = binary, directory, ports
        client, peer = (f"http://127.0.0.1:{port}" for port in ports)
        self.endpoint = client.removeprefix("http://")
        self.log = open(os.path.join(directory, "log"), "ab")
        self.process = subprocess.Popen(
            [binary, "--data-dir", os.path.join(directory, "data"),
             "--listen-client-urls", client, "--advertise-client-urls", client,
             "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
             "--initial-cluster", f"default={peer}", "--watch-progress-notify-interval", "100ms"],
            stdout=self.log, stderr=self.log)
        deadline = time.monotonic() + 30
        while not self.ready(directory):
            if time.monotonic() > deadline or self.process.poll() is not None:
                sys.exit(f"etcd does not start, see {directory}/log")
            time.sleep(0.05)

    @staticmethod
    def ready(directory):
        """Its versions are decided too: that is the last write of a start."""
        with open(os.path.join(directory, "log"), encoding="utf-8", errors="replace") as log:
            text = log.read()
        first = not os.path.exists(os.path.join(directory, "started"))
        if "ready to serve client requests" not in text or first and "cluster version is updated" not in text:
            return False
        open(os.path.join(directory, "started"), "w", encoding="utf-8").close()
        return True

    def restart(self):
        self.stop()
        os.remove(os.path.join(self.directory, "log"))
        self.__init__(self.binary, self.directory, self.ports)

    def stop(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.log.close()


class Side:
    """One program with its etcd and what it was given so far."""

    def __init__(self, program, etcd_binary, directory, ports):
        os.mkdir(directory)
        self.etcdctl = os.path.join(os.path.dirname(etcd_binary), "etcdctl")
        # Both call themselves etcdctl.
        self.program = os.path.join(directory, "etcdctl")
        os.symlink(os.path.abspath(program), self.program)
        self.etcd = Etcd(etcd_binary, directory, ports)
        self.captured = {}

    def run(self, case):
        words = [self.expand(word) for word in case.words]
        env = {name: value for name, value in os.environ.items() if not name.startswith("ETCDCTL_")}
        env["ETCDCTL_ENDPOINTS"] = self.etcd.endpoint
        if any(word.startswith("--endpoints") for word in words):
            del env["ETCDCTL_ENDPOINTS"]
        env.update({name: self.expand(value) for name, value in case.env.items()})
        program = self.etcdctl if case.by_etcdctl else self.program
        process = subprocess.Popen([program] + [os.fsencode(w) if w.isascii() else w.encode("latin-1") for w in words],
                                   env=env, stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if case.stop_after is None:
            try:
                out, err = process.communicate(case.stdin, timeout=TIME_LIMIT)
                code = process.returncode
            except subprocess.TimeoutExpired:
                process.kill()
                out, err = process.communicate()
                code = "does not end"
        else:
            out, err, code = self.run_until(process, case)
        if case.capture:
            self.capture(case.capture, out.decode())
        texts = ("", "") if case.only_exit else self.normal(out, err)
        return texts + (code,)

    @staticmethod
    def run_until(process, case):
        """Ends the program once it has printed enough lines: by the end of its input when it was given one."""
        errors = []
        reader = threading.Thread(target=lambda: errors.append(process.stderr.read()))
        reader.start()
        timer = threading.Timer(TIME_LIMIT, process.kill)
        timer.start()
        if case.stdin:
            process.stdin.write(case.stdin)
            process.stdin.flush()
        lines = [process.stdout.readline() for _ in range(case.stop_after)]
        process.stdin.close()
        if not case.stdin:
            process.terminate()
        process.stdout.read()
        process.wait()
        timer.cancel()
        reader.join()
        # What came after them, before the program ended, is chance.
        return b"".join(lines), errors[0], process.returncode if case.stdin else None

    def capture(self, name, text):
        match = re.search(r"lease ([0-9a-f]{16})", text)
        if not match:
            sys.exit(f"no lease to remember in {text!r}")
        self.captured[name] = match.group(1)

    def expand(self, word):
        for name, value in self.captured.items():
            word = word.replace(f"${name}", value)
        return word.replace("$ENDPOINT", self.etcd.endpoint)

    def normal(self, out, err):
        """Without what differs from run to run: log lines, lease ids, durations, sizes."""
        texts = []
        for raw in (out, err):
            text = raw.decode("latin-1")
            # The second time finds the groups that the first has emptied.
            text = MISSING.sub("", MISSING.sub("", text))
            text = "".join(line for line in text.splitlines(True) if not line.startswith(('{"level":', "stty: ")))
            for name, value in self.captured.items():
                text = re.sub(rf"{value}|\b{int(value, 16)}\b|\b{value.lstrip('0')}\b", f"<{name}>", text)
            text = re.sub(r"\b[0-9.]+(ns|\xc2\xb5s|ms|s)\b", "<duration>", text)
            text = re.sub(r'("?)(dbSize(InUse)?|DBSize(InUse)?)\1( ?): ?\d+', r"\2: <size>", text, flags=re.I)
            text = re.sub(r"\d+(\.\d)? [kMG]?B, \d+(\.\d)? [kMG]?B, \d+%", "<sizes>", text)
            if "DB SIZE" in text:
                # The width of a column follows the sizes; the other tables show the alignment.
                text = re.sub(r"\b\d+(\.\d)? [kMG]?B\b|\b\d+%", "<size>", text)
                text = re.sub(r" +|(?:\u00e2\u0094\u0080)+", " ", text)
            texts.append(text)
        return tuple(texts)


def across_a_restart(side):
    """A watch goes on where it was when its etcd is killed and started again. Gives the lines it printed."""
    def put(value):
        subprocess.run([side.etcdctl, "--endpoints", side.etcd.endpoint, "put", "restart", value],
                       check=True, stdout=subprocess.DEVNULL)

    put("0")
    watch = subprocess.Popen([side.program, "--endpoints", side.etcd.endpoint, "watch", "restart", "--rev", "2"],
                             stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    timer = threading.Timer(TIME_LIMIT, watch.kill)
    timer.start()
    lines = [watch.stdout.readline() for _ in range(3)]
    side.etcd.restart()
    put("1")
    put("2")
    lines += [watch.stdout.readline() for _ in range(6)]
    timer.cancel()
    watch.kill()
    watch.wait()
    return b"".join(lines).decode()


def record(program, etcd_binary, directory, ports, table):
    side = Side(program, etcd_binary, directory, ports)
    try:
        restart = across_a_restart(side), "", None
        side.etcd.stop()
        shutil.rmtree(directory)
        side = Side(program, etcd_binary, directory, ports)
        return [side.run(case) for case in table] + [restart]
    finally:
        side.etcd.stop()


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    peers = os.environ.get("GRAVEN_PEERS") or sys.exit("GRAVEN_PEERS is not set: the folder with etcd and etcdctl")
    folder = os.path.join(peers, "bin") if os.path.isdir(os.path.join(peers, "bin")) else peers
    etcd, etcdctl = (os.path.join(folder, name) for name in ("etcd", "etcdctl"))
    canary = sys.argv[1] == "--canary"
    program = os.path.join(folder, "etcdctl-3.5.1") if canary else sys.argv[1]
    for binary in (etcd, etcdctl, program):
        if not os.access(binary, os.X_OK):
            sys.exit(f"{binary} is missing")
    table = list(cases())
    only = os.environ.get("ONLY")
    directory = tempfile.mkdtemp(prefix="ctl-compare-")
    try:
        ports = free_ports()
        expected = record(etcdctl, etcd, os.path.join(directory, "etcdctl"), ports, table)
        found = record(program, etcd, os.path.join(directory, "gravenctl"), ports, table)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    different = 0
    for case, want, got in zip(table + [Case(0, "watch across a restart of etcd")], expected, found):
        if only and only in case.line:
            print(f"case {case.number}: {case.line}\n  {want}")
        if want == got:
            continue
        different += 1
        if canary:
            continue
        print(f"cases.txt:{case.number}: {case.line}")
        for name, a, b in zip(("stdout", "stderr", "exit"), want, got):
            if a != b:
                print(f"  {name} of etcdctl:   {a!r}\n  {name} of gravenctl: {b!r}")
    print(f"{len(table)} command lines, {different} different")
    sys.exit(bool(different) != canary)


if __name__ == "__main__":
    main()
