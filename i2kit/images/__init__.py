"""Pod -> LinuxKit YAML -> image: resolve, store, base, builders and cache."""
