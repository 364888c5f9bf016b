# Sourced: the verdict core and its model tests, copied into a workspace of their own. Only what they are made of is compiled
# there, so it is quick to build with optimisation and quick to break on purpose.
pure=(plan now state soak gate phase steps event decide apply)

# Puts it into $work, from $root.
core_workspace() {
  cp -r "$root/Cargo.lock" "$root/checks" "$work/"
  mkdir -p "$work/probe/src" "$work/tests/it" "$work/tests/support"
  local module
  for module in "${pure[@]}"; do
    cp "$root/probe/src/$module.rs" "$work/probe/src/"
    echo "pub mod $module;" >>"$work/probe/src/lib.rs"
    if [ -d "$root/probe/src/$module" ]; then cp -r "$root/probe/src/$module" "$work/probe/src/"; fi
  done
  cp -r "$root/tests/it/model" "$root/tests/it/model.rs" "$work/tests/it/"
  printf '#[cfg(test)]\nmod model;\n' >"$work/tests/it/main.rs"
  : >"$work/tests/support/lib.rs"
  { cat "$root/Cargo.toml" && printf '\n[profile.dev.package.%s]\nopt-level = %s\n' probe "$1" tests "$1"; } >"$work/Cargo.toml"
  # Only what the pure modules and the model tests use, with the workspace's own versions.
  core_manifest probe checks chrono humantime schemars serde serde_json sha2 utoipa >"$work/probe/Cargo.toml"
  core_manifest tests checks chrono probe serde_json >"$work/tests/Cargo.toml"
}

core_manifest() { # NAME, dependencies…
  local name=$1
  shift
  printf '[package]\nname = "%s"\nversion.workspace = true\nedition.workspace = true\npublish.workspace = true\n' "$name"
  if [ "$name" = tests ]; then
    printf '[lib]\npath = "support/lib.rs"\n[[test]]\nname = "it"\npath = "it/main.rs"\n'
  fi
  printf '[dependencies]\n'
  printf '%s.workspace = true\n' "$@"
}

core_cargo() { (cd "$work" && cargo test --offline -p tests --test it --target-dir "$target" "$@"); }
