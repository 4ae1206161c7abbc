"""Attempts to get out of a sandbox, to use up the machine, or to talk to somebody: programs, and how they are judged.

A program is told (as variables) what there is to reach: `canary` (a file with a secret), `folder` (where it lies), `port`
(a server on loopback), `abstract` and `path` (local sockets), `pid` (this process), `project`, `numbers` (of system calls).
Its last line is "ESCAPED" where it got what it must not get.
"""

from __future__ import annotations

from dataclasses import dataclass

from agentflow.toolkit.sandbox.calls import _REFUSED
from tests.toolkit.surroundings import VARIABLE

_HEAD = "import ctypes, os, socket, sys\n"


@dataclass(frozen=True, slots=True)
class Attempt:
    """A program; it works in a bare Python where it `is_bare`, so that its failure in a sandbox says something."""

    name: str
    code: str
    is_bare: bool = False


def _reaching(name: str, action: str, proof: str = "True") -> Attempt:
    """Does `action`; got out where that raises nothing and `proof` holds."""
    return Attempt(name, f"{_HEAD}{action}\n'ESCAPED' if {proof} else 'held'", is_bare=True)


def _trying(name: str, action: str, proof: str = "True") -> Attempt:
    """The same, for what must not be tried on a bare machine, or not every bare machine allows."""
    return Attempt(name, f"{_HEAD}{action}\n'ESCAPED' if {proof} else 'held'")


def _calling(name: str) -> Attempt:
    """Makes a system call by number: got out where the kernel so much as looked at its arguments."""
    code = (
        f"{_HEAD}libc = ctypes.CDLL(None, use_errno=True)\n"
        f"if numbers[{name!r}] is None:\n    result, code = -1, 1\n"
        f"else:\n    result = libc.syscall(numbers[{name!r}], 0, 0, 0, 0, 0, 0)\n    code = ctypes.get_errno()\n"
        "'held' if result == -1 and code in (1, 38) else 'ESCAPED'"
    )
    return Attempt(f"call {name}", code)


_FILES = [
    _reaching("a file by its path", "text = open(canary).read()", "'xyzzy' in text"),
    _reaching("a file by dots", "text = open('../' * 30 + canary[1:]).read()", "'xyzzy' in text"),
    _reaching("a file by its number", "text = os.read(os.open(canary, os.O_RDONLY), 99)", "b'xyzzy' in text"),
    _reaching(
        "a file by pathlib", "from pathlib import Path\ntext = Path(canary).read_text()", "'xyzzy' in text"
    ),
    _reaching("a file by io", "import io\ntext = io.FileIO(canary).read()", "b'xyzzy' in text"),
    _reaching(
        "a file by linecache", "import linecache\ntext = linecache.getline(canary, 1)", "'xyzzy' in text"
    ),
    _reaching("a file as a program", "import runpy\ntext = str(runpy.run_path(canary))", "'xyzzy' in text"),
    _reaching(
        "a file by mmap",
        "import mmap\ntext = mmap.mmap(os.open(canary, os.O_RDONLY), 0, prot=mmap.PROT_READ).read()",
        "b'xyzzy' in text",
    ),
    _reaching("a file by a loader", "text = open('/proc/self/root' + canary).read()", "'xyzzy' in text"),
    _trying("a file by process 1", "text = open('/proc/1/root' + canary).read()", "'xyzzy' in text"),
    _trying("a file by this process", "text = open(f'/proc/{pid}/root' + canary).read()", "'xyzzy' in text"),
    _reaching(
        "a file by a symbolic link",
        "import tempfile\nlink = tempfile.mktemp()\nos.symlink(canary, link)\ntext = open(link).read()",
        "'xyzzy' in text",
    ),
    _trying(
        "a file by a hard link", "os.link(canary, 'hard')\ntext = open('hard').read()", "'xyzzy' in text"
    ),
    _reaching(
        "a file by copying",
        "import shutil, tempfile\nto = tempfile.mktemp()\nshutil.copy(canary, to)",
        "'xyzzy' in open(to).read()",
    ),
    _trying("a link that is left", "os.symlink(canary, 'left.txt')", "False"),
    _trying("a link to a folder that is left", "os.symlink(folder, 'left')", "False"),
    _trying("a chain of links that is left", "os.symlink('b', 'a')\nos.symlink(canary, 'b')", "False"),
    _reaching("users of the machine", "text = open('/etc/passwd').read()", "'root' in text"),
    _reaching("the host's name", "text = open('/etc/hostname').read()"),
    _reaching("the project", "names = os.listdir(project)", "'agentflow' in names"),
    _reaching("the home folder", "names = os.listdir(os.path.dirname(canary))", "'canary.py' in names"),
    _reaching("the environment of the machine", f"text = os.environ[{VARIABLE!r}]", "'xyzzy' in text"),
    _reaching("the environment by /proc", "text = open('/proc/self/environ').read()", "'xyzzy' in text"),
    _reaching(
        "the environment by libc",
        f"get = ctypes.CDLL(None).getenv\nget.restype = ctypes.c_char_p\ntext = get({VARIABLE.encode()!r})",
        "b'xyzzy' in (text or b'')",
    ),
    _reaching("other processes", "names = [n for n in os.listdir('/proc') if n.isdigit()]", "len(names) > 1"),
    _reaching("mounts of the machine", "text = open('/proc/self/mountinfo').read()"),
    _reaching("the kernel's folder", "names = os.listdir('/sys/kernel')"),
    _trying("changing a file", "open(canary, 'a').write('changed')", "'changed' in open(canary).read()"),
    _trying("emptying a file", "os.truncate(canary, 0)"),
    _trying("removing a file", "os.remove(canary)"),
    _trying("renaming a file", "os.rename(canary, canary + '.gone')"),
    _trying("opening a file to all", "os.chmod(canary, 0o777)"),
    _trying("writing beside a file", "open(os.path.join(folder, 'new'), 'w').write('x')"),
    _trying("changing the library", "import json\nopen(json.__file__, 'a').write('x')"),
    _trying("changing a package", "import numpy\nopen(numpy.__file__, 'a').write('x')"),
    _trying("adding a package", "open(os.path.join(sys.path[-1], 'evil.py'), 'w').write('x')"),
    _trying("changing the worker", "open('/inside/worker.py', 'a').write('x')"),
    _trying("making the root writable", "os.chmod('/', 0o777)\nopen('/new', 'w').write('x')"),
    _trying("shared memory", "open('/dev/shm/agentflow-canary', 'w').write('x')"),
    _trying("memory of the machine", "open('/dev/mem', 'rb').read(1)"),
    _trying("the kernel's log", "open('/dev/kmsg').read(1)"),
    _trying("a terminal", "open('/dev/tty').read(1)"),
    _trying("a disk", "os.mknod('disk', 0o60666, os.makedev(8, 0))\nopen('disk', 'rb').read(1)"),
    _trying(
        "running what was written",
        "open('run', 'w').write('#!/bin/sh')\nos.chmod('run', 0o755)\nos.execv('run', ['run'])",
    ),
    _trying(
        "what was inherited",
        "import stat\nopened = []\nfor n in range(3, 256):\n    try:\n        mode = os.fstat(n).st_mode\n"
        "    except OSError:\n        continue\n"
        "    opened += [n] if stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISSOCK(mode) else []",
        "opened",
    ),
]
_TALK = [
    _reaching("TCP", "socket.create_connection(('127.0.0.1', port), 1)"),
    _reaching(
        "TCP by libc",
        "import struct\nlibc = ctypes.CDLL(None, use_errno=True)\ns = libc.socket(2, 1, 0)\n"
        "to = struct.pack('=H', 2) + struct.pack('>H', port) + bytes([127, 0, 0, 1]) + bytes(8)\n"
        "done = libc.connect(s, to, 16)",
        "s >= 0 and done == 0",
    ),
    _reaching("UDP", "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', port))"),
    _trying("TCP over IPv6", "socket.create_connection(('::1', port), 1)"),
    _reaching(
        "HTTP",
        "import urllib.request as u\nu.build_opener(u.ProxyHandler({})).open(f'http://127.0.0.1:{port}', timeout=1)\n",
        "False",
    ),
    _reaching("asyncio", "import asyncio\nasyncio.run(asyncio.open_connection('127.0.0.1', port))"),
    _reaching("a local socket", "s = socket.socket(socket.AF_UNIX)\ns.connect(path)"),
    _reaching("an abstract socket", "s = socket.socket(socket.AF_UNIX)\ns.connect('\\0' + abstract)"),
    _trying("a name", "socket.getaddrinfo('example.com', 80)"),
    _trying("a name server", "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect(('9.9.9.9', 53))"),
    _trying("listening", "socket.create_server(('127.0.0.1', 0))"),
    _trying("a raw socket", "socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)"),
    _trying("packets", "socket.socket(17, socket.SOCK_RAW)"),
    _trying("netlink", "socket.socket(16, socket.SOCK_RAW, 0)"),
    _trying("a virtual machine's socket", "socket.socket(40, socket.SOCK_STREAM)"),
    _trying("the kernel's ciphers", "socket.socket(38, socket.SOCK_SEQPACKET)"),
    _trying("bluetooth", "socket.socket(31, socket.SOCK_RAW, 1)"),
    _trying("a pair of the network's family", "socket.socketpair(socket.AF_INET)"),
    _trying(
        "a socket by the other numbering", "s = ctypes.CDLL(None).syscall(0x40000000 + 41, 2, 1, 0)", "s >= 0"
    ),
]
_PROCESSES = [
    _trying("fork", "child = os.fork()\nif child == 0:\n    os._exit(0)"),
    _trying("fork by libc", "child = ctypes.CDLL(None).fork()\nif child == 0:\n    os._exit(0)", "child > 0"),
    _trying(
        "clone",
        "child = ctypes.CDLL(None).syscall(56, 17, 0, 0, 0, 0)\nif child == 0:\n    os._exit(0)",
        "child > 0",
    ),
    _trying(
        "a daemon",
        "if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        open(canary, 'w').write('daemon')\n    os._exit(0)",
    ),
    _reaching("a shell", "import subprocess\nsubprocess.run(['/bin/sh', '-c', 'true'], check=True)"),
    _reaching("os.system", "status = os.system('true')", "status == 0"),
    _reaching(
        "posix_spawn", "child = os.posix_spawn('/bin/sh', ['sh', '-c', 'true'], {})\nos.waitpid(child, 0)"
    ),
    _reaching("another Python", "import subprocess\nsubprocess.run([sys.executable, '-c', '1'], check=True)"),
    _trying(
        "a pool",
        "from concurrent.futures import ProcessPoolExecutor as P\nwith P(1) as pool:\n    pool.submit(int).result(1)",
    ),
    _trying("becoming another program", "os.execv(sys.executable, ['python3', '-c', '1'])"),
    _trying(
        "a program in memory",
        "n = os.memfd_create('x')\nos.write(n, open(sys.executable, 'rb').read())\nos.execv(f'/proc/self/fd/{n}', ['x'])",
    ),
    _reaching("a signal to this process", "os.kill(pid, 0)"),
    _trying("a signal to all", "os.kill(-1, 9)", "False"),
    _trying("a signal to the parent", "os.kill(os.getppid(), 9)", "False"),
    _trying("a signal to the group", "os.killpg(0, 15)", "False"),
    _trying("another filter", "done = ctypes.CDLL(None).prctl(22, 1, 0, 0, 0)", "done == 0"),
    _trying("being root", "os.setuid(0)"),
    _trying("being root by file rights", "os.chmod(sys.executable, 0o4755)"),
    _trying("a namespace", "done = ctypes.CDLL(None).unshare(0x10000000)", "done == 0"),
    _trying(
        "the namespaces of process 1",
        "done = ctypes.CDLL(None).setns(os.open('/proc/1/ns/mnt', 0), 0)",
        "done == 0",
    ),
    _trying("typing for the user", "import fcntl\nfcntl.ioctl(0, 0x5412, b'x')"),
    _trying("more memory", "import resource\nresource.setrlimit(resource.RLIMIT_AS, (2**40, 2**40))"),
    _trying("more threads", "import resource\nresource.setrlimit(resource.RLIMIT_NPROC, (2**20, 2**20))"),
    _trying("more time for itself", "os.nice(-10)"),
    _trying("another root", "os.chroot('/work')"),
    _trying(
        "a pickle",
        "import pickle\nclass P:\n    def __reduce__(self):\n        return (os.system, ('true',))\nstatus = pickle.loads(pickle.dumps(P()))",
        "status == 0",
    ),
    _trying(
        "a class of the interpreter",
        "found = [c for c in ().__class__.__base__.__subclasses__() if c.__name__ == 'Popen' or c.__name__ == '_wrap_close']\n"
        "status = found[0].__init__.__globals__['system']('true')",
        "status == 0",
    ),
    _trying("a hidden import", "status = eval('__imp' + 'ort__(\"os\").system(\"true\")')", "status == 0"),
    _trying(
        "code made by hand",
        "code = compile('status = __import__(\"os\").system(\"true\")', 'x', 'exec')\nscope = {}\nexec(code, scope)\nstatus = scope['status']",
        "status == 0",
    ),
]
_CALLS = [_calling(name) for name in [*_REFUSED, "clone3"]]
_BOMBS = [
    Attempt("processes", "import os\nwhile True:\n    os.fork()"),
    Attempt(
        "processes in silence",
        "import os\nwhile True:\n    try:\n        os.fork()\n    except OSError:\n        pass",
    ),
    Attempt(
        "threads",
        "import threading, time\nwhile True:\n    threading.Thread(target=time.sleep, args=(60,)).start()",
    ),
    Attempt(
        "threads that spin",
        "import threading\ndef spin():\n    while True:\n        pass\nfor _ in range(10**4):\n    threading.Thread(target=spin).start()",
    ),
    Attempt("memory", "kept = []\nwhile True:\n    kept.append('x' * 10_000_000)"),
    Attempt(
        "memory, and again",
        "kept = []\nwhile True:\n    try:\n        kept.append(bytearray(10_000_000))\n    except MemoryError:\n        pass",
    ),
    Attempt("a long text", "len('x' * 10 ** 10)"),
    Attempt("a long list", "len([0] * 10 ** 10)"),
    Attempt(
        "memory that is shared",
        "import mmap\nkept = mmap.mmap(-1, 8 * 2**30)\nfor i in range(0, 8 * 2**30, 4096):\n    kept[i] = 1",
    ),
    Attempt("an array", "import numpy\nnumpy.ones(10 ** 10).sum()"),
    Attempt(
        "memory of pipes",
        "import fcntl, os\nends = []\nwhile True:\n    ends.append(os.pipe())\n    fcntl.fcntl(ends[-1][1], 1031, 2**20)\n    os.write(ends[-1][1], bytes(2**20))",
    ),
    Attempt(
        "the disk", "with open('full', 'wb') as file:\n    while True:\n        file.write(bytes(10**6))"
    ),
    Attempt(
        "the disk by many", "n = 0\nwhile True:\n    open(f'full{n}', 'wb').write(bytes(10**6))\n    n += 1"
    ),
    Attempt("a file with a hole", "open('hole', 'wb').truncate(2**40)"),
    Attempt("empty files", "n = 0\nwhile True:\n    open(f'empty{n}', 'w').close()\n    n += 1"),
    Attempt(
        "folders",
        "import os\nfrom pathlib import Path\np = Path('/work')\nwhile True:\n    p = p / 'd'\n    p.mkdir()",
    ),
    Attempt(
        "a file by single bytes",
        "from pathlib import Path\nPath('a').write_bytes(bytes(10**6))\nwhile True:\n    open('a', 'ab').write(b'x')",
    ),
    Attempt("open files", "import os\nkept = []\nwhile True:\n    kept.append(open('/dev/null'))"),
    Attempt("a tower of powers", "9 ** 9 ** 9 ** 9"),
    Attempt("a number as text", "int('9' * 10 ** 7)"),
    Attempt("a text of a number", "str(10 ** 10 ** 6)"),
    Attempt("a factorial", "import math\nmath.factorial(10 ** 8)"),
    Attempt("recursion", "def f():\n    return f()\nf()"),
    Attempt(
        "recursion without end", "import sys\nsys.setrecursionlimit(10 ** 9)\ndef f():\n    return f()\nf()"
    ),
    Attempt("recursion in C", "x = []\nfor _ in range(10 ** 6):\n    x = [x]\nrepr(x)"),
    Attempt("brackets", "eval('(' * 10 ** 5 + ')' * 10 ** 5)"),
    Attempt("a pattern", "import re\nre.match('(a+)+$', 'a' * 64 + 'b')"),
    Attempt(
        "a zip bomb",
        "import zlib\nx = zlib.compress(bytes(10**7))\nlen(zlib.decompress(zlib.compress(bytes(10**9))))",
    ),
    Attempt("a loop", "while True:\n    pass"),
    Attempt(
        "a loop that catches",
        "while True:\n    try:\n        while True:\n            pass\n    except BaseException:\n        pass",
    ),
    Attempt(
        "deaf to signals",
        "import signal\nfor n in range(1, 65):\n    try:\n        signal.signal(n, signal.SIG_IGN)\n    except (OSError, ValueError):\n        pass\nwhile True:\n    pass",
    ),
    Attempt(
        "stopping itself", "import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)\nwhile True:\n    pass"
    ),
    Attempt("waiting", "import threading\nthreading.Event().wait()"),
    Attempt(
        "an end that never comes",
        "class Slow:\n    def __del__(self):\n        while True:\n            pass\nx = Slow()\ndel x",
    ),
    Attempt(
        "a value that never comes",
        "class Slow:\n    def __str__(self):\n        while True:\n            pass\nSlow()",
    ),
    Attempt("values without end", "import itertools\nitertools.count()"),
    Attempt("a flood", "while True:\n    print('flood' * 100)"),
    Attempt("a flood at once", "print('x' * 10 ** 8)"),
    Attempt("a flood of errors", "import sys\nwhile True:\n    sys.stderr.write('x' * 10 ** 4)"),
    Attempt("a flood past Python", "import os\nwhile True:\n    os.write(1, b'x' * 10 ** 4)"),
    Attempt("a long error", "raise ValueError('x' * 10 ** 7)"),
    Attempt("files without end", "for n in range(1_000):\n    open(f'{n}.txt', 'w').write('x')"),
    Attempt("files with holes", "for n in range(15):\n    open(f'{n}', 'wb').truncate(4 * 2**20)"),
    Attempt("words without end", "for _ in range(10**6):\n    print('', end='', flush=True)"),
    Attempt("a crash", "import ctypes\nctypes.string_at(0)"),
    Attempt("an abort", "import os\nos.abort()"),
    Attempt("an end", "import os\nos._exit(0)"),
    Attempt("a polite end", "import sys\nsys.exit(0)"),
]
_FORGED = (
    "import gc, json, os\n"
    "def say(text, data=b''):\n"
    "    for n in range(3, 20):\n"
    "        try:\n            os.write(n, len(text).to_bytes(4, 'big') + text + data)\n        except OSError:\n            pass\n"
)
_LIES = [
    Attempt(
        "a name that leads out",
        _FORGED
        + "say(json.dumps({'value': '1', 'names': ['../../../evil.txt'], 'figures': 0, 'sizes': [4]}).encode(), b'evil')",
    ),
    Attempt(
        "a name from the root",
        _FORGED
        + "say(json.dumps({'value': '1', 'names': ['/tmp/evil.txt'], 'figures': 0, 'sizes': [4]}).encode(), b'evil')",
    ),
    Attempt(
        "a length without end",
        _FORGED
        + "for n in range(3, 20):\n    try:\n        os.write(n, b'\\xff' * 4 + b'x' * 1000)\n    except OSError:\n        pass",
    ),
    Attempt(
        "files without measure",
        _FORGED + 'say(b\'{"value": "1", "names": ["a"], "figures": 0, "sizes": [999999999999]}\')',
    ),
    Attempt(
        "a file of less than nothing",
        _FORGED + 'say(b\'{"value": "1", "names": ["a"], "figures": 0, "sizes": [-1]}\')',
    ),
    Attempt("an answer that is deep", _FORGED + "say(b'[' * 100_000)"),
    Attempt("an answer that is no answer", _FORGED + "say(b'null')"),
    Attempt(
        "a number that is none",
        _FORGED + 'say(b\'{"value": "[NaN, Infinity]", "names": [], "figures": 0, "sizes": []}\')',
    ),
    Attempt(
        "a number without end",
        _FORGED + 'say(b\'{"value": "\' + b\'9\' * 60_000 + b\'", "names": [], "figures": 0, "sizes": []}\')',
    ),
    Attempt(
        "figures that are none",
        _FORGED + 'say(b\'{"value": "1", "names": [], "figures": 10000, "sizes": []}\')',
    ),
    Attempt("silence", "import os\nos.closerange(0, 256)\n1"),
    Attempt("a broken worker", "import sys\nw = sys.modules['__main__']\nw.Session.answer = None\n1"),
    Attempt("orders to a terminal", "print('\\x1b[2J\\x1b]0;owned\\x07\\x9b5n')\n'\\x1b[31m\\x00red\\rgone'"),
    Attempt("orders in a name", "open('a\\x1b[2J\\n.txt', 'w').write('x')\n1"),
    Attempt("orders in an error", "raise ValueError('\\x1b[2J')"),
    Attempt("half a character", "'\\ud800'"),
    Attempt(
        "names that mean more",
        "for name in ('..\\\\..\\\\evil.txt', 'CON', '~', '-rf', '$(true)', 'a' * 200):\n    open(name, 'w').write('x')\n1",
    ),
    Attempt("no numbers", "[float('nan'), float('inf'), -float('inf')]"),
    Attempt(
        "a value that lies",
        "class Lie(dict):\n    def items(self):\n        return [(1, 2)] * 10 ** 9\nLie()",
    ),
    Attempt("a text that lies", "class Lie(str):\n    def __str__(self):\n        return chr(27)\nLie('x')"),
]
QUIET = [*_FILES, *_TALK, *_PROCESSES, *_CALLS]
"""Attempts that leave an interpreter usable, so that one is enough for all."""

LOUD = [*_BOMBS, *_LIES]
"""Attempts that break their interpreter, or use up what there is."""

ATTEMPTS = [*QUIET, *LOUD]
