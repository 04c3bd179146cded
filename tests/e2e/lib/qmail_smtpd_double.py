#!/usr/bin/python3
"""A double of qmail-smtpd with the TLS patch: Debian 12 packages no qmail. It has of it what a certificate meets: started by
tcpserver for each connection, as that one's user, with the client on descriptors 0 and 1; without control/me it ends at once;
STARTTLS reads control/servercert.pem, key and certificates in one file, or answers 454."""
import os
import socket
import ssl

CONTROL = "/var/qmail/control"


def read_line(client):
    line = b""
    while not line.endswith(b"\n"):
        byte = client.recv(1)
        if not byte:
            raise SystemExit(0)
        line += byte
    return line.strip().upper()


def start_tls(client):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(f"{CONTROL}/servercert.pem")
    except OSError:
        client.sendall(b"454 TLS missing certificate\r\n")
        return client
    client.sendall(b"220 ready for tls\r\n")
    return context.wrap_socket(client, server_side=True)


def main():
    client = socket.socket(fileno=os.dup(0))
    if not os.path.isfile(f"{CONTROL}/me") or not os.path.getsize(f"{CONTROL}/me"):
        client.sendall(b"421 unable to read controls (#4.3.0)\r\n")
        raise SystemExit(1)
    client.sendall(b"220 mail.domain.pl ESMTP\r\n")
    while True:
        word = read_line(client)
        if word.startswith(b"EHLO"):
            client.sendall(b"250-mail.domain.pl\r\n250-STARTTLS\r\n250 8BITMIME\r\n")
        elif word == b"STARTTLS":
            client = start_tls(client)
        elif word == b"QUIT":
            client.sendall(b"221 mail.domain.pl\r\n")
            break
        else:
            client.sendall(b"502 unimplemented (#5.5.1)\r\n")


try:
    main()
except (OSError, ssl.SSLError):
    pass
