#!/bin/sh
# Installs what Switchyard needs to run from a fresh checkout and builds it: npm packages and, where a native module has no
# prebuilt file for this machine, the compiler for it. Debian packages are only installed by root. Safe to run again:
# packages that are in place are left alone.
set -eu
cd "$(dirname "$0")/.."

fail() { echo "setup: $1" >&2; exit 69; }

command -v node >/dev/null || fail "Node.js 20.19 or newer is needed (https://nodejs.org)"
node -e 'const [a,b]=process.versions.node.split(".").map(Number);process.exit(a>20||(a===20&&b>=19)?0:1)' ||
  fail "Node.js 20.19 or newer is needed, this is $(node --version)"
command -v npm >/dev/null || fail "npm is needed"

# What node_modules was installed for: native modules fit one version of Node.
stamp=node_modules/.setup
wanted="$(node -p process.versions.modules) $(cksum <package-lock.json)"

has_compiler() {
  command -v cc >/dev/null && command -v c++ >/dev/null && command -v make >/dev/null && command -v python3 >/dev/null
}

install_compiler() {
  has_compiler && return 1
  [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return 1
  echo "setup: installing python3, make and g++ to build better-sqlite3"
  apt-get update -qq || return 1
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3 make g++ >/dev/null
}

install_packages() {
  echo "setup: installing npm packages"
  # Quiet the first time: without a compiler a page of errors is expected, and they are shown by the second try.
  log="$(mktemp)"
  if npm ci --no-progress >"$log" 2>&1; then
    rm -f "$log"
    return
  fi
  if ! install_compiler; then
    cat "$log" >&2
    rm -f "$log"
    fail "npm ci failed; if it was better-sqlite3, run this again after (as root): apt-get install -y python3 make g++"
  fi
  rm -f "$log"
  npm ci --no-progress || fail "npm ci failed, see above"
}

if [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
  install_packages
  node -e 'new (require("better-sqlite3"))(":memory:").close()' || fail "better-sqlite3 is installed but does not load"
  echo "$wanted" >"$stamp"
fi
npm run --silent build
echo "setup: done. The demo: node dist/main.js conf/*.conf"
