"""`python -m lotwise` is `lotwise`."""

from lotwise.app.cli import main

if __name__ == "__main__":
    main()
