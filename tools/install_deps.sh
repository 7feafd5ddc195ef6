#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs the Debian 12 packages that a build needs; does nothing when all are present.
# Usage: tools/install_deps.sh [build] [browser] [clang]
#   "browser" adds what opens HTML reports and the server's page in tests, "clang" the packages of make tidy, format-check and fuzz
set -eu

build="g++ cmake ninja-build make pkg-config git python3 curl
  libsodium-dev libxxhash-dev liburing-dev libzstd-dev libhiredis-dev redis-server libpcre2-dev libfaiss-dev libeigen3-dev libcli11-dev nlohmann-json3-dev
  libcpp-httplib-dev libssl-dev prometheus-cpp-dev libspdlog-dev libtomlplusplus-dev python3-jinja2 libgtest-dev libgmock-dev librapidcheck-dev libbenchmark-dev"
browser="chromium chromium-driver python3-selenium python3-venv fonts-dejavu-core"
# clang 14 formats, but it cannot compile std::expected of libstdc++ 12.
clang="clang-format-14 clang-19 clang-tidy-19 libclang-rt-19-dev libomp-19-dev"

[ $# -gt 0 ] || set -- build
wanted=""
for group in "$@"; do
  case $group in
    build) wanted="$wanted $build" ;;
    browser) wanted="$wanted $browser" ;;
    clang) wanted="$wanted $clang" ;;
    *) echo "install_deps.sh: unknown group '$group' (build, browser, clang)" >&2; exit 2 ;;
  esac
done

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
  echo "install_deps.sh: no apt on this system; install the equivalents of:" $wanted >&2
  exit 0
fi

missing=""
for package in $wanted; do
  state=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true)
  [ "$state" = installed ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

sudo=""
if [ "$(id -u)" -ne 0 ]; then
  if ! command -v sudo >/dev/null; then
    echo "install_deps.sh: as root, run: apt-get install -y$missing" >&2
    exit 1
  fi
  sudo=sudo
fi
echo "Installing:$missing"
$sudo apt-get update -q
$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $missing
