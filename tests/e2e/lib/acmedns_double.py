#!/usr/bin/python3
"""acme-dns as far as its clients see it, since Debian has no package of it: POST /update with X-Api-User and X-Api-Key, the
last two values of the one account kept. The record is written into a real name server by nsupdate.

    acmedns_double.py PORT TSIG-KEY-FILE
"""
import http.server
import json
import re
import subprocess
import sys

ACCOUNT = ("f00d-1", "11111111-2222-3333-4444-555555555555", "s3cret_s3cret")
values = []


def publish():
    name = ACCOUNT[0] + ".acmedns.pl."
    adds = [f'update add {name} 1 IN TXT "{value}"' for value in values]
    commands = ["server 127.0.0.2", f"update delete {name} TXT", *adds, "send", ""]
    subprocess.run(["nsupdate", "-k", sys.argv[2]], input="\n".join(commands), text=True, check=True)


class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self, status, body):
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        given = (body.get("subdomain"), self.headers["X-Api-User"], self.headers["X-Api-Key"])
        if self.path != "/update" or given != ACCOUNT:
            self.answer(401, {"error": "forbidden"})
        elif not re.fullmatch(r"[\w-]{43}", body.get("txt", "")):
            self.answer(400, {"error": "bad_txt"})
        else:
            values.append(body["txt"])
            del values[:-2]
            publish()
            self.answer(200, {"txt": body["txt"]})


server = http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
print("ready", flush=True)
server.serve_forever()
