#!/usr/bin/python3
"""An SSH server that means ill, in one way on each port: ssh.py HOST-KEY OTHER-KEY. Prints "port NAME NUMBER" for each, then "ready",
then "login NAME" for every login that is tried. What comes before the key exchange is done by hand, the rest by asyncssh."""
import asyncio
import logging
import os
import socket
import struct
import sys
import threading
import time

import asyncssh

logging.getLogger("asyncssh").setLevel(logging.CRITICAL + 1)
HOST_KEY, OTHER_KEY = (asyncssh.read_private_key(path) for path in sys.argv[1:])
VERSION = b"SSH-2.0-OpenSSH_9.2p1\r\n"
RED = b"\x1b[31mred\x1b]0;title\x07\r\nsecond line"
raw, wicked = {}, {}
lock = threading.Lock()


def say(*words):
    with lock:
        print(*words, flush=True)


def hold(peer):
    peer.settimeout(30)
    while peer.recv(65536):
        pass


# ---- before there are keys ----

def string(value):
    return struct.pack(">I", len(value)) + value


def packet(payload):
    pad = 8 - (len(payload) + 5) % 8
    pad += 8 if pad < 4 else 0
    return struct.pack(">IB", len(payload) + pad + 1, pad) + payload + b"\0" * pad


GOOD = dict(kex=b"curve25519-sha256", key=b"ssh-ed25519", cipher=b"aes256-gcm@openssh.com", mac=b"hmac-sha2-256-etm@openssh.com", compression=b"none")


def kexinit(**change):
    o = {**GOOD, **change}
    lists = [o["kex"], o["key"], o["cipher"], o["cipher"], o["mac"], o["mac"], o["compression"], o["compression"], b"", b""]
    return packet(b"\x14" + os.urandom(16) + b"".join(string(v) for v in lists) + b"\0" * 5)


def sends(name, *parts, stays=True):
    def play(peer):
        for part in parts:
            peer.sendall(part)
        if stays:
            hold(peer)
    raw[name] = play


def flood(name, first, again, count=3000):
    def play(peer):
        peer.sendall(first)
        for _ in range(count):
            peer.sendall(again)
        hold(peer)
    raw[name] = play


def drips(name, text):
    def play(peer):
        for at in range(len(text)):
            peer.sendall(text[at:at + 1])
            time.sleep(0.3)
        hold(peer)
    raw[name] = play


flood("banner-without-end", b"", b"x" * 200 + b"\r\n")
flood("line-without-end", b"", b"x" * 1000)
sends("silent", b"")
sends("version-1", b"SSH-1.5-old\r\n")
sends("version-control", b"SSH-2.0-" + RED + b"\r\n", kexinit(kex=b"none"))
sends("http", b"HTTP/1.1 400 Bad Request\r\n\r\n", stays=False)
sends("noise", os.urandom(4096))
sends("version-and-gone", VERSION, stays=False)
drips("byte-by-byte", VERSION)
sends("length-4-gib", VERSION, b"\xff\xff\xff\xff" + b"x" * 1000)
sends("length-0", VERSION, b"\0\0\0\0" * 100)
sends("padding-longer", VERSION, struct.pack(">IB", 12, 255) + b"\x14" * 11)
sends("kexinit-cut", VERSION, kexinit()[:40], stays=False)
sends("kexinit-lists-lie", VERSION, packet(b"\x14" + os.urandom(16) + b"\xff\xff\xff\xf0" + b"x" * 64))
sends("kexinit-empty", VERSION, kexinit(kex=b"", key=b"", cipher=b"", mac=b"", compression=b""))
sends("kexinit-twice", VERSION, kexinit() * 2)
sends("newkeys-first", VERSION, packet(b"\x15"))
sends("success-first", VERSION, packet(b"\x34"))
sends("success-instead-of-keys", VERSION, kexinit(), packet(b"\x34"))
sends("newkeys-instead-of-keys", VERSION, kexinit(), packet(b"\x15"))
sends("reply-empty", VERSION, kexinit(), packet(b"\x1f"))
sends("reply-lies", VERSION, kexinit(), packet(b"\x1f" + b"\xff\xff\xff\xf0" + b"x" * 100))
sends("reply-zero-point", VERSION, kexinit(), packet(b"\x1f" + string(HOST_KEY.public_data) + string(b"\0" * 32) + string(b"x" * 83)))
sends("disconnect-control", VERSION, packet(b"\x01" + struct.pack(">I", 2) + string(RED) + string(b"")), stays=False)
sends("unknown-message", VERSION, packet(b"\xc8" + b"x" * 50))
flood("ignore-flood", VERSION, packet(b"\x02" + string(b"x" * 1000)))
flood("debug-flood", VERSION, packet(b"\x04\x01" + string(RED) + string(b"")))
for what, change in (("group1", dict(kex=b"diffie-hellman-group1-sha1")), ("group14-sha1", dict(kex=b"diffie-hellman-group14-sha1")),
                     ("dss", dict(key=b"ssh-dss")), ("rsa-sha1", dict(key=b"ssh-rsa")), ("3des", dict(cipher=b"3des-cbc")),
                     ("cbc", dict(cipher=b"aes256-cbc")), ("ctr", dict(cipher=b"aes256-ctr")), ("arcfour", dict(cipher=b"arcfour256")),
                     ("cipher-none", dict(cipher=b"none")), ("zlib", dict(compression=b"zlib"))):
    sends("only-" + what, VERSION, kexinit(**change))


# ---- with keys: what asyncssh is about to send is taken away, changed or followed by something else ----

SUCCESS, OPENED, STARTED = 52, 91, 99
DISCONNECT, IGNORE, FAILURE, BANNER, PROMPT, GLOBAL, OPEN, REFUSED, ADJUST, DATA, EXTENDED, EOF, CLOSE, REQUEST, NO = (
    1, 2, 51, 53, 60, 80, 90, 92, 93, 94, 95, 96, 97, 98, 100)


def u32(value):
    return struct.pack(">I", value)


def text(value):
    return string(value if isinstance(value, bytes) else value.encode())


def yes(value):
    return b"\1" if value else b"\0"


# A way is a function from the connection and the body of a message to the messages that are sent in its place.

def never(conn, kind, body):
    return []


def hangs_up(conn, kind, body):
    conn.abort()
    return []


def instead(*messages, count=1):
    return lambda conn, kind, body: messages * count


def besides(*messages, count=1):
    return lambda conn, kind, body: ((kind, body),) + messages * count


def about(*makers, count=1):
    """Behind the message, others about the same channel, which stands first in it."""
    return lambda conn, kind, body: [(kind, body)] + [make(body[:4]) for make in makers] * count


def refused(methods, partial=False):
    return instead((FAILURE, text(methods) + yes(partial)))


def opened(window=None, packet=None):
    def way(conn, kind, body):
        old = struct.unpack(">II", body[8:16])
        return [(kind, body[:8] + u32(old[0] if window is None else window) + u32(old[1] if packet is None else packet))]
    return way


def noise(conn, kind, body):
    asyncio.get_event_loop().call_later(0.1, lambda: conn._transport.write(os.urandom(4096)))
    return [(kind, body)]


def later(way):
    """Once the stream runs."""
    def act(conn, kind, body):
        asyncio.get_event_loop().call_later(0.1, lambda: [conn.send(*m) for m in way(conn, kind, body)[1:]])
        return [(kind, body)]
    return act


def ends(*makers):
    return later(about(*makers, lambda channel: (CLOSE, channel)))


def request(channel, what, body):
    return REQUEST, channel + text(what) + yes(False) + body


def gone(conn, kind, body):
    asyncio.get_event_loop().call_later(0.1, conn.abort)
    return [(kind, body)]


def keys_anew(conn, kind, body):
    asyncio.get_event_loop().call_later(0.1, conn._send_kexinit)
    return [(kind, body)]


GOODBYE = (DISCONNECT, u32(2) + text(RED) + text(""))
wicked.update({
    "another-host-key": {},
    "host-key-that-it-has-not": {},
    "login-stalls": {SUCCESS: never},
    "login-hangs-up": {SUCCESS: hangs_up},
    "login-refused": {SUCCESS: refused("publickey")},
    "login-password": {SUCCESS: refused("password")},
    "login-keyboard": {SUCCESS: refused("keyboard-interactive")},
    "login-nothing-left": {SUCCESS: refused("")},
    "login-partial": {SUCCESS: refused("password", True)},
    "login-prompt": {SUCCESS: instead((PROMPT, text("name") + text("tell me") + text("") + u32(1) + text("Password: ") + yes(False)))},
    "login-prompt-flood": {SUCCESS: instead((PROMPT, text("") * 3 + u32(0xffffffff)))},
    "login-banner": {SUCCESS: instead((BANNER, text(RED) + text("")), (FAILURE, text("publickey") + yes(False)))},
    "login-banner-flood": {SUCCESS: instead((BANNER, text(b"x" * 1000) + text("")), count=2000)},
    "login-disconnect": {SUCCESS: instead(GOODBYE)},
    "login-unknown-message": {SUCCESS: instead((200, b"x" * 50), (FAILURE, text("publickey") + yes(False)))},
    "login-failure-cut": {SUCCESS: instead((FAILURE, u32(0xfffffff0)))},
    "login-success-twice": {SUCCESS: besides((SUCCESS, b""))},
    "open-refused": {OPENED: lambda conn, kind, body: [(REFUSED, body[:4] + u32(1) + text(RED) + text(""))]},
    "open-goodbye": {OPENED: instead(GOODBYE)},
    "open-stalls": {OPENED: never},
    "open-hangs-up": {OPENED: hangs_up},
    "open-cut": {OPENED: lambda conn, kind, body: [(kind, body[:6])]},
    "exec-refused": {STARTED: lambda conn, kind, body: [(NO, body)]},
    "exec-stalls": {STARTED: never},
    "exec-hangs-up": {STARTED: hangs_up},
    "exec-goodbye": {STARTED: instead(GOODBYE)},
    "exec-answered-twice": {STARTED: lambda conn, kind, body: [(kind, body), (NO, body)]},
    "ends-255": {STARTED: ends(lambda c: request(c, "exit-status", u32(255)))},
    "ends-3-with-words": {STARTED: ends(lambda c: (EXTENDED, c + u32(1) + text(RED)), lambda c: request(c, "exit-status", u32(3)))},
    "ends-2-32": {STARTED: ends(lambda c: request(c, "exit-status", u32(0xffffffff)))},
    "ends-status-cut": {STARTED: ends(lambda c: request(c, "exit-status", b"\0"))},
    "ends-by-signal": {STARTED: ends(lambda c: request(c, "exit-signal", text("KILL") + yes(False) + text(RED) + text("")))},
    "ends-without-a-word": {STARTED: ends()},
    "ends-0": {STARTED: ends(lambda c: request(c, "exit-status", u32(0)))},
    "relay-hangs-up": {STARTED: gone},
    "relay-disconnect": {STARTED: later(besides(GOODBYE))},
    "relay-noise": {STARTED: noise},
    "relay-no-window": {OPENED: opened(window=0)},
    "relay-no-packet": {OPENED: opened(packet=0)},
    "relay-packet-of-1": {OPENED: opened(packet=1)},
    "relay-window-overflows": {STARTED: about(lambda c: (ADJUST, c + u32(0xffffffff)), count=3)},
    "relay-over-our-window": {STARTED: later(about(lambda c: (DATA, c + text(b"x" * 30000)), count=400))},
    "relay-another-channel": {STARTED: besides((DATA, u32(77) + text("evil")))},
    "relay-closes-another": {STARTED: besides((CLOSE, u32(77)))},
    "relay-length-lies": {STARTED: later(about(lambda c: (DATA, c + u32(0xfffffff0) + b"x")))},
    "relay-stderr-flood": {STARTED: about(lambda c: (EXTENDED, c + u32(1) + text(RED * 100)), count=100)},
    "relay-unknown-stream": {STARTED: about(lambda c: (EXTENDED, c + u32(7) + text("evil")), count=3)},
    "relay-opens-channels": {STARTED: besides(*[(OPEN, text(kind) + u32(5) + u32(1 << 20) + u32(1 << 15) + text("127.0.0.1") + u32(22) + text("127.0.0.1") + u32(23))
                                                for kind in ("session", "x11", "forwarded-tcpip", "auth-agent@openssh.com", "direct-tcpip", "\x1b[31m")])},
    "relay-asks": {STARTED: besides(*[(GLOBAL, text(kind) + yes(False) + text("x"))
                                      for kind in ("hostkeys-00@openssh.com", "keepalive@openssh.com", "tcpip-forward", "\x1b[31m")])},
    "relay-requests": {STARTED: about(*[lambda c, what=what: request(c, what, text("x")) for what in ("shell", "exec", "env", "xon-xoff", "\x1b[31m")])},
    "relay-ignore-flood": {STARTED: besides((IGNORE, text(b"x" * 1000)), count=500)},
    "relay-eof-alone": {STARTED: later(about(lambda c: (EOF, c)))},
    "relay-closes-twice": {STARTED: later(about(lambda c: (CLOSE, c), count=2))},
    "relay-keys-anew": {STARTED: keys_anew},
})


class Server(asyncssh.SSHServer):
    def __init__(self, name):
        self.name = name

    def connection_made(self, conn):
        send, ways = conn.send_packet, wicked[self.name]

        def changed(kind, *args, handler=None):
            body = b"".join(args)
            for k, b in ways[kind](conn, kind, body) if kind in ways else [(kind, body)]:
                send(k, b)
        conn.send, conn.send_packet = send, changed

    def begin_auth(self, username):
        return True

    def public_key_auth_supported(self):
        return True

    def validate_public_key(self, username, key):
        say("login", self.name)
        return True


async def echo(process):
    try:
        while data := await process.stdin.read(65536):
            process.stdout.write(data)
    except (OSError, asyncssh.Error):
        pass


def keys_of(name):
    if name == "another-host-key":
        return [OTHER_KEY]
    if name != "host-key-that-it-has-not":
        return [HOST_KEY]
    # It shows the pinned key, and signs with another.
    pair = asyncssh.load_keypairs([OTHER_KEY])[0]
    pair.public_data = HOST_KEY.public_data
    return [pair]


def listen(name, play):
    listener = socket.create_server(("127.0.0.1", 0))

    def one(peer):
        try:
            play(peer)
        except OSError:
            pass
        peer.close()

    def accept():
        while True:
            peer, _ = listener.accept()
            threading.Thread(target=one, args=(peer,), daemon=True).start()
    threading.Thread(target=accept, daemon=True).start()
    say("port", name, listener.getsockname()[1])


async def main():
    # That a peer breaks asyncssh is expected here, and not reported.
    asyncio.get_event_loop().set_exception_handler(lambda loop, context: None)
    for name, play in raw.items():
        listen(name, play)
    for name in wicked:
        server = await asyncssh.listen("127.0.0.1", 0, server_factory=lambda name=name: Server(name), server_host_keys=keys_of(name),
                                       process_factory=echo, encoding=None)
        say("port", name, server.sockets[0].getsockname()[1])
    say("ready")
    await asyncio.Event().wait()


asyncio.run(main())
