#!/usr/bin/python3
"""A double of an ACME server that lies in one chosen way. It checks no signature and validates nothing: what a
real server does is Pebble's part of the story.

    ca_double.py LIE CERTIFICATE KEY CA-CERTIFICATE CA-KEY SCRATCH

Prints "ready PORT" when it listens on 127.0.0.1, then a line for each request. Every other answer is the ordinary one.
Where SCRATCH/valid is, every name is proven already.
Where SCRATCH/days is, a certificate lives as many days as it says.
Where SCRATCH/ari.json is, it tells when to renew (RFC 9773): with that file's content, and the Retry-After in SCRATCH/ari.retry.
"""
import base64
import http.server
import json
import os
import ssl
import subprocess
import sys
import threading

LIE, CERTIFICATE, KEY, CA_CERTIFICATE, CA_KEY, SCRATCH = sys.argv[1:]
PEM = "application/pem-certificate-chain"
TOKEN = "DGyRejmCefe7v4NfDGDKfA"
# No order is for this name. The lies below want it, or something else that was not ordered, proven by http-01 or dns-01.
FOREIGN = "bank.example\x1b[2J"
PROVEN = ("both-challenges", "foreign-authorization", "other-authorization", "authorization-twice", "foreign-identifier", "wildcard-not-asked", "type-ip")
URN = "urn:ietf:params:acme:error:"
# drop-STEP cuts off the first two requests of that step, since libcurl itself sends once more over a new connection.
DROPS = 2 if LIE.startswith("drop-") else 0
lock = threading.Lock()
dropped = 0
orders = []  # each: {"status", "names", "authorized", "certificate"}
nonces = 0
account_key = None  # the JWK that holds the account; the double checks no signature, but believes what a request says


def read(path):
    with open(path, "rb") as file:
        return file.read()


def openssl(*words):
    return subprocess.run(["openssl", *words], check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout


def decode(text):
    return json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)) or b"{}")


def sign(csr):
    request = os.path.join(SCRATCH, "request.der")
    with open(request, "wb") as file:
        file.write(csr)
    extensions = os.path.join(SCRATCH, "extensions")
    names, copy = ("", ["-copy_extensions", "copy"])
    if LIE == "fewer-names":
        names, copy = ("subjectAltName=DNS:mail.domain.pl\n", [])
    with open(extensions, "w") as file:
        file.write("authorityKeyIdentifier=keyid\nextendedKeyUsage=serverAuth\n" + names)
    # The authority that signs is one below the first, and is never shown.
    ca = [os.path.join(os.path.dirname(CA_CERTIFICATE), "hidden" + end) for end in (".pem", ".key")]
    if LIE != "no-intermediate":
        ca = [CA_CERTIFICATE, CA_KEY]
    days = os.path.join(SCRATCH, "days")
    # It ends in the second in which it begins, since OpenSSL 3.5 makes none that ends before it begins.
    life = "0" if LIE == "expired" else read(days).decode().strip() if os.path.exists(days) else "30"
    return openssl("x509", "-req", "-inform", "DER", "-in", request, "-CA", ca[0], "-CAkey", ca[1], "-CAcreateserial",
                   "-days", life, *copy, "-extfile", extensions)


def foreign():
    return openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
                   os.devnull, "-subj", "/CN=foreign", "-addext", "subjectAltName=DNS:mail.domain.pl", "-days", "30")


def chain(leaf):
    ca = read(CA_CERTIFICATE)
    return {
        "no-intermediate": lambda: leaf,
        "bare": lambda: leaf,
        "foreign-key": lambda: foreign() + ca,
        "reversed-chain": lambda: ca + leaf,
        "strange-chain": lambda: leaf + foreign(),
        "prose": lambda: b"Here it is:\n\n" + leaf + b"\n\nset ssl cert x\n\n" + ca + b"\nthank you\n",
        "key-in-chain": lambda: leaf + read(KEY) + ca,
        "nul": lambda: leaf + b"\0" + ca,
        "ten-megabytes": lambda: leaf + b"x" * (10 << 20),
    }.get(LIE, lambda: leaf + ca)()


def deep():
    return b'{"a":' * 40000 + b"1" + b"}" * 40000


def directory():
    d = {"newNonce": BASE + "/nonce", "newAccount": BASE + "/account", "newOrder": BASE + "/order",
         "meta": {"termsOfService": BASE + "/terms"}}
    d.update(keyChange=BASE + "/key-change", revokeCert=BASE + "/revoke")
    if os.path.exists(os.path.join(SCRATCH, "ari.json")):
        d["renewalInfo"] = BASE + "/renewal-info"
    if LIE == "http-url":
        d["newOrder"] = BASE.replace("https", "http") + "/order"
    if LIE == "file-url":
        d["newNonce"] = "file:///etc/passwd"
    if LIE == "profiles":
        d["meta"]["profiles"] = {"classic": BASE + "/classic", "tlsserver": BASE + "/tlsserver"}
    if LIE == "external-account":
        d["meta"]["externalAccountRequired"] = True
    text = json.dumps(d).encode()
    if LIE == "duplicate-key":
        text = text[:-1] + b', "newOrder": "https://192.0.2.1/order"}'
    if LIE == "case-variant":
        text = text[:-1] + b', "NEWORDER": "https://192.0.2.1/order"}'
    if LIE == "truncated":
        text = text[:-9]
    return deep() if LIE == "deep" else text


def order_json(number):
    o = orders[number]
    names = o["names"][:-1] if LIE == "fewer-identifiers" else o["names"]
    answer = {"status": o["status"], "identifiers": [{"type": "dns", "value": n} for n in names],
              "authorizations": [] if LIE == "no-authorizations" else [f"{BASE}/authorization/{number}"],
              "finalize": f"{BASE}/finalize/{number}"}
    if LIE in ("foreign-authorization", "other-authorization"):
        answer["authorizations"].append(f"{BASE}/foreign/{number}")
    if LIE == "authorization-twice":
        answer["authorizations"] *= 2
    if LIE == "foreign-identifier":
        answer["identifiers"].append({"type": "dns", "value": FOREIGN})
    if LIE == "expires":
        answer["expires"] = "2020-01-01T00:00:00Z" if o["seen"] else "2099-01-01T00:00:00Z"
    if o["status"] == "valid":
        answer["certificate"] = f"{BASE}/certificate/{number}"
    if o["status"] == "invalid":
        answer["error"] = {"type": URN + "unauthorized", "detail": "no longer wanted"}
    return answer


def authorization_json(number):
    o = orders[number]
    token = {"bad-token": "../x", "shell-token": "$(id)"}.get(LIE, TOKEN)
    kind = "dns-01" if LIE == "dns-only" else "http-01"
    challenge = {"type": kind, "url": f"{BASE}/challenge/{number}", "token": token, "status": "pending"}
    status = "valid" if o["authorized"] or LIE == "already-valid" else "pending"
    if LIE == "validation-fails" and o["tried"]:
        status = "invalid"
        challenge["status"] = "invalid"
        challenge["error"] = {"type": URN + "connection", "status": 400,
                              "detail": "192.0.2.1: Fetching http://mail.domain.pl/: Connection refused"}
    challenges = [challenge]
    if LIE in PROVEN:
        challenges.append(dict(challenge, type="dns-01"))
    answer = {"status": status, "identifier": {"type": "dns", "value": o["names"][0]}, "challenges": challenges}
    if LIE == "wildcard-not-asked":
        answer["wildcard"] = True
    if LIE == "type-ip":
        answer["identifier"]["type"] = "ip"
    return answer


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *words):
        pass

    def say(self, status, kind, body, **headers):
        global nonces
        with lock:
            nonces += 1
            nonce = f"nonce{nonces}"
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Replay-Nonce", nonce)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def json(self, value, status=200, **headers):
        self.say(status, "application/json", json.dumps(value).encode(), **headers)

    def problem(self, status, kind, detail, subproblems=None, **headers):
        value = {"type": URN + kind, "detail": detail, "status": status}
        if subproblems:
            value["subproblems"] = subproblems
        self.say(status, "application/problem+json", json.dumps(value).encode(), **headers)

    def cut(self):
        self.close_connection = True
        self.connection.close()

    def drip(self, endless):
        try:
            while True:
                self.wfile.write(endless)
                self.wfile.flush()
        except OSError:
            self.close_connection = True

    def lies_at_once(self):
        """Lies that hold for every request."""
        if LIE == "html":
            self.say(200, "text/html", b"<html><body>\x1b[31mWelcome to nginx!\x07</body></html>")
        elif LIE == "html-503":
            self.say(503, "text/html", b"<html>maintenance</html>", Retry_After="3600")
        elif LIE == "retry-date":
            self.say(503, "text/html", b"", Retry_After="Fri, 01 Jan 2100 00:00:00 GMT")
        elif LIE == "retry-past":
            self.say(503, "text/html", b"", Retry_After="Sun, 06 Nov 1994 08:49:37 GMT")
        elif LIE == "redirect-http":
            self.say(302, "text/html", b"", Location="http://127.0.0.1:1/directory")
        elif LIE == "redirect-file":
            self.say(302, "text/html", b"", Location="file:///etc/passwd")
        elif LIE == "redirect-https":
            self.say(301, "text/html", b"", Location=BASE + "/elsewhere")
        elif LIE == "endless-body":
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.drip(b" " * 65536)
        elif LIE == "endless-headers":
            self.wfile.write(b"HTTP/1.1 200 OK\r\n")
            self.drip(b"X-Filler: " + b"x" * 1000 + b"\r\n")
        elif LIE == "slow":
            threading.Event().wait()
        else:
            return False
        return True

    def handle_one(self):
        global dropped
        print(self.command, self.path, flush=True)
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        if self.lies_at_once():
            return
        if dropped < DROPS and self.path.strip("/").split("/")[0] == LIE[5:]:
            dropped += 1
            self.cut()
            return
        payload = {}
        if self.path.startswith("/renewal-info/"):
            self.renewal_info()
            return
        if self.command == "POST":
            encoded = json.loads(body)["payload"]
            self.protected = decode(json.loads(body)["protected"])
            payload = json.loads(base64.urlsafe_b64decode(encoded + "==") or b"{}")
            if LIE == "bad-nonce":
                self.problem(400, "badNonce", "never")
                return
        words = self.path.strip("/").split("/")
        with_number = [int(words[1])] if len(words) > 1 else []
        action = getattr(self, "on_" + words[0].replace("-", "_"), None)
        if not action or (with_number and words[0] != "accounts" and with_number[0] >= len(orders)):
            self.problem(404, "malformed", "there is no such thing")
        else:
            action(payload, *with_number)

    do_GET = do_HEAD = do_POST = handle_one

    def on_directory(self, _payload):
        self.say(200, "application/json", directory())

    def on_nonce(self, _payload):
        self.say(200, "text/plain", b"")

    def renewal_info(self):
        retry = os.path.join(SCRATCH, "ari.retry")
        headers = {"Retry_After": read(retry).decode().strip()} if os.path.exists(retry) else {}
        self.say(200, "application/json", read(os.path.join(SCRATCH, "ari.json")), **headers)

    def on_accounts(self, payload, _number):
        print("account", json.dumps(payload, sort_keys=True), flush=True)
        self.json({"status": payload.get("status", "valid")})

    def on_key_change(self, payload):
        global account_key
        inner = decode(payload["payload"])
        if inner["oldKey"] != account_key:
            self.problem(403, "unauthorized", "that is not the account's key")
            return
        account_key = decode(payload["protected"])["jwk"]
        if LIE == "lost-key-change":
            self.cut()
            return
        self.json({"status": "valid"})

    def on_revoke(self, payload):
        print("revoke", payload["reason"], "kid" if "kid" in self.protected else "jwk", flush=True)
        self.say(200, "text/plain", b"")

    def on_account(self, payload):
        global account_key
        if payload.get("onlyReturnExisting") and self.protected.get("jwk") != account_key:
            self.problem(400, "accountDoesNotExist", "no account has this key")
            return
        account_key = self.protected["jwk"]
        if LIE == "user-action":
            self.problem(403, "userActionRequired", "agree to the new terms at https://ca.example/terms")
        else:
            self.json({"status": "valid"}, 201, Location=BASE + "/accounts/1")

    def on_order(self, payload, number=None):
        if number is not None:
            if LIE == "invalid-later" and number == 0 and orders[0]["seen"]:
                orders[0]["status"] = "invalid"
            if LIE == "forgotten" and number == 0:
                self.problem(404, "malformed", "no such order")
                return
            if LIE == "new-terms":
                self.problem(403, "userActionRequired", "agree to the new terms at https://ca.example/terms")
                return
            headers = {"Retry_After": "1000000000000"} if orders[number]["status"] == "processing" else {}
            self.json(order_json(number), **headers)
        elif LIE == "rate-limited":
            self.problem(429, "rateLimited", "too many\x1b[2J\r\ncertificates",
                         [{"type": URN + "rejectedIdentifier", "detail": "on a list\u202e\x00"[:-1],
                           "identifier": {"type": "dns", "value": "smtp.domain.pl"}},
                          {"type": URN + "caa", "detail": "CAA forbids it",
                           "identifier": {"type": "dns", "value": "mail.domain.pl"}}],
                         Retry_After="1000000000000")
        elif LIE == "already-replaced" and "replaces" in payload:
            self.problem(409, "alreadyReplaced", "another order did that")
        elif LIE == "replaces-foreign" and "replaces" in payload:
            self.problem(403, "unauthorized", "the certificate is another account's")
        elif LIE == "replaces-unlike" and "replaces" in payload:
            self.problem(500, "serverInternal", "could not validate what is replaced")
        elif LIE == "overloaded":
            print("asked", flush=True)
            self.problem(503, "serverInternal", "not now", Retry_After="7")
        elif LIE == "no-rsa" and orders and len(orders) < 3:
            self.problem(503, "serverInternal", "not now", Retry_After="7")
        elif LIE == "bad-signature-algorithm":
            self.problem(400, "badSignatureAlgorithm", "ES256 is not spoken here")
        else:
            self.new_order(payload)

    def new_order(self, payload):
        print("ordered", *[f"{k}={payload[k]}" for k in ("profile", "replaces") if k in payload], flush=True)
        if "replaces" in payload:
            print("replaces", payload["replaces"], flush=True)
        ready = LIE in ("no-authorizations", "no-rsa")
        orders.append({"status": "ready" if ready else "pending", "authorized": ready, "tried": False, "seen": False,
                       "names": [i["value"] for i in payload["identifiers"]], "certificate": b""})
        number = len(orders) - 1
        if LIE == "valid-at-once":
            orders[number].update(status="valid", certificate=chain(foreign()))
        location = {"file-order": "file:///etc/passwd", "no-location": ""}.get(LIE, f"{BASE}/order/{number}")
        self.json(order_json(number), 201, Location=location)

    def on_authorization(self, _payload, number):
        if LIE == "already-valid" or os.path.exists(os.path.join(SCRATCH, "valid")):
            orders[number]["authorized"] = True
            orders[number]["status"] = "ready"
        self.json(authorization_json(number))

    def on_foreign(self, _payload, number):
        value = "auth.pl" if LIE == "other-authorization" else FOREIGN
        self.json(dict(authorization_json(number), identifier={"type": "dns", "value": value}))

    def on_challenge(self, _payload, number):
        o = orders[number]
        first, o["tried"] = not o["tried"], True
        if LIE == "hanging-challenge" and first:
            threading.Event().wait()
        if LIE in ("forgotten", "invalid-later", "expires", "new-terms") and number == 0:
            o["seen"] = True
            self.cut()
            return
        if LIE != "validation-fails":
            o.update(authorized=True, status="ready")
        self.json({"type": "http-01", "url": f"{BASE}/challenge/{number}", "token": TOKEN, "status": "processing"})

    def on_finalize(self, payload, number):
        o = orders[number]
        if LIE == "bad-csr":
            self.problem(400, "badCSR", "not this one")
            return
        if LIE == "lost-once" and o["status"] != "ready":
            self.problem(403, "orderNotReady", "this order is done")
            return
        csr = payload["csr"]
        o["certificate"] = chain(sign(base64.urlsafe_b64decode(csr + "=" * (-len(csr) % 4))))
        o["status"] = "processing" if LIE == "processing" else "valid"
        if LIE in ("lost-finalize", "lost-once"):
            self.cut()
            return
        headers = {"Retry_After": "1000000000000"} if LIE == "processing" else {}
        self.json(order_json(number), **headers)

    def on_certificate(self, _payload, number):
        kind = "text/html" if LIE == "html-certificate" else PEM
        self.say(200, kind, orders[number]["certificate"])


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *words):
        pass  # most of these lies are about a client that hangs up


server = Server(("127.0.0.1", 0), Handler)
BASE = f"https://127.0.0.1:{server.server_port}"
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(CERTIFICATE, KEY)
server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
print("ready", server.server_port, flush=True)
server.serve_forever()
