#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""serve_torture.py would see a server that refuses nearly everything, or notices nothing."""
import http.server
import json
import threading
import unittest

from torture_clients import Mix

ANSWER = {("a prompt", 3): "an answer"}


class Server(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    served = 0  # of ten
    number = 0

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        Server.number += 1
        served = Server.number % 10 < Server.served
        body = json.dumps({"choices": [{"text": "an answer"}]} if served else {}).encode()
        self.send_response(200 if served else 503)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Torture(unittest.TestCase):
    def shortfalls(self, served):
        Server.served = served
        server = http.server.HTTPServer(("127.0.0.1", 0), Server)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            mix = Mix(server.server_port, ANSWER, 1)
            mix.kinds = [(1, mix.good)]
            for number in range(20):
                mix.one(number)
        finally:
            server.shutdown()
            thread.join()
            server.server_close()
        self.assertEqual(mix.failures, [])
        return mix.shortfalls(0)

    def test_refusing_is_no_way_to_pass(self):
        self.assertEqual(self.shortfalls(10), [])
        self.assertEqual(self.shortfalls(6), [])
        self.assertEqual(self.shortfalls(4), ["only 8 of 20 good were answered"])
        self.assertEqual(self.shortfalls(0), ["only 0 of 20 good were answered"])

    def test_somebody_has_to_notice_who_goes(self):
        mix = Mix(0, ANSWER, 1)
        self.assertEqual(mix.shortfalls(0), [])
        mix.counts["cancelled", "sent"] = 3
        self.assertEqual(mix.shortfalls(2), [])
        self.assertEqual(mix.shortfalls(0), ["the server saw none of the cancelled requests go"])


if __name__ == "__main__":
    unittest.main()
