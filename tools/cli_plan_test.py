#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`cairn plan` from outside: the published example, levers, what is refused. CAIRN_BINARY names the binary."""
import json
import math
import os
import unittest
from pathlib import Path

from cli_test import CORRUPT, IO, MODEL, NOT_FOUND, USAGE, CommandLine

GEMMA3 = Path(os.environ.get("CAIRN_REAL_MODELS", "nowhere")) / "gemma-3-270m-q4_k_m.gguf"
YI = ("plan", "--model", "yi-34b", "--hardware", "a100-80g")


def numbers(value):
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return [number for entry in value for number in numbers(entry)]
    return [value] if isinstance(value, (int, float)) else []


class Plan(CommandLine):
    def plan(self, *arguments):
        report = json.loads(self.output(*arguments, "--json"),
                            parse_constant=lambda name: self.fail(f"{name} in the JSON"))
        self.assertTrue(all(math.isfinite(number) for number in numbers(report)))
        return report

    def test_published_example(self):
        plan = self.plan(*YI, "--context", "50000")["plan"]
        self.assertEqual(plan["concurrency"], 1)
        self.assertAlmostEqual(plan["kv_bytes_per_session"] / 2**30, 11.4, delta=0.57)
        for metric, seconds in (("prefill", 14.1), ("decode", 9.8), ("switch", 1.1)):
            self.assertAlmostEqual(plan[metric]["seconds"], seconds, delta=0.05 * seconds)

    def test_text_names_what_binds(self):
        text = self.output(*YI, "--context", "50000", "--users", "4", "--rounds", "3").decode()
        for words in ("concurrency  1", "flops", "memory bandwidth", "swap link", "sessions per hour",
                      "Overall memory size binds"):
            self.assertIn(words, text)

    def test_levers_alone_and_together(self):
        report = self.plan(*YI, "--context", "50000", "--users", "20", "--bits", "4.5", "--keep", "0.5", "--read",
                           "0.1", "--compare")
        names = [entry["name"] for entry in report["plans"]]
        self.assertEqual(names, ["baseline", "4.5 bits per value", "keep 0.5 of tokens", "read 0.1 of KV",
                                 "all together"])
        rates = [entry["sessions_per_hour"] for entry in report["plans"]]
        self.assertEqual(max(rates), rates[-1])
        self.assertEqual(min(rates), rates[0])
        self.assertIn("all together", self.output(*YI, "--context", "9", "--bits", "8", "--keep", "0.5",
                                                  "--compare").decode())

    def test_model_file(self):
        report = self.plan("plan", "-m", MODEL, "--hardware", "h100", "--context", "1000")
        inspected = json.loads(self.output("inspect", MODEL, "--json"))
        self.assertEqual(report["plan"]["kv_bytes_per_session"], 1000 * inspected["kv_bytes_per_token"]["raw_f16"])
        self.assertEqual(report["model"]["layers"], inspected["model"]["layers"])
        self.assertEqual(report["model"]["weight_bytes"], sum(t["bytes"] for t in inspected["tensor_types"]))

    @unittest.skipUnless(GEMMA3.exists(), "CAIRN_REAL_MODELS names no folder with Gemma 3 270m")
    def test_windows_count_as_the_cache_holds_them(self):
        """The figures of docs/pass.md, "Windows"."""
        inspected = json.loads(self.output("inspect", GEMMA3, "--json"))
        self.assertEqual(inspected["kv_window_bytes"]["raw_f16"], 15 * 655_360)
        plan = self.plan("plan", "-m", GEMMA3, "--hardware", "h100", "--context", str(512 * 64))["plan"]
        self.assertEqual(round(plan["kv_bytes_per_session"]), 110_493_696)
        self.assertEqual(round(plan["switch"]["bytes"]), 110_493_696 + 512 * 18 * 65_536)

    def test_numbers_instead_of_a_preset(self):
        given = ("--memory", "80e9", "--flops", "1e14", "--bandwidth", "1e12", "--swap-bandwidth", "1e10")
        report = self.plan("plan", "-m", "llama-3.1-8b", *given, "--context", "8192")
        self.assertEqual(report["hardware"]["swap_bytes_per_s"], 1e10)
        self.assertGreater(report["plan"]["concurrency"], 1)
        self.assert_error(USAGE, "--swap-bandwidth", "plan", "-m", "yi-34b", *given[:-2], "--context", "1")

    def test_measured(self):
        report = self.plan("plan", "-m", MODEL, "--measure", "--swap-dir", self.folder, "--context", "512")
        self.assertTrue(report["hardware"]["measured"])
        self.assertGreater(report["plan"]["sessions_per_hour"], 0)
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_nothing_fits(self):
        plan = self.plan("plan", "-m", "llama-3.1-70b", "--hardware", "a100-80g", "--context", "8192")["plan"]
        self.assertEqual((plan["fits"], plan["concurrency"], plan["sessions_per_hour"]), (False, 0, 0))
        self.assertIsNone(plan["decode"])
        text = self.output("plan", "-m", "llama-3.1-70b", "--hardware", "a100-80g", "--context", "8192").decode()
        self.assertIn("Not one session fits: weights of 131.5 GiB", text)
        compared = self.output("plan", "-m", "llama-3.1-70b", "--hardware", "a100-80g", "--context", "8192",
                               "--tensor-parallel", "4", "--compare").decode()
        self.assertIn("not one session fits", compared)
        self.assertNotRegex(compared, "inf|nan")


class BadInput(CommandLine):
    def test_names(self):
        self.assert_error(USAGE, "a100-80g, h100, h200", "plan", "-m", "yi-34b", "--hardware", "tpu", "--context", "1")
        self.assert_error(USAGE, "yi-34b, llama-3.1-8b", "plan", "-m", "gpt", "--hardware", "h100", "--context", "1")
        self.assert_error(NOT_FOUND, "no.gguf", "plan", "-m", "no.gguf", "--hardware", "h100", "--context", "1")
        self.assert_error(CORRUPT, "bad.gguf", "plan", "-m", self.file("bad.gguf", b"GGUF"), "--hardware", "h100",
                          "--context", "1")

    def test_what_is_missing_or_contradictory(self):
        self.assert_error(USAGE, "--context", "plan", "-m", "yi-34b", "--hardware", "h100")
        self.assert_error(USAGE, "--hardware", "plan", "-m", "yi-34b", "--context", "1")
        self.assert_error(USAGE, "--measure", "plan", "-m", "yi-34b", "--measure", "--context", "1")
        self.assert_error(USAGE, "exclude", "plan", "-m", MODEL, "--measure", "--hardware", "h100", "--context", "1")
        self.assert_error(USAGE, "lever", *YI, "--context", "1", "--compare")

    def test_numbers(self):
        for option in ("--context", "--users", "--answer", "--rounds"):
            for value in ("0", "-1", "nan", "1e3x", "99999999999", "99999999999999999999999"):
                with self.subTest(option=option, value=value):
                    self.assert_error(USAGE, "", *YI, *(("--context", "9") if option != "--context" else ()),
                                      option, value)
        for option in ("--bits", "--keep", "--read", "--memory", "--flops", "--bandwidth", "--swap-bandwidth",
                       "--kv-heads", "--kv-layers", "--tensor-parallel", "--attention-ops"):
            for value in ("-1", "nan", "inf", "1e300", "x"):
                with self.subTest(option=option, value=value):
                    self.assert_error(USAGE, "", *YI, "--context", "9", option, value)
        for option in ("--memory", "--flops", "--bandwidth"):
            self.assert_error(USAGE, "not 0", *YI, "--context", "9", option, "0")
        self.assert_error(USAGE, "keep ratio must be between", *YI, "--context", "9", "--keep", "0")
        self.assert_error(USAGE, "bits per value must be between", *YI, "--context", "9", "--bits", "0")

    def test_folder_for_swapping(self):
        self.assert_error(IO, "--swap-dir", "plan", "-m", MODEL, "--measure", "--swap-dir", self.folder / "none",
                          "--context", "9")


if __name__ == "__main__":
    unittest.main()
