"""`python -m edgenets` is the `edgenets` command."""

from edgenets.cli.main import main

if __name__ == "__main__":
    main()
