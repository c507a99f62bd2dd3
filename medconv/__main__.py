"""``python -m medconv`` is the same as the command ``medconv``."""

from medconv.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
