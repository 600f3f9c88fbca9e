"""`python -m recsys_lightning` is the `recsys` command."""

from recsys_lightning.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
