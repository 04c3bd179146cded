"""Logged-in IMAP sessions that are kept: imap_sessions.py CA-FILE SNI COUNT ADDRESS:PORT…, until SIGTERM. Each says NOOP twice a
second. Prints "ready" once all are open, at the end "sessions N broken M noops K" with a line for each that broke."""
import imaplib
import signal
import socket
import ssl
import sys
import threading

ended = threading.Event()


class Session(imaplib.IMAP4_SSL):
    """By address, with the name of the certificate for SNI and verification."""

    def __init__(self, host, port, name, context):
        self.name = name
        super().__init__(host, port, ssl_context=context)

    def _create_socket(self, timeout=None):
        plain = socket.create_connection((self.host, self.port), timeout or 20)
        return self.ssl_context.wrap_socket(plain, server_hostname=self.name)


def keep(session, place, broken, noops):
    while not ended.wait(0.5):
        try:
            answer, _ = session.noop()
            if answer != "OK":
                raise imaplib.IMAP4.error(answer)
            noops.append(1)
        except (OSError, imaplib.IMAP4.error) as fault:
            broken.append(f"{place}: {fault}")
            return


def main():
    ca_file, name, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    context = ssl.create_default_context(cafile=ca_file)
    broken, noops, threads, sessions = [], [], [], []
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    for place in sys.argv[4:]:
        host, port = place.split(":")
        for _ in range(count):
            session = Session(host, int(port), name, context)
            session.login("anna", "secret")
            session.select()
            sessions.append(session)
            threads.append(threading.Thread(target=keep, args=(session, place, broken, noops)))
    for thread in threads:
        thread.start()
    print("ready", flush=True)
    ended.wait()
    for thread in threads:
        thread.join()
    print(f"sessions {len(sessions)} broken {len(broken)} noops {len(noops)}")
    print("\n".join(broken))


main()
