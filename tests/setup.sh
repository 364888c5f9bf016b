# What tests/run and tests/rehearse need on a machine: sourced by both, prints what it does, does nothing twice.
# shellcheck shell=bash

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${PHASEGATE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/phasegate}

if [ "${CI:-}" = true ]; then
  export CARGO_TERM_COLOR=never NO_COLOR=1
fi

# What real servers are built with.
stack_packages='gcc libsystemd patch'

# The Debian package of each program that a test starts.
package_of() {
  case $1 in
    initdb) echo postgresql ;;
    promtool) echo prometheus ;;
    setpriv | unshare | flock) echo util-linux ;;
    chromedriver) echo chromium-driver ;;
    gcc) echo gcc libc6-dev ;;
    libsystemd) echo libsystemd-dev ;;
    systemd-journald) echo systemd ;;
    kubectl) echo kubernetes-client ;;
    pip) echo python3-pip ;;
    libgc) echo libgc-dev ;;
    libpq) echo libpq-dev ;;
    libncurses) echo libncurses-dev ;;
    libssl) echo libssl-dev zlib1g-dev ;;
    curl | patch | make | chromium | openssl | faketime) echo "$1" ;;
  esac
}

is_there() {
  # The one that runs is python3's, whatever `pip` is on the PATH.
  if [ "$1" = pip ]; then
    python3 -m pip --version >/dev/null 2>&1
    return
  fi
  command -v "$1" >/dev/null && return
  # Not on the PATH, but in a place of their own.
  case $1 in
    initdb) compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null ;;
    libsystemd) [ -e /usr/include/systemd/sd-journal.h ] ;;
    libgc) [ -e /usr/include/gc.h ] ;;
    libpq) command -v pg_config >/dev/null && [ -e "$(pg_config --includedir)/libpq-fe.h" ] ;;
    libncurses) [ -e /usr/include/ncurses.h ] ;;
    libssl) [ -e /usr/include/openssl/ssl.h ] && [ -e /usr/include/zlib.h ] ;;
    systemd-journald) [ -x /lib/systemd/systemd-journald ] ;;
    *) return 1 ;;
  esac
}

# Installs the Debian packages of the programs that are not there.
install_packages() {
  local program packages=()
  for program in "$@"; do
    if is_there "$program"; then
      echo "$program: there"
    else
      # shellcheck disable=SC2207
      packages+=($(package_of "$program"))
    fi
  done
  [ ${#packages[@]} -gt 0 ] || return 0
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "missing: ${packages[*]}. As root on Debian: apt-get update && apt-get install ${packages[*]}" >&2
    return 1
  fi
  echo "installing ${packages[*]} …"
  apt-get update -qq
  # The tests start servers of their own: none that a package brings may start by itself.
  (
    policy=/usr/sbin/policy-rc.d
    if [ -e $policy ]; then mv $policy $policy.before-phasegate; fi
    trap 'rm -f $policy; if [ -e $policy.before-phasegate ]; then mv $policy.before-phasegate $policy; fi' EXIT
    printf '#!/bin/sh\nexit 101\n' >$policy
    chmod +x $policy
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
  )
}

# Whether there is a Go that builds the real servers. Since 1.21 it fetches a newer one where go.mod asks for it.
has_go() {
  command -v go >/dev/null && [ "$(printf '%s\n' go1.21 "$(go env GOVERSION)" | sort -V | head -n 1)" = go1.21 ]
}
go_wanted="Go 1.26 or newer (or 1.21 or newer, which fetches it), https://go.dev/dl"

need_cargo() {
  command -v cargo >/dev/null && return
  echo "there is no \`cargo\` on the PATH: Rust $(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$root/Cargo.toml") or newer, https://rustup.rs" >&2
  return 1
}

# Prints the path of a cargo tool: the one on the PATH, else this version of it, installed once beside the checkout.
cargo_tool() {
  local name=$1 version=$2 home=$cache/tools/$1-$2
  if command -v "$name" >/dev/null; then
    command -v "$name"
    return
  fi
  if [ ! -x "$home/bin/$name" ]; then
    echo "$name $version: installing once, about a minute …" >&2
    cargo install --debug --locked --quiet --root "$home" "$name@$version" >&2
  fi
  echo "$home/bin/$name"
}
