#!/bin/sh
# Installs what Switchyard needs to run from a fresh checkout and builds it: npm packages and, where a native module has no
# prebuilt file for this machine, the compiler for it. Debian packages are only installed by root. Safe to run again.
set -eu
cd "$(dirname "$0")/.."

fail() { echo "setup: $1" >&2; exit 69; }

command -v node >/dev/null || fail "Node.js 20.19 or newer is needed (https://nodejs.org)"
node -e 'const [a,b]=process.versions.node.split(".").map(Number);process.exit(a>20||(a===20&&b>=19)?0:1)' ||
  fail "Node.js 20.19 or newer is needed, this is $(node --version)"
command -v npm >/dev/null || fail "npm is needed"

install_compiler() {
  command -v cc >/dev/null && command -v c++ >/dev/null && command -v make >/dev/null && command -v python3 >/dev/null && return 1
  [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return 1
  echo "setup: installing python3, make and g++ to build better-sqlite3"
  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3 make g++ >/dev/null
}

if ! npm ci; then
  # The usual reason is a native module without a prebuilt file and without a compiler.
  install_compiler || fail "npm ci failed; if it was better-sqlite3, install python3, make and g++ and run this again"
  npm ci || fail "npm ci failed, see above"
fi
npm run --silent build
echo "setup: done. Start the demo with: node dist/main.js conf/*.conf"
