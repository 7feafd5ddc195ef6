#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`cairn bench`, and blocks that a policy moves out of the KV budget, from outside. CAIRN_BINARY names the binary."""
import json
import os
import resource
import tempfile
import unittest

from cli_test import IO, MODEL, NOT_FOUND, OUT_OF_BUDGET, USAGE, CommandLine


class Offload(CommandLine):
    PROMPT = "Once upon a time there was a dog. " * 60
    POLICY = "quest+keep=0.25+unread=offload"

    def answer(self, *options):
        return json.loads(self.output("run", "-m", MODEL, "-p", self.PROMPT, "-n", "20", "--temp", "0", "--json",
                                      *options))

    def test_a_policy_moves_blocks_out_of_the_budget(self):
        stays = self.answer("--policy", "quest+keep=0.25")
        with tempfile.TemporaryDirectory() as folder:
            for place in ("ram", folder):
                moves = self.answer("--policy", self.POLICY, "--offload", place, "--offload-size", "64MiB")
                self.assertEqual(moves["ids"], stays["ids"])
                self.assertLess(moves["kv_bytes"], stays["kv_bytes"] / 2)
                self.assertEqual(moves["kv_bytes"] + moves["policy"]["kv_bytes_offloaded"], stays["kv_bytes"])
            self.assertEqual(os.listdir(folder), [])

    def test_what_cannot_be_is_refused(self):
        run = ("run", "-m", MODEL, "-p", "x", "--policy", self.POLICY)
        for command in (run, ("serve", MODEL, "--policy", self.POLICY),
                        ("bench", MODEL, "--policy", f"none,{self.POLICY}")):
            self.assert_error(USAGE, "name a place with --offload", *command)
        self.assert_error(NOT_FOUND, "/not/there", *run, "--offload", "/not/there")
        self.assert_error(USAGE, "a folder on a local disk", *run, "--offload", "redis://localhost")
        self.assert_error(USAGE, "--offload: '' is no place", *run, "--offload", "")
        self.assert_error(USAGE, "0 bytes", *run, "--offload", "ram", "--offload-size", "0")
        self.assert_error(OUT_OF_BUDGET, "--offload-size", *run, "--offload", "ram", "--offload-size", "1KiB")
        self.assert_error(USAGE, "--offload", *run, "--offload-size", "1GiB")
        for command in (["run", "-p", "x", "--policy", "quest"], ["bench", "--policy", "none,quest"], ["bench"]):
            self.assert_error(USAGE, "moves nothing", command[0], "-m", MODEL, *command[1:], "--offload", "ram")

    def test_a_place_that_the_system_refuses_is_named_with_the_reason(self):
        def small_files():
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000 << 10, 1000 << 10))

        for command in (("run", "-m", MODEL, "-p", "x"), ("serve", MODEL, "--port", "0")):
            run = (*command, "--policy", self.POLICY, "--offload")
            place = f"to '{self.folder}': the system refuses "
            self.assert_error(IO, place, *run, self.folder, "--offload-size", "99999TiB")
            self.assert_error(IO, place + "a file of", *run, self.folder, preexec_fn=small_files)
            self.assert_error(IO, "File too large; another place or a smaller --offload-size", *run, self.folder,
                              preexec_fn=small_files)
            self.assert_error(IO, "to ram: the system refuses", *run, "ram", "--offload-size", "99999TiB")


class Policy(CommandLine):
    COMMANDS = (("run", MODEL, "-p", "x", "-n", "1"), ("serve", MODEL, "--port", "0"),
                ("bench", MODEL, "--prefill", "8", "--decode", "2", "--repeat", "1"))

    def test_an_empty_one_is_refused(self):
        for command in self.COMMANDS:
            self.assert_error(USAGE, "''", *command, "--policy", "")

    def test_a_name_that_no_policy_has_is_a_wrong_value(self):
        for command in self.COMMANDS:
            self.assert_error(USAGE, "no token policy 'quets'", *command, "--policy", "quets")

    def test_none_is_no_policy(self):
        run = ("run", "-m", MODEL, "-p", "x", "-n", "4", "--temp", "0", "--json", "--policy")
        full, none = json.loads(self.output(*run, "full")), json.loads(self.output(*run, "none"))
        self.assertEqual(none["ids"], full["ids"])
        self.assertIn("policy", full)
        self.assertNotIn("policy", none)

    def test_lists_have_no_empty_and_no_double_names(self):
        serve, bench = self.COMMANDS[1:]
        for options in ((*serve, "--request-policies"), (*bench, "--policy")):
            for names in ("quest,", ",quest", "quest,,keydiff", ","):
                self.assert_error(USAGE, "empty name", *options, names)
            self.assert_error(USAGE, "'quest' is there twice", *options, "quest,keydiff,quest")
            self.assert_error(USAGE, "'quest' is there twice", *options, "quest", options[-1], "quest")


class Bench(CommandLine):
    def test_json(self):
        report = json.loads(self.output("bench", "-m", MODEL, "--prefill", "64", "--decode", "4", "--depths", "0,128",
                                        "--repeat", "2", "--json"))
        self.assertEqual([entry["depth"] for entry in report["decode"]], [0, 128])
        for entry in report["prefill"] + report["decode"]:
            self.assertLessEqual(entry["min"], entry["median"])
            self.assertLessEqual(entry["median"], entry["max"])
        self.assertIn("commit", report)
        self.assertIn("cpu", report["machine"])

    def test_the_peak_falls_with_what_a_policy_lets_go_on_the_way(self):
        def peak(policy):
            return json.loads(self.output("bench", "-m", MODEL, "--prefill", "1024", "--decode", "0", "--depths", "0",
                                          "--repeat", "1", "--json", "--policy", policy))["kv_peak_bytes"]
        full = peak("full")
        self.assertGreaterEqual(peak("keydiff+keep=0.25"), full)
        self.assertLess(peak("keydiff+keep=0.25+chunk=64"), full / 2)

    def test_policies_take_turns_on_one_fill(self):
        policies = ["none", "quest+keep=0.125", "keydiff"]
        report = json.loads(self.output("bench", "-m", MODEL, "--prefill", "16", "--decode", "2", "--depths", "0,640",
                                        "--repeat", "2", "--json", "--policy", ",".join(policies)))
        for kind in ("prefill", "decode"):
            self.assertEqual([(entry["depth"], entry["policy"]) for entry in report[kind]],
                             [(depth, policy) for depth in (0, 640) for policy in policies])
            for entry in report[kind]:
                self.assertGreater(entry["ratio_to_first"], 0)
                if entry["policy"] == "none":
                    self.assertEqual(entry["ratio_to_first"], 1)
        text = self.output("bench", "-m", MODEL, "--prefill", "0", "--decode", "2", "--repeat", "1",
                           "--policy", "none,quest").decode()
        self.assertIn("x first", text)
        self.assertIn("at depth 0, quest", text)
        self.assert_error(USAGE, "one policy", "bench", "-m", MODEL, "--paced", "--depths", "64", "--policy",
                          "none,quest")
        self.assert_error(USAGE, "no token policy 'best'", "bench", "-m", MODEL, "--policy", "none,best")

    def test_paced(self):
        options = ("bench", "-m", MODEL, "--decode", "2", "--codec", "tok4", "--paced", "--depths")
        lines = [json.loads(line) for line in self.output(*options, "70", stdin=b"\n\n").splitlines()]
        self.assertEqual((lines[0]["codec"], lines[0]["depth"]), ("tok4", 70))
        self.assertEqual(len(lines), 3)
        for line in lines[1:]:
            self.assertGreater(line["tokens_per_s"], 0)
        self.assert_error(USAGE, "one depth", *options, "0,64")


if __name__ == "__main__":
    unittest.main()
