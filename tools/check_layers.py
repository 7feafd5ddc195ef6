#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks the include graph and a few source rules against layers.txt; prints file:line for each violation.

Usage: check_layers.py [ROOT]     exit status 0: clean, 1: violations, 2: layers.txt itself is wrong
"""
import re
import sys
from pathlib import Path

SOURCE_DIRS = ("include", "cairn", "apps", "bench", "fuzz", "examples")
SUFFIXES = {".h", ".cc"}

# Header-only support for tests. It stands outside layers.txt because nothing but a test may see it. A header of it may
# include what every test that uses it may include.
TEST_SUPPORT = "testing"

TEST_FILES = re.compile(r"_test\.cc$|^cairn/testing/|^fuzz/")

# External headers have one owner each, so that replacing a library touches one file.
# (what is included, where it may be: a path, or a folder ending in "/", or a pattern, why)
OWNERS = [
    (re.compile(r"^sodium(\.h|/)"), ["cairn/base/hash.cc", "cairn/store/record/block_record.cc",
                                "cairn/store/record/block_record_test.cc"]),
    (re.compile(r"^(xxhash|xxh3)"), ["cairn/base/checksum-inl.h"]),
    (re.compile(r"^zstd"), ["cairn/store/record/compression.cc"]),
    (re.compile(r"^liburing"), ["cairn/store/disk/disk_io.cc"]),
    (re.compile(r"^hiredis"), ["cairn/store/redis/link.cc"]),
    (re.compile(r"^pcre2"), ["cairn/text/pretokenizer.cc"]),
    (re.compile(r"^faiss/"), ["cairn/train/train_codebooks.cc"]),
    # To tell libraries to stay on one thread.
    (re.compile(r"^omp\.h"), ["cairn/base/single_openmp_thread.h"]),
    (re.compile(r"^toml"), ["cairn/base/checked_toml.h", "cairn/serve/config_file.cc"]),
    (re.compile(r"^CLI/"), ["apps/", "bench/"]),
    (re.compile(r"^nlohmann/"), ["apps/", "bench/", "cairn/serve/api/json.h", "cairn/eval/result_json.h",
                                 "cairn/trace/trace.cc", "cairn/trace/replay_report.cc", "cairn/load/ask.cc",
                                 "cairn/load/report.cc", "cairn/load/stream.cc"]),
    (re.compile(r"^httplib\.h$"), ["cairn/serve/http/server.cc", "cairn/serve/api/api_server_test.cc",
                                   "cairn/serve/api/state_endpoints_test.cc", "cairn/load/http_client.cc",
                                   "cairn/load/fake_server_test.cc"]),
    (re.compile(r"^openssl/"), ["cairn/serve/http/tls.cc", "cairn/testing/tls_files.h", "cairn/load/http_client.cc"]),
    (re.compile(r"^prometheus/"), ["cairn/serve/api/metrics.cc"]),
    (re.compile(r"^spdlog/"), ["cairn/serve/api/records.cc"]),
    (re.compile(r"^(immintrin|x86intrin|cpuid|xmmintrin|emmintrin|arm_neon)\.h$"),
     ["cairn/kernels/", "cairn/base/thread_pool.cc"]),  # the pool spins with a pause
    (re.compile(r"^sys/mman\.h$"), ["cairn/gguf/mapped_file.cc", "cairn/base/", "cairn/block/"]),
    (re.compile(r"^(gtest|gmock|rapidcheck)(\.h|/)"), [TEST_FILES]),
    (re.compile(r"^benchmark/"), ["bench/"]),
]

LAYER_LINE = re.compile(r"^([a-z]+):([ a-z]*)$")
INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]')
MODULE_INCLUDE = re.compile(r"^cairn/([a-z_]+)/")
STANDARD_HEADER = re.compile(r"^[a-z_]+$")
STDOUT = re.compile(r"\bstd::cout\b|(?<![\w:])(?:std::)?(?:printf|puts|putchar)\s*\(|\bfprintf\s*\(\s*stdout\b")
USING_NAMESPACE = re.compile(r"\busing\s+namespace\b")
THROW = re.compile(r"\bthrow\b")
NAMESPACE = re.compile(r"^namespace(?: ([\w:]+))? \{$")
NAMESPACE_END = re.compile(r"^\}  // namespace")
# Not indented: code within a namespace is not, members are.
FORWARD_DECLARATION = re.compile(r"^(?:struct|class|enum class) (\w+)(?: : [\w:]+)?;")
TYPE_AT_NAMESPACE = re.compile(r"^(?:struct|class|enum(?: class)?) (?:alignas\(\d+\) )?(\w+)(?: final)?(?: : [^;]*)? ?\{")
# Comments and literals, so that the rules above read code only.
NOT_CODE = re.compile(r'//[^\n]*|/\*.*?\*/|R"([^()\\\s]{0,16})\(.*?\)\1"|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])+\'',
                      re.DOTALL)


class LayersError(Exception):
    pass


def read_layers(path):
    """{module: set of modules it may include}, itself among them."""
    layers = {}
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        match = LAYER_LINE.match(line)
        if not match:
            raise LayersError(f"{path}:{number}: not of the form 'module: allowed ...'")
        name, allowed = match[1], match[2].split()
        if name in layers:
            raise LayersError(f"{path}:{number}: module '{name}' is listed twice")
        for other in allowed:
            if other not in layers:
                raise LayersError(f"{path}:{number}: '{name}' names '{other}', which is not listed above it")
        layers[name] = {name, *allowed}
    return layers


def reachable(layers, module):
    """The modules that a module's tests may include: what it may include, and what that may in turn."""
    found, waiting = set(), [module]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += layers[name]
    return found


def strip_literals(text):
    """The text with comments and literals blanked; line breaks stay, so line numbers hold."""
    return NOT_CODE.sub(lambda m: re.sub(r"[^\n]", " ", m[0]), text)


def may_own(path, owners):
    for owner in owners:
        if isinstance(owner, re.Pattern):
            if owner.search(path):
                return True
        elif path == owner or (owner.endswith("/") and path.startswith(owner)):
            return True
    return False


def owner_names(owners):
    return ", ".join("*_test.cc" if isinstance(o, re.Pattern) else o for o in owners)


def support_modules(root, included, seen=frozenset()):
    """The modules that a header of cairn/testing/ brings along, through others of its kind too."""
    file = root / included
    if included in seen or not file.is_file():
        return set()
    modules = set()
    for line in file.read_text(encoding="utf-8").splitlines():
        match = INCLUDE.match(line)
        target = match and MODULE_INCLUDE.match(match[1])
        if target and target[1] == TEST_SUPPORT:
            modules |= support_modules(root, match[1], seen | {included})
        elif target:
            modules.add(target[1])
    return modules


def check_include(root, path, module, included, layers):
    is_test = bool(TEST_FILES.search(path))
    if included.startswith("../") or "/../" in included:
        return f"include by the full path from the root, not '{included}'"
    for pattern, owners in OWNERS:
        if pattern.search(included) and not may_own(path, owners):
            return f"<{included}> may be included only by {owner_names(owners)}"
    target = MODULE_INCLUDE.match(included)
    if path.startswith("include/") and (target or not (included.startswith("cairn/") or STANDARD_HEADER.match(included))):
        return f"a public header includes the standard library and other public headers, not '{included}'"
    if path.startswith("examples/") and target:
        return f"an example sees the public headers alone, not '{included}'"
    if not target:
        return None
    target = target[1]
    if target == TEST_SUPPORT:
        if not is_test:
            return f"only tests may include cairn/{TEST_SUPPORT}/"
        against = support_modules(root, included) - (reachable(layers, module) if module in layers else set(layers))
        if against:
            return f"{included} brings along '{min(against)}', which module '{module}' must not include"
        return None
    if target not in layers:
        return f"'{target}' is no module of layers.txt"
    if module is None or module == TEST_SUPPORT:
        return None
    allowed = reachable(layers, module) if is_test else layers[module]
    if target not in allowed:
        return f"module '{module}' must not include '{target}' (layers.txt allows: {' '.join(sorted(allowed))})"
    return None


def check_file(root, file, layers):
    path = file.relative_to(root).as_posix()
    parts = path.split("/")
    module = parts[1] if parts[0] == "cairn" and len(parts) > 2 else None
    if module is not None and module not in layers and module != TEST_SUPPORT:
        yield f"{path}:1: folder cairn/{module} is not listed in layers.txt"
        return
    text = file.read_text(encoding="utf-8")
    in_library = parts[0] == "cairn" and not TEST_FILES.search(path)
    lines = zip(text.splitlines(), strip_literals(text).splitlines())
    for number, (line, code) in enumerate(lines, 1):
        include = INCLUDE.match(line)
        if include:
            message = check_include(root, path, module, include[1], layers)
            if message:
                yield f"{path}:{number}: {message}"
        if path.endswith(".h") and USING_NAMESPACE.search(code):
            yield f"{path}:{number}: 'using namespace' in a header"
        if in_library and STDOUT.search(code):
            yield f"{path}:{number}: a library does not write to stdout"
        if in_library and THROW.search(code):
            yield f"{path}:{number}: 'throw' in a library; return fail(...) instead"


def check_own_header(root, file):
    """A source that begins with its header proves that the header stands alone; others are compiled by themselves."""
    own = file.with_suffix(".h")
    if file.suffix != ".cc" or not own.is_file():
        return
    expected = own.relative_to(root).as_posix()
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        include = INCLUDE.match(line)
        if include:
            if include[1] != expected:
                yield f"{file.relative_to(root).as_posix()}:{number}: its own header, {expected}, comes first"
            return


def library_files(root):
    """(module, path from the root, text) of every file below cairn/ that is no test's."""
    for file in sorted((root / "cairn").rglob("*")):
        path = file.relative_to(root).as_posix()
        parts = path.split("/")
        if file.suffix in SUFFIXES and len(parts) > 2 and parts[1] != TEST_SUPPORT and not TEST_FILES.search(path):
            yield parts[1], path, file.read_text(encoding="utf-8")


def check_unused_permissions(root, layers):
    """A permission that no file needs is an arrow waiting to be drawn by accident."""
    used = {module: {module} for module in layers}
    for module, _, text in library_files(root):
        for line in text.splitlines():
            target = INCLUDE.match(line) and MODULE_INCLUDE.match(INCLUDE.match(line)[1])
            if target and module in used:
                used[module].add(target[1])
    for number, line in enumerate((root / "layers.txt").read_text().splitlines(), 1):
        match = LAYER_LINE.match(line)
        for other in match[2].split() if match else []:
            if other not in used[match[1]]:
                yield f"layers.txt:{number}: no file of '{match[1]}' includes '{other}': take the permission away"


def check_forward_declarations(root, layers):
    """A forward declaration of a type of a module that may not be included is the same arrow, hidden."""
    homes = {}
    for module, _, text in library_files(root):
        for line in text.splitlines():
            if defined := TYPE_AT_NAMESPACE.match(line):
                homes.setdefault(defined[1], set()).add(module)
    for module, path, text in library_files(root):
        for number, line in enumerate(text.splitlines(), 1):
            declared = FORWARD_DECLARATION.match(line)
            of = homes.get(declared[1], set()) if declared else set()
            if of and module in layers and not of & layers[module]:
                yield (f"{path}:{number}: '{declared[1]}' is a type of '{min(of)}', which module '{module}' must not know; "
                       "a forward declaration hides that arrow")


def check_one_type_per_name(root):
    """Two types of one name in a namespace make a program undefined, which no compiler says: a destructor of the one may
    be linked for the other. Modules keep their internals in namespaces of their own, so this stays quiet."""
    places = {}
    for folder in ("cairn", "apps"):
        for file in sorted((root / folder).rglob("*")):
            if file.suffix not in SUFFIXES or file.name.endswith("_test.cc"):
                continue
            spaces = []
            for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
                if opened := NAMESPACE.match(line):
                    spaces.append(opened[1] or "")
                elif spaces and NAMESPACE_END.match(line):
                    spaces.pop()
                type_of = TYPE_AT_NAMESPACE.match(line)
                if type_of and "" not in spaces:
                    name = "::".join([*spaces, type_of[1]])
                    places.setdefault(name, []).append(f"{file.relative_to(root).as_posix()}:{number}")
    for name, (first, *others) in sorted(places.items()):
        for other in others:
            yield f"{other}: '{name.rpartition('::')[2]}' is also a type of {first}"


def check_tree(root):
    layers = read_layers(root / "layers.txt")
    problems = []
    for folder in SOURCE_DIRS:
        for file in sorted((root / folder).rglob("*")):
            if file.suffix in SUFFIXES and file.is_file():
                problems += check_file(root, file, layers)
                problems += check_own_header(root, file)
    problems += check_unused_permissions(root, layers)
    problems += check_forward_declarations(root, layers)
    return problems + list(check_one_type_per_name(root))


def main(argv):
    root = Path(argv[1] if len(argv) > 1 else ".").resolve()
    try:
        problems = check_tree(root)
    except (LayersError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
